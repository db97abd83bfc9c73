//! What became of every file: typed, serialisable, and in words.

use std::fmt;
use std::path::PathBuf;

use rpm_model::{ContentDigest, SourceKind};
use serde::Serialize;

use super::{Search, SpecSources};
use crate::provider::{Answer, Asked, FetchFailure, Place};
use crate::signature::{SignatureError, SignatureUpdate};

/// The outcome for all specs, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HydrationReport {
    /// One entry per spec.
    pub specs: Vec<SpecHydration>,
}

impl HydrationReport {
    /// Returns all failures of all specs.
    pub fn failures(&self) -> impl Iterator<Item = &HydrationFailure> {
        self.specs.iter().flat_map(|spec| &spec.failures)
    }
}

/// The outcome for one spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpecHydration {
    /// The spec's name.
    pub spec: String,
    /// The files that were found, sorted by name.
    pub files: Vec<HydratedFile>,
    /// What is missing, in the spec's order.
    pub failures: Vec<HydrationFailure>,
    /// The signature file with the hashes of these files (`update` only, when it differs and nothing is
    /// missing).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update: Option<SignatureUpdate>,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HydratedFile {
    /// Source or patch.
    pub kind: SourceKind,
    /// Its base name.
    pub file: String,
    /// Where it can be read.
    pub path: PathBuf,
    /// Its hash.
    pub sha256: ContentDigest,
    /// The place that had it.
    pub place: Option<Place>,
    /// The places that were asked before, and why they were passed over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Asked>,
}

/// Why a spec cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum HydrationFailure {
    /// The signature file cannot be used.
    Signatures {
        /// The spec.
        spec: String,
        /// The file, the line and what is wrong.
        message: String,
    },
    /// A source has no entry in the signature file (`enforce`).
    NotListed {
        /// The spec.
        spec: String,
        /// The source file.
        file: String,
        /// The signature file.
        signature_file: PathBuf,
    },
    /// No place has the file.
    Nowhere {
        /// The spec.
        spec: String,
        /// The file.
        file: String,
        /// The hash by the signature file.
        expected: Option<ContentDigest>,
        /// Every place that was asked, in order, and its answer.
        asked: Vec<Asked>,
        /// Whether the network was not asked because of `offline`.
        offline: bool,
    },
}

impl HydrationFailure {
    /// Returns the spec's name.
    pub fn spec(&self) -> &str {
        match self {
            Self::Signatures { spec, .. } | Self::NotListed { spec, .. } | Self::Nowhere { spec, .. } => spec,
        }
    }

    /// Returns whether this host is at fault (no space, no right, no apt), not the tree or a server.
    pub fn is_of_host(&self) -> bool {
        self.refusals()
            .any(|reason| matches!(reason, FetchFailure::Local { .. } | FetchFailure::NoAptRoot { .. }))
    }

    /// Returns whether a place has the file with other bytes than those that are listed.
    pub fn found_other_bytes(&self) -> bool {
        let wrong = |asked: &Asked| matches!(asked.answer, Answer::WrongHash { .. });
        matches!(self, Self::Nowhere { asked, .. } if asked.iter().any(wrong))
    }

    /// Returns why places that were asked could not say.
    fn refusals(&self) -> impl Iterator<Item = &FetchFailure> {
        let asked = match self {
            Self::Nowhere { asked, .. } => asked.as_slice(),
            Self::Signatures { .. } | Self::NotListed { .. } => &[],
        };
        asked.iter().filter_map(|asked| match &asked.answer {
            Answer::Failed { reason } => Some(reason),
            Answer::Found(_) | Answer::NotFound | Answer::WrongHash { .. } => None,
        })
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> &'static str {
        for reason in self.refusals() {
            match reason {
                FetchFailure::Local { .. } => return "see what this host says about the file or directory",
                FetchFailure::NoAptRoot { .. } => {
                    return "make the private apt root with `bootstrap toolchain`";
                }
                FetchFailure::VersionNotAvailable { .. } | FetchFailure::NoSuchFile { .. } => {
                    return "correct the entry in the map to Debian source packages";
                }
                FetchFailure::PackageUnknown { .. }
                | FetchFailure::Apt { .. }
                | FetchFailure::Transfer { .. } => {}
            }
        }
        match self {
            Self::Signatures { .. } => {
                "mend the file, or delete it and run with `--signature-handling update`"
            }
            Self::NotListed { .. } => "record the hash with `--signature-handling update`",
            Self::Nowhere { asked, .. } if asked.iter().any(is_changed_file_of_tree) => {
                "restore the file in the tree, or accept it with `--signature-handling update`"
            }
            Self::Nowhere { offline: true, .. } => "run without `--offline`, or put the file into the tree",
            Self::Nowhere { expected: Some(_), .. } => {
                "give a server that has it with `--source-url`, or put the file beside the spec"
            }
            Self::Nowhere { expected: None, .. } => "put the file beside the spec",
        }
    }
}

impl fmt::Display for HydrationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signatures { spec, message } => write!(f, "{spec}: {message}"),
            Self::NotListed { spec, file, signature_file } => {
                write!(f, "{spec}: `{file}` has no entry in {}", signature_file.display())
            }
            Self::Nowhere { spec, file, expected, asked, offline } => {
                write!(f, "{spec}: no place has `{file}`")?;
                if let Some(expected) = expected {
                    write!(f, " with sha256 {expected}")?;
                }
                if *offline && asked.iter().all(|asked| asked.answer == Answer::NotFound) {
                    // The places are the same for every file, and there may be thousands of them.
                    return write!(
                        f,
                        "\n    neither beside the spec nor in the store; the network was not asked (offline)"
                    );
                }
                for Asked { place, answer } in asked {
                    write!(f, "\n    {place}: {answer}")?;
                }
                if *offline {
                    write!(f, "\n    the network was not asked (offline)")?;
                }
                Ok(())
            }
        }
    }
}

/// Returns whether the tree itself has the file, with other content than is listed.
fn is_changed_file_of_tree(asked: &Asked) -> bool {
    matches!((&asked.place, &asked.answer), (Place::Tree { .. }, Answer::WrongHash { .. }))
}

/// Says why a search ended without a file.
pub(super) fn failure(search: Search<'_>, offline: bool) -> HydrationFailure {
    let (spec, file) = (search.spec.spec.clone(), search.wanted.file.clone());
    if search.wanted.kind == SourceKind::Source && !search.may_be_fetched() {
        let signature_file = search.spec.signature_file.clone();
        return HydrationFailure::NotListed { spec, file, signature_file };
    }
    let offline = offline && search.may_be_fetched();
    HydrationFailure::Nowhere { spec, file, expected: search.listed, asked: search.asked, offline }
}

/// The outcome for a spec whose signature file cannot be used: nothing was looked for.
pub(super) fn unreadable(spec: &SpecSources, error: &SignatureError) -> SpecHydration {
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        message = format!("{message}: {source}");
    }
    let failures = vec![HydrationFailure::Signatures { spec: spec.spec.clone(), message }];
    SpecHydration { spec: spec.spec.clone(), files: Vec::new(), failures, update: None }
}
