//! What no query of rpmspec tells, from the text that it prints: which sections there are, and what `%files`
//! lists. Written apart from the engine's own reading of such texts, and simpler, so that it can differ.

use std::collections::{BTreeMap, BTreeSet};

/// Returns whether a section starts somewhere: its word at the start of a line, in any case.
pub(super) fn has(text: &str, word: &str) -> bool {
    text.lines().any(|line| section_arguments(line, word).is_some())
}

/// Returns the words behind a section's own, where this line starts that section.
fn section_arguments<'t>(line: &'t str, word: &str) -> Option<Vec<&'t str>> {
    let mut words = line.strip_prefix('%')?.split_ascii_whitespace();
    // Without a blank in between there is no section: `% files` is none.
    let blank = line.as_bytes().get(1).is_some_and(u8::is_ascii_whitespace);
    (!blank && words.next()?.eq_ignore_ascii_case(word)).then(|| words.collect())
}

/// Words that end the section before them.
const SECTIONS: [&str; 33] = [
    "package",
    "sourcelist",
    "patchlist",
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
    "files",
    "changelog",
    "triggerprein",
    "triggerin",
    "triggerun",
    "triggerpostun",
    "trigger",
    "filetriggerin",
    "filetriggerun",
    "filetriggerpostun",
    "transfiletriggerin",
    "transfiletriggerun",
    "transfiletriggerpostun",
];

/// Returns what the `%files` sections of each package list: the facts `files` and `file_lists` with their values.
pub(super) fn files(text: &str, main_name: &str) -> BTreeMap<String, BTreeSet<(&'static str, String)>> {
    let mut packages: BTreeMap<String, BTreeSet<(&'static str, String)>> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.lines() {
        if let Some(words) = section_arguments(line, "files") {
            let (name, lists) = package_of(&words, main_name);
            packages
                .entry(name.clone())
                .or_default()
                .extend(lists.into_iter().map(|list| ("file_lists", list)));
            current = Some(name);
        } else if SECTIONS.iter().any(|word| section_arguments(line, word).is_some()) {
            current = None;
        } else if let Some(name) = &current {
            packages
                .entry(name.clone())
                .or_default()
                .extend(listed(line).into_iter().map(|file| ("files", file)));
        }
    }
    packages
}

/// Returns the package and the further lists that `%files [-f list]... [-n name | suffix]` means.
fn package_of(words: &[&str], main_name: &str) -> (String, Vec<String>) {
    let (mut name, mut lists) = (main_name.to_owned(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "-f" => lists.extend(words.next().map(|list| (*list).to_owned())),
            "-n" => name = words.next().map(|name| (*name).to_owned()).unwrap_or_default(),
            word => match (word.strip_prefix("-f"), word.strip_prefix("-n")) {
                (Some(list), _) => lists.push(list.to_owned()),
                (_, Some(whole)) => name = whole.to_owned(),
                _ => name = format!("{main_name}-{word}"),
            },
        }
    }
    (name, lists)
}

/// Returns the absolute paths of a line with the directives that decide what they stand for.
fn listed(line: &str) -> Vec<String> {
    let line = line.trim();
    if line.starts_with('#') {
        return Vec::new();
    }
    let words = words(line);
    let given = |directive: &str| words.iter().any(|word| word == directive);
    let directives: String = ["%exclude", "%dir", "%ghost"]
        .iter()
        .filter(|directive| given(directive))
        .map(|directive| format!("{directive} "))
        .collect();
    words.iter().filter(|word| word.starts_with('/')).map(|path| format!("{directives}{path}")).collect()
}

/// Splits at blanks; quotes hold words together, and so do the parentheses of a directive.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut depth) = (false, 0_usize);
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted && depth == 0 => words.push(String::new()),
            c => {
                let is_directive = words.last().is_some_and(|word| word.starts_with('%'));
                match c {
                    '(' if is_directive => depth += 1,
                    ')' if is_directive => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
                // `%attr(755,root,root)/usr/bin/x` needs no blank.
                if is_directive && c == ')' && depth == 0 {
                    words.push(String::new());
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_start_with_their_word() {
        assert!(has("x\n%Check -q\n", "check"));
        for text in [" %check", "%checks", "% check", "#%check"] {
            assert!(!has(text, "check"), "{text}");
        }
    }

    #[test]
    fn listed_files_belong_to_packages() {
        let text = "%files -f a.lang -f b\n%defattr(-,root,root)\n%attr(4755, root, root) /usr/bin/su\n# /no\n\
                    %license COPYING\n%files -n whole\n%dir \"/usr/a b\"\n%config(noreplace) /etc/x /etc/y\n\
                    %files sub\n%exclude /usr/z\n%attr(0,a,b)/q\n%changelog\n/not/this\n";
        let found = files(text, "main");
        let shown: Vec<(String, Vec<String>)> = found
            .into_iter()
            .map(|(name, values)| (name, values.into_iter().map(|(_, value)| value).collect()))
            .collect();
        let expected = [
            ("main", vec!["a.lang", "b", "/usr/bin/su"]),
            ("main-sub", vec!["%exclude /usr/z", "/q"]),
            ("whole", vec!["%dir /usr/a b", "/etc/x", "/etc/y"]),
        ];
        let expected: Vec<(String, Vec<String>)> = expected
            .into_iter()
            .map(|(name, values)| (name.to_owned(), values.into_iter().map(str::to_owned).collect()))
            .collect();
        assert_eq!(shown, expected);
    }
}
