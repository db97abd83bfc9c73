//! Rebuild triggers: conditions on other packages and on files, written in the spec, that make a rebuild
//! necessary.
//!
//! `%global _mkpkg_depends` names packages ([`parse_triggers`], [`Trigger`], [`Level`]);
//! `%global _mkpkg_depends_files` names files ([`parse_file_triggers`]);
//! `%global _mkpkg_depends_programs` says which programs give the versions of what is outside the tree
//! ([`parse_programs`]). [`TriggerFacts`] is what is true of both
//! now, `SeenTriggers` in the build record is what was true at the last build, and [`evaluate`] compares them:
//! each trigger fires, is quiet or is unknown, whatever the others say. The grammar and the meaning of every form
//! are in `docs/mkpkg.md`.
//!
//! What it is not: it reads no spec and no file, and looks for no package; whoever asks supplies what is true.

mod evaluate;
mod files;
mod level;
mod locate;
pub(crate) mod parse;
mod program;

pub(crate) use evaluate::trigger_reasons;
pub use evaluate::{Evaluated, TriggerFacts, UnknownReason, Verdict, evaluate};
pub use files::{FilePattern, parse_file_triggers};
pub use level::Level;
pub(crate) use locate::definitions;
pub use locate::{DefinitionPlace, locate_definition};
pub use parse::{Operand, Operator, Trigger, TriggerSyntaxError, parse_triggers};
pub use program::{
    ProgramAnswer, ProgramFault, Programs, answered_version, command_text, parse_programs, shown,
};

/// The macro that names packages.
pub const PACKAGES_MACRO: &str = "_mkpkg_depends";

/// The macro that names files.
pub const FILES_MACRO: &str = "_mkpkg_depends_files";

/// The macro that names programs.
pub const PROGRAMS_MACRO: &str = "_mkpkg_depends_programs";

/// mkpkg's own name for [`PROGRAMS_MACRO`]; it counts where that is not defined.
pub const PROGRAMS_MACRO_OF_MKPKG: &str = "_dep_vers_prog";
