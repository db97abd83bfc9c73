//! Hostile specs in the worker's engine: each ends in bounded time and memory, harms nothing, and its
//! neighbours are read correctly.
//!
//! Skips loudly where [`site::Site`] finds no worker.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failing test may panic, a skipped one says so"
)]

mod hostile_specs;
mod site;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hostile_specs::{
    Hostile, complaint, dangerous, harmless, huge, in_traps, is_right, not_files, straggler, stragglers, text,
};
use site::{Site, options};
use specreader::{CachedReader, FailureKind, ParsedSpec, SpecEngine, SpecFailure, SpecInput, WorkerEngine};

type Results = Vec<Result<ParsedSpec, SpecFailure>>;

/// What a tree holds: path → what of it must not change. Temporary files and locks of a layer store do.
fn contents(directory: &Path) -> BTreeMap<PathBuf, String> {
    let lasting = |entry: &walkdir::DirEntry| {
        !(entry.depth() == 2 && ["temp", "locks", "leases"].iter().any(|name| entry.file_name() == *name))
    };
    let entries = walkdir::WalkDir::new(directory).into_iter().filter_entry(lasting).map(Result::unwrap);
    let describe = |entry: walkdir::DirEntry| {
        let metadata = entry.path().symlink_metadata().unwrap();
        let bytes = if metadata.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        let digest = rpm_model::ContentDigest::of_bytes(&bytes);
        (entry.path().to_owned(), format!("{:o} {} {digest}", metadata.mode(), metadata.uid()))
    };
    entries.map(describe).collect()
}

/// How many seconds a spec may take. What ends by itself must have the time for it, also on a host that does other
/// things: the first of these that is enough counts.
const SECONDS: [u64; 3] = [3, 10, 30];

/// Reads hostile specs among good ones, all at once, with a limit in seconds, and checks every result.
fn read_among_neighbours(site: &Site, hostile: &[Hostile], read: impl Fn(u64, &[SpecInput]) -> Results) {
    let mut specs: Vec<SpecInput> = Vec::new();
    for (index, case) in hostile.iter().enumerate() {
        let neighbour = format!("neighbour{index}");
        specs.push(site.spec(&neighbour, text(&neighbour, "%{?leaked:Requires: leaked}")));
        specs.push(site.spec(case.name, &case.text));
    }
    specs.push(site.spec("last", text("last", "")));
    let tree = site.directory.path().join("tree");
    let before = contents(&tree);
    let mut complaints = Vec::new();
    for seconds in SECONDS {
        let results = read(seconds, &specs);
        assert_eq!(contents(&tree), before);
        let complaint = |spec: &SpecInput, result: &Result<ParsedSpec, SpecFailure>| match hostile
            .iter()
            .find(|case| case.name == spec.name)
        {
            Some(case) => complaint(case, result),
            None if is_right(&spec.name, result) => None,
            None => Some(format!("{}: {:?}", spec.name, result.as_ref().map(|parsed| &parsed.data))),
        };
        let is_late = |result: &Result<ParsedSpec, SpecFailure>| {
            result.as_ref().is_err_and(|failure| matches!(failure.kind, FailureKind::TimeLimit { .. }))
        };
        let wrong = specs.iter().zip(&results);
        let wrong: Vec<_> =
            wrong.filter_map(|(spec, result)| Some((complaint(spec, result)?, is_late(result)))).collect();
        let only_late = wrong.iter().all(|(_, is_late)| *is_late);
        complaints = wrong.into_iter().map(|(complaint, _)| complaint).collect();
        if complaints.is_empty() || !only_late {
            break;
        }
    }
    assert_eq!(complaints, [""; 0]);
}

/// Returns an engine with a limit in seconds.
fn limited(site: &Site, seconds: u64) -> WorkerEngine<'_> {
    site.engine(|limits| limits.seconds = seconds)
}

#[test]
fn harmful_text_harms_itself_only() {
    let Some(site) = Site::new() else { return };
    read_among_neighbours(&site, &harmless(), |seconds, specs| {
        let engine = limited(&site, seconds);
        let results = engine.read(specs, &options()).unwrap();
        assert_eq!(engine.notes(), []);
        results
    });
}

#[test]
fn harmful_commands_harm_nothing() {
    let Some(site) = Site::new() else { return };
    let engine = site.engine(|_| ());
    // The worker's packages are unpacked now.
    assert!(engine.read(&[site.spec("first", text("first", ""))], &options()).unwrap()[0].is_ok());
    let store = contents(&Site::store());
    let straggler = straggler();
    read_among_neighbours(&site, &dangerous(&straggler), |seconds, specs| {
        let engine = limited(&site, seconds);
        let results = engine.read(specs, &options()).unwrap();
        assert_eq!(engine.notes(), []);
        results
    });
    assert!(contents(&Site::store()) == store, "the layer store was changed");
    assert_eq!(stragglers(&straggler), [""; 0]);
    // What they left behind, if anything, is not seen by the next.
    let again = site.spec("again", text("again", "%{?x:Requires: x}\n%{?license_left:Requires: harm}"));
    let results = engine.read(&[again], &options()).unwrap();
    assert!(is_right("again", &results[0]), "{results:#?}");
    assert_eq!(engine.notes(), []);
}

/// What is remembered of one spec's commands is right for every other.
#[test]
fn what_one_spec_prepares_no_other_sees() {
    let Some(site) = Site::new() else { return };
    // What the first spec prepares, and what it and the second one ask then.
    let cases = [
        ("variable", "%{lua: posix.setenv('PREPARED', 'Requires: harm')}", "%(echo $PREPARED)"),
        (
            "path",
            "%{lua: posix.setenv('PATH', '/nowhere')}",
            "%(type sed >/dev/null 2>&1 || echo Requires: harm)",
        ),
        ("lua", "%{lua: prepared = 'Requires: harm'}", "%{lua: if prepared then print(prepared) end}"),
        ("macro", "%{lua: rpm.define('prepared Requires: harm')}", "%{?prepared}"),
        ("file", "%(echo 'Requires: harm' > /tmp/prepared)", "%(cat /tmp/prepared 2>/dev/null)"),
        ("shared", "%(echo 'Requires: harm' > /dev/shm/x)", "%(cat /dev/shm/x 2>/dev/null)"),
        ("mask", "%{lua: posix.umask('rwx------')}", "%(umask | grep -q 77 && echo 'Requires: harm')"),
        (
            "place",
            "%(echo 'Requires: harm' > /tmp/moved)%{lua: posix.chdir('/tmp')}",
            "%(cat moved 2>/dev/null)",
        ),
        (
            "link",
            "%{lua: posix.symlink('/etc/passwd', '/tmp/link')}",
            "%(test -e /tmp/link && echo 'Requires: harm')",
        ),
    ];
    let pair = |(case, prepare, ask): (&str, &str, &str)| {
        let (first, second) = (format!("{case}-first"), format!("{case}-second"));
        let prepared = format!("{prepare}\n{ask}");
        [site.spec(&first, text(&first, &prepared)), site.spec(&second, text(&second, ask))]
    };
    let specs: Vec<SpecInput> = cases.into_iter().flat_map(pair).collect();
    for workers in [1, 2] {
        let engine = site.engine(|limits| limits.workers = workers.try_into().unwrap());
        let results = engine.read(&specs, &options()).unwrap();
        assert_eq!(engine.notes(), []);
        for (spec, result) in specs.iter().zip(&results) {
            let harmed = result.as_ref().unwrap().data.packages[0].requires.len() == 2;
            assert_eq!(harmed, spec.name.ends_with("-first"), "{}, {workers} at once", spec.name);
        }
    }
}

#[test]
fn specs_of_one_name_are_kept_apart() {
    let Some(site) = Site::new() else { return };
    let spec = |directory: &str, version: &str| {
        let text = text("twin", "").replace("1.2", "%(cat %{_sourcedir}/number)%(cat number | sed 's/.*//')");
        let spec = site.spec("twin", text);
        let source_dir = site.directory.path().join(directory);
        fs::create_dir_all(&source_dir).unwrap();
        let path = source_dir.join("twin.spec");
        fs::rename(&spec.path, &path).unwrap();
        fs::write(source_dir.join("number"), version).unwrap();
        SpecInput { name: "twin".to_owned(), path, source_dir }
    };
    let specs = [spec("a", "7.1"), spec("b", "7.2"), spec("c", "7.3")];
    let engine = site.engine(|_| ());
    let results = engine.read(&specs, &options()).unwrap();
    let versions: Vec<String> =
        results.into_iter().map(|result| result.unwrap().data.source.evr.version).collect();
    assert_eq!(versions, ["7.1", "7.2", "7.3"]);
    assert_eq!(engine.notes(), []);
}

#[test]
fn processes_of_rpmspec_are_no_weaker() {
    let Some(site) = Site::new() else { return };
    let straggler = straggler();
    let hostile: Vec<Hostile> = harmless().into_iter().chain(dangerous(&straggler)).collect();
    read_among_neighbours(&site, &hostile, |seconds, specs| {
        limited(&site, seconds).read_with_rpmspec(specs, &options()).unwrap()
    });
    assert_eq!(stragglers(&straggler), [""; 0]);
}

#[test]
fn what_is_no_spec_file_is_told() {
    let Some(site) = Site::new() else { return };
    let engine = site.engine(|_| ());
    let tree = site.directory.path().join("tree");
    let bad = not_files(&tree);
    let trapped = in_traps(&tree);
    let big = site.spec("huge", huge());
    let good = site.spec("good", text("good", ""));
    let specs: Vec<SpecInput> = bad.iter().chain(&trapped).chain([&big, &good]).cloned().collect();
    let results = engine.read(&specs, &options()).unwrap();
    for (spec, result) in specs.iter().zip(&results) {
        if bad.contains(spec) {
            let kind = &result.as_ref().unwrap_err().kind;
            assert!(matches!(kind, FailureKind::Unreadable { .. }), "{}: {kind:?}", spec.name);
        } else if *spec == big {
            assert_eq!(result.as_ref().unwrap_err().kind, FailureKind::TooLarge { limit: 16 << 20 });
        } else if *spec == good {
            assert!(is_right("good", result), "{result:#?}");
        } else {
            let told =
                result.as_ref().is_err_and(|failure| matches!(failure.kind, FailureKind::Unreadable { .. }));
            assert!(told || is_right(&spec.name, result), "{}: {result:#?}", spec.name);
        }
    }

    // The same behind the cache, which reads the files first.
    let reader = CachedReader::new(&engine, site.directory.path().join("cache"));
    let reading = reader.read(&specs, &options()).unwrap();
    for ((spec, through_cache), direct) in specs.iter().zip(&reading.results).zip(results) {
        assert_eq!(*through_cache, direct.map(|parsed| parsed.data), "{}", spec.name);
    }
}
