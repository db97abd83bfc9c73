//! A repository made of what specs declare: real RPM files without content, and metadata by our own writer, so that
//! dnf and Millwright read the same.
//!
//! What a spec declares is not all that its packages will say: generators add `pkgconfig(x)`, sonames and the
//! like. [`completed`] makes these up, the same for the same seed, so that build requirements can be satisfied and
//! packages require about as much as built ones do; [`scaled`] adds older versions and other packages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Component, Path, PathBuf};

use fastrand::Rng;
use repository::{IndexedPackage, PackageDirectory, RepodataWriter};
use rpm_model::{Dependency, Evr, PackageHeader, PackageOrigin, PackagesDocument, Requirement, SpecPackage};
use rpm_writer::{FileEntry, Package, Payload};

use crate::error::BenchError;

/// How many libraries are needed by many, and in how many of a hundred cases one of them is.
const POPULAR: usize = 25;
const POPULAR_PERCENT: u8 = 97;

/// The packages that the tree's specs declare for its architecture, sorted; of two of one identity the first.
pub(super) fn declared(document: &PackagesDocument) -> Vec<PackageHeader> {
    let built = document.specs.iter().filter(|spec| spec.builds_on(&document.arch));
    let mut headers: Vec<PackageHeader> = built
        .flat_map(|spec| {
            let source = format!("{}.rpm", spec.source.nvra());
            spec.packages.iter().map(move |package| header(package, &source))
        })
        .collect();
    headers.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    headers.dedup_by(|a, b| a.nevra == b.nevra);
    headers
}

fn header(package: &SpecPackage, source: &str) -> PackageHeader {
    // A glob names no file that could be required.
    let files =
        package.files.iter().filter(|file| !file.excluded && !file.path.contains(['*', '?', '[', '{']));
    let files: BTreeSet<String> = files.filter_map(|file| normalised(&file.path)).collect();
    let own = |requirement: &&Requirement| !requirement.to_string().starts_with("rpmlib(");
    PackageHeader {
        nevra: package.nevra.clone(),
        source_rpm: Some(source.to_owned()),
        provides: package.provides.clone(),
        requires: package.requires.iter().filter(own).cloned().collect(),
        conflicts: package.conflicts.clone(),
        obsoletes: package.obsoletes.clone(),
        recommends: package.recommends.clone(),
        supplements: package.supplements.clone(),
        files: files.into_iter().collect(),
    }
}

/// Returns a path as packages carry it, without `//` and a `/` at its end.
fn normalised(path: &str) -> Option<String> {
    let components = || Path::new(path).components();
    let plain = components().skip(1).all(|part| matches!(part, Component::Normal(_)));
    let path = components().collect::<PathBuf>();
    path.to_str().filter(|path| plain && path.len() > 1).map(str::to_owned)
}

/// Writes packages as RPM files with their metadata, and reads them back.
pub(super) fn write(headers: &[PackageHeader], directory: &Path) -> Result<Vec<IndexedPackage>, BenchError> {
    fs::create_dir_all(directory).map_err(BenchError::io("create", directory))?;
    for header in headers {
        let path = directory.join(header.nevra.file_name());
        let bytes = package_bytes(header)
            .map_err(|source| BenchError::WriteSynthetic { package: header.nevra.to_string(), source })?;
        fs::write(&path, bytes).map_err(BenchError::io("write", &path))?;
    }
    publish(directory)
}

/// Reads a directory of packages and writes its metadata.
pub(super) fn publish(directory: &Path) -> Result<Vec<IndexedPackage>, BenchError> {
    let mut scan = PackageDirectory::new(directory, PackageOrigin::Tree).scan()?;
    if !scan.failures.is_empty() {
        return Err(scan.failures.remove(0).into());
    }
    RepodataWriter::new(directory).publish(&scan.packages)?;
    Ok(scan.packages)
}

/// Returns a package file of empty files.
pub(crate) fn package_bytes(header: &PackageHeader) -> Result<Vec<u8>, rpm_writer::WriteError> {
    let evr = &header.nevra.evr;
    let release = evr.release.as_deref().unwrap_or_default();
    let mut package = Package::new(&header.nevra.name, &evr.version, release, &header.nevra.arch);
    package.epoch = (evr.epoch != 0).then_some(evr.epoch);
    let simple = |list: &[Dependency]| -> Vec<rpm_writer::Dependency> {
        list.iter().map(|one| rpm_writer::Dependency::parse(&one.to_string())).collect()
    };
    let any = |list: &[Requirement]| -> Vec<rpm_writer::Dependency> {
        list.iter().map(|one| rpm_writer::Dependency::parse(&one.to_string())).collect()
    };
    package.provides = simple(&header.provides);
    package.requires = any(&header.requires);
    package.conflicts = any(&header.conflicts);
    package.obsoletes = simple(&header.obsoletes);
    package.recommends = any(&header.recommends);
    package.supplements = any(&header.supplements);
    let files = header.files.iter().map(|path| FileEntry::file(path, 0o644, "")).collect();
    package.to_bytes(&Payload::pack(files)?)
}

/// Adds what generators would: whatever specs require and nothing declares, a library of each package of the
/// architecture, and requirements on libraries, eight to twenty a package with binaries (symbol versions counted).
pub(crate) fn completed(document: &PackagesDocument, seed: u64) -> Vec<PackageHeader> {
    let mut headers = declared(document);
    let mut random = Rng::with_seed(seed);
    let wanted = missing_names(document, &headers);
    let peaceful = peaceful(&headers);
    let places: HashMap<String, usize> =
        (0..).zip(&headers).map(|(place, header)| (header.nevra.name.to_ascii_lowercase(), place)).collect();
    for name in wanted {
        let usual = usual_packages(&name).into_iter().find_map(|package| places.get(&package).copied());
        let place = usual.or_else(|| random.choice(&peaceful).copied());
        if let Some(place) = place {
            headers[place].provides.push(Dependency::any(name));
        }
    }
    add_libraries(&mut headers, &peaceful, &document.arch, &mut random);
    for header in &mut headers {
        header.provides.sort();
        header.provides.dedup();
        header.requires.sort();
        header.requires.dedup();
    }
    headers
}

/// Returns the places of packages that can be beside any other and whose own requirements lead only to such: what is
/// made up must not make real packages impossible.
fn peaceful(headers: &[PackageHeader]) -> Vec<usize> {
    let mut avoided: BTreeSet<&str> = BTreeSet::new();
    let mut versions: HashMap<&str, usize> = HashMap::new();
    let mut providers: HashMap<&str, Vec<(usize, &Dependency)>> = HashMap::new();
    for (place, header) in headers.iter().enumerate() {
        let conflicts = header.conflicts.iter().flat_map(Requirement::leaves);
        avoided.extend(conflicts.chain(&header.obsoletes).map(|one| one.name.as_str()));
        *versions.entry(&header.nevra.name).or_default() += 1;
        for provide in &header.provides {
            providers.entry(&provide.name).or_default().push((place, provide));
        }
    }
    let quiet = |header: &PackageHeader| {
        header.conflicts.is_empty()
            && header.obsoletes.is_empty()
            && versions[header.nevra.name.as_str()] == 1
            && !header.provides.iter().any(|provide| avoided.contains(provide.name.as_str()))
    };
    let mut good: Vec<bool> = headers.iter().map(quiet).collect();
    loop {
        let served = |leaf: &Dependency| {
            let list = providers.get(leaf.name.as_str());
            // What nothing declares will be made up.
            list.is_none_or(|list| list.iter().any(|(place, provide)| good[*place] && provide.overlaps(leaf)))
        };
        let bad: Vec<usize> = (0..headers.len())
            .filter(|place| good[*place])
            .filter(|place| !headers[*place].requires.iter().flat_map(Requirement::leaves).all(served))
            .collect();
        if bad.is_empty() {
            return (0..headers.len()).filter(|place| good[*place]).collect();
        }
        bad.into_iter().for_each(|place| good[place] = false);
    }
}

/// Returns the names that something requires and nothing declares, sorted.
fn missing_names(document: &PackagesDocument, headers: &[PackageHeader]) -> BTreeSet<String> {
    let build = document.specs.iter().flat_map(|spec| &spec.build_requires);
    let run = headers.iter().flat_map(|header| &header.requires);
    let mut wanted: BTreeSet<String> =
        build.chain(run).flat_map(Requirement::leaves).map(|leaf| leaf.name.clone()).collect();
    for header in headers {
        header.provides.iter().for_each(|provide| {
            wanted.remove(&provide.name);
        });
        header.files.iter().for_each(|file| {
            wanted.remove(file);
        });
    }
    wanted
}

/// Returns lower-case names of packages that usually provide a generated capability.
fn usual_packages(capability: &str) -> Vec<String> {
    let lower = capability.to_ascii_lowercase();
    if lower.starts_with('/') {
        return lower.rsplit('/').next().map(str::to_owned).into_iter().collect();
    }
    let Some((kind, rest)) = lower.split_once('(') else { return Vec::new() };
    let inner = rest.split(')').next().unwrap_or_default();
    match kind {
        "pkgconfig" | "cmake" => {
            vec![format!("{inner}-devel"), format!("lib{inner}-devel"), inner.to_owned()]
        }
        "perl" => vec![format!("perl-{}", inner.replace("::", "-")), "perl-interpreter".to_owned()],
        kind if kind.starts_with("python3") => vec![format!("python3-{inner}")],
        kind => vec![format!("{kind}-{inner}"), inner.to_owned()],
    }
}

/// Lets packages provide libraries and require those of others: of earlier ones, mostly of the first few, which are
/// packages that require little, so that a library's own closure stays as small as real ones are.
fn add_libraries(headers: &mut [PackageHeader], peaceful: &[usize], arch: &str, random: &mut Rng) {
    let no_binaries = ["-devel", "-doc", "-debuginfo", "-static", "-lang", "-tests", "-help"];
    let has_binaries = |header: &PackageHeader| {
        header.nevra.arch == arch && !no_binaries.iter().any(|ending| header.nevra.name.ends_with(ending))
    };
    let mut libraries: Vec<usize> =
        peaceful.iter().copied().filter(|place| has_binaries(&headers[*place])).collect();
    random.shuffle(&mut libraries);
    libraries.sort_by_key(|place| headers[*place].requires.len());
    let sonames: Vec<Soname> = libraries
        .iter()
        .map(|place| {
            let name = format!("lib{}.so.1", headers[*place].nevra.name.trim_start_matches("lib"));
            Soname { name, versions: random.usize(1..=9) }
        })
        .collect();
    for (place, soname) in libraries.iter().zip(&sonames) {
        let provides = (0..=soname.versions).map(|version| Dependency::any(soname.capability(version)));
        headers[*place].provides.extend(provides);
    }
    let ranks: HashMap<usize, usize> = libraries.iter().copied().zip(0..).collect();
    for (place, header) in headers.iter_mut().enumerate().filter(|(_, header)| has_binaries(header)) {
        let rank = ranks.get(&place).copied().unwrap_or(libraries.len());
        let wanted = random.usize(8..=20);
        while header.requires.len() < wanted && rank > 0 {
            let popular = random.u8(..100) < POPULAR_PERCENT;
            let soname = &sonames[random.usize(..if popular { rank.min(POPULAR) } else { rank })];
            let version = random.usize(0..=soname.versions);
            header.requires.push(Dependency::any(soname.capability(version)).into());
        }
    }
}

/// A made-up library.
struct Soname {
    name: String,
    /// How many symbol versions it has.
    versions: usize,
}

impl Soname {
    /// Returns a symbol version as a capability; version 0 is the library itself.
    fn capability(&self, version: usize) -> String {
        let symbols = if version == 0 { String::new() } else { format!("V_{version}") };
        format!("{}({symbols})(64bit)", self.name)
    }
}

/// Takes packages away, or adds some, until there are `count`; those at `kept` stay.
///
/// What is added are in turn older versions of all packages, and packages of other names that lean on each other and
/// on the first ones.
pub(super) fn scaled(
    base: &[PackageHeader],
    kept: &BTreeSet<usize>,
    count: usize,
    seed: u64,
) -> Vec<PackageHeader> {
    let mut random = Rng::with_seed(seed);
    let mut others: Vec<usize> = (0..base.len()).filter(|place| !kept.contains(place)).collect();
    random.shuffle(&mut others);
    let places = kept.iter().copied().chain(others).take(count);
    let mut headers: Vec<PackageHeader> = places.map(|place| base[place].clone()).collect();
    for generation in 1.. {
        let missing = count.saturating_sub(headers.len());
        if missing == 0 {
            break;
        }
        let copies = base.iter().take(missing).map(|header| match generation % 2 {
            1 => older(header, generation),
            _ => renamed(header, generation, &mut random),
        });
        headers.extend(copies.collect::<Vec<_>>());
    }
    headers
}

/// The package in an older version, with siblings of the same.
fn older(header: &PackageHeader, generation: u32) -> PackageHeader {
    let mut copy = header.clone();
    let evr = &header.nevra.evr;
    let old = Evr::new(evr.epoch, format!("0~{generation}.{}", evr.version), evr.release.as_deref());
    let lower = |dependency: &mut Dependency| {
        if let Some(constraint) = &mut dependency.constraint
            && (constraint.evr == *evr || constraint.evr.version == evr.version)
        {
            let release = constraint.evr.release.clone();
            constraint.evr = Evr::new(constraint.evr.epoch, &old.version, release.as_deref());
        }
    };
    copy.provides.iter_mut().for_each(lower);
    for requirement in &mut copy.requires {
        if let Requirement::Simple(dependency) = requirement {
            lower(dependency);
        }
    }
    copy.nevra.evr = old;
    copy
}

/// A package of another name with capabilities of other names; half of its requirements lead to the first packages.
fn renamed(header: &PackageHeader, generation: u32, random: &mut Rng) -> PackageHeader {
    let mut copy = header.clone();
    let other = |name: &str| format!("{name}-g{generation}");
    copy.nevra.name = other(&header.nevra.name);
    copy.provides.iter_mut().chain(&mut copy.obsoletes).for_each(|one| one.name = other(&one.name));
    copy.conflicts.clear();
    copy.files.clear();
    for requirement in &mut copy.requires {
        if let Requirement::Simple(dependency) = requirement
            && !dependency.name.starts_with('/')
            && random.bool()
        {
            dependency.name = other(&dependency.name);
        }
    }
    copy
}

/// Counts of a repository, for the reader of a table.
pub(super) fn words(packages: &[IndexedPackage]) -> String {
    let sum = |count: fn(&PackageHeader) -> usize| -> usize {
        packages.iter().map(|package| count(&package.header)).sum()
    };
    let counts: BTreeMap<&str, usize> = [
        ("provides", sum(|header| header.provides.len())),
        ("requires", sum(|header| header.requires.len())),
        ("conflicts", sum(|header| header.conflicts.len())),
        ("obsoletes", sum(|header| header.obsoletes.len())),
        ("files", sum(|header| header.files.len())),
    ]
    .into();
    let counts: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    format!("{} packages with {}", packages.len(), counts.join(", "))
}
