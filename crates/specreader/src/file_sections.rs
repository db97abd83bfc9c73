//! The `%files` sections of a spec: which packages get built, and what each section lists.
//!
//! rpm builds a package exactly when there is a `%files` section for it, be it empty; no header says so. The
//! text is the expanded one, and the rules are those of rpm 4.18 (`build/parseFiles.c`, `build/files.c`) and of
//! popt, which splits the section's line (`poptParseArgvString`) and reads its options (`poptGetNextOpt`).
//!
//! What rpm would refuse, now or when it builds, is passed over: rpm has seen the text before.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rpm_model::ListedFile;

use crate::text::{SPACES, section};

/// What the `%files` sections of one package say together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FileSection {
    /// Absolute paths and globs; those of the last section count, as in rpm.
    pub(crate) files: Vec<ListedFile>,
    /// The arguments of `-f`; those of all sections count.
    pub(crate) file_lists: Vec<String>,
}

/// Returns the `%files` sections of a spec by the full name of their package.
pub(crate) fn file_sections(text: &str, main_name: &str) -> BTreeMap<String, FileSection> {
    let mut sections: BTreeMap<String, FileSection> = BTreeMap::new();
    let mut current: Option<&mut FileSection> = None;
    for line in text.lines() {
        match section(line).as_deref() {
            Some("files") => {
                current = SectionLine::parse(line).map(|line| {
                    let section = sections.entry(line.package(main_name)).or_default();
                    section.files.clear();
                    section.file_lists.extend(line.file_lists);
                    section
                });
            }
            Some(_) => current = None,
            None => {
                if let Some(section) = &mut current {
                    section.files.extend(listed_files(line));
                }
            }
        }
    }
    sections
}

/// The line that begins a `%files` section.
struct SectionLine {
    /// A full name after `-n`, a suffix to the main package's name without.
    name: Option<String>,
    is_full_name: bool,
    file_lists: Vec<String>,
}

impl SectionLine {
    fn parse(line: &str) -> Option<Self> {
        let words = split_words(line)?;
        let mut parsed = Self { name: None, is_full_name: false, file_lists: Vec::new() };
        let mut operands = Vec::new();
        let mut arguments = words.iter().skip(1);
        while let Some(word) = arguments.next() {
            if word == "--" {
                operands.extend(arguments.by_ref());
                break;
            }
            let Some(option) = word.strip_prefix('-').filter(|option| !option.is_empty()) else {
                operands.push(word);
                continue;
            };
            let attached = option.get(1..).filter(|value| !value.is_empty());
            let value = match attached {
                Some(value) => value.strip_prefix('=').unwrap_or(value),
                None => arguments.next()?,
            };
            match option.as_bytes()[0] {
                b'n' => {
                    parsed.name = Some(value.to_owned());
                    parsed.is_full_name = true;
                }
                b'f' => {}
                _ => return None,
            }
        }
        if parsed.name.is_none() {
            parsed.name = operands.first().map(|name| (*name).clone());
        }
        // rpm looks for `-f` a second time, among all words, and only where a word of its own follows.
        let pairs = words.iter().zip(words.iter().skip(1)).skip(1);
        parsed.file_lists = pairs.filter(|(word, _)| *word == "-f").map(|(_, list)| list.clone()).collect();
        Some(parsed)
    }

    fn package(&self, main_name: &str) -> String {
        match &self.name {
            None => main_name.to_owned(),
            Some(name) if self.is_full_name => name.clone(),
            Some(suffix) => format!("{main_name}-{suffix}"),
        }
    }
}

/// Splits a line into words as `poptParseArgvString` does; `None` where a backslash ends it.
fn split_words(line: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        // There always is a last word.
        let word = words.last_mut()?;
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (Some(end), '\\') => {
                let escaped = characters.next()?;
                if escaped != end {
                    word.push('\\');
                }
                word.push(escaped);
            }
            (Some(_), _) => word.push(character),
            (None, _) if SPACES.contains(&character) => {
                // An empty word, for example `""`, is none.
                if !word.is_empty() {
                    words.push(String::new());
                }
            }
            (None, '"' | '\'') => quote = Some(character),
            (None, '\\') => word.push(characters.next()?),
            (None, _) => word.push(character),
        }
    }
    if words.last().is_some_and(String::is_empty) {
        words.pop();
    }
    Some(words)
}

/// Directives that rpm erases wherever they stand, with what follows in parentheses.
const ERASED: [&str; 8] = ["%verify", "%defverify", "%attr", "%defattr", "%dev", "%config", "%lang", "%caps"];

/// Returns what one line of a `%files` section lists.
fn listed_files(line: &str) -> Vec<ListedFile> {
    if !line.contains('/') {
        return Vec::new();
    }
    let mut rest = Cow::Borrowed(line);
    for directive in ERASED {
        if let Some(erased) = erase(&rest, directive) {
            rest = Cow::Owned(erased);
        }
    }
    let (mut excluded, mut directory_only, mut ghost) = (false, false, false);
    let mut paths = Vec::new();
    for token in Tokens(&rest) {
        match token {
            "%exclude" => excluded = true,
            "%dir" => directory_only = true,
            "%ghost" => ghost = true,
            // What follows is no file of the package's own, or not on disk.
            "%docdir" | "%pubkey" => return Vec::new(),
            path if path.starts_with('/') => paths.push(path),
            // Directives that do not matter here, and documents relative to the build directory.
            _ => {}
        }
    }
    let file = |path: &str| ListedFile { path: path.to_owned(), excluded, directory_only, ghost };
    paths.into_iter().map(file).collect()
}

/// Returns a line without a directive and its arguments; `None` where it is not there.
///
/// rpm looks for each directive once and for `%lang` as long as there is one.
fn erase(line: &str, directive: &str) -> Option<String> {
    let mut before = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(directive) {
        let after = &rest[start + directive.len()..];
        let arguments = after.trim_start_matches(SPACES).strip_prefix('(');
        before.push_str(&rest[..start]);
        before.push(' ');
        let closed = arguments.and_then(|arguments| arguments.split_once(')'));
        rest = closed.map_or(after, |(_, behind)| behind);
        if directive != "%lang" || closed.is_none() {
            break;
        }
    }
    (rest.len() < line.len()).then(|| before + rest)
}

/// The tokens of a line as rpm's `strtokWithQuotes` sees them: separated by blanks, or in double quotes.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let delimiters = [' ', '\t', '\n'];
        let rest = self.0.trim_start_matches(delimiters);
        let (token, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None if rest.is_empty() => return None,
            None => rest.split_once(delimiters).unwrap_or((rest, "")),
        };
        self.0 = after;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn package(line: &str) -> Option<String> {
        file_sections(line, "main").into_keys().next()
    }

    #[test]
    fn the_line_names_the_package() {
        let cases = [
            ("%files", Some("main")),
            ("%Files \t", Some("main")),
            ("%files devel", Some("main-devel")),
            ("%files -n foo", Some("foo")),
            ("%files -nfoo", Some("foo")),
            ("%files -n=foo", Some("foo")),
            ("%files -f list", Some("main")),
            ("%files -f list devel", Some("main-devel")),
            ("%files devel -f a -f b", Some("main-devel")),
            ("%files -f a -n foo -f b", Some("foo")),
            ("%files -flist devel", Some("main-devel")),
            ("%files -- devel", Some("main-devel")),
            ("%files -n 'foo'", Some("foo")),
            ("%files \"de\"v\\el", Some("main-devel")),
            ("%files \"\" '' devel", Some("main-devel")),
            ("%files -n \"a'b\"", Some("a'b")),
            ("%files 'unclosed", Some("main-unclosed")),
            ("%files -n \"a\\\"b\\c\"", Some("a\"b\\c")),
            ("%files\x0bdevel", Some("main-devel")),
            ("%files -n", None),
            ("%files -x", None),
            ("%files devel\\", None),
            ("%files\u{a0}", None),
            (" %files", None),
            ("%filesystem", None),
            ("%files(x)", None),
        ];
        for (line, expected) in cases {
            assert_eq!(package(line).as_deref(), expected, "{line:?}");
        }
    }

    fn listed(line: &str) -> Vec<String> {
        listed_files(line).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn directives_are_taken_off() {
        let cases: [(&str, &[&str]); 21] = [
            ("/usr/bin/a", &["/usr/bin/a"]),
            ("  /usr/lib/*.so.{1,2}  ", &["/usr/lib/*.so.{1,2}"]),
            ("%attr(0755,root,root) /usr/bin/a", &["/usr/bin/a"]),
            ("%attr (4755, root, -) %dir /var/a", &["%dir /var/a"]),
            ("/var/a %dir", &["%dir /var/a"]),
            ("%dir%attr(-,a,b) /var/a", &["%dir /var/a"]),
            ("%config(noreplace) %verify(not md5 size) /etc/a", &["/etc/a"]),
            ("%config /etc/a", &["/etc/a"]),
            ("%lang(de) %lang(en,fr) /usr/share/a", &["/usr/share/a"]),
            ("%caps(cap_net_raw=p) /usr/bin/ping", &["/usr/bin/ping"]),
            ("%dev(c, 1, 3) /dev/null", &["/dev/null"]),
            ("%defattr(-,root,root,-)", &[]),
            ("%doc README docs/a.txt", &[]),
            ("%doc /usr/share/doc/a", &["/usr/share/doc/a"]),
            ("%license COPYING", &[]),
            ("%docdir /usr/share/doc", &[]),
            ("%ghost %config(missingok) /etc/a", &["%ghost /etc/a"]),
            ("%exclude /usr/lib/*.la", &["%exclude /usr/lib/*.la"]),
            ("\"/usr/share/a b\" %ghost", &["%ghost /usr/share/a b"]),
            ("%artifact %missingok %readme /a", &["/a"]),
            ("/a /b", &["/a", "/b"]),
        ];
        for (line, expected) in cases {
            assert_eq!(listed(line), *expected, "{line}");
        }
    }

    #[test]
    fn sections_end_where_rpm_ends_them() {
        let text = "%files\n/a\n%attr(1,2,3) /b\n%verify(x) /c\n%files devel -f x\n/d\n%sepolicy\n/no\n%files -n z\n%files\n/e\n\
                    %changelog\n/no\n%files devel -f y\n%post\n/no\n";
        let sections = file_sections(text, "m");
        let written: Vec<String> = sections
            .iter()
            .map(|(name, section)| {
                let files: Vec<&str> = section.files.iter().map(|file| file.path.as_str()).collect();
                format!("{name}: {} | {}", files.join(" "), section.file_lists.join(" "))
            })
            .collect();
        assert_eq!(written, ["m: /e | ", "m-devel:  | x y", "z:  | "]);
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(words in proptest::collection::vec("[ -~é]{1,6}", 0..5)) {
            let quote = |word: &String| {
                let quoted = word.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\{c}") });
                quoted.collect::<String>()
            };
            let line: Vec<String> = words.iter().map(quote).collect();
            prop_assert_eq!(split_words(&line.join(" \t")), Some(words));
        }

        #[test]
        fn plain_paths_come_back(path in "/[a-z0-9*?{},.%+_é-]{0,12}") {
            prop_assume!(!ERASED.iter().any(|directive| path.contains(directive)));
            prop_assert_eq!(listed(&format!("%attr(1,2,3)\t{path} %dir")), vec![format!("%dir {path}")]);
        }

        #[test]
        fn nothing_panics(text in "(%files|%attr|%lang|%verify|[ -()\"'\\\\/a-né\n]){0,30}") {
            let _ = file_sections(&text, "main");
            let _ = file_sections(&format!("%files\n{text}"), "main");
        }
    }
}
