//! Runs a program to its end and turns failure into an error that carries what it said.

use crate::error::BootstrapError;
use std::process::{Command, Stdio};

/// How many of the last lines a failing program wrote are kept for the message.
const LINES_KEPT: usize = 12;

/// Runs the command without input and returns its standard output.
pub(crate) fn run(command: &mut Command) -> Result<String, BootstrapError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| BootstrapError::Start { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let arguments: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut shown = format!("{program} {}", arguments.join(" "));
    if let Some((cut, _)) = shown.char_indices().nth(300) {
        shown.truncate(cut);
        shown.push_str("...");
    }
    let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    let said = String::from_utf8_lossy(said);
    let lines: Vec<&str> = said.lines().collect();
    Err(BootstrapError::Command {
        command: shown,
        status: output.status.to_string(),
        message: lines[lines.len().saturating_sub(LINES_KEPT)..].join("\n"),
    })
}
