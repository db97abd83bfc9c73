//! The edit that gives a spec the version of upstream.

use rpm_model::Evr;

use crate::bump::{BumpError, ChangelogEntry, SECTIONS, above_all, add_entry, written_release};
use crate::trigger::definitions;

/// Why a spec cannot be given another version, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The spec has no `Version:`.
    #[error("the spec has no `Version:` line")]
    NoVersion,
    /// There are several; which one counts, conditions decide.
    #[error(
        "the spec has several `Version:` lines (lines {first} and {second}); write the version in one place, for example \
             in a `%global`, or edit it by hand"
    )]
    SeveralVersions {
        /// A line, counted from 1.
        first: usize,
        /// Another.
        second: usize,
    },
    /// The version is not written as such in any one place.
    #[error(
        "line {line}: `{value}` makes the version {version}, which is not written in one place; write it as \
             `Version: {version}`, or as the value of one `%global` of which `Version:` is made alone"
    )]
    MacroMade {
        /// The line, counted from 1.
        line: usize,
        /// What stands there.
        value: String,
        /// What the spec's version is.
        version: String,
    },
    /// Upstream's version is below that of the spec.
    #[error("upstream has {upstream}, which is below {present} of the spec; a version never goes down")]
    Lower {
        /// What upstream has.
        upstream: String,
        /// What the spec has.
        present: String,
    },
    /// The release cannot begin anew, or something higher was published.
    #[error(transparent)]
    Release(#[from] BumpError),
}

/// A spec's text with another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdatedSpec {
    /// The whole new text.
    pub text: String,
    /// The version before.
    pub from: String,
    /// The version after.
    pub to: String,
    /// What the spec is expected to say then, with epoch and release.
    pub evr: Evr,
}

/// Gives a spec another version: edits the one place where the version is written (`Version:`, or the value of the one
/// macro that it consists of), sets the leading number of `Release:` to 1 and adds a changelog entry. Every other byte
/// stays. `%autorelease` is left to itself.
///
/// `source` is the EVR that the spec has now, expanded; `version` the one that upstream has, in RPM's form. Returns
/// `None` where they are the same.
///
/// # Errors
///
/// Returns an error, with what to do instead, where the version is not written in one place, the release is no plain
/// number, or the result would not be above the spec's version and all that was published.
pub fn update_version(
    text: &str,
    source: &Evr,
    version: &str,
    published: &[Evr],
    day: &str,
    author: &str,
) -> Result<Option<UpdatedSpec>, UpdateError> {
    let of = |version: &str| Evr::new(source.epoch, version, None);
    match of(version).compare(&of(&source.version)) {
        std::cmp::Ordering::Equal => return Ok(None),
        std::cmp::Ordering::Less => {
            let (upstream, present) = (version.to_owned(), source.version.clone());
            return Err(UpdateError::Lower { upstream, present });
        }
        std::cmp::Ordering::Greater => {}
    }
    let place = written_version(text, &source.version)?;
    let expanded = source.release.as_deref().unwrap_or_default();
    let (release, number) = match written_release(text) {
        Ok(release) => {
            let suffix = expanded.trim_start_matches(|c: char| c.is_ascii_digit());
            (Some((release.start, release.end)), format!("1{suffix}"))
        }
        Err(BumpError::Autorelease { .. }) => (None, expanded.to_owned()),
        Err(error) => return Err(error.into()),
    };
    let evr = Evr::new(source.epoch, version, Some(&number));
    above_all(&evr, published)?;
    let mut edits = vec![(place.0, place.1, version)];
    edits.extend(release.map(|(start, end)| (start, end, "1")));
    edits.sort_unstable();
    let mut new = text.to_owned();
    for (start, end, with) in edits.into_iter().rev() {
        new.replace_range(start..end, with);
    }
    let epoch = if source.epoch == 0 { String::new() } else { format!("{}:", source.epoch) };
    let release = if release.is_some() { "-1" } else { "" };
    let message = format!("Version {version}");
    add_entry(
        &mut new,
        &format!("{epoch}{version}{release}"),
        &ChangelogEntry { day, author, message: &message },
    );
    Ok(Some(UpdatedSpec { text: new, from: source.version.clone(), to: version.to_owned(), evr }))
}

/// Returns where the version is written, as bytes from and to.
fn written_version(text: &str, version: &str) -> Result<(usize, usize), UpdateError> {
    let mut found: Option<(usize, usize, &str)> = None;
    let mut offset = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let trimmed = line.trim_start();
        if SECTIONS.iter().any(|section| trimmed.starts_with(section)) {
            break;
        }
        if let Some((tag, value)) = trimmed.split_once(':')
            && tag.trim_end().eq_ignore_ascii_case("version")
        {
            if let Some((first, ..)) = found {
                return Err(UpdateError::SeveralVersions { first, second: number + 1 });
            }
            let value = value.trim_start_matches([' ', '\t']);
            let start = offset + line.len() - value.len();
            found = Some((number + 1, start, value.split_whitespace().next().unwrap_or_default()));
        }
        offset += line.len();
    }
    let (line, start, value) = found.ok_or(UpdateError::NoVersion)?;
    let made = |line, value: &str| UpdateError::MacroMade {
        line,
        value: value.to_owned(),
        version: version.to_owned(),
    };
    if value == version {
        return Ok((start, start + value.len()));
    }
    let name = single_macro(value).ok_or_else(|| made(line, value))?;
    match &definitions(text, name)[..] {
        [one] if one.body == version => Ok((one.start, one.start + one.body.len())),
        [one] => Err(made(one.line, one.body)),
        _ => Err(made(line, value)),
    }
}

/// Returns the name of the macro of which a value consists: `%name`, `%{name}` or `%{?name}`.
fn single_macro(value: &str) -> Option<&str> {
    let name = value.strip_prefix('%')?;
    let braced = name.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
    let name = braced.map_or(name, |name| name.strip_prefix('?').unwrap_or(name));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: &str = "Thu Nov 26 2026";
    const AUTHOR: &str = "A <a@b.invalid>";

    fn evr(text: &str) -> Evr {
        text.parse().unwrap()
    }

    fn spec(preamble: &str) -> String {
        format!(
            "Name: x\n{preamble}\nSummary: Version: 9\n\n%package a\nVersion: 7\n%prep\nVersion: 5\n%changelog\n\
             * Wed Nov 25 2026 A <a@b.invalid> - 1.2-3\n- First\n"
        )
    }

    fn update(
        preamble: &str,
        source: &str,
        to: &str,
        published: &[&str],
    ) -> Result<Option<String>, UpdateError> {
        let published: Vec<Evr> = published.iter().map(|text| evr(text)).collect();
        let updated = update_version(&spec(preamble), &evr(source), to, &published, DAY, AUTHOR)?;
        Ok(updated.map(|updated| updated.text))
    }

    #[test]
    fn version_and_release_change_where_they_are_written_and_the_changelog_grows() {
        for (before, source, to, after, words) in [
            (
                "Version: 1.2\nRelease: 3%{?dist}",
                "1.2-3.mw1",
                "1.3",
                "Version: 1.3\nRelease: 1%{?dist}",
                "1.3-1",
            ),
            ("Release: 3\nversion :\t1.2  \t", "1.2-3", "1.3", "Release: 1\nversion :\t1.3  \t", "1.3-1"),
            ("Version: 1.2 # kept\nRelease: 1.5", "1.2-1.5", "2", "Version: 2 # kept\nRelease: 1.5", "2-1"),
            (
                "%global ver 1.2\nVersion: %{ver}\nRelease: 3%{?dist}",
                "1.2-3.mw1",
                "1.2^5.gitabc",
                "%global ver 1.2^5.gitabc\nVersion: %{ver}\nRelease: 1%{?dist}",
                "1.2^5.gitabc-1",
            ),
            (
                "%define  ver\t1.2  \nVersion: %ver\nEpoch: 2\nRelease: 3",
                "2:1.2-3",
                "1.10",
                "%define  ver\t1.10  \nVersion: %ver\nEpoch: 2\nRelease: 1",
                "2:1.10-1",
            ),
            (
                "Version: 1.2\nRelease: %autorelease",
                "1.2-7.mw1",
                "1.3",
                "Version: 1.3\nRelease: %autorelease",
                "1.3",
            ),
        ] {
            let entry = format!("* {DAY} {AUTHOR} - {words}\n- Version {to}\n\n");
            let expected = spec(after).replace("%changelog\n", &format!("%changelog\n{entry}"));
            assert_eq!(
                update(before, source, to, &[source]).unwrap().as_deref(),
                Some(&*expected),
                "{before}"
            );
        }
    }

    #[test]
    fn a_version_never_goes_down() {
        let plain = "Version: 1.2\nRelease: 3%{?dist}";
        assert_eq!(update(plain, "1.2-3.mw1", "1.2", &[]), Ok(None));
        assert_eq!(update(plain, "1.2-3.mw1", "1.02", &[]), Ok(None));
        for to in ["1.1", "1.2~rc1", "0^5.gitabc"] {
            assert!(matches!(update(plain, "1.2-3.mw1", to, &[]), Err(UpdateError::Lower { .. })), "{to}");
        }
        let error = update(plain, "1.2-3.mw1", "1.3", &["1.4-1.mw1"]).unwrap_err();
        assert!(error.to_string().contains("1.4-1.mw1 was published"), "{error}");
        // The same version was published with another release, from elsewhere.
        assert!(update(plain, "1.2-3.mw1", "1.3", &["1.3-1.mw1"]).is_err());
        assert!(update(plain, "1.2-3.mw1", "1.3", &["1:1.0-1"]).is_err());
    }

    #[test]
    fn what_is_not_written_in_one_place_is_refused_with_advice() {
        for (preamble, advice) in [
            ("Release: 3", "no `Version:` line"),
            ("Version: 1.2\nVersion: 1.2\nRelease: 3", "lines 2 and 3"),
            ("Version: %{major}.2\nRelease: 3", "line 2: `%{major}.2` makes the version 1.2"),
            ("Version: %{ver}\nRelease: 3", "line 2: `%{ver}` makes"),
            ("%global ver %{major}.2\nVersion: %{ver}\nRelease: 3", "line 2: `%{major}.2` makes"),
            ("%global ver 1.2\n%global ver 1.2\nVersion: %{ver}\nRelease: 3", "line 4: `%{ver}` makes"),
            ("Version: %(cat v)\nRelease: 3", "line 2: `%(cat` makes"),
            // Not what was read: a condition decides.
            ("Version: 1.1\nRelease: 3", "line 2: `1.1` makes the version 1.2"),
            ("Version: 1.2\nRelease: %{rel}", "where the macro is defined"),
            ("Version: 1.2\nRelease: 0.3", "by hand"),
        ] {
            let error = update(preamble, "1.2-3", "1.3", &[]).expect_err(preamble).to_string();
            assert!(error.contains(advice), "{preamble}: {error}");
        }
    }

    proptest! {
        /// Whatever else stands in the spec, only version, release and changelog differ, and the EVR rises above all.
        #[test]
        fn every_other_byte_stays(
            lines in proptest::collection::vec("[A-Za-z#%{}: \t.0-9\u{e9}]{0,12}", 0..6),
            at in 0..6_usize,
            version in "[1-3](\\.[0-9]{1,2}){0,2}",
            to in "[1-3](\\.[0-9]{1,2}){0,2}",
            release in 1..20_u32,
            published in proptest::collection::vec("[1-3](\\.[0-9]{1,2})?-[0-9]\\.mw1", 0..3),
            by_macro: bool,
        ) {
            let published: Vec<Evr> = published.iter().map(|text| evr(text)).collect();
            let line = |version: &str, release: &str| {
                let stated = if by_macro {
                    format!("%global the_version {version}\nVersion:   %{{the_version}}")
                } else {
                    format!("Version:\t{version}")
                };
                let mut all = lines.clone();
                all.insert(at.min(lines.len()), format!("{stated}\nRelease: {release}%{{?dist}}"));
                format!("{}\r\n%prep\nVersion: 1\n", all.join("\n"))
            };
            let text = line(&version, &release.to_string());
            let source = evr(&format!("{version}-{release}.mw1"));
            if let Ok(Some(updated)) = update_version(&text, &source, &to, &published, DAY, AUTHOR) {
                prop_assert_eq!(updated.text, line(&to, "1"));
                let new = evr(&format!("{to}-1.mw1"));
                prop_assert!(new.compare(&source).is_gt());
                prop_assert!(published.iter().all(|other| new.compare(other).is_gt()));
            }
        }
    }
}
