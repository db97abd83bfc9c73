//! The text of `%_mkpkg_version_from` to the source of a version.

use regex_lite::Regex;

use crate::trigger::TriggerSyntaxError;
use crate::trigger::parse::Cursor;
use crate::words::word;

/// What `%_mkpkg_version_from` accepts.
const GRAMMAR: &str = "it is `file PATH [PATTERN]`, `command PROGRAM [ARGUMENT ...]` or `git [DIRECTORY [TAGS]]` with words as \
    in a shell; PATH and DIRECTORY are relative to the directory of the spec and stay in it; PATTERN is a regular expression \
    whose first group, else the whole of it, is the version; TAGS is a pattern such as 'v[0-9]*'";

/// Where the version of a spec comes from.
#[derive(Clone, Debug)]
pub enum VersionSource {
    /// A file beside the spec.
    File {
        /// Its path, relative to the directory of the spec.
        path: String,
        /// What finds the version in it; without it the first line is the version.
        pattern: Option<Regex>,
    },
    /// The first line that a command says.
    Command {
        /// The program and its arguments.
        words: Vec<String>,
    },
    /// `git describe` of a repository.
    Git {
        /// The repository, relative to the directory of the spec; `None` is the one that the configuration names.
        directory: Option<String>,
        /// Which tags count, as a pattern of git; `None` is all.
        tags: Option<String>,
    },
}

/// Parses the expanded text of `%_mkpkg_version_from`; an empty one names nothing.
///
/// # Errors
///
/// Returns an error with line, column and the accepted grammar where the text is malformed.
///
/// # Examples
///
/// ```
/// use rebuild::upstream::{VersionSource, parse_version_source};
/// let source = parse_version_source("file configure.ac 'AC_INIT.*\\[([0-9.]+)'").unwrap().unwrap();
/// assert_eq!(source.version_in("AC_INIT([x],[1.3])").as_deref(), Some("1.3"));
/// ```
pub fn parse_version_source(text: &str) -> Result<Option<VersionSource>, TriggerSyntaxError> {
    let mut cursor = Cursor::new(text, GRAMMAR);
    cursor.skip(char::is_whitespace);
    if cursor.peek().is_none() {
        return Ok(None);
    }
    let kind = (cursor.clone(), word(&mut cursor, |_| false)?);
    let mut words = Vec::new();
    loop {
        cursor.skip(char::is_whitespace);
        if cursor.peek().is_none() {
            break;
        }
        words.push((cursor.clone(), word(&mut cursor, |_| false)?));
    }
    let most = match kind.1.as_str() {
        "file" | "git" => 2,
        "command" => usize::MAX,
        _ => return Err(kind.0.error("`file`, `command` or `git`")),
    };
    if let Some((place, _)) = words.get(most) {
        return Err(place.error("the end"));
    }
    let mut rest = words.into_iter();
    let source = match kind.1.as_str() {
        "command" => {
            let words: Vec<String> = rest.map(|(_, word)| word).collect();
            if words.first().is_none_or(String::is_empty) {
                return Err(cursor.error("a program"));
            }
            VersionSource::Command { words }
        }
        "file" => {
            let (place, path) = rest.next().ok_or_else(|| cursor.error("the path of a file"))?;
            let pattern = rest.next().map(|(place, pattern)| {
                Regex::new(&pattern).map_err(|_| place.error("a regular expression"))
            });
            VersionSource::File { path: below(&place, path)?, pattern: pattern.transpose()? }
        }
        _ => {
            let directory = rest.next().map(|(place, directory)| below(&place, directory)).transpose()?;
            VersionSource::Git { directory, tags: rest.next().map(|(_, tags)| tags) }
        }
    };
    Ok(Some(source))
}

/// Refuses a path that leaves the directory of the spec.
fn below(place: &Cursor<'_>, path: String) -> Result<String, TriggerSyntaxError> {
    if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(place.error("a path below the directory of the spec"));
    }
    Ok(path)
}

impl VersionSource {
    /// Returns the version that a text has for this source, as upstream writes it: what the pattern of a file finds, or
    /// the first line. `None` where there is nothing.
    pub fn version_in(&self, text: &str) -> Option<String> {
        let found = match self {
            Self::File { pattern: Some(pattern), .. } => {
                let captures = pattern.captures(text)?;
                captures.get(1).or_else(|| captures.get(0))?.as_str()
            }
            _ => text.lines().next()?,
        };
        Some(found.trim().to_owned()).filter(|found| !found.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_is_read() {
        let read = |text: &str| format!("{:?}", parse_version_source(text).unwrap());
        assert_eq!(read(" \n"), "None");
        assert_eq!(read("file VERSION"), "Some(File { path: \"VERSION\", pattern: None })");
        assert!(read("file a/b.txt '^v = (.*)$'").contains("a/b.txt"));
        assert_eq!(read("command ./v 'a b'\n  c"), "Some(Command { words: [\"./v\", \"a b\", \"c\"] })");
        assert_eq!(read("git"), "Some(Git { directory: None, tags: None })");
        assert_eq!(read("git ."), "Some(Git { directory: Some(\".\"), tags: None })");
        assert_eq!(
            read("git src 'v[0-9]*'"),
            "Some(Git { directory: Some(\"src\"), tags: Some(\"v[0-9]*\") })"
        );
    }

    #[test]
    fn malformed_texts_are_refused_with_place_and_grammar() {
        for (text, line, column, expected) in [
            ("svn x", 1, 1, "`file`, `command` or `git`"),
            ("file", 1, 5, "the path of a file"),
            ("file /etc/passwd", 1, 6, "a path below"),
            ("file a/../../b", 1, 6, "a path below"),
            ("file a\n  '('", 2, 3, "a regular expression"),
            ("file a b c", 1, 10, "the end"),
            ("git /srv/git", 1, 5, "a path below"),
            ("git a b c", 1, 9, "the end"),
            ("command", 1, 8, "a program"),
            ("command a | b", 1, 11, "a word without"),
            ("command 'a", 1, 11, "the closing quote"),
        ] {
            let error = parse_version_source(text).expect_err(text);
            assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
            assert!(error.expected.starts_with(expected), "{text}: {error}");
            assert!(error.to_string().contains("file PATH [PATTERN]"), "{error}");
        }
    }

    #[test]
    fn files_have_their_version_in_the_first_line_or_where_a_pattern_finds_it() {
        let version =
            |source: &str, text: &str| parse_version_source(source).unwrap().unwrap().version_in(text);
        assert_eq!(version("file V", " 1.2 \n3"), Some("1.2".to_owned()));
        assert_eq!(version("file V", ""), None);
        assert_eq!(version("file V", "\n1.2"), None);
        let cmake = "# 9.9\nproject(x VERSION 1.2.3)\nproject(y VERSION 7)\n";
        assert_eq!(version("file C 'VERSION ([0-9.]+)'", cmake), Some("1.2.3".to_owned()));
        assert_eq!(version("file C '(?m)^[0-9.]+$'", "a\n1.5\n"), Some("1.5".to_owned()));
        assert_eq!(version("file C 'none([0-9])'", cmake), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(file|git|command|x) [a-z0-9 '\"\\\\(|/.\n\u{e9}]{0,20}", content in "\\PC{0,20}") {
            if let Ok(Some(source)) = parse_version_source(&text) {
                let _ = source.version_in(&content);
            }
        }
    }
}
