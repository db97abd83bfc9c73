//! Second pass: one Debian package's files as an RPM payload, and what they provide and need.

use super::DebFileReference;
use super::elf::elf_dependencies;
use super::generators;
use super::layout::{self, LINKER_DIRECTORIES};
use super::names::NameTable;
use super::survey::Survey;
use super::version::DebianVersion;
use crate::deb::{Deb, DebDependency, DebFile, DebFileKind, parse_dependencies};
use crate::error::BootstrapError;
use crate::generated::{is_known_group, is_known_user, is_standard_directory};
use rpm_writer::{Dependency, FileEntry, FileFlags, FileKind, Payload, Sense};
use std::collections::{BTreeMap, BTreeSet};

/// A Debian package with its files packed; only its dependencies are still in Debian's words.
pub(super) struct Converted {
    pub(super) deb_name: String,
    pub(super) rpm_name: String,
    pub(super) version: DebianVersion,
    pub(super) arch: &'static str,
    pub(super) summary: String,
    pub(super) description: String,
    pub(super) license: String,
    pub(super) url: Option<String>,
    pub(super) source: String,
    /// Newest modification time of a file: the closest thing to a build time that the package itself has.
    pub(super) time: u32,
    pub(super) depends: Vec<DebDependency>,
    /// Debian names the package provides besides its own.
    pub(super) virtual_names: Vec<String>,
    /// What files provide, sonames included.
    pub(super) provides: Vec<Dependency>,
    pub(super) elf_requires: BTreeSet<String>,
    /// Sonames of libraries in the linker's directories, as capabilities without symbol version.
    pub(super) libraries: BTreeSet<String>,
    pub(super) interpreters: BTreeSet<&'static str>,
    pub(super) payload: Payload,
}

/// Reads and converts one package.
pub(super) fn convert(
    reference: &DebFileReference,
    names: &NameTable,
    survey: &Survey,
) -> Result<Converted, BootstrapError> {
    let deb = Deb::read(&reference.path)?;
    if let Some(found) = deb.sha256.as_ref().filter(|found| **found != reference.sha256) {
        let (path, expected) = (reference.path.clone(), reference.sha256.clone());
        return Err(BootstrapError::Digest { path, expected, found: found.clone() });
    }
    let mut collector = Collector::new(&deb, names);
    for file in &deb.files {
        collector.add(file);
    }
    collector.add_links(survey, names);
    let Collector { files, provides, elf_requires, libraries, interpreters, license, .. } = collector;
    let rpm_name = names.rpm_name(deb.name()).to_owned();
    let payload = Payload::pack(files.into_values().collect())
        .map_err(|source| BootstrapError::Write { package: rpm_name.clone(), source })?;
    let description = deb.control.get("Description");
    let (summary, description) = description.split_once('\n').unwrap_or((description, description));
    let mut virtual_names: Vec<String> =
        parse_dependencies(deb.control.get("Provides")).into_iter().flat_map(|d| d.alternatives).collect();
    let mut provides: Vec<Dependency> = provides.into_iter().collect();
    provides.extend(devel_names(&deb, survey).into_iter().map(Dependency::any));
    virtual_names.sort();
    Ok(Converted {
        deb_name: deb.name().to_owned(),
        version: DebianVersion::parse(deb.control.get("Version")),
        arch: if deb.control.get("Architecture") == "all" { "noarch" } else { "x86_64" },
        summary: summary.to_owned(),
        description: description.to_owned(),
        license,
        url: Some(deb.control.get("Homepage").to_owned()).filter(|url| !url.is_empty()),
        source: deb.source().to_owned(),
        time: deb.files.iter().map(|file| file.mtime).max().unwrap_or(0),
        depends: depends(&deb),
        virtual_names,
        provides,
        elf_requires,
        libraries,
        interpreters,
        payload,
        rpm_name,
    })
}

fn depends(deb: &Deb) -> Vec<DebDependency> {
    let mut all = parse_dependencies(deb.control.get("Pre-Depends"));
    all.extend(parse_dependencies(deb.control.get("Depends")));
    all.sort();
    all.dedup();
    all
}

/// Names under which RPM distributions know a `-dev` package: `libX-dev` is `X-devel` or `libX-devel`, and the
/// only `-dev` package of a source is `<source>-devel`.
fn devel_names(deb: &Deb, survey: &Survey) -> Vec<String> {
    let Some(stem) = deb.name().strip_suffix("-dev") else { return Vec::new() };
    let mut names = vec![format!("{stem}-devel")];
    names.extend(stem.strip_prefix("lib").map(|short| format!("{short}-devel")));
    names.extend(survey.source_with_only_dev(deb.name()).map(|source| format!("{source}-devel")));
    names
}

struct Collector<'a> {
    deb: &'a Deb,
    names: &'a NameTable,
    conffiles: BTreeSet<&'a str>,
    files: BTreeMap<String, FileEntry>,
    provides: BTreeSet<Dependency>,
    elf_requires: BTreeSet<String>,
    libraries: BTreeSet<String>,
    interpreters: BTreeSet<&'static str>,
    license: String,
}

impl<'a> Collector<'a> {
    fn new(deb: &'a Deb, names: &'a NameTable) -> Self {
        Self {
            deb,
            names,
            conffiles: deb.conffiles.iter().map(String::as_str).collect(),
            files: BTreeMap::new(),
            provides: BTreeSet::new(),
            elf_requires: BTreeSet::new(),
            libraries: BTreeSet::new(),
            interpreters: BTreeSet::new(),
            license: "LicenseRef-Debian-Copyright-File".into(),
        }
    }

    fn add(&mut self, file: &DebFile) {
        let mut path = layout::merged(&file.path);
        let mut flags = FileFlags::NONE;
        if let (Some(place), DebFileKind::Regular(content)) = (layout::licence_path(&path), &file.kind) {
            self.license =
                licence_of(&String::from_utf8_lossy(content)).unwrap_or_else(|| self.license.clone());
            path = place;
            flags = FileFlags::LICENSE;
        } else if layout::is_left_out(&path, self.names.skipped_paths()) || is_standard_directory(&path) {
            return;
        }
        if self.conffiles.contains(file.path.as_str()) {
            flags = FileFlags::CONFIG | FileFlags::NOREPLACE;
        }
        let kind = match &file.kind {
            DebFileKind::Regular(content) => {
                self.inspect(&path, file.mode, content);
                FileKind::Regular(content.clone().into())
            }
            DebFileKind::Directory => FileKind::Directory,
            DebFileKind::Symlink(target) => {
                let target = layout::merged_target(&file.path, target);
                // `/bin/x -> /usr/bin/x` leads to itself once both are one directory.
                if target == path || self.files.contains_key(&path) {
                    return;
                }
                FileKind::Symlink { target }
            }
            DebFileKind::HardLink(to) => FileKind::HardLink { to: layout::merged(to) },
        };
        if file.path.starts_with("/bin/") || file.path.starts_with("/sbin/") {
            self.provides.insert(Dependency::any(&file.path));
        }
        // A build root has only the accounts that `filesystem` defines.
        let known = |name: &str, is_known: fn(&str) -> bool| {
            if is_known(name) { name.to_owned() } else { "root".to_owned() }
        };
        let (user, group) = (known(&file.user, is_known_user), known(&file.group, is_known_group));
        let entry =
            FileEntry { path: path.clone(), mode: file.mode, user, group, mtime: file.mtime, kind, flags };
        self.files.insert(path, entry);
    }

    /// Collects what a regular file provides and needs.
    fn inspect(&mut self, path: &str, mode: u16, content: &[u8]) {
        let mut provides = Vec::new();
        generators::provides_of_file(path, content, &mut provides);
        if provides.iter().any(|d| d.name.starts_with("pkgconfig(")) {
            self.interpreters.insert("/usr/bin/pkg-config");
        }
        self.provides.extend(provides);
        if mode & 0o111 != 0 {
            self.interpreters.extend(generators::interpreter(content));
        }
        let elf = elf_dependencies(content);
        self.elf_requires.extend(elf.requires);
        let generated = |name: String| Dependency::any(name).with(Sense::FIND_PROVIDES);
        self.provides.extend(elf.provides.into_iter().map(generated));
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        if let Some(soname) = elf.soname
            && LINKER_DIRECTORIES.contains(&directory)
        {
            self.libraries.insert(format!("{soname}()(64bit)"));
        }
    }

    /// Adds the links of `update-alternatives` that this package wins, and those of the table.
    fn add_links(&mut self, survey: &Survey, names: &NameTable) {
        let alternatives = survey
            .alternatives_of(self.deb.name())
            .map(|alternative| (layout::merged(&alternative.link), layout::merged(&alternative.target)))
            .filter(|(link, target)| self.files.contains_key(target) && !self.files.contains_key(link))
            .collect::<Vec<_>>();
        let table = &names.correction(self.deb.name()).links;
        let table = table.iter().map(|(link, target)| (link.clone(), target.clone()));
        for (link, target) in alternatives.into_iter().chain(table) {
            if layout::is_left_out(&link, names.skipped_paths()) {
                continue;
            }
            let mut entry = FileEntry::symlink(&link, target);
            entry.mtime = self.deb.files.iter().map(|file| file.mtime).max().unwrap_or(0);
            self.files.insert(link, entry);
        }
    }
}

/// Returns the licences that a machine-readable copyright file names, joined by `AND`.
fn licence_of(copyright: &str) -> Option<String> {
    if !copyright.starts_with("Format:") {
        return None;
    }
    let paragraphs = crate::deb::Paragraph::parse_all(copyright);
    let licences: BTreeSet<String> = paragraphs
        .iter()
        .filter_map(|paragraph| paragraph.get("License").lines().next())
        .filter(|name| !name.is_empty())
        .map(|name| if name.contains(' ') { format!("({name})") } else { name.to_owned() })
        .collect();
    (!licences.is_empty()).then(|| licences.into_iter().collect::<Vec<_>>().join(" AND "))
}
