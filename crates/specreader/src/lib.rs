//! Specs to package data, exact as rpm sees them under the worker's macros.
//!
//! What it is: the seam to whatever parses specs ([`SpecEngine`]), the confinement of commands that specs name
//! ([`Confinement`]), and around it a cache by content, the
//! expansion of SRPMs into a tree of specs, and the two documents that come out: Azure's `specs.json` and
//! our `packages.json`.
//!
//! What it is not: it expands no macro itself, fetches nothing and resolves nothing.

mod assemble;
mod cache;
mod command;
mod complaint;
mod confined;
mod document_files;
mod documents;
mod engine;
mod expand;
mod failure;
mod file_sections;
mod headers;
mod helper;
mod host;
mod job;
mod keys;
mod pack;
mod query;
mod release;
mod runner;
mod session;
mod store;
mod text;
mod texts;
mod visible;
mod worker;
mod write;

pub use cache::{CachedReader, Look, ReadProgress, Reading};
pub use command::EngineLimits;
pub use confined::{Confinement, SpecCommand};
pub use document_files::{DocumentFiles, DocumentSummary};
pub use documents::{AzureLayout, packages_document};
pub use engine::{
    Done, EngineError, EngineNote, PackError, PackRequest, ParsedSpec, ReadOptions, SourceDate,
    SourceHeaders, SpecEngine, SpecInput,
};
pub use expand::{ExpandError, ExpandedSpec, Expansion, expand};
pub use failure::{Diagnostic, FailureKind, SpecFailure, TriggerFault, TriggerPlace};
pub use host::HostEngine;
pub use release::ReleaseMacros;
pub use worker::WorkerEngine;
