//! What a git repository says of the version of its HEAD.
//!
//! It is the host's own git that reads it, for repositories have more forms than a library of a reasonable size knows.
//! A repository is somebody else's: nothing in its configuration may make git run a program or reach the network, so
//! only such commands are run that look at neither index nor working tree, no configuration but the repository's own is
//! read, and no protocol is allowed with which missing objects could be fetched.

use std::path::Path;
use std::process::{Command, Stdio};

use rebuild::trigger::shown;
use rebuild::upstream::Described;

/// Digits of a commit's id in a version: always as many, so that a version does not depend on how many commits a
/// repository has.
const ABBREVIATION: &str = "--abbrev=10";

/// Describes HEAD by the nearest tag, annotated or not, or by the number of its commits where there is no tag.
pub(super) fn describe(repository: &Path, tags: Option<&str>) -> Result<Described, String> {
    let directory = repository.join(".git");
    let directory = if directory.exists() { directory } else { repository.to_owned() };
    let git = |arguments: &[&str]| git(&directory, arguments);
    let head = git(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).map_err(|reason| {
        format!("`{}` is no git repository with a commit: {reason}", repository.display())
    })?;
    let tags = tags.map(|tags| format!("--match={tags}"));
    let mut arguments = vec!["describe", "--tags", "--long", ABBREVIATION];
    arguments.extend(tags.as_deref());
    arguments.push(&head);
    match git(&arguments) {
        Ok(described) => Described::parse(&described)
            .ok_or_else(|| format!("git describes the commit as `{}`", shown(&described))),
        Err(reason) if tags.is_some() => Err(reason),
        Err(_) => {
            let commits = git(&["rev-list", "--count", &head])?;
            let commit = head.get(..10).unwrap_or(&head).to_owned();
            let commits = commits.parse().map_err(|_| format!("git counts `{}` commits", shown(&commits)))?;
            Ok(Described { tag: None, commits, commit })
        }
    }
}

/// Runs git over a repository and returns the first line that it says.
fn git(directory: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command.arg("--no-pager").arg("--git-dir").arg(directory);
    command.args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]).args(arguments);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).envs([
        ("LC_ALL", "C"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_NO_LAZY_FETCH", "1"),
        // An empty list allows no protocol at all.
        ("GIT_ALLOW_PROTOCOL", ""),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
    ]);
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        format!("git cannot be run: {error} (versions that come from git repositories need git on this host)")
    })?;
    let first =
        |bytes: &[u8]| String::from_utf8_lossy(bytes).lines().next().unwrap_or_default().trim().to_owned();
    if output.status.success() { Ok(first(&output.stdout)) } else { Err(shown(&first(&output.stderr))) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn run(directory: &Path, arguments: &[&str]) {
        let mut command = Command::new("git");
        command
            .current_dir(directory)
            .args(["-c", "user.name=A", "-c", "user.email=a@b.invalid"])
            .args(arguments);
        let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }

    fn commit(directory: &Path) {
        run(directory, &["commit", "--quiet", "--allow-empty", "--message=x"]);
    }

    fn version(directory: &Path, tags: Option<&str>) -> Result<String, String> {
        let described = describe(directory, tags)?;
        let version = described.version().unwrap();
        Ok(version.replace(&described.commit, "C"))
    }

    #[test]
    fn a_commit_is_a_release_a_snapshot_or_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(version(path, None).unwrap_err().contains("is no git repository"));
        run(path, &["init", "--quiet"]);
        assert!(version(path, None).unwrap_err().contains("is no git repository with a commit"));
        commit(path);
        commit(path);
        assert_eq!(version(path, None).unwrap(), "0^2.gitC");
        run(path, &["tag", "v1.2"]);
        assert_eq!(version(path, None).unwrap(), "1.2");
        commit(path);
        run(path, &["tag", "--annotate", "--message=x", "nightly-9"]);
        commit(path);
        assert_eq!(version(path, None).unwrap(), "9^1.gitC");
        assert_eq!(version(path, Some("v[0-9]*")).unwrap(), "1.2^2.gitC");
        assert!(version(path, Some("none*")).is_err());
        // A repository without a working tree, and one whose directory is elsewhere.
        run(path, &["clone", "--quiet", "--bare", ".", "bare"]);
        assert_eq!(version(&path.join("bare"), Some("v*")).unwrap(), "1.2^2.gitC");
        run(path, &["worktree", "add", "--quiet", "beside"]);
        assert_eq!(version(&path.join("beside"), Some("v*")).unwrap(), "1.2^2.gitC");
    }

    /// A repository's own configuration can name programs for many occasions; none of them comes.
    #[test]
    fn a_repository_makes_nothing_run() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        run(path, &["init", "--quiet"]);
        commit(path);
        run(path, &["tag", "v1.2"]);
        commit(path);
        let planted = path.join("planted");
        let program = path.join("program");
        fs::write(&program, format!("#!/bin/sh\ntouch {}\n", planted.display())).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let program = program.display().to_string();
        for (key, value) in [
            ("core.fsmonitor", &program),
            ("core.pager", &program),
            ("core.sshCommand", &program),
            ("core.editor", &program),
            ("core.alternateRefsCommand", &program),
            ("gpg.program", &program),
            ("alias.describe", &format!("!{program}")),
            ("credential.helper", &program),
            ("remote.origin.url", &"ssh://a.invalid/x".to_owned()),
            ("remote.origin.uploadpack", &program),
            ("remote.origin.promisor", &"true".to_owned()),
            ("core.repositoryFormatVersion", &"1".to_owned()),
            ("extensions.partialClone", &"origin".to_owned()),
        ] {
            run(path, &["config", key, value]);
        }
        for hook in ["post-checkout", "reference-transaction", "pre-auto-gc"] {
            fs::copy(path.join("program"), path.join(".git/hooks").join(hook)).unwrap();
        }
        assert_eq!(version(path, None).unwrap(), "1.2^1.gitC");
        assert!(!planted.exists());
        // Now there is something that would have to be fetched.
        let objects: Vec<_> = fs::read_dir(path.join(".git/objects")).unwrap().flatten().collect();
        for entry in objects.iter().filter(|entry| entry.file_name().len() == 2) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
        assert!(version(path, None).is_err());
        assert!(!planted.exists());
    }
}
