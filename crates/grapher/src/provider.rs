//! The choice of providers made visible: who could serve a dependency, who does, and by which rule.
//!
//! The rule itself is written down in the crate's documentation and carried out by `catalog` and `choose`; here it
//! is looked at from outside, after the graph was made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use petgraph::visit::{EdgeRef, IntoEdgeReferences};
use rpm_model::{Constraint, Dependency, Nevra, PackageOrigin, Requirement};
use serde::{Deserialize, Serialize};

use crate::DependencyGraph;
use crate::catalog::{Catalog, Who};
use crate::convention::unlikelihood;
use crate::model::{Edge, EdgeKind, Knowledge, Node, Provider, Scope, Unresolvable, origin_name};

/// How a package comes to provide something, in the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderRank {
    /// A package of the tree whose spec declares it.
    Declared,
    /// A package of the tree whose last build provided it.
    Recorded,
    /// A package of the tree that was never built and replaces the one of the same name that provides it.
    Replaced,
    /// A package of the staging repository.
    Staging,
    /// A package of the live repository.
    Live,
    /// A package of a base repository.
    Base,
    /// A package of the toolchain.
    Toolchain,
    /// A package of the tree as it was last built; serves only the build of its own spec, or breaks a cycle.
    Older,
    /// A package of the tree that was never built and whose name suggests it.
    Suggested,
}

impl ProviderRank {
    /// Returns how a package of the tree is known to provide something.
    pub(crate) fn knowledge(self) -> Knowledge {
        match self {
            Self::Recorded => Knowledge::Recorded,
            Self::Replaced => Knowledge::Replaced,
            Self::Suggested => Knowledge::Suggested,
            _ => Knowledge::Declared,
        }
    }
}

/// Which rule decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderRule {
    /// There is no other.
    OnlyCandidate,
    /// The better [`ProviderRank`].
    Rank,
    /// Both are guesses, and this one's name is the likelier.
    LikelierName,
    /// The package has the required name itself.
    OwnName,
    /// Every build root holds it.
    Core,
    /// Its version is higher.
    HigherVersion,
    /// All else is equal: the first by name and architecture.
    NameOrder,
    /// What would come first is a package of the spec that is built.
    NeverOwnBuild,
    /// At run time a package of the same spec comes first.
    Sibling,
    /// At run time what a core package satisfies stays with it.
    CoreAtRunTime,
    /// An older package breaks a cycle.
    CycleBroken,
    /// A boolean expression asks for more than this dependency.
    Expression,
}

/// Why a candidate serves nobody, or nobody but its own spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderRefusal {
    /// It provides other versions.
    OtherVersion,
    /// It is an older build, which serves its own spec's build only.
    OwnBuildOnly,
}

/// What becomes of a candidate where nothing about the asking spec decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum ProviderVerdict {
    /// It is chosen.
    Chosen {
        /// What put it before the next that fits.
        rule: ProviderRule,
    },
    /// It fits and another is chosen.
    Passed {
        /// What put the chosen one before it.
        rule: ProviderRule,
    },
    /// It is not considered.
    Refused {
        /// Why.
        refusal: ProviderRefusal,
    },
}

/// A package that provides what was asked for, in some version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProviderCandidate {
    /// The package.
    pub package: Nevra,
    /// The spec that yields it, for packages of the tree.
    pub spec: Option<String>,
    /// Where it comes from.
    pub origin: PackageOrigin,
    /// How it comes to provide it.
    pub rank: ProviderRank,
    /// Whether every build root holds it.
    pub in_core: bool,
    /// What it provides.
    pub provides: Dependency,
    /// What becomes of it.
    #[serde(flatten)]
    pub verdict: ProviderVerdict,
}

/// Who asks for it and gets what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProviderUse {
    /// The spec that is built, or that yields the package.
    pub spec: String,
    /// Whether its build or one of its packages asks.
    pub scope: Scope,
    /// The spec's name, or the package's NEVRA.
    pub required_by: String,
    /// The requirement as written.
    pub requirement: Requirement,
    /// What serves it.
    pub provider: Provider,
    /// Why that.
    pub rule: ProviderRule,
}

/// Everything about who serves a dependency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderExplanation {
    /// What was asked.
    pub dependency: Dependency,
    /// Whether the graph knows who provides it: it does of names that the tree requires, and of those that it was
    /// told to know ([`crate::GraphHints`]).
    pub is_known: bool,
    /// Who provides it, best first.
    pub candidates: Vec<ProviderCandidate>,
    /// Who in the tree asks for the name, in whatever version, and what serves it; sorted.
    pub uses: Vec<ProviderUse>,
    /// Who asks for the name and is not served, sorted.
    pub unserved: Vec<Unresolvable>,
}

impl ProviderExplanation {
    /// Returns the candidate that serves whoever has nothing special about it.
    pub fn chosen(&self) -> Option<&ProviderCandidate> {
        self.candidates.iter().find(|candidate| matches!(candidate.verdict, ProviderVerdict::Chosen { .. }))
    }
}

/// What is offered by whom, as it was when the graph was made.
#[derive(Clone, Debug)]
pub(crate) struct Offers {
    by_name: BTreeMap<String, Vec<Offer>>,
    packages: Vec<OfferedPackage>,
}

#[derive(Clone, Debug)]
struct Offer {
    package: u32,
    rank: ProviderRank,
    constraint: Option<Constraint>,
}

#[derive(Clone, Debug)]
struct OfferedPackage {
    nevra: Nevra,
    spec: Option<String>,
    origin: PackageOrigin,
    in_core: bool,
}

impl Offers {
    pub(crate) fn new(catalog: &Catalog<'_>) -> Self {
        let mut places: BTreeMap<Who, u32> = BTreeMap::new();
        let mut packages = Vec::new();
        let mut by_name = BTreeMap::new();
        // Sorted, so that equal input makes equal places.
        let names: BTreeSet<&str> = catalog.wanted.iter().copied().collect();
        for name in names {
            let offers = catalog.named(name).iter().map(|entry| {
                let package = *places.entry(entry.who).or_insert_with(|| {
                    packages.push(OfferedPackage {
                        nevra: catalog.nevra(entry.who).clone(),
                        spec: catalog.spec_of(entry.who).map(|spec| catalog.specs[spec].data.name.clone()),
                        origin: catalog.origin(entry.who),
                        in_core: catalog.in_core(entry.who),
                    });
                    packages.len() as u32 - 1
                });
                Offer { package, rank: entry.rank, constraint: entry.constraint.clone() }
            });
            by_name.insert(name.to_owned(), offers.collect());
        }
        Self { by_name, packages }
    }

    /// Returns the candidates for a dependency, best first, each package once.
    fn candidates(&self, dependency: &Dependency) -> Vec<ProviderCandidate> {
        let offers = self.by_name.get(&dependency.name).map_or(&[][..], Vec::as_slice);
        let mut candidates: Vec<ProviderCandidate> =
            offers.iter().map(|offer| self.candidate(offer, dependency)).collect();
        // Of a package that provides a name more than once, what fits says more than what does not.
        let refused =
            |candidate: &ProviderCandidate| matches!(candidate.verdict, ProviderVerdict::Refused { .. });
        let fitting: BTreeSet<(Nevra, PackageOrigin)> = candidates
            .iter()
            .filter(|candidate| !refused(candidate))
            .map(|candidate| (candidate.package.clone(), candidate.origin))
            .collect();
        let mut seen = BTreeSet::new();
        candidates.retain(|candidate| {
            let key = (candidate.package.clone(), candidate.origin);
            if refused(candidate) {
                !fitting.contains(&key) || candidate.rank == ProviderRank::Older
            } else {
                seen.insert(key)
            }
        });
        candidates.dedup();
        let mut fitting: Vec<usize> =
            (0..candidates.len()).filter(|place| !refused(&candidates[*place])).collect();
        if fitting.is_empty() {
            return candidates;
        }
        let chosen = fitting.remove(0);
        let name = &dependency.name;
        let rule = match fitting.first() {
            Some(next) => deciding_rule(&candidates[chosen], &candidates[*next], name),
            None => ProviderRule::OnlyCandidate,
        };
        for place in fitting {
            let rule = deciding_rule(&candidates[chosen], &candidates[place], name);
            candidates[place].verdict = ProviderVerdict::Passed { rule };
        }
        candidates[chosen].verdict = ProviderVerdict::Chosen { rule };
        candidates
    }

    fn candidate(&self, offer: &Offer, dependency: &Dependency) -> ProviderCandidate {
        let OfferedPackage { nevra, spec, origin, in_core } = &self.packages[offer.package as usize];
        let provides = Dependency { name: dependency.name.clone(), constraint: offer.constraint.clone() };
        let verdict = if !provides.overlaps(dependency) {
            ProviderVerdict::Refused { refusal: ProviderRefusal::OtherVersion }
        } else if offer.rank == ProviderRank::Older {
            ProviderVerdict::Refused { refusal: ProviderRefusal::OwnBuildOnly }
        } else {
            // Until candidates are compared.
            ProviderVerdict::Passed { rule: ProviderRule::OnlyCandidate }
        };
        ProviderCandidate {
            package: nevra.clone(),
            spec: spec.clone(),
            origin: *origin,
            rank: offer.rank,
            in_core: *in_core,
            provides,
            verdict,
        }
    }
}

/// Returns what puts a candidate before another.
fn deciding_rule(first: &ProviderCandidate, second: &ProviderCandidate, name: &str) -> ProviderRule {
    let own_name = |candidate: &ProviderCandidate| candidate.package.name == name;
    let guess = |candidate: &ProviderCandidate| unlikelihood(name, &candidate.package.name);
    if first.rank != second.rank {
        ProviderRule::Rank
    } else if first.rank == ProviderRank::Suggested && guess(first) != guess(second) {
        ProviderRule::LikelierName
    } else if own_name(first) != own_name(second) {
        ProviderRule::OwnName
    } else if first.in_core != second.in_core {
        ProviderRule::Core
    } else if first.package.evr != second.package.evr {
        ProviderRule::HigherVersion
    } else {
        ProviderRule::NameOrder
    }
}

impl DependencyGraph {
    /// Explains who serves a dependency: every candidate in order with what becomes of it, and who in the tree
    /// asks for it and gets which.
    pub fn explain_provider(&self, dependency: &Dependency) -> ProviderExplanation {
        let mut uses: Vec<ProviderUse> = self
            .graph
            .edge_references()
            .filter(|edge| edge.weight().leaf.as_ref().is_some_and(|leaf| leaf.name == dependency.name))
            .filter_map(|edge| {
                self.provider_use(&self.graph[edge.source()], edge.weight(), &self.graph[edge.target()])
            })
            .collect();
        uses.sort();
        uses.dedup();
        let asks = |finding: &&Unresolvable| {
            finding.requirement.leaves().into_iter().any(|leaf| leaf.name == dependency.name)
        };
        let mut unserved: Vec<Unresolvable> =
            self.unresolvable.iter().chain(&self.open).filter(asks).cloned().collect();
        unserved.sort();
        ProviderExplanation {
            dependency: dependency.clone(),
            is_known: self.offers.by_name.contains_key(&dependency.name),
            candidates: self.offers.candidates(dependency),
            uses,
            unserved,
        }
    }

    fn provider_use(&self, from: &Node, edge: &Edge, to: &Node) -> Option<ProviderUse> {
        let (spec, scope, required_by) = match from {
            Node::Build { spec } => (spec, Scope::Build, spec.clone()),
            Node::Run { spec, package } => (spec, Scope::RunTime, package.to_string()),
            _ => return None,
        };
        let provider = Provider::of(to, edge.knowledge)?;
        let requirement = edge.requirement.as_deref()?.clone();
        let rule = self.rule_of_use(spec, scope, edge, &requirement, &provider);
        Some(ProviderUse { spec: spec.clone(), scope, required_by, requirement, provider, rule })
    }

    /// Returns why an owner got its provider and not the one that others get.
    fn rule_of_use(
        &self,
        spec: &str,
        scope: Scope,
        edge: &Edge,
        requirement: &Requirement,
        provider: &Provider,
    ) -> ProviderRule {
        let Some(leaf) = edge.leaf.as_deref() else { return ProviderRule::Expression };
        let candidates = self.offers.candidates(leaf);
        let is_older = matches!(provider, Provider::External { origin: PackageOrigin::Tree, .. });
        let own = candidates.iter().find(|candidate| {
            candidate.package == *provider.package()
                && candidate.origin == provider.origin()
                && (candidate.rank == ProviderRank::Older) == is_older
        });
        let verdict = own.map(|candidate| candidate.verdict);
        if let (Scope::RunTime, Some(own)) = (scope, own) {
            if own.spec.as_deref() == Some(spec) {
                return ProviderRule::Sibling;
            }
            if own.in_core && !matches!(verdict, Some(ProviderVerdict::Chosen { .. })) {
                return ProviderRule::CoreAtRunTime;
            }
        }
        if let Some(ProviderVerdict::Chosen { rule }) = verdict {
            return rule;
        }
        let broken = self.breaks.iter().any(|found| {
            found.spec == spec
                && found.used == *provider.package()
                && found.requirement == *requirement
                && found.cycle.specs.len() > 1
        });
        let first =
            candidates.iter().find(|candidate| matches!(candidate.verdict, ProviderVerdict::Chosen { .. }));
        match first {
            _ if broken => ProviderRule::CycleBroken,
            Some(first) if first.spec.as_deref() == Some(spec) && scope == Scope::Build => {
                ProviderRule::NeverOwnBuild
            }
            None if edge.kind == EdgeKind::BuildRequires => ProviderRule::NeverOwnBuild,
            _ => ProviderRule::Expression,
        }
    }
}

impl fmt::Display for ProviderRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Declared => "tree, its spec declares it",
            Self::Recorded => "tree, its last build provided it",
            Self::Replaced => "tree, it replaces the package of its name that provides it",
            Self::Staging => origin_name(PackageOrigin::Staging),
            Self::Live => origin_name(PackageOrigin::Live),
            Self::Base => origin_name(PackageOrigin::Base),
            Self::Toolchain => origin_name(PackageOrigin::Toolchain),
            Self::Older => origin_name(PackageOrigin::Tree),
            Self::Suggested => "tree, never built, its name suggests it",
        })
    }
}

impl fmt::Display for ProviderRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnlyCandidate => "nothing else that fits provides it",
            Self::Rank => "by where it comes from and how surely it is known: the tree first",
            Self::LikelierName => "both are guesses, and this name is the likelier",
            Self::OwnName => "the package that has the required name itself comes first",
            Self::Core => "a package that every build root holds comes first",
            Self::HigherVersion => "the higher version comes first",
            Self::NameOrder => "all else is equal: the first by name",
            Self::NeverOwnBuild => "a spec's own packages never serve its build",
            Self::Sibling => "at run time a package of the same spec comes first",
            Self::CoreAtRunTime => "at run time what a core package satisfies stays with it",
            Self::CycleBroken => "it breaks a build cycle",
            Self::Expression => "the boolean expression decides",
        })
    }
}

impl fmt::Display for ProviderRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherVersion => "the version does not fit",
            Self::OwnBuildOnly => "an older build serves its own spec only, or breaks a cycle",
        })
    }
}

impl fmt::Display for ProviderVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen { rule } => write!(f, "chosen: {rule}"),
            Self::Passed { rule } => write!(f, "not chosen: {rule}"),
            Self::Refused { refusal } => write!(f, "refused: {refusal}"),
        }
    }
}

impl fmt::Display for ProviderCandidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = if self.in_core { ", core" } else { "" };
        write!(f, "{} ({}{core}) provides `{}`; {}", self.package, self.rank, self.provides, self.verdict)
    }
}

impl fmt::Display for ProviderUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { required_by, requirement, provider, rule, .. } = self;
        write!(f, "{required_by} requires `{requirement}`: {}; {rule}", provider.package())
    }
}

impl fmt::Display for ProviderExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.dependency)?;
        if self.candidates.is_empty() {
            let word = if self.is_known { "nothing provides it" } else { "nothing in the tree asks for it" };
            writeln!(f, "  {word}")?;
        }
        for candidate in &self.candidates {
            writeln!(f, "  {candidate}")?;
        }
        if !self.uses.is_empty() {
            writeln!(f, "asked for by")?;
        }
        for used in &self.uses {
            writeln!(f, "  {used}")?;
        }
        if !self.unserved.is_empty() {
            writeln!(f, "not served")?;
        }
        for finding in &self.unserved {
            writeln!(f, "  {finding}")?;
        }
        Ok(())
    }
}
