//! Reads a repository's packages from its metadata.

use std::collections::HashMap;
use std::path::PathBuf;

use rpm_model::{Comparison, Dependency, Evr, Nevra, PackageHeader, PackageOrigin, Requirement};
use rpmrepo_metadata::visitor::{self, FilelistsVisitor, PrimaryVisitor, RequirementData};
use rpmrepo_metadata::{FileType, RequirementType, utils};

use super::BadRepodata;
use super::compress::decompress;
use super::fetch::{Fetch, FetchError};
use super::repomd::{self, Record};
use crate::error::RepositoryError;
use crate::header::{IndexedPackage, PackageFacts};

/// Used where `repomd.xml` states no size.
const MAXIMUM_PACKED_BYTES: u64 = 1 << 30;
const MAXIMUM_OPEN_BYTES: u64 = 8 << 30;

/// Reads all binary packages of a repository, sorted by NEVRA.
///
/// Sizes and checksums are verified before anything is parsed. [`IndexedPackage::path`] is the package's
/// location relative to the repository.
///
/// # Errors
/// When a file cannot be had, is not what `repomd.xml` says, or does not make sense.
pub fn read_repository(
    fetch: &dyn Fetch,
    origin: PackageOrigin,
) -> Result<Vec<IndexedPackage>, RepositoryError> {
    let reader = Reader { fetch };
    let records = reader.get("repodata/repomd.xml", repomd::MAXIMUM_BYTES)?;
    let records = repomd::parse(&records).map_err(|reason| reader.bad("repodata/repomd.xml", reason))?;
    let (primary, filelists) = rayon::join(
        || reader.document(&records, "primary", "</metadata>"),
        || reader.document(&records, "filelists", "</filelists>"),
    );
    let (primary_name, primary) = primary?;
    let (filelists_name, filelists) = filelists?;
    let mut packages = PackageCollector { origin, current: None, packages: Vec::new(), problem: None };
    let mut xml = utils::create_xml_reader(&primary[..]);
    let announced = visitor::parse_primary(&mut xml, &mut packages)
        .map_err(|error| reader.bad(&primary_name, BadRepodata::Xml { message: error.to_string() }))?;
    let mut packages = packages.finish(announced).map_err(|reason| reader.bad(&primary_name, reason))?;
    let mut files = FileCollector::default();
    let mut xml = utils::create_xml_reader(&filelists[..]);
    visitor::parse_filelists(&mut xml, &mut files)
        .map_err(|error| reader.bad(&filelists_name, BadRepodata::Xml { message: error.to_string() }))?;
    for package in &mut packages {
        if let Some(mut list) = files.lists.remove(package.sha256.as_str()) {
            list.sort_unstable();
            list.dedup();
            package.header.files = list;
        }
    }
    packages.retain(|package| package.header.nevra.arch != "src");
    packages.sort_by(|a, b| (&a.header.nevra, &a.path).cmp(&(&b.header.nevra, &b.path)));
    Ok(packages)
}

struct Reader<'f> {
    fetch: &'f dyn Fetch,
}

impl Reader<'_> {
    /// Fetches, verifies and decompresses one of the files that `repomd.xml` names.
    fn document(
        &self,
        records: &[Record],
        kind: &'static str,
        end: &'static str,
    ) -> Result<(String, Vec<u8>), RepositoryError> {
        let record = records
            .iter()
            .find(|record| record.kind == kind)
            .ok_or_else(|| self.bad("repodata/repomd.xml", BadRepodata::MissingRecord { kind }))?;
        let name = record.location.clone();
        let refuse = |reason| self.bad(&name, reason);
        let packed = self.get(&name, record.size.unwrap_or(MAXIMUM_PACKED_BYTES))?;
        record.checksum.verify("compressed", &packed).map_err(refuse)?;
        let limit = record.open_size.unwrap_or(MAXIMUM_OPEN_BYTES);
        let plain = decompress(&name, &packed, limit).map_err(refuse)?;
        if let Some(open) = &record.open_checksum {
            open.verify("open", &plain).map_err(refuse)?;
        }
        if !plain.trim_ascii_end().ends_with(end.as_bytes()) {
            return Err(refuse(BadRepodata::CutShort { expected: end }));
        }
        Ok((name, plain))
    }

    fn get(&self, name: &str, limit: u64) -> Result<Vec<u8>, RepositoryError> {
        self.fetch.get(name, limit).map_err(|source: FetchError| RepositoryError::Fetch {
            location: self.fetch.location(),
            name: name.to_owned(),
            source,
        })
    }

    fn bad(&self, name: &str, reason: BadRepodata) -> RepositoryError {
        RepositoryError::Repodata { location: format!("{}/{name}", self.fetch.location()), reason }
    }
}

/// Collects the packages of `primary.xml`; the first problem is kept and reported at the end.
struct PackageCollector {
    origin: PackageOrigin,
    current: Option<IndexedPackage>,
    packages: Vec<IndexedPackage>,
    problem: Option<BadRepodata>,
}

impl PackageCollector {
    fn finish(self, announced: usize) -> Result<Vec<IndexedPackage>, BadRepodata> {
        let found = self.packages.len();
        match self.problem {
            Some(problem) => Err(problem),
            None if found != announced => Err(BadRepodata::Count { found, announced }),
            None => Ok(self.packages),
        }
    }

    fn refuse(&mut self, package: &str, problem: String) {
        self.problem.get_or_insert(BadRepodata::Package { package: package.to_owned(), problem });
    }

    /// Adds a simple dependency to the list that `list` picks from the current package.
    fn add_simple(
        &mut self,
        raw: &RequirementData<'_>,
        list: fn(&mut PackageHeader) -> &mut Vec<Dependency>,
    ) {
        match (dependency(raw), &mut self.current) {
            (Ok(dependency), Some(package)) => list(&mut package.header).push(dependency),
            (Err(problem), Some(package)) => {
                let name = package.header.nevra.to_string();
                self.refuse(&name, problem);
            }
            (_, None) => {}
        }
    }

    /// The same for lists that may hold boolean expressions.
    fn add_requirement(
        &mut self,
        raw: &RequirementData<'_>,
        list: fn(&mut PackageHeader) -> &mut Vec<Requirement>,
    ) {
        let requirement = if raw.name.starts_with('(') {
            raw.name.parse().map_err(|error: rpm_model::DependencyError| error.to_string())
        } else {
            dependency(raw).map(Requirement::Simple)
        };
        match (requirement, &mut self.current) {
            (Ok(requirement), Some(package)) => list(&mut package.header).push(requirement),
            (Err(problem), Some(package)) => {
                let name = package.header.nevra.to_string();
                self.refuse(&name, problem);
            }
            (_, None) => {}
        }
    }
}

fn dependency(raw: &RequirementData<'_>) -> Result<Dependency, String> {
    let comparison = match raw.flags {
        Some(RequirementType::LT) => Comparison::Less,
        Some(RequirementType::LE) => Comparison::LessOrEqual,
        Some(RequirementType::EQ) => Comparison::Equal,
        Some(RequirementType::GE) => Comparison::GreaterOrEqual,
        Some(RequirementType::GT) => Comparison::Greater,
        None => return Ok(Dependency::any(raw.name)),
    };
    let Some(version) = raw.version.filter(|version| !version.is_empty()) else {
        return Ok(Dependency::any(raw.name));
    };
    let evr = evr(raw.epoch.unwrap_or_default(), version, raw.release.unwrap_or_default())
        .map_err(|problem| format!("`{}`: {problem}", raw.name))?;
    Ok(Dependency::versioned(raw.name, comparison, evr))
}

fn evr(epoch: &str, version: &str, release: &str) -> Result<Evr, String> {
    let epoch = if epoch.is_empty() { Ok(0) } else { epoch.parse() };
    let epoch = epoch.map_err(|_| "the epoch is not a number".to_owned())?;
    Ok(Evr::new(epoch, version, Some(release).filter(|release| !release.is_empty())))
}

impl PrimaryVisitor for PackageCollector {
    fn begin_package(&mut self, name: &str, arch: &str, checksum_type: &str, pkgid: &str) {
        let sha256 = if checksum_type == "sha256" { pkgid.parse().ok() } else { None };
        let Some(sha256) = sha256 else {
            self.refuse(name, format!("its checksum is not a sha256 (type `{checksum_type}`)"));
            return;
        };
        let nevra = Nevra::new(name, Evr::new(0, "", None), arch);
        self.current = Some(IndexedPackage {
            header: PackageHeader {
                nevra,
                source_rpm: None,
                provides: Vec::new(),
                requires: Vec::new(),
                conflicts: Vec::new(),
                obsoletes: Vec::new(),
                recommends: Vec::new(),
                supplements: Vec::new(),
                files: Vec::new(),
            },
            facts: PackageFacts::default(),
            sha256,
            size: 0,
            path: PathBuf::new(),
            origin: self.origin,
        });
    }

    fn set_evr(&mut self, epoch: &str, version: &str, release: &str) {
        let Some(package) = &mut self.current else { return };
        match evr(epoch, version, release) {
            Ok(evr) if !version.is_empty() && evr.release.is_some() => package.header.nevra.evr = evr,
            _ => {
                let name = package.header.nevra.name.clone();
                self.refuse(&name, format!("`{epoch}:{version}-{release}` is no version"));
            }
        }
    }

    fn set_summary(&mut self, summary: &str) {
        self.facts(|facts| facts.summary = summary.to_owned());
    }

    fn set_url(&mut self, url: &str) {
        self.facts(|facts| facts.url = url.to_owned());
    }

    fn set_time(&mut self, _: u64, build: u64) {
        self.facts(|facts| facts.build_time = build);
    }

    fn set_size(&mut self, package: u64, installed: u64, _: u64) {
        self.facts(|facts| facts.installed_size = installed);
        if let Some(current) = &mut self.current {
            current.size = package;
        }
    }

    fn set_location(&mut self, href: &str, base: Option<&str>) {
        if let Some(package) = &mut self.current {
            package.path = base.map_or_else(PathBuf::new, PathBuf::from).join(href);
        }
    }

    fn set_rpm_license(&mut self, license: &str) {
        self.facts(|facts| facts.license = license.to_owned());
    }

    fn set_rpm_vendor(&mut self, vendor: &str) {
        self.facts(|facts| facts.vendor = vendor.to_owned());
    }

    fn set_rpm_sourcerpm(&mut self, source_rpm: &str) {
        if let Some(package) = &mut self.current {
            package.header.source_rpm = Some(source_rpm.to_owned()).filter(|name| !name.is_empty());
        }
    }

    fn add_provide(&mut self, raw: RequirementData<'_>) {
        self.add_simple(&raw, |header| &mut header.provides);
    }

    fn add_require(&mut self, raw: RequirementData<'_>) {
        if !raw.name.starts_with("rpmlib(") {
            self.add_requirement(&raw, |header| &mut header.requires);
        }
    }

    fn add_conflict(&mut self, raw: RequirementData<'_>) {
        self.add_requirement(&raw, |header| &mut header.conflicts);
    }

    fn add_obsolete(&mut self, raw: RequirementData<'_>) {
        self.add_simple(&raw, |header| &mut header.obsoletes);
    }

    fn add_recommend(&mut self, raw: RequirementData<'_>) {
        self.add_requirement(&raw, |header| &mut header.recommends);
    }

    fn add_supplement(&mut self, raw: RequirementData<'_>) {
        self.add_requirement(&raw, |header| &mut header.supplements);
    }

    fn end_package(&mut self) {
        let Some(mut package) = self.current.take() else { return };
        let header = &mut package.header;
        for list in [&mut header.provides, &mut header.obsoletes] {
            list.sort();
            list.dedup();
        }
        for list in
            [&mut header.requires, &mut header.conflicts, &mut header.recommends, &mut header.supplements]
        {
            list.sort();
            list.dedup();
        }
        self.packages.push(package);
    }
}

impl PackageCollector {
    fn facts(&mut self, set: impl FnOnce(&mut PackageFacts)) {
        if let Some(package) = &mut self.current {
            set(&mut package.facts);
        }
    }
}

/// Collects the paths of `filelists.xml` by package checksum.
#[derive(Default)]
struct FileCollector {
    current: Option<(String, Vec<String>)>,
    lists: HashMap<String, Vec<String>>,
}

impl FilelistsVisitor for FileCollector {
    fn begin_package(&mut self, pkgid: &str, _: &str, _: &str) {
        self.current = Some((pkgid.to_owned(), Vec::new()));
    }

    fn add_file(&mut self, _: FileType, path: &str) {
        if let Some((_, list)) = &mut self.current {
            list.push(path.to_owned());
        }
    }

    fn end_package(&mut self) {
        self.lists.extend(self.current.take());
    }
}
