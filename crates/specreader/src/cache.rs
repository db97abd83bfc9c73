//! Remembers what specs say, by content, so that an unchanged tree starts no process.
//!
//! The key of an entry is a hash of all that decides the answer: the engine's identity, architecture,
//! definitions and macro files, the spec's name and bytes, and the files that its macros can see while it is
//! parsed (`visible.rs`). A spec that asks the clock or a random number is remembered like any other: content
//! decides, not time.
//!
//! On disk: `<directory>/<key>.json`, and the source package's header compressed as `<directory>/<key>.header`.
//! An entry that cannot be read is a miss and is written again. Failures are remembered where they would
//! repeat ([`FailureKind::is_lasting`](crate::FailureKind::is_lasting)).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rpm_model::{ContentDigest, ContentHasher, SpecData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::engine::{EngineError, ParsedSpec, ReadOptions, SpecEngine, SpecInput};
use crate::failure::SpecFailure;
use crate::{headers, visible, write};

/// Raised when [`SpecData`] or the way it is read changes.
const SCHEMA: u32 = 4;

/// Reads specs through a cache.
pub struct CachedReader<'a> {
    engine: &'a dyn SpecEngine,
    directory: PathBuf,
}

/// What a [`CachedReader`] found.
#[derive(Debug)]
pub struct Reading {
    /// One result per spec, in the order asked.
    pub results: Vec<Result<SpecData, SpecFailure>>,
    /// The key of each spec, by which a result is remembered: equal keys, equal content and macros. `None`
    /// where the spec's files could not be read.
    pub keys: Vec<Option<ContentDigest>>,
    /// How many of them were remembered; the engine was asked about the others.
    pub remembered: usize,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    schema: u32,
    header: HeaderState,
    outcome: Result<SpecData, SpecFailure>,
}

/// What came of the question for a source package's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HeaderState {
    /// Nobody asked.
    NotAsked,
    /// The engine gave it, so it is kept.
    Given,
    /// The engine was asked and has none; it is not asked for ever.
    NotGiven,
}

impl<'a> CachedReader<'a> {
    /// Returns a reader that asks `engine` and remembers in `directory` (usually `build/cache/specs`).
    pub fn new(engine: &'a dyn SpecEngine, directory: PathBuf) -> Self {
        Self { engine, directory }
    }

    /// Returns the identity of everything but the specs that decides what is read.
    ///
    /// # Errors
    ///
    /// Returns an error where a macro file cannot be read.
    pub fn identity(&self, options: &ReadOptions) -> Result<ContentDigest, EngineError> {
        let mut hasher = ContentHasher::new("spec-options", 1);
        hasher.field("engine", self.engine.identity().as_str()).field("arch", &options.arch);
        hasher.list("defines", options.defines.iter().flat_map(|(name, body)| [name, body]));
        let files = options
            .macro_files
            .iter()
            .map(|path| digest_file(path).map_err(|source| EngineError::io("read", path, source)));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        hasher.list("macro-files", files.iter().map(ContentDigest::as_str));
        Ok(hasher.finish())
    }

    /// Reads specs; asks the engine only about those whose content is new.
    ///
    /// # Errors
    ///
    /// Returns an error where the engine cannot work or the cache cannot be written.
    pub fn read(&self, specs: &[SpecInput], options: &ReadOptions) -> Result<Reading, EngineError> {
        let identity = self.identity(options)?;
        // A spec whose files cannot be read has no key; the engine says what is wrong with it.
        let keys: Vec<Option<ContentDigest>> =
            specs.par_iter().map(|spec| key(&identity, spec, options).ok()).collect();
        let mut results: Vec<Option<Result<SpecData, SpecFailure>>> = specs
            .par_iter()
            .zip(&keys)
            .map(|(spec, key)| key.as_ref().and_then(|key| self.recall(spec, key, options)))
            .collect();
        let missing: Vec<usize> = (0..specs.len()).filter(|index| results[*index].is_none()).collect();
        let remembered = specs.len() - missing.len();
        if !missing.is_empty() {
            let asked: Vec<SpecInput> = missing.iter().map(|index| specs[*index].clone()).collect();
            for (index, result) in missing.into_iter().zip(self.engine.read(&asked, options)?) {
                if let Some(key) = &keys[index] {
                    self.remember(key, &result, options)?;
                }
                results[index] = Some(result.map(|parsed| parsed.data));
            }
        }
        let complete = |(spec, result): (&SpecInput, Option<_>)| {
            result.ok_or_else(|| EngineError::Protocol {
                name: spec.name.clone(),
                message: "the engine returned fewer results than specs".to_owned(),
            })
        };
        let results = specs.iter().zip(results).map(complete).collect::<Result<_, _>>()?;
        Ok(Reading { results, keys, remembered })
    }

    /// Returns the source package's header that belongs to a key of [`Reading::keys`], as rpm exports it; with
    /// the build requirements of `%check` or without.
    ///
    /// `None` where none was given, was asked for ([`ReadOptions::source_headers`]), or is still whole; the next
    /// read that wants headers then asks the engine again.
    ///
    /// # Errors
    ///
    /// Returns the system's error where a header is there but cannot be read.
    pub fn source_header(&self, key: &ContentDigest, run_check: bool) -> io::Result<Option<Vec<u8>>> {
        headers::read(&self.header_path(key), run_check)
    }

    fn path(&self, key: &ContentDigest) -> PathBuf {
        self.directory.join(format!("{key}.json"))
    }

    fn header_path(&self, key: &ContentDigest) -> PathBuf {
        self.directory.join(format!("{key}.header"))
    }

    fn recall(
        &self,
        spec: &SpecInput,
        key: &ContentDigest,
        options: &ReadOptions,
    ) -> Option<Result<SpecData, SpecFailure>> {
        let bytes = fs::read(self.path(key)).ok()?;
        let entry: Entry = serde_json::from_slice(&bytes).ok()?;
        let lacks_header = options.source_headers
            && entry.outcome.is_ok()
            && match entry.header {
                HeaderState::NotAsked => true,
                HeaderState::Given => !self.header_path(key).exists(),
                HeaderState::NotGiven => false,
            };
        // The path is where the caller has the spec now; content does not depend on it.
        (entry.schema == SCHEMA && !lacks_header).then(|| match entry.outcome {
            Ok(data) => Ok(SpecData { spec_path: spec.path.display().to_string(), ..data }),
            Err(failure) => Err(SpecFailure { spec_path: spec.path.clone(), ..failure }),
        })
    }

    fn remember(
        &self,
        key: &ContentDigest,
        result: &Result<ParsedSpec, SpecFailure>,
        options: &ReadOptions,
    ) -> Result<(), EngineError> {
        if result.as_ref().is_err_and(|failure| !failure.kind.is_lasting()) {
            return Ok(());
        }
        let failed = |path: &Path, source| EngineError::io("write", path, source);
        fs::create_dir_all(&self.directory).map_err(|error| failed(&self.directory, error))?;
        let headers = result.as_ref().ok().and_then(|parsed| parsed.source_headers.as_ref());
        let header = match headers {
            Some(headers) => {
                // Before the entry that says that it is there.
                let path = self.header_path(key);
                headers::write(&path, headers).map_err(|error| failed(&path, error))?;
                HeaderState::Given
            }
            None if options.source_headers => HeaderState::NotGiven,
            None => HeaderState::NotAsked,
        };
        let outcome = result.as_ref().map(|parsed| parsed.data.clone()).map_err(Clone::clone);
        let entry = Entry { schema: SCHEMA, header, outcome };
        let path = self.path(key);
        let write = || write::atomically(&path, &serde_json::to_vec(&entry)?);
        write().map_err(|source| failed(&path, source))
    }
}

/// Returns the key of one spec; see the module text.
fn key(identity: &ContentDigest, spec: &SpecInput, options: &ReadOptions) -> io::Result<ContentDigest> {
    // A pipe would not end, a device neither.
    if !fs::metadata(&spec.path)?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let text = fs::read(&spec.path)?;
    let reads_files = visible::can_read_files(&text);
    let mut hasher = ContentHasher::new("spec-data", SCHEMA);
    hasher.field("options", identity.as_str()).field("name", &spec.name);
    hasher.field("spec", ContentDigest::of_bytes(&text).as_str());
    let release = options.release_macros.named_in(&text);
    hasher.list("release-macros", release.into_iter().flat_map(|(name, body)| [name, body]));
    let directory = spec.path.parent().unwrap_or(Path::new(""));
    hasher.list("neighbours", neighbours(directory, reads_files)?);
    if spec.source_dir != directory {
        hasher.list("sources", neighbours(&spec.source_dir, reads_files)?);
    }
    Ok(hasher.finish())
}

/// Lists what macros can see in a directory, as name and content, sorted by name.
fn neighbours(directory: &Path, reads_files: bool) -> io::Result<Vec<String>> {
    let mut list = Vec::new();
    for file in visible::files(directory, reads_files)? {
        list.push(file.name.display().to_string());
        list.push(digest_file(&file.path)?.as_str().to_owned());
    }
    Ok(list)
}

pub(crate) fn digest_file(path: &Path) -> io::Result<ContentDigest> {
    let mut hash = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hash)?;
    Ok(ContentDigest::from_hash(hash.finalize().as_slice()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use rpm_model::{Evr, Nevra};

    use super::*;
    use crate::ReleaseMacros;
    use crate::engine::{PackError, PackRequest, ParsedSpec, SourceHeaders};
    use crate::failure::FailureKind;

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

        fn read(
            &self,
            specs: &[SpecInput],
            options: &ReadOptions,
        ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
            let answer = |spec: &SpecInput| {
                self.asked.lock().unwrap().push(spec.name.clone());
                let text = fs::read_to_string(&spec.path).unwrap();
                let kind = match text.as_str() {
                    "bad" => FailureKind::Rejected,
                    "slow" => FailureKind::TimeLimit { seconds: 1 },
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
            Ok(request.spec.clone())
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
            let identity = self.reader().identity(&self.options).unwrap();
            let key = key(&identity, &self.input(name), &self.options).unwrap();
            self.reader().source_header(&key, false).unwrap()
        }

        /// Cuts all files of the cache with this extension.
        fn damage(&self, extension: &str) {
            for entry in fs::read_dir(self.directory.path().join("cache")).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|present| present == extension) {
                    let bytes = fs::read(&path).unwrap();
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
        fixture.damage("header");
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
        fixture.damage("json");
        assert_eq!(fixture.asked(&["bad"]), ["bad"]);
        assert!(fixture.asked(&["bad"]).is_empty());
    }
}
