//! Properties over random small repositories.

use proptest::prelude::*;
use rpm_model::{ContentDigest, PackageOrigin, RichDependency};

use super::*;

/// Whether a package offers a dependency.
fn offers(package: &IndexedPackage, wanted: &rpm_model::Dependency) -> bool {
    package.header.provides.iter().any(|provide| provide.overlaps(wanted))
}

/// Whether a set satisfies a requirement; written down from rpm's manual, without the solver's formulas.
fn holds(chosen: &[&IndexedPackage], requirement: &Requirement) -> bool {
    let rich = match requirement {
        Requirement::Simple(wanted) => return chosen.iter().any(|package| offers(package, wanted)),
        Requirement::Rich(rich) => rich.as_ref(),
    };
    match rich {
        RichDependency::And(list) => list.iter().all(|part| holds(chosen, part)),
        RichDependency::Or(list) => list.iter().any(|part| holds(chosen, part)),
        RichDependency::If(_, condition, otherwise) if !holds(chosen, condition) => {
            otherwise.as_ref().is_none_or(|otherwise| holds(chosen, otherwise))
        }
        RichDependency::Unless(_, exception, otherwise) if holds(chosen, exception) => {
            otherwise.as_ref().is_some_and(|otherwise| holds(chosen, otherwise))
        }
        RichDependency::If(wanted, ..) | RichDependency::Unless(wanted, ..) => holds(chosen, wanted),
        RichDependency::With(list) => chosen.iter().any(|one| list.iter().all(|part| holds(&[one], part))),
        RichDependency::Without(wanted, unwanted) => {
            chosen.iter().any(|one| holds(&[one], wanted) && !holds(&[one], unwanted))
        }
    }
}

/// Whether a set satisfies a request and is free of conflicts.
fn is_closed(chosen: &[&IndexedPackage], wanted: &[Requirement]) -> bool {
    wanted.iter().all(|requirement| holds(chosen, requirement))
        && chosen.iter().all(|package| {
            let others: Vec<&IndexedPackage> =
                chosen.iter().copied().filter(|other| other.sha256 != package.sha256).collect();
            let header = &package.header;
            header.requires.iter().all(|requirement| holds(chosen, requirement))
                && others.iter().all(|other| other.header.nevra.name != header.nevra.name)
                && !header.conflicts.iter().any(|conflict| holds(&others, conflict))
        })
}

/// A random package over five names and a few capabilities.
fn any_package() -> impl Strategy<Value = String> {
    let origin = prop::sample::select(vec!["tree", "live", "base", "tool"]);
    let wanted = prop::sample::select(vec![
        "a", "b", "c", "d", "e", "x", "y", "z", "a = 1", "b >= 2", "(x or c)", "(y or z)",
    ]);
    let conflict = prop::option::weighted(
        0.15,
        prop::sample::select(vec!["a", "b", "c < 2", "x", "(a and y)", "(x with y)"]),
    );
    let provided = prop::collection::vec(prop::sample::select(vec!["x", "y", "z", "x = 2"]), 0..3);
    (
        origin,
        prop::sample::select(vec!["a", "b", "c", "d", "e"]),
        1u8..4,
        prop::collection::vec(wanted, 0..3),
        provided,
        conflict,
    )
        .prop_map(|(origin, name, version, wanted, provided, conflict)| {
            let mut line = format!("{origin} {name} {version}-1");
            let mut list = |kind: &str, entries: &[&str]| {
                if !entries.is_empty() {
                    line.push_str(&format!("; {kind} {}", entries.join(", ")));
                }
            };
            list("requires", &wanted);
            list("provides", &provided);
            list("conflicts", conflict.as_slice());
            line
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn order_and_bystanders_change_nothing(
        lines in prop::collection::vec(any_package(), 1..14),
        wanted in prop::sample::subsequence(vec!["a", "b", "c", "x", "y = 2", "(a or z)", "(c if a else y)"], 1..4),
        turn in any::<prop::sample::Index>(),
    ) {
        let packages = distinct(&lines);
        let in_core = |package: &&IndexedPackage| {
            package.origin == PackageOrigin::Toolchain && package.header.nevra.name == "d"
        };
        // A core holds one version of a name.
        let core_names = if packages.iter().filter(in_core).count() == 1 { "d" } else { "" };
        let wanted_text = wanted.join(", ");
        let result = solve(&packages, core_names, &wanted_text);
        match &result {
            Ok(set) => {
                let find = |one: &ResolvedPackage| packages.iter().find(|two| two.sha256 == one.locked.sha256);
                let chosen: Vec<&IndexedPackage> = set.packages().iter().filter_map(find).collect();
                prop_assert!(is_closed(&chosen, &requirements(&wanted_text)), "{}", names(set));
                let core_is_there = chosen.iter().any(|package| package.header.nevra.name == core_names);
                prop_assert!(core_names.is_empty() || core_is_there, "{}", names(set));
            }
            Err(explanation) => prop_assert!(!explanation.problems.is_empty()),
        }

        let mut turned = packages.clone();
        turned.rotate_left(turn.index(packages.len()));
        turned.push(package("base bystander 1-1; requires nothing-at-all"));
        turned.push(package("tree aaa 1-1; provides unasked"));
        let mut turned_wanted = wanted.clone();
        turned_wanted.reverse();
        prop_assert_eq!(&solve(&turned, core_names, &turned_wanted.join(", ")), &result);
    }

    /// Repository index files, packages given with owners, and packages that were replaced meanwhile come to the
    /// same as all packages given at once.
    #[test]
    fn where_packages_are_kept_changes_nothing(
        lines in prop::collection::vec((any_package(), 0u8..4), 1..14),
        former in prop::collection::vec((any_package(), 0u8..4), 0..6),
        wanted in prop::sample::subsequence(vec!["a", "b", "c", "x", "y = 2", "(a or z)", "(c if a else y)"], 1..4),
    ) {
        let packages = distinct(&lines.iter().map(|(line, _)| line.clone()).collect::<Vec<_>>());
        let wanted = requirements(&wanted.join(", "));
        let request = SolveRequest::new("x86_64", &wanted);
        let place = |package: &IndexedPackage| {
            lines.iter().find(|(line, _)| super::package(line).sha256 == package.sha256).map(|(_, place)| *place)
        };
        let fresh = Solver::new(&packages);

        // Packages of a base go into index files; such a file has one origin.
        let scratch = crate::testing::Scratch::new();
        let (filed, loose): (Vec<IndexedPackage>, Vec<IndexedPackage>) = packages
            .iter()
            .cloned()
            .partition(|package| package.origin == PackageOrigin::Base && place(package) == Some(0));
        let (file, identity) = (scratch.path().join("index"), ContentDigest::of_bytes(b"x"));
        crate::RepositoryIndex::write(&file, &identity, &filed).unwrap();
        let repository = crate::RepositoryIndex::open(&file, &identity, PackageOrigin::Base).unwrap();
        let (owned, borrowed): (Vec<IndexedPackage>, Vec<IndexedPackage>) =
            loose.into_iter().partition(|package| place(package) > Some(1));
        let mut kept = Solver::with_repositories(vec![Arc::new(repository)], &borrowed);
        let of = |packages: &[IndexedPackage], owner: u8| -> Vec<Arc<IndexedPackage>> {
            packages.iter().filter(|package| place(package) == Some(owner)).cloned().map(Arc::new).collect()
        };
        for owner in [2u8, 3] {
            let former = former.iter().filter(|(_, place)| *place == owner);
            let former = former.map(|(line, _)| Arc::new(package(line))).collect();
            kept.replace(&owner.to_string(), former);
            // Whatever is remembered of the former packages must not matter.
            let _ = kept.solve(&request);
            kept.replace(&owner.to_string(), of(&owned, owner));
        }
        prop_assert_eq!(kept.solve(&request), fresh.solve(&request));
        prop_assert_eq!(kept.solve(&request), fresh.solve(&request), "a second time");
    }

    /// One package more is one way more: what had an answer still has one.
    #[test]
    fn one_package_more_never_takes_an_answer_away(
        lines in prop::collection::vec(any_package(), 1..12),
        more in any_package(),
        wanted in prop::sample::subsequence(vec!["a", "b", "c", "x", "y = 2", "(a or z)", "(c if a else y)"], 1..4),
    ) {
        let packages = distinct(&lines);
        let wanted = wanted.join(", ");
        if solve(&packages, "", &wanted).is_ok() {
            let mut all = lines.clone();
            all.push(more);
            let result = solve(&distinct(&all), "", &wanted);
            prop_assert!(result.is_ok(), "{:?}", result);
        }
    }

    /// A brute-force search over all subsets agrees on whether there is an answer.
    #[test]
    fn finds_an_answer_exactly_when_there_is_one(
        lines in prop::collection::vec(any_package(), 1..9),
        wanted in prop::sample::subsequence(vec!["a", "b", "x", "(a or z)", "(c if a)", "(y unless b else d)"], 1..4),
    ) {
        let packages = distinct(&lines);
        let wanted_text = wanted.join(", ");
        let wanted = requirements(&wanted_text);
        let possible = (0u32..1 << packages.len()).any(|bits| {
            let chosen: Vec<&IndexedPackage> = packages
                .iter()
                .enumerate()
                .filter(|(at, _)| bits & (1 << at) != 0)
                .map(|(_, package)| package)
                .collect();
            is_closed(&chosen, &wanted)
        });
        let result = solve(&packages, "", &wanted_text);
        prop_assert_eq!(result.is_ok(), possible, "{:?}", result.map(|set| names(&set)));
    }
}

/// The packages of some lines; equal lines count once.
fn distinct(lines: &[String]) -> Vec<IndexedPackage> {
    let mut packages: Vec<IndexedPackage> = lines.iter().map(|line| package(line)).collect();
    packages.sort_by_key(|package| package.sha256.clone());
    packages.dedup_by(|a, b| a.sha256 == b.sha256);
    packages
}
