//! The seam between callers and whatever parses specs.
//!
//! Callers see [`SpecEngine`] only: specs in, package data or rpm's own complaints out; one SRPM out of one
//! spec and its sources. Whether that is one `rpmspec` process per question or a helper that holds
//! librpmbuild is the engine's affair.
//!
//! What it is not: it does not look for specs, cache anything or decide what is packed.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rpm_model::{ContentDigest, SpecData};

use crate::failure::SpecFailure;
use crate::release::ReleaseMacros;

/// Called when a spec has been read.
pub type Done<'d> = &'d (dyn Fn() + Sync);

/// Parses specs and writes SRPMs as rpm does under one fixed set of macros.
///
/// Implementations keep specs apart: no macro, Lua or environment state of one reaches another, and a spec
/// that hangs or crashes its parser costs its own result only.
pub trait SpecEngine: Sync {
    /// Returns the identity of everything but the spec that decides a result: rpm, its macros, its shell.
    fn identity(&self) -> &ContentDigest;

    /// Reads specs; the results stand in the order of `specs`.
    ///
    /// # Errors
    ///
    /// Returns an error only where the engine itself cannot work; a spec's faults are in its own result.
    fn read(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        self.read_telling(specs, options, &|| ())
    }

    /// Reads specs as [`Self::read`] does, and calls `done` about once for each spec that is read, from any thread.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    fn read_telling(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
        done: Done<'_>,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError>;

    /// Returns what users should know of how specs were read so far; empty when all is as it should be.
    fn notes(&self) -> Vec<EngineNote> {
        Vec::new()
    }

    /// Writes the SRPM of a spec into `request.output` under rpm's own file name and returns its path.
    ///
    /// The bytes depend on the spec, the sources' content and names, the defines and the engine's identity;
    /// not on time, host, user, paths or file times.
    ///
    /// # Errors
    ///
    /// [`PackError::Spec`] carries rpm's words about the spec or its sources, the rest is the host's fault.
    fn pack(&self, request: &PackRequest) -> Result<PathBuf, PackError>;
}

/// How an engine works when it does not work as it should. Results are right in every case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineNote {
    /// Specs are read by one `rpmspec` process for every question, which takes ten times as long.
    NoHelper {
        /// Why the helper cannot be used.
        reason: String,
    },
    /// Nothing is remembered of what shell expansions print, which takes five times as long.
    NoMemory {
        /// Why.
        reason: String,
    },
    /// The kernel does not keep one spec's parse from the files of another; specs are copied to be read.
    Unconfined {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for EngineNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHelper { reason } => write!(f, "specs are read slowly, with rpmspec: {reason}"),
            Self::NoMemory { reason } => {
                write!(f, "specs are read slowly, each runs its shell expansions: {reason}")
            }
            Self::Unconfined { reason } => {
                write!(f, "specs are copied to be read, and are not kept from each other: {reason}")
            }
        }
    }
}

/// One spec to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpecInput {
    /// What users call the package: the spec's base name without `.spec`.
    pub name: String,
    /// The spec file. Its directory is visible to the parser, read only.
    pub path: PathBuf,
    /// The directory that `%{_sourcedir}` and `%{SOURCE0}` name; often the spec's own.
    pub source_dir: PathBuf,
}

/// Under what specs are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The architecture to build for, as rpm's `--target` names it.
    pub arch: String,
    /// Macro definitions on top of the engine's own, for example `dist` → `.mw1`. `with_check` is not among
    /// them: the reader sets it.
    pub defines: BTreeMap<String, String>,
    /// Macro files that are loaded after the engine's own, in this order.
    pub macro_files: Vec<PathBuf>,
    /// Definitions of which each spec sees those that it names, loaded after `macro_files`.
    pub release_macros: ReleaseMacros,
    /// Whether the headers of the source packages are wanted too, to write SRPMs from.
    pub source_headers: bool,
}

/// What an engine learns from one spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedSpec {
    /// The package data.
    pub data: SpecData,
    /// The source package's header: where [`ReadOptions::source_headers`] asks for it and the engine has it.
    pub source_headers: Option<SourceHeaders>,
}

/// The header of a source package as rpm's parse leaves it, with rpm's version and the parsed text: everything
/// that the spec says, nothing of files, host or time.
///
/// In rpm's exported form: number of entries and length of the data as two big-endian 32-bit numbers, the
/// entries, the data; no magic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceHeaders {
    /// Under `with_check 0`.
    pub plain: Vec<u8>,
    /// Under `with_check 1`, where the spec may say something else there.
    pub with_check: Option<Vec<u8>>,
}

impl SourceHeaders {
    /// Returns the header for SRPMs that carry the build requirements of `%check`, or do not.
    pub fn select(&self, run_check: bool) -> &[u8] {
        match &self.with_check {
            Some(with_check) if run_check => with_check,
            _ => &self.plain,
        }
    }
}

/// One SRPM to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRequest {
    /// The spec; of the files beside it and in its source directory those are there that it may read.
    pub spec: SpecInput,
    /// Every source and patch: the base name the spec knows it by → the file. Files are only read.
    pub sources: BTreeMap<String, PathBuf>,
    /// An existing directory; the SRPM appears in it by rename, complete or not at all.
    pub output: PathBuf,
    /// The architecture the spec is parsed for.
    pub arch: String,
    /// Macro definitions, as in [`ReadOptions::defines`].
    pub defines: BTreeMap<String, String>,
    /// Macro files, as in [`ReadOptions::macro_files`].
    pub macro_files: Vec<PathBuf>,
    /// Definitions, as in [`ReadOptions::release_macros`].
    pub release_macros: ReleaseMacros,
    /// Where the time stamps inside the SRPM come from.
    pub source_date: SourceDate,
}

/// Where the time stamps inside an SRPM come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceDate {
    /// The newest `%changelog` entry; the beginning of 1970 where there is none.
    Changelog,
    /// Seconds since the beginning of 1970.
    Fixed(u64),
}

/// Why an engine cannot work at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A file of the engine's own could not be read or written.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was tried, for example "create".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file of release macros has a definition that cannot be handed out by name.
    #[error(
        "{}:{line}: `%{name}` has parameters or goes on in the next line; a release macro is `%name body`, one a line",
        path.display()
    )]
    ReleaseMacro {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The macro's name.
        name: String,
    },
    /// The sandbox, or rpm inside it, could not be started.
    #[error("cannot run rpm in {place}: {message}")]
    Start {
        /// The worker or host in words.
        place: String,
        /// Why.
        message: String,
    },
    /// No room for temporary files could be had.
    #[error("cannot prepare the layer store")]
    Layers(#[from] buildroot::LayerError),
    /// The worker's packages could not be made a root.
    #[error("cannot prepare the worker's root")]
    Root(#[from] buildroot::RootError),
    /// The sandbox could not be started, or its end not be learned.
    #[error(transparent)]
    Sandbox(#[from] buildroot::SandboxError),
    /// rpm ran but left no result for a spec.
    #[error("rpm left no result for {name}: {message}")]
    Protocol {
        /// The spec's name.
        name: String,
        /// What is wrong with what it left.
        message: String,
    },
}

impl EngineError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { operation, path: path.to_owned(), source }
    }
}

/// Why no SRPM was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// rpm refuses the spec or one of its sources.
    #[error(transparent)]
    Spec(#[from] SpecFailure),
    /// The engine cannot work.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A source or the spec could not be copied to where rpm reads it.
    #[error("cannot copy {} for packing", path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}
