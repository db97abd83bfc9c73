//! A place for tests of the worker's engine: a real worker, a real sandbox, a tree of specs.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use buildroot::{LayerStore, Sandbox, SetuidPolicy};
use rpm_model::WorkerManifest;
use specreader::{EngineLimits, ReadOptions, ReleaseMacros, SpecInput, WorkerEngine};

pub(crate) struct Site {
    pub(crate) directory: tempfile::TempDir,
    manifest: WorkerManifest,
    sandbox: Sandbox,
    layers: LayerStore,
}

impl Site {
    /// Returns `None`, loudly, without root, a worker (`build/worker/worker.json` of this workspace, or the file
    /// that `MILLWRIGHT_TEST_WORKER` names) or the sandbox's helper program.
    pub(crate) fn new() -> Option<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned();
        #[allow(clippy::disallowed_methods, reason = "a test is the rim")]
        let named = std::env::var("MILLWRIGHT_TEST_WORKER").map(PathBuf::from);
        let manifest = named.unwrap_or_else(|_| workspace.join("build/worker/worker.json"));
        let manifest = match fs::read(&manifest) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(error) => return skipped(&format!("no worker at {}: {error}", manifest.display())),
        };
        let sandbox = match Sandbox::discover() {
            Ok(sandbox) => sandbox,
            Err(error) => return skipped(&error.to_string()),
        };
        let directory = tempfile::tempdir().unwrap();
        // One store for all tests: unpacking the worker takes seconds.
        let layers = LayerStore::open(&Self::store(), SetuidPolicy::Strip).unwrap();
        Some(Self { directory, manifest, sandbox, layers })
    }

    /// Where the worker's packages are unpacked.
    pub(crate) fn store() -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("layers")
    }

    pub(crate) fn engine(&self, change: impl FnOnce(&mut EngineLimits)) -> WorkerEngine<'_> {
        let mut limits = EngineLimits::usual(NonZeroUsize::new(2).unwrap());
        change(&mut limits);
        WorkerEngine::new(&self.manifest, &self.sandbox, &self.layers, limits)
    }

    /// Returns an engine over another installation of the sandbox's programs.
    #[allow(dead_code, reason = "each test program uses a part of this module")]
    pub(crate) fn engine_over<'a>(&'a self, sandbox: &'a Sandbox) -> WorkerEngine<'a> {
        let limits = EngineLimits::usual(NonZeroUsize::new(2).unwrap());
        WorkerEngine::new(&self.manifest, sandbox, &self.layers, limits)
    }

    pub(crate) fn spec(&self, name: &str, text: impl AsRef<[u8]>) -> SpecInput {
        let source_dir = self.directory.path().join("tree").join(name);
        fs::create_dir_all(&source_dir).unwrap();
        let path = source_dir.join(format!("{name}.spec"));
        fs::write(&path, text).unwrap();
        SpecInput { name: name.to_owned(), path, source_dir }
    }
}

fn skipped<T>(why: &str) -> Option<T> {
    eprintln!("SKIPPED: {why}");
    None
}

pub(crate) fn options() -> ReadOptions {
    ReadOptions {
        arch: "x86_64".to_owned(),
        defines: BTreeMap::from([("dist".to_owned(), ".t1".to_owned()), ("two".to_owned(), "2".to_owned())]),
        macro_files: Vec::new(),
        release_macros: ReleaseMacros::default(),
        source_headers: false,
    }
}
