//! Rows about `_dep_vers_prog`: programs that give the versions of what is not installed.

use rebuild::trigger::{ProgramFault, answered_version, parse_programs};

use crate::bench::{Bench, FIRES, QUIET, UNKNOWN, refused};
use crate::rows::Row;

/// Programs that give versions.
pub(crate) const PROGRAMS: &[Row] = &[
    Row {
        name: "_dep_vers_prog",
        documented: "a program that prints the version of a package that is not installed",
        does: "runs it on the host, with the rights of the caller and without a limit",
        ours: "its first line is the version; it is run confined (`hostile_commands_are_held` runs it for real)",
        check: || {
            for (trigger, then, now, expected) in [
                ("out > minor", "2.3.21", "2.3.22", QUIET),
                ("out > minor", "2.3.21", "2.4.0", FIRES),
                ("out >= minor", "2.3.21", "2.3.21", QUIET),
                ("out >= minor", "2.3.21", "2.3.22", FIRES),
                ("out < last", "2.3.21", "2.3.20", FIRES),
                ("out > 2.3.21", "2.3.21", "2.3.22", FIRES),
                ("out > 2.3.21", "2.3.22", "2.3.23", QUIET),
            ] {
                let bench = Bench::default().answered("out", then).answers("out", now);
                assert_eq!(bench.verdict(trigger), expected, "{trigger}: {then} -> {now}");
            }
        },
    },
    Row {
        name: "values with arguments",
        documented: "any command",
        does: "values are split on spaces: arguments are lost",
        ours: "words as in a shell, with quotes; a shell only where one is asked for",
        check: || {
            let programs = parse_programs("a = prog --version 'two words'\nb = sh -c 'x | y'").unwrap();
            assert_eq!(programs["a"], ["prog", "--version", "two words"]);
            assert_eq!(programs["b"], ["sh", "-c", "x | y"]);
            assert_eq!(refused(parse_programs("a = prog | cut")), (1, 10));
        },
    },
    Row {
        name: "name only",
        documented: "rebuild when it was installed since",
        does: "still asks pacman for the date, which stops the whole check",
        ours: "fires when the version differs; no repository is asked for the name",
        check: || {
            let bench = |now: &str| Bench::default().answered("out", "1.0").answers("out", now);
            assert_eq!(bench("1.0").verdict("out"), QUIET);
            assert_eq!(bench("1.1").verdict("out"), FIRES);
            // A package of the name is another thing.
            assert_eq!(bench("1.0").recorded("out", "1-1").present("out", "9-1").verdict("out"), QUIET);
        },
    },
    Row {
        name: "a program that fails",
        documented: "",
        does: "its output is taken whatever it is; a failure silences all triggers",
        ours: "unknown, with the reason; it hides no trigger that fires",
        check: || {
            let bench = Bench::default().answered("out", "1.0").silent("out");
            let bench = bench.recorded("dep", "1-1").present("dep", "2-1");
            assert_eq!(bench.verdicts("dep > major, out > major"), [FIRES, UNKNOWN]);
            for output in ["", "\n1.0", "dovecot 2.3", "2.3.21 (47349e2482)"] {
                assert!(answered_version(output.as_bytes()).is_err(), "{output}");
            }
            let flood = ProgramFault::TooMuch { bytes: 65536 };
            assert!(flood.to_string().contains("65536"));
        },
    },
    Row {
        name: "nothing recorded yet",
        documented: "",
        does: "counts as newer: one rebuild more",
        ours: "unknown where the record does not say; where the program gave no version then, it has risen",
        check: || {
            assert_eq!(Bench::default().answers("out", "1.0").verdict("out > major"), UNKNOWN);
            let appeared = Bench::default().answered_nothing("out").answers("out", "1.0");
            assert_eq!(appeared.verdict("out > major"), FIRES);
            assert_eq!(appeared.verdict("out < major"), QUIET);
        },
    },
    Row {
        name: "`.mkp_dep_vers`",
        documented: "the versions that the last build saw",
        does: "writes those of programs too",
        ours: "the same",
        check: || {
            let bench =
                Bench::default().answered("out", "2.3.21").recorded("dep", "1-1").answered_nothing("x");
            assert_eq!(bench.dep_vers(), "dep 1-1\nout 2.3.21\n");
        },
    },
];
