//! RPM packages as they lie in directories and repositories, and the sets of them that satisfy a request.
//!
//! What it is: a reader of RPM headers ([`read_package`], [`read_source_header`]) and of directories full of
//! them ([`PackageDirectory`]), an index of who provides what ([`ProviderIndex`]), and a solver that finds
//! the exact packages of a build root or says why there are none ([`Solver`]). It reads and publishes
//! repository metadata ([`read_repository`], [`RepodataWriter`]).
//!
//! What it is not: it unpacks no payload, installs nothing, starts no process and opens no connection.

mod cache;
mod compare;
mod contents;
mod directory;
mod error;
mod header;
mod index_file;
mod marks;
mod provider;
mod repodata;
mod solver;
#[cfg(test)]
mod testing;
mod verify;

pub use compare::{
    SetDifference, compare_packages, compare_sets, differences_apart_from_release, header_differences,
    is_more_than_a_release,
};
pub use contents::{PackageContents, PackagedFile, read_contents};
pub use directory::{PackageDirectory, Scan};
pub use error::{BadPackage, HeaderPart, RepositoryError};
pub use header::{
    IndexedPackage, IndexedSource, PackageFacts, SourcePackageHeader, read_header, read_package,
    read_source_header, read_source_package, same_apart_from_signature,
};
pub use index_file::{OpenOptions, OpenedRepository, RepositoryIndex, open_repository};
pub use marks::{MarkedFile, MarkedFiles, read_marked_files};
pub use provider::{HeldPackage, ProviderIndex};
pub use repodata::{
    BadRepodata, Compression, DirectoryFetch, Fetch, FetchError, FileKnowledge, LocationPolicy, Publication,
    ReadOptions, RepodataWriter, read_repository, read_repository_with,
};
pub use solver::{
    ClashKind, Demand, EntryReason, Explanation, Link, Refused, ResolvedNote, ResolvedPackage, ResolvedSet,
    SolveRequest, Solver, Unsatisfied, WhyNot, WhyNotTree,
};
pub use verify::verify_package;
