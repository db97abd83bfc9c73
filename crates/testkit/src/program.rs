//! Programs that a test puts somewhere and starts there.

use std::path::Path;
use std::process::Command;

/// Copies a program, or a script, to where it can be started at once, by everybody.
///
/// Another process does it, which has ended when this returns. Nothing can be started that somebody may write to, and
/// what this process itself opened to write to is open as well in every child that another of its threads starts at that
/// moment, until that child has come to its program.
///
/// # Panics
/// When it cannot be copied.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("install")
        .arg("--mode=755")
        .args([from, to])
        .output()
        .expect("`install` can be started");
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
}
