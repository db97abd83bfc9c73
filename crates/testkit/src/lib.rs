//! What tests share: servers that misbehave on purpose, and the distribution's own tools as oracles.
//!
//! What it is: real servers on the loopback interface ([`SourceServer`]) that tests steer reply by reply; rpm and
//! dnf in processes that answer questions ([`Oracle`]); random questions for them ([`requirement_sets`]).
//!
//! What it is not: nothing here is used by a program; a helper that cannot do its work panics with the
//! reason, because a test has no better use for an error.

mod draw;
mod kills;
mod oracle;
mod source_server;
mod tls;
pub mod verdict;

pub use draw::{RequirementSet, requirement_sets};
pub use kills::{KillReport, KillTrial, STAGES, Stage};
pub use oracle::{DnfAnswer, Oracle, OracleError};
pub use source_server::{FileReply, RangeSupport, ReceivedRequest, Reply, SourceServer};
pub use tls::TestAuthority;
