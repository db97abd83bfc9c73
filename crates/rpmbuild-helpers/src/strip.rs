//! Stands for `brp-strip`, `brp-strip-static-archive` and `brp-strip-comment-note`.
//!
//! The scripts ask `file` about every file of the build root and run one `strip` for each that it says is worth
//! it. Here the files are looked at directly, and one `strip` is given all of them.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::call::{Call, code_of};
use crate::content::{Content, content};
use crate::oddity::Oddity;
use crate::tree::{Entry, below, inside, is_its_own_pattern, is_plain, plain};

/// At most so many files are given to one `strip`: the kernel limits the length of arguments.
const AT_ONCE: usize = 256;

/// What `xargs` exits with when a command that it started failed.
const COMMAND_FAILED: u8 = 123;

/// Runs of `strip`.
pub(crate) struct Plan {
    program: OsString,
    runs: Vec<Run>,
    /// Whether the script ignores how `strip` ends.
    lenient: bool,
}

/// One way to call `strip`, and the files that are to be stripped so.
struct Run {
    options: &'static [&'static str],
    files: Vec<PathBuf>,
}

/// Plans what `brp-strip STRIP` does: ELF files with symbols lose their debug information.
pub(crate) fn plan_debug(call: &Call) -> Result<Plan, Oddity> {
    let worth = |entry: &Entry| {
        let is_go = entry.path.as_os_str().as_encoded_bytes().ends_with(b".go");
        // What `file` says of a file with special permissions begins with them, which the script does not expect.
        let elf = match content(&entry.path)? {
            Content::Elf(facts) => facts.has_symbols && !entry.is_special(),
            Content::Archive | Content::Other => false,
        };
        Ok(elf && !is_go)
    };
    plan(call, &["-g"], worth)
}

/// Plans what `brp-strip-static-archive STRIP` does: archives lose their debug information.
pub(crate) fn plan_archives(call: &Call) -> Result<Plan, Oddity> {
    plan(call, &["-g"], |entry| Ok(content(&entry.path)? == Content::Archive && !entry.is_special()))
}

fn plan(
    call: &Call,
    options: &'static [&'static str],
    worth: impl Fn(&Entry) -> Result<bool, Oddity>,
) -> Result<Plan, Oddity> {
    let [program] = call.arguments.as_slice() else { return Err(Oddity::Arguments) };
    let files = chosen(call, |_| true, worth)?;
    Ok(Plan { program: word(program)?, runs: vec![Run { options, files }], lenient: false })
}

/// Plans what `brp-strip-comment-note STRIP OBJDUMP` does: executables without symbols lose the sections
/// `.comment` and, if it is not part of the program, `.note`.
pub(crate) fn plan_comments(call: &Call) -> Result<Plan, Oddity> {
    let [program, objdump] = call.arguments.as_slice() else { return Err(Oddity::Arguments) };
    word(objdump)?;
    let with = |allocated: bool| {
        chosen(call, Entry::is_executable, |entry| {
            Ok(match content(&entry.path)? {
                Content::Elf(facts) => {
                    !facts.has_symbols && !entry.is_special() && facts.has_allocated_note == allocated
                }
                Content::Archive | Content::Other => false,
            })
        })
    };
    let runs = vec![
        Run { options: &["-R", ".comment", "-R", ".note"], files: with(false)? },
        Run { options: &["-R", ".comment"], files: with(true)? },
    ];
    Ok(Plan { program: word(program)?, runs, lenient: true })
}

/// Returns a tool's name if a shell takes it for one word.
fn word(text: &OsStr) -> Result<OsString, Oddity> {
    if is_plain(text) && !text.is_empty() { Ok(text.to_owned()) } else { Err(Oddity::Arguments) }
}

/// Returns the regular files that are `candidate` and `worth` it, without what is below `/usr/lib/debug`.
fn chosen(
    call: &Call,
    candidate: impl Fn(&Entry) -> bool,
    worth: impl Fn(&Entry) -> Result<bool, Oddity>,
) -> Result<Vec<PathBuf>, Oddity> {
    let root = call.build_root()?;
    if !is_its_own_pattern(root) {
        return Err(Oddity::RootName);
    }
    let mut files = Vec::new();
    for entry in below(root)?.into_iter().filter(|entry| entry.kind.is_file() && candidate(entry)) {
        if !is_debug(root, &entry.path) && worth(&entry)? {
            plain(&entry.path)?;
            files.push(entry.path);
        }
    }
    Ok(files)
}

/// Returns whether a path begins with `/usr/lib/debug` in the build root.
fn is_debug(root: &Path, path: &Path) -> bool {
    inside(root, path).as_encoded_bytes().starts_with(b"/usr/lib/debug")
}

impl Plan {
    pub(crate) fn carry_out(self) -> io::Result<u8> {
        let mut code = 0;
        for run in &self.runs {
            for files in run.files.chunks(AT_ONCE) {
                let status = Command::new(&self.program).args(run.options).args(files).status()?;
                if code_of(status) != 0 && !self.lenient {
                    code = COMMAND_FAILED;
                }
            }
        }
        Ok(code)
    }
}
