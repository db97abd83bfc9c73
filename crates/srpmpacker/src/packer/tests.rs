//! What is packed, when, and why, with an engine that counts what it is asked.
//!
//! A spec here is lines: the version first, then `source NAME`, `patch NAME`, `exclusive ARCH`,
//! `exclude ARCH`, `name NAME` or `bad`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use report::{Event, Reporter};
use rpm_model::{ContentDigest, Evr, Nevra, SourceKind, SpecData, SpecSource};
use sources::{RemotePlaces, SignatureMode, SourceStore};
use specreader::{
    Done, EngineError, FailureKind, PackError, PackRequest, ParsedSpec, ReadOptions, ReleaseMacros,
    SpecEngine, SpecFailure, SpecInput,
};

use super::{PackOptions, pack};
use crate::discover::discover;
use crate::outcome::{PackFailure, PackReport, SpecOutcome};

struct Fake {
    identity: ContentDigest,
    asked: Mutex<Vec<String>>,
}

impl SpecEngine for Fake {
    fn identity(&self) -> &ContentDigest {
        &self.identity
    }

    fn read_telling(
        &self,
        specs: &[SpecInput],
        _options: &ReadOptions,
        done: Done<'_>,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        Ok(specs
            .iter()
            .map(|spec| {
                done();
                self.asked.lock().unwrap().push(format!("read {}", spec.name));
                let data = parse(&spec.name, &spec.path)?;
                Ok(ParsedSpec { data, source_headers: None })
            })
            .collect())
    }

    fn pack(&self, request: &PackRequest) -> Result<PathBuf, PackError> {
        let name = request.spec.name.clone();
        self.asked.lock().unwrap().push(format!("pack {name}"));
        let data = parse(&name, &request.spec.path)?;
        let mut content = fs::read(&request.spec.path).unwrap();
        for (file, path) in &request.sources {
            content.extend(file.as_bytes());
            content.extend(fs::read(path).unwrap());
        }
        if content.windows(8).any(|text| text == b"unpacked") {
            return Err(PackError::Source {
                path: request.spec.path.clone(),
                source: std::io::ErrorKind::StorageFull.into(),
            });
        }
        if let Some(touched) = content.windows(5).any(|text| text == b"edit!").then_some(&request.spec.path) {
            fs::write(touched, "2\n").unwrap();
        }
        let path = request.output.join(data.source.file_name());
        fs::write(&path, content).unwrap();
        Ok(path)
    }
}

fn parse(name: &str, path: &Path) -> Result<SpecData, SpecFailure> {
    let text = fs::read_to_string(path).unwrap();
    let source = Nevra::new(name, Evr::new(0, text.lines().next().unwrap(), Some("1")), "src");
    let mut data = SpecData::new(name, path.display().to_string(), source);
    for line in text.lines() {
        let file = |kind, file: &str| SpecSource::new(kind, 0, file);
        match line.split_once(' ') {
            Some(("source", name)) => data.sources.push(file(SourceKind::Source, name)),
            Some(("patch", name)) => data.sources.push(file(SourceKind::Patch, name)),
            Some(("exclusive", arch)) => data.exclusive_arch.push(arch.to_owned()),
            Some(("exclude", arch)) => data.exclude_arch.push(arch.to_owned()),
            Some(("name", name)) => data.source.name = name.to_owned(),
            None if line == "bad" => {
                return Err(SpecFailure {
                    name: name.to_owned(),
                    spec_path: path.to_owned(),
                    kind: FailureKind::Rejected,
                    diagnostics: Vec::new(),
                });
            }
            _ => {}
        }
    }
    Ok(data)
}

#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Reporter for Warnings {
    fn event(&self, event: &Event) {
        if let Event::Warning { message } = event {
            self.0.lock().unwrap().push(message.clone());
        }
    }
}

struct Setting {
    directory: tempfile::TempDir,
    engine: Fake,
    warnings: Warnings,
    mode: SignatureMode,
    repack: bool,
    list: Vec<String>,
}

impl Setting {
    fn new() -> Self {
        let engine = Fake { identity: ContentDigest::of_bytes(b"1"), asked: Mutex::default() };
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("SPECS")).unwrap();
        let warnings = Warnings::default();
        Self { directory, engine, warnings, mode: SignatureMode::Enforce, repack: false, list: Vec::new() }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.directory.path().join("SPECS").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn sign(&self, spec: &str, entries: &[(&str, &str)]) {
        let hash = |text: &str| ContentDigest::of_bytes(text.as_bytes()).to_string();
        let entries: serde_json::Map<String, serde_json::Value> =
            entries.iter().map(|(file, text)| ((*file).to_owned(), hash(text).into())).collect();
        let text = serde_json::json!({ "Signatures": entries }).to_string();
        self.write(&format!("{spec}/{spec}.signatures.json"), &text);
    }

    fn store(&self) -> SourceStore {
        SourceStore::open(&self.directory.path().join("store")).unwrap()
    }

    fn pack(&self) -> PackReport {
        let tree = self.directory.path().join("SPECS");
        let discovery = discover(&[tree], &self.list, false).unwrap();
        let options = PackOptions {
            engine: &self.engine,
            read: ReadOptions {
                arch: "x86_64".to_owned(),
                defines: [("dist".to_owned(), ".t".to_owned())].into(),
                macro_files: Vec::new(),
                release_macros: ReleaseMacros::default(),
                source_headers: true,
            },
            run_check: false,
            output: self.directory.path().join("out"),
            build: self.directory.path().join("build"),
            store: &self.store(),
            signatures: self.mode,
            offline: true,
            remote: RemotePlaces::none(),
            concurrent_downloads: 2,
            workers: 2,
            repack: self.repack,
            reporter: &self.warnings,
        };
        pack(&discovery, &options).unwrap()
    }

    /// What became of each spec, in short, and what is in the output directory afterwards.
    fn run(&self) -> (Vec<String>, Vec<String>) {
        let report = self.pack();
        let told = report.specs.iter().map(|spec| {
            let outcome = match &spec.outcome {
                SpecOutcome::Packed { reason, .. } => format!("packed, {reason}"),
                SpecOutcome::Current { .. } => "current".to_owned(),
                SpecOutcome::Skipped { reason } => reason.to_string(),
                SpecOutcome::Failed { failures } => {
                    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
                }
            };
            format!("{}: {outcome}", spec.spec)
        });
        let mut files: Vec<String> = fs::read_dir(self.directory.path().join("out"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        (told.collect(), files)
    }

    #[track_caller]
    fn check(&self, told: &[&str], files: &[&str]) {
        let (got_told, got_files) = self.run();
        assert_eq!(got_told, told);
        assert_eq!(got_files, files);
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.engine.asked.lock().unwrap());
        asked.sort();
        asked
    }
}

#[test]
fn nothing_is_asked_twice_and_changes_are_named() {
    let mut setting = Setting::new();
    setting.write("a/a.spec", "1\nsource a.tar\npatch a.patch\n");
    setting.write("a/a.tar", "tar");
    setting.write("a/a.patch", "patch");
    setting.sign("a", &[("a.tar", "tar")]);
    setting.write("b/b.spec", "1\n");
    let files = ["a-1-1.src.rpm", "b-1-1.src.rpm"];
    setting.check(&["a: packed, new", "b: packed, new"], &files);
    assert_eq!(setting.asked(), ["pack a", "pack b", "read a", "read b"]);

    setting.check(&["a: current", "b: current"], &files);
    assert!(setting.asked().is_empty());
    // Written again, with the same bytes.
    setting.write("a/a.spec", "1\nsource a.tar\npatch a.patch\n");
    setting.write("a/a.tar", "tar");
    setting.check(&["a: current", "b: current"], &files);
    assert!(setting.asked().is_empty());

    setting.write("a/a.patch", "another patch");
    setting.check(&["a: packed, changed: a.patch", "b: current"], &files);
    setting.write("b/b.spec", "2\n");
    setting.check(&["a: current", "b: packed, changed: spec"], &["a-1-1.src.rpm", "b-2-1.src.rpm"]);
    setting.engine.identity = ContentDigest::of_bytes(b"other macros");
    setting.list = vec!["b".to_owned()];
    setting.check(&["b: packed, changed: macros"], &["a-1-1.src.rpm", "b-2-1.src.rpm"]);
    setting.repack = true;
    setting.check(&["b: packed, asked for"], &["a-1-1.src.rpm", "b-2-1.src.rpm"]);
}

#[test]
fn srpm_that_is_gone_or_altered_is_made_again() {
    let setting = Setting::new();
    setting.write("a/a.spec", "1\n");
    let srpm = setting.directory.path().join("out/a-1-1.src.rpm");
    setting.check(&["a: packed, new"], &["a-1-1.src.rpm"]);
    fs::write(&srpm, "half").unwrap();
    setting.check(&["a: packed, the SRPM was altered"], &["a-1-1.src.rpm"]);
    fs::remove_file(&srpm).unwrap();
    setting.check(&["a: packed, the SRPM is gone"], &["a-1-1.src.rpm"]);
    setting.check(&["a: current"], &["a-1-1.src.rpm"]);
}

#[test]
fn every_failure_is_told_and_the_rest_is_packed() {
    let setting = Setting::new();
    for name in ["bad", "good", "full", "lost", "other", "same"] {
        setting.write(&format!("{name}/{name}.spec"), "1\n");
    }
    let (told, files) = setting.run();
    assert!(told.iter().all(|line| line.ends_with("packed, new")), "{told:?}");
    assert_eq!(files.len(), 6);

    setting.write("bad/bad.spec", "1\nbad\n");
    setting.write("full/full.spec", "1\nunpacked\n");
    setting.write("lost/lost.spec", "1\nsource a.tar\npatch lost.patch\n");
    setting.write("same/same.spec", "1\nname other\n");
    let spec = |name: &str| setting.directory.path().join(format!("SPECS/{name}/{name}.spec"));
    let report = setting.pack();
    let failures: Vec<String> =
        report.failures().map(|failure| failure.to_string().lines().next().unwrap().to_owned()).collect();
    let bad = parse("bad", &spec("bad")).unwrap_err().to_string();
    let signatures = spec("lost").with_extension("signatures.json");
    assert_eq!(
        failures,
        [
            bad,
            format!("full: cannot copy {} for packing: no storage space", spec("full").display()),
            format!("lost: `a.tar` has no entry in {}", signatures.display()),
            "lost: no place has `lost.patch`".to_owned(),
            "same: `other-1-1.src.rpm` would be made by other as well".to_owned(),
        ]
    );
    assert_eq!((report.counts().current, report.counts().failed), (2, 4));
    // Nothing of what failed is left for later steps to build.
    let removed: Vec<_> = report.removed.iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(removed, ["bad-1-1.src.rpm", "full-1-1.src.rpm", "lost-1-1.src.rpm", "same-1-1.src.rpm"]);
}

#[test]
fn architectures_are_compared_exactly() {
    let setting = Setting::new();
    setting.write("a/a.spec", "1\nexclusive x86_64\n");
    setting.write("b/b.spec", "1\nexclusive x86\nexclusive aarch64\n");
    setting.write("c/c.spec", "1\nexclude x86_64\n");
    setting.write("d/d.spec", "1\nexclude x86_64_v2\n");
    setting.check(
        &[
            "a: packed, new",
            "b: not for x86_64: ExclusiveArch is x86 aarch64",
            "c: not for x86_64: ExcludeArch names it",
            "d: packed, new",
        ],
        &["a-1-1.src.rpm", "d-1-1.src.rpm"],
    );
}

#[test]
fn vanished_specs_take_their_srpm_along_only_in_a_whole_run() {
    let mut setting = Setting::new();
    setting.write("a/a.spec", "1\n");
    setting.write("b/b.spec", "1\n");
    setting.run();
    fs::write(setting.directory.path().join("out/foreign-1-1.src.rpm"), "not ours").unwrap();
    fs::remove_dir_all(setting.directory.path().join("SPECS/b")).unwrap();
    setting.list = vec!["a".to_owned()];
    setting.check(&["a: current"], &["a-1-1.src.rpm", "b-1-1.src.rpm", "foreign-1-1.src.rpm"]);
    setting.list = Vec::new();
    setting.check(&["a: current"], &["a-1-1.src.rpm", "foreign-1-1.src.rpm"]);
}

#[test]
fn file_of_the_tree_that_differs_from_its_entry_is_never_ignored_in_silence() {
    let setting = Setting::new();
    setting.write("a/a.spec", "1\nsource a.tar\n");
    setting.write("a/a.tar", "right");
    setting.sign("a", &[("a.tar", "right")]);
    setting.run();
    setting.write("a/a.tar", "edited");
    let (told, files) = setting.run();
    assert!(told[0].starts_with("a: a: no place has `a.tar` with sha256 "), "{told:?}");
    assert!(files.is_empty());

    let right = setting.directory.path().join("right");
    fs::write(&right, "right").unwrap();
    setting.store().add_file(&right, None).unwrap();
    setting.check(&["a: packed, new"], &["a-1-1.src.rpm"]);
    let srpm = fs::read_to_string(setting.directory.path().join("out/a-1-1.src.rpm")).unwrap();
    assert!(srpm.ends_with("a.tarright"));
    setting.check(&["a: current"], &["a-1-1.src.rpm"]);
    let warnings = setting.warnings.0.lock().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("not the one in the signature file"), "{warnings:?}");
}

#[test]
fn update_records_hashes_and_then_rests() {
    let mut setting = Setting::new();
    setting.write("a/a.spec", "1\nsource a.tar\nsource b.tar\npatch a.patch\n");
    setting.write("a/a.tar", "new");
    setting.write("a/b.tar", "b");
    setting.write("a/a.patch", "patch");
    setting.sign("a", &[("z-of-another-arch.tar", "z"), ("a.tar", "old")]);
    setting.mode = SignatureMode::Update;
    let report = setting.pack();
    let update = report.specs[0].signatures.as_ref().unwrap();
    let changed: Vec<&str> = update.changes.iter().map(|change| change.file.as_str()).collect();
    assert_eq!(changed, ["a.tar", "b.tar"]);
    setting.asked();
    setting.check(&["a: current"], &["a-1-1.src.rpm"]);
    setting.mode = SignatureMode::Enforce;
    setting.check(&["a: current"], &["a-1-1.src.rpm"]);
    assert!(setting.asked().is_empty());
    let text = fs::read_to_string(setting.directory.path().join("SPECS/a/a.signatures.json")).unwrap();
    assert!(text.find("z-of-another-arch").unwrap() < text.find("a.tar").unwrap(), "{text}");
    assert!(!text.contains("a.patch"), "{text}");
}

#[test]
fn skip_takes_what_is_there_and_notices_changes() {
    let mut setting = Setting::new();
    setting.write("a/a.spec", "1\nsource a.tar\n");
    setting.write("a/a.tar", "one");
    setting.mode = SignatureMode::Skip;
    setting.check(&["a: packed, new"], &["a-1-1.src.rpm"]);
    setting.check(&["a: current"], &["a-1-1.src.rpm"]);
    setting.write("a/a.tar", "two");
    setting.check(&["a: packed, changed: a.tar"], &["a-1-1.src.rpm"]);
}

#[test]
fn sources_may_lie_deeper_than_the_spec() {
    let setting = Setting::new();
    setting.write("a/a.spec", "1\nsource login\nsource top\npatch p\n");
    setting.write("a/pam.d/login", "deep");
    setting.write("a/top", "beside");
    setting.write("a/pam.d/top", "not this one");
    setting.write("a/x/y/p", "patch");
    setting.sign("a", &[("login", "deep"), ("top", "beside")]);
    setting.check(&["a: packed, new"], &["a-1-1.src.rpm"]);
    setting.check(&["a: current"], &["a-1-1.src.rpm"]);
    setting.write("a/pam.d/login", "other");
    assert_eq!(setting.pack().failures().count(), 1);
}

#[test]
fn spec_that_changes_while_it_is_packed_is_not_recorded() {
    let setting = Setting::new();
    setting.write("a/a.spec", "1\nedit!\n");
    let report = setting.pack();
    let failures: Vec<&PackFailure> = report.failures().collect();
    assert!(matches!(failures[..], [PackFailure::ChangedMeanwhile { .. }]), "{failures:?}");
    // What was made of nobody knows what is gone.
    setting.check(&["a: packed, new"], &["a-2-1.src.rpm"]);
}
