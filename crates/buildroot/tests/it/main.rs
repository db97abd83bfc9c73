//! Tests with real sandboxes. They need root (or say loudly that they were skipped) and unmount
//! nothing, because nothing must be left to unmount.

#![expect(clippy::print_stderr, reason = "a skipped test says so")]

mod calls;
mod collection;
mod delegation;
mod disk_full;
mod helpers;
mod layers;
mod limits;
mod memory_tree;
mod oracle;
mod packages;
mod probe;
mod rootless;
mod rootless_transactions;
mod roots;
mod sandbox;
mod support;
mod transactions;
