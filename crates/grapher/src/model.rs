//! Nodes, edges and findings of the graph, as values that can be compared, stored and put into words.

use std::fmt;
use std::sync::Arc;

use rpm_model::{Dependency, Nevra, PackageOrigin, Requirement, SpecData};
use serde::{Deserialize, Serialize};

use crate::cycle::report::CycleRule;

/// A node of the graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Node {
    /// What the user asked for.
    Goal {
        /// `ALL` or `PackagesToBuild`.
        goal: String,
    },
    /// The build of a spec.
    Build {
        /// The spec's name.
        spec: String,
    },
    /// The tests of a spec, run as a phase of its build.
    Test {
        /// The spec's name.
        spec: String,
    },
    /// A binary package of the tree, installable once built.
    Run {
        /// The spec that yields it.
        spec: String,
        /// The package.
        package: Nevra,
    },
    /// A package from outside the tree, or an older build of a tree's package that breaks a cycle.
    Remote {
        /// The package.
        package: Nevra,
        /// Where it comes from; [`PackageOrigin::Tree`] for an older build.
        origin: PackageOrigin,
    },
    /// A requirement that nothing is known to provide.
    Unresolved {
        /// The requirement.
        requirement: Requirement,
    },
}

/// Why one node needs another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EdgeKind {
    /// A goal wants it.
    Wanted,
    /// A build requirement.
    BuildRequires,
    /// A run-time requirement that the spec declares.
    Requires,
    /// A run-time requirement that only the last build's package shows.
    RecordedRequires,
    /// A package comes from a build, tests belong to a build.
    BuiltBy,
}

impl EdgeKind {
    /// Returns the tag of a spec that makes such an edge.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Wanted => "Goal",
            Self::BuildRequires => "BuildRequires",
            Self::Requires => "Requires",
            Self::RecordedRequires => "Requires (of the last build)",
            Self::BuiltBy => "built by",
        }
    }
}

/// An edge, from dependent to dependency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    /// Its kind.
    pub kind: EdgeKind,
    /// The requirement as written, where there is one.
    pub requirement: Option<Arc<Requirement>>,
    /// The one dependency of the requirement that this edge serves.
    pub leaf: Option<Arc<Dependency>>,
    /// How it is known that the package of the tree serves it.
    pub knowledge: Option<Knowledge>,
}

/// How it is known that a package of the tree provides something; earlier is surer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Knowledge {
    /// The spec declares it.
    Declared,
    /// Its last build provided it.
    Recorded,
    /// It was never built, but the package of the same name that it replaces provides it.
    Replaced,
    /// It was never built, and its name suggests it.
    Suggested,
}

/// Who serves a dependency.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "provider", rename_all = "kebab-case")]
pub enum Provider {
    /// A package of the tree.
    Tree {
        /// The spec.
        spec: String,
        /// The package.
        package: Nevra,
        /// How it is known.
        knowledge: Knowledge,
    },
    /// A package from outside, or an older build of a tree's package ([`PackageOrigin::Tree`]).
    External {
        /// The package.
        package: Nevra,
        /// Where it comes from.
        origin: PackageOrigin,
    },
}

impl Provider {
    /// Returns what a node is as a provider; builds, goals and the like are none.
    pub(crate) fn of(node: &Node, knowledge: Option<Knowledge>) -> Option<Self> {
        match node {
            Node::Run { spec, package } => Some(Self::Tree {
                spec: spec.clone(),
                package: package.clone(),
                knowledge: knowledge.unwrap_or(Knowledge::Declared),
            }),
            Node::Remote { package, origin } => {
                Some(Self::External { package: package.clone(), origin: *origin })
            }
            Node::Goal { .. } | Node::Build { .. } | Node::Test { .. } | Node::Unresolved { .. } => None,
        }
    }

    /// Returns the package.
    pub fn package(&self) -> &Nevra {
        match self {
            Self::Tree { package, .. } | Self::External { package, .. } => package,
        }
    }

    /// Returns where the package comes from; an older build of the tree is [`PackageOrigin::Tree`] too.
    pub fn origin(&self) -> PackageOrigin {
        match self {
            Self::Tree { .. } => PackageOrigin::Tree,
            Self::External { origin, .. } => *origin,
        }
    }
}

/// One step of a chain: someone requires something that a package provides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Link {
    /// A spec's name for a build requirement, a package's NEVRA for a run-time one.
    pub from: String,
    /// What it requires.
    pub requirement: Requirement,
    /// The package that provides it.
    pub to: Nevra,
}

/// A build cycle that was broken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CycleBreak {
    /// The spec whose build uses an older package.
    pub spec: String,
    /// For which requirement.
    pub requirement: Requirement,
    /// The package of the tree that would have served it.
    pub instead_of: Nevra,
    /// The package that serves it.
    pub used: Nevra,
    /// Where that comes from; [`PackageOrigin::Tree`] is an older build.
    pub origin: PackageOrigin,
    /// By which rule.
    pub rule: CycleRule,
    /// The cycle; one that was broken at several requirements is kept once.
    pub cycle: Arc<BuildCycle>,
}

/// A cycle of builds; the package at the end of the last link comes from the spec that starts the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BuildCycle {
    /// The specs of the cycle, in its order.
    pub specs: Vec<String>,
    /// Its steps.
    pub links: Vec<Link>,
    /// Specs that come into it for requirements of their tests only, sorted: if one of them is built without
    /// `%check`, this cycle does not exist.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub only_for_tests_of: Vec<String>,
}

/// Two specs of one name, of which one counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DuplicateSpec {
    /// The name.
    pub name: String,
    /// The path of the spec that counts.
    pub used: String,
    /// The path of the spec that is passed over.
    pub passed_over: String,
    /// Why this one counts.
    pub reason: DuplicateReason,
}

/// Why one of two specs of a name counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DuplicateReason {
    /// The other is not for this architecture.
    OtherArchitecture,
    /// Its path comes first.
    FirstPath,
}

impl DuplicateSpec {
    pub(crate) fn of(used: &SpecData, passed_over: &SpecData, arch: &str) -> Self {
        let reason = if used.builds_on(arch) && !passed_over.builds_on(arch) {
            DuplicateReason::OtherArchitecture
        } else {
            DuplicateReason::FirstPath
        };
        Self {
            name: used.name.clone(),
            used: used.spec_path.clone(),
            passed_over: passed_over.spec_path.clone(),
            reason,
        }
    }
}

impl fmt::Display for DuplicateSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, used, passed_over, reason } = self;
        let reason = match reason {
            DuplicateReason::OtherArchitecture => "is not for this architecture",
            DuplicateReason::FirstPath => "comes later by path",
        };
        write!(f, "two specs are called {name}: {used} counts, {passed_over} {reason} and is passed over")
    }
}

/// Whose requirement it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// A build requirement: the spec cannot be built.
    Build,
    /// A run-time requirement of a package of the tree: it cannot be installed, so nothing can be built
    /// that needs it.
    RunTime,
}

/// A requirement that nothing serves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unresolvable {
    /// The spec that cannot be built, or whose package cannot be installed.
    pub spec: String,
    /// Whose requirement it is.
    pub scope: Scope,
    /// How the spec comes to it; empty for its own build requirement.
    pub chain: Vec<Arc<Link>>,
    /// Who states it: the spec's name or a package's NEVRA.
    pub required_by: String,
    /// The requirement as written.
    pub requirement: Requirement,
    /// Why nothing serves it.
    pub reason: UnresolvedReason,
    /// Names that look similar; not looked for where a package that was never built may turn out to serve it.
    pub near: Vec<String>,
}

/// Why nothing serves a requirement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum UnresolvedReason {
    /// Nothing has this name.
    NothingProvides {
        /// The name.
        name: String,
    },
    /// It is provided, but in no version that fits.
    NoFittingVersion {
        /// What is there, for example `zlib-1.2-1.x86_64 (tree) provides zlib = 1.2-1`.
        available: Vec<String>,
    },
    /// The parts of a `with` or `without` expression are provided, but by no single package.
    NoSinglePackage,
    /// It is not to be there beside something that is: `(a unless b)` says `a and not b`.
    ExceptionHolds {
        /// What is there.
        exception: String,
    },
    /// The spec that should yield it cannot be read.
    SpecIsBad {
        /// That spec.
        spec: String,
    },
    /// The spec that yields it is not for this architecture.
    SpecIsForOtherArchitectures {
        /// That spec.
        spec: String,
    },
}

impl fmt::Display for UnresolvedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingProvides { name } => write!(f, "nothing provides `{name}`"),
            Self::NoFittingVersion { available } => {
                write!(f, "no version fits: {}", available.join(", "))
            }
            Self::NoSinglePackage => f.write_str("no single package satisfies all parts of the expression"),
            Self::ExceptionHolds { exception } => {
                write!(f, "what it excludes is in the build root: `{exception}`")
            }
            Self::SpecIsBad { spec } => write!(f, "`{spec}` should provide it, but its spec cannot be read"),
            Self::SpecIsForOtherArchitectures { spec } => {
                write!(f, "`{spec}` provides it, but is not for this architecture")
            }
        }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requires `{}` ({})", self.from, self.requirement, self.to)
    }
}

impl fmt::Display for Unresolvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for link in &self.chain {
            write!(f, "{link}; ")?;
        }
        write!(f, "{} requires `{}`: {}", self.required_by, self.requirement, self.reason)?;
        if !self.near.is_empty() {
            write!(f, "; similar: {}", self.near.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for BuildCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links: Vec<String> = self.links.iter().map(ToString::to_string).collect();
        f.write_str(&links.join("; "))?;
        if !self.only_for_tests_of.is_empty() {
            let specs = self.only_for_tests_of.join(" or ");
            write!(f, " (only because of tests: it is gone when {specs} is built without %check)")?;
        }
        Ok(())
    }
}

impl fmt::Display for CycleBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spec, requirement, used, instead_of, .. } = self;
        let origin = origin_name(self.origin);
        write!(f, "{spec} is built with {used} ({origin}) for `{requirement}` instead of {instead_of}, ")?;
        write!(f, "which would need {spec} first: {}", self.cycle)
    }
}

/// Returns an origin in words.
pub(crate) fn origin_name(origin: PackageOrigin) -> &'static str {
    match origin {
        PackageOrigin::Tree => "an older build",
        PackageOrigin::Staging => "staging repository",
        PackageOrigin::Live => "live repository",
        PackageOrigin::Base => "base repository",
        PackageOrigin::Toolchain => "toolchain",
    }
}
