//! What only the text of a spec tells: which sections there are, and the numbers and URLs of its sources.
//!
//! The text is the one `rpmspec --parse` prints: macros expanded, conditions decided. The rules are those of
//! rpm 4.18 (`build/parseSpec.c`, `build/parsePreamble.c`): a section starts with its word at the start of a
//! line; a source without a number takes the number after the highest one so far.

use rpm_model::{SourceKind, SpecSource};

/// What separates words for rpm (`risspace`) and popt: ASCII only, whatever the locale.
pub(crate) const SPACES: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];

/// The words that start a section, besides `package`, `sourcelist` and `patchlist`.
///
/// `preuntrans` and `postuntrans` came with rpm 4.19; nothing else of a spec begins with them.
const SECTIONS: &[&str] = &[
    "description",
    "prep",
    "generate_buildrequires",
    "conf",
    "build",
    "install",
    "check",
    "clean",
    "pre",
    "preun",
    "post",
    "postun",
    "pretrans",
    "posttrans",
    "preuntrans",
    "postuntrans",
    "verifyscript",
    "sepolicy",
    "files",
    "changelog",
    "triggerprein",
    "triggerin",
    "triggerun",
    "triggerpostun",
    "trigger",
    "filetrigger",
    "filetriggerin",
    "filetriggerun",
    "filetriggerpostun",
    "transfiletrigger",
    "transfiletriggerin",
    "transfiletriggerun",
    "transfiletriggerpostun",
    "end",
];

/// What the expanded text of a spec tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TextFacts {
    /// There is a `%check` section.
    pub(crate) has_check: bool,
    /// Sources and patches in the order written.
    pub(crate) sources: Vec<SpecSource>,
}

enum Place {
    Preamble,
    List(SourceKind),
    Other,
}

/// Reads the expanded text of a spec.
pub(crate) fn facts(text: &str) -> TextFacts {
    let mut facts = TextFacts::default();
    let mut place = Place::Preamble;
    let mut numbers = Numbers::default();
    for line in text.lines() {
        if let Some(section) = section(line) {
            place = match section.as_str() {
                "package" => Place::Preamble,
                "sourcelist" => Place::List(SourceKind::Source),
                "patchlist" => Place::List(SourceKind::Patch),
                _ => Place::Other,
            };
            facts.has_check |= section == "check";
            continue;
        }
        let found = match place {
            Place::Preamble => tag(line),
            Place::List(kind) => {
                let value = line.trim();
                (!value.is_empty()).then_some((kind, None, value))
            }
            Place::Other => None,
        };
        if let Some((kind, number, value)) = found {
            let number = numbers.next(kind, number);
            facts.sources.push(source(kind, number, value));
        }
    }
    facts
}

/// Returns whether a spec's own text may say something else under `with_check 1`.
///
/// Included files are not looked into, so a spec that includes one always may.
pub(crate) fn asks_for_check(text: &str) -> bool {
    text.lines().any(|line| {
        line.contains("with_check")
            || line.trim_start().starts_with("%include")
            || line.contains("%{load:")
            || line.split_once("bcond").is_some_and(|(_, rest)| rest.contains("check"))
            || follows(line, "with", "check")
            || follows(line, "without", "check")
    })
}

/// Returns whether a changelog has an entry, so that rpm can take a date from it.
pub(crate) fn has_changelog_entry(text: &str) -> bool {
    let mut inside = false;
    text.lines().any(|line| {
        if let Some(section) = section(line) {
            inside = section == "changelog";
        }
        inside && line.starts_with('*')
    })
}

/// Returns whether `first`, blanks and `second` stand one after the other somewhere in a line.
fn follows(line: &str, first: &str, second: &str) -> bool {
    line.match_indices(first).any(|(index, _)| {
        let rest = &line[index + first.len()..];
        let trimmed = rest.trim_start();
        trimmed.len() < rest.len() && trimmed.starts_with(second)
    })
}

/// Returns the word of a line that starts a section, in lower case.
pub(crate) fn section(line: &str) -> Option<String> {
    let word = line.strip_prefix('%')?.split(SPACES).next()?.to_ascii_lowercase();
    let known = matches!(word.as_str(), "package" | "sourcelist" | "patchlist") || SECTIONS.contains(&&*word);
    known.then_some(word)
}

/// Reads `SourceN: value` or `PatchN: value`.
fn tag(line: &str) -> Option<(SourceKind, Option<u32>, &str)> {
    let (tag, value) = line.trim_start().split_once(':')?;
    let tag = tag.trim_end().to_ascii_lowercase();
    let (kind, digits) = match (tag.strip_prefix("source"), tag.strip_prefix("patch")) {
        (Some(digits), _) => (SourceKind::Source, digits),
        (None, Some(digits)) => (SourceKind::Patch, digits),
        (None, None) => return None,
    };
    let number = match digits {
        "" => None,
        digits => Some(digits.parse().ok()?),
    };
    let value = value.trim();
    (!value.is_empty()).then_some((kind, number, value))
}

fn source(kind: SourceKind, number: u32, value: &str) -> SpecSource {
    // What stands behind the last slash, and there behind the last `=` (`newSource` in parsePreamble.c).
    let file = match value.rsplit_once('/') {
        Some((_, last)) => last.rsplit_once('=').map_or(last, |(_, name)| name),
        None => value,
    };
    let url = value.contains("://").then(|| value.to_owned());
    SpecSource { url, ..SpecSource::new(kind, number, file) }
}

/// Gives sources without a number theirs.
#[derive(Default)]
struct Numbers {
    next_source: u32,
    next_patch: u32,
}

impl Numbers {
    fn next(&mut self, kind: SourceKind, written: Option<u32>) -> u32 {
        let next = match kind {
            SourceKind::Source => &mut self.next_source,
            SourceKind::Patch => &mut self.next_patch,
        };
        let number = written.unwrap_or(*next);
        *next = (*next).max(number.saturating_add(1));
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let written: Vec<String> = facts(text)
            .sources
            .iter()
            .map(|source| {
                let url = source.url.as_deref().map(|url| format!(" <{url}>")).unwrap_or_default();
                format!("{:?}{} {}{url}", source.kind, source.number, source.file)
            })
            .collect();
        assert_eq!(written, expected, "{text}");
    }

    #[test]
    fn sources_are_numbered_as_rpm_does() {
        check(
            "Source0: a.tar\nSource1: b\nPatch0: c.patch",
            &["Source0 a.tar", "Source1 b", "Patch0 c.patch"],
        );
        check("Source: a\nSOURCE: b\nPatch: p\n", &["Source0 a", "Source1 b", "Patch0 p"]);
        check(
            "Source10: a\nSource: b\nSource2: c\nSource: d",
            &["Source10 a", "Source11 b", "Source2 c", "Source12 d"],
        );
        check("%sourcelist\na\n\n b \n%patchlist\np\n", &["Source0 a", "Source1 b", "Patch0 p"]);
        check("Source5 : http://h/x/y.tgz", &["Source5 y.tgz <http://h/x/y.tgz>"]);
        check(
            "Source0: https://h/v1.tar.gz#/n-1.tar.gz",
            &["Source0 n-1.tar.gz <https://h/v1.tar.gz#/n-1.tar.gz>"],
        );
        check(
            "Source: https://h/get?a=1&f=n.tgz\nSource: a=b",
            &["Source0 n.tgz <https://h/get?a=1&f=n.tgz>", "Source1 a=b"],
        );
    }

    #[test]
    fn only_preambles_hold_sources() {
        check("%description\nSource0: no\n%package x\nSource3: yes\n%prep\nPatch0: no", &["Source3 yes"]);
        check("SourceLicense: MIT\nSourceX: y\nSource0:\n", &[]);
    }

    #[test]
    fn sections_need_their_word_at_the_start() {
        let found = |text| facts(text).has_check;
        assert!(found("%check\nmake test"));
        assert!(!found(" %check\n%checks\n# %check"));
        assert!(found("%generate_buildrequires\n%Check -q"));
    }

    #[test]
    fn check_conditions_are_found() {
        for text in [
            "%if 0%{?with_check}",
            "%{?with_check:BuildRequires: x}",
            "%if %{with check}",
            "%{without  check}",
            "%bcond_without check",
            "%bcond check 1",
            "%include x.inc",
        ] {
            assert!(asks_for_check(text), "{text}");
        }
        for text in ["%check", "checks with", "%bcond_with tests", "withcheck"] {
            assert!(!asks_for_check(text), "{text}");
        }
    }

    #[test]
    fn changelog_entries_are_found() {
        assert!(has_changelog_entry("%changelog\n* Fri Nov 20 2026 A <a@b> - 1-1\n- x\n"));
        assert!(!has_changelog_entry("%changelog\n%files\n* x"));
        assert!(!has_changelog_entry("* x\n"));
    }
}
