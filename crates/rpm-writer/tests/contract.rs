//! Properties of the bytes that need no rpm: determinism, refusal of inconsistent input, cpio order.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "a test fails by panicking")]

use proptest::prelude::*;
use rpm_writer::{Dependency, FileEntry, Package, Payload, WriteError};

fn refusal(files: Vec<FileEntry>) -> WriteError {
    Payload::pack(files).expect_err("must be refused")
}

#[test]
fn refuses_inconsistent_files() {
    for path in ["relative", "", "/a//b", "/a/../b", "/a/.", "/a/", "/a\0b"] {
        assert!(
            matches!(refusal(vec![FileEntry::file(path, 0o644, "")]), WriteError::Path { .. }),
            "{path:?}"
        );
    }
    let twice = vec![FileEntry::file("/a", 0o644, ""), FileEntry::directory("/a", 0o755)];
    assert!(matches!(refusal(twice), WriteError::Duplicate { path } if path == "/a"));
    for target in ["/missing", "/dir", "/b"] {
        let files = vec![FileEntry::directory("/dir", 0o755), FileEntry::hard_link("/b", 0o644, target)];
        assert!(matches!(refusal(files), WriteError::HardLink { .. }), "{target}");
    }
    let unreadable = FileEntry::file("/a", 0o644, std::path::PathBuf::from("/nonexistent/content"));
    assert!(
        matches!(refusal(vec![unreadable]), WriteError::Read { source_path, .. } if source_path.ends_with("content"))
    );
}

#[test]
fn refuses_names_rpm_would_refuse() {
    let payload = Payload::pack(Vec::new()).unwrap();
    for (package, field) in [
        (Package::new("a b", "1", "1", "noarch"), "name"),
        (Package::new("", "1", "1", "noarch"), "name"),
        (Package::new("a", "1-2", "1", "noarch"), "version"),
        (Package::new("a", "1", "1:2", "noarch"), "release"),
        (Package::new("a", "1", "1", ""), "architecture"),
    ] {
        let error = package.to_bytes(&payload).expect_err("must be refused");
        assert!(matches!(error, WriteError::Field { field: f, .. } if f == field), "{error}");
    }
}

#[test]
fn hard_link_set_is_consecutive_with_content_on_its_last_member() {
    let payload = Payload::pack(vec![
        FileEntry::file("/a", 0o644, "CONTENT"),
        FileEntry::file("/b", 0o644, "other"),
        FileEntry::hard_link("/c", 0o644, "/a"),
    ])
    .unwrap();
    let archive = zstd::decode_all(payload.compressed()).unwrap();
    let text = String::from_utf8(archive).unwrap();
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} in {text}"));
    assert!(at("./b") < at("./a") && at("./a") < at("./c") && at("./c") < at("CONTENT"));
    assert_eq!(payload.installed_size(), 12, "an inode is counted once");
}

proptest! {
    #[test]
    fn bytes_do_not_depend_on_the_order_of_the_input(
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let build = |order: &[usize]| {
            let mut package = Package::new("p", "1", "1", "noarch");
            package.requires = order.iter().map(|i| Dependency::any(format!("r{i}"))).collect();
            let files = order.iter().map(|i| match i % 3 {
                0 => FileEntry::directory(format!("/d/{i}"), 0o755),
                1 => FileEntry::file(format!("/d/{i}"), 0o644, format!("{i}")),
                _ => FileEntry::hard_link(format!("/d/{i}"), 0o644, format!("/d/{}", i - 1)),
            });
            package.to_bytes(&Payload::pack(files.collect()).unwrap()).unwrap()
        };
        let sorted: Vec<usize> = (0..12).collect();
        prop_assert_eq!(build(&order), build(&sorted));
    }
}
