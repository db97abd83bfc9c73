//! Which packages from outside the tree the builds of an order need, before anything is built.
//!
//! Each build root is resolved as it will be when its turn comes. A spec of the tree that was never built
//! stands there with the packages that it declares; to what it declares is added what the graph counts on,
//! such as a `pkgconfig(x)` that only the build will show. What its packages will require besides, sonames for
//! example, is not known yet; but what they are linked with is in their own build root and so is found there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use grapher::{DependencyGraph, Node};
use rayon::prelude::*;
use repository::{IndexedPackage, PackageFacts};
use rpm_model::{
    Comparison, ContentDigest, Dependency, LockedPackage, Nevra, PackageHeader, PackageOrigin, SpecData,
    SpecPackage,
};

use crate::session::{Chosen, Graphed, Session};
use crate::universe::RootRequest;

/// What builds need from repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExternalNeeds {
    /// Packages of staging, live and base repositories, sorted.
    pub packages: Vec<LockedPackage>,
    /// Specs whose build root cannot be made up, and why.
    pub unresolved: BTreeMap<String, String>,
}

impl Session<'_> {
    /// Returns what the build roots of an order need from staging, live and base repositories.
    pub fn external_needs(&self, graphed: Graphed, chosen: &Chosen) -> ExternalNeeds {
        let Graphed { graph, mut universe, .. } = graphed;
        let specs: BTreeMap<&str, &SpecData> =
            self.document.specs.iter().map(|spec| (spec.name.as_str(), spec)).collect();
        let counted_on = counted_on(&graph);
        for step in &chosen.order.steps {
            if let Some(spec) = specs.get(step.spec.as_str())
                && !universe.has_packages_of(&step.spec)
            {
                let packages = spec.packages.iter().map(|package| expected(package, &counted_on)).collect();
                universe.replace(&step.spec, packages);
            }
        }
        let checked: BTreeSet<&str> = specs
            .values()
            .filter(|spec| (self.limits)(&spec.name).run_check && spec.has_check)
            .map(|spec| spec.name.as_str())
            .collect();
        let worker = self.worker;
        let resolve = |step: &grapher::BuildStep| -> Result<Vec<LockedPackage>, (String, String)> {
            let obstacles = step.obstacles();
            if !obstacles.is_empty() {
                let words: Vec<String> = obstacles.iter().map(ToString::to_string).collect();
                return Err((step.spec.clone(), words.join("; ")));
            }
            let Some(spec) = specs.get(step.spec.as_str()) else { return Ok(Vec::new()) };
            let request = RootRequest {
                requirements: spec.requirements(checked.contains(spec.name.as_str())),
                conflicts: &spec.build_conflicts,
                core: worker.core.packages(),
                specs: &chosen.order.closure(&step.spec),
                arch: &worker.arch,
            };
            let root = universe.resolve(&request).map_err(|explanation| (step.spec.clone(), explanation))?;
            let from_repository = |package: &&LockedPackage| {
                matches!(package.origin, PackageOrigin::Staging | PackageOrigin::Live | PackageOrigin::Base)
            };
            Ok(root.lock.packages().iter().filter(from_repository).cloned().collect())
        };
        let results: Vec<_> = chosen.order.steps.par_iter().map(resolve).collect();
        let mut packages = BTreeSet::new();
        let mut unresolved = BTreeMap::new();
        for result in results {
            match result {
                Ok(needed) => packages.extend(needed),
                Err((spec, reason)) => _ = unresolved.insert(spec, reason),
            }
        }
        ExternalNeeds { packages: packages.into_iter().collect(), unresolved }
    }
}

/// Returns what the graph counts on each package of the tree to provide.
fn counted_on(graph: &DependencyGraph) -> BTreeMap<&Nevra, BTreeSet<&Dependency>> {
    let graph = graph.graph();
    let mut found: BTreeMap<&Nevra, BTreeSet<&Dependency>> = BTreeMap::new();
    for edge in graph.edge_indices() {
        if let (Some((_, target)), Some(edge)) = (graph.edge_endpoints(edge), graph.edge_weight(edge))
            && let Some(Node::Run { package, .. }) = graph.node_weight(target)
            && let Some(leaf) = &edge.leaf
        {
            found.entry(package).or_default().insert(leaf);
        }
    }
    found
}

/// Returns a package as its spec lets expect it.
fn expected(package: &SpecPackage, counted_on: &BTreeMap<&Nevra, BTreeSet<&Dependency>>) -> IndexedPackage {
    let nevra = &package.nevra;
    let mut provides: BTreeSet<Dependency> = package.provides.iter().cloned().collect();
    provides.insert(Dependency::versioned(&nevra.name, Comparison::Equal, nevra.evr.clone()));
    provides.extend(counted_on.get(nevra).into_iter().flatten().map(|leaf| (*leaf).clone()));
    IndexedPackage {
        header: PackageHeader {
            nevra: nevra.clone(),
            source_rpm: None,
            provides: provides.into_iter().collect(),
            requires: package.requires.clone(),
            conflicts: package.conflicts.clone(),
            obsoletes: package.obsoletes.clone(),
            recommends: Vec::new(),
            supplements: Vec::new(),
            files: Vec::new(),
        },
        facts: PackageFacts::default(),
        // There is no file; the value only tells packages apart.
        sha256: ContentDigest::of_bytes(nevra.to_string().as_bytes()),
        size: 0,
        path: PathBuf::from(nevra.file_name()),
        origin: PackageOrigin::Tree,
    }
}
