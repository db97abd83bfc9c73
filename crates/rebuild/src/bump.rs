//! The next release of a package that is built again without a new version.
//!
//! Two ways: a counter behind `%dist` ([`raised_counter`]), which leaves the spec alone, and an edit of the spec's
//! `Release:` ([`bump_spec`]). Both begin with everything that was ever published under the name, and neither
//! gives an EVR that is not above all of it.
//!
//! What it is not: it reads and writes no file; whoever edits a spec puts the old text back when the build fails.

mod dist;

use std::path::PathBuf;

use rpm_model::{Evr, Nevra};

use crate::trigger::Level;

pub use self::dist::{
    Rise, counted, is_dist_written_out, is_own, kept_counter, published_evr, raised_counter, rise,
};

/// Why a release cannot be raised, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BumpError {
    /// The spec has no `Release:`.
    #[error("the spec has no `Release:` line")]
    NoRelease,
    /// There are several; which one counts, conditions decide.
    #[error(
        "the spec has several `Release:` lines (lines {first} and {second}); raise the right one by hand"
    )]
    SeveralReleases {
        /// A line, counted from 1.
        first: usize,
        /// Another.
        second: usize,
    },
    /// `%autorelease` makes the release.
    #[error(
        "line {line}: `%autorelease` makes the release from the history: commit (`git commit --allow-empty`) instead of \
         editing, or use the counter behind `%dist` (--bump=dist)"
    )]
    Autorelease {
        /// The line, counted from 1.
        line: usize,
    },
    /// A macro makes the release.
    #[error(
        "line {line}: a macro makes the release `{value}`; raise it where the macro is defined, or use --bump=dist"
    )]
    MacroMade {
        /// The line, counted from 1.
        line: usize,
        /// What `Release:` says.
        value: String,
    },
    /// The release does not begin with a number that can be raised.
    #[error(
        "line {line}: the release `{value}` does not begin with a number above 0 (0 marks what comes before a release); \
         raise it by hand, or use --bump=dist"
    )]
    NoNumber {
        /// The line, counted from 1.
        line: usize,
        /// What `Release:` says.
        value: String,
    },
    /// Something with a higher version was published.
    #[error(
        "{published} was published, so {source_evr} would be a step back; raise version or epoch in the spec"
    )]
    StepBack {
        /// What the spec says.
        source_evr: Evr,
        /// The highest that was published.
        published: Evr,
    },
    /// A package's release does not hold `%dist` exactly once.
    #[error(
        "the release of {package} does not hold %dist (`{dist}`) once, so there is nothing to count behind; write \
         `%{{?dist}}` at the end of its `Release:`, or raise that (--bump=spec, or by hand)"
    )]
    NotCounted {
        /// The package, as the spec names it.
        package: Box<Nevra>,
        /// The value of `%dist`.
        dist: String,
    },
    /// A spec states the value of `%dist` instead of the macro.
    #[error(
        "`{path}` has `{dist}` written out in its `Release:`, so nothing can be counted behind it; write `%{{?dist}}` \
         there, or raise the release (--bump=spec, or by hand)"
    )]
    WrittenOut {
        /// The spec.
        path: PathBuf,
        /// The value of `%dist`.
        dist: String,
    },
    /// There is no higher number.
    #[error("the release of {0} cannot be raised any more")]
    Exhausted(Evr),
}

/// A spec's text with a higher release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BumpedSpec {
    /// The whole new text.
    pub text: String,
    /// The leading number of the release, before.
    pub from: u64,
    /// And after.
    pub to: u64,
    /// What the spec says then, expanded.
    pub evr: Evr,
}

/// What a changelog entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangelogEntry<'a> {
    /// The day as changelogs write it, for example `Thu Nov 26 2026`.
    pub day: &'a str,
    /// `Name <address>`.
    pub author: &'a str,
    /// One sentence.
    pub message: &'a str,
}

/// Raises the leading number of a spec's `Release:` and adds a changelog entry; every other byte stays.
///
/// `source` is the EVR that the spec has now, expanded. Where its version was never published, the release
/// becomes 1; else it rises above all that was published with this version.
///
/// # Errors
///
/// Returns an error, with what to do instead, where the release is not written as a plain number or nothing that
/// can be written is above what was published.
pub fn bump_spec(
    text: &str,
    source: &Evr,
    published: &[Evr],
    entry: &ChangelogEntry<'_>,
) -> Result<BumpedSpec, BumpError> {
    let release = written_release(text)?;
    let expanded = source.release.as_deref().unwrap_or_default();
    let suffix = expanded.trim_start_matches(|c: char| c.is_ascii_digit());
    let with =
        |number: u64| Evr::new(source.epoch, source.version.clone(), Some(&format!("{number}{suffix}")));
    let same_version = |other: &&Evr| Level::Last.part(source).compare(&Level::Last.part(other)).is_eq();
    let number = |other: &Evr| leading_number(other.release.as_deref().unwrap_or_default());
    let used = published.iter().filter(same_version).filter_map(number).max();
    let to = match used {
        None => Some(1),
        Some(used) => used.max(release.number).checked_add(1),
    };
    let to = to.ok_or_else(|| BumpError::Exhausted(source.clone()))?;
    let candidate = with(to);
    above_all(&candidate, published)?;
    let mut text = format!("{}{to}{}", &text[..release.start], &text[release.end..]);
    add_entry(&mut text, &candidate_words(&candidate, to), entry);
    Ok(BumpedSpec { text, from: release.number, to, evr: candidate })
}

pub(crate) fn above_all(candidate: &Evr, published: &[Evr]) -> Result<(), BumpError> {
    match published.iter().filter(|other| candidate.compare(other).is_le()).max() {
        None => Ok(()),
        Some(highest) => {
            Err(BumpError::StepBack { source_evr: candidate.clone(), published: highest.clone() })
        }
    }
}

/// Changelogs leave the distribution's mark out.
fn candidate_words(candidate: &Evr, number: u64) -> String {
    Evr::new(candidate.epoch, candidate.version.clone(), Some(&number.to_string())).to_string()
}

/// Where the leading number of a spec's release stands.
pub(crate) struct WrittenRelease {
    pub(crate) start: usize,
    pub(crate) end: usize,
    number: u64,
}

/// Lines that end the preamble of a spec.
pub(crate) const SECTIONS: [&str; 10] = [
    "%description",
    "%package",
    "%prep",
    "%build",
    "%install",
    "%check",
    "%files",
    "%changelog",
    "%generate_buildrequires",
    "%conf",
];

pub(crate) fn written_release(text: &str) -> Result<WrittenRelease, BumpError> {
    let mut found: Option<(usize, usize, &str)> = None;
    let mut offset = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim_start();
        if SECTIONS.iter().any(|section| trimmed.starts_with(section)) {
            break;
        }
        if let Some(value) = release_value(trimmed) {
            if let Some((first, ..)) = found {
                return Err(BumpError::SeveralReleases { first, second: number + 1 });
            }
            found = Some((number + 1, offset + line.len() - value.len(), value.trim_end()));
        }
        offset += line.len();
    }
    let (line, start, value) = found.ok_or(BumpError::NoRelease)?;
    if value.contains("autorelease") {
        return Err(BumpError::Autorelease { line });
    }
    if value.starts_with('%') {
        return Err(BumpError::MacroMade { line, value: value.to_owned() });
    }
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    // A number that goes on in a macro is none: `1%{minor}` is 12 where `minor` is 2.
    let goes_on = value[end..].starts_with('%')
        && !value[end..].starts_with("%{?dist}")
        && !value[end..].starts_with("%{dist}");
    if goes_on {
        return Err(BumpError::MacroMade { line, value: value.to_owned() });
    }
    match value[..end].parse() {
        Ok(number) if number > 0 => Ok(WrittenRelease { start, end: start + end, number }),
        _ => Err(BumpError::NoNumber { line, value: value.to_owned() }),
    }
}

/// Returns what follows `Release:` and blanks, to the end of the line.
fn release_value(line: &str) -> Option<&str> {
    let (tag, value) = line.split_once(':')?;
    tag.trim_end().eq_ignore_ascii_case("release").then(|| value.trim_start_matches([' ', '\t']))
}

fn leading_number(release: &str) -> Option<u64> {
    let end = release.find(|c: char| !c.is_ascii_digit()).unwrap_or(release.len());
    release[..end].parse().ok()
}

/// Puts an entry before the others; a spec without a changelog, or with one that a macro makes, gets none.
pub(crate) fn add_entry(text: &mut String, evr: &str, entry: &ChangelogEntry<'_>) {
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let end = offset + line.len();
        if line.trim_end() == "%changelog" {
            let rest = &text[end..];
            if line.ends_with('\n') && !rest.trim_start().starts_with("%autochangelog") {
                let ChangelogEntry { day, author, message } = entry;
                let gap = if rest.trim().is_empty() { "" } else { "\n" };
                text.insert_str(end, &format!("* {day} {author} - {evr}\n- {message}\n{gap}"));
            }
            return;
        }
        offset = end;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: ChangelogEntry<'static> = ChangelogEntry {
        day: "Thu Nov 26 2026",
        author: "Millwright <builds@millwright.invalid>",
        message: "Rebuilt: lua 5.3 -> 5.4",
    };

    fn spec(release: &str) -> String {
        format!(
            "Name: x\nVersion: 1.2\n{release}\t \nSummary: Release: 9\n\n%package a\nRelease: 7\n%build\npkgrel=1\nRelease: 5\n\
             %changelog\n* Wed Nov 25 2026 A <a@b> - 1.2-3\n- First\n"
        )
    }

    fn evr(text: &str) -> Evr {
        text.parse().unwrap()
    }

    fn bump(release: &str, source: &str, published: &[&str]) -> Result<String, BumpError> {
        let published: Vec<Evr> = published.iter().map(|text| evr(text)).collect();
        bump_spec(&spec(release), &evr(source), &published, &ENTRY).map(|bumped| bumped.text)
    }

    #[test]
    fn only_the_number_changes_and_the_changelog_grows() {
        for (release, source, published, expected, words) in [
            ("Release: 3%{?dist}", "1.2-3.mw1", &["1.2-3.mw1"][..], "Release: 4%{?dist}", "1.2-4"),
            ("release :\t3 # kept", "1.2-3", &["1.2-3"], "release :\t4 # kept", "1.2-4"),
            ("Release: 1.10%{?dist}", "1.2-1.10.mw1", &["1.2-1.10.mw1"], "Release: 2.10%{?dist}", "1.2-2"),
            ("Release: 9%{?dist}", "2:1.2-9.mw1", &["2:1.2-9.mw1"], "Release: 10%{?dist}", "2:1.2-10"),
            // Others published more in the meantime.
            ("Release: 3%{?dist}", "1.2-3.mw1", &["1.2-8.mw1", "1.1-20.mw1"], "Release: 9%{?dist}", "1.2-9"),
            // A version that was never published begins with 1.
            ("Release: 3%{?dist}", "1.2-3.mw1", &["1.1-3.mw1"], "Release: 1%{?dist}", "1.2-1"),
            ("Release: 3%{?dist}", "1.2-3.mw1", &[], "Release: 1%{?dist}", "1.2-1"),
        ] {
            let entry = format!(
                "* Thu Nov 26 2026 Millwright <builds@millwright.invalid> - {words}\n- Rebuilt: lua 5.3 -> 5.4\n\n"
            );
            let expected = spec(expected).replace("%changelog\n", &format!("%changelog\n{entry}"));
            assert_eq!(bump(release, source, published).unwrap(), expected, "{release}");
        }
    }

    #[test]
    fn what_is_no_plain_number_is_refused_with_advice() {
        let check = |release: &str, advice: &str| {
            let error = bump(release, "1.2-3.mw1", &["1.2-3.mw1"]).expect_err(release).to_string();
            assert!(error.contains(advice), "{release}: {error}");
        };
        check("Release: %autorelease", "git commit --allow-empty");
        check("Release: %{autorelease}", "line 3");
        check("Release: %{azl_release}%{?dist}", "where the macro is defined");
        check("Release: 1%{minor}", "where the macro is defined");
        check("Release: rc1", "by hand");
        check("Release: 0.3.rc1%{?dist}", "by hand");
        check("Release: 3\nRelease: 4", "lines 3 and 4");
        check("Epoch: 1", "no `Release:` line");
        let step_back = bump("Release: 3%{?dist}", "1.2-3.mw1", &["1.3-1.mw1"]).unwrap_err();
        assert!(step_back.to_string().contains("1.3-1.mw1 was published"), "{step_back}");
    }

    #[test]
    fn changelogs_that_macros_make_are_left_alone() {
        let text = "Release: 3\n%changelog\n%autochangelog\n";
        let bumped = bump_spec(text, &evr("1-3"), &[evr("1-3")], &ENTRY).unwrap();
        assert_eq!(bumped.text, "Release: 4\n%changelog\n%autochangelog\n");
        let bumped = bump_spec("Release: 3", &evr("1-3"), &[evr("1-3")], &ENTRY).unwrap();
        assert_eq!((bumped.text.as_str(), bumped.from, bumped.to), ("Release: 4", 3, 4));
    }

    fn any_evr() -> impl Strategy<Value = Evr> {
        (0..2_u32, "[0-2](\\.[0-2]|~rc1|\\^git)?", "[0-9]{1,2}(\\.mw1(\\.[0-9]{1,2})?|[a-z]|~a|\\^1)?")
            .prop_map(|(epoch, version, release)| Evr::new(epoch, version, Some(&release)))
    }

    proptest! {
        #[test]
        fn no_evr_is_ever_lower(source in any_evr(), published in proptest::collection::vec(any_evr(), 0..6)) {
            let text = format!("Release: {}\n%changelog\n", source.release.as_deref().unwrap());
            if let Ok(bumped) = bump_spec(&text, &source, &published, &ENTRY) {
                let release = bumped.text.lines().next().unwrap().strip_prefix("Release: ").unwrap();
                let built = Evr::new(source.epoch, source.version.clone(), Some(release));
                prop_assert!(published.iter().all(|other| built.compare(other).is_gt()), "{built}");
            }
        }

        #[test]
        fn nothing_panics(text in "(Release|%changelog|[a-z0-9%: {}?\\n.]){0,30}") {
            let _ = bump_spec(&text, &evr("1-1"), &[evr("1-1")], &ENTRY);
        }
    }
}
