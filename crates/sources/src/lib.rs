//! Where the sources of specs come from.
//!
//! What it is: a content-addressed store ([`SourceStore`]), signature files that say which bytes are the
//! right ones ([`SignatureFile`]), downloads ([`Downloader`]), places that may have a file
//! ([`SourceProvider`]), and one function that brings all files of all specs together ([`hydrate`]).
//!
//! What it is not: it reads no spec (the caller says which files a spec names), makes no SRPM, and prints
//! nothing: failures are values, progress goes to a callback.
//!
//! Rules that hold everywhere here:
//! * Under `enforce` only bytes with the listed SHA-256 are accepted, whatever place they come from; so no
//!   place needs to be trusted.
//! * An object of the store is never opened for writing after it has its name.
//! * One failure never hides another: every file is tried everywhere, and the report has all answers.

mod digest;
mod download;
mod hydrate;
mod provider;
mod signature;
mod store;

pub use download::{
    Download, DownloadError, DownloadEvent, DownloadOptions, DownloadProgress, DownloadSetupError,
    Downloader, RetryPolicy, TransferFailure,
};
pub use file_index::hash_file;
pub use hydrate::{
    HydrateOptions, HydratedFile, HydrationFailure, HydrationProgress, HydrationReport, SignatureMode,
    SpecHydration, SpecSources, WantedFile, hydrate,
};
pub use provider::{
    Answer, Asked, DebianFile, DebianPlace, DebianSourceProvider, DebianSources, DebianSourcesError,
    FetchFailure, FileRequest, FoundFile, Place, RemotePlaces, RemotePlacesError, SourceProvider,
    SourceServerProvider, StoreProvider, TreeProvider, UpstreamProvider,
};
pub use signature::{SignatureChange, SignatureError, SignatureFile, SignatureUpdate};
pub use store::{PartialFile, SourceStore, StoreError, StoreLookup};
