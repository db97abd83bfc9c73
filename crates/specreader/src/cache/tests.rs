//! The cache over small trees: what is asked again, what is remembered, what damage does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use rpm_model::{Evr, Nevra};

use super::*;
use crate::engine::{PackError, PackRequest, ParsedSpec, SourceHeaders};
use crate::failure::FailureKind;
use crate::{ReleaseMacros, visible};

/// Answers with the spec's text as the source's name, and notes who was asked for.
struct Fake {
    identity: ContentDigest,
    headers: bool,
    asked: Mutex<Vec<String>>,
}

impl SpecEngine for Fake {
    fn identity(&self) -> &ContentDigest {
        &self.identity
    }

    fn read_telling(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
        done: Done<'_>,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        let answer = |spec: &SpecInput| {
            done();
            self.asked.lock().unwrap().push(spec.name.clone());
            let text = fs::read_to_string(&spec.path).unwrap();
            let kind = match text.as_str() {
                "bad" => FailureKind::Rejected,
                "slow" => FailureKind::TimeLimit { seconds: 1 },
                "edited while it is read" => {
                    fs::write(&spec.path, "edited").unwrap();
                    return Ok(ParsedSpec { data: data(spec, &text), source_headers: None });
                }
                _ => {
                    let headers = SourceHeaders { plain: text.clone().into_bytes(), with_check: None };
                    let source_headers = (self.headers && options.source_headers).then_some(headers);
                    return Ok(ParsedSpec { data: data(spec, &text), source_headers });
                }
            };
            let spec_path = spec.path.clone();
            Err(SpecFailure { name: spec.name.clone(), spec_path, kind, diagnostics: Vec::new() })
        };
        Ok(specs.iter().map(answer).collect())
    }

    fn pack(&self, request: &PackRequest) -> Result<PathBuf, PackError> {
        Ok(request.spec.path.clone())
    }
}

fn data(spec: &SpecInput, text: &str) -> SpecData {
    let source = Nevra::new(text, Evr::new(0, "1", Some("1")), "src");
    SpecData::new(&spec.name, spec.path.display().to_string(), source)
}

struct Fixture {
    directory: tempfile::TempDir,
    engine: Fake,
    options: ReadOptions,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (identity, asked) = (ContentDigest::of_bytes(b"1"), Mutex::new(Vec::new()));
        let engine = Fake { identity, headers: true, asked };
        let options = ReadOptions {
            arch: "x86_64".to_owned(),
            defines: BTreeMap::new(),
            macro_files: vec![directory.path().join("macros")],
            release_macros: ReleaseMacros::default(),
            source_headers: false,
        };
        fs::write(directory.path().join("macros"), "%a b").unwrap();
        Self { directory, engine, options }
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.directory.path().join("tree").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn input(&self, name: &str) -> SpecInput {
        let source_dir = self.directory.path().join("tree").join(name);
        let path = source_dir.join(format!("{name}.spec"));
        SpecInput { name: name.to_owned(), path, source_dir }
    }

    fn reader(&self) -> CachedReader<'_> {
        CachedReader::new(&self.engine, self.directory.path().join("cache"))
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        let (reader, specs) = (self.reader(), [self.input(name)]);
        let look = reader.look(&specs, &self.options, &[]).unwrap();
        reader.source_header(look.keys[0].as_ref().unwrap(), false).unwrap()
    }

    /// Cuts all files of the cache whose path has this in it; others may be at work there.
    fn damage(&self, part: &str) {
        for entry in walkdir::WalkDir::new(self.directory.path().join("cache")).into_iter().flatten() {
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            let path = entry.into_path();
            if path.is_file()
                && !hidden
                && path.to_string_lossy().contains(part)
                && let Ok(bytes) = fs::read(&path)
            {
                fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
            }
        }
    }

    /// Reads the specs `names` and returns which of them the engine was asked about.
    fn asked(&self, names: &[&str]) -> Vec<String> {
        let specs: Vec<SpecInput> = names.iter().map(|name| self.input(name)).collect();
        let reading = self.reader().read(&specs, &self.options).unwrap();
        let asked = std::mem::take(&mut *self.engine.asked.lock().unwrap());
        assert_eq!(reading.remembered + asked.len(), names.len());
        for (spec, result) in specs.iter().zip(&reading.results) {
            let text = fs::read_to_string(&spec.path).unwrap();
            match result {
                Ok(found) => assert_eq!(found, &data(spec, &text)),
                Err(failure) => assert!(text == "bad" || text == "slow", "{failure}"),
            }
        }
        asked
    }
}

#[test]
fn only_what_changed_is_asked_again() {
    let mut fixture = Fixture::new();
    fixture.write("a/a.spec", "a1");
    fixture.write("b/b.spec", "b1");
    assert_eq!(fixture.asked(&["a", "b"]), ["a", "b"]);
    assert!(fixture.asked(&["b", "a"]).is_empty());
    fixture.write("a/a.spec", "a2");
    assert_eq!(fixture.asked(&["a", "b"]), ["a"]);
    fixture.write("a/a.spec", "a1");
    assert!(fixture.asked(&["a", "b"]).is_empty());
    fixture.options.arch = "aarch64".to_owned();
    assert_eq!(fixture.asked(&["a"]), ["a"]);
    fixture.options.defines.insert("dist".to_owned(), ".x".to_owned());
    assert_eq!(fixture.asked(&["a"]), ["a"]);
    fs::write(fixture.directory.path().join("macros"), "%a c").unwrap();
    assert_eq!(fixture.asked(&["a"]), ["a"]);
    fixture.engine.identity = ContentDigest::of_bytes(b"2");
    assert_eq!(fixture.asked(&["a"]), ["a"]);
}

#[test]
fn files_beside_the_spec_count_when_they_can_be_read() {
    let fixture = Fixture::new();
    let large = "x".repeat(visible::LARGE as usize + 1);
    fixture.write("plain/plain.spec", "plain");
    fixture.write("reader/reader.spec", "%(cat x)");
    assert_eq!(fixture.asked(&["plain", "reader"]), ["plain", "reader"]);
    for name in ["plain", "reader"] {
        fixture.write(&format!("{name}/deep/small.inc"), "1");
    }
    assert_eq!(fixture.asked(&["plain", "reader"]), ["plain", "reader"]);
    for name in ["plain", "reader"] {
        fixture.write(&format!("{name}/large.tar"), &large);
        fixture.write(&format!("{name}/other.spec"), "x");
        fixture.write(&format!("{name}/{name}.signatures.json"), "x");
    }
    assert_eq!(fixture.asked(&["plain", "reader"]), ["reader"]);
}

#[test]
fn headers_are_kept_where_the_engine_has_them() {
    let mut fixture = Fixture::new();
    fixture.write("a/a.spec", "a1");
    assert_eq!(fixture.asked(&["a"]), ["a"]);
    fixture.options.source_headers = true;
    assert_eq!(fixture.asked(&["a"]), ["a"], "headers were not asked for before");
    assert!(fixture.asked(&["a"]).is_empty());
    assert_eq!(fixture.header("a").as_deref(), Some(&b"a1"[..]));
    fixture.options.source_headers = false;
    fixture.damage("headers/");
    assert_eq!(fixture.header("a"), None);
    assert!(fixture.asked(&["a"]).is_empty(), "nobody wants the header");
    fixture.options.source_headers = true;
    assert_eq!(fixture.asked(&["a"]), ["a"]);
    assert_eq!(fixture.header("a").as_deref(), Some(&b"a1"[..]));

    fixture.engine.headers = false;
    fixture.write("a/a.spec", "a2");
    assert_eq!(fixture.asked(&["a"]), ["a"]);
    assert!(fixture.asked(&["a"]).is_empty(), "an engine without headers is asked once");
    assert_eq!(fixture.header("a"), None);
}

#[test]
fn lasting_failures_are_remembered_and_damage_is_a_miss() {
    let fixture = Fixture::new();
    fixture.write("bad/bad.spec", "bad");
    fixture.write("slow/slow.spec", "slow");
    assert_eq!(fixture.asked(&["bad", "slow"]), ["bad", "slow"]);
    assert_eq!(fixture.asked(&["bad", "slow"]), ["slow"]);
    fixture.damage("results/");
    assert_eq!(fixture.asked(&["bad"]), ["bad"]);
    assert!(fixture.asked(&["bad"]).is_empty());
}

#[test]
fn touching_changes_nothing_and_a_disguised_change_is_noticed() {
    let fixture = Fixture::new();
    fixture.write("a/a.spec", "a1");
    let path = fixture.input("a").path;
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(fixture.asked(&["a"]), ["a"]);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let set_modified = |time| File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    set_modified(SystemTime::now() - Duration::from_secs(1000));
    assert!(fixture.asked(&["a"]).is_empty());
    fixture.write("a/a.spec", "a2");
    set_modified(modified);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), modified);
    assert_eq!(fixture.asked(&["a"]), ["a"]);
}

#[test]
fn one_spec_in_two_places_is_read_once_and_two_of_one_name_are_two() {
    let fixture = Fixture::new();
    fixture.write("here/a.spec", "same");
    fixture.write("there/a.spec", "same");
    fixture.write("elsewhere/a.spec", "other");
    let specs = ["here", "there", "elsewhere"].map(|place| {
        let source_dir = fixture.directory.path().join("tree").join(place);
        SpecInput { name: "a".to_owned(), path: source_dir.join("a.spec"), source_dir }
    });
    for (round, remembered) in [(1, 0), (2, 3)] {
        let reading = fixture.reader().read(&specs, &fixture.options).unwrap();
        assert_eq!(reading.remembered, remembered, "round {round}");
        assert_eq!(reading.keys[0], reading.keys[1]);
        assert_ne!(reading.keys[0], reading.keys[2]);
        for (spec, result) in specs.iter().zip(reading.results) {
            let text = fs::read_to_string(&spec.path).unwrap();
            assert_eq!(result.unwrap(), data(spec, &text), "round {round}");
        }
    }
}

#[test]
fn what_changes_while_it_is_read_is_not_remembered() {
    let fixture = Fixture::new();
    fixture.write("a/a.spec", "edited while it is read");
    let reading = fixture.reader().read(&[fixture.input("a")], &fixture.options).unwrap();
    assert_eq!((reading.keys, reading.digest), (vec![None], None));
    fixture.engine.asked.lock().unwrap().clear();
    assert_eq!(fixture.asked(&["a"]), ["a"]);
    fixture.write("a/a.spec", "edited while it is read");
    let reading = fixture.reader().read(&[fixture.input("a")], &fixture.options).unwrap();
    assert_eq!(reading.remembered, 0, "the result of the first reading was not kept under its key");
}

/// Writes as many specs as make the cache keep them in one file too, and returns their names.
fn many(fixture: &Fixture) -> Vec<String> {
    let names: Vec<String> = (0..2 * FEW).map(|number| format!("spec{number}")).collect();
    for name in &names {
        fixture.write(&format!("{name}/{name}.spec"), &format!("text of {name}"));
    }
    names
}

#[test]
fn every_memory_may_be_lost() {
    let fixture = Fixture::new();
    let names = many(&fixture);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(fixture.asked(&names).len(), names.len());
    // These cost nothing but time.
    for part in ["stamps", "texts-"] {
        fixture.damage(part);
        assert!(fixture.asked(&names).is_empty(), "{part} is damaged");
    }
    // A single spec finds what was read together with many, and many what was read alone.
    assert!(fixture.asked(&names[..1]).is_empty());
    fixture.write("spec0/spec0.spec", "alone");
    assert_eq!(fixture.asked(&names[..1]), ["spec0"]);
    assert!(fixture.asked(&names).is_empty());
    fixture.damage("");
    assert_eq!(fixture.asked(&names).len(), names.len());
    assert!(fixture.asked(&names).is_empty());
    fixture.damage("results/");
    fixture.write("spec1/spec1.spec", "changed");
    assert_eq!(fixture.asked(&names), ["spec1"]);
    assert!(fixture.asked(&names).is_empty());
}

#[test]
fn what_another_version_kept_is_read_again() {
    let fixture = Fixture::new();
    let names = many(&fixture);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(fixture.asked(&names).len(), names.len());
    let specs: Vec<SpecInput> = names.iter().map(|name| fixture.input(name)).collect();
    let reader = fixture.reader();
    let look = reader.look(&specs, &fixture.options, &[]).unwrap();
    let keys = look.keys.iter().flatten();
    let foreign = keys.map(|key| (key.to_hash(), None, &br#"{"surprise": 1}"#[..]));
    reader.store.keep_recent(&look.identity, &reader.store.recent(&look.identity), foreign).unwrap();
    assert_eq!(fixture.asked(&names).len(), names.len());
    assert!(fixture.asked(&names).is_empty());
}

#[test]
fn a_changed_spec_among_many_is_found_through_listings_and_progress_is_told() {
    let fixture = Fixture::new();
    let names = many(&fixture);
    let specs: Vec<SpecInput> = names.iter().map(|name| fixture.input(name)).collect();
    let read = || {
        let told = Mutex::new(Vec::new());
        let reader = fixture.reader();
        let listing = Directory::list(&fixture.directory.path().join("tree"));
        let look = reader.look(&specs, &fixture.options, &[listing]).unwrap();
        let digest = look.digest();
        let tell = |done: usize, total: usize| told.lock().unwrap().push((done, total));
        let reading = reader.read_looked(look, &tell).unwrap();
        assert_eq!(reading.digest, digest);
        (digest.unwrap(), reading.remembered, told.into_inner().unwrap())
    };
    let all = specs.len();
    let (first, remembered, told) = read();
    let each: Vec<(usize, usize)> = (0..=all).chain([all]).map(|done| (done, all)).collect();
    assert_eq!((remembered, told), (0, each));
    assert_eq!(read(), (first.clone(), all, vec![(all, all), (all, all)]));
    fixture.write("spec7/spec7.spec", "changed");
    let (second, remembered, told) = read();
    assert_eq!((remembered, told), (all - 1, vec![(all - 1, all), (all, all), (all, all)]));
    assert_ne!(first, second);
}

#[test]
fn readers_of_one_directory_do_not_hurt_each_other() {
    let fixture = Fixture::new();
    let names = many(&fixture);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let specs: Vec<SpecInput> = names.iter().map(|name| fixture.input(name)).collect();
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let (fixture, specs) = (&fixture, &specs);
            scope.spawn(move || {
                for round in 0..5 {
                    if reader == 0 {
                        fixture.damage(["recent-", "stamps", "results/", "texts-", ""][round]);
                    }
                    let reading = fixture.reader().read(specs, &fixture.options).unwrap();
                    for (spec, result) in specs.iter().zip(reading.results) {
                        assert_eq!(result.unwrap(), data(spec, &format!("text of {}", spec.name)));
                    }
                }
            });
        }
    });
    fixture.engine.asked.lock().unwrap().clear();
    fixture.asked(&names);
    assert!(fixture.asked(&names).is_empty());
    let left = walkdir::WalkDir::new(fixture.directory.path().join("cache")).into_iter();
    let unfinished =
        left.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(unfinished.count(), 0);
}
