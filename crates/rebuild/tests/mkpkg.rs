//! mkpkg, row by row: what it documents, what its code does, and what we do, each with a check of the last.
//!
//! The rows are the findings about mkpkg 8.0.2: the meaning of triggers, of sonames, and its other edge cases.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bench;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use bench::{Bench, FIRES, QUIET, UNKNOWN, refused};
use rebuild::bump::{BumpError, ChangelogEntry, bump_spec};
use rebuild::select::{Evidence, Selection};
use rebuild::sodiff::SonameDifference;
use rebuild::soname::Soname;
use rebuild::trigger::{parse_file_triggers, parse_triggers};
use rows::{LIBRARIES, PROGRAMS, Row, TRIGGERS, VERSIONS, verdict};
use rpm_model::{BuildReason, Dependency};

const ENTRY: ChangelogEntry<'static> =
    ChangelogEntry { day: "Thu Nov 26 2026", author: "A <a@b.invalid>", message: "x" };

fn bumped(text: &str, source: &str) -> Result<String, BumpError> {
    let source = source.parse().unwrap();
    bump_spec(text, &source, std::slice::from_ref(&source), &ENTRY).map(|bumped| bumped.text)
}

/// The intended meaning of sonames, and what the code does.
const SONAMES: &[Row] = &[
    Row {
        name: "what a package is linked to",
        documented: "walks executables and asks the loader, so that rpath is honoured",
        does: "`ldd`, which lists the whole closure of the host's libraries",
        ours: "what rpm wrote into the header: direct needs, with symbol versions, for any architecture; where libraries \
               lie and are looked for, rpath included, from the files of the packages",
        check: || {
            let soname = Soname::parse("libz.so.1(ZLIB_1.2.9)(64bit)").unwrap();
            assert_eq!(
                (soname.soname, soname.symbols, soname.class),
                ("libz.so.1", Some("ZLIB_1.2.9"), Some("64bit"))
            );
        },
    },
    Row {
        name: "keep",
        documented: "rebuild only when the recorded soname is gone",
        does: "the last library alone decides",
        ours: "rebuild when any library, or a symbol version of it, is provided by nothing any more",
        check: || {
            let both = Bench::default().library("liba.so.1()(64bit)", "1-1", "2-1").library(
                "libb.so.1()(64bit)",
                "1-1",
                "1-1",
            );
            assert_eq!(both.sonames("keep"), QUIET);
            // Whichever of them is gone, the healthy one does not hide it.
            for gone in ["liba.so.1()(64bit)", "libb.so.1()(64bit)"] {
                assert_eq!(both.clone().gone(gone).sonames("keep"), FIRES, "{gone}");
            }
        },
    },
    Row {
        name: "newer",
        documented: "also when the library is newer (by time)",
        does: "rebuilds for ever: soname numbers are compared with file versions",
        ours: "also when the package that provides it is another one or has other content",
        check: || {
            let bench = |present: &str| Bench::default().library("liba.so.1()(64bit)", "1.3.1-1", present);
            assert_eq!(bench("1.3.1-1").sonames("newer"), QUIET);
            assert_eq!(bench("1.3.1-2").sonames("newer"), FIRES);
            assert_eq!(bench("1.3.1-1#other").sonames("newer"), FIRES);
        },
    },
    Row {
        name: "a level",
        documented: "also when a greater version is available at that level",
        does: "`minor`, `patch` and `last` rebuild for ever; `major` fires when another soname lies beside it",
        ours: "also when the version of the package that provides it rose at that level",
        check: || {
            let bench = |present: &str| Bench::default().library("liba.so.5()(64bit)", "1.3.1-1", present);
            assert_eq!(bench("1.3.2-1").sonames("minor"), QUIET);
            assert_eq!(bench("1.4.0-1").sonames("> minor"), FIRES);
            assert_eq!(bench("1.3.1-1").sonames("last"), QUIET);
            // Another soname beside it says nothing about this one.
            assert_eq!(bench("1.3.1-1").beside("liba.so.6()(64bit)", "2-1").sonames("major"), QUIET);
        },
    },
    Row {
        name: "never",
        documented: "nothing beyond availability",
        does: "acts as `last`",
        ours: "as `keep`",
        check: || {
            let bench = Bench::default().library("liba.so.1()(64bit)", "1-1", "2-1");
            assert_eq!(bench.sonames("never"), QUIET);
            assert_eq!(bench.gone("liba.so.1()(64bit)").sonames("never"), FIRES);
        },
    },
    Row {
        name: "neverever",
        documented: "not even when the library is gone",
        does: "works only together with -v",
        ours: "works; other lost requirements still count",
        check: || {
            let bench =
                Bench::default().library("liba.so.1()(64bit)", "1-1", "2-1").gone("liba.so.1()(64bit)");
            assert_eq!(bench.sonames("neverever"), QUIET);
            assert_eq!(bench.requires("interpreter").sonames("neverever"), FIRES);
        },
    },
    Row {
        name: "recorded path can be the wrong file",
        documented: "records the path that the loader chose",
        does: "a loop variable is used twice",
        ours: "the library's name, the package that provides it, and the path that this lists",
        check: || {
            let bench = Bench::default().library("liba.so.1()(64bit)", "1-1", "1-1").library(
                "libb.so.1()(64bit)",
                "2-1",
                "2-1",
            );
            let seen = bench.providers();
            assert_eq!(seen["liba.so.1()(64bit)"].nevra.evr.to_string(), "1-1");
            assert_eq!(seen["libb.so.1()(64bit)"].nevra.evr.to_string(), "2-1");
        },
    },
    Row {
        name: "stale record",
        documented: "",
        does: "a package without sonames keeps its old record; an empty record crashes",
        ours: "the record is written whole at every build; an empty one is one",
        check: || {
            assert!(Bench::default().providers().is_empty());
            assert_eq!(Bench::default().sonames("newer"), QUIET);
        },
    },
    Row {
        name: "a failing rebuild raises the release at every attempt",
        documented: "",
        does: "the soname verdict comes before the look at the release",
        ours: "the release is raised above what was published; a failed attempt has published nothing",
        check: || {
            let once = bumped("Release: 3\n", "1-3").unwrap();
            assert_eq!(bumped("Release: 3\n", "1-3").unwrap(), once);
        },
    },
];

/// Other edge cases.
const EDGES: &[Row] = &[
    Row {
        name: "one missing trigger silences all",
        documented: "",
        does: "a name that is not installed stops the evaluation, and the status says up to date",
        ours: "every trigger by itself; what is unknown is told and hides nothing",
        check: || {
            let bench = Bench::default().recorded("dep", "1-1").present("dep", "2-1");
            assert_eq!(bench.verdicts("absent, dep > major"), [UNKNOWN, FIRES]);
            assert_eq!(bench.verdicts("dep > major absent"), [UNKNOWN, FIRES]);
        },
    },
    Row {
        name: "a version trigger on what is not installed",
        documented: "",
        does: "crashes",
        ours: "unknown; when it appears where the last build saw nothing, it has risen",
        check: || {
            assert_eq!(Bench::default().recorded_absent("dep").verdict("dep > minor"), UNKNOWN);
            let appeared = Bench::default().recorded_absent("dep").present("dep", "1-1");
            for (trigger, expected) in [
                ("dep", FIRES),
                ("dep > minor", FIRES),
                ("dep != last", FIRES),
                ("dep > 0.5", FIRES),
                ("dep < last", QUIET),
                ("dep > 2", QUIET),
            ] {
                assert_eq!(appeared.verdict(trigger), expected, "{trigger}");
            }
        },
    },
    Row {
        name: "blanks around the operator",
        documented: "optional",
        does: "split the trigger into three names",
        ours: "optional",
        check: || {
            for text in ["dep<last", "dep < last", "'dep < last'", "dep\t<\nlast"] {
                assert_eq!(parse_triggers(text).unwrap()[0].to_string(), "dep < last", "{text:?}");
            }
        },
    },
    Row {
        name: "state of the working directory",
        documented: "",
        does: "without src/ no check at all; prepare() runs at every check; only .zst files of the directory are seen",
        ours: "the decision is a function of record, spec and published packages; it runs nothing",
        check: || assert_eq!(verdict("dep", "1-1", "1-1"), QUIET),
    },
    Row {
        name: "dates and locales",
        documented: "",
        does: "parses one English date format and crashes on others",
        ours: "no dates",
        check: || assert_eq!(verdict("dep", "1-1", "1-1"), QUIET),
    },
    Row {
        name: "every line that begins with pkgrel=",
        documented: "",
        does: "is rewritten, also inside functions; comments after it are lost",
        ours: "one `Release:` of the preamble; every other byte stays",
        check: || {
            let text = "Release: 3 # kept\n%build\nRelease: 3\n";
            assert_eq!(bumped(text, "1-3").unwrap(), "Release: 4 # kept\n%build\nRelease: 3\n");
        },
    },
    Row {
        name: "release numbers are floats",
        documented: "",
        does: "1.1 -> 2.1, 1.10 -> 2.1",
        ours: "the leading number is raised, the rest stays as it is written",
        check: || assert_eq!(bumped("Release: 1.10\n", "1-1.10").unwrap(), "Release: 2.10\n"),
    },
    Row {
        name: "names with dashes",
        documented: "",
        does: "break the reading of recorded versions",
        ours: "are names",
        check: || {
            let bench = Bench::default().recorded("python-foo-bar", "1-1").present("python-foo-bar", "2-1");
            assert_eq!(bench.verdict("python-foo-bar>major"), FIRES);
        },
    },
    Row {
        name: "versions of the host",
        documented: "",
        does: "compares what the host has installed, not what the build used",
        ours: "compares what the build root held; records of older versions have it too",
        check: || {
            let bench = Bench::default().root("dep", "1-1").present("dep", "2-1");
            assert_eq!(bench.verdict("dep > major"), FIRES);
        },
    },
    Row {
        name: "files beside the recipe",
        documented: "`.mkp_dep_vers` and `.mkp_dep_soname`",
        does: "`.mkpkg_dep_vers` and `.mkpkg_dep_soname`, which decide",
        ours: "the record decides; both forms are written for whoever reads them",
        check: || {
            let bench = Bench::default().recorded("lua-libs", "2:5.4.6-3").recorded_absent("gone");
            let bench = bench.library("libz.so.1(ZLIB_1.2.9)(64bit)", "1.3.1-1", "1.3.1-1");
            assert_eq!(bench.dep_vers(), "lua-libs 2:5.4.6-3\n");
            assert_eq!(
                bench.dep_soname(),
                "[\"libz.so.1(ZLIB_1.2.9)(64bit)\"]\nsoname = \"libz.so.1\"\nvers = \"1\"\nclass_vers = \"ZLIB_1.2.9\"\n\
                 path_vers = \"1.3.1\"\npackage = \"library-1.3.1-1.x86_64\"\n\n"
            );
        },
    },
    Row {
        name: "files outside the directory",
        documented: "relative to the directory",
        does: "any path",
        ours: "an error with line and column",
        check: || {
            assert_eq!(refused(parse_file_triggers("a ../b")), (1, 3));
            assert_eq!(refused(parse_file_triggers("/etc/passwd")), (1, 1));
        },
    },
    Row {
        name: "a package that watches itself",
        documented: "",
        does: "rebuilds itself",
        ours: "unknown and told",
        check: || {
            assert_eq!(Bench::default().recorded("own", "1-1").present("own", "1-1").verdict("own"), UNKNOWN)
        },
    },
];

#[test]
fn every_row_is_as_it_says() {
    for (table, rows) in [
        ("triggers", TRIGGERS),
        ("sonames", SONAMES),
        ("libraries", LIBRARIES),
        ("edges", EDGES),
        ("programs", PROGRAMS),
        ("versions", VERSIONS),
    ] {
        for Row { name, documented, does, ours, check } in rows {
            assert!(!does.is_empty() && !ours.is_empty(), "{table}: {name}");
            if std::panic::catch_unwind(check).is_err() {
                panic!("{table}: {name}\n  documented: {documented}\n  code: {does}\n  ours: {ours}");
            }
        }
    }
}

/// Who caused a reason, and so in which layer of a cascade it is: a trigger or a library is one package further than
/// the spec that published what changed, and as far as the beginning where that is of no spec of the tree.
#[test]
fn what_fires_says_whose_change_it_is() {
    let layer_of = |spec: &str| if spec == "deep" { 3 } else { 0 };
    let check = |reasons: Vec<BuildReason>, by: Option<&str>, layer: u32| {
        let causes: Vec<_> = reasons.iter().map(BuildReason::caused_by).collect();
        assert_eq!((causes, rebuild::layer(&reasons, &layer_of)), (vec![by], layer), "{reasons:?}");
    };
    let watched = || Bench::default().recorded("dep", "1-1").present("dep", "2-1");
    let linked = || Bench::default().library("libz.so.1()(64bit)", "1-1", "2-1");
    for (spec, layer) in [(None, 0), (Some("maker"), 1), (Some("deep"), 4)] {
        let made = |bench: Bench, package: &str| match spec {
            Some(spec) => bench.of_spec(package, spec),
            None => bench,
        };
        for trigger in ["dep", "dep > major", "dep >= 1.5"] {
            check(made(watched(), "dep").reasons(trigger), spec, layer);
        }
        for policy in ["newer", "major"] {
            check(made(linked(), "library").soname_reasons(policy), spec, layer);
        }
    }
}

#[test]
fn mass_rebuilds_select_by_what_the_last_builds_have_in_common() {
    let records = BTreeMap::from([
        (
            "linked".to_owned(),
            Bench::default().library("libz.so.1(ZLIB_1.2)(64bit)", "1-1", "1-1").into_record(),
        ),
        ("python".to_owned(), Bench::default().requires("python3").root("gcc", "14-1").into_record()),
        ("own".to_owned(), Bench::default().own_library("libz.so.1()(64bit)").into_record()),
    ]);
    let selected = |text: &str| -> Vec<String> {
        let selected = text.parse::<Selection>().unwrap().select(&records);
        let words = |(spec, evidence): (String, Vec<Evidence>)| {
            let evidence: Vec<String> = evidence.iter().map(ToString::to_string).collect();
            format!("{spec}: {}", evidence.join(", "))
        };
        selected.into_iter().map(words).collect()
    };
    assert_eq!(selected("soname:libz.so.1"), ["linked: own requires `libz.so.1(ZLIB_1.2)(64bit)`"]);
    assert_eq!(selected("soname:libz.so.2"), [""; 0]);
    assert_eq!(selected("requires:python3"), ["python: own requires `python3`"]);
    // A package can be required by its libraries alone.
    let linked = "linked: linked to `libz.so.1(ZLIB_1.2)(64bit)` of library-1-1.x86_64";
    assert_eq!(selected("requires:library"), [linked]);
    assert_eq!(selected("builds-with:gcc"), ["python: built with gcc-14-1.x86_64"]);
    let known =
        |text: &str, name: &str| text.parse::<Selection>().unwrap().known_names(&records).contains(name);
    // What nobody needs, but somebody provides, means something.
    assert!(known("soname:x.so", "libz.so.1") && !known("soname:x.so", "libz.so.2"));
    assert!(
        known("requires:x", "own") && known("builds-with:x", "gcc") && !known("builds-with:x", "python3")
    );
}

#[test]
fn the_difference_of_two_builds_names_who_is_affected() {
    let provides =
        |names: &[&str]| -> Vec<Dependency> { names.iter().map(|name| name.parse().unwrap()).collect() };
    let records = BTreeMap::from([
        (
            "linked".to_owned(),
            Bench::default().library("libz.so.1(ZLIB_1.2)(64bit)", "1-1", "1-1").into_record(),
        ),
        ("plain".to_owned(), Bench::default().library("libm.so.6()(64bit)", "1-1", "1-1").into_record()),
        ("own".to_owned(), Bench::default().own_library("libz.so.1()(64bit)").into_record()),
    ]);
    let old = provides(&["zlib = 1.3", "libz.so.1()(64bit)", "libz.so.1(ZLIB_1.2)(64bit)"]);
    let new = provides(&["zlib = 2.0", "libz.so.2()(64bit)"]);
    let difference = SonameDifference::new(&old, &new, &records);
    assert_eq!(difference.added, ["libz.so.2()(64bit)".to_owned()].into());
    assert_eq!(difference.removed.len(), 2);
    assert_eq!(difference.changed, [("libz.so.1".to_owned(), "libz.so.2".to_owned())].into());
    let needed = BTreeSet::from(["libz.so.1(ZLIB_1.2)(64bit)".to_owned()]);
    assert_eq!(difference.affected, BTreeMap::from([("linked".to_owned(), needed)]));
    assert!(SonameDifference::new(&old, &old, &records).is_empty());
}

proptest::proptest! {
    /// Whatever stands in the list, each trigger says what it says alone, and the order does not matter.
    #[test]
    fn the_order_of_triggers_does_not_matter(
        mut list in proptest::collection::vec("(a|b|absent)( (>|>=|<|<=|=|!=) (major|minor|last|release|1\\.5))?", 0..6),
        then in "[12]\\.[0-9]-[12]",
        now in "[12]\\.[0-9]-[12]",
        shift in 0..6_usize,
    ) {
        let bench = Bench::default().recorded("a", &then).present("a", &now).recorded("b", &now).present("b", &then);
        let reasons = bench.reasons(&list.join(", "));
        let mut alone: Vec<_> = list.iter().flat_map(|trigger| bench.reasons(trigger)).collect();
        alone.sort();
        alone.dedup();
        proptest::prop_assert_eq!(&reasons, &alone);
        list.reverse();
        if !list.is_empty() {
            let middle = shift % list.len();
            list.rotate_left(middle);
        }
        proptest::prop_assert_eq!(bench.reasons(&list.join(" ")), reasons);
    }
}
