//! Versions as upstream writes them, in the form that RPM orders as upstream means it.
//!
//! The forms are those of Fedora's Packaging Guidelines, "Versioning": a prerelease stands behind a tilde (`1.2~rc1`
//! is below `1.2`), and a snapshot behind a caret as `^<number>.<revision>` (`1.2^5.gitabc1234` is above `1.2` and below
//! `1.2.1`); where upstream has never chosen a version, it is a snapshot of `0`.

/// Why a text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no version that RPM can order: {reason}")]
pub struct VersionFormError {
    /// The text, in a form that cannot disturb a terminal.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// What `git describe --long` says of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The nearest tag; `None` where there is none.
    pub tag: Option<String>,
    /// Commits since the tag, or all of them.
    pub commits: u64,
    /// The beginning of the commit's id.
    pub commit: String,
}

/// What marks a prerelease.
const PRERELEASES: [&str; 8] = ["alpha", "beta", "rc", "cr", "pre", "preview", "dev", "snapshot"];

/// Longer texts are no version.
const LONGEST: usize = 100;

/// Returns the version that a text of upstream means, as RPM writes it.
///
/// Whatever stands before the first digit (`v`, `release-`, the name) goes. `-` and `_` become dots; before a word that
/// marks a prerelease stands a tilde, whatever stood there.
///
/// # Errors
///
/// Returns an error where the text has no digit, or characters that no version of RPM can have.
///
/// # Examples
///
/// ```
/// use rebuild::upstream::rpm_version;
/// assert_eq!(rpm_version("v1.2.0-rc1").unwrap(), "1.2.0~rc1");
/// assert_eq!(rpm_version("release_2_4").unwrap(), "2.4");
/// ```
pub fn rpm_version(text: &str) -> Result<String, VersionFormError> {
    let text = text.trim();
    let fail = |reason| Err(VersionFormError { text: crate::trigger::shown(text), reason });
    let Some(start) = text.find(|c: char| c.is_ascii_digit()) else { return fail("it has no digit") };
    let prefix_is_usual = text[..start].chars().all(|c| c.is_ascii_alphabetic() || "-_./+".contains(c));
    if !prefix_is_usual || text.len() > LONGEST {
        return fail("it should begin with a digit, or with letters before one");
    }
    let mut version = String::new();
    let mut rest = &text[start..];
    while let Some(c) = rest.chars().next() {
        let separates = matches!(c, '-' | '_' | '.');
        let after = if separates { &rest[1..] } else { rest };
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (run, behind) = after.split_at(letters);
        let follows_number = separates || version.ends_with(|c: char| c.is_ascii_digit());
        if follows_number && PRERELEASES.contains(&run.to_ascii_lowercase().as_str()) {
            version.push('~');
            version.push_str(run);
            rest = behind;
        } else if separates {
            version.push('.');
            rest = after;
        } else if c.is_ascii_alphanumeric() || "+~^".contains(c) {
            let length = run.len().max(1);
            version.push_str(&rest[..length]);
            rest = &rest[length..];
        } else {
            return fail("a version has letters, digits and . _ + ~ ^ -");
        }
    }
    if !version.ends_with(|c: char| c.is_ascii_alphanumeric()) || version.contains("..") {
        return fail("something is missing between or behind its dots");
    }
    Ok(version)
}

impl Described {
    /// Takes the answer of `git describe --long` apart, `<tag>-<commits>-g<commit>`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().rsplitn(3, '-');
        let (commit, commits, tag) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            tag: Some(tag.to_owned()).filter(|tag| !tag.is_empty()),
            commits: commits.parse().ok()?,
            commit: commit.strip_prefix('g').filter(|commit| is_commit(commit))?.to_owned(),
        })
    }

    /// Returns the version of the commit: that of the tag, with what makes a snapshot of it where commits follow.
    ///
    /// # Errors
    ///
    /// Returns an error where the tag is no version.
    pub fn version(&self) -> Result<String, VersionFormError> {
        let base = match &self.tag {
            Some(tag) => rpm_version(tag)?,
            None => "0".to_owned(),
        };
        Ok(match (&self.tag, self.commits) {
            (Some(_), 0) => base,
            (_, commits) => format!("{base}^{commits}.git{}", self.commit),
        })
    }
}

fn is_commit(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rpm_model::Evr;

    use super::*;

    #[test]
    fn versions_of_upstream_become_those_of_rpm() {
        for (text, expected) in [
            ("1.2.3", "1.2.3"),
            ("v1.2.3\n", "1.2.3"),
            ("V1", "1"),
            ("release-1.2", "1.2"),
            ("refs/tags/jq-1.7.1", "1.7.1"),
            ("openssl-3.0.6", "3.0.6"),
            ("R_2_4_1", "2.4.1"),
            ("1.2-rc1", "1.2~rc1"),
            ("1.2rc1", "1.2~rc1"),
            ("1.2.RC1", "1.2~RC1"),
            ("1.2.0-beta.3", "1.2.0~beta.3"),
            ("2.0-alpha-2", "2.0~alpha.2"),
            ("1.0.2k", "1.0.2k"),
            ("1.2-3", "1.2.3"),
            ("1.2+build5", "1.2+build5"),
            ("2.4~pre1", "2.4~pre1"),
            ("20260101", "20260101"),
        ] {
            assert_eq!(rpm_version(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "", "stable", "v", "1.2 3", "1.2:3", "1.2/3", "(1)", "1.", "1..2", "1.2-", "1\u{e9}", "1;rm",
            "\u{1b}1",
        ] {
            let error = rpm_version(text).expect_err(text).to_string();
            assert!(!error.contains('\u{1b}'), "{error}");
        }
        assert!(rpm_version(&"1".repeat(200)).is_err());
    }

    #[test]
    fn what_git_says_is_a_release_or_a_snapshot() {
        for (text, expected) in [
            ("v1.2-0-gabc1234", "1.2"),
            ("v1.2-rc1-0-gabc1234", "1.2~rc1"),
            ("v1.2-5-gabc1234", "1.2^5.gitabc1234"),
            ("x-1.2-rc1-15-gabc1234\n", "1.2~rc1^15.gitabc1234"),
        ] {
            assert_eq!(Described::parse(text).unwrap().version().as_deref(), Ok(expected), "{text}");
        }
        let untagged = Described { tag: None, commits: 7, commit: "abc1234".to_owned() };
        assert_eq!(untagged.version().as_deref(), Ok("0^7.gitabc1234"));
        for text in ["", "v1.2", "v1.2-x-gabc", "v1.2-1-habc", "v1.2-1-gxyz", "v1.2-1-g"] {
            assert_eq!(Described::parse(text), None, "{text}");
        }
    }

    #[test]
    fn snapshots_and_prereleases_are_ordered_as_they_came() {
        let evr = |text: &str| Evr::new(0, text, Some("1"));
        let described = |tag: &str, commits| {
            let described = Described { tag: Some(tag.to_owned()), commits, commit: "fff".to_owned() };
            evr(&described.version().unwrap())
        };
        let untagged = Described { tag: None, commits: 7, commit: "abc".to_owned() };
        let in_order = [
            evr(&untagged.version().unwrap()),
            described("v1.2-alpha1", 0),
            described("v1.2-rc1", 0),
            described("v1.2-rc1", 3),
            described("v1.2-rc2", 0),
            described("v1.2", 0),
            described("v1.2", 1),
            described("v1.2", 9),
            described("v1.2", 10),
            described("v1.2.1", 0),
        ];
        assert!(in_order.windows(2).all(|pair| pair[0].compare(&pair[1]).is_lt()), "{in_order:?}");
    }

    proptest! {
        #[test]
        fn what_comes_out_is_a_version(text in "[ -~]{0,20}|v?[0-9]{1,2}([._-](rc|[0-9]|p)[0-9]?){0,3}") {
            if let Ok(version) = rpm_version(&text) {
                prop_assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{}", version);
                prop_assert!(version.chars().all(|c| c.is_ascii_alphanumeric() || "._+~^".contains(c)), "{}", version);
                // It is its own form.
                prop_assert_eq!(rpm_version(&version), Ok(version.clone()));
            }
        }
    }
}
