//! Makes nodes and edges from the catalogue: one pass over packages, one over specs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldhash::HashMap;
use petgraph::stable_graph::{EdgeIndex, NodeIndex, StableDiGraph};
use rpm_model::{Dependency, Requirement};

use crate::catalog::{Catalog, Who};
use crate::choose::{Chosen, Owner};
use crate::cycle::report::CycleRule;
use crate::model::{
    BuildCycle, CycleBreak, Edge, EdgeKind, Knowledge, Link, Node, Scope, Unresolvable, UnresolvedReason,
};
use crate::near::Names;

/// What a node stands for, by place in the catalogue; the order of nodes wherever one is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Build(usize),
    Run(usize),
    Test(usize),
    Remote(Who),
    Unresolved(usize),
}

/// The graph under construction, and afterwards.
pub(crate) struct Construction<'a> {
    pub(crate) catalog: Catalog<'a>,
    pub(crate) graph: StableDiGraph<Node, Edge>,
    /// By index of the node: none is ever removed.
    keys: Vec<Key>,
    builds: Vec<NodeIndex>,
    runs: Vec<NodeIndex>,
    remotes: HashMap<Who, NodeIndex>,
    /// Requirements that nothing serves.
    pub(crate) findings: Vec<Finding>,
    /// Self-requirements served by an older package.
    pub(crate) breaks: Vec<CycleBreak>,
    /// Specs that need themselves.
    pub(crate) cycles: Vec<BuildCycle>,
    unresolved: HashMap<Requirement, NodeIndex>,
    /// Requirements and dependencies once each, for many have the same.
    requirements: HashMap<&'a Requirement, Arc<Requirement>>,
    leaves: HashMap<&'a Dependency, Arc<Dependency>>,
    /// The first two specs with a package that was never built.
    unbuilt: Vec<usize>,
}

/// A requirement that nothing serves.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Who states it: a build or a package.
    pub(crate) owner: Key,
    /// Whether a package that was never built might turn out to serve it.
    pub(crate) is_open: bool,
    pub(crate) told: Unresolvable,
}

impl<'a> Construction<'a> {
    pub(crate) fn new(catalog: Catalog<'a>, run_check: bool) -> Self {
        let mut unbuilt: Vec<usize> =
            catalog.packages.iter().filter(|package| package.unbuilt).map(|package| package.spec).collect();
        unbuilt.dedup();
        unbuilt.truncate(2);
        let mut construction = Self {
            catalog,
            graph: StableDiGraph::new(),
            keys: Vec::new(),
            builds: Vec::new(),
            runs: Vec::new(),
            remotes: HashMap::default(),
            findings: Vec::new(),
            breaks: Vec::new(),
            cycles: Vec::new(),
            unresolved: HashMap::default(),
            requirements: HashMap::default(),
            leaves: HashMap::default(),
            unbuilt,
        };
        construction.add_tree(run_check);
        for place in 0..construction.catalog.packages.len() {
            construction.connect_package(place);
        }
        for spec in 0..construction.catalog.specs.len() {
            construction.connect_build(spec, run_check);
        }
        construction
    }

    fn add_tree(&mut self, run_check: bool) {
        let built_by = Edge { kind: EdgeKind::BuiltBy, requirement: None, leaf: None, knowledge: None };
        for index in 0..self.catalog.specs.len() {
            let data = self.catalog.specs[index].data;
            let build = self.add(Key::Build(index), Node::Build { spec: data.name.clone() });
            for place in self.catalog.specs[index].packages.clone() {
                let package = self.catalog.packages[place].nevra.clone();
                let run = self.add(Key::Run(place), Node::Run { spec: data.name.clone(), package });
                self.graph.add_edge(run, build, built_by.clone());
            }
            if run_check && data.has_check {
                let test = self.add(Key::Test(index), Node::Test { spec: data.name.clone() });
                self.graph.add_edge(test, build, built_by.clone());
            }
        }
    }

    fn add(&mut self, key: Key, node: Node) -> NodeIndex {
        let index = self.graph.add_node(node);
        self.keys.push(key);
        match key {
            Key::Build(_) => self.builds.push(index),
            Key::Run(_) => self.runs.push(index),
            Key::Remote(who) => _ = self.remotes.insert(who, index),
            Key::Test(_) | Key::Unresolved(_) => {}
        }
        index
    }

    /// Returns the node of a spec's build.
    pub(crate) fn build(&self, spec: usize) -> NodeIndex {
        self.builds[spec]
    }

    /// Returns the node of a package of the tree.
    pub(crate) fn run(&self, place: usize) -> NodeIndex {
        self.runs[place]
    }

    /// Returns what a node stands for.
    pub(crate) fn key(&self, node: NodeIndex) -> Key {
        self.keys[node.index()]
    }

    /// Returns whether a spec has a build requirement for its tests only.
    pub(crate) fn is_for_tests(&self, spec: usize, edge: EdgeIndex) -> bool {
        let requirement = self.graph[edge].requirement.as_deref();
        let build = &self.catalog.specs[spec].data.build_requires;
        requirement.is_some_and(|requirement| !build.contains(requirement))
    }

    /// Returns the node of a package, which packages from outside get when they are first needed.
    pub(crate) fn node_of(&mut self, who: Who) -> NodeIndex {
        if let Who::Tree(place) = who {
            return self.run(place);
        }
        if let Some(index) = self.remotes.get(&who) {
            return *index;
        }
        let package = self.catalog.nevra(who).clone();
        self.add(Key::Remote(who), Node::Remote { package, origin: self.catalog.origin(who) })
    }

    fn connect_package(&mut self, place: usize) {
        let package = &self.catalog.packages[place];
        let (spec, requires) = (package.spec, package.requires);
        let recorded = package.recorded_requires.clone();
        let nevra = package.nevra;
        let node = self.run(place);
        let mut owner = Owner::package(spec);
        for requirement in in_two_rounds(requires) {
            match self.catalog.choose(requirement, &owner) {
                Ok(chosen) => self.connect(node, EdgeKind::Requires, requirement, &chosen, &mut owner),
                Err(reason) => {
                    self.report(node, EdgeKind::Requires, &owner, nevra.to_string(), requirement, reason);
                }
            }
        }
        for requirement in recorded {
            // A requirement of an earlier build may be out of date; where nothing serves it, the new build tells.
            if let Ok(chosen) = self.catalog.choose(requirement, &owner) {
                self.connect(node, EdgeKind::RecordedRequires, requirement, &chosen, &mut owner);
            }
        }
    }

    fn connect_build(&mut self, spec: usize, run_check: bool) {
        let data = self.catalog.specs[spec].data;
        let node = self.build(spec);
        let mut owner = Owner::build(spec);
        for requirement in in_two_rounds(data.requirements(run_check)) {
            match self.catalog.choose(requirement, &owner) {
                Ok(chosen) => {
                    self.note_self_requirement(spec, requirement, &chosen);
                    self.connect(node, EdgeKind::BuildRequires, requirement, &chosen, &mut owner);
                }
                Err(reason) => self.connect_to_itself(spec, requirement, reason, &mut owner),
            }
        }
    }

    /// Serves a build requirement that only the spec's own packages can serve: by its last build.
    fn connect_to_itself(
        &mut self,
        spec: usize,
        requirement: &'a Requirement,
        reason: UnresolvedReason,
        owner: &mut Owner,
    ) {
        let node = self.build(spec);
        let name = &self.catalog.specs[spec].data.name;
        let older = Owner { older: true, ..owner.clone() };
        if let Ok(chosen) = self.catalog.choose(requirement, &older) {
            self.note_self_requirement(spec, requirement, &chosen);
            self.connect(node, EdgeKind::BuildRequires, requirement, &chosen, owner);
            return;
        }
        let itself = Owner { itself: true, ..owner.clone() };
        match self.catalog.choose(requirement, &itself) {
            Ok(chosen) => {
                let own = chosen.iter().find(|chosen| self.catalog.spec_of(chosen.who) == Some(spec));
                if let Some(own) = own {
                    self.cycles.push(self.self_cycle(spec, requirement, own.who));
                }
            }
            Err(_) => {
                let name = name.clone();
                self.report(node, EdgeKind::BuildRequires, owner, name, requirement, reason);
            }
        }
    }

    fn self_cycle(&self, spec: usize, requirement: &Requirement, own: Who) -> BuildCycle {
        let name = &self.catalog.specs[spec].data.name;
        let to = self.catalog.nevra(own).clone();
        let link = Link { from: name.clone(), requirement: requirement.clone(), to };
        let is_build = |known: &Requirement| known == requirement;
        let for_tests = !self.catalog.specs[spec].data.build_requires.iter().any(is_build);
        let only_for_tests_of = if for_tests { vec![name.clone()] } else { Vec::new() };
        BuildCycle { specs: vec![name.clone()], links: vec![link], only_for_tests_of }
    }

    /// Notes where a package from outside serves what the spec itself will provide.
    fn note_self_requirement(&mut self, spec: usize, requirement: &Requirement, chosen: &[Chosen<'_>]) {
        for used in chosen.iter().filter(|chosen| !matches!(chosen.who, Who::Tree(_))) {
            let own = self.catalog.providers(used.leaf).find(|entry| {
                matches!(entry.who, Who::Tree(_)) && self.catalog.spec_of(entry.who) == Some(spec)
            });
            let Some(own) = own.map(|entry| entry.who) else { continue };
            self.breaks.push(CycleBreak {
                spec: self.catalog.specs[spec].data.name.clone(),
                requirement: requirement.clone(),
                instead_of: self.catalog.nevra(own).clone(),
                used: self.catalog.nevra(used.who).clone(),
                origin: self.catalog.origin(used.who),
                rule: match used.who {
                    Who::External(_) => CycleRule::ItselfFromOutside,
                    Who::Tree(_) | Who::Older(_) => CycleRule::ItselfFromLastBuild,
                },
                cycle: Arc::new(self.self_cycle(spec, requirement, own)),
            });
        }
    }

    fn connect(
        &mut self,
        from: NodeIndex,
        kind: EdgeKind,
        requirement: &'a Requirement,
        chosen: &[Chosen<'a>],
        owner: &mut Owner,
    ) {
        let shared = self.requirements.entry(requirement).or_insert_with(|| Arc::new(requirement.clone()));
        let shared = Arc::clone(shared);
        for chosen in chosen {
            let to = self.node_of(chosen.who);
            if matches!(requirement, Requirement::Simple(_)) {
                owner.present.insert(chosen.who);
            }
            let knowledge = matches!(chosen.who, Who::Tree(_)).then(|| chosen.rank.knowledge());
            let leaf = self.leaves.entry(chosen.leaf).or_insert_with(|| Arc::new(chosen.leaf.clone()));
            let leaf = Some(Arc::clone(leaf));
            if from != to {
                let edge = Edge { kind, requirement: Some(Arc::clone(&shared)), leaf, knowledge };
                self.graph.add_edge(from, to, edge);
            }
        }
    }

    fn report(
        &mut self,
        from: NodeIndex,
        kind: EdgeKind,
        owner: &Owner,
        required_by: String,
        requirement: &Requirement,
        reason: UnresolvedReason,
    ) {
        let next = self.unresolved.len();
        let to = match self.unresolved.get(requirement) {
            Some(node) => *node,
            None => {
                let node = Node::Unresolved { requirement: requirement.clone() };
                let node = self.add(Key::Unresolved(next), node);
                self.unresolved.insert(requirement.clone(), node);
                node
            }
        };
        let shared = Some(Arc::new(requirement.clone()));
        self.graph.add_edge(from, to, Edge { kind, requirement: shared, leaf: None, knowledge: None });
        let is_open = self.may_be_provided(owner, requirement, &reason);
        let told = Unresolvable {
            spec: self.catalog.specs[owner.spec].data.name.clone(),
            scope: owner.scope,
            chain: Vec::new(),
            required_by,
            requirement: requirement.clone(),
            reason,
            near: Vec::new(),
        };
        self.findings.push(Finding { owner: self.key(from), is_open, told });
    }

    /// Adds similar names to what nothing provides; of packages that exist outside, some may be known by name only.
    pub(crate) fn suggest_names(&mut self, package_names: &BTreeSet<String>) {
        let missing = |finding: &Finding| match &finding.told.reason {
            UnresolvedReason::NothingProvides { name } if !finding.is_open => Some(name.clone()),
            _ => None,
        };
        let wanted: Vec<Option<String>> = self.findings.iter().map(missing).collect();
        let distinct: BTreeSet<&str> = wanted.iter().flatten().map(String::as_str).collect();
        if distinct.is_empty() {
            return;
        }
        let tree = self.catalog.packages.iter().map(|package| package.nevra.name.as_str());
        let outside = self.catalog.externals.iter().map(|package| package.nevra.name.as_str());
        let names = Names::new(tree.chain(outside).chain(package_names.iter().map(String::as_str)));
        // A tree lacks the same thing in many places.
        let near: BTreeMap<&str, Vec<String>> =
            distinct.into_iter().map(|wanted| (wanted, names.near(wanted))).collect();
        for (finding, wanted) in self.findings.iter_mut().zip(&wanted) {
            if let Some(names) = wanted.as_deref().and_then(|wanted| near.get(wanted)) {
                finding.told.near.clone_from(names);
            }
        }
    }

    /// Notes a requirement as open whose suggested provider cannot be right: it needs the requirer.
    pub(crate) fn give_up_suggestion(&mut self, spec: usize, edge: &Edge) {
        let (Some(requirement), Some(leaf)) = (&edge.requirement, &edge.leaf) else { return };
        let reason = UnresolvedReason::NothingProvides { name: leaf.name.clone() };
        let node = self.build(spec);
        let name = self.catalog.specs[spec].data.name.clone();
        self.report(node, edge.kind, &Owner::build(spec), name, requirement, reason);
    }

    /// Returns whether a package that was never built might turn out to provide what is missing.
    ///
    /// Only what rpm's generators add is unknown before a build: `kind(name)` and files. Where a package of the tree
    /// is known to provide the name in another version, that is the version that will be there.
    fn may_be_provided(&self, owner: &Owner, requirement: &Requirement, reason: &UnresolvedReason) -> bool {
        let name = match (reason, requirement) {
            (UnresolvedReason::NothingProvides { name }, _) => name,
            (UnresolvedReason::NoFittingVersion { .. }, Requirement::Simple(leaf)) => &leaf.name,
            _ => return false,
        };
        let generated = name.starts_with('/') || (name.contains('(') && name.ends_with(')'));
        let known =
            self.catalog.named(name).iter().any(|entry| {
                matches!(entry.who, Who::Tree(_)) && entry.rank.knowledge() != Knowledge::Suggested
            });
        generated
            && !known
            && self.unbuilt.iter().any(|spec| owner.scope == Scope::RunTime || *spec != owner.spec)
    }
}

/// Plain requirements first: conditions of the others ask what these bring along.
fn in_two_rounds(requirements: &[Requirement]) -> impl Iterator<Item = &Requirement> {
    let plain = |requirement: &&Requirement| matches!(requirement, Requirement::Simple(_));
    requirements.iter().filter(plain).chain(requirements.iter().filter(move |r| !plain(r)))
}
