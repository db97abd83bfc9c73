//! What the graph is made from: plain data, borrowed, in any order.

use std::collections::BTreeSet;

use rpm_model::{
    BuildRecord, Dependency, Nevra, PackageHeader, PackageOrigin, PackagesDocument, Requirement,
};

/// Everything that is known before anything is built.
#[derive(Clone, Copy, Debug)]
pub struct GraphInput<'a> {
    /// The tree's specs.
    pub document: &'a PackagesDocument,
    /// Packages from outside the tree: live, base and toolchain repositories.
    pub external: &'a [ExternalPackage<'a>],
    /// What specs of the tree yielded when they were last built.
    pub recorded: &'a [RecordedSpec<'a>],
    /// Whether `%check` will run, so that its requirements count.
    pub run_check: bool,
}

/// What a graph may know besides, none of which changes what is built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphHints {
    /// Names that [`crate::DependencyGraph::explain_provider`] will be asked about although nothing in the tree may
    /// ask for them.
    pub explained: BTreeSet<String>,
    /// Names of packages that exist outside and are not passed ([`crate::WantedNames`]), to be suggested where a
    /// requirement is mistyped.
    pub package_names: BTreeSet<String>,
}

/// A package that the tree does not build.
#[derive(Clone, Copy, Debug)]
pub struct ExternalPackage<'a> {
    /// Its identity.
    pub nevra: &'a Nevra,
    /// What it provides.
    pub provides: &'a [Dependency],
    /// Absolute paths of its files, where known.
    pub files: &'a [String],
    /// Where it comes from; one of origin [`PackageOrigin::Tree`] is not external and is passed over.
    pub origin: PackageOrigin,
    /// Whether every build root holds it.
    pub in_core: bool,
}

impl<'a> ExternalPackage<'a> {
    /// Returns the package that a header describes.
    pub fn of(header: &'a PackageHeader, origin: PackageOrigin, in_core: bool) -> Self {
        let PackageHeader { nevra, provides, files, .. } = header;
        Self { nevra, provides, files, origin, in_core }
    }
}

/// What a spec yielded when it was last built.
#[derive(Clone, Debug)]
pub struct RecordedSpec<'a> {
    /// The spec's name.
    pub spec: &'a str,
    /// The binary packages.
    pub packages: Vec<RecordedOutput<'a>>,
}

/// One binary package of an earlier build.
#[derive(Clone, Copy, Debug)]
pub struct RecordedOutput<'a> {
    /// Its identity then.
    pub nevra: &'a Nevra,
    /// What it provides, generated provides included.
    pub provides: &'a [Dependency],
    /// What it requires, generated requirements included.
    pub requires: &'a [Requirement],
    /// Absolute paths of its files, where known.
    pub files: &'a [String],
}

impl<'a> RecordedSpec<'a> {
    /// Returns what a build record says.
    pub fn of(record: &'a BuildRecord) -> Self {
        let output = |package: &'a rpm_model::RecordedPackage| RecordedOutput {
            nevra: &package.artifact.nevra,
            provides: &package.provides,
            requires: &package.requires,
            files: &[],
        };
        Self { spec: &record.package, packages: record.rpms.iter().map(output).collect() }
    }
}
