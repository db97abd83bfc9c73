//! The macro directory of an Azure worker, as one RPM over that of our own worker.
//!
//! An Azure worker has rpm's own macros as upstream ships them, and on top those of a few packages of its tree.
//! Ours comes from Debian's rpm 4.18, so Debian's two changes of `macros` are undone, and the vendor directory,
//! which Debian's rpm looks for as `debian`, is a link to Azure's `azl`. Which files go where follows from the
//! `%install` sections of those packages; they are few and plain, so they stand here as a table.
//!
//! What it is not: macros of packages that are not in a worker are left out on purpose. With all macro files of
//! the tree some specs do not parse, and others say something else.

use std::path::{Path, PathBuf};

use rpm_writer::{FileEntry, Package, Payload};

use super::AzureTree;
use crate::error::BenchError;

/// Where rpm finds what it is configured with.
const RPM_DIRECTORY: &str = "/usr/lib/rpm";

/// The package sorts before those whose files it replaces, so its layer lies above theirs.
pub(crate) const PACKAGE: &str = "azure-worker-macros";

/// Files of one directory of the tree that a package installs into one directory.
struct Rule {
    from: &'static str,
    /// The beginning and the end of the file names.
    files: &'static [(&'static str, &'static str)],
    /// Below [`RPM_DIRECTORY`].
    to: &'static str,
    mode: u16,
}

const fn rule(
    from: &'static str,
    files: &'static [(&'static str, &'static str)],
    to: &'static str,
    mode: u16,
) -> Rule {
    Rule { from, files, to, mode }
}

const VENDOR: &str = "SPECS/azurelinux-rpm-macros";
const PYPROJECT: &str = "SPECS/pyproject-rpm-macros";
const GENERATORS: &str = "SPECS/python-rpm-generators";

/// What the packages with macros among the worker's (`pkggen_core_x86_64.txt`) install: azurelinux-rpm-macros,
/// azurelinux-check-macros, pyproject-rpm-macros, ocaml-srpm-macros, perl-macros, python3-rpm-generators; and
/// the overrides that the toolkit itself puts there.
const RULES: [Rule; 14] = [
    rule(VENDOR, &[("macros", ""), ("rpmrc", "")], "azl", 0o644),
    rule(VENDOR, &[("default-hardened-", "*"), ("default-annobin-", "*")], "azl", 0o444),
    rule(
        VENDOR,
        &[("brp-", "*"), ("gpgverify", ""), ("compileall2", ".py"), ("pathfix", ".py")],
        "azl",
        0o755,
    ),
    rule(VENDOR, &[("import_all_modules", ".py"), ("gen-ld-script", ".sh")], "azl", 0o755),
    rule(VENDOR, &[("generate-package-note", ".py"), ("verify-package-notes", ".sh")], "azl", 0o755),
    rule(VENDOR, &[("clamp_source_mtime", ".py")], "azl", 0o644),
    rule(VENDOR, &[("macros.", "*")], "macros.d", 0o644),
    rule(VENDOR, &[("common", ".lua")], "lua/azl", 0o644),
    rule(VENDOR, &[("forge", ".lua"), ("python", ".lua")], "lua/azl/srpm", 0o644),
    rule(PYPROJECT, &[("macros.pyproject", "")], "macros.d", 0o644),
    rule(
        PYPROJECT,
        &[
            ("pyproject_buildrequires", ".py"),
            ("pyproject_convert", ".py"),
            ("pyproject_save_files", ".py"),
            ("pyproject_preprocess_record", ".py"),
            ("pyproject_construct_toxenv", ".py"),
            ("pyproject_requirements_txt", ".py"),
            ("pyproject_wheel", ".py"),
        ],
        "azl",
        0o644,
    ),
    rule("SPECS/ocaml-srpm-macros", &[("macros.ocaml-srpm", "")], "macros.d", 0o644),
    rule("SPECS/perl", &[("macros.perl", "")], "macros.d", 0o644),
    rule("toolkit/resources/manifests/package", &[("macros.override", "")], "macros.d", 0o644),
];

/// What Debian changed in `macros`, and what upstream has.
const DEBIAN_CHANGES: [(&str, &str); 2] =
    [("%_dbpath", "%{_var}/lib/rpm"), ("%_localstatedir", "%{_prefix}/var")];

/// Returns the package as bytes; `rpm_macros` is the text of rpm's own macros as our worker has it.
pub(crate) fn package(tree: &AzureTree, rpm_macros: &str) -> Result<Vec<u8>, BenchError> {
    let failed = |source| BenchError::WritePackage { name: PACKAGE, source };
    let payload = Payload::pack(files(tree, rpm_macros)?).map_err(failed)?;
    let mut package = Package::new(PACKAGE, "3.0", "1", "noarch");
    package.license = "as the files say".to_owned();
    package.to_bytes(&payload).map_err(failed)
}

fn files(tree: &AzureTree, rpm_macros: &str) -> Result<Vec<FileEntry>, BenchError> {
    let mut files =
        vec![FileEntry::file(format!("{RPM_DIRECTORY}/macros"), 0o644, upstream(rpm_macros)?), vendor_link()];
    for rule in &RULES {
        for (start, end) in rule.files {
            files.extend(installed(tree, rule, start, end)?);
        }
    }
    for (ending, to, mode) in [(".attr", "fileattrs", 0o644), (".py", "", 0o755)] {
        let directory = tree.file(GENERATORS);
        for (name, path) in files_of(&directory)? {
            if name.ends_with(ending) {
                files.push(entry(to, &name, mode, path));
            }
        }
    }
    Ok(files)
}

/// Debian's rpm looks for the vendor's macros and rpmrc in `debian`.
fn vendor_link() -> FileEntry {
    FileEntry::symlink(format!("{RPM_DIRECTORY}/debian"), "azl")
}

/// Returns what one pattern of a rule installs; a pattern that nothing matches means that the tree is another
/// than the one that the rules were made for.
fn installed(tree: &AzureTree, rule: &Rule, start: &str, end: &str) -> Result<Vec<FileEntry>, BenchError> {
    let directory = tree.file(rule.from);
    let matches = |name: &str| match end {
        "*" => name.starts_with(start),
        end => name.strip_prefix(start) == Some(end),
    };
    let files: Vec<FileEntry> = files_of(&directory)?
        .into_iter()
        .filter(|(name, _)| matches(name))
        .map(|(name, path)| entry(rule.to, &name, rule.mode, path))
        .collect();
    if files.is_empty() {
        return Err(BenchError::NotAzureTree {
            path: tree.root().to_owned(),
            missing: format!("{}/{start}{end}", rule.from),
        });
    }
    Ok(files)
}

fn entry(to: &str, name: &str, mode: u16, path: PathBuf) -> FileEntry {
    let directory = if to.is_empty() { RPM_DIRECTORY.to_owned() } else { format!("{RPM_DIRECTORY}/{to}") };
    FileEntry::file(format!("{directory}/{name}"), mode, path)
}

/// Lists the files of a directory, sorted by name.
fn files_of(directory: &Path) -> Result<Vec<(String, PathBuf)>, BenchError> {
    let named = |path: PathBuf| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path);
    Ok(super::listed(directory)?.into_iter().filter(|path| path.is_file()).map(named).collect())
}

/// Returns rpm's macros without Debian's changes.
fn upstream(rpm_macros: &str) -> Result<String, BenchError> {
    let mut text = String::with_capacity(rpm_macros.len());
    let mut undone = 0;
    for line in rpm_macros.split_inclusive('\n') {
        let name = line.split_whitespace().next().unwrap_or_default();
        match DEBIAN_CHANGES.iter().find(|(changed, _)| *changed == name) {
            Some((name, body)) => {
                undone += 1;
                text.push_str(&format!("{name}\t\t{body}\n"));
            }
            None => text.push_str(line),
        }
    }
    if undone == DEBIAN_CHANGES.len() { Ok(text) } else { Err(BenchError::UnknownRpmMacros) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::tree;
    use super::*;

    #[test]
    fn debian_changes_are_undone() {
        let text = "%_a b\n%_dbpath\t\t%(bash -c 'echo ~/.rpmdb')\n%_dbpath_rebuild %{_dbpath}\n%_localstatedir\t/var\n";
        let expected = "%_a b\n%_dbpath\t\t%{_var}/lib/rpm\n%_dbpath_rebuild %{_dbpath}\n%_localstatedir\t\t%{_prefix}/var\n";
        assert_eq!(upstream(text).unwrap(), expected);
        assert!(matches!(upstream("%_dbpath x\n"), Err(BenchError::UnknownRpmMacros)));
    }

    #[test]
    fn every_rule_needs_its_files() {
        let directory = tempfile::tempdir().unwrap();
        let tree = tree(directory.path(), &[]);
        let put = |from: &str, name: &str| {
            fs::create_dir_all(tree.file(from)).unwrap();
            fs::write(tree.file(from).join(name), name).unwrap();
        };
        for rule in &RULES {
            for (start, end) in rule.files {
                put(rule.from, &format!("{start}{}", end.replace('*', "x")));
            }
        }
        put(GENERATORS, "pythondist.attr");
        put(GENERATORS, "pythondistdeps.py");
        put(GENERATORS, "COPYING");
        let text = "%_dbpath x\n%_localstatedir x\n";
        let paths: Vec<String> = files(&tree, text).unwrap().into_iter().map(|file| file.path).collect();
        for path in [
            "macros",
            "azl/macros",
            "macros.d/macros.x",
            "lua/azl/srpm/forge.lua",
            "fileattrs/pythondist.attr",
        ] {
            assert!(paths.contains(&format!("/usr/lib/rpm/{path}")), "{path}: {paths:?}");
        }
        assert!(!paths.iter().any(|path| path.contains("COPYING")));
        assert_eq!(&package(&tree, text).unwrap()[..4], b"\xed\xab\xee\xdb");
        fs::remove_file(tree.file("SPECS/perl/macros.perl")).unwrap();
        assert!(matches!(files(&tree, text), Err(BenchError::NotAzureTree { .. })));
    }
}
