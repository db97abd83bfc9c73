//! Each stand-in beside its script: the script runs on a copy of the build root, then both are compared.
//!
//! This is how a whole distribution is built when it is to be shown that stand-ins and scripts do the same. A
//! difference ends the build.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::call::{Call, DIFFERS, Script, code_of, say};
use crate::lists;
use crate::oddity::Oddity;
use crate::tree::{below, with_ending};

/// What the copy's name ends with.
const COPY: &str = "-copy";

/// At most so many differences are told.
const MOST_DIFFERENCES: usize = 20;

/// Runs script and stand-in; returns the exit code of both, or [`DIFFERS`].
pub(crate) fn answer(call: &Call) -> u8 {
    match compare(call) {
        Ok(code) => code,
        Err(error) => {
            say(&format!("{}: cannot compare with the script: {error}", call.script.name()));
            DIFFERS
        }
    }
}

fn compare(call: &Call) -> io::Result<u8> {
    let start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let root = call.root.clone().ok_or_else(|| io::Error::other("`RPM_BUILD_ROOT` is not set"))?;
    let copy = with_ending(&root, COPY);
    run(Command::new("rm").arg("-rf").arg(&copy))?;
    if let Err(source) = run(Command::new("cp").arg("-a").arg(&root).arg(&copy)) {
        // Something that its owner may not read.
        call.tell(&Oddity::Io { operation: "copy", path: root, source });
        run(Command::new("rm").arg("-rf").arg(&copy))?;
        return run_script(call);
    }
    let script = Command::new(call.script.original())
        .args(&call.arguments)
        .env("RPM_BUILD_ROOT", &copy)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    let of_script = if call.script == Script::FindDebuginfo { read_lists(call) } else { BTreeMap::new() };
    let code = match call.stand_in() {
        Ok(code) => code,
        Err(oddity) => {
            // What is left to the script cannot differ from it.
            call.tell(&oddity);
            run(Command::new("rm").arg("-rf").arg(&copy))?;
            return run_script(call);
        }
    };
    let mut differences = differences(&listing(&root)?, &listing(&copy)?, start);
    if code != code_of(script) {
        differences.push(format!("exit code {code} instead of {}", code_of(script)));
    }
    if call.script == Script::FindDebuginfo && read_lists(call) != of_script {
        differences.push("the lists in the build directory".to_owned());
    }
    run(Command::new("rm").arg("-rf").arg(&copy))?;
    let name = call.script.name();
    if differences.is_empty() {
        say(&format!("{name}: as the script"));
        return Ok(code);
    }
    say(&format!("{name}: not as the script:"));
    differences.iter().take(MOST_DIFFERENCES).for_each(|difference| say(difference));
    Ok(DIFFERS)
}

/// Runs the script on the build root itself.
fn run_script(call: &Call) -> io::Result<u8> {
    Ok(code_of(Command::new(call.script.original()).args(&call.arguments).status()?))
}

fn run(command: &mut Command) -> io::Result<()> {
    match command.status()? {
        status if status.success() => Ok(()),
        status => Err(io::Error::other(format!("`{}` ended with {status}", command.get_program().display()))),
    }
}

/// Returns the lines of the lists that `find-debuginfo` leaves, sorted: their order means nothing.
fn read_lists(call: &Call) -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let directory = PathBuf::from(call.arguments.last().cloned().unwrap_or_else(OsString::new));
    let read = |name: &'static str| {
        let bytes = fs::read(directory.join(name)).unwrap_or_default();
        let end = if name == lists::SOURCES { 0 } else { b'\n' };
        let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == end).map(<[u8]>::to_vec).collect();
        lines.sort();
        (name, lines)
    };
    lists::OWN.into_iter().chain(["debugsourcefiles.list"]).map(read).collect()
}

/// What is compared of a file.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    /// The first name of the same file.
    same_as: PathBuf,
    /// Bytes of a file, target of a link.
    content: Vec<u8>,
    modified: i64,
}

/// Returns everything below a directory by its path from there.
fn listing(root: &Path) -> io::Result<BTreeMap<PathBuf, Facts>> {
    let mut entries = below(root).map_err(io::Error::other)?;
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let mut first = BTreeMap::new();
    let mut found = BTreeMap::new();
    for entry in entries {
        let metadata = fs::symlink_metadata(&entry.path)?;
        let name = entry.path.strip_prefix(root).unwrap_or(&entry.path).to_owned();
        let content = if entry.kind.is_symlink() {
            fs::read_link(&entry.path)?.into_os_string().into_encoded_bytes()
        } else if entry.kind.is_file() {
            // A file that its owner cannot read was not changed either.
            fs::read(&entry.path).unwrap_or_default()
        } else {
            Vec::new()
        };
        let same_as = first.entry(entry.identity).or_insert_with(|| name.clone()).clone();
        let owner = (metadata.uid(), metadata.gid());
        found.insert(name, Facts { mode: entry.mode, owner, same_as, content, modified: metadata.mtime() });
    }
    Ok(found)
}

/// Returns in words how `ours` differs from `theirs`. Times since `start` count as one: rpmbuild sets them anew.
fn differences(
    ours: &BTreeMap<PathBuf, Facts>,
    theirs: &BTreeMap<PathBuf, Facts>,
    start: u64,
) -> Vec<String> {
    let mut found = Vec::new();
    let start = i64::try_from(start).unwrap_or(i64::MAX);
    for (path, facts) in ours {
        let Some(other) = theirs.get(path) else {
            found.push(format!("{} is there", path.display()));
            continue;
        };
        let path = path.display();
        let mut say = |what: &str, differs: bool| {
            if differs {
                found.push(format!("{path}: {what}"));
            }
        };
        say("mode", facts.mode != other.mode);
        say("owner", facts.owner != other.owner);
        say("hard links", facts.same_as != other.same_as);
        say("content", facts.content != other.content);
        say("time", facts.modified != other.modified && facts.modified.min(other.modified) < start);
    }
    found.extend(
        theirs
            .keys()
            .filter(|path| !ours.contains_key(*path))
            .map(|path| format!("{} is missing", path.display())),
    );
    found
}
