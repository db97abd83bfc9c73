//! What `mkpkg` was asked, laid over its configuration files.

use std::path::{Path, PathBuf};

use clap::Args;
use rebuild::soname::SonamePolicy;
use report::{ExitStatus, Failure};
use rpm_model::ReleaseBump;
use serde::Deserialize;

/// Read first; what the user's own file says counts more.
const SYSTEM_FILE: &str = "/etc/mkpkg/config";

/// The user's own file, below the home directory.
const USER_FILE: &str = ".config/mkpkg/config";

/// Who raises releases when no configuration says it.
const PACKAGER: &str = "mkpkg <mkpkg@localhost>";

pub(crate) const MKPKG_HELP: &str = "\
Triggers are written in the spec (docs/mkpkg.md has the grammar and what each form means):
  %global _mkpkg_depends lua > minor, openssl > 3.0.6, systemd
  %global _mkpkg_depends_files foo.service conf/*
  %global _mkpkg_depends_programs dovecot = ./dovecot-version --stable; firmware = cat FIRMWARE

A spec's version may come from upstream; it is taken over before anything is decided, and undone with a failed build:
  %global _mkpkg_version_from git src 'v[0-9]*'      (or: file VERSION, file configure.ac PATTERN, command ./next)

Examples:
  mkpkg jq                      build jq, and what it needs, where something asks for it
  mkpkg --dry-run               what would be built in the whole tree, and why
  mkpkg -f jq -- --run-check    build jq again, with its tests; after -- come options of `millwright build`
  mkpkg --refresh jq            take over what is true now into jq's record, without building
  mkpkg --bump spec jq          raise `Release:` in the spec where jq is built again for others' sake, instead of
                                counting behind %dist; --bump none leaves the release

Configuration (TOML): /etc/mkpkg/config, then ~/.config/mkpkg/config, with the keys soname_comp, bump, packager,
verb, force, refresh.

The last line is `mkp-status: current|success|error VERSION` (with --dry-run `due` where something would be built; of
several packages, their number). Exit codes: 0 done, 1 some goals failed, 2 usage or configuration, 3 the host
lacks something, 4 a defect of Millwright";

/// What `mkpkg` is asked.
#[derive(Debug, Args)]
pub(crate) struct MkpkgArguments {
    /// Specs or packages; none means the whole tree, in dependency order
    names: Vec<String>,
    /// Tell how builds go on, and a line for each package
    #[arg(long, short = 'v')]
    verb: bool,
    /// Build again where nothing else asks for a build
    #[arg(long, short = 'f')]
    force: bool,
    /// Rewrite what records say of triggers and libraries from what is true now; build nothing
    #[arg(long, short = 'r', conflicts_with = "force")]
    refresh: bool,
    /// What a change of shared libraries does: keep, newer, never, neverever or a level such as minor [default: the
    /// tree's policy.sonames, else keep]
    #[arg(long, alias = "so-comp", value_name = "POLICY")]
    soname_comp: Option<SonamePolicy>,
    /// Show what would be done and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl MkpkgArguments {
    /// Returns whether it is a run that builds, unless a configuration file says otherwise.
    pub(crate) fn builds(&self) -> bool {
        !self.dry_run && !self.refresh
    }

    /// Returns whether builds are told of while they go on.
    pub(crate) fn tells_of_builds(&self) -> bool {
        self.verb
    }
}

/// A configuration file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    soname_comp: Option<String>,
    bump: Option<ReleaseBump>,
    packager: Option<String>,
    verb: Option<bool>,
    force: Option<bool>,
    refresh: Option<bool>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) names: Vec<String>,
    pub(super) verb: bool,
    pub(super) force: bool,
    pub(super) refresh: bool,
    /// `None` leaves it to the tree's configuration.
    pub(super) soname_comp: Option<SonamePolicy>,
    /// `None` leaves it to the tree's configuration.
    pub(super) bump: Option<ReleaseBump>,
    pub(super) packager: String,
    pub(super) dry_run: bool,
}

impl Settings {
    /// Reads the configuration files and lays what was typed over them; `bump` is an option of every command.
    pub(super) fn new(asked: &MkpkgArguments, bump: Option<ReleaseBump>) -> Result<Self, Failure> {
        Self::over(asked, bump, &configuration()?).map_err(|text| Failure::new(ExitStatus::Usage, text))
    }

    fn over(
        asked: &MkpkgArguments,
        bump: Option<ReleaseBump>,
        texts: &[(PathBuf, String)],
    ) -> Result<Self, String> {
        let mut file = File::default();
        let mut soname_comp = None;
        for (path, text) in texts {
            let read = File::read(path, text)?;
            if let Some(text) = &read.soname_comp {
                soname_comp = Some(soname_policy(path, text)?);
            }
            file.bump = read.bump.or(file.bump);
            file.packager = read.packager.or(file.packager);
            file.verb = read.verb.or(file.verb);
            file.force = read.force.or(file.force);
            file.refresh = read.refresh.or(file.refresh);
        }
        let force = asked.force || (file.force == Some(true) && !asked.refresh);
        Ok(Self {
            names: asked.names.clone(),
            verb: asked.verb || file.verb == Some(true),
            force,
            refresh: asked.refresh || (file.refresh == Some(true) && !force),
            soname_comp: asked.soname_comp.or(soname_comp),
            bump: bump.or(file.bump),
            packager: file.packager.unwrap_or_else(|| PACKAGER.to_owned()),
            dry_run: asked.dry_run,
        })
    }
}

/// Returns who raises releases, as the configuration files say.
pub(crate) fn packager() -> Result<String, Failure> {
    let mut packager = None;
    for (path, text) in configuration()? {
        let read = File::read(&path, &text).map_err(|text| Failure::new(ExitStatus::Usage, text))?;
        packager = read.packager.or(packager);
    }
    Ok(packager.unwrap_or_else(|| PACKAGER.to_owned()))
}

/// Returns the configuration files that there are, what counts more last.
fn configuration() -> Result<Vec<(PathBuf, String)>, Failure> {
    let mut files = vec![PathBuf::from(SYSTEM_FILE)];
    files.extend(std::env::home_dir().map(|home| home.join(USER_FILE)));
    let mut texts = Vec::new();
    for path in files {
        match std::fs::read_to_string(&path) {
            Ok(text) => texts.push((path, text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let text = format!("cannot read the configuration `{}`: {error}", path.display());
                return Err(Failure::new(ExitStatus::Environment, text));
            }
        }
    }
    Ok(texts)
}

impl File {
    fn read(path: &Path, text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| format!("`{}`: {error}", path.display()))
    }
}

fn soname_policy(path: &Path, text: &str) -> Result<SonamePolicy, String> {
    text.parse().map_err(|error| format!("`{}`: soname_comp: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::policy_arguments::PolicyArguments;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        asked: MkpkgArguments,
        #[command(flatten)]
        policy: PolicyArguments,
    }

    fn settings(line: &[&str], texts: &[&str]) -> Result<Settings, String> {
        let line = Line::try_parse_from(["mkpkg"].iter().chain(line)).map_err(|error| error.to_string())?;
        let texts: Vec<_> = texts.iter().map(|text| (PathBuf::from("f"), (*text).to_owned())).collect();
        Settings::over(&line.asked, line.policy.bump, &texts)
    }

    #[test]
    fn flags_win_over_the_users_file_and_that_over_the_systems() {
        let system = "soname_comp = \"newer\"\nbump = \"spec\"\npackager = \"A <a@b>\"\nverb = true\n";
        let user = "soname_comp = \"> major\"\n";
        let found = settings(&["jq", "-f"], &[system, user]).unwrap();
        assert_eq!(
            (found.names, found.force, found.verb, found.bump),
            (vec!["jq".to_owned()], true, true, Some(ReleaseBump::Spec))
        );
        assert_eq!((found.soname_comp, found.packager.as_str()), ("major".parse().ok(), "A <a@b>"));
        let found = settings(&["--so-comp", "neverever", "--bump", "none"], &[system, user]).unwrap();
        assert_eq!((found.soname_comp, found.bump), (Some(SonamePolicy::NeverEver), Some(ReleaseBump::None)));
        let found = settings(&["-r"], &["force = true\n"]).unwrap();
        assert!(found.refresh && !found.force);
        let plain = settings(&[], &[]).unwrap();
        assert_eq!((plain.packager.as_str(), plain.bump), (PACKAGER, None));
    }

    #[test]
    fn what_cannot_be_meant_is_told_with_its_place() {
        let error = |line: &[&str], texts: &[&str]| settings(line, texts).unwrap_err();
        assert!(error(&[], &["soname_comp = \"sometimes\""]).contains("neverever"));
        assert!(error(&[], &["soname = 1"]).contains("soname_comp"));
        assert!(error(&[], &["bump = \"much\""]).contains("`dist`"));
        assert!(error(&["--bump", "much"], &[]).contains("`dist`"));
        assert!(error(&["--soname-comp", "sometimes"], &[]).contains("neverever"));
        assert!(error(&["-f", "-r"], &[]).contains("cannot be used with"));
    }
}
