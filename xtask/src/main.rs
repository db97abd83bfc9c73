//! The project's only automation: set-up, builds, tests and benchmarks, from a fresh machine on.
//!
//! It starts cargo and Millwright's own programs and holds no logic of its own; what builds packages is
//! `millwright`. Exit codes are Millwright's: 0 done, 1 some goals failed, 2 usage, 3 environment, 4 internal.

mod bench;
mod cargo;
mod host;
mod test;
#[cfg(test)]
mod tidy;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build Millwright and the distribution in SPECS, test it, measure it
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up everything and build all of SPECS into out/
    ///
    /// Installs the Debian packages that the host lacks (as root; otherwise prints the command and stops
    /// with exit code 3), compiles the workspace, makes the toolchain and the worker, fetches sources, packs,
    /// reads, plans, builds and publishes. A second run does only what a change requires.
    BuildAll {
        /// Options for `millwright build`; `cargo xtask millwright build --help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// Build packages and what they need
    Build {
        /// Spec names, then options; `cargo xtask millwright build --help` lists them
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        packages: Vec<OsString>,
    },
    /// Build packages again although they are up to date
    Rebuild {
        /// Spec names, then options; `cargo xtask millwright rebuild --help` lists them
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        packages: Vec<OsString>,
    },
    /// Run any `millwright` command after compiling it
    // `--help` is Millwright's.
    #[command(disable_help_flag = true)]
    Millwright {
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run every test, set-up included; ends with `N passed, N failed`
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Measure, beside what people use today where there is such a thing; `bench --help` lists what
    ///
    /// Prints a table and writes `target/bench/NAME.json`. Those over the Azure Linux tree need a checkout of it,
    /// named by AZURE_TREE. docs/benchmarks.md says what each measures, and what came of it.
    Bench {
        /// Which benchmark
        name: bench::Benchmark,
        /// Its options; `cargo xtask bench <NAME> -- --help` lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

/// Why a task stopped, with the exit code that says so.
struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    fn environment(message: impl Into<String>) -> Self {
        Self { code: 3, message: message.into() }
    }

    fn internal(message: impl Into<String>) -> Self {
        Self { code: 4, message: message.into() }
    }
}

fn main() -> ExitCode {
    let root = workspace_root();
    let result = match Arguments::parse().command {
        Command::BuildAll { options } => millwright(&root, "build", &options),
        Command::Build { packages } => millwright(&root, "build", &packages),
        Command::Rebuild { packages } => millwright(&root, "rebuild", &packages),
        Command::Millwright { arguments } => millwright_arguments(&root, &arguments),
        Command::Test { filter } => test::run(&root, filter.as_deref()),
        Command::Bench { name, options } => bench::run(&root, name, &options),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(stop) => {
            say(&format!("error: {}", stop.message));
            ExitCode::from(stop.code)
        }
    }
}

/// Compiles everything and runs `millwright <command> <arguments>` from the tree's root.
fn millwright(root: &Path, command: &str, arguments: &[OsString]) -> Result<u8, Stop> {
    let mut all = vec![OsString::from(command)];
    all.extend_from_slice(arguments);
    millwright_arguments(root, &all)
}

fn millwright_arguments(root: &Path, arguments: &[OsString]) -> Result<u8, Stop> {
    host::ensure(host::Purpose::Build)?;
    let programs = cargo::build_programs(root)?;
    Err(cargo::become_program(root, &programs.join("millwright"), arguments))
}

/// Returns the workspace's root: the parent of this crate.
fn workspace_root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Tells the user something; the one place of this program that prints.
#[expect(clippy::print_stderr, reason = "xtask is a program, and this is its one voice")]
fn say(text: &str) {
    eprintln!("{text}");
}
