//! The parts of what goes into a build besides its build root, and how two states of them differ.
//!
//! What it is: the memory behind "its inputs changed": a record keeps the parts, so that a later look can say
//! which file, macro or setting it was. What it is not: the identity of the inputs, which alone decides; see
//! `rebuild::InputFacts`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::ContentDigest;

/// What goes into a build besides its build root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputParts {
    /// The files of the source package, spec included, each with the digest that its header states.
    pub files: BTreeMap<String, String>,
    /// Macro definitions.
    pub defines: BTreeMap<String, String>,
    /// The extra macro file's hash, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macros_file: Option<ContentDigest>,
    /// The architecture built for.
    pub arch: String,
    /// The worker's way of building; see `pkgworker::WORKER_SEMANTICS`.
    pub worker_semantics: u32,
}

/// One difference between two states of the inputs, with both sides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "input", rename_all = "kebab-case")]
pub enum InputChange {
    /// A file of the source package: the spec, a source or a patch.
    File {
        /// Its name.
        name: String,
        /// Its recorded digest, if it was there.
        recorded: Option<String>,
        /// Its present digest, if it is there.
        present: Option<String>,
    },
    /// A macro that the configuration or the command line defines.
    Define {
        /// Its name.
        name: String,
        /// Its recorded body, if it was defined.
        recorded: Option<String>,
        /// Its present body, if it is defined.
        present: Option<String>,
    },
    /// The extra macro file.
    MacrosFile {
        /// Its recorded hash, if there was one.
        recorded: Option<ContentDigest>,
        /// Its present hash, if there is one.
        present: Option<ContentDigest>,
    },
    /// The architecture.
    Arch {
        /// The recorded one.
        recorded: String,
        /// The present one.
        present: String,
    },
    /// This version builds in another way.
    WorkerSemantics {
        /// The recorded number.
        recorded: u32,
        /// The present one.
        present: u32,
    },
    /// No file differs, but the header of the source package does: a macro that enters it, or rpm itself.
    SourceHeader,
}

impl InputParts {
    /// Returns how these differ from the present ones, in a fixed order: files by name, then the rest.
    pub fn changes_to(&self, present: &Self) -> Vec<InputChange> {
        let files = differing(&self.files, &present.files)
            .map(|(name, recorded, present)| InputChange::File { name, recorded, present });
        let defines = differing(&self.defines, &present.defines)
            .map(|(name, recorded, present)| InputChange::Define { name, recorded, present });
        let mut changes: Vec<InputChange> = files.chain(defines).collect();
        if self.macros_file != present.macros_file {
            changes.push(InputChange::MacrosFile {
                recorded: self.macros_file.clone(),
                present: present.macros_file.clone(),
            });
        }
        if self.arch != present.arch {
            changes.push(InputChange::Arch { recorded: self.arch.clone(), present: present.arch.clone() });
        }
        if self.worker_semantics != present.worker_semantics {
            changes.push(InputChange::WorkerSemantics {
                recorded: self.worker_semantics,
                present: present.worker_semantics,
            });
        }
        changes
    }
}

/// Returns the names whose values differ, sorted, each with both values.
fn differing<'a>(
    recorded: &'a BTreeMap<String, String>,
    present: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (String, Option<String>, Option<String>)> + 'a {
    let gone_or_other = recorded
        .iter()
        .filter(|(name, value)| present.get(*name) != Some(value))
        .map(|(name, value)| (name.clone(), Some(value.clone()), present.get(name).cloned()));
    let new = present
        .iter()
        .filter(|(name, _)| !recorded.contains_key(*name))
        .map(|(name, value)| (name.clone(), None, Some(value.clone())));
    let mut all: Vec<_> = gone_or_other.chain(new).collect();
    all.sort();
    all.into_iter()
}

/// How much of a digest people are shown.
const SHOWN_DIGITS: usize = 12;

impl fmt::Display for InputChange {
    /// Writes what changed in a few words, with both sides.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |digest: &str| digest.get(..SHOWN_DIGITS).unwrap_or(digest).to_owned();
        match self {
            Self::File { name, recorded: Some(recorded), present: Some(present) } => {
                write!(f, "{name} changed ({} -> {})", short(recorded), short(present))
            }
            Self::File { name, present: Some(_), .. } => write!(f, "{name} is new"),
            Self::File { name, .. } => write!(f, "{name} is gone"),
            Self::Define { name, recorded, present } => {
                let side = |body: &Option<String>| {
                    body.as_ref().map_or_else(|| "not defined".to_owned(), |body| format!("`{body}`"))
                };
                write!(f, "the macro %{name} changed ({} -> {})", side(recorded), side(present))
            }
            Self::MacrosFile { recorded, present } => {
                let side = |digest: &Option<ContentDigest>| {
                    digest.as_ref().map_or_else(|| "none".to_owned(), |digest| short(digest.as_str()))
                };
                write!(f, "the file of macros changed ({} -> {})", side(recorded), side(present))
            }
            Self::Arch { recorded, present } => {
                write!(f, "the architecture changed ({recorded} -> {present})")
            }
            Self::WorkerSemantics { recorded, present } => {
                write!(f, "Millwright builds in another way (semantics {recorded} -> {present})")
            }
            Self::SourceHeader => f.write_str(
                "the source package's header changed, no file in it: a macro that the spec uses, or rpm",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(files: &[(&str, &str)], dist: &str) -> InputParts {
        let map = |entries: &[(&str, &str)]| {
            entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        InputParts {
            files: map(files),
            defines: map(&[("dist", dist)]),
            macros_file: None,
            arch: "x86_64".into(),
            worker_semantics: 1,
        }
    }

    fn check(recorded: &InputParts, present: &InputParts, expected: &[&str]) {
        let changes: Vec<String> = recorded.changes_to(present).iter().map(ToString::to_string).collect();
        assert_eq!(changes, expected);
    }

    #[test]
    fn each_difference_is_named_with_both_sides() {
        let recorded = parts(&[("a.patch", "1"), ("a.spec", "0123456789abcdef"), ("a.tar", "3")], ".mw1");
        check(&recorded, &recorded, &[]);
        let mut present = parts(&[("a.spec", "fedcba9876543210"), ("a.tar", "3"), ("b.patch", "4")], ".mw2");
        present.macros_file = Some(ContentDigest::of_bytes(b""));
        present.worker_semantics = 2;
        check(
            &recorded,
            &present,
            &[
                "a.patch is gone",
                "a.spec changed (0123456789ab -> fedcba987654)",
                "b.patch is new",
                "the macro %dist changed (`.mw1` -> `.mw2`)",
                "the file of macros changed (none -> e3b0c44298fc)",
                "Millwright builds in another way (semantics 1 -> 2)",
            ],
        );
    }
}
