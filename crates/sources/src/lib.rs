//! Where the sources of specs come from.
//!
//! What it is: a content-addressed store ([`SourceStore`]), signature files that say which bytes are the
//! right ones ([`SignatureFile`]), and downloads ([`Downloader`]).
//!
//! What it is not: it reads no spec (the caller says which files a spec names), makes no SRPM, and prints
//! nothing: failures are values, progress goes to a callback.

mod digest;
mod download;
mod signature;
mod store;

pub use digest::hash_file;
pub use download::{
    Download, DownloadError, DownloadEvent, DownloadOptions, DownloadProgress, DownloadSetupError,
    Downloader, RetryPolicy, TransferFailure,
};
pub use signature::{SignatureChange, SignatureError, SignatureFile, SignatureUpdate};
pub use store::{PartialFile, SourceStore, StoreError, StoreLookup};
