//! The graph's answers about small trees, written as text.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says when it was skipped"
)]

mod cycles;
mod drawing;
mod emitted;
mod explain;
mod fixture;
mod goals;
mod order;
mod properties;
mod providers;
mod queries;
mod report;
