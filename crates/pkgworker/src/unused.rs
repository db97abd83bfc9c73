//! Which build requirements a build had no use for, as far as opened files tell.
//!
//! The build runs while the kernel reports every file of the root that is opened or executed. A
//! build requirement counts as used when one of these files belongs to a package that provides it, or to a
//! package that only it pulled in. The kernel tells where a symbolic link led, not the link; so a link counts as
//! opened when what it leads to was (`/usr/bin/gcc` is a link of another package than the compiler). Not so
//! `libz.so` where the library is of the core of every root: that is opened in every build, by the core's programs.
//!
//! What this cannot see: files that are only looked at (`stat`, `access`, a directory listing), a package that matters
//! by being absent or present for a configuration test that opens nothing, and what only other architectures or
//! conditions read. So it is a hint for a packager, not a proof.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use buildroot::OpenedFiles;
use repository::{IndexedPackage, ProviderIndex, read_contents, read_package, read_source_header};
use rpm_model::{
    ContentDigest, Dependency, JobDocument, Outcome, Requirement, ResultDocument, TuningMode,
    UnusedRequirement,
};
use serde::Serialize;

use crate::build::{Host, build_recorded};
use crate::error::WorkerError;
use crate::refused::refused;

/// The answer about one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnusedReport {
    /// This code writes [`UnusedReport::SCHEMA`].
    pub schema: u32,
    /// The package.
    pub package: String,
    /// How many build requirements it has.
    pub requirements: usize,
    /// Those that nothing was opened of, sorted.
    pub unused: Vec<UnusedRequirement>,
    /// How many files of the root were opened.
    pub opened_files: usize,
}

/// How the question ended.
#[derive(Clone, Debug)]
pub enum UnusedAnswer {
    /// The build went well, and this is the report.
    Report(UnusedReport),
    /// The build did not end well, so what it did not open says nothing.
    BuildFailed(Outcome),
    /// This host or this user cannot watch a root.
    Unavailable {
        /// Why, in words.
        message: String,
    },
}

impl UnusedReport {
    /// The schema that this code writes.
    pub const SCHEMA: u32 = 1;
}

/// Builds a job while watching its root, and returns its result and what nothing was opened of. Without stand-ins for
/// rpmbuild's scripts, which would spare it from opening what these call.
pub fn build_and_find_unused(
    job: &JobDocument,
    host: &Host<'_>,
) -> Result<(ResultDocument, UnusedAnswer), WorkerError> {
    let job = JobDocument { tuning: TuningMode::Off, ..job.clone() };
    let (result, opened) = match build_recorded(&job, host) {
        Ok(built) => built,
        Err(error) => (refused(&job, host, error)?, OpenedFiles::NotAsked),
    };
    let answer = match &result.outcome {
        Outcome::Succeeded => answer(&job, opened)?,
        outcome => UnusedAnswer::BuildFailed(outcome.clone()),
    };
    Ok((result, answer))
}

/// Returns what the opened files say about a build that went well.
fn answer(job: &JobDocument, opened: OpenedFiles) -> Result<UnusedAnswer, WorkerError> {
    let paths = match opened {
        OpenedFiles::Recorded { paths } => paths,
        OpenedFiles::Unavailable { message } => return Ok(UnusedAnswer::Unavailable { message }),
        OpenedFiles::NotAsked => {
            return Ok(UnusedAnswer::Unavailable { message: "the root was not watched".to_owned() });
        }
    };
    let source = read_source_header(Path::new(&job.srpm_path))?;
    let locked = job.lock.packages();
    let packages: Vec<IndexedPackage> = locked
        .iter()
        .map(|package| read_package(Path::new(&package.path), package.origin))
        .collect::<Result<_, _>>()?;
    let mut links = BTreeMap::new();
    for package in locked {
        let files = read_contents(Path::new(&package.path))?.files;
        links.extend(
            files.into_iter().filter(|file| !file.link.is_empty()).map(|file| (file.path, file.link)),
        );
    }
    let core = packages.iter().filter(|package| job.common.contains(&package.sha256));
    let core: BTreeSet<String> = core.flat_map(|package| package.header.files.iter().cloned()).collect();
    let opened = with_links(&paths, &links, &core);
    let unused = unused_requirements(&source.build_requires, &packages, &job.common, &opened);
    Ok(UnusedAnswer::Report(UnusedReport {
        schema: UnusedReport::SCHEMA,
        package: job.package.clone(),
        requirements: source.build_requires.len(),
        unused,
        opened_files: paths.len(),
    }))
}

/// Returns the requirements of which no opened file tells, sorted. `core` is in every root anyway.
fn unused_requirements(
    requirements: &[Requirement],
    packages: &[IndexedPackage],
    core: &BTreeSet<ContentDigest>,
    opened: &BTreeSet<String>,
) -> Vec<UnusedRequirement> {
    let root = Root::new(packages);
    let used: BTreeSet<usize> = (0..packages.len())
        .filter(|number| packages[*number].header.files.iter().any(|file| is_opened(file, opened)))
        .collect();
    let in_core: BTreeSet<usize> =
        (0..packages.len()).filter(|number| core.contains(&packages[*number].sha256)).collect();
    let providers: Vec<BTreeSet<usize>> =
        requirements.iter().map(|requirement| root.providers(requirement)).collect();
    let all = root.reach(providers.iter().flatten().chain(&in_core).copied());
    let mut unused = Vec::new();
    for (place, requirement) in requirements.iter().enumerate() {
        let others = providers.iter().enumerate().filter(|(other, _)| *other != place);
        let without = root.reach(others.flat_map(|(_, set)| set).chain(&in_core).copied());
        let mut own: BTreeSet<usize> = all.difference(&without).copied().collect();
        own.extend(&providers[place]);
        if !own.is_empty() && own.is_disjoint(&used) {
            let packages = own.iter().map(|number| packages[*number].header.nevra.to_string()).collect();
            unused.push(UnusedRequirement { requirement: requirement.to_string(), packages });
        }
    }
    unused.sort();
    unused
}

/// Returns the opened paths and the links that lead to them; of links for linking not those to a file of the `core`.
fn with_links(
    opened: &BTreeSet<String>,
    links: &BTreeMap<String, String>,
    core: &BTreeSet<String>,
) -> BTreeSet<String> {
    let leads_there = |link: &&String| {
        let mut path = (*link).clone();
        // As many steps as the kernel takes.
        for _ in 0..40 {
            let Some(target) = links.get(&path) else { break };
            path = target_of(&path, target);
        }
        is_opened(&path, opened) && !(link.ends_with(".so") && is_opened(&path, core))
    };
    opened.iter().chain(links.keys().filter(leads_there)).cloned().collect()
}

/// Returns the absolute path that a link leads to.
fn target_of(link: &str, target: &str) -> String {
    let directory = link.rsplit_once('/').map_or("", |(directory, _)| directory);
    let start = if target.starts_with('/') { "" } else { directory };
    let mut parts: Vec<&str> = Vec::new();
    for part in start.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Whether a file is among those that were opened, or that a root has. A package may list `/lib/x` where the root, whose
/// `/lib` is a link, has `/usr/lib/x`.
fn is_opened(file: &str, opened: &BTreeSet<String>) -> bool {
    opened.contains(file) || (!file.starts_with("/usr/") && opened.contains(&format!("/usr{file}")))
}

/// The packages of a root, and which of them need which.
struct Root<'a> {
    index: ProviderIndex<'a>,
    numbers: BTreeMap<&'a ContentDigest, usize>,
    needs: Vec<BTreeSet<usize>>,
}

impl<'a> Root<'a> {
    fn new(packages: &'a [IndexedPackage]) -> Self {
        let index = ProviderIndex::new(packages);
        let numbers = packages.iter().enumerate().map(|(number, one)| (&one.sha256, number)).collect();
        let mut root = Self { index, numbers, needs: Vec::new() };
        root.needs = packages
            .iter()
            .map(|one| one.header.requires.iter().flat_map(|need| root.providers(need)).collect())
            .collect();
        root
    }

    fn providers(&self, requirement: &Requirement) -> BTreeSet<usize> {
        let found = |leaf: &Dependency| -> Vec<usize> {
            let providers = self.index.providers(leaf);
            providers.into_iter().filter_map(|one| self.numbers.get(&one.sha256).copied()).collect()
        };
        requirement.leaves().into_iter().flat_map(found).collect()
    }

    /// Returns these packages and all that they need.
    fn reach(&self, from: impl Iterator<Item = usize>) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut pending: Vec<usize> = from.collect();
        while let Some(number) = pending.pop() {
            if reached.insert(number) {
                pending.extend(&self.needs[number]);
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repository::PackageFacts;
    use rpm_model::{PackageHeader, PackageOrigin};

    fn package(name: &str, requires: &[&str], file: &str) -> IndexedPackage {
        IndexedPackage {
            header: PackageHeader {
                nevra: format!("{name}-1-1.noarch").parse().unwrap(),
                source_rpm: None,
                provides: vec![Dependency::any(name)],
                requires: requires.iter().map(|need| Dependency::any(*need).into()).collect(),
                conflicts: Vec::new(),
                obsoletes: Vec::new(),
                recommends: Vec::new(),
                supplements: Vec::new(),
                files: vec![file.to_owned()],
            },
            facts: PackageFacts::default(),
            sha256: ContentDigest::of_bytes(name.as_bytes()),
            size: 0,
            path: Default::default(),
            origin: PackageOrigin::Tree,
        }
    }

    #[track_caller]
    fn check(opened: &[&str], expected: &[&str]) {
        let packages = [
            package("core", &[], "/usr/bin/sh"),
            package("z-devel", &["z"], "/usr/include/z.h"),
            package("z", &["shared"], "/usr/lib/libz.so"),
            package("tool", &["shared"], "/usr/bin/tool"),
            package("shared", &[], "/usr/lib/shared"),
        ];
        let core = BTreeSet::from([packages[0].sha256.clone()]);
        let requirements: Vec<Requirement> =
            ["core", "tool", "z-devel"].map(|name| Dependency::any(name).into()).to_vec();
        let opened = opened.iter().map(|path| (*path).to_owned()).collect();
        let unused = unused_requirements(&requirements, &packages, &core, &opened);
        let names: Vec<&str> = unused.iter().map(|one| one.requirement.as_str()).collect();
        assert_eq!(names, expected, "{opened:?}");
    }

    #[test]
    fn a_requirement_is_used_by_its_own_package_or_by_one_that_only_it_pulls_in() {
        check(&[], &["core", "tool", "z-devel"]);
        check(&["/usr/bin/sh", "/usr/bin/tool", "/usr/include/z.h"], &[]);
        check(&["/usr/lib/libz.so"], &["core", "tool"]);
        // Both pull it in, so it speaks for neither.
        check(&["/usr/lib/shared"], &["core", "tool", "z-devel"]);
    }

    #[test]
    fn a_link_is_opened_when_what_it_leads_to_is() {
        let links = [
            ("/usr/bin/gcc", "gcc-12"),
            ("/usr/bin/gcc-12", "../lib/gcc/driver"),
            ("/usr/bin/other", "/usr/lib/other"),
            ("/usr/bin/round", "round"),
            ("/usr/lib/libz.so", "libz.so.1"),
            ("/usr/lib/libz.so.1", "libz.so.1.2"),
            ("/usr/lib/liby.so", "liby.so.1"),
        ];
        let links = links.map(|(link, target)| (link.to_owned(), target.to_owned())).into_iter().collect();
        let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<BTreeSet<String>>();
        let opened = ["/usr/lib/gcc/driver", "/usr/lib/libz.so.1.2", "/usr/lib/liby.so.1"];
        // Every build opens the core's library; that says nothing of who links with it.
        let core = set(&["/usr/lib/libz.so.1.2", "/usr/lib/gcc/driver"]);
        let mut expected = set(&opened);
        expected.extend(set(&["/usr/bin/gcc", "/usr/bin/gcc-12", "/usr/lib/liby.so", "/usr/lib/libz.so.1"]));
        assert_eq!(with_links(&set(&opened), &links, &core), expected);
    }

    #[test]
    fn paths_below_a_merged_usr_are_the_same() {
        let opened = BTreeSet::from(["/usr/lib/x".to_owned()]);
        assert!(is_opened("/lib/x", &opened) && is_opened("/usr/lib/x", &opened));
        assert!(!is_opened("/x", &opened));
    }
}
