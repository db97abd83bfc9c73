//! A spec whose version comes from upstream: where from, in which form, and the edit that takes it over.
//!
//! `%global _mkpkg_version_from` names the source ([`parse_version_source`], [`VersionSource`]). What it says is made a
//! version as RPM writes it ([`rpm_version`], [`Described`]), and where that is above the spec's, [`update_version`]
//! edits the spec: the version in the one place where it is written, the release back to 1, a changelog entry, and no
//! other byte. The grammar and the forms are in `docs/mkpkg.md`.
//!
//! What it is not: it reads no file, runs no command and knows no git; whoever asks supplies what those say.

mod edit;
mod form;
mod source;

pub use edit::{UpdateError, UpdatedSpec, update_version};
pub use form::{Described, VersionFormError, rpm_version};
pub use source::{VersionSource, parse_version_source};

/// The macro that says where the version of a spec comes from.
pub const VERSION_MACRO: &str = "_mkpkg_version_from";
