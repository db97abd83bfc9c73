//! Provides that rpm's dependency generators would find in files: `pkgconfig()`, `cmake()`, `perl()`,
//! `python3dist()`; and the interpreters that scripts start with.

use rpm_writer::{Dependency, Sense};
use std::collections::BTreeMap;

/// Adds to `found` what the file provides; `path` is the path after the merge.
pub(crate) fn provides_of_file(path: &str, content: &[u8], found: &mut Vec<Dependency>) {
    let Some((directory, name)) = path.rsplit_once('/') else { return };
    if name.ends_with(".pc") && directory.ends_with("/pkgconfig") {
        found.extend(pkg_config(name, &text(content)));
    } else if name.ends_with(".cmake") && !path.starts_with("/usr/share/cmake-") {
        found.extend(cmake(name));
    } else if name.ends_with(".pm") {
        found.extend(perl(path, &text(content)));
    } else if is_python_metadata(path) {
        found.extend(python(path, &text(content)));
    }
}

/// Returns the shell a script asks for, as a requirement; other interpreters are left to `Depends`, which in
/// Debian names every one that is not part of the essential set.
pub(crate) fn interpreter(content: &[u8]) -> Option<&'static str> {
    let line = content.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let program = std::str::from_utf8(line).ok()?.split_whitespace().next()?;
    match program {
        "/bin/sh" | "/usr/bin/sh" => Some("/bin/sh"),
        "/bin/bash" | "/usr/bin/bash" => Some("/usr/bin/bash"),
        _ => None,
    }
}

fn text(content: &[u8]) -> String {
    String::from_utf8_lossy(content).into_owned()
}

fn provided(name: String, version: &str) -> Dependency {
    let legal =
        !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || "._+~^".contains(c));
    let dependency = if legal { Dependency::equal(name, version) } else { Dependency::any(name) };
    dependency.with(Sense::FIND_PROVIDES)
}

/// A `.pc` file: `pkgconfig(stem) = Version`, variables of the file expanded.
fn pkg_config(name: &str, content: &str) -> Option<Dependency> {
    let mut variables: BTreeMap<&str, String> = BTreeMap::new();
    let mut version = String::new();
    for line in content.lines() {
        if let Some(value) = line.strip_prefix("Version:") {
            version = expand(value.trim(), &variables);
        } else if let Some((variable, value)) = line.split_once('=')
            && !variable.contains([':', ' '])
        {
            variables.insert(variable, expand(value.trim(), &variables));
        }
    }
    Some(provided(format!("pkgconfig({})", name.strip_suffix(".pc")?), &version))
}

fn expand(value: &str, variables: &BTreeMap<&str, String>) -> String {
    let mut value = value.to_owned();
    for (name, replacement) in variables {
        value = value.replace(&format!("${{{name}}}"), replacement);
    }
    value
}

/// `XConfig.cmake` and `x-config.cmake`: `cmake(X)`, and in lower case too, as `find_package` tries both.
fn cmake(name: &str) -> Vec<Dependency> {
    let Some(package) = name.strip_suffix("Config.cmake").or_else(|| name.strip_suffix("-config.cmake"))
    else {
        return Vec::new();
    };
    if package.is_empty() {
        return Vec::new();
    }
    let mut names = vec![package.to_owned(), package.to_lowercase()];
    names.dedup();
    names.into_iter().map(|name| provided(format!("cmake({name})"), "")).collect()
}

/// Directories in which perl looks for modules; what follows them is the module's name.
const PERL_DIRECTORIES: [&str; 6] = [
    "/usr/share/perl5/",
    "/usr/share/perl/",
    "/usr/lib/x86_64-linux-gnu/perl5/",
    "/usr/lib/x86_64-linux-gnu/perl-base/",
    "/usr/lib/x86_64-linux-gnu/perl/",
    "/usr/share/autoconf/",
];

/// A perl module: `perl(A::B) = $VERSION`, when the file declares the package its path stands for.
fn perl(path: &str, content: &str) -> Option<Dependency> {
    let below = PERL_DIRECTORIES.iter().find_map(|directory| path.strip_prefix(directory))?;
    let below = below.strip_suffix(".pm")?;
    // Versioned directories: `/usr/share/perl/5.36.0/File/Copy.pm`.
    let below = match below.split_once('/') {
        Some((version, rest)) if version.starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => below,
    };
    let module = below.replace('/', "::");
    let declares = content.lines().any(|line| {
        line.trim_start().strip_prefix("package").is_some_and(|rest| {
            rest.starts_with(char::is_whitespace)
                && rest.trim_start().split([';', ' ', '{', '\t']).next() == Some(module.as_str())
        })
    });
    declares.then(|| provided(format!("perl({module})"), &perl_version(content)))
}

/// Returns the literal assigned to `$VERSION`, or nothing when it is computed.
fn perl_version(content: &str) -> String {
    for line in content.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("our ").unwrap_or(line).trim_start();
        let Some(rest) = line.strip_prefix("$VERSION") else { continue };
        let Some(value) = rest.trim_start().strip_prefix('=') else { continue };
        let value =
            value.trim().trim_end_matches(';').trim().trim_matches(['"', '\'']).trim_start_matches('v');
        if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit() || c == '.') {
            return value.to_owned();
        }
    }
    String::new()
}

fn is_python_metadata(path: &str) -> bool {
    path.ends_with(".dist-info/METADATA")
        || path.ends_with(".egg-info/PKG-INFO")
        || (path.ends_with(".egg-info") && path.contains("/python3"))
}

/// A distribution's metadata: `python3dist(name) = version`, and with the minor version when the path has it.
fn python(path: &str, content: &str) -> Vec<Dependency> {
    let field = |name: &str| {
        content
            .lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let (Some(name), Some(version)) = (field("Name:"), field("Version:")) else { return Vec::new() };
    let mut normal = String::new();
    for c in name.to_lowercase().chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            _ => normal.push(c),
        }
    }
    let mut found = vec![provided(format!("python3dist({normal})"), version)];
    let minor = path.split('/').find_map(|part| part.strip_prefix("python3."));
    found.extend(minor.map(|minor| provided(format!("python3.{minor}dist({normal})"), version)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, content: &str, expected: &[&str]) {
        let mut found = Vec::new();
        provides_of_file(path, content.as_bytes(), &mut found);
        let found: Vec<String> = found
            .iter()
            .map(
                |d| if d.version.is_empty() { d.name.clone() } else { format!("{} = {}", d.name, d.version) },
            )
            .collect();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn finds_provides() {
        let pc = "major=1\nver=${major}.2\nName: Z\nVersion: ${ver}.3\nLibs: -lz\n";
        check("/usr/lib/x86_64-linux-gnu/pkgconfig/z+.pc", pc, &["pkgconfig(z+) = 1.2.3"]);
        check("/usr/lib/pkgconfig/no.pc", "Name: no\n", &["pkgconfig(no)"]);
        check("/usr/lib/cmake/Foo/FooConfig.cmake", "", &["cmake(Foo)", "cmake(foo)"]);
        check("/usr/lib/cmake/foo/foo-config.cmake", "", &["cmake(foo)"]);
        check("/usr/share/cmake-3.25/Modules/FooConfig.cmake", "", &[]);
        check(
            "/usr/share/perl/5.36.0/File/Copy.pm",
            "package File::Copy;\nour $VERSION = '2.39';\n",
            &["perl(File::Copy) = 2.39"],
        );
        check("/usr/share/perl5/A.pm", "package B;\n", &[]);
        check("/usr/share/perl5/A.pm", "package A;\n$VERSION = eval $x;\n", &["perl(A)"]);
        check(
            "/usr/lib/python3/dist-packages/x.dist-info/METADATA",
            "Name: A._b\nVersion: 1\n\nName: no\n",
            &["python3dist(a-b) = 1"],
        );
        check(
            "/usr/lib/python3.11/x.egg-info",
            "Name: y\nVersion: 2\n",
            &["python3dist(y) = 2", "python3.11dist(y) = 2"],
        );
        check("/usr/bin/x", "", &[]);
    }

    #[test]
    fn finds_shells() {
        for (content, expected) in [
            ("#!/bin/sh\n", Some("/bin/sh")),
            ("#! /usr/bin/bash -e\n", Some("/usr/bin/bash")),
            ("#!/usr/bin/perl\n", None),
            ("#!", None),
            ("x", None),
        ] {
            assert_eq!(interpreter(content.as_bytes()), expected, "{content}");
        }
    }
}
