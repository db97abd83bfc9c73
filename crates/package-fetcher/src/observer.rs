//! What happens while repositories are read and packages are fetched.

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent {
    /// A repository is known now.
    Opened {
        /// Its id.
        repository: String,
        /// How many of its packages count.
        packages: usize,
        /// Whether its metadata was kept from before.
        kept: bool,
    },
    /// A repository that may be absent is left out.
    Skipped {
        /// Its id.
        repository: String,
        /// Why.
        reason: String,
    },
    /// A package is in the cache now.
    Fetched {
        /// Its file.
        file: String,
        /// How many are in the cache now.
        done: usize,
        /// How many are wanted.
        total: usize,
    },
}

/// Told of what happens, from any thread; must return quickly.
pub trait Observer: Sync {
    /// Takes one event.
    fn event(&self, event: &FetchEvent);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &FetchEvent) {}
}
