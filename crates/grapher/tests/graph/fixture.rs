//! A tree as text, indentation free:
//!
//! ```text
//! spec zlib 1.3          a spec; version 1 where none is written; `arch X`: ExclusiveArch
//! br make                a build requirement; `cr`: only with %check
//! pkg zlib-devel         a package of it; without any, there is one of the spec's name
//! provides x = 2         of the package (its own name is provided anyway)
//! requires y             of the package
//! built 1.2              the spec was built: `has PKG`, then `provides` and `requires` of that build
//! toolchain make-4       an external package; also `core`, `base`, `live`, `staging`
//! file /usr/bin/make     of the external package, or as a package of the tree lists it in %files
//! bad broken             a spec that cannot be read
//! ```

use grapher::{
    DependencyGraph, ExternalPackage, GoalRequest, GraphHints, GraphInput, RecordedOutput, RecordedSpec,
    WantedNames,
};
use rpm_model::{
    BadSpec, ContentDigest, Dependency, Evr, Nevra, PackageOrigin, PackagesDocument, Requirement, SpecData,
    SpecPackage,
};

#[derive(Clone, Debug)]
pub(crate) struct External {
    pub(crate) nevra: Nevra,
    pub(crate) provides: Vec<Dependency>,
    pub(crate) files: Vec<String>,
    pub(crate) origin: PackageOrigin,
    pub(crate) in_core: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) spec: String,
    pub(crate) nevra: Nevra,
    pub(crate) provides: Vec<Dependency>,
    pub(crate) requires: Vec<Requirement>,
}

#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) document: PackagesDocument,
    pub(crate) externals: Vec<External>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) run_check: bool,
}

impl Tree {
    pub(crate) fn parse(text: &str) -> Self {
        let macros = ContentDigest::of_bytes(b"");
        let document = PackagesDocument {
            schema: PackagesDocument::SCHEMA,
            arch: "x86_64".to_owned(),
            macros,
            specs: Vec::new(),
            bad: Vec::new(),
        };
        let mut tree = Self { document, externals: Vec::new(), outputs: Vec::new(), run_check: false };
        let mut built_version = String::new();
        let mut place = "";
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "spec" => tree.document.specs.push(spec(rest)),
                "arch" => tree.spec().exclusive_arch.push(rest.to_owned()),
                "br" | "cr" => {
                    let requirement: Requirement = rest.parse().unwrap();
                    if word == "br" {
                        tree.spec().build_requires.push(requirement.clone());
                    }
                    tree.spec().check_requires.push(requirement);
                }
                "pkg" => {
                    let version = tree.spec().source.evr.version.clone();
                    let package = package(rest, &version);
                    tree.spec().packages.push(package);
                }
                "built" => built_version = rest.to_owned(),
                "has" => {
                    let spec = tree.spec().name.clone();
                    let SpecPackage { nevra, provides, .. } = package(rest, &built_version);
                    tree.outputs.push(Output { spec, nevra, provides, requires: Vec::new() });
                }
                "toolchain" | "core" | "base" | "live" | "staging" => {
                    tree.externals.push(external(word, rest))
                }
                "bad" => tree.document.bad.push(bad(rest)),
                "provides" => tree.provides(place).push(rest.parse().unwrap()),
                "requires" if place == "has" => {
                    tree.outputs.last_mut().unwrap().requires.push(rest.parse().unwrap());
                }
                "requires" => {
                    tree.spec().packages.last_mut().unwrap().requires.push(rest.parse().unwrap());
                }
                "file" if place == "pkg" => {
                    tree.spec().packages.last_mut().unwrap().files.push(rest.parse().unwrap());
                }
                "file" => tree.externals.last_mut().unwrap().files.push(rest.to_owned()),
                _ => panic!("{line}"),
            }
            place = match word {
                "pkg" | "has" | "toolchain" | "core" | "base" | "live" | "staging" => word,
                "spec" => "pkg",
                _ => place,
            };
        }
        // Whether a package is in the core is known by its identity.
        let core: Vec<Nevra> =
            tree.externals.iter().filter(|p| p.in_core).map(|package| package.nevra.clone()).collect();
        for package in tree.externals.iter_mut().filter(|package| core.contains(&package.nevra)) {
            package.in_core = true;
        }
        for spec in tree.document.specs.iter_mut().filter(|spec| spec.packages.is_empty()) {
            spec.packages.push(package(&spec.name, &spec.source.evr.version));
        }
        tree
    }

    fn spec(&mut self) -> &mut SpecData {
        self.document.specs.last_mut().unwrap()
    }

    fn provides(&mut self, place: &str) -> &mut Vec<Dependency> {
        match place {
            "pkg" => &mut self.spec().packages.last_mut().unwrap().provides,
            "has" => &mut self.outputs.last_mut().unwrap().provides,
            _ => &mut self.externals.last_mut().unwrap().provides,
        }
    }

    pub(crate) fn graph(&self) -> DependencyGraph {
        self.graph_that_answers(&[])
    }

    /// Returns the graph that knows providers of some names although nobody requires them.
    pub(crate) fn graph_that_answers(&self, names: &[&str]) -> DependencyGraph {
        let explained = names.iter().map(|name| (*name).to_owned()).collect();
        self.graph_with(&GraphHints { explained, ..GraphHints::default() }, |_, _| true)
    }

    /// Returns the graph without externals that are wanted by no requirement.
    pub(crate) fn graph_of_what_matters(&self) -> DependencyGraph {
        let package_names = self.externals.iter().map(|external| external.nevra.name.clone()).collect();
        let hints = GraphHints { package_names, ..GraphHints::default() };
        self.graph_with(&hints, |external, wanted| wanted.want(external))
    }

    fn graph_with(
        &self,
        hints: &GraphHints,
        keep: fn(&ExternalPackage<'_>, &WantedNames<'_>) -> bool,
    ) -> DependencyGraph {
        let external: Vec<ExternalPackage<'_>> = self
            .externals
            .iter()
            .map(|External { nevra, provides, files, origin, in_core }| ExternalPackage {
                nevra,
                provides,
                files,
                origin: *origin,
                in_core: *in_core,
            })
            .collect();
        let recorded: Vec<RecordedSpec<'_>> = self
            .outputs
            .iter()
            .map(|Output { spec, nevra, provides, requires }| RecordedSpec {
                spec,
                packages: vec![RecordedOutput { nevra, provides, requires, files: &[] }],
            })
            .collect();
        let wanted = WantedNames::of(&self.document, &recorded);
        let external: Vec<ExternalPackage<'_>> =
            external.into_iter().filter(|external| keep(external, &wanted)).collect();
        let input = GraphInput {
            document: &self.document,
            external: &external,
            recorded: &recorded,
            run_check: self.run_check,
        };
        DependencyGraph::with_hints(&input, hints)
    }
}

pub(crate) fn graph(text: &str) -> DependencyGraph {
    Tree::parse(text).graph()
}

/// All specs in build order: `level spec: prerequisites`.
pub(crate) fn steps(graph: &DependencyGraph) -> Vec<String> {
    let goals = graph.select(&GoalRequest::default()).unwrap();
    let order = graph.order(&goals);
    let line = |step: &grapher::BuildStep| {
        let needed: Vec<&str> = step.needs().collect();
        format!("{} {}: {}", step.level, step.spec, needed.join(" ")).trim_end().to_owned()
    };
    order.steps.iter().map(line).collect()
}

/// The obstacles of one spec, in words.
pub(crate) fn obstacles(graph: &DependencyGraph, spec: &str) -> Vec<String> {
    let goals = graph.select(&GoalRequest::default()).unwrap();
    let order = graph.order(&goals);
    order.step(spec).unwrap().obstacles().iter().map(ToString::to_string).collect()
}

fn spec(text: &str) -> SpecData {
    let (name, version) = text.split_once(' ').unwrap_or((text, "1"));
    let source = Nevra::new(name, Evr::new(0, version, Some("1")), "src");
    SpecData { has_check: true, ..SpecData::new(name, format!("{name}.spec"), source) }
}

fn package(name: &str, version: &str) -> SpecPackage {
    let provides = vec![format!("{name} = {version}-1").parse().unwrap()];
    let nevra = Nevra::new(name, Evr::new(0, version, Some("1")), "x86_64");
    SpecPackage { provides, ..SpecPackage::new(nevra) }
}

/// As a bridged package: the EVR is low, the provides carry the true version.
fn external(word: &str, text: &str) -> External {
    let (name, version) = text.rsplit_once('-').unwrap();
    External {
        nevra: Nevra::new(name, Evr::new(0, format!("0~deb.{version}"), Some("1")), "x86_64"),
        provides: vec![format!("{name} = {version}").parse().unwrap()],
        files: Vec::new(),
        origin: match word {
            "live" => PackageOrigin::Live,
            "staging" => PackageOrigin::Staging,
            "base" => PackageOrigin::Base,
            _ => PackageOrigin::Toolchain,
        },
        in_core: word == "core",
    }
}

fn bad(name: &str) -> BadSpec {
    BadSpec {
        name: name.to_owned(),
        spec_path: format!("{name}.spec"),
        line: None,
        message: "line 1: broken".to_owned(),
    }
}
