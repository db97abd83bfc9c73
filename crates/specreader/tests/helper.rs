//! The helper process against its oracle: what it reads is what `rpmspec` processes read in the same root.
//!
//! Skips loudly where [`site::Site`] finds no worker.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing test may panic, a skipped one says so"
)]

mod site;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use buildroot::Sandbox;
use site::{Site, options};
use specreader::{EngineNote, ReadOptions, ReleaseMacros, SpecEngine, SpecInput, WorkerEngine};

fn spec(body: &str) -> String {
    format!(
        "Name: x\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\n{body}\n%description\nx\n%files\n/usr/x\n"
    )
}

/// Returns the specs of this workspace, a real distribution in small.
fn workspace_specs() -> Vec<SpecInput> {
    let specs = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().join("SPECS");
    let mut inputs: Vec<SpecInput> = fs::read_dir(specs)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|source_dir| {
            let name = source_dir.file_name().unwrap().to_str().unwrap().to_owned();
            SpecInput { path: source_dir.join(format!("{name}.spec")), name, source_dir }
        })
        .collect();
    inputs.sort();
    inputs
}

/// Reads with the helper and with rpmspec, compares, and returns what was read as JSON.
fn check(engine: &WorkerEngine<'_>, specs: &[SpecInput], options: &ReadOptions) -> Vec<String> {
    let ours = engine.read(specs, options).unwrap();
    assert_eq!(engine.notes(), []);
    let theirs = engine.read_with_rpmspec(specs, options).unwrap();
    let mut read = Vec::new();
    for ((spec, ours), theirs) in specs.iter().zip(ours).zip(theirs) {
        let name = &spec.name;
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours.data, theirs.data, "{name}");
                assert_eq!(ours.source_headers.is_some(), options.source_headers, "{name}");
                read.push(serde_json::to_string(&ours.data).unwrap());
            }
            (Err(ours), Err(theirs)) => {
                assert_eq!(ours.kind, theirs.kind, "{name}");
                assert_eq!(ours.diagnostics, theirs.diagnostics, "{name}");
                read.push(ours.to_string());
            }
            (ours, theirs) => panic!("{name}: {ours:?} is not {theirs:?}"),
        }
    }
    read
}

#[test]
fn the_helper_reads_what_rpmspec_reads() {
    let Some(site) = Site::new() else { return };
    let engine = site.engine(|_| ());
    let mut specs = workspace_specs();
    assert!(specs.len() > 10);
    for (name, body) in [
        ("leak", "%global leak leaked\n%{lua:leak = 'leaked'}\nRequires: leaks"),
        ("clean", "Requires: clean%{?leak}%{lua:if leak then print(leak) end}"),
        ("check", "%bcond_without check\n%if %{with check}\nBuildRequires: dejagnu\n%endif\n%check\ntrue"),
        ("only_check", "%if 0%{?with_check}\nBuildRequires: t\nSource9: t.txt\n%endif"),
        ("shell", "Requires: %(echo a | tr a b) %(echo error >&2; echo c; exit 3) %(true)"),
        ("environment", "%{lua:posix.setenv('X', 'changed')}\nRequires: env-%(echo \"${X-unset}\")"),
        ("environment2", "Requires: env-%(echo \"${X-unset}\")"),
        ("place", "Requires: %(pwd) %(basename \"$PWD\") %(cd .. && echo gone)"),
        ("popen", "Requires: %{lua:local p = io.popen('echo lua'); print(p:read('a')); p:close()}"),
        ("noarch", "BuildArch: noarch\n%package -n other\nSummary: y\n%description -n other\ny"),
        ("rich", "Requires: (a if b else c)\nRecommends: d\nSuggests: e\nEnhances: f\nSupplements: g"),
        ("bad", "Foo: bar"),
        ("worse", "%if 1"),
        ("noname", "%undefine name\n%error stop here"),
        ("recursion", "%define a %%a\n%a"),
    ] {
        specs.push(site.spec(name, spec(body)));
    }
    let options = ReadOptions { source_headers: true, ..options() };
    let read = check(&engine, &specs, &options);
    // In any order, with any neighbours: nothing passes from one parse to the next.
    let mut turned: Vec<(SpecInput, String)> = specs.into_iter().zip(read).collect();
    turned.reverse();
    turned.swap(0, 5);
    let (specs, read): (Vec<SpecInput>, Vec<String>) = turned.into_iter().unzip();
    assert_eq!(check(&engine, &specs[..20], &options), read[..20]);
}

#[test]
fn commands_that_differ_are_run_again() {
    let Some(site) = Site::new() else { return };
    let engine = site.engine(|_| ());
    let body = "Requires: a%(echo $RANDOM$RANDOM) b%(basename $(mktemp -u)) c%(date +%N) d%(cat version.txt)";
    let mut specs = Vec::new();
    for name in ["one", "two", "three"] {
        specs.push(site.spec(name, spec(body)));
        fs::write(specs.last().unwrap().source_dir.join("version.txt"), name).unwrap();
    }
    let read = engine.read(&specs, &options()).unwrap();
    let mut seen = BTreeSet::new();
    for (spec, read) in specs.iter().zip(&read) {
        let requires: Vec<String> =
            read.as_ref().unwrap().data.packages[0].requires.iter().map(ToString::to_string).collect();
        assert!(requires.contains(&format!("d{}", spec.name)), "{requires:?}");
        seen.extend(requires);
    }
    assert_eq!(seen.len(), 4 * specs.len(), "{seen:?}");
}

#[test]
fn files_in_every_place_are_seen() {
    let Some(site) = Site::new() else { return };
    let engine = site.engine(|_| ());
    let body = "Source0: data\n%include inside.inc\nRequires: %(cat %{SOURCE0}) deep-%(cat %{_sourcedir}/deep/er/file)";
    let plain = site.spec("plain", spec(body));
    let linked = site.spec("linked", spec(body));
    let private = site.spec("private", spec(body));
    let mut nested = site.spec("nested", spec(body));
    nested.source_dir = nested.source_dir.join("SOURCES");
    let elsewhere = site.directory.path().join("elsewhere");
    fs::write(&elsewhere, "data").unwrap();
    for spec in [&plain, &linked, &private, &nested] {
        fs::create_dir_all(spec.source_dir.join("deep/er")).unwrap();
        fs::write(spec.path.with_file_name("inside.inc"), "Requires: included\n").unwrap();
        fs::write(spec.source_dir.join("deep/er/file"), "er").unwrap();
        match spec.name.as_str() {
            "linked" => symlink(&elsewhere, spec.source_dir.join("data")).unwrap(),
            _ => fs::write(spec.source_dir.join("data"), "data").unwrap(),
        }
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(private.source_dir.join("data"), mode).unwrap();
    // A second spec of a name, elsewhere, is another spec.
    let other = site.directory.path().join("other/plain");
    fs::create_dir_all(&other).unwrap();
    let other = SpecInput { name: "plain".to_owned(), path: other.join("plain.spec"), source_dir: other };
    fs::write(&other.path, spec("Requires: other")).unwrap();
    // What lies beside a spec's directory is none of its business, nor are its signatures.
    let curious = site.spec(
        "curious",
        spec("Requires: %(cat ../plain/data || echo none) %(cat /build/trees/*/plain/data || echo nothing)"),
    );
    let specs = [plain, linked, private, nested, other, curious];
    let read = engine.read(&specs, &options()).unwrap();
    assert_eq!(engine.notes(), []);
    let requires = |index: usize| -> Vec<String> {
        let data = &read[index].as_ref().unwrap().data;
        data.packages[0].requires.iter().map(ToString::to_string).collect()
    };
    for (index, spec) in specs[..4].iter().enumerate() {
        assert_eq!(requires(index), ["data", "deep-er", "included"], "{}", spec.name);
    }
    assert_eq!(requires(4), ["other"]);
    assert_eq!(requires(5), ["none", "nothing"]);
}

#[test]
fn a_spec_sees_the_release_macros_that_it_names() {
    let Some(site) = Site::new() else { return };
    let engine = site.engine(|_| ());
    let file = site.directory.path().join("macros.releaseversions");
    fs::write(&file, "%mw_zlib_version 1.3\n%mw_jq_version 1.7\n").unwrap();
    let release_macros = ReleaseMacros::read([file.as_path()]).unwrap();
    let options = ReadOptions { release_macros, ..options() };
    let specs = [
        site.spec("named", spec("Requires: zlib = %{mw_zlib_version}")),
        site.spec("made", spec("Requires: jq = %{expand:%%{mw_%(echo jq)_version}}")),
        site.spec("none", spec("Requires: none")),
    ];
    let read = check(&engine, &specs, &options);
    assert!(read[0].contains("zlib = 1.3") && read[1].contains("jq = 1.7"), "{read:?}");
}

#[test]
fn triggers_are_what_their_macros_expand_to() {
    let Some(site) = Site::new() else { return };
    let engine = site.engine(|_| ());
    let file = site.directory.path().join("macros.extra");
    fs::write(&file, "%lua_level minor\n").unwrap();
    let lines =
        "%global _mkpkg_depends lua > %{lua_level}, \\\n  'zlib > 1.3'\n%global _mkpkg_depends_files *.conf";
    let specs = [
        site.spec("none", spec("Requires: none")),
        site.spec("plain", spec("%global _mkpkg_depends lua>last")),
        site.spec("macros", spec(lines)),
        site.spec("talks", spec("%{warn:hello}\nBuildArch: noarch\n%define _mkpkg_depends lua")),
        site.spec(
            "branches",
            spec("%if 0\n%global _mkpkg_depends a\n%else\n%global _mkpkg_depends b\n%endif"),
        ),
        site.spec("malformed", spec("%global _mkpkg_depends lua > nonsense")),
    ];
    let texts = |options: &ReadOptions| -> Vec<(String, String)> {
        check(&engine, &specs, options);
        let read = engine.read(&specs, options).unwrap().into_iter().filter_map(Result::ok);
        read.map(|parsed| (parsed.data.triggers.packages, parsed.data.triggers.files)).collect()
    };
    let pair = |packages: &str, files: &str| (packages.to_owned(), files.to_owned());
    let options_with_file = ReadOptions { macro_files: vec![file.clone()], ..options() };
    assert_eq!(
        texts(&options_with_file),
        [
            pair("", ""),
            pair("lua>last", ""),
            pair("lua > minor, \n  'zlib > 1.3'", "*.conf"),
            pair("lua", ""),
            pair("b", ""),
        ]
    );
    // A file of macros may define them for every spec.
    fs::write(&file, "%lua_level minor\n%_mkpkg_depends rpm > major\n").unwrap();
    assert_eq!(texts(&options_with_file)[0], pair("rpm > major", ""));
    let failure = engine.read(&specs[5..], &options()).unwrap().remove(0).unwrap_err();
    assert!(failure.to_string().contains("malformed.spec:6: column 30: `%_mkpkg_depends`"), "{failure}");
}

#[test]
fn programs_and_sources_of_versions_are_read_like_triggers() {
    let Some(site) = Site::new() else { return };
    let engine = site.engine(|_| ());
    let several = "%global program b 'c d'\n%global _mkpkg_depends_programs a = %{program};\\\n  e = sh -c 'x | y'\n\
                   %global _dep_vers_prog ignored = f";
    let specs = [
        site.spec("ours", spec(several)),
        site.spec("of-mkpkg", spec("%global _dep_vers_prog a = date +%%Y")),
        site.spec("version", spec("%global _mkpkg_version_from git src 'v[0-9]*'")),
        site.spec("bad-program", spec("%global _dep_vers_prog a = b | c")),
        site.spec("bad-version", spec("%global _mkpkg_version_from file /etc/passwd")),
    ];
    check(&engine, &specs, &options());
    let read = engine.read(&specs, &options()).unwrap();
    let triggers: Vec<_> = read.iter().flatten().map(|parsed| &parsed.data.triggers).collect();
    let programs: Vec<&str> = triggers.iter().map(|triggers| triggers.programs.as_str()).collect();
    assert_eq!(programs, ["a = b 'c d';\n  e = sh -c 'x | y'", "a = date +%Y", ""]);
    assert_eq!(triggers[2].version_from, "git src 'v[0-9]*'");
    for (read, place) in read[3..].iter().zip([
        "bad-program.spec:6: column 30: `%_dep_vers_prog`: expected a word without",
        "bad-version.spec:6: column 34: `%_mkpkg_version_from`: expected a path below the directory of the spec",
    ]) {
        let failure = read.as_ref().unwrap_err().to_string();
        assert!(failure.contains(place), "{failure}");
    }
}

#[test]
fn without_the_helper_rpmspec_reads_and_that_is_told() {
    let Some(site) = Site::new() else { return };
    let programs = site.directory.path().join("programs");
    fs::create_dir_all(&programs).unwrap();
    let here: PathBuf = Sandbox::discover().unwrap().program_beside(buildroot::INIT_PROGRAM).unwrap();
    let init = programs.join(buildroot::INIT_PROGRAM);
    symlink(here, &init).unwrap();
    let sandbox = Sandbox::with_init(&init);
    let specs = [site.spec("good", spec("Requires: make")), site.spec("bad", spec("Foo: bar"))];
    for helper in [None, Some("#!/bin/sh\nexit 0\n"), Some("#!/bin/sh\nhead -c 5\nexec cat /proc/version\n")]
    {
        if let Some(script) = helper {
            let path = programs.join("spec-engine");
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let engine = site.engine_over(&sandbox);
        let read = engine.read(&specs, &options()).unwrap();
        assert!(matches!(engine.notes().as_slice(), [EngineNote::NoHelper { .. }]), "{:?}", engine.notes());
        assert_eq!(read[0].as_ref().unwrap().data.source.to_string(), "x-1-1.src");
        assert!(read[1].is_err());
    }
}
