//! Logs as the test programs write them, and what is read in them.

use rpm_model::{CheckReport, CheckVerdict, TestStatus};

use super::CheckLog;
use super::junit::write_junit;

fn report_of(log: &str, verdict: CheckVerdict) -> CheckReport {
    let mut check = CheckLog::default();
    for line in log.split_inclusive('\n') {
        check.line(line.as_bytes());
    }
    check.report(verdict)
}

/// Reads a log and compares runners, counts, and the names of what did not pass.
#[track_caller]
fn check(log: &str, runners: &[&str], counts: [u64; 3], named: &[&str]) {
    let report = report_of(log, CheckVerdict::Passed);
    assert_eq!(report.runners, runners, "{log}");
    assert_eq!([report.passed, report.failed, report.skipped], counts, "{report:?}");
    let cases = report.cases.iter().filter(|case| case.status != TestStatus::Passed);
    let names: Vec<String> = cases.map(|case| format!("{:?} {}", case.status, case.name)).collect();
    assert_eq!(names, named, "{report:?}");
}

#[test]
fn automake() {
    check(
        "PASS: tests/a\nFAIL: tests/b\nXFAIL: tests/c\nSKIP: tests/d.sh\n\
         ============\nTestsuite summary for jq 1.7\n============\n# TOTAL: 4\n# PASS:  2\n# SKIP:  1\n# XFAIL: 0\n\
         # FAIL:  1\n# XPASS: 0\n# ERROR: 0\n\nFAIL: tests/b\n=============\nFAIL tests/b (exit status: 1)\n",
        &["automake"],
        [2, 1, 1],
        &["Failed tests/b", "Skipped tests/d.sh"],
    );
    // Only the sums are shown with `make -s`.
    check("# TOTAL: 3\n# PASS:  3\n# FAIL:  0\n", &["automake"], [3, 0, 0], &[]);
    check("ERROR: cannot connect to the bus\n", &[], [0, 0, 0], &[]);
}

#[test]
fn ctest() {
    check(
        "    Start 1: one\n1/4 Test #1: one ..............................   Passed    0.00 sec\n    Start 2: two\n\
         2/4 Test #2: two ..............................***Failed    0.01 sec\nnot ok 1 - inner\n    Start 3: three\n\
         3/4 Test #3: three ............................***Skipped   0.00 sec\n\
         4/4 Test #4: four .............................***Exception: SegFault  0.10 sec\n\
         \n50% tests passed, 2 tests failed out of 4\n",
        &["ctest"],
        [1, 2, 1],
        &["Failed two", "Skipped three", "Failed four"],
    );
}

#[test]
fn meson() {
    check(
        " 1/4 glib:core / array                OK              0.05s\n\
         2/4 glib:core / a b                  FAIL            0.01s   exit status 1\n\
         3/4 skip me                          SKIP            0.00s\n 4/4 later TIMEOUT 30.00s\n\
         Ok:                 1   \nExpected Fail:      0   \nFail:               1   \nUnexpected Pass:    0   \n\
         Skipped:            1   \nTimeout:            1   \n",
        &["meson"],
        [1, 2, 1],
        &["Failed glib:core / a b", "Skipped skip me", "Failed later"],
    );
}

#[test]
fn python() {
    check(
        "tests/test_a.py::test_one PASSED                                [ 33%]\n\
         tests/test_a.py::test_two[x-1] FAILED                           [ 66%]\n\
         tests/test_a.py::test_three SKIPPED (no network)                [100%]\n\
         =========================== short test summary info ============================\n\
         FAILED tests/test_a.py::test_two[x-1] - assert 1 == 2\n\
         ================ 1 failed, 1 passed, 1 skipped, 2 warnings in 0.12s ================\n",
        &["pytest"],
        [1, 1, 1],
        &["Failed tests/test_a.py::test_two[x-1]", "Skipped tests/test_a.py::test_three"],
    );
    check(
        "....s\n\u{1b}[32m4 passed\u{1b}[0m, \u{1b}[33m1 skipped\u{1b}[0m in 0.05s\n",
        &["pytest"],
        [4, 0, 1],
        &[],
    );
    check(
        "[gw0] [ 50%] PASSED tests/test_a.py::test_one \n[gw1] [100%] FAILED tests/test_a.py::test_two \n",
        &["pytest"],
        [1, 1, 0],
        &["Failed tests/test_a.py::test_two"],
    );
    check(
        "test_a (x.T) ... ok\ntest_b (x.T) ... FAIL\ntest_c (x.T) ... skipped 'no'\n\nFAIL: test_b (x.T)\n\
         Ran 3 tests in 0.001s\n\nFAILED (failures=1, skipped=1)\n",
        &["unittest"],
        [1, 1, 1],
        &["Failed test_b (x.T)", "Skipped test_c (x.T)"],
    );
    check("...F\nRan 4 tests in 0.001s\n\nFAILED (failures=1)\n", &["unittest"], [3, 1, 0], &[]);
}

#[test]
fn cargo_and_go() {
    check(
        "running 3 tests\ntest a::b ... ok\ntest a::c ... FAILED\ntest d ... ignored, slow\n\
         test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        &["cargo"],
        [1, 1, 1],
        &["Failed a::c", "Skipped d"],
    );
    check(
        "=== RUN   TestA\n--- PASS: TestA (0.00s)\n    --- FAIL: TestB/sub (0.00s)\n--- SKIP: TestC (0.00s)\n\
         ok  \texample/x\t0.01s\n",
        &["go"],
        [1, 1, 1],
        &["Failed TestB/sub", "Skipped TestC"],
    );
    check(
        "ok  \texample/x\t0.01s\nFAIL\texample/y\t0.01s\n?   \texample/z\t[no test files]\n",
        &["go"],
        [1, 1, 0],
        &["Failed example/y"],
    );
}

#[test]
fn perl_and_tap() {
    check(
        "t/00.t .. ok\nt/01-long.t .... Failed 1/3 subtests \nt/02.t ......... skipped: no network\nt/03.t .. ok   12 ms\n\
         Files=4, Tests=9,  1 wallclock secs\nResult: FAIL\n",
        &["prove"],
        [2, 1, 1],
        &["Failed t/01-long.t", "Skipped t/02.t"],
    );
    check(
        "1..4\nok 1 - first\nnot ok 2 - second\nok 3 # SKIP no display\nnot ok 4 - fourth # todo later\nok 99 bottles\n",
        &["tap"],
        [1, 1, 2],
        &["Failed second", "Skipped 3", "Skipped fourth"],
    );
}

#[test]
fn what_says_nothing_of_tests_is_the_exit_codes() {
    let log = "+ make check\ngcc -o test test.c\n./test\nall fine: 12 of 12\nok\nTest results: good\n\
               make[1]: Leaving directory '/build/BUILD/x'\ntest -f a ... b\nFiles: 3\n";
    check(log, &[], [0, 0, 0], &[]);
    assert_eq!(report_of(log, CheckVerdict::Failed).verdict, CheckVerdict::Failed);
    assert_eq!(report_of("SKIP: a\n", CheckVerdict::Passed).verdict, CheckVerdict::Skipped);
    for (marker, verdict) in [
        ("====== CHECK DONE jq. EXIT STATUS 2\n", CheckVerdict::Failed),
        ("====== CHECK DONE jq. EXIT STATUS 0\n", CheckVerdict::Passed),
        ("====== SKIPPING CHECK jq. Use macro: ...\n", CheckVerdict::Skipped),
    ] {
        assert_eq!(report_of(marker, CheckVerdict::Passed).verdict, verdict);
    }
    assert_eq!(report_of("SKIP: a\n", CheckVerdict::Failed).verdict, CheckVerdict::Failed);
}

#[test]
fn more_tests_than_anybody_reads_are_counted() {
    let log: String = (0..CheckReport::MOST_CASES + 10).map(|number| format!("PASS: t{number}\n")).collect();
    let report = report_of(&log, CheckVerdict::Passed);
    assert_eq!(report.passed, CheckReport::MOST_CASES as u64 + 10);
    assert_eq!(report.cases.len(), CheckReport::MOST_CASES);
}

#[test]
fn no_number_of_tests_is_too_large() {
    let most = u64::MAX;
    for log in [
        format!("test result: FAILED. {most} passed; 2 failed; {most} measured\n").repeat(2),
        format!("=== {most} passed, {most} xfailed in 1.0s ===\nRan {most} tests in 1s\n"),
        format!("Ran {most} tests in 1s\n\nFAILED (failures={most}, errors=2, skipped={most})\n"),
    ] {
        let report = report_of(&log, CheckVerdict::Failed);
        assert_eq!(report.passed.max(report.failed), most, "{log}");
        assert!(report.to_string().starts_with("failed ("), "{report}");
    }
}

#[test]
fn junit_has_every_test_and_the_section() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jq.junit.xml");
    let report = report_of("PASS: a<b\nFAIL: c\u{1}d\u{ffff}\nSKIP: e\n", CheckVerdict::Failed);
    write_junit(&path, "jq", &report, 1.5, &["FAIL: c".to_owned()]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"), "{text}");
    for part in [
        "<testsuites name=\"jq\" tests=\"4\" skipped=\"1\" failures=\"2\" errors=\"0\"",
        "name=\"a&lt;b\"",
        "<skipped/>",
        "failed (1 passed, 1 failed, 1 skipped)",
        "FAIL: c",
    ] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    assert!(!text.contains(['\u{1}', '\u{ffff}']), "no XML has these characters");
    // Without tests the section stands for itself.
    write_junit(&path, "jq", &CheckReport::of(CheckVerdict::Passed), 0.0, &[]).unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().contains("tests=\"1\" skipped=\"0\" failures=\"0\""));
}
