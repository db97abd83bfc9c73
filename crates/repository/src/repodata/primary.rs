//! `primary.xml`: the packages of a repository.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use rpm_model::{
    Comparison, ContentDigest, Dependency, Evr, Nevra, PackageHeader, PackageOrigin, Requirement,
    is_identity_word,
};

use super::BadRepodata;
use super::location::{LocationPolicy, package_location, shown};
use super::stream::{Element, Visitor};
use crate::header::{IndexedPackage, PackageFacts};

/// More than any repository has; an index of so many would not fit into memory.
const MAXIMUM_PACKAGES: usize = 2_000_000;
/// What a file system allows for a file name.
const MAXIMUM_FILE_NAME_BYTES: usize = 255;

/// Collects the packages of `primary.xml`.
pub(super) struct PackageCollector {
    origin: PackageOrigin,
    locations: LocationPolicy,
    announced: usize,
    found: usize,
    draft: Draft,
    /// What the element that is being read means.
    place: Place,
    /// Text inside it.
    text: String,
    packages: Vec<IndexedPackage>,
}

/// What an element inside a package means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Name,
    Arch,
    Checksum,
    Summary,
    Url,
    License,
    Vendor,
    SourceRpm,
    File,
    /// A list of dependencies.
    List(List),
    Other,
}

/// The lists of dependencies that are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Provides,
    Requires,
    Conflicts,
    Obsoletes,
    Recommends,
    Supplements,
}

/// A package whose entry is not read to its end yet.
#[derive(Default)]
struct Draft {
    name: String,
    arch: String,
    evr: Option<Evr>,
    checksum_kind: String,
    checksum: String,
    source_rpm: Option<String>,
    size: u64,
    location: Option<PathBuf>,
    facts: PackageFacts,
    provides: Vec<Dependency>,
    requires: Vec<Requirement>,
    conflicts: Vec<Requirement>,
    obsoletes: Vec<Dependency>,
    recommends: Vec<Requirement>,
    supplements: Vec<Requirement>,
    files: Vec<String>,
}

impl PackageCollector {
    pub(super) fn new(origin: PackageOrigin, locations: LocationPolicy) -> Self {
        Self {
            origin,
            locations,
            announced: 0,
            found: 0,
            draft: Draft::default(),
            place: Place::Other,
            text: String::new(),
            packages: Vec::new(),
        }
    }

    /// Returns the binary packages, sorted by NEVRA and location, each file once.
    pub(super) fn finish(self) -> Result<Vec<IndexedPackage>, BadRepodata> {
        if self.found != self.announced {
            return Err(BadRepodata::Count { found: self.found, announced: self.announced });
        }
        let mut packages = self.packages;
        packages.sort_by(|a, b| (&a.header.nevra, &a.path).cmp(&(&b.header.nevra, &b.path)));
        refuse_contradictions(&packages)?;
        // The same file may be listed at several places, or twice by a merge of repositories.
        let mut seen: HashSet<ContentDigest> = HashSet::with_capacity(packages.len());
        packages.retain(|package| seen.insert(package.sha256.clone()));
        Ok(packages)
    }

    fn refused(&self, problem: impl Into<String>) -> BadRepodata {
        let package = if self.draft.name.is_empty() {
            format!("number {}", self.found + 1)
        } else {
            shown(&self.draft.name)
        };
        BadRepodata::Package { package, problem: problem.into() }
    }

    /// Reads an element directly inside a package.
    fn open_in_package(&mut self, element: &Element<'_>) -> Result<(), BadRepodata> {
        self.place = match element.name() {
            "name" => Place::Name,
            "arch" => Place::Arch,
            "checksum" => {
                self.draft.checksum_kind = element.attribute("type")?;
                Place::Checksum
            }
            "summary" => Place::Summary,
            "url" => Place::Url,
            "version" => {
                let (mut epoch, mut version, mut release) = (String::new(), String::new(), String::new());
                element.attributes(|key, value| {
                    match key {
                        "epoch" => epoch = value.into_owned(),
                        "ver" => version = value.into_owned(),
                        "rel" => release = value.into_owned(),
                        _ => {}
                    }
                    Ok(())
                })?;
                let evr = package_evr(&epoch, &version, &release);
                self.draft.evr = Some(evr.map_err(|problem| self.refused(problem))?);
                Place::Other
            }
            "time" => {
                // Some tools write nothing there.
                self.draft.facts.build_time = number(element, "build")?.unwrap_or(0);
                Place::Other
            }
            "size" => {
                self.draft.size = number(element, "package")?.unwrap_or(0);
                self.draft.facts.installed_size = number(element, "installed")?.unwrap_or(0);
                Place::Other
            }
            "location" => {
                let (mut href, mut base) = (String::new(), None);
                element.attributes(|key, value| {
                    match key {
                        "href" => href = value.into_owned(),
                        "xml:base" => base = Some(value.into_owned()),
                        _ => {}
                    }
                    Ok(())
                })?;
                let location = package_location(&href, base.as_deref(), self.locations);
                self.draft.location = Some(location.map_err(|problem| self.refused(problem))?);
                Place::Other
            }
            _ => Place::Other,
        };
        Ok(())
    }

    fn add_entry(&mut self, list: List, element: &Element<'_>) -> Result<(), BadRepodata> {
        let mut entry = Entry::default();
        element.attributes(|key, value| {
            match key {
                "name" => entry.name = value.into_owned(),
                "flags" => entry.flags = Some(value.into_owned()),
                "epoch" => entry.epoch = value.into_owned(),
                "ver" => entry.version = value.into_owned(),
                "rel" => entry.release = value.into_owned(),
                _ => {}
            }
            Ok(())
        })?;
        // What rpm itself must be able to do is no package.
        if list == List::Requires && entry.name.starts_with("rpmlib(") {
            return Ok(());
        }
        let draft = &mut self.draft;
        let added = match list {
            List::Provides => entry.simple().map(|entry| draft.provides.push(entry)),
            List::Obsoletes => entry.simple().map(|entry| draft.obsoletes.push(entry)),
            List::Requires => entry.requirement().map(|entry| draft.requires.push(entry)),
            List::Conflicts => entry.requirement().map(|entry| draft.conflicts.push(entry)),
            List::Recommends => entry.requirement().map(|entry| draft.recommends.push(entry)),
            List::Supplements => entry.requirement().map(|entry| draft.supplements.push(entry)),
        };
        added.map_err(|problem| self.refused(problem))
    }

    /// Takes the text of an element that has ended.
    fn take_text(&mut self) {
        let draft = &mut self.draft;
        let into = match self.place {
            Place::Name => &mut draft.name,
            Place::Arch => &mut draft.arch,
            Place::Checksum => &mut draft.checksum,
            Place::Summary => &mut draft.facts.summary,
            Place::Url => &mut draft.facts.url,
            Place::License => &mut draft.facts.license,
            Place::Vendor => &mut draft.facts.vendor,
            Place::SourceRpm => draft.source_rpm.get_or_insert_default(),
            Place::File => {
                draft.files.push(self.text.clone());
                self.text.clear();
                return;
            }
            Place::List(_) | Place::Other => return,
        };
        into.clear();
        into.push_str(&self.text);
        self.text.clear();
    }

    /// Checks and keeps a package whose entry has ended.
    fn end_package(&mut self) -> Result<(), BadRepodata> {
        if self.found >= self.announced {
            return Err(BadRepodata::Count { found: self.found + 1, announced: self.announced });
        }
        let missing = |what: &str| self.refused(format!("it has no {what}"));
        let evr = self.draft.evr.clone().ok_or_else(|| missing("version"))?;
        let path = self.draft.location.clone().ok_or_else(|| missing("location"))?;
        check_word("name", &self.draft.name).map_err(|problem| self.refused(problem))?;
        check_word("architecture", &self.draft.arch).map_err(|problem| self.refused(problem))?;
        let kind = &self.draft.checksum_kind;
        let sha256: Option<ContentDigest> =
            if kind == "sha256" { self.draft.checksum.parse().ok() } else { None };
        let sha256 = sha256
            .ok_or_else(|| self.refused(format!("its checksum is not a sha256 (type `{}`)", shown(kind))))?;
        let draft = std::mem::take(&mut self.draft);
        let nevra = Nevra::new(draft.name, evr, draft.arch);
        if nevra.file_name().len() > MAXIMUM_FILE_NAME_BYTES {
            let (package, problem) =
                (shown(&nevra.name), "its name is longer than a file's may be".to_owned());
            return Err(BadRepodata::Package { package, problem });
        }
        self.found += 1;
        if matches!(nevra.arch.as_str(), "src" | "nosrc") {
            return Ok(());
        }
        let mut header = PackageHeader {
            nevra,
            source_rpm: draft.source_rpm.filter(|name| !name.is_empty()),
            provides: draft.provides,
            requires: draft.requires,
            conflicts: draft.conflicts,
            obsoletes: draft.obsoletes,
            recommends: draft.recommends,
            supplements: draft.supplements,
            files: draft.files,
        };
        tidy(&mut header.provides);
        tidy(&mut header.obsoletes);
        tidy(&mut header.files);
        for list in
            [&mut header.requires, &mut header.conflicts, &mut header.recommends, &mut header.supplements]
        {
            tidy(list);
        }
        let (facts, size, origin) = (draft.facts, draft.size, self.origin);
        self.packages.push(IndexedPackage { header, facts, sha256, size, path, origin });
        Ok(())
    }
}

impl Visitor for PackageCollector {
    fn open(&mut self, depth: usize, element: &Element<'_>) -> Result<(), BadRepodata> {
        match depth {
            1 => self.announced = announced(element)?,
            2 => {
                check_package(element)?;
                self.draft = Draft::default();
                self.place = Place::Other;
            }
            3 => self.open_in_package(element)?,
            // Only `format` has elements of its own.
            4 => {
                self.place = match element.name() {
                    "license" => Place::License,
                    "vendor" => Place::Vendor,
                    "sourcerpm" => Place::SourceRpm,
                    "file" => Place::File,
                    "provides" => Place::List(List::Provides),
                    "requires" => Place::List(List::Requires),
                    "conflicts" => Place::List(List::Conflicts),
                    "obsoletes" => Place::List(List::Obsoletes),
                    "recommends" => Place::List(List::Recommends),
                    "supplements" => Place::List(List::Supplements),
                    _ => Place::Other,
                };
            }
            5 => {
                if let Place::List(list) = self.place
                    && element.name() == "entry"
                {
                    self.add_entry(list, element)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, depth: usize, text: &str) {
        let wanted = !matches!(self.place, Place::Other | Place::List(_));
        if wanted && (depth == 3 || depth == 4) {
            self.text.push_str(text);
        }
    }

    fn close(&mut self, depth: usize) -> Result<(), BadRepodata> {
        match depth {
            2 => self.end_package()?,
            3 | 4 => {
                self.take_text();
                self.place = Place::Other;
            }
            _ => {}
        }
        Ok(())
    }
}

/// One entry of a list of dependencies, as written.
#[derive(Default)]
struct Entry {
    name: String,
    flags: Option<String>,
    epoch: String,
    version: String,
    release: String,
}

impl Entry {
    fn simple(self) -> Result<Dependency, String> {
        if self.name.is_empty() || self.name.chars().any(char::is_control) {
            return Err(format!("`{}` is no name of a dependency", shown(&self.name)));
        }
        let comparison = match self.flags.as_deref() {
            None => return Ok(Dependency::any(self.name)),
            Some("LT") => Comparison::Less,
            Some("LE") => Comparison::LessOrEqual,
            Some("EQ") => Comparison::Equal,
            Some("GE") => Comparison::GreaterOrEqual,
            Some("GT") => Comparison::Greater,
            Some(other) => return Err(format!("`{}`: the comparison `{}`", shown(&self.name), shown(other))),
        };
        if self.version.is_empty() {
            return Ok(Dependency::any(self.name));
        }
        let evr = evr(&self.epoch, &self.version, &self.release)
            .map_err(|problem| format!("`{}`: {problem}", shown(&self.name)))?;
        Ok(Dependency::versioned(self.name, comparison, evr))
    }

    /// The same for lists that may hold boolean expressions.
    fn requirement(self) -> Result<Requirement, String> {
        if self.name.starts_with('(') {
            let parsed = self.name.parse();
            return parsed.map_err(|error: rpm_model::DependencyError| error.to_string());
        }
        self.simple().map(Requirement::Simple)
    }
}

fn evr(epoch: &str, version: &str, release: &str) -> Result<Evr, String> {
    let epoch = if epoch.is_empty() { Ok(0) } else { epoch.parse() };
    let epoch = epoch.map_err(|_| "the epoch is not a number".to_owned())?;
    Ok(Evr::new(epoch, version, Some(release).filter(|release| !release.is_empty())))
}

fn package_evr(epoch: &str, version: &str, release: &str) -> Result<Evr, String> {
    let usable = |text: &str| check_word("version", text).is_ok() && !text.contains('-');
    if !usable(version) || !usable(release) {
        return Err(format!("`{}-{}` is no version", shown(version), shown(release)));
    }
    evr(epoch, version, release)
}

/// Checks a part of a package's identity, which becomes a part of a file name.
fn check_word(what: &str, text: &str) -> Result<(), String> {
    if is_identity_word(text) { Ok(()) } else { Err(format!("`{}` is no {what}", shown(text))) }
}

/// Refuses one file under two names, and one place for two files.
fn refuse_contradictions(packages: &[IndexedPackage]) -> Result<(), BadRepodata> {
    let mut by_content: HashMap<&ContentDigest, &IndexedPackage> = HashMap::with_capacity(packages.len());
    let mut by_place: HashMap<&PathBuf, &IndexedPackage> = HashMap::with_capacity(packages.len());
    for package in packages {
        let refused = |problem| BadRepodata::Package { package: package.header.nevra.to_string(), problem };
        let other = by_content.entry(&package.sha256).or_insert(package);
        if other.header.nevra != package.header.nevra {
            return Err(refused(format!("it has the checksum of {}", other.header.nevra)));
        }
        let other = by_place.entry(&package.path).or_insert(package);
        if other.sha256 != package.sha256 {
            return Err(refused(format!("it has the location of {}", other.header.nevra)));
        }
    }
    Ok(())
}

/// Returns the number of packages that a document's root announces.
pub(super) fn announced(root: &Element<'_>) -> Result<usize, BadRepodata> {
    let count = root.attribute("packages")?;
    let count = count.parse().ok().filter(|count| *count <= MAXIMUM_PACKAGES);
    count.ok_or(BadRepodata::Value { what: "the number of packages" })
}

/// Refuses any other element directly inside the root.
pub(super) fn check_package(element: &Element<'_>) -> Result<(), BadRepodata> {
    match element.name() {
        "package" => Ok(()),
        other => {
            Err(BadRepodata::Xml { message: format!("`{}` stands where only packages may", shown(other)) })
        }
    }
}

fn number(element: &Element<'_>, name: &str) -> Result<Option<u64>, BadRepodata> {
    let mut found = None;
    element.attributes(|key, value| {
        if key == name {
            found = value.parse().ok();
        }
        Ok(())
    })?;
    Ok(found)
}

/// Sorts a list, drops repetitions and room that is not used.
pub(super) fn tidy<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
    list.shrink_to_fit();
}
