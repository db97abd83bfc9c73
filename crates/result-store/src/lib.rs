//! Results of builds, kept by build identity, so that nobody builds twice what was built once.
//!
//! What it is: an ordered list of stores ([`ResultStores`]), each a directory or an HTTP, S3 or Azure Blob store
//! behind [`object_store`]. A store holds files by content (`sha256/ab/cdef…`) and one document for each build
//! (`results/<identity>.json`, [`StoredResult`] in an envelope that may be signed). A build's identity is the hash
//! of all that can influence its packages (`rebuild::job_identity`).
//!
//! What it is not: it decides nothing about builds, and trusts no store. Whatever is read is compared with the
//! SHA-256 that the document names, the document with the identity that was asked for and, where keys are
//! configured, with the publisher's signature. A store that cannot be reached, is slow or lies is a
//! [`MissReason`], never an error. The network runtime is made here and seen by nobody.

mod collect;
mod directory;
mod document;
mod envelope;
mod hashing;
mod key;
mod miss;
mod place;
mod publisher;
mod remote;
mod stores;

pub use collect::{Collected, StoreStatistics, collect, statistics};
pub use document::{NewResult, StoredFile, StoredResult};
pub use key::{KeyError, PublicKey, SigningKey};
pub use miss::{Miss, MissReason};
pub use place::AccessError;
pub use publisher::{PublishFailure, Publisher};
pub use stores::{Access, Found, Location, OpenError, Publication, ResultStores, StoreSettings};
