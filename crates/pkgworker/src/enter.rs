//! A shell, or one command, in a kept root: the same packages, directories, environment and working
//! directory as the section that failed.
//!
//! What the section's script does before its own lines (variables, umask, working directory) is taken from
//! the script that rpmbuild left, not imitated. What the build was given as macros is in a macro file, so that
//! `rpm --eval` inside expands as the spec did.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use buildroot::{BindMount, Capabilities, Limits, Network, SandboxSpec, Upper};

use crate::command::{JobDirectories, TOP_DIRECTORY, invocation, sandbox_spec};
use crate::error::{IoContext, WorkerError};
use crate::kept::KeptRoot;
use crate::left::open_left;

/// Where a shell finds what it starts from.
const START_DIRECTORY: &str = "/run/millwright";

/// Where rpm inside finds the build's macros.
const MACROS_FILE: &str = "/etc/rpm/macros.zzz-millwright-shell";

/// What is read of a section's script: its own lines are of no interest.
const LONGEST_SCRIPT: u64 = 1 << 20;

/// How a kept root is entered.
#[derive(Clone, Debug, Default)]
pub struct Entrance {
    /// Program and arguments; none means a shell.
    pub command: Vec<String>,
    /// The terminal's type, for a shell that a person uses; absent for a command of a script.
    pub terminal: Option<String>,
    /// Whether the host's network is seen.
    pub network: bool,
    /// Whether the user is root inside and may change the root; the changes are kept.
    pub as_root: bool,
}

/// Returns the sandbox that enters a kept root; writes what its shell starts from into `directory/shell`.
pub fn enter(
    kept: &KeptRoot,
    directory: &Path,
    lowers: Vec<PathBuf>,
    entrance: &Entrance,
) -> Result<SandboxSpec, WorkerError> {
    let places = JobDirectories::below(directory);
    let mut spec = sandbox_spec(&kept.job, lowers, &places, true);
    let start = directory.join("shell");
    write_start(kept, &places, &start)?;
    // Earlier changes of the root are seen by everybody, made by root alone.
    spec.upper = Upper::Disk { dir: places.upper.clone() };
    spec.read_only_root = !entrance.as_root;
    if entrance.as_root {
        (spec.uid, spec.gid, spec.capabilities) = (0, 0, Capabilities::PackageTransaction);
    }
    spec.limits = Limits::default();
    spec.working_directory = TOP_DIRECTORY.into();
    spec.interactive = entrance.terminal.is_some();
    if let Some(terminal) = &entrance.terminal {
        spec.environment.insert("TERM".to_owned(), terminal.clone());
    }
    spec.binds.push(read_only(&start, START_DIRECTORY));
    spec.binds.push(read_only(&start.join("macros"), MACROS_FILE));
    if entrance.network {
        spec.network = Network::Host;
        for file in ["/etc/resolv.conf", "/etc/hosts"] {
            // A link would lead out of the root.
            if let Ok(source) = fs::canonicalize(file) {
                spec.binds.push(read_only(&source, file));
            }
        }
    }
    // A source package or compiler cache that is gone meanwhile is no reason not to look.
    spec.binds.retain(|bind| bind.source.exists());
    spec.arguments = arguments(&entrance.command);
    Ok(spec)
}

fn read_only(source: &Path, target: &str) -> BindMount {
    BindMount { source: source.to_owned(), target: target.into(), read_only: true }
}

fn arguments(command: &[String]) -> Vec<String> {
    let shell = "/bin/bash".to_owned();
    if command.is_empty() {
        return vec![shell, "--rcfile".to_owned(), format!("{START_DIRECTORY}/rcfile"), "-i".to_owned()];
    }
    let script = format!(". {START_DIRECTORY}/section; exec \"$@\"");
    [shell.clone(), "-c".to_owned(), script, shell].into_iter().chain(command.iter().cloned()).collect()
}

/// Writes the files that a shell starts from.
fn write_start(kept: &KeptRoot, places: &JobDirectories, start: &Path) -> Result<(), WorkerError> {
    fs::create_dir_all(start).context("create", start)?;
    let script = kept.failed.as_ref().and_then(|failed| host_path(places, &failed.script));
    // A script that rpmbuild removed leaves the environment of the sandbox alone.
    let mut text = String::new();
    let _ = script
        .and_then(|path| open_left(&path))
        .map(|script| script.take(LONGEST_SCRIPT).read_to_string(&mut text));
    let section = kept.failed.as_ref().map_or("BUILD", |failed| failed.section.as_str());
    let fallback = format!("umask 022\ncd {TOP_DIRECTORY}/BUILD\n");
    let prologue = prologue(&text).unwrap_or(fallback);
    let rcfile = format!(
        ". {START_DIRECTORY}/section\nPS1='[{} {section}] \\w \\$ '\n",
        // Only what may stand in a package's name is shown.
        kept.job.package.replace(|c: char| !c.is_ascii_alphanumeric() && !"+-._".contains(c), "_")
    );
    for (name, content) in [("section", prologue), ("rcfile", rcfile), ("macros", macros(kept))] {
        let path = start.join(name);
        fs::write(&path, content).context("write", &path)?;
        readable(&path, 0o644)?;
    }
    readable(start, 0o755)
}

/// Lets the build user read a file, whatever the caller's umask is.
fn readable(path: &Path, mode: u32) -> Result<(), WorkerError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).context("set the mode of", path)
}

/// Returns where a file of the root's temporary directories is on the host.
pub(crate) fn host_path(places: &JobDirectories, inside: &str) -> Option<PathBuf> {
    let below = |prefix: &str, place: &Path| {
        let name = inside.strip_prefix(prefix)?;
        // The name comes from a log: nothing that leads elsewhere.
        (!name.is_empty() && !name.contains('/') && name != "..").then(|| place.join(name))
    };
    below("/var/tmp/", &places.var_tmp).or_else(|| below("/tmp/", &places.tmp))
}

/// Returns what a section's script does before the section's own lines, without its tracing.
///
/// rpmbuild writes: variables, `umask 022`, `cd "<BUILD>"`, for `%install` in some distributions the removal
/// of the build root, `cd '<directory of the sources>'` (not in `%prep`), then the section.
fn prologue(script: &str) -> Option<String> {
    let lines: Vec<&str> = script.lines().collect();
    let umask = lines.iter().position(|line| line.trim() == "umask 022")?;
    let change = umask + lines[umask..].iter().position(|line| line.trim().starts_with("cd \""))?;
    let prepares_install = |line: &&&str| {
        let line = line.trim();
        line.is_empty()
            || line.starts_with("[ \"$RPM_BUILD_ROOT\"")
            || line.starts_with("rm -rf ")
            || line.starts_with("mkdir ")
    };
    let subdirectory = lines[change + 1..].iter().find(|line| !prepares_install(line));
    let subdirectory = subdirectory.filter(|line| line.starts_with("cd '") && line.ends_with('\''));
    let kept = lines[..=change].iter().filter(|line| !line.starts_with("#!") && line.trim() != "set -x");
    let mut text: String = kept.flat_map(|line| [line, "\n"]).collect();
    if let Some(line) = subdirectory {
        // After a failed %prep it may not be there.
        text.push_str(line);
        text.push_str(" || :\n");
    }
    Some(text)
}

/// Returns the macros that rpmbuild was given on its command line.
fn macros(kept: &KeptRoot) -> String {
    let arguments = invocation(&kept.job).arguments;
    let definitions = arguments.windows(2).filter(|pair| pair[0] == "--define");
    definitions.map(|pair| format!("%{}\n", pair[1].replace('\n', "\\\n"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "#!/bin/sh\n\n  RPM_ARCH=\"x86_64\"\n  export RPM_ARCH\n  \n  set -x\n  umask 022\n  cd \"/build/BUILD\"\n";

    #[test]
    fn the_prologue_ends_where_the_section_starts() {
        let start = "\n  RPM_ARCH=\"x86_64\"\n  export RPM_ARCH\n  \n  umask 022\n  cd \"/build/BUILD\"\n";
        for (section, expected) in [
            ("cd 'x-1'\ncat a.txt\ncd 'doc'\n", format!("{start}cd 'x-1' || :\n")),
            // `%prep` changes its directory by itself, after other commands.
            ("rm -rf 'x-1'\n/usr/bin/tar xf x.tar\ncd 'x-1'\n", start.to_owned()),
            (
                "[ \"$RPM_BUILD_ROOT\" != \"/\" ] && rm -rf \"${RPM_BUILD_ROOT}\"\nmkdir -p `dirname \"$RPM_BUILD_ROOT\"`\nmkdir \"$RPM_BUILD_ROOT\"\ncd 'x-1'\nmake install\n",
                format!("{start}cd 'x-1' || :\n"),
            ),
            ("make\n", start.to_owned()),
        ] {
            assert_eq!(prologue(&format!("{SCRIPT}{section}")), Some(expected), "{section}");
        }
        assert_eq!(prologue("echo something else\n"), None);
    }

    #[test]
    fn only_files_right_below_the_temporary_directories_are_read() {
        let places = JobDirectories::below(Path::new("/kept"));
        let path = |inside: &str| host_path(&places, inside);
        assert_eq!(path("/var/tmp/rpm-tmp.x"), Some("/kept/var-tmp/rpm-tmp.x".into()));
        assert_eq!(path("/tmp/rpm-tmp.x"), Some("/kept/tmp/rpm-tmp.x".into()));
        for outside in ["/var/tmp/../../etc/shadow", "/etc/shadow", "/var/tmp/..", "/tmp/"] {
            assert_eq!(path(outside), None, "{outside}");
        }
    }
}
