//! Where the files of a repository may be: below it, and nowhere else unless the reader allows it.

use std::path::PathBuf;

/// Where packages may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocationPolicy {
    /// Only below the repository itself.
    #[default]
    BelowRepository,
    /// Also below another address that the metadata names (`xml:base`), over `http`, `https` or `file`.
    OtherAddresses,
}

/// Returns a package's place: relative to the repository, or a URL when the entry has a base of its own.
pub(super) fn package_location(
    href: &str,
    base: Option<&str>,
    policy: LocationPolicy,
) -> Result<PathBuf, String> {
    check_relative(href)?;
    let Some(base) = base.filter(|base| !base.is_empty()) else { return Ok(href.into()) };
    if policy == LocationPolicy::BelowRepository {
        return Err(format!("it is said to be at `{}`, outside the repository", shown(base)));
    }
    let known = ["https://", "http://", "file:///"].iter().any(|scheme| base.starts_with(scheme));
    let plain = base.bytes().all(|byte| byte.is_ascii_graphic());
    if !known || !plain || base.split('/').any(|part| part == "..") {
        return Err(format!("its base `{}` is no address of a repository", shown(base)));
    }
    Ok(format!("{}/{href}", base.trim_end_matches('/')).into())
}

/// Refuses everything but a plain path that goes down.
pub(super) fn check_relative(href: &str) -> Result<(), String> {
    let problem = if href.is_empty() {
        "is empty"
    } else if href.len() > 1024 {
        "is longer than 1024 bytes"
    } else if href.chars().any(char::is_control) {
        "has control characters"
    } else if href.starts_with('/') {
        "is absolute"
    } else if href.split('/').any(|part| matches!(part, ".." | "")) {
        "leads out of the repository"
    } else {
        return Ok(());
    };
    Err(format!("its location `{}` {problem}", shown(href)))
}

/// Returns the beginning of a foreign text in one line, for messages.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(href: &str, base: Option<&str>, policy: LocationPolicy, expected: &str) {
        let found = match package_location(href, base, policy) {
            Ok(path) => path.to_str().unwrap().to_owned(),
            Err(problem) => problem,
        };
        assert!(found == expected || found.ends_with(expected), "{found}");
    }

    #[test]
    fn packages_stay_below_the_repository() {
        use LocationPolicy::{BelowRepository, OtherAddresses};
        for (href, expected) in [
            ("Packages/a/a-1-1.noarch.rpm", "Packages/a/a-1-1.noarch.rpm"),
            ("./a-1-1.noarch.rpm", "./a-1-1.noarch.rpm"),
            ("a-1:2-1.noarch.rpm", "a-1:2-1.noarch.rpm"),
            ("a..b.rpm", "a..b.rpm"),
            ("%2e%2e/a.rpm", "%2e%2e/a.rpm"),
            ("", "is empty"),
            ("../a.rpm", "leads out of the repository"),
            ("x/../../a.rpm", "leads out of the repository"),
            ("x//a.rpm", "leads out of the repository"),
            ("x/", "leads out of the repository"),
            ("/etc/passwd", "is absolute"),
            ("//host/a.rpm", "is absolute"),
            ("http://host/a.rpm", "leads out of the repository"),
            // No address without `//`: it is always put behind the repository's own and a slash.
            ("file:a.rpm", "file:a.rpm"),
            ("a\nb.rpm", "has control characters"),
            ("a\0b.rpm", "has control characters"),
        ] {
            check(href, None, BelowRepository, expected);
            check(href, None, OtherAddresses, expected);
        }
        check(&"x".repeat(1025), None, BelowRepository, "is longer than 1024 bytes");
        let base = Some("https://host/repo/");
        check(
            "a.rpm",
            base,
            BelowRepository,
            "it is said to be at `https://host/repo/`, outside the repository",
        );
        check("a.rpm", base, OtherAddresses, "https://host/repo/a.rpm");
        check("../a.rpm", base, OtherAddresses, "leads out of the repository");
        check("a.rpm", Some(""), BelowRepository, "a.rpm");
        for base in ["ftp://host/", "media:1", "/etc", "https://host/x/../y", "https://a b/", "file://host/x"]
        {
            check("a.rpm", Some(base), OtherAddresses, "is no address of a repository");
        }
    }
}
