//! Which of rpmbuild's helper scripts native programs stand for in a build: a decision over plain facts.
//!
//! After `%install` rpmbuild runs shell scripts over the build root, which cost more than rpmbuild itself in a small
//! package. The program `rpmbuild-helpers` does what they do; it is mounted over those scripts of a build root
//! whose content it is known to equal, so whatever macros, specs or people call by a script's path gets the
//! stand-in. The scripts themselves stay within its reach, for what it leaves to them.
//!
//! Nothing here decides what a build leaves: the files are the same, byte for byte, with and without.

mod probe;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use buildroot::{BindMount, SandboxSpec};
use rpm_model::{ContentDigest, TuningMode, TuningReport, UntunedReason, UntunedScript};

pub use probe::TuningMemory;
pub(crate) use probe::probe;

/// The program that stands for scripts; it is installed beside the sandbox's own helper.
const HELPER: &str = "rpmbuild-helpers";

/// Where the stand-ins look for the scripts; `rpmbuild-helpers` has the same paths.
const ORIGINALS: &str = "/run/millwright/originals";

/// Tells the stand-ins to compare.
const MODE_VARIABLE: &str = "MILLWRIGHT_TUNING";

/// Where rpm keeps its scripts, and where debugedit has its own.
const RPM_DIRECTORY: &str = "/usr/lib/rpm";
const PROGRAM_DIRECTORY: &str = "/usr/bin";

/// A script, and SHA-256 of each content that its stand-in equals: rpm 4.18.0 and debugedit 5.0.
struct Known {
    directory: &'static str,
    name: &'static str,
    contents: &'static [&'static str],
}

const fn rpm_script(name: &'static str, contents: &'static [&'static str]) -> Known {
    Known { directory: RPM_DIRECTORY, name, contents }
}

const KNOWN: [Known; 8] = [
    Known {
        directory: PROGRAM_DIRECTORY,
        name: "find-debuginfo",
        contents: &["e87b85413a89ada105288917ab11e67802d90bc12d3289ca4b7cf4ef66ad5947"],
    },
    rpm_script("brp-compress", &["ab79aee8d6a2669a59b0dc3705eb8acc9733a387deba565257a2a20f6f7f6fdc"]),
    rpm_script("brp-elfperms", &["bf67de3ecb4828097d94ed891b0b8dfded358590e8b07a6baa7d72d63bd6cd5c"]),
    rpm_script("brp-remove-la-files", &["39815b6096fcac740eb4df138353c76a7db51b83635e54f123a4cdab56a4a7a9"]),
    rpm_script("brp-strip", &["9eea35fe7f5bb674053f0eb24b3a91a0b20da8a428b874f47770dd4954b390d7"]),
    rpm_script(
        "brp-strip-comment-note",
        &["808dc4ea63ad9a2e5fbe0d1ca0311ad259fa14628cf6f72e80cc24e856f08aea"],
    ),
    rpm_script(
        "brp-strip-static-archive",
        &["5f15068894a23ec1d37bf7916caecbdef8bb235a683777de2ba3f029cea0a32c"],
    ),
    rpm_script("check-files", &["3c1273c9bb41bc52d858c5cc7efbb9991c28cb52b800452bee85804f67782189"]),
];

/// What is known of host and build root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The program that stands for scripts, if it is installed.
    pub(crate) helper: Option<PathBuf>,
    /// The newest version of the C library that it needs, and that the root's has: `2.34` is `(2, 34)`.
    pub(crate) needed_library: Option<(u32, u32)>,
    pub(crate) root_library: Option<(u32, u32)>,
    /// Whether the build is for this program's own architecture.
    pub(crate) own_architecture: bool,
    /// The scripts that the root has.
    pub(crate) scripts: Vec<FoundScript>,
}

/// A script of a build root.
#[derive(Clone, Debug)]
pub(crate) struct FoundScript {
    /// Its absolute path inside.
    pub(crate) path: PathBuf,
    /// The directory on the host that holds it.
    pub(crate) directory: PathBuf,
    pub(crate) sha256: ContentDigest,
}

/// What is done in a build.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tuning {
    pub(crate) report: TuningReport,
    binds: Vec<BindMount>,
}

impl Tuning {
    /// Returns what is done with a mode and these facts.
    pub(crate) fn decide(mode: TuningMode, facts: &Facts) -> Self {
        let mut tuning = Self { report: TuningReport { mode, ..TuningReport::default() }, binds: Vec::new() };
        let mut originals = BTreeSet::new();
        for known in &KNOWN {
            let path = format!("{}/{}", known.directory, known.name);
            match stand_in(mode, facts, known, &path) {
                Ok((helper, found)) => {
                    tuning.binds.push(read_only(helper, &path));
                    originals.insert((known.directory, found.directory.clone()));
                    tuning.report.stand_ins.push(path);
                }
                Err(reason) => tuning.report.scripts.push(UntunedScript { path, reason }),
            }
        }
        tuning.report.stand_ins.sort();
        tuning.report.scripts.sort_by(|one, other| one.path.cmp(&other.path));
        tuning.binds.extend(originals.into_iter().map(|(directory, on_host)| {
            let name = if directory == RPM_DIRECTORY { "rpm" } else { "bin" };
            read_only(&on_host, &format!("{ORIGINALS}/{name}"))
        }));
        tuning
    }

    /// Puts the stand-ins into a sandbox.
    pub(crate) fn apply(&self, spec: &mut SandboxSpec) {
        spec.binds.extend(self.binds.iter().cloned());
        if self.report.mode == TuningMode::Compare {
            spec.environment.insert(MODE_VARIABLE.to_owned(), "compare".to_owned());
        }
    }
}

/// Returns what stands for a script, and the script; or why nothing does.
fn stand_in<'a>(
    mode: TuningMode,
    facts: &'a Facts,
    known: &Known,
    path: &str,
) -> Result<(&'a Path, &'a FoundScript), UntunedReason> {
    if mode == TuningMode::Off {
        return Err(UntunedReason::TurnedOff);
    }
    if !facts.own_architecture {
        return Err(UntunedReason::ForeignArchitecture);
    }
    let helper = facts.helper.as_deref().ok_or(UntunedReason::NotInstalled)?;
    // Of scripts that are scattered over packages only one directory could be bound: the first.
    let of_directory = |script: &&FoundScript| {
        script.path.parent().is_some_and(|parent| parent == Path::new(known.directory))
    };
    let directory = facts.scripts.iter().find(of_directory).map(|script| &script.directory);
    let found = facts
        .scripts
        .iter()
        .find(|script| script.path == Path::new(path) && Some(&script.directory) == directory)
        .ok_or(UntunedReason::NoScript)?;
    if !known.contents.contains(&found.sha256.as_str()) {
        return Err(UntunedReason::UnknownScript { sha256: found.sha256.to_string() });
    }
    match facts.needed_library {
        Some(needed) if facts.root_library.is_some_and(|library| library >= needed) => Ok((helper, found)),
        needed => {
            let (major, minor) = needed.unwrap_or_default();
            Err(UntunedReason::CLibrary { needed: format!("GLIBC_{major}.{minor}") })
        }
    }
}

fn read_only(source: &Path, target: &str) -> BindMount {
    BindMount { source: source.to_owned(), target: target.into(), read_only: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        let found = |known: &Known| FoundScript {
            path: Path::new(known.directory).join(known.name),
            directory: Path::new("/layers/rpm").join(known.directory.trim_start_matches('/')),
            sha256: known.contents[0].parse().unwrap(),
        };
        Facts {
            helper: Some("/programs/rpmbuild-helpers".into()),
            needed_library: Some((2, 34)),
            root_library: Some((2, 36)),
            own_architecture: true,
            scripts: KNOWN.iter().map(found).collect(),
        }
    }

    fn reasons(mode: TuningMode, facts: &Facts) -> Vec<UntunedReason> {
        let tuning = Tuning::decide(mode, facts);
        let known = tuning.report.scripts.len() + tuning.report.stand_ins.len();
        assert_eq!(known, KNOWN.len());
        tuning.report.scripts.into_iter().map(|script| script.reason).collect()
    }

    #[test]
    fn known_scripts_are_stood_for() {
        let tuning = Tuning::decide(TuningMode::On, &facts());
        assert_eq!(tuning.report.stand_ins.len(), KNOWN.len());
        assert!(tuning.report.scripts.is_empty());
        assert!(tuning.binds.iter().all(|bind| bind.read_only));
        let targets: Vec<_> = tuning.binds.iter().map(|bind| bind.target.display().to_string()).collect();
        assert!(targets.contains(&"/usr/lib/rpm/brp-strip".to_owned()), "{targets:?}");
        assert!(targets.contains(&"/run/millwright/originals/rpm".to_owned()), "{targets:?}");
        assert!(targets.contains(&"/run/millwright/originals/bin".to_owned()), "{targets:?}");
        assert_eq!(targets.len(), KNOWN.len() + 2);
    }

    #[test]
    fn everything_that_is_not_known_runs_itself() {
        assert!(reasons(TuningMode::Compare, &facts()).is_empty());
        let all = |reason: UntunedReason| vec![reason; KNOWN.len()];
        assert_eq!(reasons(TuningMode::Off, &facts()), all(UntunedReason::TurnedOff));
        let changed = |change: fn(&mut Facts)| {
            let mut facts = facts();
            change(&mut facts);
            reasons(TuningMode::On, &facts)
        };
        assert_eq!(changed(|facts| facts.own_architecture = false), all(UntunedReason::ForeignArchitecture));
        assert_eq!(changed(|facts| facts.helper = None), all(UntunedReason::NotInstalled));
        assert_eq!(changed(|facts| facts.scripts.clear()), all(UntunedReason::NoScript));
        let library = || UntunedReason::CLibrary { needed: "GLIBC_2.34".into() };
        assert_eq!(changed(|facts| facts.root_library = None), all(library()));
        assert_eq!(changed(|facts| facts.root_library = Some((2, 28))), all(library()));
        let other = ContentDigest::of_bytes(b"#!/bin/sh\n");
        assert_eq!(
            changed(|facts| facts.scripts[1].sha256 = ContentDigest::of_bytes(b"#!/bin/sh\n")),
            [UntunedReason::UnknownScript { sha256: other.to_string() }]
        );
        // Of another package than the scripts beside it.
        assert_eq!(
            changed(|facts| facts.scripts[2].directory = "/layers/other".into()),
            [UntunedReason::NoScript]
        );
    }
}
