//! The layer store: what a layer holds, what is refused, and what many processes make of it.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use buildroot::{
    LayerError, LayerKey, LayerMissReason, LayerOutcome, LayerRequest, LayerStore, SetuidPolicy,
};
use rpm_model::ContentDigest;
use rpm_writer::{FileEntry, FileFlags, Package, Phase, Scriptlet};
use tempfile::TempDir;

use crate::packages::{TakenApart, bytes_of, package_bytes, request};
use crate::support::{can_sandbox, eventually, example};

fn open(dir: &TempDir) -> LayerStore {
    LayerStore::open(&dir.path().join("store"), SetuidPolicy::Strip).expect("store")
}

/// Everything below a directory: path, type and mode, owner, time, content or target.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut to_do = vec![root.to_path_buf()];
    while let Some(path) = to_do.pop() {
        let facts = fs::symlink_metadata(&path).expect("metadata");
        let content = if facts.is_dir() {
            to_do.extend(fs::read_dir(&path).expect("directory").map(|entry| entry.expect("entry").path()));
            String::new()
        } else if facts.is_symlink() {
            format!(" -> {}", fs::read_link(&path).expect("link").display())
        } else {
            format!(" {} links {}", String::from_utf8_lossy(&fs::read(&path).expect("file")), facts.nlink())
        };
        let shown = Path::new("/").join(path.strip_prefix(root).expect("below"));
        lines.push(format!(
            "{} {:o} {}:{} {}{content}",
            shown.display(),
            facts.mode(),
            facts.uid(),
            facts.gid(),
            facts.mtime()
        ));
    }
    lines.sort();
    lines
}

fn of(user: &str, group: &str, mtime: u32, mut file: FileEntry) -> FileEntry {
    (file.user, file.group, file.mtime) = (user.to_owned(), group.to_owned(), mtime);
    file
}

fn varied_files() -> Vec<FileEntry> {
    vec![
        of("root", "root", 11, FileEntry::directory("/usr/share/x", 0o2750)),
        of("builder", "builder", 12, FileEntry::file("/usr/share/x/mine", 0o640, "mine")),
        of("nobody", "nogroup", 13, FileEntry::file("/usr/share/x/nobodys", 0o600, "")),
        of("unknown", "unknown", 14, FileEntry::file("/usr/bin/tool", 0o4755, "tool")),
        of("root", "root", 15, FileEntry::symlink("/usr/bin/alias", "../bin/tool")),
        of("root", "root", 16, FileEntry::file("/usr/bin/bunzip2", 0o755, "shared")),
        of("root", "root", 16, FileEntry::hard_link("/usr/bin/bzcat", 0o755, "/usr/bin/bunzip2")),
        of("root", "root", 16, FileEntry::hard_link("/usr/bin/bzip2", 0o755, "/usr/bin/bunzip2")),
        of("root", "root", 17, FileEntry::file("/etc/ghost", 0o644, "").with_flags(FileFlags::GHOST)),
    ]
}

#[test]
fn a_layer_is_what_the_package_says() {
    if !can_sandbox("a_layer_is_what_the_package_says") {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let request = request(dir.path(), "varied.rpm", &package_bytes("varied", varied_files()));
    let layer = open(&dir).ensure(&request).expect("layer");
    let expected = "\
/ 40755 0:0 0
/usr 40755 0:0 0
/usr/bin 40755 0:0 0
/usr/bin/alias 120777 0:0 15 -> ../bin/tool
/usr/bin/bunzip2 100755 0:0 16 shared links 3
/usr/bin/bzcat 100755 0:0 16 shared links 3
/usr/bin/bzip2 100755 0:0 16 shared links 3
/usr/bin/tool 100755 0:0 14 tool links 1
/usr/share 40755 0:0 0
/usr/share/x 42750 0:0 11
/usr/share/x/mine 100640 1000:1000 12 mine links 1
/usr/share/x/nobodys 100600 65534:65534 13  links 1";
    assert_eq!(listing(layer.dir()).join("\n"), expected);
    let counts = layer.counts();
    assert_eq!((counts.files, counts.directories, counts.symlinks, counts.bytes), (6, 5, 1, 14));
    assert_eq!(layer.nevra(), Some("varied-1-1.noarch"));
    assert_eq!(layer.outcome(), LayerOutcome::Made(LayerMissReason::Absent));

    let keeping = LayerStore::open(&dir.path().join("store"), SetuidPolicy::Keep).expect("store");
    let kept = keeping.ensure(&request).expect("layer");
    assert_eq!(fs::metadata(kept.dir().join("usr/bin/tool")).expect("tool").mode() & 0o7777, 0o4755);
    assert_ne!(kept.dir(), layer.dir(), "policies do not share layers");
}

#[test]
fn every_supported_compression_is_read() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(&dir);
    let apart = || TakenApart::new(&package_bytes("p", vec![FileEntry::file("/p", 0o644, "content of p")]));
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    let xz = |bytes: &[u8]| {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    for (name, bytes) in [("gzip", apart().assemble_as("gzip", gzip)), ("xz", apart().assemble_as("xz", xz))]
    {
        let layer = store.ensure(&request(dir.path(), "p.rpm", &bytes)).expect(name);
        assert_eq!(fs::read_to_string(layer.dir().join("p")).expect(name), "content of p");
    }
    let bytes = apart().assemble_as("lzip", |bytes| Ok(bytes.to_vec()));
    let error = store.ensure(&request(dir.path(), "p.rpm", &bytes)).expect_err("unknown");
    assert!(error.to_string().contains("lzip"), "{error}");
}

#[test]
fn a_hit_needs_no_package_file() {
    let dir = tempfile::tempdir().expect("directory");
    let request = request(dir.path(), "p.rpm", &package_bytes("p", vec![FileEntry::file("/p", 0o644, "p")]));
    let made = open(&dir).ensure(&request).expect("layer");
    fs::remove_file(&request.path).expect("remove");
    let found = open(&dir).ensure(&request).expect("layer");
    assert_eq!(found.outcome(), LayerOutcome::Hit);
    assert_eq!((found.dir(), found.counts()), (made.dir(), made.counts()));
    assert_eq!(found.package_name(), Some("p"));
}

#[test]
fn layers_of_another_boot_or_damaged_ones_are_made_again() {
    let dir = tempfile::tempdir().expect("directory");
    let request = request(dir.path(), "p.rpm", &package_bytes("p", vec![FileEntry::file("/p", 0o644, "p")]));
    let store = open(&dir);
    let layer = store.ensure(&request).expect("layer");
    let description = layer.dir().with_file_name("layer.json");
    let text = fs::read_to_string(&description).expect("description");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("boot id");
    for (damaged, reason) in [
        (text.replace(boot.trim(), "another"), LayerMissReason::OtherBoot),
        (text[..20].to_owned(), LayerMissReason::Damaged),
    ] {
        fs::write(&description, damaged).expect("write");
        fs::write(layer.dir().join("p"), "").expect("lose content");
        assert!(store.find(layer.key()).expect("find").is_none());
        let again = store.ensure(&request).expect("layer");
        assert_eq!(again.outcome(), LayerOutcome::Made(reason));
        assert_eq!(fs::read_to_string(layer.dir().join("p")).expect("content"), "p");
    }
    fs::remove_file(&description).expect("remove");
    assert_eq!(
        store.ensure(&request).expect("layer").outcome(),
        LayerOutcome::Made(LayerMissReason::Damaged)
    );
}

#[test]
fn files_that_are_not_what_was_asked_for_are_refused() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(&dir);
    let good = request(dir.path(), "p.rpm", &package_bytes("p", vec![FileEntry::file("/p", 0o644, "p")]));
    let size = LayerRequest { size: Some(1), ..good.clone() };
    assert!(matches!(store.ensure(&size), Err(LayerError::Size { expected: 1, .. })));
    let digest = LayerRequest { sha256: ContentDigest::of_bytes(b"other"), ..good.clone() };
    let error = store.ensure(&digest).expect_err("digest");
    assert!(matches!(error, LayerError::Digest { .. }), "{error}");
    assert!(error.to_string().contains(good.sha256.as_str()), "{error}");
    let missing = LayerRequest { path: dir.path().join("missing.rpm"), ..good };
    assert!(store.ensure(&missing).expect_err("missing").to_string().contains("missing.rpm"));
    assert_nothing_is_left(&dir);
}

/// Nothing is published and nothing is left half-made.
fn assert_nothing_is_left(dir: &TempDir) {
    for name in ["layers", "temp"] {
        let path = dir.path().join("store/1-root-strip").join(name);
        let names: Vec<_> =
            fs::read_dir(path).expect(name).map(|entry| entry.expect("entry").path()).collect();
        // The session of an open store is a directory, empty here, and its lock.
        for left in &names {
            let empty = left.is_dir() && fs::read_dir(left).expect("session").next().is_none();
            let lock = left.extension().is_some_and(|extension| extension == "lock");
            assert!(name == "temp" && (empty || lock), "left: {}", left.display());
        }
    }
}

#[test]
fn hostile_packages_are_refused_and_touch_nothing() {
    if !can_sandbox("hostile_packages_are_refused_and_touch_nothing") {
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).expect("outside");
    let file = |path: &str| FileEntry::file(path, 0o644, "evil content");
    let plain = |files| TakenApart::new(&package_bytes("evil", files));
    let link_to_outside = FileEntry::symlink("/usr/trap", outside.display().to_string());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("not absolute and plain", plain(vec![file("/usr/aa/x")]).replace("/usr/aa/", "/usr/../").assemble()),
        ("not absolute and plain", plain(vec![file("/usr/aa/x")]).replace("/usr/aa/", "usr/aa//").assemble()),
        (
            "does not list",
            plain(vec![file("/usr/xx/evil")]).replace_in_payload("./usr/xx/evil", "../usr/x/evil").assemble(),
        ),
        ("does not list", plain(vec![file("/usr/x")]).replace_in_payload("./usr/x", "./usr/y").assemble()),
        (
            "stands where a directory",
            plain(vec![link_to_outside, file("/usr/trbb/x")]).replace("/usr/trbb/", "/usr/trap/").assemble(),
        ),
        ("appears twice", plain(vec![file("/usr/a1"), file("/usr/a2")]).replace("a2\0", "a1\0").assemble()),
        (
            "twice",
            plain(vec![file("/usr/a1"), file("/usr/a2")])
                .replace_in_payload("./usr/a2", "./usr/a1")
                .assemble(),
        ),
        (
            "disagree",
            plain(vec![FileEntry::symlink("/usr/l", "target")])
                .replace_in_payload("target", "/other")
                .assemble(),
        ),
        (
            "rpm's form for files over 4 GiB",
            plain(vec![file("/x")]).replace_in_payload("070701", "07070X").assemble(),
        ),
        (
            "does not have the digest",
            plain(vec![file("/usr/x")]).replace_in_payload("evil content", "evil CONTENT").assemble(),
        ),
        (
            "the payload has SHA-256",
            plain(vec![file("/usr/x")])
                .replace_in_payload("evil content", "evil CONTENT")
                .assemble_as_it_is(),
        ),
        (
            "the main header has SHA-256",
            plain(vec![file("/usr/xx")]).replace("xx\0", "xy\0").assemble_as_it_is(),
        ),
        // A package's name becomes a part of a path.
        (
            "cannot name a package",
            plain(vec![FileEntry::file("/x", 0o644, "content")]).replace("evil", "/../").assemble(),
        ),
        ("no archive header", plain(vec![file("/x")]).replace_in_payload("070701", "garble").assemble()),
    ];
    let store = open(&dir);
    for (number, (expected, bytes)) in cases.iter().enumerate() {
        let request = request(dir.path(), "evil.rpm", bytes);
        let error = store.ensure(&request).expect_err(expected);
        let mut words = error.to_string();
        let mut cause: Option<&dyn Error> = error.source();
        while let Some(next) = cause {
            words = format!("{words}: {next}");
            cause = next.source();
        }
        assert!(words.contains(expected), "case {number}: {words}");
        assert!(words.contains("evil.rpm"), "case {number}: {words}");
        assert_nothing_is_left(&dir);
    }
    assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0);
}

#[test]
fn device_nodes_are_refused() {
    let dir = tempfile::tempdir().expect("directory");
    let bytes = package_bytes("dev", vec![FileEntry::file("/dev/sda", 0o644, "")]);
    // The file's mode, 0100644, as it is in the header; 020644 is a character device.
    let mut apart = TakenApart::new(&bytes);
    let modes: Vec<usize> = (0..apart.headers.len() - 1)
        .filter(|&place| apart.headers[place..].starts_with(&[0x81, 0xa4]))
        .collect();
    for place in modes {
        apart.headers[place..place + 2].copy_from_slice(&[0x21, 0xa4]);
    }
    let error = open(&dir).ensure(&request(dir.path(), "dev.rpm", &apart.assemble())).expect_err("device");
    assert!(error.to_string().contains("device node"), "{error}");
}

#[test]
fn cut_and_garbled_files_are_errors() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(&dir);
    let good = package_bytes("p", varied_files());
    for length in (0..good.len()).step_by(37) {
        let cut = request(dir.path(), "cut.rpm", &good[..length]);
        assert!(store.ensure(&cut).is_err(), "{length} of {} bytes", good.len());
    }
    // Every byte of the headers, wrong: an error or a layer, but never a panic or an abort.
    let payload = good.len() - 200;
    for place in (0..payload).step_by(11) {
        let mut garbled = good.clone();
        garbled[place] ^= 0xff;
        let _ = store.ensure(&request(dir.path(), "garbled.rpm", &garbled));
    }
}

#[test]
fn scriptlets_that_work_are_reported() {
    let dir = tempfile::tempdir().expect("directory");
    let mut package = Package::new("scripted", "1", "1", "noarch");
    let scriptlet = |phase, interpreter: &str, body: &str| Scriptlet {
        phase,
        interpreter: interpreter.into(),
        body: body.into(),
    };
    package.scriptlets = vec![
        scriptlet(Phase::Pre, "/bin/sh", "useradd -r x"),
        scriptlet(Phase::Post, "/sbin/ldconfig", ""),
        scriptlet(Phase::PreUninstall, "/bin/sh", "userdel x"),
        scriptlet(Phase::PostTransaction, "/usr/bin/update-ca-trust", ""),
    ];
    let request = request(dir.path(), "s.rpm", &bytes_of(&package, vec![]));
    let layer = open(&dir).ensure(&request).expect("layer");
    let found: Vec<String> = layer
        .scriptlets()
        .iter()
        .map(|scriptlet| format!("{:?} {:?} {}", scriptlet.kind, scriptlet.interpreter, scriptlet.first_line))
        .collect();
    assert_eq!(
        found,
        [r#"PreInstall ["/bin/sh"] useradd -r x"#, r#"PostTransaction ["/usr/bin/update-ca-trust"] "#,]
    );
}

/// A package whose unpacking takes long enough to be interrupted.
fn large_package(dir: &Path) -> LayerRequest {
    let content = |seed: u32| -> Vec<u8> {
        (0..20_000u32).flat_map(|word| (word.wrapping_mul(2_654_435_761) ^ seed).to_le_bytes()).collect()
    };
    let files = (0..600)
        .map(|number| FileEntry::file(format!("/usr/lib/large/{number:04}"), 0o644, content(number)))
        .collect();
    request(dir, "large.rpm", &package_bytes("large", files))
}

fn ensure_in_process(dir: &TempDir, request: &LayerRequest) -> Child {
    Command::new(example("ensure_layer"))
        .arg(dir.path().join("store"))
        .arg(&request.path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("ensure_layer")
}

#[test]
fn many_processes_and_threads_make_a_layer_once() {
    let dir = tempfile::tempdir().expect("directory");
    let request = large_package(dir.path());
    let others: Vec<Child> = (0..3).map(|_| ensure_in_process(&dir, &request)).collect();
    let store = open(&dir);
    let mut outcomes: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> =
            (0..3).map(|_| scope.spawn(|| store.ensure(&request).expect("layer"))).collect();
        let outcome = |layer: buildroot::Layer| serde_json::to_string(&layer.outcome()).expect("JSON");
        threads.into_iter().map(|thread| outcome(thread.join().expect("thread"))).collect()
    });
    for other in others {
        let output = other.wait_with_output().expect("wait");
        assert!(output.status.success());
        outcomes.push(String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned());
    }
    outcomes.sort();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.as_str() != "\"hit\"").count(), 1, "{outcomes:?}");
}

#[test]
fn sigkill_while_unpacking_leaves_nothing_that_stays() {
    let dir = tempfile::tempdir().expect("directory");
    let request = large_package(dir.path());
    let temp = |dir: &TempDir| {
        dir.path().join(if rustix_is_root() { "store/1-root-strip/temp" } else { "store/1-user-strip/temp" })
    };
    for wanted in [1usize, 50, 300] {
        let mut child = ensure_in_process(&dir, &request);
        let unpacked = || {
            let pattern = walk(&temp(&dir));
            pattern.iter().filter(|path| path.to_string_lossy().contains("/usr/lib/large/")).count()
        };
        let interrupted = eventually(|| unpacked() >= wanted || child.try_wait().expect("wait").is_some());
        child.kill().expect("kill");
        let status = child.wait().expect("wait");
        assert!(interrupted);
        if status.success() {
            // It was quicker than this test; there is nothing to see then.
            fs::remove_dir_all(dir.path().join("store")).expect("remove");
            continue;
        }
        assert!(unpacked() > 0, "it was killed in the middle");
        let store = open(&dir);
        assert_eq!(walk(&temp(&dir)).len(), 0, "what it left is removed");
        assert!(store.find(&LayerKey::of_rpm(&request.sha256)).expect("find").is_none());
        let layer = store.ensure(&request).expect("layer");
        assert_eq!(layer.counts().files, 600);
        drop(store);
        fs::remove_dir_all(dir.path().join("store")).expect("remove");
    }
}

fn rustix_is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Every path below a directory; what vanishes meanwhile is passed over.
fn walk(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut to_do = vec![directory.to_path_buf()];
    while let Some(directory) = to_do.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                to_do.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn on_ext4_layers_are_made_away_from_what_was_removed() {
    let dir = tempfile::tempdir().expect("directory");
    let system = nix::sys::statfs::statfs(dir.path()).expect("file system");
    if system.filesystem_type() != nix::sys::statfs::EXT4_SUPER_MAGIC {
        eprintln!("skipped: temporary files are not on ext4");
        return;
    }
    let store = open(&dir);
    let temporary = store.temporary_directory().expect("temporary");
    let above = temporary.path().ancestors().nth(2).expect("sessions");
    let flags = rustix::fs::ioctl_getflags(fs::File::open(above).expect("directory")).expect("flags");
    assert!(flags.contains(rustix::fs::IFlags::TOPDIR), "{}: {flags:?}", above.display());
}

#[test]
fn a_live_process_is_not_taken_for_a_dead_one() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(&dir);
    let temporary = store.temporary_directory().expect("temporary");
    fs::write(temporary.path().join("x"), "x").expect("write");
    let other = open(&dir);
    assert!(temporary.path().join("x").exists());
    drop((store, other));
    assert!(temporary.path().join("x").exists(), "held by the directory itself");
}
