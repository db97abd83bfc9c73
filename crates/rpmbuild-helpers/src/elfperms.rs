//! Stands for `brp-elfperms`: shared libraries lose their executable bits.
//!
//! Only `eu-elfclassify` tells a shared library from a program of the same ELF type; it is asked about those
//! files only that are no program by their flags.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::call::{Call, say};
use crate::content::{Content, content};
use crate::oddity::Oddity;
use crate::tree::{below, plain};

const CLASSIFIER: &str = "/usr/bin/eu-elfclassify";

/// What `xargs` exits with when a command that it started failed.
const COMMAND_FAILED: u8 = 123;

/// Files that may be shared libraries.
pub(crate) struct Plan {
    candidates: Vec<PathBuf>,
}

/// Plans what `brp-elfperms` does.
pub(crate) fn plan(call: &Call) -> Result<Plan, Oddity> {
    let mut candidates = Vec::new();
    if rustix::fs::access(CLASSIFIER, rustix::fs::Access::EXEC_OK).is_err() {
        return Ok(Plan { candidates });
    }
    for entry in below(call.build_root()?)? {
        if entry.kind.is_file() && entry.is_executable() {
            // A name with a line feed is two names for the script.
            if entry.path.as_os_str().as_bytes().contains(&b'\n') {
                return Err(Oddity::Name(entry.path));
            }
            if let Content::Elf(facts) = content(&entry.path)?
                && facts.may_be_library
            {
                candidates.push(plain(&entry.path)?.to_owned());
            }
        }
    }
    Ok(Plan { candidates })
}

impl Plan {
    pub(crate) fn carry_out(self) -> io::Result<u8> {
        if self.candidates.is_empty() {
            return Ok(0);
        }
        let mut classifier = Command::new(CLASSIFIER)
            .args(["--shared", "--print0", "--stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut names = Vec::new();
        for path in &self.candidates {
            names.extend_from_slice(path.as_os_str().as_bytes());
            names.push(b'\n');
        }
        let input = classifier.stdin.take();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || input.map(|mut input| input.write_all(&names)));
            classifier.wait_with_output()
        })?;
        let mut code = 0;
        let libraries = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        for path in libraries.map(|name| Path::new(OsStr::from_bytes(name))) {
            if let Err(error) = forbid_execution(path) {
                say(&format!("brp-elfperms: `{}`: {error}", path.display()));
                code = COMMAND_FAILED;
            }
        }
        Ok(code)
    }
}

fn forbid_execution(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.mode() & 0o7777;
    fs::set_permissions(path, fs::Permissions::from_mode(mode & !0o111))
}
