//! Source packages beside those of `rpmbuild -bs`: the same spec, the same files, the same bytes.
//!
//! The header that a parse leaves comes from rpmbuild's own package here, with everything taken out that the
//! build added; so what is added again is compared with what rpm added. Skips, saying so, without rpmbuild.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use rpm_model::ContentDigest;
use rpm_writer::{
    BuildStamp, Compression, SourceFacts, SourceFile, SourcePackage, SourceRefusal, WriteError,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

/// What `rpmbuild -bs` adds to the header of the parse, but for `SPEC` and `RPMVERSION`.
const ADDED: [u32; 28] = [
    63, 1006, 1007, 1009, 1028, 1030, 1033, 1034, 1035, 1036, 1037, 1039, 1040, 1045, 1094, 1095, 1096, 1097,
    1106, 1116, 1117, 1118, 1124, 1125, 1126, 5011, 5062, 5092,
];
const ADDED_DIGESTS: [u32; 2] = [5093, 5097];
const REQUIRE_NAMES: u32 = 1049;
const REQUIRE_FLAGS: u32 = 1048;
const REQUIRE_VERSIONS: u32 = 1050;
const NOON: &str = "\n%changelog\n* Tue Jun 03 2025 A Packager <packager@example.org> - 1-1\n- First\n";

/// A value of a header: type, count, bytes.
type Value = (u32, u32, Vec<u8>);

/// A spec with its files, and rpm's package of them.
struct Case {
    directory: tempfile::TempDir,
    name: String,
    compression: Compression,
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Returns the values of the main header of a package.
fn main_header(package: &[u8]) -> BTreeMap<u32, Value> {
    let after = |at: usize| at + 16 + 16 * word(package, at + 8) + word(package, at + 12);
    let begin = after(96).next_multiple_of(8);
    let (length, store) = (word(package, begin + 8), begin + 16 + 16 * word(package, begin + 8));
    let entry = |number: usize| {
        let at = begin + 16 + 16 * number;
        let (tag, kind, count) = (word(package, at), word(package, at + 4), word(package, at + 12));
        let value = &package[store + word(package, at + 8)..];
        let length = match kind {
            3 => 2 * count,
            4 => 4 * count,
            5 => 8 * count,
            6 | 8 | 9 => {
                value.iter().enumerate().filter(|(_, byte)| **byte == 0).nth(count - 1).unwrap().0 + 1
            }
            _ => count,
        };
        (tag as u32, (kind as u32, count as u32, value[..length].to_vec()))
    };
    (0..length).map(entry).collect()
}

/// Returns a header as the parse would have exported it.
fn without_the_build(mut header: BTreeMap<u32, Value>) -> Vec<u8> {
    header.retain(|tag, _| !ADDED.contains(tag) && !ADDED_DIGESTS.contains(tag));
    let names = &header[&REQUIRE_NAMES].2;
    let stays: Vec<bool> =
        names[..names.len() - 1].split(|byte| *byte == 0).map(|name| !name.starts_with(b"rpmlib(")).collect();
    for tag in [REQUIRE_NAMES, REQUIRE_FLAGS, REQUIRE_VERSIONS] {
        let (kind, count, bytes) = header.remove(&tag).unwrap();
        let parts: Vec<&[u8]> = match kind {
            4 => bytes.chunks(4).collect(),
            _ => bytes.split_inclusive(|byte| *byte == 0).collect(),
        };
        assert_eq!((parts.len(), stays.len()), (count as usize, count as usize));
        let kept: Vec<&[u8]> =
            parts.into_iter().zip(&stays).filter_map(|(part, stays)| stays.then_some(part)).collect();
        if !kept.is_empty() {
            header.insert(tag, (kind, kept.len() as u32, kept.concat()));
        }
    }
    let (mut index, mut store) = (Vec::new(), Vec::new());
    for (tag, (kind, count, bytes)) in &header {
        let alignment = match kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        store.resize(store.len().next_multiple_of(alignment), 0);
        for number in [*tag, *kind, store.len() as u32, *count] {
            index.extend_from_slice(&number.to_be_bytes());
        }
        store.extend_from_slice(bytes);
    }
    [&(header.len() as u32).to_be_bytes()[..], &(store.len() as u32).to_be_bytes(), &index, &store].concat()
}

/// Runs a command; its failure fails the test.
#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    output
}

impl Case {
    /// Returns `None`, loudly, where there is no rpmbuild.
    fn new(
        name: &str,
        preamble: &str,
        rest: &str,
        files: &[(&str, &[u8])],
        compression: &str,
    ) -> Option<Self> {
        if !Command::new("rpmbuild").arg("--version").output().is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: `rpmbuild` is not installed, nothing was compared with it");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let case = Self { directory, name: name.to_owned(), compression: compression.parse().unwrap() };
        for place in ["SOURCES", "SRPMS", "native"] {
            fs::create_dir(case.path(place)).unwrap();
        }
        let spec = format!("Name: {name}\n{preamble}\nSummary: S\nLicense: MIT\n%description\nD\n{rest}");
        fs::write(case.spec(), spec).unwrap();
        for (file, content) in files {
            fs::write(case.path("SOURCES").join(file), content).unwrap();
        }
        Some(case)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn spec(&self) -> PathBuf {
        self.path(&format!("{}.spec", self.name))
    }

    fn files(&self) -> BTreeMap<String, SourceFile> {
        let sources = fs::read_dir(self.path("SOURCES")).unwrap().map(|entry| entry.unwrap().path());
        let file = |path: PathBuf| {
            let sha256 = ContentDigest::of_bytes(&fs::read(&path).unwrap());
            (path.file_name().unwrap().to_string_lossy().into_owned(), SourceFile { path, sha256 })
        };
        sources.chain([self.spec()]).map(file).collect()
    }

    /// Returns rpm's package.
    fn of_rpmbuild(&self, date: Option<u32>) -> Vec<u8> {
        // rpm cuts times down to the package's date, so they only need to be later; but a date of 0 it takes for
        // none.
        let time = Duration::from_secs(date.map_or(4_000_000_000, u64::from));
        for path in self.files().values().map(|file| &file.path) {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH + time)
                .unwrap();
        }
        let mut command = Command::new("rpmbuild");
        command
            .args(["-bs", "--nodeps", "--target", "x86_64"])
            .env("TZ", "UTC")
            .env_remove("SOURCE_DATE_EPOCH");
        let directory = self.directory.path().display();
        for define in [
            format!("_sourcedir {directory}/SOURCES"),
            format!("_srcrpmdir {directory}/SRPMS"),
            "_srcdefattr (-,root,root)".to_owned(),
            "_buildhost millwright".to_owned(),
            "source_date_epoch_from_changelog 1".to_owned(),
            "use_source_date_epoch_as_buildtime 1".to_owned(),
            "clamp_mtime_to_source_date_epoch 1".to_owned(),
            format!("_source_payload {}", self.compression),
        ] {
            command.args(["--define", &define]);
        }
        if let Some(date) = date {
            command.env("SOURCE_DATE_EPOCH", date.to_string());
        }
        run(command.arg(self.spec()));
        let written: Vec<PathBuf> =
            fs::read_dir(self.path("SRPMS")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(written.len(), 1, "{written:?}");
        fs::read(&written[0]).unwrap()
    }

    /// Writes the package into `native` and returns its path.
    fn write(&self, exported: &[u8], date: Option<u32>) -> Result<PathBuf, WriteError> {
        let package = SourcePackage::from_exported(exported).map_err(WriteError::Refused)?;
        let time = date.or(package.changelog_date()).unwrap();
        let stamp = BuildStamp { time, host: "millwright".into() };
        let facts = SourceFacts { stamp, arch: "x86_64".into(), compression: self.compression };
        let path = self.path("native").join(package.file_name());
        let mut output =
            File::options().create(true).truncate(true).read(true).write(true).open(&path).unwrap();
        let written = package.write(&format!("{}.spec", self.name), &self.files(), &facts, &mut output)?;
        let bytes = fs::read(&path).unwrap();
        assert_eq!((written.size, written.sha256), (bytes.len() as u64, ContentDigest::of_bytes(&bytes)));
        Ok(path)
    }
}

fn archive(package: &Path) -> Vec<u8> {
    run(Command::new("rpm2cpio").arg(package)).stdout
}

/// Returns the tags that differ, with both values as text.
fn differences(ours: &BTreeMap<u32, Value>, peers: &BTreeMap<u32, Value>) -> Vec<(u32, [String; 2])> {
    let show = |value: Option<&Value>| {
        value
            .map(|(kind, count, bytes)| format!("{kind} {count} {}", bytes.escape_ascii()))
            .unwrap_or_default()
    };
    let tags: BTreeSet<u32> = ours.keys().chain(peers.keys()).copied().collect();
    let differing = tags.into_iter().filter(|tag| ours.get(tag) != peers.get(tag));
    differing.map(|tag| (tag, [show(ours.get(&tag)), show(peers.get(&tag))])).collect()
}

/// Compares whole files where the same library compresses, else header and archive.
fn check(name: &str, preamble: &str, rest: &str, files: &[(&str, &[u8])], compression: &str) {
    let Some(case) = Case::new(name, preamble, rest, files, compression) else { return };
    let date = (!rest.contains("%changelog")).then_some(0);
    let reference = case.of_rpmbuild(date);
    let native = case.write(&without_the_build(main_header(&reference)), date).unwrap();
    let bytes = fs::read(&native).unwrap();
    let differing = differences(&main_header(&bytes), &main_header(&reference));
    // The digest of the compressed payload depends on whose library compresses; that of the archive does not.
    let same_library = case.compression == Compression::None;
    assert!(differing.iter().all(|(tag, _)| *tag == 5092 && !same_library), "{name}: {differing:?}");
    assert!(bytes == reference || !same_library, "{name}: lead or signature header differ");
    let rpm = case.path("SRPMS").join(native.file_name().unwrap());
    assert!(archive(&native) == archive(&rpm), "{name}: the archives differ");
    let verdict = run(Command::new("rpm").arg("-K").arg(&native));
    assert!(String::from_utf8_lossy(&verdict.stdout).contains("digests OK"), "{name}: {verdict:?}");
}

#[test]
fn packages_are_those_of_rpmbuild() {
    let plain = "Version: 1\nRelease: 1";
    let text: &[u8] = b"a patch that is long enough for rpm\n";
    check("bare", plain, NOON, &[], "w.ufdio");
    check("undated", plain, "", &[], "w.ufdio");
    check(
        "afternoon",
        plain,
        "%changelog\n* Tue Jun 03 13:14:15 UTC 2025 A Packager <a@example.org> - 1-1\n- First\n",
        &[],
        "w.ufdio",
    );
    let sources = "Version: 1\nRelease: 1\nSource0: https://example.org/a/b.tar.gz\nSource7: dir/empty\n\
                   Source8: other/b.tar.gz\nPatch3: z.patch\nPatch1: a.patch";
    let files = [("b.tar.gz", text), ("empty", &[]), ("z.patch", text), ("a.patch", text), ("unused", text)];
    for compression in ["w.ufdio", "w9.gzdio", "w3.zstdio", "w3T0.zstdio", "w2.xzdio"] {
        check("sources", sources, NOON, &files, compression);
    }
    check(
        "names",
        "Version: 1.0~rc1^3\nRelease: 1\nEpoch: 3\nBuildArch: noarch\nSummary(de): Grüße\nVendor: V\nURL: u\n\
         BuildRequires: gcc >= 4, zz, (a or b), pkgconfig(x)\nBuildConflicts: y < 2\nExclusiveArch: noarch x86_64",
        NOON,
        &[],
        "w.ufdio",
    );
    for (name, dependency) in [
        ("tilde", "BuildRequires: a < 1~2"),
        ("caret", "BuildRequires: a < 1^2"),
        ("tilde-conflict", "BuildConflicts: a < 1~2"),
        ("caret-conflict", "BuildConflicts: z < 1^2, sh"),
        ("rich-conflict", "BuildConflicts: (a or b)"),
    ] {
        check(name, &format!("{plain}\n{dependency}"), NOON, &[], "w.ufdio");
    }
}

#[test]
fn large_payloads_are_streamed_into_the_same_file() {
    let large: Vec<u8> =
        (0..2_500_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()).collect();
    let zeros = vec![0; 6_000_001];
    let files = [("large", &large[..]), ("zeros", &zeros)];
    for compression in ["w.ufdio", "w1.gzdio", "w3.zstdio", "w3T0.zstdio"] {
        check("large", "Version: 1\nRelease: 1\nSource0: large\nSource1: zeros", NOON, &files, compression);
    }
}

#[test]
fn file_that_changed_is_never_packed() {
    let text: &[u8] = b"a source that is long enough for rpm\n";
    let Some(case) = Case::new("c", "Version: 1\nRelease: 1\nSource0: a", NOON, &[("a", text)], "w.ufdio")
    else {
        return;
    };
    let exported = without_the_build(main_header(&case.of_rpmbuild(None)));
    case.write(&exported, None).unwrap();
    let package = SourcePackage::from_exported(&exported).unwrap();
    let facts = SourceFacts {
        stamp: BuildStamp { time: 1, host: "h".into() },
        arch: "x86_64".into(),
        compression: Compression::None,
    };
    let verified = case.files();
    for other in [&text[..10], &[text, text].concat(), b"A source that is long enough for rpm\n"] {
        fs::write(case.path("SOURCES/a"), other).unwrap();
        let mut output = std::io::Cursor::new(Vec::new());
        let error = package.write("c.spec", &verified, &facts, &mut output).unwrap_err();
        assert!(
            matches!(&error, WriteError::Changed { source_path } if source_path.ends_with("a")),
            "{error}"
        );
    }
    fs::remove_file(case.path("SOURCES/a")).unwrap();
    let error =
        package.write("c.spec", &verified, &facts, &mut std::io::Cursor::new(Vec::new())).unwrap_err();
    assert!(matches!(error, WriteError::Read { .. }), "{error}");
}

#[test]
fn what_is_not_written_here_is_refused_with_its_reason() {
    let text: &[u8] = b"a source that is long enough for rpm\n";
    let header = |preamble: &str| {
        let case =
            Case::new("r", &format!("Version: 1\nRelease: 1\n{preamble}"), NOON, &[("a", text)], "w.ufdio")?;
        let header = main_header(&case.of_rpmbuild(None));
        Some((case, header))
    };
    let Some((case, good)) = header("Source0: a") else { return };
    let refusal = |header: BTreeMap<u32, Value>| match case.write(&without_the_build(header), None) {
        Err(WriteError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let without = |tag: u32| {
        let mut header = good.clone();
        header.remove(&tag).unwrap();
        header
    };
    let with = |tag: u32, value: Value| {
        let mut header = good.clone();
        header.insert(tag, value);
        header
    };
    assert_eq!(refusal(without(5099)), SourceRefusal::Lacks { tag: 5099 });
    assert_eq!(refusal(without(1064)), SourceRefusal::Lacks { tag: 1064 });
    assert_eq!(refusal(with(1004, (9, 1, b"\xff\0".to_vec()))), SourceRefusal::Encoding { tag: 1004 });
    assert!(matches!(refusal(with(1000, (6, 1, b"../r\0".to_vec()))), SourceRefusal::Damaged { .. }));
    assert_eq!(refusal(with(1018, (8, 1, b"b\0".to_vec()))), SourceRefusal::Unknown { file: "b".into() });
    assert!(matches!(SourcePackage::from_exported(b"\0\0\0\x01"), Err(SourceRefusal::Damaged { .. })));
    let (_, left_out) = header("Source0: a\nNoSource: 0").unwrap();
    assert_eq!(refusal(left_out), SourceRefusal::NoSource);

    // More than 32 bits can say, without the disk space: a sparse file.
    File::options()
        .write(true)
        .open(case.path("SOURCES/a"))
        .unwrap()
        .set_len(u64::from(u32::MAX) - 100)
        .unwrap();
    let exported = without_the_build(good.clone());
    let package = SourcePackage::from_exported(&exported).unwrap();
    let mut files = BTreeMap::new();
    for (name, path) in [("a", case.path("SOURCES/a")), ("r.spec", case.spec())] {
        files.insert(name.to_owned(), SourceFile { path, sha256: ContentDigest::of_bytes(b"") });
    }
    let facts = SourceFacts {
        stamp: BuildStamp { time: 1, host: "h".into() },
        arch: "x86_64".into(),
        compression: Compression::None,
    };
    let mut output = std::io::Cursor::new(Vec::new());
    let error = package.write("r.spec", &files, &facts, &mut output).unwrap_err();
    assert!(matches!(error, WriteError::TooLarge { .. }), "{error}");
    assert!(output.into_inner().is_empty());
}
