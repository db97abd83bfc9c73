//! `cargo xtask test`: every test, and one line that counts them.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::{Stop, cargo, host, say};

/// What the test programs' closing lines add up to.
#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
    programs: usize,
}

impl Tally {
    /// Adds a line such as `test result: ok. 5 passed; 0 failed; 1 ignored; ...`.
    fn add(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let count = |word: &str| {
            rest.split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(word))
                .find_map(|number| number.trim().parse::<usize>().ok())
                .unwrap_or(0)
        };
        self.passed += count("passed");
        self.failed += count("failed");
        self.ignored += count("ignored");
        self.programs += 1;
    }
}

/// Runs the tests and returns the exit code.
pub(crate) fn run(root: &Path, filter: Option<&str>) -> Result<u8, Stop> {
    host::ensure(host::Purpose::Build)?;
    host::ensure(host::Purpose::Test)?;
    let programs = cargo::build_programs(root)?;
    // The tests that build packages share one toolchain; it is made here, where its progress can be seen.
    if filter.is_none() {
        let code = cargo::run_in(root, &programs.join("millwright"), &["worker".into()])?;
        if code != 0 {
            return Err(Stop { code, message: "the toolchain that the tests need could not be made".into() });
        }
    }
    let mut command = cargo::cargo(root);
    command.args(["test", "--release", "--workspace", "--no-fail-fast", "--", "--nocapture"]);
    command.args(filter);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| Stop::environment(format!("cannot start cargo: {error}")))?;
    let mut tally = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            tally.add(&line);
            say(&line);
        }
    }
    let status = child.wait().map_err(|error| Stop::internal(format!("cannot wait for cargo: {error}")))?;
    // A program that did not compile or died has no closing line of its own.
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    print_tally(&tally);
    Ok(u8::from(tally.failed > 0 || tally.passed == 0))
}

#[expect(clippy::print_stdout, reason = "the closing line is what scripts read")]
fn print_tally(tally: &Tally) {
    println!("{} passed, {} failed", tally.passed, tally.failed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_add_up() {
        let mut tally = Tally::default();
        tally.add(
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        );
        tally.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.01s");
        tally.add("test something ... ok");
        assert_eq!(tally, Tally { passed: 7, failed: 3, ignored: 1, programs: 2 });
    }
}
