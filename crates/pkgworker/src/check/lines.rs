//! Single tests: the lines on which test programs name one and say how it ended.

use rpm_model::TestStatus::{self, Failed, Passed, Skipped};

use super::Runner;

type Case<'a> = (Runner, &'a str, TestStatus);

/// Returns the test that a line names. `tap` is the number of the last test that spoke TAP.
pub(super) fn recognise<'a>(line: &'a str, tap: &mut u64) -> Option<Case<'a>> {
    automake(line)
        .or_else(|| ctest(line))
        .or_else(|| meson(line))
        .or_else(|| prove(line))
        .or_else(|| cargo(line))
        .or_else(|| go(line))
        .or_else(|| pytest(line))
        .or_else(|| unittest(line))
        .or_else(|| speaks_tap(line, tap))
}

/// `PASS: tests/foo`
fn automake(line: &str) -> Option<Case<'_>> {
    let (word, name) = line.split_once(": ")?;
    let status = match word {
        "PASS" | "XFAIL" => Passed,
        "FAIL" | "XPASS" | "ERROR" => Failed,
        "SKIP" => Skipped,
        _ => return None,
    };
    let name = name.trim();
    // python's unittest and many programs begin messages so.
    let is_unittest = name.ends_with(')') && name.contains(" (");
    let is_message = word == "ERROR" && name.contains(' ') && !name.contains(" - ");
    (!name.is_empty() && !is_unittest && !is_message).then_some((Runner::Automake, name, status))
}

/// ` 3/10 Test  #3: name .......   Passed    0.01 sec`
fn ctest(line: &str) -> Option<Case<'_>> {
    let (count, rest) = line.trim_start().split_once(" Test ")?;
    let (done, all) = count.split_once('/')?;
    if !is_number(done) || !is_number(all) {
        return None;
    }
    let (number, rest) = rest.trim_start().strip_prefix('#')?.split_once(": ")?;
    let (name, end) = rest.split_once(' ')?;
    let end = end.trim_start_matches([' ', '.']);
    let status = if end.starts_with("Passed") {
        Passed
    } else if end.starts_with("***Skipped") || end.starts_with("***Not Run (Disabled)") {
        Skipped
    } else if end.starts_with("***") {
        Failed
    } else {
        return None;
    };
    is_number(number).then_some((Runner::Ctest, name, status))
}

/// ` 1/12 suite / name   OK   0.01s` and, in older versions, `1/12 name OK 0.01s`
fn meson(line: &str) -> Option<Case<'_>> {
    let (count, rest) = line.trim_start().split_once(' ')?;
    let (done, all) = count.split_once('/')?;
    if !is_number(done) || !is_number(all) {
        return None;
    }
    let words: Vec<&str> = rest.split_whitespace().collect();
    let at = words.iter().rposition(|word| meson_status(word).is_some())?;
    let seconds = words.get(at + 1)?.trim_end_matches('s');
    if at == 0 || seconds.parse::<f64>().is_err() {
        return None;
    }
    // The status stands alone, after at least one blank of its column.
    let end = rest.rfind(words[at])?;
    let name = rest[..end].trim().trim_end_matches(['.', ' ']);
    Some((Runner::Meson, name, meson_status(words[at])?))
}

fn meson_status(word: &str) -> Option<TestStatus> {
    match word {
        "OK" | "EXPECTEDFAIL" => Some(Passed),
        "FAIL" | "TIMEOUT" | "ERROR" | "UNEXPECTEDPASS" | "INTERRUPT" => Some(Failed),
        "SKIP" => Some(Skipped),
        _ => None,
    }
}

/// `t/foo.t .. ok`, also `.... skipped: reason`, `.. Failed 1/3 subtests`, `.. Dubious, test returned 1`
fn prove(line: &str) -> Option<Case<'_>> {
    let (name, rest) = line.split_once(' ')?;
    let is_test = name.ends_with(".t") || name.ends_with(".pl");
    let end = rest.strip_prefix("..").filter(|_| is_test)?.trim_start_matches('.').trim();
    let status = if end == "ok" || end.starts_with("ok ") {
        Passed
    } else if end.starts_with("skipped") {
        Skipped
    } else if end.starts_with("Failed") || end.starts_with("Dubious") || end.starts_with("No subtests run") {
        Failed
    } else {
        return None;
    };
    Some((Runner::Prove, name, status))
}

/// `test module::name ... ok`
fn cargo(line: &str) -> Option<Case<'_>> {
    let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let status = match end.split([',', ' ']).next()? {
        "ok" => Passed,
        "FAILED" => Failed,
        "ignored" => Skipped,
        _ => return None,
    };
    Some((Runner::Cargo, name, status))
}

/// `--- PASS: TestName (0.00s)`, indented for subtests; `ok  \tpackage\t0.01s`, `FAIL\tpackage\t0.01s`
fn go(line: &str) -> Option<Case<'_>> {
    if let Some((word, rest)) = line.split_once('\t') {
        let status = match word {
            "ok  " => Passed,
            "FAIL" => Failed,
            _ => return None,
        };
        return Some((Runner::GoPackages, rest.split_once('\t')?.0, status));
    }
    let (word, rest) = line.trim_start().strip_prefix("--- ")?.split_once(": ")?;
    let status = match word {
        "PASS" => Passed,
        "FAIL" => Failed,
        "SKIP" => Skipped,
        _ => return None,
    };
    let name = rest.split_once(" (").map_or(rest, |(name, _)| name);
    Some((Runner::Go, name, status))
}

/// `tests/test_a.py::test_b PASSED [ 10%]`, `FAILED tests/test_a.py::test_b - message`, and with several workers
/// `[gw0] [ 10%] PASSED tests/test_a.py::test_b`
fn pytest(line: &str) -> Option<Case<'_>> {
    if !line.contains("::") {
        return None;
    }
    let line = if line.starts_with("[gw") { line.split_once("%] ")?.1 } else { line };
    let (first, rest) = line.split_once(' ')?;
    let (name, word) = match pytest_status(first) {
        Some(_) => (rest.split(" - ").next()?.split_whitespace().next()?, first),
        None => (first, rest.split_whitespace().next()?),
    };
    name.contains(".py::").then_some((Runner::Pytest, name, pytest_status(word)?))
}

fn pytest_status(word: &str) -> Option<TestStatus> {
    match word {
        "PASSED" | "XFAIL" => Some(Passed),
        "FAILED" | "ERROR" | "XPASS" => Some(Failed),
        "SKIPPED" => Some(Skipped),
        _ => None,
    }
}

/// `test_name (module.Class) ... ok`
fn unittest(line: &str) -> Option<Case<'_>> {
    let (name, end) = line.rsplit_once(" ... ")?;
    if !name.ends_with(')') || !name.contains(" (") {
        return None;
    }
    let status = match end.split_whitespace().next()? {
        "ok" | "expected" => Passed,
        "FAIL" | "ERROR" | "unexpected" => Failed,
        "skipped" => Skipped,
        _ => return None,
    };
    Some((Runner::Unittest, name, status))
}

/// `ok 3 - name`, `not ok 4 - name # todo reason`, `ok 5 # SKIP reason`. Only what counts on from the test before
/// is one: `ok` alone says little.
fn speaks_tap<'a>(line: &'a str, last: &mut u64) -> Option<Case<'a>> {
    let (failed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (true, rest),
        None => (false, line.strip_prefix("ok ")?),
    };
    let (number, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let number: u64 = number.parse().ok()?;
    if number != 1 && number != *last + 1 {
        return None;
    }
    *last = number;
    let (name, directive) = text.split_once("# ").unwrap_or((text, ""));
    let directive = directive.to_ascii_lowercase();
    let status = if directive.starts_with("skip") || directive.starts_with("todo") {
        // What is to be done yet may fail.
        Skipped
    } else if failed {
        Failed
    } else {
        Passed
    };
    let name = name.trim_start_matches("- ").trim();
    let name = if name.is_empty() { rest.split(' ').next()? } else { name };
    Some((Runner::Tap, name, status))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
