//! The host's package sources: reading both of apt's formats, and writing Debian's own ones out again.
//!
//! No mirror is known here: addresses come from the host and go back to apt unseen.

use crate::deb::Paragraph;
use std::collections::BTreeMap;

/// One repository of one suite at one address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) uri: String,
    pub(crate) suite: String,
    pub(crate) components: Vec<String>,
    /// Further fields in deb822 spelling, for example `Signed-By`.
    pub(crate) options: BTreeMap<String, String>,
}

/// Returns the enabled binary and source entries of a deb822 file (`*.sources`).
pub(crate) fn parse_deb822(text: &str) -> Vec<Source> {
    let mut found = Vec::new();
    for paragraph in Paragraph::parse_all(text) {
        if matches!(paragraph.get("Enabled").to_ascii_lowercase().as_str(), "no" | "false" | "0") {
            continue;
        }
        let words =
            |field: &str| paragraph.get(field).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options: BTreeMap<String, String> = paragraph
            .fields()
            .filter(|(name, _)| !["types", "uris", "suites", "components", "enabled"].contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        for uri in words("URIs") {
            for suite in words("Suites") {
                let (uri, components, options) = (uri.clone(), words("Components"), options.clone());
                found.push(Source { uri, suite, components, options });
            }
        }
    }
    found
}

/// Returns the entries of a one-line file (`sources.list`, `*.list`).
pub(crate) fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(parse_line).collect()
}

/// Parses `deb [ name=value ... ] uri suite component...`.
fn parse_line(line: &str) -> Option<Source> {
    let line = line.split('#').next().unwrap_or("").trim();
    let rest = line.strip_prefix("deb-src").or_else(|| line.strip_prefix("deb"))?;
    let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let options = options
        .split_whitespace()
        .filter_map(|option| option.split_once('='))
        .map(|(name, value)| (long_name(name), value.replace(',', " ")))
        .collect();
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source { uri, suite, components: words.collect(), options })
}

/// The deb822 name of an option of the one-line format, in lower case (`sources.list(5)`).
fn long_name(option: &str) -> String {
    match option {
        "arch" => "architectures",
        "lang" => "languages",
        "target" => "targets",
        other => return other.to_ascii_lowercase(),
    }
    .to_owned()
}

/// Returns a `*.sources` text with both binary and source packages of each entry.
pub(crate) fn to_deb822(sources: &[Source]) -> String {
    let mut text = String::new();
    for source in sources {
        text.push_str("Types: deb deb-src\n");
        text.push_str(&format!("URIs: {}\nSuites: {}\n", source.uri, source.suite));
        if !source.components.is_empty() {
            text.push_str(&format!("Components: {}\n", source.components.join(" ")));
        }
        for (name, value) in &source.options {
            // A value of several lines is a key in place; a lone dot stands for an empty line.
            text.push_str(&format!("{name}: {}\n", value.replace('\n', "\n ")));
        }
        text.push('\n');
    }
    text
}

/// Merges entries that differ in nothing but components, and drops repetitions.
pub(crate) fn unite(sources: Vec<Source>) -> Vec<Source> {
    let mut united: Vec<Source> = Vec::new();
    for source in sources {
        let same = |other: &&mut Source| {
            other.uri == source.uri && other.suite == source.suite && other.options == source.options
        };
        match united.iter_mut().find(same) {
            Some(other) => {
                other.components.extend(source.components);
                other.components.sort();
                other.components.dedup();
            }
            None => united.push(source),
        }
    }
    united
}

/// Returns the beginning of the names that apt gives to the list files of a source (`URItoFileName` in apt).
pub(crate) fn list_file_prefix(source: &Source) -> String {
    let after_scheme = source.uri.split_once(':').map_or(source.uri.as_str(), |(_, rest)| rest);
    let without_scheme = after_scheme.strip_prefix("//").unwrap_or(after_scheme);
    let (host, path) = without_scheme.split_once('/').unwrap_or((without_scheme, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let path = path.trim_end_matches('/');
    let place = if path.is_empty() { host.to_owned() } else { format!("{host}/{path}") };
    let address = match source.suite.strip_suffix('/') {
        Some(flat) => format!("{place}/{flat}/"),
        None => format!("{place}/dists/{}/", source.suite),
    };
    let mut name = String::new();
    for c in address.chars() {
        match c {
            '/' => name.push('_'),
            _ if "\\|{}[]<>\"^~_=!@#$%^&*".contains(c) => name.push_str(&format!("%{:02x}", c as u32)),
            _ => name.push(c),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suite: &str, components: &[&str], options: &[(&str, &str)]) -> Source {
        Source {
            uri: uri.into(),
            suite: suite.into(),
            components: components.iter().map(|c| (*c).to_owned()).collect(),
            options: options.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        }
    }

    #[test]
    fn reads_deb822() {
        let text = "Types: deb\n# note\nURIs: http://a/debian\nSuites: s s-updates\nComponents: main\n\
                    Signed-By: /k.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://b\nSuites: s\n";
        let signed = [("signed-by", "/k.gpg")];
        assert_eq!(
            parse_deb822(text),
            [
                source("http://a/debian", "s", &["main"], &signed),
                source("http://a/debian", "s-updates", &["main"], &signed)
            ]
        );
    }

    #[test]
    fn reads_one_line() {
        let text = "# deb http://no s main\ndeb [arch=amd64,i386 signed-by=/k.gpg] http://a/debian s main contrib # c\n\
                    deb-src http://a/debian s main\ndebris\ndeb http://a/debian\n";
        assert_eq!(
            parse_one_line(text),
            [
                source(
                    "http://a/debian",
                    "s",
                    &["main", "contrib"],
                    &[("architectures", "amd64 i386"), ("signed-by", "/k.gpg")]
                ),
                source("http://a/debian", "s", &["main"], &[])
            ]
        );
    }

    #[test]
    fn writes_what_it_reads() {
        let key = "\n-----BEGIN\n.\nabc\n-----END";
        let sources = vec![
            source("http://a", "s", &["main"], &[("signed-by", key)]),
            source("http://b", "flat/", &[], &[]),
        ];
        assert_eq!(parse_deb822(&to_deb822(&sources)), sources);
    }

    #[test]
    fn unites_binary_and_source_lines() {
        let united = unite(parse_one_line(
            "deb http://a s main\ndeb-src http://a s main contrib\ndeb http://a t main\n",
        ));
        assert_eq!(
            united,
            [source("http://a", "s", &["contrib", "main"], &[]), source("http://a", "t", &["main"], &[])]
        );
    }

    #[test]
    fn names_list_files_as_apt_does() {
        for (uri, suite, expected) in [
            ("http://deb.example.org/debian", "s-updates", "deb.example.org_debian_dists_s-updates_"),
            ("https://user:pw@h:8080/a_b/", "s", "h:8080_a%5fb_dists_s_"),
            ("file:///srv/mirror", "s", "_srv_mirror_dists_s_"),
            ("file:/srv/mirror", "s", "_srv_mirror_dists_s_"),
            ("http://h", "flat/", "h_flat_"),
        ] {
            assert_eq!(list_file_prefix(&source(uri, suite, &[], &[])), expected);
        }
    }
}
