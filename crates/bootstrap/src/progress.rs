//! What a bootstrap tells while it works. The library only emits events; wording them is the caller's.

/// A step of a bootstrap.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Package indexes are being fetched.
    UpdatingIndexes,
    /// Packages are being downloaded.
    Downloading {
        /// Number of packages of the closure.
        packages: usize,
    },
    /// One Debian package was turned into an RPM payload.
    Bridged {
        /// Its RPM name.
        package: &'a str,
        /// How many are done.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// The repository of RPMs was published.
    Published {
        /// Number of packages.
        packages: usize,
    },
    /// Nothing had to be done.
    UpToDate {
        /// What is up to date: `toolchain` or `worker`.
        what: &'a str,
    },
    /// The tree of the worker is being assembled.
    Unpacking {
        /// Number of packages.
        packages: usize,
    },
    /// The worker was made.
    WorkerMade {
        /// Number of core packages.
        packages: usize,
    },
    /// rpm is recording the core packages in the worker's database.
    MakingDatabase,
    /// An archive of the worker is being written or read.
    Archive {
        /// Its path as given.
        path: &'a std::path::Path,
    },
}

/// Receives events, possibly from several threads at once.
pub trait Reporter: Sync {
    /// Takes note of one event.
    fn report(&self, event: Event<'_>);
}

/// Takes note of nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: Event<'_>) {}
}
