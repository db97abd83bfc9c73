//! The worker's engine: the worker's rpm in a real sandbox.
//!
//! Skips loudly where [`site::Site`] finds no worker.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failing test may panic, a skipped one says so"
)]

mod site;

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;

use rpm_model::ContentDigest;
use site::{Site, options};
use specreader::{
    CachedReader, EngineLimits, FailureKind, HostEngine, PackRequest, ReadOptions, ReleaseMacros, SourceDate,
    SpecEngine, SpecInput,
};

/// How long a spec may take: longer than the good ones need on a host that does other things.
const SECONDS: u64 = 10;

const SPEC: &str = "\
Name: good
Version: %(echo 1.%{two})
Release: 3%{?dist}
Summary: A package
License: MIT
Source0: data.txt
BuildRequires: make%(id -u | sed 's/^/-/') %(cat /proc/net/dev | grep -c eth0 | sed 's/^/net-/')
%description
Text.
%files
%changelog
* Fri Nov 20 2026 A Packager <a@example.invalid> - 1-1
- First
";

#[test]
fn specs_are_read_inside_the_worker() {
    let Some(site) = Site::new() else { return };
    let engine = site.engine(|limits| limits.seconds = SECONDS);
    let reader = CachedReader::new(&engine, site.directory.path().join("cache"));
    let hang = SPEC.replace("Text.", "%(sleep 1000)");
    let bomb = SPEC.replace("Text.", "%(f() { f | f & }; f; sleep 2)");
    let memory =
        SPEC.replace("Text.", "%{lua: local t = {} while true do t[#t+1] = string.rep('x', 1e7) end}");
    let escape = SPEC.replace("Text.", "%(echo x > /build/SPECS/good/good.spec; echo y > /usr/bin/x)");
    let specs = [
        site.spec("good", SPEC),
        site.spec("hang", &hang),
        site.spec("bomb", &bomb),
        site.spec("memory", &memory),
        site.spec("escape", &escape),
        site.spec("bad", "Name: bad\nNonsense\n"),
        site.spec("last", SPEC),
        site.spec("reader", SPEC.replace("%(echo 1.%{two})", "%(head -c 3 %{_sourcedir}/data.txt)")),
    ];
    fs::write(specs[7].source_dir.join("data.txt"), "9.8".to_owned() + &"x".repeat(2 << 20)).unwrap();
    let reading = reader.read(&specs, &options()).unwrap();
    assert_eq!(engine.notes(), []);
    let result = |index: usize| reading.results[index].as_ref();
    for (index, name) in [(0, "good"), (6, "last")] {
        let data = result(index).unwrap();
        assert_eq!(data.source.to_string(), "good-1.2-3.t1.src", "{name}");
        let requires: Vec<String> = data.build_requires.iter().map(ToString::to_string).collect();
        // Not root inside, and no network.
        assert_eq!(requires, ["make-1000", "net-0"], "{name}");
    }
    // Large files are mounted, not copied.
    assert_eq!(result(7).unwrap().source.evr.version, "9.8");
    assert_eq!(result(1).unwrap_err().kind, FailureKind::TimeLimit { seconds: SECONDS });
    assert!(result(3).is_err());
    assert_eq!(fs::read_to_string(&specs[0].path).unwrap(), SPEC);
    assert_eq!(result(5).unwrap_err().kind, FailureKind::Rejected);
    assert_eq!(result(5).unwrap_err().diagnostics[0].line, Some(2));
}

#[test]
fn an_srpm_depends_on_content_alone() {
    let Some(site) = Site::new() else { return };
    let spec = site.spec("good", SPEC);
    let pack = |directory: &str| {
        let output = site.directory.path().join(directory);
        fs::create_dir_all(&output).unwrap();
        let data = output.join("data.txt");
        fs::write(&data, "data").unwrap();
        let copy = output.join("good.spec");
        fs::copy(&spec.path, &copy).unwrap();
        // Neither the path, nor the time, nor the mode of the files may show.
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(directory.len() as u64);
        fs::File::options().write(true).open(&data).unwrap().set_modified(old).unwrap();
        let request = PackRequest {
            spec: SpecInput { name: "good".to_owned(), path: copy, source_dir: output.clone() },
            sources: BTreeMap::from([("data.txt".to_owned(), data)]),
            output: output.clone(),
            arch: "x86_64".to_owned(),
            defines: options().defines,
            macro_files: Vec::new(),
            release_macros: ReleaseMacros::default(),
            source_date: SourceDate::Changelog,
        };
        let srpm = site.engine(|_| ()).pack(&request).unwrap();
        assert_eq!(srpm, output.join("good-1.2-3.t1.src.rpm"));
        ContentDigest::of_bytes(&fs::read(srpm).unwrap())
    };
    assert_eq!(pack("one"), pack("another"));
}

#[test]
fn an_srpm_is_written_under_the_macros_that_it_was_read_under() {
    let Some(site) = Site::new() else { return };
    let text =
        SPEC.replace("%(echo 1.%{two})", "%{special %{mw_zlib_version}}").replace("Source0: data.txt\n", "");
    let spec = site.spec("good", text);
    let (macros, release) = (site.directory.path().join("macros"), site.directory.path().join("release"));
    fs::write(&macros, "%special() 7.%1\n").unwrap();
    fs::write(&release, "%mw_zlib_version 8\n").unwrap();
    let release_macros = ReleaseMacros::read([release.as_path()]).unwrap();
    let options = ReadOptions { macro_files: vec![macros], release_macros, ..options() };
    let request = PackRequest {
        spec: spec.clone(),
        sources: BTreeMap::new(),
        output: site.directory.path().to_owned(),
        arch: options.arch.clone(),
        defines: options.defines.clone(),
        macro_files: options.macro_files.clone(),
        release_macros: options.release_macros.clone(),
        source_date: SourceDate::Changelog,
    };
    let engine = site.engine(|_| ());
    let read = engine.read(&[spec], &options).unwrap().remove(0).unwrap();
    assert_eq!(read.data.source.to_string(), "good-7.8-3.t1.src");
    let host = HostEngine::new(site.directory.path().join("scratch"), EngineLimits::usual(NonZeroUsize::MIN));
    for engine in [&engine as &dyn SpecEngine, &host.unwrap()] {
        let srpm = engine.pack(&request).unwrap();
        assert_eq!(srpm.file_name().unwrap(), "good-7.8-3.t1.src.rpm");
    }
}
