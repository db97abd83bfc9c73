//! Rows about the meaning of triggers.

use rebuild::trigger::parse_triggers;

use crate::bench::{Bench, FIRES, QUIET, UNKNOWN, refused};
use crate::rows::Row;

/// Returns what a trigger says of a package that had one version and has another.
pub(crate) fn verdict(trigger: &str, recorded: &str, present: &str) -> &'static str {
    Bench::default().recorded("dep", recorded).present("dep", present).verdict(trigger)
}

#[track_caller]
fn expect(trigger: &str, cases: &[(&str, &str, &str)]) {
    for (recorded, present, expected) in cases {
        assert_eq!(verdict(trigger, recorded, present), *expected, "{trigger}: {recorded} -> {present}");
    }
}

/// The meaning of triggers.
pub(crate) const TRIGGERS: &[Row] = &[
    Row {
        name: "name",
        documented: "rebuild when the package was installed more recently than the last build",
        does: "compares the host's installation date with the package file's modification time",
        ours: "fires when name, version or content of the package is not what the last build saw; no time takes part",
        check: || {
            expect("dep", &[("1-1", "1-1", QUIET), ("1-1", "1-2", FIRES), ("2-1", "1-1", FIRES)]);
            // Installed again, the same: quiet. Built again with other content: fires.
            assert_eq!(
                Bench::default().recorded("dep", "1-1#a").present("dep", "1-1#b").verdict("dep"),
                FIRES
            );
        },
    },
    Row {
        name: "name>major = First_1",
        documented: "rebuild when the first element is greater than at the last build",
        does: "the same",
        ours: "the same",
        check: || {
            for trigger in ["dep>major", "dep > First_1", "dep > MAJOR"] {
                expect(
                    trigger,
                    &[("1.9-1", "2.0-1", FIRES), ("1.2-1", "1.9-9", QUIET), ("2-1", "1-1", QUIET)],
                );
            }
        },
    },
    Row {
        name: "minor patch micro extra releaselevel serial First_N",
        documented: "the first N elements; white space optional",
        does: "the same, keywords in any case",
        ours: "the same",
        check: || {
            expect(
                "dep > minor",
                &[
                    ("2.30-8", "2.30-7", QUIET),
                    ("3.10.7-1", "3.10.8-1", QUIET),
                    ("3.10.7-1", "3.11.0-1", FIRES),
                ],
            );
            for (word, elements) in
                [("patch", 3), ("micro", 3), ("extra", 4), ("ReleaseLevel", 4), ("serial", 5), ("First_7", 7)]
            {
                let version = |at: usize| {
                    let parts: Vec<&str> = (1..=8).map(|n| if n == at { "9" } else { "1" }).collect();
                    format!("{}-1", parts.join("."))
                };
                let trigger = format!("dep > {word}");
                assert_eq!(verdict(&trigger, &version(0), &version(elements)), FIRES, "{word}");
                assert_eq!(verdict(&trigger, &version(0), &version(elements + 1)), QUIET, "{word}");
            }
        },
    },
    Row {
        name: "last",
        documented: "the entire version",
        does: "the whole string with epoch and release, so a new release fires",
        ours: "epoch and version; `release` is the level that looks at the release too",
        check: || {
            expect("dep > last", &[("1.2.3-1", "1.2.3-2", QUIET), ("1.2.3-9", "1.2.4-1", FIRES)]);
            expect("dep > release", &[("1.2.3-1", "1.2.3-2", FIRES), ("1.2.3-2", "1.2.3-1", QUIET)]);
        },
    },
    Row {
        name: ">= with any level",
        documented: "greater or equal",
        does: "always true after the first build: rebuilds every run",
        ours: "the level is not lower and the package is not the one that the last build saw",
        check: || {
            expect(
                "dep >= minor",
                &[("1.2.3-1", "1.2.3-1", QUIET), ("1.2.3-1", "1.2.4-1", FIRES), ("1.2-1", "1.1-1", QUIET)],
            );
            expect(
                "dep <= minor",
                &[("1.2-1", "1.2-1", QUIET), ("1.2.3-1", "1.2.2-1", FIRES), ("1.2-1", "1.3-1", QUIET)],
            );
        },
    },
    Row {
        name: "< with last",
        documented: "a detector of downgrades",
        does: "works",
        ours: "fires when the level fell, by however much",
        check: || {
            expect(
                "dep < last",
                &[("1.2-1", "1.1-1", FIRES), ("1.2-1", "1.3-1", QUIET), ("1.2-1", "1.2-1", QUIET)],
            );
            expect("dep < release", &[("1.2-2", "1.2-1", FIRES)]);
            expect("dep < minor", &[("1.2.3-1", "1.2.1-1", QUIET), ("2.0-1", "1.9-1", FIRES)]);
        },
    },
    Row {
        name: "literal version",
        documented: "rebuild when above 3.0.6",
        does: "ignores the literal: it acts as `last`",
        ours: "fires when the condition begins to hold: the version crosses the literal",
        check: || {
            expect(
                "dep > 3.0.6",
                &[
                    ("3.0.6-1", "3.0.7-1", FIRES),
                    ("3.0.1-1", "3.0.2-1", QUIET),
                    ("3.0.7-1", "3.0.8-1", QUIET),
                ],
            );
            expect("dep > 99.0", &[("3.0.1-1", "3.0.2-1", QUIET)]);
            expect("dep >= 3.0", &[("2.9-1", "3.0-1", FIRES), ("3.0-1", "3.0-2", QUIET)]);
            expect("dep < 3.0", &[("3.0-1", "2.9-1", FIRES), ("2.9-1", "2.8-1", QUIET)]);
            expect("dep = 3.0", &[("2.9-1", "3.0-1", FIRES), ("3.0-1", "3.0-2", QUIET)]);
            expect("dep != 3.0", &[("3.0-1", "3.1-1", FIRES), ("3.1-1", "3.2-1", QUIET)]);
        },
    },
    Row {
        name: "unknown keyword",
        documented: "",
        does: "treats it as `last`, or crashes (`first_x`)",
        ours: "an error with line, column and the accepted grammar",
        check: || {
            for text in ["dep>nonsense", "dep>first_0", "dep>first_x"] {
                assert_eq!(refused(parse_triggers(text)), (1, 5), "{text}");
            }
            // The example with a comma from mkpkg's own documentation.
            assert_eq!(parse_triggers("dep>major, other").unwrap().len(), 2);
        },
    },
    Row {
        name: "= and <=",
        documented: "not supported",
        does: "crashes",
        ours: "`=`: the same level, another package; `<=`: not higher, another package; `!=`: any change of the level",
        check: || {
            expect(
                "dep = minor",
                &[("1.2.3-1", "1.2.4-1", FIRES), ("1.2-1", "1.2-1", QUIET), ("1.2-1", "1.3-1", QUIET)],
            );
            expect(
                "dep != minor",
                &[("1.2-1", "1.3-1", FIRES), ("1.2-1", "1.1-1", FIRES), ("1.2.1-1", "1.2.2-1", QUIET)],
            );
        },
    },
    Row {
        name: "a new version trigger with nothing recorded",
        documented: "counts as newer: one extra rebuild",
        does: "the same",
        ours: "unknown and told; the spec's own change builds it anyway, and then it is recorded",
        check: || assert_eq!(Bench::default().present("dep", "1-1").verdict("dep > minor"), UNKNOWN),
    },
    Row {
        name: "current version unknown",
        documented: "",
        does: "false, or a crash",
        ours: "unknown and told",
        check: || assert_eq!(Bench::default().recorded("dep", "1-1").verdict("dep > minor"), UNKNOWN),
    },
    Row {
        name: "files",
        documented: "a file that is newer than the last build triggers a rebuild",
        does: "compares modification times; no patterns; a checkout changes them all",
        ours: "compares content; patterns are expanded; a new or a vanished file counts",
        check: || {
            let files = |recorded: &[(&str, &str)], present: &[(&str, &str)]| {
                Bench::default().recorded_files("conf/*", recorded).files(present).file_verdict("conf/*")
            };
            assert_eq!(files(&[("conf/a", "1")], &[("conf/a", "1"), ("other", "2")]), QUIET);
            assert_eq!(files(&[("conf/a", "1")], &[("conf/a", "2")]), FIRES);
            assert_eq!(files(&[("conf/a", "1")], &[("conf/a", "1"), ("conf/b", "1")]), FIRES);
            assert_eq!(files(&[("conf/a", "1")], &[]), FIRES);
            assert_eq!(files(&[], &[]), UNKNOWN);
        },
    },
    Row {
        name: "a level finer than the version has",
        documented: "",
        does: "the release becomes the next element, so `minor` fires on 255-1 -> 255-2",
        ours: "the version ends where it ends",
        check: || {
            expect(
                "dep > minor",
                &[("255-1", "255-2", QUIET), ("255-1", "256-1", FIRES), ("2.3-1.1", "2.3-1.2", QUIET)],
            )
        },
    },
    Row {
        name: "epoch",
        documented: "supported",
        does: "glued to the first element, so a change of it fires `major`",
        ours: "stands above every level; `epoch` is a level of its own",
        check: || {
            expect("dep > major", &[("5.0-1", "1:1.0-1", FIRES)]);
            expect("dep > epoch", &[("5.0-1", "1:1.0-1", FIRES), ("1:1.0-1", "1:9.0-1", QUIET)]);
        },
    },
];
