//! Tests of signature files: forms, errors with their lines, and updates that change nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use rpm_model::ContentDigest;

use super::{SignatureError, SignatureFile};

fn digest(letter: char) -> ContentDigest {
    letter.to_string().repeat(64).parse().unwrap()
}

fn parse(text: &str) -> Result<SignatureFile, SignatureError> {
    SignatureFile::parse(Path::new("a.signatures.json"), text.to_owned())
}

fn hashes(entries: &[(&str, char)]) -> BTreeMap<String, ContentDigest> {
    entries.iter().map(|(file, letter)| ((*file).to_owned(), digest(*letter))).collect()
}

#[test]
fn reads_both_spellings_and_any_hex_case() {
    for key in ["Signatures", "signatures", "SIGNATURES"] {
        let file = parse(&format!("{{\"{key}\": {{\"a.tar.gz\": \"{}\"}}}}", "AB".repeat(32))).unwrap();
        assert_eq!(file.get("a.tar.gz").unwrap().as_str(), "ab".repeat(32));
        assert_eq!(file.get("b.tar.gz"), None);
    }
}

#[test]
fn errors_name_the_line() {
    let good = "a".repeat(64);
    let cases = [
        ("{\n  \"Signatures\": {\n    \"a\": \"12\"\n  }\n}", 3, "`a`: `12` is not a SHA-256"),
        ("{\n  \"Signatures\": {\n    \"a\": 12\n  }\n}", 3, "the hash of `a` is not a string"),
        ("{\n  \"Signatures\": {\n    \"a\": \n  }\n}", 4, "expected value"),
        ("{\n  \"Signatures\": [\n  ]\n}", 2, "`Signatures` is not an object of hashes"),
        ("{\n}", 1, "there is no key `Signatures`"),
        ("", 1, "EOF while parsing"),
        ("{\"Signatures\": {},\n\"signatures\": {}}", 2, "`signatures` repeats"),
        (
            &format!("{{\"Signatures\": {{\n\"a\": \"{good}\",\n\"a\": \"{}\"}}}}", "b".repeat(64)),
            3,
            "two different hashes",
        ),
    ];
    for (text, line, message) in cases {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("a.signatures.json:{line}: ")), "{text}: {error}");
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn bytes_that_are_no_text_are_an_error_with_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.signatures.json");
    std::fs::write(&path, b"{\n\xff").unwrap();
    let error = SignatureFile::read(&path).unwrap_err().to_string();
    assert!(error.ends_with(":2: the text is not UTF-8"), "{error}");
    assert!(SignatureFile::read(&directory.path().join("none")).unwrap().is_none());
}

/// What an update makes of a text, with `1` and `2` standing for hashes.
fn check_update(before: &str, recorded: &[(&str, char)], after: &str) {
    let spell = |text: &str| {
        let text = text.replace("'1'", &format!("\"{}\"", "1".repeat(64)));
        text.replace("'2'", &format!("\"{}\"", "2".repeat(64)))
    };
    let (before, after) = (spell(before), spell(after));
    let file = if before.is_empty() {
        SignatureFile::empty(Path::new("a.signatures.json"))
    } else {
        parse(&before).unwrap()
    };
    let update = file.update(&hashes(recorded));
    assert_eq!(update.map_or(before, |update| update.after), after);
}

#[test]
fn update_keeps_order_indentation_and_other_entries() {
    check_update(
        "",
        &[("b", '1'), ("a", '2')],
        "{\n  \"Signatures\": {\n    \"a\": '2',\n    \"b\": '1'\n  }\n}\n",
    );
    check_update("{\"Signatures\": {\"z\": '1'}}", &[("z", '1')], "{\"Signatures\": {\"z\": '1'}}");
    check_update(
        "{\n \"Signatures\": {\n  \"z\": '1',\n  \"a\": '1'\n }\n}",
        &[("z", '2')],
        "{\n \"Signatures\": {\n  \"z\": '2',\n  \"a\": '1'\n }\n}",
    );
    check_update(
        "{\n \"note\": [1],\n \"signatures\": {\n  \"z\": '1'\n },\n \"more\": 2\n}",
        &[("b", '2'), ("a", '1')],
        "{\n \"note\": [1],\n \"signatures\": {\n  \"z\": '1',\n  \"a\": '1',\n  \"b\": '2'\n },\n \"more\": 2\n}",
    );
    check_update(
        "{\"Signatures\": {\"z\": '1'}}",
        &[("a", '2'), ("z", '2')],
        "{\"Signatures\": {\"z\": '2', \"a\": '2'}}",
    );
    check_update(
        "{\n  \"Signatures\": {}\n}\n",
        &[("a", '2')],
        "{\n  \"Signatures\": {\n    \"a\": '2'\n  }\n}\n",
    );
}

#[test]
fn diff_shows_the_changed_lines() {
    let text = format!("{{\n  \"Signatures\": {{\n    \"a\": \"{}\"\n  }}\n}}\n", "1".repeat(64));
    let update = parse(&text).unwrap().update(&hashes(&[("a", '2')])).unwrap();
    let diff = update.diff();
    assert!(diff.starts_with("--- a.signatures.json\n+++ a.signatures.json\n"), "{diff}");
    assert!(diff.contains(&format!("\n-    \"a\": \"{}\"\n", "1".repeat(64))), "{diff}");
    assert!(diff.contains(&format!("\n+    \"a\": \"{}\"\n", "2".repeat(64))), "{diff}");
}

#[test]
fn write_replaces_the_file_readable_for_all() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.signatures.json");
    let update = SignatureFile::empty(&path).update(&hashes(&[("a", '1')])).unwrap();
    update.write().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(SignatureFile::read(&path).unwrap().unwrap().get("a"), Some(&digest('1')));
}

proptest! {
    /// Whatever the file held: after an update it says what was recorded, keeps the rest in its order, and
    /// a second update changes nothing.
    #[test]
    fn update_is_an_edit(
        old in proptest::collection::vec(("[a-e\"\\\\]{1,2}", "[1-3]"), 0..5),
        new in proptest::collection::btree_map("[a-e\"\\\\]{1,2}", "[1-3]", 0..5),
        pretty in any::<bool>(),
    ) {
        let mut object = serde_json::Map::new();
        for (file, hash) in &old {
            object.insert(file.clone(), hash.repeat(64).into());
        }
        let order: Vec<String> = object.keys().cloned().collect();
        let document = serde_json::json!({"Signatures": object, "other": true});
        let text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) };
        let file = parse(&text.unwrap()).unwrap();
        let new: BTreeMap<String, ContentDigest> =
            new.into_iter().map(|(file, hash)| (file, hash.repeat(64).parse().unwrap())).collect();
        let after = match file.update(&new) {
            None => file,
            Some(update) => parse(&update.after).unwrap(),
        };
        for (file, hash) in &new {
            prop_assert_eq!(after.get(file), Some(hash));
        }
        let kept: Vec<String> = after.entries().map(|(file, _)| file.to_owned()).take(order.len()).collect();
        prop_assert_eq!(kept, order);
        prop_assert!(after.update(&new).is_none());
        prop_assert!(after.text.contains("\"other\""));
    }
}
