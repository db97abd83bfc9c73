//! What a package was made of and how, as documents that others can check.
//!
//! What it is: three documents as functions of plain data, byte for byte the same for the same data:
//! - [`BuildInfo`] (`buildinfo.json`): every input with its hash, how the build ran, what came out. Complete
//!   enough to do the build again ([`BuildInfo::job`]).
//! - [`statement`] (`slsa-provenance.json`): the same as an in-toto statement with SLSA v1 provenance.
//! - [`bill_of_materials`] (`sbom.spdx.json`): the packages, sources and licences as SPDX 2.3.
//!
//! What it is not: it reads no file, hashes nothing and signs nothing.

mod build_info;
mod slsa;
mod spdx_document;

pub use build_info::{
    BuildFacts, BuildInfo, BuildInfoError, BuiltPackage, InputFile, Invocation, Located, RootPackage,
    Settings, SourceFile, SourcePackage,
};
pub use slsa::{BUILD_TYPE, BUILDER_ID, PREDICATE_TYPE, STATEMENT_TYPE, statement};
pub use spdx_document::{DescribedPackage, bill_of_materials};

/// The names of the documents in a package's directory.
pub mod file_names {
    /// [`crate::BuildInfo`].
    pub const BUILD_INFO: &str = "buildinfo.json";
    /// [`crate::statement`].
    pub const SLSA: &str = "slsa-provenance.json";
    /// [`crate::bill_of_materials`].
    pub const SPDX: &str = "sbom.spdx.json";
}
