//! Starting cargo and the programs that it made.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Stop;

/// Compiles all programs of the workspace in release mode and returns their directory.
pub(crate) fn build_programs(root: &Path) -> Result<PathBuf, Stop> {
    let programs = target_directory(root).join("release");
    let mut build = cargo(root);
    build.args(["build", "--release", "--workspace", "--bins", "--exclude", "xtask"]);
    // The first time takes minutes, in which cargo shows how far it is; later it has nothing to tell.
    if programs.join("millwright").exists() {
        build.arg("--quiet");
    }
    let status = build
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Stop::environment(format!("cannot start cargo: {error}")))?;
    if !status.success() {
        return Err(Stop::internal("the workspace does not compile; see cargo's messages above"));
    }
    Ok(programs)
}

/// Returns a cargo command in the workspace.
pub(crate) fn cargo(root: &Path) -> Command {
    // cargo sets CARGO for the programs that it runs; without it we were started by hand.
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root);
    command
}

/// Returns where cargo puts what it makes.
pub(crate) fn target_directory(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |directory| root.join(directory))
}

/// Becomes a program in the tree; returns only when it cannot be started.
///
/// A shell's Ctrl-C then reaches the program alone, which decides what becomes of its builds.
pub(crate) fn become_program(root: &Path, program: &Path, arguments: &[OsString]) -> Stop {
    let error =
        std::os::unix::process::CommandExt::exec(Command::new(program).args(arguments).current_dir(root));
    Stop::internal(format!("cannot start `{}`: {error}", program.display()))
}

/// Runs a program in the tree and returns its exit code.
pub(crate) fn run_in(root: &Path, program: &Path, arguments: &[OsString]) -> Result<u8, Stop> {
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .status()
        .map_err(|error| Stop::internal(format!("cannot start `{}`: {error}", program.display())))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(4))
}
