//! `mkpkg`: the command line of mkpkg for RPM specs.
//!
//! It runs `millwright mkpkg`, which lies beside it; what stands after `--` are options of the build, which that
//! takes like any other. It holds no logic.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use report::{ExitStatus, Failure, conclude};

fn main() -> ExitCode {
    let fail = |error: Box<dyn Error + Send + Sync>| {
        Failure::new(ExitStatus::Environment, error)
            .hint("`millwright` belongs beside `mkpkg`: `cargo build --release --workspace --bins`")
    };
    let program = match std::env::current_exe() {
        Ok(own) => own.with_file_name("millwright"),
        Err(error) => return conclude(Err(fail(error.into()))),
    };
    let error = Command::new(&program).arg("mkpkg").args(arguments(std::env::args_os().skip(1))).exec();
    conclude(Err(fail(format!("cannot run `{}`: {error}", program.display()).into())))
}

/// Returns all words but the first `--`.
fn arguments(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    if let Some(separator) = words.iter().position(|word| word == "--") {
        words.remove(separator);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_goes() {
        let pass = |words: &[&str]| arguments(words.iter().map(OsString::from));
        assert_eq!(pass(&["-f", "jq", "--", "--run-check"]), ["-f", "jq", "--run-check"]);
        assert_eq!(pass(&["--", "-j", "2", "--", "x"]), ["-j", "2", "--", "x"]);
        assert_eq!(pass(&["jq"]), ["jq"]);
    }
}
