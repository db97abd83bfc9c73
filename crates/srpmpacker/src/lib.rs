//! Specs to SRPMs: which have to be packed, of which bytes, and what is wrong with the others.
//!
//! What it is: finding the specs of a tree ([`discover`]), deciding by content alone what must be packed
//! again ([`PackInputs`]), and doing it ([`pack`]) with sources from `sources`: natively from the header of the
//! reading where there is one, else with rpm behind specreader's `SpecEngine`. All failures of all specs come back
//! in one [`PackReport`].
//!
//! What it is not: it parses no spec and runs no rpm itself, trusts no source without its hash, and looks at
//! no time stamp to decide anything.

mod discover;
mod failure_text;
mod fetch;
mod inputs;
mod native;
mod outcome;
mod packer;
mod progress;
mod record;

pub use discover::{DiscoverError, Discovery, discover, discover_listed};
pub use outcome::{
    FallbackReason, PackCounts, PackFailure, PackReason, PackReport, SkipReason, SpecOutcome, SpecReport,
    SrpmWriter,
};
pub use packer::{PackOptions, PackerError, pack};
pub use record::{PackInputs, Records, SrpmRecord, SrpmState};
