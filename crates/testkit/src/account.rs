//! Somebody who is not root, for programs whose rights matter. Only root can become somebody else.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The user and group id; nobody has them.
pub const SOMEBODY: u32 = 12_345;

/// The first subordinate user and group id of somebody who has a range of them.
pub const SUBORDINATE: (u32, u32) = (200_000, 300_000);

/// Whether somebody has subordinate ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubordinateIds {
    /// A range of 65,536.
    Range,
    /// None.
    None,
}

/// An account that exists for the commands that it makes, in a mount namespace of theirs, and for nobody else.
pub struct Account {
    /// Mounts to make before, in the words of a shell.
    preparation: String,
}

impl Account {
    /// Makes an account, whose files are kept in `directory`; or says what this host lacks for it.
    pub fn new(directory: &Path, ids: SubordinateIds) -> Result<Self, String> {
        if !is_root() {
            return Err("needs root to become somebody else".to_owned());
        }
        let status = Command::new("unshare").args(["-Urm", "true"]).uid(SOMEBODY).gid(SOMEBODY).status();
        if !status.is_ok_and(|status| status.success()) {
            return Err("no user namespaces for ordinary users".to_owned());
        }
        let mut lines = vec![("passwd", format!("somebody:x:{SOMEBODY}:{SOMEBODY}::/:/bin/sh"))];
        if ids == SubordinateIds::Range {
            if !Path::new("/usr/bin/newuidmap").exists() {
                return Err("`newuidmap` is not installed (Debian package `uidmap`)".to_owned());
            }
            lines.push(("subuid", format!("somebody:{}:65536", SUBORDINATE.0)));
            lines.push(("subgid", format!("somebody:{}:65536", SUBORDINATE.1)));
        }
        let mut preparation = String::new();
        for (file, line) in lines {
            let host = Path::new("/etc").join(file);
            if !host.exists() {
                return Err(format!("there is no `{}` to cover", host.display()));
            }
            // A copy with one line more, which covers the host's file for those commands alone.
            let copy = directory.join(file);
            let text = fs::read_to_string(&host).expect("the file was just there");
            fs::write(&copy, format!("{text}{line}\n")).expect("the test's directory can be written");
            preparation.push_str(&format!("mount --bind '{}' '{}'\n", copy.display(), host.display()));
        }
        Ok(Self { preparation })
    }

    /// Returns a command that runs a program as somebody; its standard input is empty.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let script = format!(
            "set -e\n{}exec setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups \"$@\" </dev/null",
            self.preparation
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh"]).arg(program);
        command
    }
}

/// Gives a directory and all below it to somebody.
pub fn give_to_somebody(path: &Path) {
    std::os::unix::fs::lchown(path, Some(SOMEBODY), Some(SOMEBODY)).expect("root may give files away");
    if path.is_dir() && !path.is_symlink() {
        let entries = fs::read_dir(path).expect("root may read directories");
        let below: Vec<PathBuf> =
            entries.map(|entry| entry.expect("nobody else is at work").path()).collect();
        below.iter().for_each(|path| give_to_somebody(path));
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|text| text.lines().any(|line| line.starts_with("Uid:") && line.ends_with("\t0\t0\t0\t0")))
}
