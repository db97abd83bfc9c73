//! Expanding real SRPMs, written by the host's rpmbuild with each payload compression.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failing test may panic, a skipped one says so"
)]

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use specreader::{
    EngineLimits, ExpandError, Expansion, HostEngine, PackRequest, SourceDate, SpecEngine, expand,
};

struct Workshop {
    directory: tempfile::TempDir,
    engine: HostEngine,
}

impl Workshop {
    fn new() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let limits = EngineLimits::usual(NonZeroUsize::MIN);
        match HostEngine::new(directory.path().join("scratch"), limits) {
            Ok(engine) => Some(Self { directory, engine }),
            Err(error) => {
                eprintln!("SKIPPED: no rpm on this host: {error}");
                None
            }
        }
    }

    fn srpm(&self, name: &str, version: &str, payload: &str, source: &str) -> PathBuf {
        let specs = self.directory.path().join("specs");
        let output = self.directory.path().join("srpms");
        fs::create_dir_all(&specs).unwrap();
        fs::create_dir_all(&output).unwrap();
        let spec = specs.join(format!("{name}.spec"));
        let text = format!(
            "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: MIT\nSource: data\n\
             %description\nx\n%files\n"
        );
        fs::write(&spec, text).unwrap();
        fs::write(specs.join("data"), source).unwrap();
        let request = PackRequest {
            spec: specreader::SpecInput { name: name.to_owned(), path: spec, source_dir: specs.clone() },
            sources: BTreeMap::from([("data".to_owned(), specs.join("data"))]),
            output,
            arch: "x86_64".to_owned(),
            defines: BTreeMap::from([("_source_payload".to_owned(), payload.to_owned())]),
            macro_files: Vec::new(),
            release_macros: specreader::ReleaseMacros::default(),
            source_date: SourceDate::Changelog,
        };
        self.engine.pack(&request).unwrap()
    }

    fn output(&self) -> PathBuf {
        self.directory.path().join("expanded")
    }

    fn expand(&self, srpms: &[&Path]) -> Expansion {
        let srpms: Vec<PathBuf> = srpms.iter().map(|path| (*path).to_owned()).collect();
        expand(&srpms, &self.output()).unwrap()
    }
}

#[test]
fn every_payload_compression_is_read() {
    let Some(workshop) = Workshop::new() else { return };
    let source = "text ".repeat(10_000);
    let payloads = ["w9.gzdio", "w6.xzdio", "w3.zstdio", "w.ufdio"];
    let srpms: Vec<PathBuf> = payloads
        .iter()
        .enumerate()
        .map(|(index, payload)| workshop.srpm(&format!("p{index}"), "1", payload, &source))
        .collect();
    let expansion = workshop.expand(&srpms.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    assert!(expansion.failures.is_empty(), "{:?}", expansion.failures);
    assert_eq!((expansion.specs.len(), expansion.unpacked), (4, 4));
    for (index, spec) in expansion.specs.iter().enumerate() {
        assert_eq!(spec.spec, workshop.output().join(format!("p{index}-1-1/p{index}.spec")));
        assert_eq!(fs::read_to_string(spec.spec.with_file_name("data")).unwrap(), source);
    }
}

#[test]
fn only_what_changed_is_unpacked_and_the_rest_is_removed() {
    let Some(workshop) = Workshop::new() else { return };
    let (a, b) = (workshop.srpm("a", "1", "w9.gzdio", "1"), workshop.srpm("b", "1", "w9.gzdio", "1"));
    fs::create_dir_all(workshop.output().join("mine")).unwrap();
    assert_eq!(workshop.expand(&[&a, &b]).unpacked, 2);
    assert_eq!(workshop.expand(&[&b, &a]).unpacked, 0);
    // The same content under a new time and inode is no change.
    let bytes = fs::read(&a).unwrap();
    fs::remove_file(&a).unwrap();
    fs::write(&a, bytes).unwrap();
    assert_eq!(workshop.expand(&[&a, &b]).unpacked, 0);
    workshop.srpm("a", "1", "w9.gzdio", "2");
    assert_eq!(workshop.expand(&[&a, &b]).unpacked, 1);
    assert_eq!(fs::read_to_string(workshop.output().join("a-1-1/data")).unwrap(), "2");
    fs::remove_dir_all(workshop.output().join("b-1-1")).unwrap();
    assert_eq!(workshop.expand(&[&a, &b]).unpacked, 1);
    let newer = workshop.srpm("a", "2", "w9.gzdio", "2");
    let both = workshop.expand(&[&a, &newer]);
    assert!(matches!(both.failures.as_slice(), [ExpandError::Duplicate { name, .. }] if name == "a"));
    assert_eq!(both.removed, [workshop.output().join("b-1-1")]);
    assert_eq!(workshop.expand(&[&newer]).removed, [workshop.output().join("a-1-1")]);
    assert!(workshop.output().join("mine").is_dir());
}

#[test]
fn damaged_srpms_are_named_and_leave_nothing() {
    let Some(workshop) = Workshop::new() else { return };
    let source: String = (0..20_000).map(|n: u32| n.wrapping_mul(2_654_435_761).to_string()).collect();
    let good = workshop.srpm("good", "1", "w9.gzdio", &source);
    let bytes = fs::read(&good).unwrap();
    let directory = workshop.directory.path();
    for (name, length) in [("short", bytes.len() - 1000), ("header", 300), ("lead", 50), ("nothing", 0)] {
        let path = directory.join(format!("{name}-1-1.src.rpm"));
        fs::write(&path, &bytes[..length]).unwrap();
        let expansion = workshop.expand(&[&path]);
        assert!(matches!(expansion.failures.as_slice(), [ExpandError::Damaged { .. }]), "{name}");
        assert!(expansion.specs.is_empty());
        let left: Vec<_> = fs::read_dir(workshop.output()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [".expanded"], "{name}");
    }
}
