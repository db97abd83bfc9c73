//! The distribution in `SPECS/`, for real: built once in the workspace's own `build` and `out`, then tried.
//!
//! What it is: the proof that the whole pipeline makes a repository that people can use. All specs are built;
//! a second run does nothing; dnf installs every package into an empty root, where the programs run; packages
//! that are built again elsewhere are bit-identical; after an edit only what must be built is built. The
//! first test that needs it builds the distribution, which takes minutes unless it is up to date.
//!
//! What it is not: a test of single promises, which `e2e` tries on tiny specs. It needs root, a toolchain
//! (`cargo xtask test` makes it first), dnf, rpm and strace; without them each test says loudly that it was
//! skipped, and fails where `CI` is set.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says when it was skipped"
)]

mod again;
mod build;
mod copy;
mod install;
mod roots;
mod workspace;
