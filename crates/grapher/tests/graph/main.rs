//! The graph's answers about small trees, written as text.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test is the right place to panic")]

mod cycles;
mod emitted;
mod explain;
mod fixture;
mod goals;
mod order;
mod properties;
mod providers;
mod queries;
