//! What stands between repositories somewhere and packages in the local cache.
//!
//! What it is: `.repo` files ([`read_repo_file`]), mirrors and their fall-over, metadata kept by repository so
//! that what is unchanged is not fetched again ([`RemoteRepository`]), downloads of packages by SHA-256
//! ([`fetch_packages`]), the lock of what was fetched ([`PackageLock`]), and the lists of packages that the
//! Azure Linux toolkit exchanges ([`select`]).
//!
//! What it is not: it chooses no package; who needs what is the solver's answer. It prints nothing; progress
//! goes to an [`Observer`].
//!
//! Rules that hold everywhere here:
//! * Content decides. A mirror is only a place; bytes with another checksum than announced are not taken, and
//!   the next place is asked.
//! * A package has its name in the cache only when its SHA-256 is right.
//! * One failure never hides another: every package is tried everywhere, and the report has all answers.
//! * Without a network nothing is different but what can be had: offline, only what is kept counts.

mod address;
mod definition;
mod download;
mod http;
mod kept;
mod lock;
mod metalink;
mod mirrors;
mod observer;
mod remote;
mod repo_file;
mod signature;
mod summary;

pub use address::AddressError;
pub use definition::{Places, RepositoryDefinition, TlsFiles, Variables};
pub use download::{
    Answer, FetchReport, FetchSettings, PackageFailure, PackagePlace, WantedPackage, fetch_packages,
};
pub use http::HttpFetch;
pub use lock::{LockError, LockedOrigin, LockedRpm, PackageLock};
pub use metalink::BadMirrorList;
pub use mirrors::{Downloads, MirrorFetch, NoMirror};
pub use observer::{FetchEvent, Observer, Silent};
pub use remote::{Offer, OpenSettings, RemoteError, RemoteRepository};
pub use repo_file::{RepoFileError, read_repo_file};
pub use signature::{Keyring, KeyringError, SignatureFault, SignaturePolicy, check_detached, check_package};
pub use summary::{SummaryError, available, read_list, select, write_summary};
