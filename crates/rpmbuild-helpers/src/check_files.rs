//! Stands for `check-files`: which files of the build root no package has.
//!
//! rpmbuild gives the packaged files on standard input and takes what is printed for a complaint.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::call::{Call, DIFFERS, code_of, say};
use crate::oddity::Oddity;
use crate::tree::{below, inside, is_its_own_pattern};

/// Answers `check-files BUILDROOT`; with `compare` the script is run too.
pub(crate) fn answer(call: &Call, compare: bool) -> u8 {
    let mut listed = Vec::new();
    if let Err(error) = io::stdin().read_to_end(&mut listed) {
        say(&format!("check-files: cannot read the list of files: {error}"));
        return 1;
    }
    let missing = unpackaged(call, &listed);
    let done = match missing {
        Ok(text) if compare => script(call, &listed, Stdio::piped()).map(|(code, of_script)| {
            if code == 0 && of_script == text {
                say("check-files: as the script");
                print(&text)
            } else {
                say(&format!("check-files: the script says {}", String::from_utf8_lossy(&of_script)));
                DIFFERS
            }
        }),
        Ok(text) => Ok(print(&text)),
        Err(oddity) => {
            call.tell(&oddity);
            script(call, &listed, Stdio::inherit()).map(|(code, _)| code)
        }
    };
    done.unwrap_or_else(|error| {
        say(&format!("check-files: {error}"));
        1
    })
}

fn print(text: &[u8]) -> u8 {
    u8::from(io::stdout().write_all(text).is_err())
}

/// Runs the script and returns how it ended and, when `output` is a pipe, what it printed.
fn script(call: &Call, listed: &[u8], output: Stdio) -> io::Result<(u8, Vec<u8>)> {
    let mut script = Command::new(call.script.original())
        .args(&call.arguments)
        .stdin(Stdio::piped())
        .stdout(output)
        .spawn()?;
    let input = script.stdin.take();
    std::thread::scope(|scope| {
        scope.spawn(move || input.map(|mut input| input.write_all(listed)));
        let output = script.wait_with_output()?;
        Ok((code_of(output.status), output.stdout))
    })
}

/// Returns the script's words about files and links that are not listed: one line each, sorted.
fn unpackaged(call: &Call, listed: &[u8]) -> Result<Vec<u8>, Oddity> {
    let [root] = call.arguments.as_slice() else { return Err(Oddity::Arguments) };
    let root = Path::new(root);
    if !root.is_dir() || root.is_symlink() || !is_own_pattern_of_sed(root) {
        return Err(Oddity::RootName);
    }
    let mut left: BTreeMap<&[u8], usize> = BTreeMap::new();
    for line in listed.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        *left.entry(line).or_default() += 1;
    }
    let mut missing = Vec::new();
    for entry in below(root)?.into_iter().filter(|entry| entry.kind.is_file() || entry.kind.is_symlink()) {
        let path = entry.path.as_os_str().as_bytes();
        if path.contains(&b'\n') {
            return Err(Oddity::Name(entry.path));
        }
        match left.get_mut(path) {
            Some(count) if *count > 0 => *count -= 1,
            _ if !path.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => {
                return Err(Oddity::Name(entry.path));
            }
            _ => missing.push(entry.path),
        }
    }
    missing.sort_by(|one, other| one.as_os_str().as_bytes().cmp(other.as_os_str().as_bytes()));
    let mut text = Vec::new();
    for path in &missing {
        text.extend_from_slice(b"   ");
        text.extend_from_slice(inside(root, path).as_bytes());
        text.push(b'\n');
    }
    Ok(text)
}

/// Returns whether `sed` takes the path, used as a basic regular expression between `!`, for itself.
fn is_own_pattern_of_sed(path: &Path) -> bool {
    let more = |byte: u8| if b"+~".contains(&byte) { b'.' } else { byte };
    let text: Vec<u8> = path.as_os_str().as_bytes().iter().map(|byte| more(*byte)).collect();
    is_its_own_pattern(Path::new(OsStr::from_bytes(&text)))
}
