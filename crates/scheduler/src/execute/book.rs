//! What must be known of attempts after a crash, and nothing else.
//!
//! What it is: a state that changes by [`Entry`]s alone. The journal holds the entries, so reading it back gives the
//! same state; there is no second way to change it. What it is not: the truth about packages. That a package is
//! published and right is vouched for by its build record alone.

use std::collections::BTreeMap;
use std::fmt;

use rpm_model::{ContentDigest, FailureClass};
use serde::{Deserialize, Serialize};

use super::attempt::{AttemptId, Token};

/// Why an attempt is no longer the current one although its package has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum VoidReason {
    /// The host or the worker failed: in these words.
    Infrastructure {
        /// One sentence.
        message: String,
    },
    /// Nothing was heard of it for too long.
    LeaseLapsed,
    /// The engine does not know it, or says that it has ended, and it never began.
    NeverStarted,
    /// It needs more memory.
    OutOfMemory,
    /// Its build root lacks what `%generate_buildrequires` asks for.
    RequirementsGenerated,
    /// It ended with the scheduler that started it.
    SchedulerEnded,
    /// The run was stopped before it was tried again.
    Stopped,
}

impl VoidReason {
    /// Returns whether it counts among the failures of hosts, of which a package has only so many.
    pub fn is_infrastructure(&self) -> bool {
        matches!(self, Self::Infrastructure { .. } | Self::LeaseLapsed | Self::NeverStarted)
    }
}

impl fmt::Display for VoidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Infrastructure { message } => f.write_str(message),
            Self::LeaseLapsed => f.write_str("its worker was not heard of any more"),
            Self::NeverStarted => f.write_str("it never started"),
            Self::OutOfMemory => f.write_str("it ran out of memory"),
            Self::RequirementsGenerated => f.write_str("it asks for more build requirements"),
            Self::SchedulerEnded => f.write_str("it ended with the run that started it"),
            Self::Stopped => f.write_str("the run was stopped"),
        }
    }
}

/// How a package ended in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum PackageResult {
    /// Published, or as published before.
    Accepted {
        /// The attempt whose result it is.
        attempt: AttemptId,
    },
    /// Failed.
    Failed {
        /// Whose fault it is.
        class: FailureClass,
        /// One sentence.
        message: String,
    },
    /// Not built in this round because of what it turned out to need.
    Postponed {
        /// What that is.
        message: String,
    },
}

/// One change of the book; a line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// An attempt is made, and the current one from now on. Written down before an engine hears of it.
    Attempt {
        /// The package.
        package: String,
        /// Its name.
        id: AttemptId,
        /// The build identity of what it makes.
        identity: ContentDigest,
        /// Its secret.
        token: Token,
    },
    /// A worker makes the current attempt.
    Began {
        /// The package.
        package: String,
        /// The worker's name for itself.
        instance: String,
        /// The host that it runs on.
        host: String,
    },
    /// The current attempt is none any more.
    Void {
        /// The package.
        package: String,
        /// Why.
        #[serde(flatten)]
        reason: VoidReason,
    },
    /// The package's next attempts may use more memory.
    MemoryRaised {
        /// The package.
        package: String,
    },
    /// The package has ended; so has its current attempt.
    Ended {
        /// The package.
        package: String,
        /// How.
        #[serde(flatten)]
        result: PackageResult,
    },
    /// A change of another package brought the package into the run, again if it had ended.
    Joined {
        /// The package.
        package: String,
    },
}

/// A worker that began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its name for itself.
    pub instance: String,
    /// Its host.
    pub host: String,
}

/// The attempt whose result counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    /// Its name.
    pub id: AttemptId,
    /// The build identity of what it makes.
    pub identity: ContentDigest,
    /// Its secret.
    pub token: Token,
    /// The worker that makes it, once one has begun.
    pub begun: Option<Begun>,
}

/// Where a package stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageState {
    /// The number of its last attempt.
    pub attempts: u32,
    /// How many attempts hosts have spoilt.
    pub infrastructure_failures: u32,
    /// Whether it is given more memory.
    pub memory_raised: bool,
    /// The attempt whose result counts; at most one.
    pub current: Option<Current>,
    /// How it ended.
    pub result: Option<PackageResult>,
}

/// All packages of a run that were attempted; see the module text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    packages: BTreeMap<String, PackageState>,
}

impl Book {
    /// Returns the book that these entries make.
    pub fn replay<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Self {
        let mut book = Self::default();
        for entry in entries {
            book.apply(entry);
        }
        book
    }

    /// Writes an entry into the book.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::Attempt { package, id, identity, token } => {
                let state = self.entry(package);
                state.attempts = state.attempts.max(id.number);
                state.result = None;
                state.current = Some(Current {
                    id: id.clone(),
                    identity: identity.clone(),
                    token: token.clone(),
                    begun: None,
                });
            }
            Entry::Began { package, instance, host } => {
                if let Some(current) = &mut self.entry(package).current {
                    current.begun = Some(Begun { instance: instance.clone(), host: host.clone() });
                }
            }
            Entry::Void { package, reason } => {
                let state = self.entry(package);
                state.current = None;
                state.infrastructure_failures += u32::from(reason.is_infrastructure());
            }
            Entry::MemoryRaised { package } => self.entry(package).memory_raised = true,
            Entry::Ended { package, result } => {
                let state = self.entry(package);
                state.current = None;
                state.result = Some(result.clone());
            }
            Entry::Joined { package } => {
                let state = self.entry(package);
                *state = PackageState { attempts: state.attempts, ..PackageState::default() };
            }
        }
    }

    /// Returns where a package stands; `None` when no attempt was made.
    pub fn state(&self, package: &str) -> Option<&PackageState> {
        self.packages.get(package)
    }

    /// Returns all packages that were attempted, sorted.
    pub fn packages(&self) -> &BTreeMap<String, PackageState> {
        &self.packages
    }

    /// Returns the current attempt at a package.
    pub fn current(&self, package: &str) -> Option<&Current> {
        self.packages.get(package)?.current.as_ref()
    }

    /// Returns the packages whose attempts have not ended, sorted.
    pub fn open(&self) -> impl Iterator<Item = (&str, &Current)> {
        self.packages.iter().filter_map(|(name, state)| Some((name.as_str(), state.current.as_ref()?)))
    }

    fn entry(&mut self, package: &str) -> &mut PackageState {
        self.packages.entry(package.to_owned()).or_default()
    }
}
