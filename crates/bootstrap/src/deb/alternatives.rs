//! Finds the `update-alternatives --install` calls of a maintainer script without running it.
//!
//! Only what Debian's scripts really use is understood: literal words, quotes, line continuations and
//! variables that the script assigns a literal. A call with anything else is left out.

use std::collections::BTreeMap;

/// One link that `update-alternatives` would make.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alternative {
    /// Where the link is, for example `/usr/bin/awk`.
    pub(crate) link: String,
    /// What it leads to, for example `/usr/bin/gawk`.
    pub(crate) target: String,
    /// Priority of the group it belongs to; the highest wins.
    pub(crate) priority: i32,
}

/// Returns all links, slaves included, in the order of the script.
pub(crate) fn find_alternatives(script: &str) -> Vec<Alternative> {
    let script = script.replace("\\\n", " ");
    let mut variables = BTreeMap::new();
    let mut found = Vec::new();
    for line in script.lines() {
        let words = split_words(line);
        if let [word] = words.as_slice()
            && let Some((name, value)) = word.split_once('=')
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            variables.insert(name.to_owned(), expand(value, &variables).unwrap_or_default());
        }
        let Some(at) = words.iter().position(|word| word.ends_with("update-alternatives")) else { continue };
        let arguments: Option<Vec<String>> =
            words[at..].iter().map(|word| expand(word.trim_end_matches(';'), &variables)).collect();
        found.extend(arguments.iter().flat_map(|arguments| parse_call(arguments)));
    }
    found
}

/// Returns the links of one call: `--install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]...`.
fn parse_call(arguments: &[String]) -> Vec<Alternative> {
    let mut found = Vec::new();
    let mut priority = None;
    for (at, word) in arguments.iter().enumerate() {
        let rest = &arguments[at + 1..];
        match (word.as_str(), rest) {
            ("--install", [link, _, target, level, ..]) => {
                let Ok(level) = level.parse() else { return Vec::new() };
                priority = Some(level);
                found.push(Alternative { link: link.clone(), target: target.clone(), priority: level });
            }
            ("--slave", [link, _, target, ..]) => {
                if let Some(priority) = priority {
                    found.push(Alternative { link: link.clone(), target: target.clone(), priority });
                }
            }
            _ => {}
        }
    }
    found
}

fn split_words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.replace(['"', '\''], "")).collect()
}

/// Returns the word with `$name` and `${name}` replaced; nothing when a variable is unknown or the word uses
/// more of the shell than that.
fn expand(word: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = word;
    while let Some(at) = rest.find(['$', '`']) {
        expanded.push_str(&rest[..at]);
        rest = rest[at..].strip_prefix('$')?;
        let name_end =
            |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
        let (name, after) = match rest.strip_prefix('{') {
            Some(inner) => {
                let (name, after) = inner.split_at(name_end(inner));
                (name, after.strip_prefix('}')?)
            }
            None => rest.split_at(name_end(rest)),
        };
        expanded.push_str(variables.get(name)?);
        rest = after;
    }
    expanded.push_str(rest);
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str, expected: &[(&str, &str, i32)]) {
        let found = find_alternatives(script);
        let found: Vec<_> = found.iter().map(|a| (a.link.as_str(), a.target.as_str(), a.priority)).collect();
        assert_eq!(found, expected, "{script}");
    }

    #[test]
    fn finds_what_debian_scripts_install() {
        check(
            "#!/bin/sh\nset -e\nupdate-alternatives --quiet \\\n --install /usr/bin/cc cc /usr/bin/gcc 20 \\\n \
             --slave /usr/share/man/man1/cc.1.gz cc.1.gz /usr/share/man/man1/gcc.1.gz\n",
            &[
                ("/usr/bin/cc", "/usr/bin/gcc", 20),
                ("/usr/share/man/man1/cc.1.gz", "/usr/share/man/man1/gcc.1.gz", 20),
            ],
        );
        check(
            "ver=1.16\nif x; then\n  update-alternatives --install /usr/bin/automake automake \
             \"/usr/bin/automake-${ver}\" 30 --slave /usr/bin/aclocal aclocal /usr/bin/aclocal-$ver\nfi",
            &[
                ("/usr/bin/automake", "/usr/bin/automake-1.16", 30),
                ("/usr/bin/aclocal", "/usr/bin/aclocal-1.16", 30),
            ],
        );
    }

    #[test]
    fn leaves_out_what_only_a_shell_could_tell() {
        check("update-alternatives --install /usr/bin/x x $(which y) 3", &[]);
        check("update-alternatives --install /usr/bin/x x /usr/bin/$unknown 3", &[]);
        check("update-alternatives --install /usr/bin/x x `y` 3", &[]);
        check("update-alternatives --remove x /usr/bin/y", &[]);
        check("update-alternatives --install /usr/bin/x x /usr/bin/y many", &[]);
    }
}
