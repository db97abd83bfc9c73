//! End to end: the real programs build real packages in real build roots, in a tree of each test's own.
//!
//! What it is: one test for each promise that a user could notice broken: what bad input gets, what an
//! interruption leaves, what is built again and why, and whether the result can be installed. Each test
//! writes a tree of tiny specs ([`tree::Tree`]), runs `millwright` or `pkgworker` on it, and then looks at
//! what is on disk, at mounts and at processes. Nothing is fetched: the toolchain is the workspace's.
//!
//! What it is not: a test of the distribution in `SPECS/`. It needs root and a toolchain
//! (`cargo xtask test` makes it first); without them each test says loudly that it was skipped, and fails
//! where `CI` is set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says when it was skipped"
)]

mod attacks;
mod azure;
mod bad_input;
mod beside;
mod cache;
mod caches;
mod checks;
mod clock;
mod command_line;
mod debugging;
mod disk;
mod failures;
mod fetch;
mod generated;
mod graph;
mod hostile;
mod hostile_bombs;
mod hostile_reach;
mod hostile_rootless;
mod incremental;
mod interruption;
mod kills;
mod libraries;
mod licenses;
mod logs;
mod make_front;
mod mass_rebuild;
mod mkpkg;
mod nothing_to_do;
mod phases;
mod plan;
mod provenance;
mod rebuilds;
mod releases;
mod reports;
mod repository;
mod reproducible;
mod results;
mod rounds;
mod run;
mod scriptlets;
mod spec;
mod terminal;
mod tree;
mod trigger_programs;
mod triggers;
mod tuning;
mod upstream_version;
