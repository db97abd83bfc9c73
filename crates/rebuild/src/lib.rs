//! When a package must be built again, and why.
//!
//! What it is: the identity of a build ([`InputFacts`], [`build_identity`], [`job_identity`]) and the decision
//! ([`build_reasons`]): a pure function from the record of the last build and present facts to a list of
//! typed reasons. An empty list means up to date. No time stamp takes part. How a change goes on from there to other
//! packages is in [`layer`] and [`sensitivity`].
//!
//! What it is not: it reads no file and starts nothing; whoever asks supplies the facts through
//! [`PublishedState`]. Which packages are asked about, and in which order they are built, is the
//! scheduler's business.

pub mod bump;
mod cascade;
pub mod change_set;
mod decide;
pub mod export;
mod identity;
mod need;
pub mod select;
pub mod sodiff;
pub mod soname;
pub mod trigger;
pub mod upstream;
mod words;

pub use cascade::{Sensitivity, is_compiled_in_by, layer, sensitivity};
pub use decide::{PresentFacts, PublishedState, build_reasons, first_build_reasons};
pub use identity::{IdentityFacts, InputFacts, build_identity, job_identity};
pub use need::is_lost;
