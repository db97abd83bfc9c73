//! The solver's and the graph's judgements over the Azure tree, held against dnf's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;

use fastrand::Rng;
use grapher::{DependencyGraph, GraphInput, Knowledge, Provider, Unresolvable};
use report::{ExitStatus, Reporter};
use repository::{IndexedPackage, SolveRequest, Solver};
use rpm_model::{Nevra, PackageHeader, PackagesDocument, Requirement};
use serde_json::json;
use testkit::{DnfAnswer, Oracle, RequirementSet, requirement_sets, verdict};

use super::{known_packages, synthetic};
use crate::azure::ARCH;
use crate::error::BenchError;
use crate::{Conclusion, Place, note};

/// How many other choices of ours and of the graph are shown.
const SHOWN: usize = 10;

/// Compares, and tells every difference.
pub(super) fn run(
    place: &Place,
    document: &PackagesDocument,
    sets: usize,
    seed: u64,
    reporter: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    note(reporter, format!("seed {seed}"));
    let mut text = format!("seed {seed}\n");
    let mut defects = 0;
    let declared = synthetic::declared(document);
    let repositories = [
        ("declared", "as specs declare them", declared),
        ("completed", "with made-up generated dependencies", synthetic::completed(document, seed)),
    ];
    for (name, words, headers) in repositories {
        let directory = place.scratch.join(name);
        note(reporter, format!("{sets} requirement sets over the tree's packages {words}"));
        let packages = synthetic::write(&headers, &directory.join("rpms"))?;
        text.push_str(&format!("\nsolver: {}, {words}\n", synthetic::words(&packages)));
        defects += solver_sets(&directory, &packages, sets, seed, &mut text)?;
    }
    note(reporter, "verdicts of the graph".to_owned());
    defects += graph_verdicts(&place.scratch.join("declared"), document, seed, &mut text)?;
    let status = if defects == 0 { ExitStatus::Done } else { ExitStatus::GoalsFailed };
    text.push_str(&format!("\n{defects} defects"));
    Ok(Conclusion { status, text })
}

/// Starts dnf over a directory's packages and questions.
fn dnf(directory: &Path, packages: usize, questions: usize) -> Result<Oracle, BenchError> {
    let (rpms, asked) = (directory.join("rpms"), directory.join("questions"));
    known_packages(Oracle::dnf(directory, &[("rpms", &rpms), ("questions", &asked)])?, packages + questions)
}

fn solver_sets(
    directory: &Path,
    packages: &[IndexedPackage],
    count: usize,
    seed: u64,
    text: &mut String,
) -> Result<usize, BenchError> {
    let headers: Vec<&PackageHeader> = packages.iter().map(|package| &package.header).collect();
    let sets = requirement_sets(&headers, seed, count);
    write_questions(&sets, &directory.join("questions"))?;
    let mut dnf = dnf(directory, packages.len(), sets.len())?;
    let solver = Solver::new(packages);
    let mut judged = Vec::new();
    for set in &sets {
        let request = SolveRequest { conflicts: &set.conflicts, ..SolveRequest::new(ARCH, &set.requires) };
        let ours = found(&solver, &request);
        judged.push((set, verdict::judge(set, &ours, &mut dnf)?.0));
    }
    text.push_str(&verdict::table(judged.iter().map(|(_, verdict)| verdict)));
    text.push('\n');
    let (wrong, right): (Vec<_>, Vec<_>) = judged.into_iter().partition(|(_, verdict)| verdict.is_defect());
    let choices = right.iter().filter(|(_, verdict)| matches!(verdict, verdict::Verdict::OtherChoice { .. }));
    for (set, verdict) in choices.take(SHOWN).chain(&wrong) {
        text.push_str(&format!("{}\n  {verdict}\n", set.words()));
    }
    Ok(wrong.len())
}

/// Our answer to a request in the terms of [`verdict::judge`].
pub(super) fn found(solver: &Solver<'_>, request: &SolveRequest<'_>) -> Result<BTreeSet<String>, String> {
    let set = solver.solve(request).map_err(|explanation| explanation.to_string())?;
    Ok(set.packages().iter().map(|package| package.locked.nevra.to_string()).collect())
}

/// Writes a package for each set, and metadata for all.
pub(super) fn write_questions(sets: &[RequirementSet], directory: &Path) -> Result<(), BenchError> {
    fs::create_dir_all(directory).map_err(BenchError::io("create", directory))?;
    for set in sets {
        set.write_package(directory).map_err(BenchError::io("write a package in", directory))?;
    }
    synthetic::publish(directory).map(drop)
}

/// How a verdict of the graph stands to dnf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Agreement {
    /// Nothing serves the requirement, says the graph, and dnf finds no provider or no way.
    NothingProvides,
    /// The only provider.
    OnlyProvider,
    /// One of several providers, by the graph's rule.
    OneOfSeveral,
    /// The graph guesses by a name; nothing declares it, as the graph says.
    Guessed,
    /// DEFECT: dnf finds a provider of what nothing is said to serve.
    ProvidedAfterAll,
    /// DEFECT: dnf does not find the chosen package among the providers.
    NoProvider,
    /// DEFECT: the graph guesses although packages declare it, and guesses another.
    GuessedWrong,
}

impl Agreement {
    const ALL: [Self; 7] = [
        Self::NothingProvides,
        Self::OnlyProvider,
        Self::OneOfSeveral,
        Self::Guessed,
        Self::ProvidedAfterAll,
        Self::NoProvider,
        Self::GuessedWrong,
    ];

    fn is_defect(self) -> bool {
        self >= Self::ProvidedAfterAll
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingProvides => "unresolvable, and dnf finds nothing either",
            Self::OnlyProvider => "served by the only provider that dnf finds",
            Self::OneOfSeveral => "served by one of several providers that dnf finds",
            Self::Guessed => "guessed by a name, and dnf finds no provider",
            Self::ProvidedAfterAll => "DEFECT: unresolvable, and dnf finds a provider",
            Self::NoProvider => "DEFECT: served by a package that dnf does not find",
            Self::GuessedWrong => "DEFECT: guessed by a name, and dnf finds others",
        })
    }
}

/// A verdict of the graph.
enum GraphVerdict {
    Unresolvable(Unresolvable),
    Chosen { spec: String, requirement: Requirement, package: String, knowledge: Knowledge },
}

impl GraphVerdict {
    fn requirement(&self) -> &Requirement {
        match self {
            Self::Unresolvable(finding) => &finding.requirement,
            Self::Chosen { requirement, .. } => requirement,
        }
    }

    /// Returns whether dnf must be asked for a way to satisfy it: of a boolean expression that nothing is said to
    /// serve, some dependency may well have providers.
    fn must_be_tried(&self) -> bool {
        matches!(self, Self::Unresolvable(finding) if matches!(finding.requirement, Requirement::Rich(_)))
    }

    fn agreement(&self, found: &BTreeSet<String>) -> Agreement {
        match self {
            Self::Unresolvable(_) if found.is_empty() => Agreement::NothingProvides,
            Self::Unresolvable(_) => Agreement::ProvidedAfterAll,
            Self::Chosen { knowledge: Knowledge::Suggested, .. } if found.is_empty() => Agreement::Guessed,
            Self::Chosen { package, knowledge, .. } if !found.contains(package) => match knowledge {
                Knowledge::Suggested => Agreement::GuessedWrong,
                _ => Agreement::NoProvider,
            },
            Self::Chosen { .. } if found.len() == 1 => Agreement::OnlyProvider,
            Self::Chosen { .. } => Agreement::OneOfSeveral,
        }
    }

    fn words(&self, found: &BTreeSet<String>) -> String {
        let found = found.iter().cloned().collect::<Vec<_>>().join(" ");
        match self {
            Self::Unresolvable(finding) => format!("{finding}\n    dnf: {found}"),
            Self::Chosen { spec, requirement, package, knowledge } => {
                format!("{spec} requires `{requirement}`: {package} ({knowledge:?})\n    dnf: {found}")
            }
        }
    }
}

/// Returns every verdict of the graph once: what is chosen for the same requirement of several specs counts once.
fn all_verdicts(graph: &DependencyGraph) -> (Vec<GraphVerdict>, Vec<GraphVerdict>) {
    let unresolvable = graph.unresolvable().iter().cloned().map(GraphVerdict::Unresolvable).collect();
    let mut chosen: BTreeMap<(Requirement, Nevra), GraphVerdict> = BTreeMap::new();
    for spec in graph.specs() {
        for (requirement, provider) in graph.providers(spec) {
            if let Provider::Tree { package, knowledge, .. } = provider {
                chosen.entry((requirement.clone(), package.clone())).or_insert_with(|| {
                    GraphVerdict::Chosen {
                        spec: spec.to_owned(),
                        requirement: requirement.clone(),
                        package: package.to_string(),
                        knowledge,
                    }
                });
            }
        }
    }
    (unresolvable, chosen.into_values().collect())
}

fn graph_verdicts(
    directory: &Path,
    document: &PackagesDocument,
    seed: u64,
    text: &mut String,
) -> Result<usize, BenchError> {
    let graph =
        DependencyGraph::new(&GraphInput { document, external: &[], recorded: &[], run_check: false });
    let (unresolvable, chosen) = all_verdicts(&graph);
    text.push_str(&format!(
        "\ngraph: {} requirements that nothing serves, {} choices of a package of the tree, all compared\n",
        unresolvable.len(),
        chosen.len()
    ));
    let verdicts: Vec<GraphVerdict> = unresolvable.into_iter().chain(chosen).collect();
    let questions: Vec<RequirementSet> = (0..)
        .zip(&verdicts)
        .filter(|(_, verdict)| verdict.must_be_tried())
        .map(|(number, verdict)| RequirementSet {
            number,
            requires: vec![verdict.requirement().clone()],
            conflicts: Vec::new(),
        })
        .collect();
    let packages = synthetic::publish(&directory.join("rpms"))?.len();
    let asked = directory.join("questions");
    crate::tree::empty_directory(&asked)?;
    write_questions(&questions, &asked)?;
    let mut dnf = dnf(directory, packages, questions.len())?;
    let mut found = providers(&mut dnf, &verdicts)?;
    for question in &questions {
        let answer: DnfAnswer = dnf.ask(&json!({ "install": [question.package_name()] }))?;
        found[question.number] = answer.packages.unwrap_or_default();
    }
    let mut counts: BTreeMap<Agreement, usize> = BTreeMap::new();
    let (mut wrong, mut several) = (Vec::new(), Vec::new());
    for (verdict, found) in verdicts.iter().zip(&found) {
        let agreement = verdict.agreement(found);
        *counts.entry(agreement).or_default() += 1;
        let words = || format!("{agreement}: {}\n", verdict.words(found));
        match agreement {
            _ if agreement.is_defect() => wrong.push(words()),
            Agreement::OneOfSeveral => several.push(words()),
            _ => {}
        }
    }
    for agreement in Agreement::ALL {
        text.push_str(&format!("{:>6}  {agreement}\n", counts.get(&agreement).copied().unwrap_or_default()));
    }
    Rng::with_seed(seed).shuffle(&mut several);
    several.truncate(SHOWN);
    several.iter().chain(&wrong).for_each(|words| text.push_str(words));
    Ok(wrong.len())
}

/// Returns for each verdict the packages that dnf finds to provide one of its requirement's dependencies.
fn providers(dnf: &mut Oracle, verdicts: &[GraphVerdict]) -> Result<Vec<BTreeSet<String>>, BenchError> {
    let leaves: Vec<Vec<String>> = verdicts
        .iter()
        .map(|verdict| verdict.requirement().leaves().into_iter().map(ToString::to_string).collect())
        .collect();
    let mut answers: std::vec::IntoIter<BTreeSet<String>> =
        dnf.ask::<Vec<_>>(&json!({ "provides": leaves.concat() }))?.into_iter();
    Ok(leaves.iter().map(|leaves| answers.by_ref().take(leaves.len()).flatten().collect()).collect())
}
