//! `solver`: one build root solved beside dnf, with ever more packages known ([`measure`]); with `--verify` the
//! answers of solver and graph compared with dnf's ([`verify`]). Both over a repository made of what the specs of the
//! Azure Linux tree declare ([`synthetic`]).

mod measure;
pub(crate) mod synthetic;
mod verify;

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;
use report::Reporter;
use rpm_model::PackagesDocument;
use testkit::Oracle;

use crate::azure::packages::document;
use crate::error::BenchError;
use crate::{Conclusion, Place};

/// What to solve.
#[derive(Clone, Debug, Args)]
pub(crate) struct SolverArguments {
    /// A checkout of the Azure Linux 3.0 tree
    #[arg(long, value_name = "DIR", env = "AZURE_TREE")]
    azure_tree: Option<PathBuf>,
    /// What its specs say, as written by azure-packages, instead of reading them
    #[arg(long, value_name = "FILE")]
    packages: Option<PathBuf>,
    /// Compare answers with dnf's; measure nothing
    #[arg(long)]
    verify: bool,
    /// How many requirement sets are drawn for each repository of --verify
    #[arg(long, value_name = "NUMBER", default_value_t = 400)]
    sets: usize,
    /// What is drawn and made up [default: always the same when measuring, random and told with --verify]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// Runs the benchmark.
pub(crate) fn run(
    place: &Place,
    arguments: &SolverArguments,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let document = match &arguments.packages {
        Some(path) => {
            let file = File::open(path).map_err(BenchError::io("open", path))?;
            serde_json::from_reader::<_, PackagesDocument>(BufReader::new(file)).map_err(|source| {
                BenchError::Document { what: "packages.json", path: path.clone(), source }
            })?
        }
        None => document(place, arguments.azure_tree.as_deref(), reporter)?,
    };
    if arguments.verify {
        let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
        verify::run(place, &document, arguments.sets, seed, reporter)
    } else {
        measure::run(place, &document, arguments.seed.unwrap_or(1), reporter)
    }
}

/// Returns dnf's library where it knows as many packages as were written for it.
fn known_packages(dnf: Option<(Oracle, usize)>, expected: usize) -> Result<Oracle, BenchError> {
    match dnf {
        None => Err(BenchError::NoDnf),
        Some((dnf, known)) if known == expected => Ok(dnf),
        Some((_, known)) => Err(BenchError::DnfKnows { known, expected }),
    }
}
