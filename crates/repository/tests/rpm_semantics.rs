//! What dependencies mean, held against the installed rpm: version ranges over a whole matrix, boolean expressions
//! as rpm's spec parser takes them and as its check of a transaction judges them.
//!
//! Needs rpm's Python module, which dnf brings; skips loudly without it.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests panic, and say what they skip")]

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use rpm_model::{Dependency, Requirement};
use rpm_writer::{Package, Payload};
use serde_json::json;
use testkit::Oracle;

fn oracle() -> Option<(tempfile::TempDir, Oracle)> {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let Some(oracle) = Oracle::rpm(scratch.path()).unwrap() else {
        eprintln!("SKIPPED: rpm's Python module is not installed");
        return None;
    };
    Some((scratch, oracle))
}

/// Versions with everything that the comparison knows: epochs, missing releases, `~`, `^`, letters, leading zeros.
const VERSIONS: [&str; 26] = [
    "0",
    "1",
    "1.0",
    "1.00",
    "01.0",
    "1.0.1",
    "1.0a",
    "1.0.a",
    "1.0~rc1",
    "1.0~~",
    "1.0^git1",
    "1.0^git1~x",
    "2",
    "1-1",
    "1.0-1",
    "1.0-1.1",
    "1.0-2",
    "1.0-1~a",
    "1.0-1^a",
    "1.0~rc1-1",
    "1.0^git1-1",
    "0:1.0-1",
    "1:0.9",
    "1:1.0-1",
    "2:0-0",
    "1.0+b_c",
];

#[test]
fn version_ranges_overlap_as_in_rpm() {
    let Some((_scratch, mut oracle)) = oracle() else { return };
    let mut sides = vec!["a".to_owned(), "b = 1".to_owned()];
    for version in VERSIONS {
        sides.extend(["<", "<=", "=", ">=", ">", "<>"].map(|operator| format!("a {operator} {version}")));
    }
    let pairs: Vec<[&str; 2]> =
        sides.iter().flat_map(|a| sides.iter().map(move |b| [a.as_str(), b.as_str()])).collect();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let asked: Vec<_> = pairs.iter().map(|[a, b]| [words(a), words(b)]).collect();
    let answers: Vec<bool> = oracle.ask(&json!({ "overlaps": asked })).unwrap();
    assert_eq!(answers.len(), (2 + 6 * VERSIONS.len()).pow(2));
    let parsed = |text: &str| text.parse::<Dependency>().unwrap();
    let wrong: Vec<_> = pairs
        .iter()
        .zip(answers)
        .filter(|([a, b], expected)| parsed(a).overlaps(&parsed(b)) != *expected)
        .collect();
    assert!(
        wrong.is_empty(),
        "{} differ, with rpm's answer: {:?}",
        wrong.len(),
        &wrong[..wrong.len().min(20)]
    );
}

/// Writes a random expression, mostly well-formed.
fn expression(random: &mut Rng, depth: usize) -> String {
    if depth == 0 || random.u8(..10) < 3 {
        let names = ["a", "b", "c", "z", "p = 1", "p >= 2", "a < 9", "q(x)(64bit)"];
        return random.choice(names).unwrap().to_owned();
    }
    let part = |random: &mut Rng| expression(random, depth - 1);
    let mut parts = vec![part(random)];
    let operators = ["and", "or", "with", "without", "if", "unless"];
    let operator = random.choice(operators).unwrap();
    for number in 0..random.usize(1..=3) {
        let next = match (operator, number) {
            ("if" | "unless", 1) => "else",
            _ => operator,
        };
        // A chain may only have one and the same operator.
        let next = if random.u8(..20) == 0 { random.choice(["or", "else", "xor"]).unwrap() } else { next };
        parts.push(next.to_owned());
        parts.push(part(random));
        if !matches!(operator, "and" | "or" | "with") && random.bool() {
            break;
        }
    }
    format!("({})", parts.join(" "))
}

fn expressions(seed: u64, count: usize) -> Vec<String> {
    let mut random = Rng::with_seed(seed);
    let mut found = BTreeSet::new();
    while found.len() < count {
        let depth = random.usize(1..=3);
        let text = expression(&mut random, depth);
        if text.starts_with('(') {
            found.insert(text);
        }
    }
    found.into_iter().collect()
}

/// How rpm's word on an expression stands to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Judgement {
    BothTake,
    BothRefuse,
    /// rpmbuild's rule for specs: no `if` in `or`, no `unless` in `and`. Installed packages may break it.
    OnlySpecsMayNot,
    /// rpm lets `(a else b)` pass, which has no meaning.
    ElseAlone,
    Different,
}

fn judge(text: &str, ours: bool, complaint: Option<&str>) -> Judgement {
    match (ours, complaint) {
        (true, None) => Judgement::BothTake,
        (false, Some(_)) => Judgement::BothRefuse,
        (true, Some(words)) if words.contains("Illegal context for") => Judgement::OnlySpecsMayNot,
        (false, None) if text.contains(" else ") => Judgement::ElseAlone,
        _ => Judgement::Different,
    }
}

#[test]
fn expressions_are_refused_where_rpm_refuses_them() {
    let Some((_scratch, mut oracle)) = oracle() else { return };
    let by_hand = [
        ("(a)", Judgement::BothTake),
        ("((a and b))", Judgement::BothTake),
        ("(a, or b,and)", Judgement::BothRefuse),
        ("(a,or,b)", Judgement::BothRefuse),
        ("(a, or b)", Judgement::BothTake),
        ("(a =< 1 or b == 2)", Judgement::BothTake),
        ("(a with (b or c) with (b without c))", Judgement::BothTake),
        ("(a if b else c)", Judgement::BothTake),
        ("(a or (b unless c))", Judgement::BothTake),
        ("()", Judgement::BothRefuse),
        ("(a", Judgement::BothRefuse),
        ("(a or)", Judgement::BothRefuse),
        ("(or a)", Judgement::BothRefuse),
        ("(a b)", Judgement::BothRefuse),
        ("(a xor b)", Judgement::BothRefuse),
        ("(a <> 1)", Judgement::BothRefuse),
        ("(a >= and b)", Judgement::BothRefuse),
        ("(a and b or c)", Judgement::BothRefuse),
        ("(a or b and c)", Judgement::BothRefuse),
        ("(a without b without c)", Judgement::BothRefuse),
        ("(a if b if c)", Judgement::BothRefuse),
        ("(a if b else c else d)", Judgement::BothRefuse),
        ("(a with (b and c))", Judgement::BothRefuse),
        ("(a without (b if c))", Judgement::BothRefuse),
        ("(a with (b or (c and d)))", Judgement::BothRefuse),
        ("((a unless b) with c)", Judgement::BothRefuse),
        ("(a unless b)", Judgement::OnlySpecsMayNot),
        ("((a if b) or c)", Judgement::OnlySpecsMayNot),
        ("(a else b)", Judgement::ElseAlone),
    ];
    let seed = fastrand::u64(..);
    let random = expressions(seed, 1500);
    let texts: Vec<&str> =
        by_hand.iter().map(|(text, _)| *text).chain(random.iter().map(String::as_str)).collect();
    let complaints: Vec<Option<String>> = oracle.ask(&json!({ "parses": texts })).unwrap();
    let mut table: BTreeMap<Judgement, usize> = BTreeMap::new();
    for (number, (text, complaint)) in texts.iter().zip(&complaints).enumerate() {
        let ours = text.parse::<Requirement>();
        let judgement = judge(text, ours.is_ok(), complaint.as_deref());
        *table.entry(judgement).or_default() += 1;
        let expected = by_hand.get(number).map_or(judgement, |(_, expected)| *expected);
        assert!(
            judgement == expected && judgement != Judgement::Different,
            "seed {seed}: {text}: {judgement:?}: ours {ours:?}, rpm's {complaint:?}"
        );
    }
    eprintln!("seed {seed}: {table:?}");
    let often = |judgement| table.get(&judgement).is_some_and(|count| *count > 200);
    assert!(often(Judgement::BothTake) && often(Judgement::BothRefuse), "{table:?}");
}

#[test]
fn expressions_hold_where_rpm_says_that_they_hold() {
    let Some((scratch, mut oracle)) = oracle() else { return };
    let seed = fastrand::u64(..);
    let texts: Vec<String> =
        expressions(seed, 600).into_iter().filter(|text| text.parse::<Requirement>().is_ok()).collect();
    assert!(texts.len() > 150, "{}", texts.len());
    // Three packages, of which two provide `p`; nobody provides `z`.
    let provides: [(&str, &[&str]); 3] =
        [("a", &["p = 1"]), ("b", &["p = 2", "q(x)(64bit)"]), ("c", &["q(x)"])];
    let write = |name: &str, provides: &[&str], requires: &[&str]| {
        let mut package = Package::new(name, "1", "1", "noarch");
        let parsed = |list: &[&str]| list.iter().map(|text| rpm_writer::Dependency::parse(text)).collect();
        package.provides = parsed(provides);
        package.provides.push(rpm_writer::Dependency::equal(name, "1-1"));
        package.requires = parsed(requires);
        let path = scratch.path().join(package.file_name());
        std::fs::write(&path, package.to_bytes(&Payload::pack(Vec::new()).unwrap()).unwrap()).unwrap();
        path
    };
    let packages: BTreeMap<&str, _> =
        provides.iter().map(|(name, provides)| (*name, write(name, provides, &[]))).collect();
    let sets = ["", "a", "b", "c", "ab", "ac", "bc", "abc"];
    let names: Vec<Vec<String>> = sets.iter().map(|set| set.chars().map(String::from).collect()).collect();
    let asking: Vec<_> =
        (0..).zip(&texts).map(|(number, text)| write(&format!("ask{number}"), &[], &[text])).collect();
    let question = json!({ "holds": { "packages": packages, "sets": names, "asking": asking } });
    let answers: Vec<Vec<bool>> = oracle.ask(&question).unwrap();
    assert_eq!(answers.len(), texts.len());
    let provided = |name: &str| -> Vec<Dependency> {
        let (_, list) = provides.iter().find(|(other, _)| *other == name).unwrap();
        let own = format!("{name} = 1-1");
        list.iter().copied().chain([own.as_str()]).map(|text| text.parse().unwrap()).collect()
    };
    for (text, answers) in texts.iter().zip(&answers) {
        let requirement: Requirement = text.parse().unwrap();
        for (set, expected) in sets.iter().zip(answers) {
            let providers = |wanted: &Dependency| -> BTreeSet<String> {
                let names = set.chars().map(String::from);
                names.filter(|name| provided(name).iter().any(|one| one.overlaps(wanted))).collect()
            };
            assert_eq!(requirement.holds(&providers), *expected, "seed {seed}: {text} in {{{set}}}");
        }
    }
}
