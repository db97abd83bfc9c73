//! `cargo xtask bench NAME`: prints a table and writes `target/bench/NAME.json`.

use std::path::Path;

use clap::ValueEnum;

use crate::{Stop, cargo, host};

/// The benchmarks.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Benchmark {
    /// One trivial package in a fresh build root, beside tar + dnf + rpmbuild in a chroot
    Worker,
    /// All of SPECS built twice in different directories; every RPM must be bit-identical
    Reproducible,
}

/// Runs a benchmark and returns its exit code.
pub(crate) fn run(root: &Path, benchmark: Benchmark) -> Result<u8, Stop> {
    host::ensure(host::Purpose::Build)?;
    host::ensure(host::Purpose::Test)?;
    let programs = cargo::build_programs(root)?;
    let name = benchmark.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    Err(cargo::become_program(root, &programs.join("millwright-bench"), &[name.into()]))
}
