//! `azure-packages`: what the specs of the Azure Linux tree say, as `packages.json`, for the benchmarks that start
//! from it (`graph`, `solver`) and for trying things out by hand.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::Args;
use report::{ExitStatus, Reporter};
use rpm_model::{ContentDigest, PackagesDocument};

use crate::azure::ARCH;
use crate::error::BenchError;
use crate::specs::{Selection, prepare, read_all};
use crate::{Conclusion, Place, note};

/// What to read.
#[derive(Clone, Debug, Args)]
pub(crate) struct AzurePackagesArguments {
    /// A checkout of the Azure Linux 3.0 tree
    #[arg(long, value_name = "DIR", env = "AZURE_TREE")]
    azure_tree: Option<PathBuf>,
    /// Where the document goes
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
}

/// Writes the document.
pub(crate) fn run(
    place: &Place,
    arguments: &AzurePackagesArguments,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    let document = document(place, arguments.azure_tree.as_deref(), reporter)?;
    let fail = || BenchError::io("write", &arguments.output);
    let file = File::create(&arguments.output).map_err(fail())?;
    serde_json::to_writer(BufWriter::new(file), &document).map_err(|error| fail()(error.into()))?;
    let text = format!("{} specs written to {}", document.specs.len(), arguments.output.display());
    Ok(Conclusion { status: ExitStatus::Done, text })
}

/// Reads the tree's specs under the toolkit's macros; of two specs of one name only the first.
pub(crate) fn document(
    place: &Place,
    azure_tree: Option<&Path>,
    reporter: &dyn Reporter,
) -> Result<PackagesDocument, BenchError> {
    let selection = Selection { names: &[], number: None, unique_names: true };
    let prepared = prepare(place, azure_tree, selection, reporter)?;
    note(reporter, format!("reading {} specs", prepared.specs.len()));
    let macros = &prepared.release_macros;
    let text = std::fs::read(macros).map_err(BenchError::io("read", macros))?;
    let specs = read_all(&prepared)?.into_iter().map(Ok).collect();
    Ok(specreader::packages_document(ARCH, ContentDigest::of_bytes(&text), specs))
}
