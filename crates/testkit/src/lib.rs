//! What tests share: servers that misbehave on purpose, and the distribution's own tools as oracles.
//!
//! What it is: real servers on the loopback interface ([`SourceServer`], [`ObjectServer`]) that tests steer reply by
//! reply; rpm and dnf in processes that answer questions ([`Oracle`]); random questions for them ([`requirement_sets`]); what rpm
//! installs ([`install_with_rpm`]); somebody who is not root ([`Account`]).
//!
//! What it is not: nothing here is used by a program; a helper that cannot do its work panics with the
//! reason, because a test has no better use for an error.

mod account;
mod blob_service;
mod draw;
mod installed;
mod kills;
mod object_server;
mod oracle;
mod program;
mod source_server;
mod tls;
pub mod verdict;

pub use account::{Account, SOMEBODY, SUBORDINATE, SubordinateIds, give_to_somebody};
pub use blob_service::{BLOB_ACCOUNT, BLOB_KEY};
pub use draw::{RequirementSet, requirement_sets};
pub use installed::{TreeListing, differences, install_with_rpm, list_directory, list_overlay};
pub use kills::{KillReport, KillTrial, STAGES, Stage, left_running};
pub use object_server::{ObjectFault, ObjectRequest, ObjectServer};
pub use oracle::{DnfAnswer, Oracle, OracleError};
pub use program::copy_program;
pub use source_server::{FileReply, RangeSupport, ReceivedRequest, Reply, SourceServer};
pub use tls::TestAuthority;

/// Locks what a server's threads share; a test that panicked has left it as it should be.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
