//! What is wrong with the licence files of a package, by what its header marks.
//!
//! What it is: the rules and the two files of patterns of the Azure Linux toolkit's licence check, so that its lists of
//! exceptions can be taken over as they are. What it is not: it reads no file, and no text of a licence; whether a
//! file is a licence is guessed from its name.

use std::fmt;

use regex_lite::Regex;
use repository::{MarkedFile, MarkedFiles};
use serde::{Deserialize, Serialize};

/// Where `%license` puts files.
const LICENSES: &str = "/usr/share/licenses/";

/// Names that files with licences usually have, anywhere in the path.
const LIKELY: &str = r"(?i)copying|licen[cs]e|licensing|notice|copyright|artistic|bsd|gpl|cc0|mit\.txt";
/// The same, for the last part of a path alone.
const CERTAIN: &str = r"^MIT$";
/// Names that have some of these in them and are no licences.
const UNLIKELY: &str = r"(?i)authors|contributors|readme|credits";

/// A pattern that means nothing.
#[derive(Debug)]
pub(super) struct BadPattern {
    pattern: String,
    source: regex_lite::Error,
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no regular expression: {}", self.pattern, self.source)
    }
}

fn compiled(patterns: &[String]) -> Result<Vec<Regex>, BadPattern> {
    let one = |pattern: &String| {
        Regex::new(pattern).map_err(|source| BadPattern { pattern: pattern.clone(), source })
    };
    patterns.iter().map(one).collect()
}

fn any(patterns: &[Regex], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.is_match(text))
}

/// A file of names, as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NamesFile {
    fuzzy_license_names_regex_list: Vec<String>,
    #[serde(default)]
    verbatim_license_names_regex_list: Vec<String>,
    #[serde(default)]
    skip_license_names_regex_list: Vec<String>,
}

impl Default for NamesFile {
    fn default() -> Self {
        let list = |pattern: &str| vec![pattern.to_owned()];
        Self {
            fuzzy_license_names_regex_list: list(LIKELY),
            verbatim_license_names_regex_list: list(CERTAIN),
            skip_license_names_regex_list: list(UNLIKELY),
        }
    }
}

/// A file of exceptions, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ExceptionsFile {
    #[serde(default)]
    pkg_exceptions: Vec<PackageExceptions>,
    #[serde(default)]
    global_exceptions_regex_list: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PackageExceptions {
    package_name: String,
    ignored_files_regex_list: Vec<String>,
}

/// What names of licence files look like.
pub(super) struct Names {
    likely: Vec<Regex>,
    certain: Vec<Regex>,
    unlikely: Vec<Regex>,
}

impl Names {
    pub(super) fn new(file: &NamesFile) -> Result<Self, BadPattern> {
        Ok(Self {
            likely: compiled(&file.fuzzy_license_names_regex_list)?,
            certain: compiled(&file.verbatim_license_names_regex_list)?,
            unlikely: compiled(&file.skip_license_names_regex_list)?,
        })
    }

    /// Returns whether a file of a package looks like a licence.
    fn is_license(&self, package: &str, path: &str) -> bool {
        // Below the directory of licences every path has such a name in it.
        let below = path.strip_prefix(LICENSES);
        let own = below.and_then(|rest| rest.strip_prefix(package)?.strip_prefix('/'));
        let looked_at = own.or(below).unwrap_or(path);
        any(&self.certain, file_name(path))
            || (any(&self.likely, looked_at) && !any(&self.unlikely, looked_at))
    }
}

/// What is not looked at.
pub(super) struct Exceptions {
    everywhere: Vec<Regex>,
    by_package: Vec<(String, Vec<Regex>)>,
}

impl Exceptions {
    pub(super) fn new(file: &ExceptionsFile) -> Result<Self, BadPattern> {
        let of_package = |one: &PackageExceptions| {
            Ok((one.package_name.clone(), compiled(&one.ignored_files_regex_list)?))
        };
        Ok(Self {
            everywhere: compiled(&file.global_exceptions_regex_list)?,
            by_package: file.pkg_exceptions.iter().map(of_package).collect::<Result<_, _>>()?,
        })
    }

    fn cover(&self, package: &str, path: &str) -> bool {
        let mut own = self.by_package.iter().filter(|(name, _)| name == package);
        any(&self.everywhere, path) || own.any(|(_, patterns)| any(patterns, path))
    }
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Problem {
    /// `%doc`, and its name is a licence's; no `%license` of the package has that name.
    MarkedAsDocumentation,
    /// It lies among the licences and is not `%license`.
    NotMarked,
    /// `%doc`, beside a `%license` of that name.
    MarkedTwice,
}

impl Problem {
    /// Returns whether it is an error; a warning otherwise.
    pub(super) fn is_error(self, mode: Mode) -> bool {
        match mode {
            Mode::None | Mode::Warn => false,
            Mode::Fatal => self != Self::MarkedTwice,
            Mode::Pedantic => true,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MarkedAsDocumentation => "looks like a licence and is %doc, not %license",
            Self::NotMarked => "lies among the licences and is not %license",
            Self::MarkedTwice => "is %doc beside the %license of that name",
        })
    }
}

/// How severe problems are; the values of `LICENSE_CHECK_MODE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Look at nothing
    None,
    /// Everything is a warning
    Warn,
    /// Licences marked as documentation and other files among the licences are errors, the rest warnings
    Fatal,
    /// Everything is an error
    Pedantic,
}

/// One file that something is wrong with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) problem: Problem,
    pub(super) file: String,
}

/// Returns what is wrong in a package, sorted.
pub(super) fn judge(marked: &MarkedFiles, names: &Names, exceptions: &Exceptions) -> Vec<Finding> {
    let package = marked.package.as_str();
    let licenses: Vec<&str> =
        marked.files.iter().filter(|file| file.is_license).map(|file| file_name(&file.path)).collect();
    let problem = |file: &MarkedFile| {
        if file.path.starts_with(LICENSES) && !file.is_license {
            return Some(Problem::NotMarked);
        }
        (file.is_documentation && names.is_license(package, &file.path)).then(|| {
            // `COPYING` is there when `COPYING.LIB` or `zlib-COPYING` is.
            let name = file_name(&file.path);
            let is_there = licenses.iter().any(|license| license.contains(name));
            if is_there { Problem::MarkedTwice } else { Problem::MarkedAsDocumentation }
        })
    };
    let mut findings: Vec<Finding> = marked
        .files
        .iter()
        .filter(|file| !exceptions.cover(package, &file.path))
        .filter_map(|file| Some(Finding { problem: problem(file)?, file: file.path.clone() }))
        .collect();
    findings.sort();
    findings
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(files: &[(&str, &str)]) -> MarkedFiles {
        let file = |(path, marks): &(&str, &str)| MarkedFile {
            path: (*path).to_owned(),
            is_documentation: marks.contains('d'),
            is_license: marks.contains('l'),
        };
        MarkedFiles { package: "zlib".into(), files: files.iter().map(file).collect() }
    }

    fn found(files: &[(&str, &str)], exceptions: &str) -> Vec<(Problem, String)> {
        let names = Names::new(&NamesFile::default()).unwrap();
        let exceptions = Exceptions::new(&serde_json::from_str(exceptions).unwrap()).unwrap();
        let findings = judge(&package(files), &names, &exceptions);
        findings.into_iter().map(|finding| (finding.problem, finding.file)).collect()
    }

    #[test]
    fn each_rule_finds_what_it_is_for_and_nothing_else() {
        for (files, problem) in [
            (&[("/usr/share/doc/zlib/COPYING", "d")][..], Some(Problem::MarkedAsDocumentation)),
            (&[("/usr/share/doc/zlib/MIT", "d")], Some(Problem::MarkedAsDocumentation)),
            (&[("/usr/share/licenses/zlib/NEWS", "")], Some(Problem::NotMarked)),
            (&[("/usr/share/licenses/zlib/COPYING", "d")], Some(Problem::NotMarked)),
            (
                &[("/usr/share/doc/zlib/COPYING", "d"), ("/usr/share/licenses/zlib/COPYING.LIB", "l")],
                Some(Problem::MarkedTwice),
            ),
            (&[("/usr/share/licenses/zlib/COPYING", "l")], None),
            (&[("/usr/share/licenses/zlib/license/README", "dl")], None),
            (&[("/usr/share/doc/zlib/NEWS", "d")], None),
            (&[("/usr/share/doc/zlib/MIT-note", "d")], None),
            (&[("/usr/share/doc/zlib/README.licence", "d")], None),
            (&[("/usr/lib/python3/license.py", "")], None),
        ] {
            let problems: Vec<Problem> = found(files, "{}").into_iter().map(|(problem, _)| problem).collect();
            assert_eq!(problems, problem.into_iter().collect::<Vec<_>>(), "{files:?}");
        }
    }

    #[test]
    fn exceptions_count_for_their_package_or_for_all() {
        let files = [("/usr/share/doc/zlib/gpl.html", "d"), ("/usr/share/licenses/zlib/index", "")];
        let one = r#"{"_comment": "why", "PkgExceptions": [
            {"PackageName": "zlib", "IgnoredFilesRegexList": ["^/usr/share/doc/zlib/.*\\.html$"]},
            {"PackageName": "other", "IgnoredFilesRegexList": [".*"]}]}"#;
        assert_eq!(found(&files, one), [(Problem::NotMarked, files[1].0.to_owned())]);
        assert_eq!(found(&files, r#"{"GlobalExceptionsRegexList": ["/index$", "gpl"]}"#), []);
        let wrong = serde_json::from_str(r#"{"GlobalExceptionsRegexList": ["("]}"#).unwrap();
        let error = Exceptions::new(&wrong).err().unwrap().to_string();
        assert!(error.starts_with("`(` is no regular expression: "), "{error}");
    }

    #[test]
    fn modes_say_what_is_an_error() {
        for (mode, errors) in [
            (Mode::None, [false, false, false]),
            (Mode::Warn, [false, false, false]),
            (Mode::Fatal, [true, true, false]),
            (Mode::Pedantic, [true, true, true]),
        ] {
            let problems = [Problem::MarkedAsDocumentation, Problem::NotMarked, Problem::MarkedTwice];
            assert_eq!(problems.map(|problem| problem.is_error(mode)), errors, "{mode:?}");
        }
    }
}
