//! The text of `%_mkpkg_depends_files` to patterns.

use glob::{MatchOptions, Pattern};

use super::parse::{Cursor, TriggerSyntaxError};

/// A file or a pattern of files, relative to the spec's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilePattern {
    written: String,
    pattern: Pattern,
}

/// What `%_mkpkg_depends_files` accepts.
const GRAMMAR: &str = "files are separated by commas or blanks and are relative to the directory of the spec; a name may \
    have `*`, `?`, `[abc]` and `**/`, and is quoted where it has blanks or commas; it may not leave the directory";

/// `*` and `?` stay within one directory, and files that begin with a dot must be named as such, as in a shell.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Parses the expanded text of `%_mkpkg_depends_files`.
///
/// # Errors
///
/// Returns an error with line, column and the accepted grammar where the text is malformed.
pub fn parse_file_triggers(text: &str) -> Result<Vec<FilePattern>, TriggerSyntaxError> {
    let mut cursor = Cursor::new(text, GRAMMAR);
    let is_separator = |c: char| c == ',' || c.is_whitespace();
    let mut patterns = Vec::new();
    loop {
        cursor.skip(is_separator);
        let written = match cursor.peek() {
            None => return Ok(patterns),
            Some(mark @ ('\'' | '"')) => {
                cursor.advance();
                let start = cursor.clone();
                let written = cursor.take(|c| c != mark);
                if cursor.peek().is_none() {
                    return Err(cursor.error("the closing quote"));
                }
                cursor.advance();
                (start, written)
            }
            Some(_) => (cursor.clone(), cursor.take(|c| !is_separator(c) && c != '\'' && c != '"')),
        };
        patterns.push(pattern(&written.0, written.1)?);
        cursor.expect_separation(is_separator)?;
    }
}

fn pattern(start: &Cursor<'_>, written: &str) -> Result<FilePattern, TriggerSyntaxError> {
    if written.is_empty() || written.starts_with('/') || written.split('/').any(|part| part == "..") {
        return Err(start.error("a file below the directory of the spec"));
    }
    let plain = written.split('/').filter(|part| !part.is_empty() && *part != ".");
    let plain = plain.collect::<Vec<_>>().join("/");
    match Pattern::new(&plain) {
        Ok(pattern) if !plain.is_empty() => Ok(FilePattern { written: written.to_owned(), pattern }),
        _ => Err(start.error("a pattern of files with `*`, `?`, `[abc]` or `**/`")),
    }
}

impl FilePattern {
    /// Returns the pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Returns whether a file, given by its path relative to the spec's directory, is meant.
    pub fn matches(&self, path: &str) -> bool {
        self.pattern.matches_with(path, OPTIONS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, path: &str) -> bool {
        parse_file_triggers(text).unwrap().iter().any(|pattern| pattern.matches(path))
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (text, path, expected) in [
            ("foo.service conf/*", "foo.service", true),
            ("foo.service, conf/*", "conf/a", true),
            ("foo.service conf/*", "conf/b/a", false),
            ("conf/**/*", "conf/b/a", true),
            ("./conf//a", "conf/a", true),
            ("*", ".hidden", false),
            ("'a b'", "a b", true),
            ("a b", "a b", false),
            ("x[12].conf", "x2.conf", true),
            ("X.conf", "x.conf", false),
        ] {
            assert_eq!(check(text, path), expected, "`{text}` {path}");
        }
    }

    #[test]
    fn malformed_texts_are_refused_with_their_place() {
        for (text, line, column) in [
            ("a /etc/passwd", 1, 3),
            ("a,\nb/../../c", 2, 1),
            ("'a", 1, 3),
            ("''", 1, 2),
            ("a [b", 1, 3),
            ("a***b", 1, 1),
            ("'a'b", 1, 4),
            (".", 1, 1),
        ] {
            let error = parse_file_triggers(text).expect_err(text);
            assert_eq!((error.line, error.column), (line, column), "`{text}`: {error}");
            assert!(error.to_string().contains("relative to the directory of the spec"), "{error}");
        }
    }
}
