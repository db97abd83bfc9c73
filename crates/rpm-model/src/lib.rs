//! RPM's words as plain data.
//!
//! What it is: versions and their order ([`Evr`]), package identities ([`Nevra`]), dependencies and their
//! overlap ([`Dependency`], [`Requirement`]), what specs and packages say ([`SpecData`], [`PackageHeader`]),
//! and the versioned JSON documents that processes exchange ([`JobDocument`], [`ResultDocument`],
//! [`BuildRecord`], [`WorkerManifest`]).
//!
//! What it is not: it reads no file, starts no process, knows no directory layout and resolves nothing.
//! Everything here is a value; the crates above decide with it.

mod azure;
mod azure_reading;
mod cascade;
mod check;
mod clean;
mod dependency;
mod difference;
mod document;
mod evr;
mod hash;
mod inputs;
mod limits;
mod linkage;
mod listed_file;
mod nevra;
mod package;
mod reason;
mod release_bump;
mod reused;
mod rich;
mod rules;
mod surroundings;
mod text;
mod trigger;
mod tuning;
mod unrun;
mod usage;
mod worker;

pub use azure::{
    AzureBadSpec, AzureCondition, AzurePackage, AzurePackageVersion, AzureSpecs, AzureSummary,
    AzureSummaryPackage,
};
pub use azure_reading::{AzureReading, AzureReadingError};
pub use cascade::CascadeFacts;
pub use check::{CheckReport, CheckVerdict, TestCase, TestStatus};
pub use clean::{CleanPolicy, CleanPolicyError};
pub use dependency::{Comparison, Constraint, Dependency, DependencyError, Requirement};
pub use difference::{ChangedPackage, FileAspect, PackageDifference};
pub use document::{
    BuildReason, BuildRecord, CcacheMount, FailureClass, JobDocument, Outcome, PackageArtifact,
    RebuildPolicy, RecordedPackage, Remedy, ResultDocument, UnusedRequirement,
};
pub use evr::{Evr, EvrError};
pub use hash::{ContentDigest, ContentDigestError, ContentHasher};
pub use inputs::{InputChange, InputParts};
pub use limits::{BuildLimits, LimitReport};
pub use linkage::{FoundLibrary, LibraryPath, LinkageFacts, LostLibrary};
pub use listed_file::{ListedFile, ListedFileError};
pub use nevra::{Nevra, NevraError, is_identity_word};
pub use package::{
    BadSpec, PackageHeader, PackagesDocument, RequirementKind, SourceKind, SourceUse, SpecData, SpecPackage,
    SpecSource,
};
pub use release_bump::{ReleaseBump, ReleaseBumpError};
pub use reused::{HostFacts, ReusedResult, ReusedSettings};
pub use rich::RichDependency;
pub use rules::{Ban, PackagePattern, PackagePatternError, PackageRules};
pub use surroundings::Surroundings;
pub use trigger::{SeenAnswer, SeenPackage, SeenTriggers, SpecTriggers};
pub use tuning::{TuningMode, TuningReport, UntunedReason, UntunedScript};
pub use usage::{CacheUse, CompilerCache, PhaseUsage, ResourceUsage, UsageSource};
pub use worker::{BuildrootLock, LockedPackage, PackageOrigin, WorkerManifest};
