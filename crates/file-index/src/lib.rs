//! What is known about the files of a tree: listings of directories, and hashes that need not be made again.
//!
//! What it is: parallel listings with one look at each file ([`Directory`]), the SHA-256 of files remembered by
//! the files' stamps as git's index does ([`FileIndex`]), and files that say whether they are whole
//! ([`read_sealed`], [`write_sealed`]), in which caches keep what can be made again.
//!
//! What it is not: it decides nothing. A stamp is only a memory of a hash; whoever decides, decides by content.

mod hash;
mod index;
mod listing;
mod sealed;
mod stamp;

pub use hash::hash_file;
pub use index::FileIndex;
pub use listing::{Directory, FileEntry, ListingError};
pub use sealed::{Sealed, read_sealed, replace_file, write_sealed};
pub use stamp::Stamp;
