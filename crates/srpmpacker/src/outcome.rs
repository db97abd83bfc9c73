//! What became of every spec: typed, serialisable, and in words.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rpm_model::ContentDigest;
use rpm_writer::SourceRefusal;
use serde::Serialize;
use sources::{HydrationFailure, SignatureUpdate};
use specreader::SpecFailure;

/// What became of all specs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackReport {
    /// One entry per spec, sorted by name.
    pub specs: Vec<SpecReport>,
    /// SRPMs that no spec stands for any more and that were removed, sorted.
    pub removed: Vec<PathBuf>,
}

impl PackReport {
    /// Returns the SRPMs that stand for the tree now, sorted by spec.
    pub fn srpms(&self) -> impl Iterator<Item = (&str, &PathBuf)> {
        self.specs.iter().filter_map(|spec| match &spec.outcome {
            SpecOutcome::Packed { srpm, .. } | SpecOutcome::Current { srpm, .. } => {
                Some((spec.spec.as_str(), srpm))
            }
            SpecOutcome::Skipped { .. } | SpecOutcome::Failed { .. } => None,
        })
    }

    /// Returns all failures, sorted by spec.
    pub fn failures(&self) -> impl Iterator<Item = &PackFailure> {
        self.specs.iter().flat_map(|spec| match &spec.outcome {
            SpecOutcome::Failed { failures } => failures.as_slice(),
            _ => &[],
        })
    }

    /// Returns why SRPMs were left to rpmbuild, and how many for each reason; sorted by the reason's words.
    pub fn left_to_rpmbuild(&self) -> BTreeMap<String, usize> {
        let mut reasons = BTreeMap::new();
        for spec in &self.specs {
            if let SpecOutcome::Packed { writer: SrpmWriter::Rpmbuild { reason }, .. } = &spec.outcome {
                *reasons.entry(reason.to_string()).or_default() += 1;
            }
        }
        reasons
    }

    /// Returns how many specs were packed, are current, were skipped and failed.
    pub fn counts(&self) -> PackCounts {
        let mut counts = PackCounts::default();
        for spec in &self.specs {
            match spec.outcome {
                SpecOutcome::Packed { .. } => counts.packed += 1,
                SpecOutcome::Current { .. } => counts.current += 1,
                SpecOutcome::Skipped { .. } => counts.skipped += 1,
                SpecOutcome::Failed { .. } => counts.failed += 1,
            }
        }
        counts
    }
}

/// Numbers of specs by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PackCounts {
    /// Packed in this run.
    pub packed: usize,
    /// Unchanged.
    pub current: usize,
    /// Not for this architecture.
    pub skipped: usize,
    /// Failed.
    pub failed: usize,
}

impl fmt::Display for PackCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.packed + self.skipped + self.failed == 0 {
            let noun = if self.current == 1 { "SRPM is" } else { "SRPMs are" };
            return write!(f, "nothing to do, {} {noun} current", self.current);
        }
        write!(f, "{} packed, {} current", self.packed, self.current)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        if self.failed > 0 {
            write!(f, ", {} failed", self.failed)?;
        }
        Ok(())
    }
}

/// What became of one spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpecReport {
    /// The spec's name.
    pub spec: String,
    /// The spec file.
    pub spec_path: PathBuf,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: SpecOutcome,
    /// The change that was written to its signature file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<SignatureUpdate>,
}

/// How it ended for one spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum SpecOutcome {
    /// A new SRPM was made.
    Packed {
        /// The file.
        srpm: PathBuf,
        /// Its hash.
        sha256: ContentDigest,
        /// Why.
        reason: PackReason,
        /// What wrote it.
        writer: SrpmWriter,
    },
    /// The SRPM that is there was made of the same content.
    Current {
        /// The file.
        srpm: PathBuf,
        /// Its hash.
        sha256: ContentDigest,
    },
    /// The spec is not for this architecture.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// There is no SRPM.
    Failed {
        /// Everything that was found wrong.
        failures: Vec<PackFailure>,
    },
}

/// Why an SRPM was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PackReason {
    /// It was asked for (`--repack`).
    Asked,
    /// There is no record of an earlier one.
    New,
    /// Inputs have other content.
    Changed {
        /// Which: `spec`, `macros`, `run-check`, or names of sources.
        inputs: Vec<String>,
    },
    /// The packer itself makes SRPMs differently now.
    Packer,
    /// The file is gone.
    Missing,
    /// The file has other bytes than it was made with.
    Altered,
}

impl fmt::Display for PackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("asked for"),
            Self::New => f.write_str("new"),
            Self::Changed { inputs } => write!(f, "changed: {}", inputs.join(", ")),
            Self::Packer => f.write_str("the packer changed"),
            Self::Missing => f.write_str("the SRPM is gone"),
            Self::Altered => f.write_str("the SRPM was altered"),
        }
    }
}

/// What wrote an SRPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SrpmWriter {
    /// Millwright, in process, from the header of the reading.
    Native,
    /// `rpmbuild -bs`.
    Rpmbuild {
        /// Why.
        reason: FallbackReason,
    },
}

/// Why an SRPM is left to `rpmbuild`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FallbackReason {
    /// The engine gave no header of the source package.
    NoHeader,
    /// The header, or what it says, is not written natively.
    Refused {
        /// Why.
        refusal: SourceRefusal,
    },
    /// `_source_payload` is defined as something that is not written natively.
    Compression {
        /// Its value.
        setting: String,
    },
    /// The package is too large for the sizes that are written natively.
    TooLarge {
        /// Bytes.
        size: u64,
    },
    /// A source has the spec's own file name.
    SpecAmongSources,
    /// The spec may generate build requirements, which rpmbuild marks its source package with.
    GeneratedRequirements,
}

impl fmt::Display for FallbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHeader => f.write_str("the engine gives no header"),
            Self::Refused { refusal } => refusal.fmt(f),
            Self::Compression { setting } => write!(f, "`_source_payload` is `{setting}`"),
            Self::TooLarge { size } => write!(f, "{size} bytes are too many"),
            Self::SpecAmongSources => f.write_str("a source has the spec's own file name"),
            Self::GeneratedRequirements => f.write_str("it may generate build requirements"),
        }
    }
}

/// Why a spec has no SRPM although nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SkipReason {
    /// `ExclusiveArch` has other architectures only.
    ExclusiveArch {
        /// The architecture packed for.
        arch: String,
        /// Those that the spec names.
        arches: Vec<String>,
    },
    /// `ExcludeArch` has this architecture.
    ExcludeArch {
        /// The architecture packed for.
        arch: String,
    },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExclusiveArch { arch, arches } => {
                write!(f, "not for {arch}: ExclusiveArch is {}", arches.join(" "))
            }
            Self::ExcludeArch { arch } => write!(f, "not for {arch}: ExcludeArch names it"),
        }
    }
}

/// Why there is no SRPM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum PackFailure {
    /// rpm cannot read the spec.
    Spec {
        /// rpm's words.
        failure: SpecFailure,
    },
    /// A source is missing or wrong.
    Source {
        /// Which, and what every place answered.
        failure: HydrationFailure,
    },
    /// rpm cannot pack the spec.
    Pack {
        /// rpm's words.
        failure: SpecFailure,
    },
    /// Another spec makes an SRPM of the same name.
    SameSrpm {
        /// The spec.
        spec: String,
        /// The other spec.
        other: String,
        /// The file name.
        srpm: String,
    },
    /// The spec or one of its files changed while it was packed.
    ChangedMeanwhile {
        /// The spec.
        spec: String,
    },
    /// This host could not do its part: a full disk, a sandbox that does not start.
    Environment {
        /// The spec.
        spec: String,
        /// The error with its causes.
        message: String,
    },
}

impl PackFailure {
    /// Returns an error of this host with all its causes.
    pub(crate) fn environment(spec: &str, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        Self::Environment { spec: spec.to_owned(), message }
    }

    /// Returns whether this host is at fault, not the tree or a server.
    pub fn is_of_host(&self) -> bool {
        match self {
            Self::Environment { .. } => true,
            Self::Source { failure } => failure.is_of_host(),
            Self::Spec { .. } | Self::Pack { .. } | Self::SameSrpm { .. } | Self::ChangedMeanwhile { .. } => {
                false
            }
        }
    }

    /// Returns what the user can do about it, where there is something general to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Source { failure } => Some(failure.hint()),
            Self::SameSrpm { .. } => Some("give one of the specs another name, version or release"),
            Self::ChangedMeanwhile { .. } => Some("run it again"),
            Self::Spec { .. } | Self::Pack { .. } | Self::Environment { .. } => None,
        }
    }
}

impl fmt::Display for PackFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec { failure } | Self::Pack { failure } => failure.fmt(f),
            Self::Source { failure } => failure.fmt(f),
            Self::SameSrpm { spec, other, srpm } => {
                write!(f, "{spec}: `{srpm}` would be made by {other} as well")
            }
            Self::ChangedMeanwhile { spec } => write!(f, "{spec}: changed while it was packed"),
            Self::Environment { spec, message } => write!(f, "{spec}: {message}"),
        }
    }
}
