//! `cargo xtask bench NAME`: prints a table and writes `target/bench/NAME.json`.

use std::ffi::OsString;
use std::path::Path;

use clap::ValueEnum;

use crate::{Stop, cargo, host};

/// The benchmarks.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Benchmark {
    /// Small packages and jq in fresh build roots, beside tar + dnf + chroot, bubblewrap + dnf, and untuned
    Worker,
    /// Workers killed at random moments, and what they leave (must be nothing)
    Kills,
    /// The scheduler killed at 200 random moments of a build of SPECS, and started again
    Resume,
    /// All of SPECS built twice in different directories; every RPM must be bit-identical
    Reproducible,
    /// All specs of the Azure Linux tree (AZURE_TREE) read, beside rpmspec; --verify compares both
    Specs,
    /// Finding that nothing changed in the Azure Linux tree (AZURE_TREE)
    Noop,
    /// SRPMs of the Azure Linux tree (AZURE_TREE) written natively, beside rpmbuild -bs
    Pack,
    /// A made-up repository of 60,000 packages opened again, beside dnf's library
    Repository,
    /// Build roots over the Azure Linux tree (AZURE_TREE) solved beside dnf; --verify compares both
    Solver,
    /// packages.json of the Azure Linux tree (AZURE_TREE), for other measurements
    AzurePackages,
    /// Graphs of the Azure Linux tree (AZURE_TREE) and of made-up trees of growing size
    Graph,
    /// The order of the Azure Linux tree's builds (AZURE_TREE) beside other orders, and what ordering costs
    Schedule,
}

/// Runs a benchmark with its own options and returns its exit code.
pub(crate) fn run(root: &Path, benchmark: Benchmark, options: &[OsString]) -> Result<u8, Stop> {
    host::ensure(host::Purpose::Build)?;
    host::ensure(host::Purpose::Test)?;
    let programs = cargo::build_programs(root)?;
    let name = benchmark.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let mut arguments = vec![OsString::from(name)];
    arguments.extend_from_slice(options);
    Err(cargo::become_program(root, &programs.join("millwright-bench"), &arguments))
}
