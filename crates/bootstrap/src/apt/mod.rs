//! A private apt: its own state, lists and cache below one directory, its sources taken from the host.
//!
//! The host's apt state is neither read (apart from its source lists, keys, proxies and credentials) nor
//! changed. The list of installed packages is empty, so that every resolution yields the full closure.
//! Other crates that need apt, for example to fetch Debian source packages, run `apt-get` with `APT_CONFIG` set
//! to [`AptRoot::apt_config`], which is `build/apt/apt.conf`.

mod root;
mod sources;

pub use root::{AptRoot, DebianPackage, Indexes, SourceFile};
