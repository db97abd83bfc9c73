//! The facts of rpm's own test of dependency matching (`tests/rpmdepmatch.at`): 182 pairs of a provide and a
//! require, and whether they match; and names that carry markers.

#![expect(clippy::unwrap_used, reason = "tests panic")]

use rpm_model::Dependency;

/// The operators of the columns below.
const OPERATORS: [&str; 6] = ["=", ">=", "<=", "<", ">", "<>"];

/// A provide, a version that is required of `a`, and whether they match for each of [`OPERATORS`].
const VERSIONED: [(&str, &str, [u8; 6]); 29] = [
    // Different names never match.
    ("b", "1.2", [0, 0, 0, 0, 0, 0]),
    // Without a version every version.
    ("a", "1.2", [1, 1, 1, 1, 1, 1]),
    // Versions.
    ("a = 1.2", "1.2", [1, 1, 1, 0, 0, 0]),
    ("a = 1.2", "1.3", [0, 0, 1, 1, 0, 1]),
    // Versions and releases.
    ("a = 1.2-1", "1.2-1", [1, 1, 1, 0, 0, 0]),
    ("a = 1.2-1", "1.2-2", [0, 0, 1, 1, 0, 1]),
    ("a = 1.3-1", "1.2-2", [0, 1, 0, 0, 1, 1]),
    // Epoch zero is no epoch.
    ("a = 0:1.2", "1.2", [1, 1, 1, 0, 0, 0]),
    ("a = 1.2", "0:1.2", [1, 1, 1, 0, 0, 0]),
    // Other epochs.
    ("a = 1:1.2", "1.2", [0, 1, 0, 0, 1, 1]),
    ("a = 1.2", "1:1.2", [0, 0, 1, 1, 0, 1]),
    ("a = 2:1.2", "2:1.2", [1, 1, 1, 0, 0, 0]),
    // Ranges that are provided.
    ("a > 1.2", "1.2", [0, 1, 0, 0, 1, 1]),
    ("a < 1.2", "1.2", [0, 0, 1, 1, 0, 1]),
    ("a >= 1.2", "1.2", [1, 1, 1, 0, 1, 1]),
    ("a <= 1.2", "1.2", [1, 1, 1, 1, 0, 1]),
    ("a <> 1.2", "1.2", [0, 1, 1, 1, 1, 1]),
    // No release where one is provided.
    ("a = 1.2-1", "1.2", [1, 1, 1, 0, 0, 0]),
    ("a > 1.2-1", "1.2", [1, 1, 1, 0, 1, 1]),
    ("a < 1.2-1", "1.2", [1, 1, 1, 1, 0, 1]),
    ("a >= 1.2-1", "1.2", [1, 1, 1, 0, 1, 1]),
    ("a <= 1.2-1", "1.2", [1, 1, 1, 1, 0, 1]),
    ("a <> 1.2-1", "1.2", [1, 1, 1, 1, 1, 1]),
    // No release where one is required.
    ("a = 1.2", "1.2-1", [1, 1, 1, 1, 1, 1]),
    ("a > 1.2", "1.2-1", [0, 1, 0, 0, 1, 1]),
    ("a < 1.2", "1.2-1", [0, 0, 1, 1, 0, 1]),
    ("a >= 1.2", "1.2-1", [1, 1, 1, 1, 1, 1]),
    ("a <= 1.2", "1.2-1", [1, 1, 1, 1, 1, 1]),
    ("a <> 1.2", "1.2-1", [0, 1, 1, 1, 1, 1]),
];

/// A provide, and whether it matches the requirement `a` without a version.
const UNVERSIONED: [(&str, bool); 8] = [
    ("b", false),
    ("a", true),
    ("a = 1.2", true),
    ("a < 1.2", true),
    ("a > 1.2", true),
    ("a <= 1.2", true),
    ("a >= 1.2", true),
    ("a <> 1.2", true),
];

fn check(provide: &str, require: &str, expected: bool) {
    let (provided, required): (Dependency, Dependency) = (provide.parse().unwrap(), require.parse().unwrap());
    assert_eq!(provided.overlaps(&required), expected, "{provide} provided, {require} required");
}

#[test]
fn all_cases_of_rpm() {
    let mut cases = 0;
    for (provide, version, expected) in VERSIONED {
        for (operator, expected) in OPERATORS.iter().zip(expected) {
            check(provide, &format!("a {operator} {version}"), expected == 1);
            cases += 1;
        }
    }
    for (provide, expected) in UNVERSIONED {
        check(provide, "a", expected);
        cases += 1;
    }
    assert_eq!(cases, 182);
}

/// Names that carry a marker are names like any other: what stands in parentheses is compared as text.
#[test]
fn markers_belong_to_the_name() {
    // The library of the other word size has no marker.
    check("libz.so.1()(64bit)", "libz.so.1()(64bit)", true);
    check("libz.so.1", "libz.so.1()(64bit)", false);
    check("libz.so.1()(64bit)", "libz.so.1", false);
    check("libc.so.6(GLIBC_2.34)(64bit)", "libc.so.6(GLIBC_2.34)(64bit)", true);
    check("libc.so.6(GLIBC_2.34)(64bit)", "libc.so.6()(64bit)", false);
    check("libc.so.6(GLIBC_2.34)", "libc.so.6(GLIBC_2.34)(64bit)", false);
    // Package names with an architecture.
    check("zlib(x86-64) = 1.3-1", "zlib(x86-64) >= 1.3", true);
    check("zlib(x86-64) = 1.3-1", "zlib(x86-32) >= 1.3", false);
    check("zlib(x86-64) = 1.3-1", "zlib >= 1.3", false);
    check("zlib = 1.3-1", "zlib(x86-64) >= 1.3", false);
    // Configuration files and rpm's own features.
    check("config(bash) = 5.2-1", "config(bash) = 5.2-1", true);
    check("config(bash) = 5.2-1", "config(bash) = 5.2-2", false);
    check("rpmlib(FileDigests) = 4.6.0-1", "rpmlib(FileDigests) <= 4.6.0-1", true);
    check("rpmlib(FileDigests) = 4.6.0-1", "rpmlib(RichDependencies) <= 4.12.0-1", false);
    // Paths: no normalization, no link is followed.
    check("/bin/sh", "/bin/sh", true);
    check("/bin/sh", "/usr/bin/sh", false);
    check("/bin/sh", "/bin/sh/", false);
    check("pkgconfig(zlib) = 1.3", "pkgconfig(zlib) >= 1.2.11", true);
    check("python3dist(foo-bar) = 1~rc1", "python3dist(foo-bar) >= 1", false);
    // Letter case counts.
    check("perl(CGI)", "perl(cgi)", false);
}
