//! Lists of packages in the shape of the Azure Linux toolkit, and what an offer has of them.
//!
//! Such a list is `graph_external_deps.json`, `rpms_snapshot.json` or what `PACKAGE_CACHE_SUMMARY` names. A
//! precache list may also be a plain text with a NEVRA in each line.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use file_index::replace_file;
use repository::IndexedPackage;
use rpm_model::{AzureSummary, AzureSummaryPackage, Nevra};

use crate::remote::Offer;

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// It cannot be read or written.
    #[error("cannot {operation} `{}`", path.display())]
    Io {
        /// `read` or `write`.
        operation: &'static str,
        /// The list.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no list of packages.
    #[error("`{}` is no list of packages: {message}", path.display())]
    Malformed {
        /// The list.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// No repository has some of its packages.
    #[error(
        "no repository has {} of the packages of the summary: {}",
        missing.len(),
        missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Missing {
        /// Those packages, in the list's order.
        missing: Vec<AzureSummaryPackage>,
    },
}

/// Reads a summary, or a text with a NEVRA in each line.
///
/// # Errors
/// When the file cannot be read or is neither.
pub fn read_list(path: &Path) -> Result<AzureSummary, SummaryError> {
    let text = fs::read_to_string(path).map_err(|source| SummaryError::Io {
        operation: "read",
        path: path.to_owned(),
        source,
    })?;
    let malformed = |message: String| SummaryError::Malformed { path: path.to_owned(), message };
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(&text).map_err(|error| malformed(error.to_string()));
    }
    let mut repo = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let nevra: Nevra = line
            .strip_suffix(".rpm")
            .unwrap_or(line)
            .parse()
            .map_err(|error| malformed(format!("line {number}: {error}")))?;
        repo.push(AzureSummaryPackage::of(&nevra));
    }
    Ok(AzureSummary { repo })
}

/// Writes a summary of packages, sorted, unless the file says the same already.
///
/// # Errors
/// When the file cannot be written.
pub fn write_summary<'a>(
    path: &Path,
    packages: impl IntoIterator<Item = &'a Nevra>,
) -> Result<(), SummaryError> {
    let failed = |source| SummaryError::Io { operation: "write", path: path.to_owned(), source };
    let summary = AzureSummary::of(packages);
    let mut bytes = serde_json::to_vec_pretty(&summary).map_err(|error| failed(error.into()))?;
    bytes.push(b'\n');
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    replace_file(path, &[&bytes]).map_err(failed)
}

/// Returns exactly the packages of an offer that a summary lists, one for each entry.
///
/// # Errors
/// [`SummaryError::Missing`] with all entries that no package fits.
pub fn select<'a>(summary: &AzureSummary, offer: &'a Offer) -> Result<Vec<&'a IndexedPackage>, SummaryError> {
    let (found, missing) = available(summary, offer);
    if missing.is_empty() { Ok(found) } else { Err(SummaryError::Missing { missing }) }
}

/// Returns the packages of a summary that there are, one for each entry, and the entries that none fits.
///
/// Where several fit, which differ in their epoch or only in their content, the most preferred origin and
/// then the highest version counts.
pub fn available<'a>(
    summary: &AzureSummary,
    offer: &'a Offer,
) -> (Vec<&'a IndexedPackage>, Vec<AzureSummaryPackage>) {
    let order = |package: &&IndexedPackage| {
        (package.origin, std::cmp::Reverse(package.header.nevra.evr.clone()), package.sha256.clone())
    };
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for entry in &summary.repo {
        let same = offer.named(&entry.name).filter(|package| package.header.nevra.nvra() == entry.nvra());
        match same.min_by_key(order) {
            Some(package) => found.push(package),
            None => missing.push(entry.clone()),
        }
    }
    (found, missing)
}
