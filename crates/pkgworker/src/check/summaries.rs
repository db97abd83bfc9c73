//! Sums: the lines on which test programs say how many tests there were.

use super::{Counts, Runner};

/// Returns the numbers that a line adds.
pub(super) fn summarise(line: &str) -> Option<(Runner, Counts)> {
    automake(line)
        .or_else(|| ctest(line))
        .or_else(|| meson(line))
        .or_else(|| cargo(line))
        .or_else(|| pytest(line))
        .or_else(|| unittest(line))
}

/// `# PASS:  4`, one line for each kind
fn automake(line: &str) -> Option<(Runner, Counts)> {
    let (word, number) = line.strip_prefix("# ")?.split_once(':')?;
    let number: u64 = number.trim().parse().ok()?;
    let counts = match word {
        "PASS" | "XFAIL" => Counts { passed: number, ..Counts::default() },
        "FAIL" | "XPASS" | "ERROR" => Counts { failed: number, ..Counts::default() },
        "SKIP" => Counts { skipped: number, ..Counts::default() },
        _ => return None,
    };
    Some((Runner::Automake, counts))
}

/// `90% tests passed, 1 tests failed out of 10`; skipped tests count as passed there
fn ctest(line: &str) -> Option<(Runner, Counts)> {
    let (_, rest) = line.split_once("% tests passed, ")?;
    let (failed, rest) = rest.split_once(" test")?;
    let (_, all) = rest.split_once(" failed out of ")?;
    let (failed, all): (u64, u64) = (failed.parse().ok()?, all.trim().parse().ok()?);
    // The log's lines know which of the others were skipped; they win when they name as many.
    let passed = all.checked_sub(failed)?;
    let is_unnamed = Counts { passed, failed, skipped: 0 };
    Some((Runner::Ctest, is_unnamed))
}

/// `Ok:                 5`, one line for each kind
fn meson(line: &str) -> Option<(Runner, Counts)> {
    let (word, number) = line.split_once(':')?;
    // The numbers stand in a column of their own; other programs have such words too.
    let number: u64 = number.strip_prefix("  ")?.trim().parse().ok()?;
    let counts = match word.trim_end() {
        "Ok" | "Expected Fail" => Counts { passed: number, ..Counts::default() },
        "Fail" | "Timeout" | "Unexpected Pass" => Counts { failed: number, ..Counts::default() },
        "Skipped" => Counts { skipped: number, ..Counts::default() },
        _ => return None,
    };
    Some((Runner::Meson, counts))
}

/// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out`
fn cargo(line: &str) -> Option<(Runner, Counts)> {
    let (_, rest) = line.strip_prefix("test result: ")?.split_once(". ")?;
    Some((Runner::Cargo, numbered(rest.split("; "))?))
}

/// `==== 1 failed, 10 passed, 2 skipped in 1.23s ====`
fn pytest(line: &str) -> Option<(Runner, Counts)> {
    let (rest, time) = line.trim_matches(['=', ' ']).rsplit_once(" in ")?;
    let counts = numbered(rest.split(", "))?;
    (time.ends_with('s') || time.contains("s (")).then_some((Runner::Pytest, counts))
}

/// Reads `5 passed` and its like; `None` when a part is something else.
fn numbered<'a>(parts: impl Iterator<Item = &'a str>) -> Option<Counts> {
    let mut counts = Counts::default();
    for part in parts {
        let (number, word) = part.trim().split_once(' ')?;
        let number: u64 = number.parse().ok()?;
        match word {
            "passed" | "xfailed" => counts.add(Counts { passed: number, ..Counts::default() }),
            "failed" | "error" | "errors" | "xpassed" => {
                counts.add(Counts { failed: number, ..Counts::default() });
            }
            "skipped" | "ignored" => counts.add(Counts { skipped: number, ..Counts::default() }),
            "warning" | "warnings" | "deselected" | "measured" | "rerun" => {}
            _ if word.starts_with("filtered out") || word.starts_with("subtests") => {}
            _ => return None,
        }
    }
    (counts.total() > 0).then_some(counts)
}

/// `Ran 5 tests in 0.001s`; the line after it says which of them did not pass
fn unittest(line: &str) -> Option<(Runner, Counts)> {
    let number = line.strip_prefix("Ran ")?.split_once(" test")?;
    let number_of_tests: u64 = number.0.parse().ok()?;
    number
        .1
        .contains(" in ")
        .then_some((Runner::Unittest, Counts { passed: number_of_tests, ..Counts::default() }))
}

/// `FAILED (failures=1, errors=1, skipped=1)`, `OK (skipped=1)`: of those that were run
pub(super) fn unittest_end(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("FAILED (").or_else(|| line.strip_prefix("OK ("))?;
    let mut counts = Counts::default();
    for part in rest.strip_suffix(')')?.split(", ") {
        let (word, number) = part.split_once('=')?;
        let number: u64 = number.parse().ok()?;
        match word {
            "failures" | "errors" | "unexpected successes" => {
                counts.add(Counts { failed: number, ..Counts::default() });
            }
            "skipped" => counts.add(Counts { skipped: number, ..Counts::default() }),
            _ => {}
        }
    }
    Some(counts)
}
