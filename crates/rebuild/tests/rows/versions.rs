//! Rows about `pkgver()`: a version that comes from upstream.

use rebuild::bump::{ChangelogEntry, bump_spec};
use rebuild::upstream::{Described, UpdateError, parse_version_source, rpm_version, update_version};
use rpm_model::Evr;

use crate::bench::refused;
use crate::rows::Row;

const SPEC: &str = "Version: 1.2\nRelease: 3%{?dist}\n%build\nVersion: 1.2\n";

/// Returns the spec's text with the version of upstream, `None` where it stays.
fn updated(text: &str, version: &str, published: &[&str]) -> Result<Option<String>, UpdateError> {
    let source: Evr = "1.2-3.mw1".parse().unwrap();
    let published: Vec<Evr> = published.iter().map(|text| text.parse().unwrap()).collect();
    let updated = update_version(text, &source, version, &published, "Thu Nov 26 2026", "A <a@b.invalid>")?;
    Ok(updated.map(|updated| updated.text))
}

/// Versions that come from upstream.
pub(crate) const VERSIONS: &[Row] = &[
    Row {
        name: "pkgver()",
        documented: "the version is what the function prints; when it differs, the release is 1 and it is built",
        does: "runs prepare() first, at every check; any difference counts, also a lower version",
        ours: "a file, a command or a git repository has the version; nothing else is run; release 1 where it is higher",
        check: || {
            let source = parse_version_source("file VERSION").unwrap().unwrap();
            let version = rpm_version(&source.version_in("v1.3\n").unwrap()).unwrap();
            let expected = "Version: 1.3\nRelease: 1%{?dist}\n%build\nVersion: 1.2\n";
            assert_eq!(updated(SPEC, &version, &["1.2-3.mw1"]).unwrap().as_deref(), Some(expected));
            assert_eq!(updated(SPEC, "1.2", &["1.2-3.mw1"]), Ok(None));
        },
    },
    Row {
        name: "a version that goes down",
        documented: "",
        does: "is written and built, with release 1",
        ours: "is refused and told, as is one below what was published",
        check: || {
            assert!(matches!(updated(SPEC, "1.1", &[]), Err(UpdateError::Lower { .. })));
            assert!(matches!(updated(SPEC, "1.2~rc1", &[]), Err(UpdateError::Lower { .. })));
            assert!(matches!(updated(SPEC, "1.3", &["1.4-1.mw1"]), Err(UpdateError::Release(_))));
        },
    },
    Row {
        name: "a version edited by hand",
        documented: "",
        does: "is seen only as a package file that is missing: the release is not reset",
        ours: "with --bump spec the release of a version that was never published is 1",
        check: || {
            let entry = ChangelogEntry { day: "Thu Nov 26 2026", author: "A <a@b.invalid>", message: "x" };
            let edited = SPEC.replacen("1.2", "1.3", 1);
            let (now, before) = ("1.3-3.mw1".parse().unwrap(), "1.2-3.mw1".parse().unwrap());
            let bumped = bump_spec(&edited, &now, &[before], &entry).unwrap();
            assert_eq!((bumped.from, bumped.to), (3, 1));
        },
    },
    Row {
        name: "every line that begins with pkgver=",
        documented: "",
        does: "is rewritten by makepkg, also where the value is made of others",
        ours: "the one place where the version is written, a `%global` included; otherwise refused with advice",
        check: || {
            let by_macro = SPEC.replacen("Version: 1.2", "%global v 1.2\nVersion: %{v}", 1);
            let expected = "%global v 1.3\nVersion: %{v}\nRelease: 1%{?dist}\n%build\nVersion: 1.2\n";
            assert_eq!(updated(&by_macro, "1.3", &[]).unwrap().as_deref(), Some(expected));
            let by_several = SPEC.replacen("Version: 1.2", "Version: %{major}.%{minor}", 1);
            assert!(updated(&by_several, "1.3", &[]).unwrap_err().to_string().contains("one place"));
        },
    },
    Row {
        name: "git describe",
        documented: "left to the recipe, with examples such as `sed 's/-/+/g'`",
        does: "whatever the recipe makes of it, in whatever order pacman sees it",
        ours: "a tag is a release, a prerelease has a tilde, commits after a tag are `^N.gitCOMMIT`: in order",
        check: || {
            let version = |text: &str| Described::parse(text).unwrap().version().unwrap();
            assert_eq!(version("v1.3-rc1-0-gabc1234"), "1.3~rc1");
            assert_eq!(version("v1.2-14-gabc1234"), "1.2^14.gitabc1234");
            assert!(updated(SPEC, &version("v1.2-14-gabc1234"), &["1.2-3.mw1"]).unwrap().is_some());
            assert!(updated(SPEC, &version("v1.2-rc1-0-gabc1234"), &[]).is_err());
        },
    },
    Row {
        name: "a malformed source of a version",
        documented: "",
        does: "the shell's own error, and no status line",
        ours: "an error with line, column and the accepted grammar",
        check: || {
            assert_eq!(refused(parse_version_source("svn trunk")), (1, 1));
            assert_eq!(refused(parse_version_source("file ../../etc/passwd")), (1, 6));
        },
    },
];
