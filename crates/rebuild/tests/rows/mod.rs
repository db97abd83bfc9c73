//! Rows of the table of mkpkg that belong together, each group in a file of its own.

mod libraries;
mod programs;
mod triggers;
mod versions;

pub(crate) use libraries::LIBRARIES;
pub(crate) use programs::PROGRAMS;
pub(crate) use triggers::{TRIGGERS, verdict};
pub(crate) use versions::VERSIONS;

/// One finding about mkpkg.
pub(crate) struct Row {
    /// Its name.
    pub(crate) name: &'static str,
    /// What mkpkg documents; empty where it says nothing.
    pub(crate) documented: &'static str,
    /// What its code does.
    pub(crate) does: &'static str,
    /// What we do.
    pub(crate) ours: &'static str,
    /// Shows that we do.
    pub(crate) check: fn(),
}
