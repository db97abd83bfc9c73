//! Release macros: one definition per fact of another spec, of which a spec sees those that it names.
//!
//! The Azure toolkit's versions processor writes a file with three macros for every spec of the tree
//! (`%azl_zlib_version 1.3.1`): thousands of definitions, of which a dozen are used. Read as a plain macro file
//! they would slow every parse down (rpm keeps macros in one sorted array) and make every spec depend on the
//! version of every other. So a spec is given the definitions whose names stand in its text. Where a text puts
//! a name together (a beginning of names stands in it that is no name, as in `%{azl_%{name}_version}`), or takes in
//! other files that may name any, it is given all.
//!
//! The file's form is rpm's, but for parameters and continued lines, which are refused: `%name body`, one a line. A
//! name ends where rpm ends it, so `%azl_a.b_version 1` defines `azl_a` as `.b_version 1`, as it does there; of two
//! definitions of a name the last one counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Bound;
use std::path::Path;

use crate::engine::EngineError;

/// Names shorter than this have no beginning in common that means anything.
const SHORTEST_PREFIX: usize = 3;

/// Definitions of which a spec sees those that it names; see the module text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseMacros {
    definitions: BTreeMap<String, String>,
}

impl ReleaseMacros {
    /// Reads files of definitions; of two definitions of a name the last one counts.
    ///
    /// # Errors
    ///
    /// Returns an error where a file cannot be read, or has a definition with parameters or over several lines.
    pub fn read<'p>(files: impl IntoIterator<Item = &'p Path>) -> Result<Self, EngineError> {
        let mut definitions = BTreeMap::new();
        for file in files {
            let text = fs::read(file).map_err(|source| EngineError::io("read", file, source))?;
            for (index, line) in String::from_utf8_lossy(&text).lines().enumerate() {
                let Some((name, body)) = definition(line) else { continue };
                if body.starts_with('(') || body.ends_with('\\') {
                    return Err(EngineError::ReleaseMacro { path: file.to_owned(), line: index + 1, name });
                }
                definitions.insert(name, body);
            }
        }
        Ok(Self { definitions })
    }

    /// Returns the definitions that a spec with this text sees, sorted by name.
    pub fn named_in(&self, text: &[u8]) -> BTreeMap<&str, &str> {
        self.named_among(&words(self.prefix(), text))
    }

    /// Returns the definitions that a spec sees whose text has these [`words`], sorted by name.
    pub(crate) fn named_among<T: AsRef<str>>(&self, words: &[T]) -> BTreeMap<&str, &str> {
        let all = || self.definitions.iter().map(|(name, body)| (name.as_str(), body.as_str()));
        match self.prefix() {
            Some(_) if !words.iter().any(|word| self.is_beginning(word.as_ref())) => {
                let found = words.iter().filter_map(|word| self.definitions.get_key_value(word.as_ref()));
                found.map(|(name, body)| (name.as_str(), body.as_str())).collect()
            }
            _ => all().collect(),
        }
    }

    /// Returns the definitions that a spec with this text sees, `name body` each.
    pub(crate) fn definitions_for(&self, text: &[u8]) -> Vec<String> {
        self.named_in(text).into_iter().map(|(name, body)| format!("{name} {body}")).collect()
    }

    /// Returns what all names begin with; `None` where that is too little to be recognised in a text.
    pub(crate) fn prefix(&self) -> Option<&[u8]> {
        let (first, last) = (self.definitions.keys().next()?, self.definitions.keys().next_back()?);
        let common = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        // Up to the first `_`: what texts put together begins there, even where names have more in common.
        let word = first.bytes().take(common).position(|byte| byte == b'_').map_or(common, |end| end + 1);
        let length = if word >= SHORTEST_PREFIX { word } else { common };
        (length >= SHORTEST_PREFIX).then(|| &first.as_bytes()[..length])
    }

    /// Returns whether a word is no name but the beginning of one.
    fn is_beginning(&self, word: &str) -> bool {
        let next = self.definitions.range::<str, _>((Bound::Included(word), Bound::Unbounded)).next();
        next.is_some_and(|(name, _)| name != word && name.starts_with(word))
    }
}

/// Returns the words of a text that begin like the names of release macros, sorted; the beginning itself where the
/// text takes in other files.
pub(crate) fn words(prefix: Option<&[u8]>, text: &[u8]) -> Vec<String> {
    let Some(prefix) = prefix else { return Vec::new() };
    let mut words = BTreeSet::new();
    for start in memchr::memmem::find_iter(text, prefix) {
        if start > 0 && is_name(text[start - 1]) {
            continue;
        }
        let rest = &text[start..];
        let end = rest.iter().position(|byte| !is_name(*byte)).unwrap_or(rest.len());
        words.insert(String::from_utf8_lossy(&rest[..end]).into_owned());
    }
    if [&b"%include"[..], b"load:"].iter().any(|way| memchr::memmem::find(text, way).is_some()) {
        words.insert(String::from_utf8_lossy(prefix).into_owned());
    }
    words.into_iter().collect()
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn definition(line: &str) -> Option<(String, String)> {
    let rest = line.trim_start().strip_prefix('%')?;
    let end = rest.bytes().position(|byte| !is_name(byte)).unwrap_or(rest.len());
    let (name, body) = rest.split_at(end);
    (!name.is_empty()).then(|| (name.to_owned(), body.trim().to_owned()))
}

/// Returns definitions as the text of a macro file.
pub(crate) fn macro_file(definitions: &[String]) -> String {
    definitions.iter().map(|definition| format!("%{definition}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &str, text: &str, expected: &[(&str, &str)]) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("macros");
        fs::write(&path, file).unwrap();
        let macros = ReleaseMacros::read([path.as_path()]).unwrap();
        let named: Vec<(&str, &str)> = macros.named_in(text.as_bytes()).into_iter().collect();
        assert_eq!(named, expected, "{text}");
    }

    const FILE: &str = "%azl_zlib_version 1.3\n%azl_zlib_release 2.azl3\n%azl_jq_version 1.7\n\
                        %azl_golang_1.23_version 1.23\nnoise\n%azl_jq_version 1.8\n";

    #[test]
    fn only_named_definitions_are_seen() {
        check(FILE, "Requires: zlib >= %{azl_zlib_version}", &[("azl_zlib_version", "1.3")]);
        check(FILE, "%azl_jq_version %{?azl_jq_release}", &[("azl_jq_version", "1.8")]);
        check(FILE, "%{azl_zlib_versions} zlib_version", &[]);
        check(FILE, "xazl_jq_version_ azl_jq_versionazl_jq_version", &[]);
        check(FILE, "azl_jq_version", &[("azl_jq_version", "1.8")]);
        check("", "%{azl_zlib_version}", &[]);
    }

    #[test]
    fn a_text_that_makes_names_sees_all() {
        let all = [
            ("azl_golang_1", ".23_version 1.23"),
            ("azl_jq_version", "1.8"),
            ("azl_zlib_release", "2.azl3"),
            ("azl_zlib_version", "1.3"),
        ];
        check(FILE, "%{azl_%{name}_version}", &all);
        check(FILE, "%{lua: print(rpm.expand('%azl_' .. x))}", &all);
    }

    #[test]
    fn a_text_that_takes_in_others_or_begins_a_name_sees_all() {
        let file = "%azl_golang_a_version 1\n%azl_golang_b_version 2\n";
        let all = [("azl_golang_a_version", "1"), ("azl_golang_b_version", "2")];
        check(file, "%include other.inc", &all);
        check(file, "%{load:other.macros}", &all);
        check(file, "%{azl_%{name}_version}", &all);
        check(file, "%{azl_golang_%{x}_version}", &all);
        check(file, "%{azl_golang_a_version}", &all[..1]);
    }

    #[test]
    fn what_is_no_plain_definition_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("macros");
        for text in ["%a 1\n%foo(x) body\n", "%a 1\n%foo body\\\nmore\n"] {
            fs::write(&path, text).unwrap();
            let error = ReleaseMacros::read([path.as_path()]).unwrap_err().to_string();
            assert!(error.contains("macros:2: ") && error.contains("foo"), "{error}");
        }
    }

    #[test]
    fn names_without_a_common_beginning_are_always_seen() {
        check("%a 1\n%b 2\n", "nothing", &[("a", "1"), ("b", "2")]);
    }
}
