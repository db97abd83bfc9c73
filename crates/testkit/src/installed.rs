//! rpm as the oracle of build roots: what it installs into an empty directory, and how two trees differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a tree has: path to type, mode, owner and target; `PATH time` to when a file was changed, in seconds since
/// 1970; `PATH content` to SHA-256.
pub type TreeListing = BTreeMap<String, String>;

/// Lists path, type, mode, owner and target of everything, and the time and SHA-256 of files.
const LIST: &str = "find . -printf 'fact %p\\t%y %m %U %G %l\\n' && find . -type f -printf 'time %p\\t%Ts\\n' && \
                    find . -type f -exec sha256sum -z {} + | tr '\\0' '\\n'";

/// Where an overlay is mounted, in a mount namespace of its own.
const MOUNT_POINT: &str = "/mnt";

/// Mounts an overlay of directories, topmost first, in a namespace of its own and lists all that is in it.
///
/// # Panics
/// When it cannot be mounted or listed.
pub fn list_overlay(lowers: &[PathBuf]) -> TreeListing {
    let dir = tempfile::tempdir().expect("directory");
    let dir = dir.path();
    for (number, lower) in lowers.iter().enumerate() {
        symlink(lower, dir.join(number.to_string())).expect("link");
    }
    // One directory is no overlay.
    fs::create_dir(dir.join("empty")).expect("directory");
    let names: Vec<String> = (0..lowers.len()).map(|number| number.to_string()).collect();
    let script = format!(
        "cd {} && mount -t overlay overlay -o lowerdir={}:empty {MOUNT_POINT} && cd {MOUNT_POINT} && {LIST}",
        dir.display(),
        names.join(":")
    );
    list(Command::new("unshare").args(["-m", "sh", "-c", &script]))
}

/// Lists all that is in a directory.
///
/// # Panics
/// When it cannot be listed.
pub fn list_directory(root: &Path) -> TreeListing {
    list(Command::new("sh").arg("-c").arg(format!("cd {} && {LIST}", root.display())))
}

fn list(command: &mut Command) -> TreeListing {
    let output = command.output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((path, time)) = line.strip_prefix("time ").and_then(|fact| fact.split_once('\t')) {
            found.insert(format!("{path} time"), time.to_owned());
            continue;
        }
        match line.strip_prefix("fact ").and_then(|fact| fact.split_once('\t')) {
            Some((path, facts)) => {
                // The mode of a symbolic link means nothing.
                found.insert(path.to_owned(), facts.replace("l 777", "l"));
            }
            None => {
                // sha256sum marks names that it had to write otherwise; without a mark the line is as it is.
                let (digest, path) = line.split_once("  ").unwrap_or((line, ""));
                found.insert(format!("{path} content"), digest.to_owned());
            }
        }
    }
    found
}

/// Installs packages with the host's rpm in a directory; the database goes to `/rpmdb` in it and is removed.
///
/// # Panics
/// When rpm does not install them.
pub fn install_with_rpm<'a>(root: &Path, options: &[&str], packages: impl IntoIterator<Item = &'a Path>) {
    fs::create_dir_all(root).expect("root");
    let output = Command::new("rpm")
        .args(["-i", "--nodeps", "--nosignature", "--noplugins", "--root"])
        .arg(root)
        .args(["--define", "_dbpath /rpmdb"])
        .args(options)
        .args(packages)
        .env("HOME", root)
        .output()
        .expect("rpm");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::remove_dir_all(root.join("rpmdb")).expect("rpm's database");
}

/// Says in words how two listings differ; the second is called rpm's.
pub fn differences(ours: &TreeListing, theirs: &TreeListing) -> Vec<String> {
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let differing = paths.into_iter().filter(|path| ours.get(*path) != theirs.get(*path));
    differing.map(|path| format!("{path}: {:?}, rpm has {:?}", ours.get(path), theirs.get(path))).collect()
}
