//! rpmspec's own account of a spec, tag by tag.
//!
//! Every fact is asked for in another way than the engine asks: names, flags and versions of dependencies one by
//! one and not as rpm's combined texts, numbers and URLs of sources from the macros that rpm defines for them
//! (`%{SOURCEURL0}`, through `rpmspec --shell`). Only what rpmspec has no query for (sections, and what `%files`
//! lists) is taken from the text that `rpmspec --parse` prints, by rules of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use specreader::SpecInput;

use super::super::peer::{Peer, bind, defines};
use super::facts::Facts;
use super::header::{self, Tag};
use super::sections;
use crate::error::BenchError;

const SCRIPT: &str = include_str!("ask.sh");

/// What is asked of the source package, a line per value.
const SOURCE_FORMAT: &str = "package\\t%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\tsrc\\n\
    [requires\\t%{REQUIRENAME}\\t%{REQUIREFLAGS}\\t%{REQUIREVERSION}\\n]\
    [conflicts\\t%{CONFLICTNAME}\\t%{CONFLICTFLAGS}\\t%{CONFLICTVERSION}\\n]\
    [exclusive_arch\\t%{EXCLUSIVEARCH}\\n][exclude_arch\\t%{EXCLUDEARCH}\\n][build_arch\\t%{BUILDARCHS}\\n]\
    [source\\t%{SOURCE}\\n][patch\\t%{PATCH}\\n][nosource\\t%{NOSOURCE}\\n][nopatch\\t%{NOPATCH}\\n]\
    [summary\\t%{SUMMARY}\\n][license\\t%{LICENSE}\\n][url\\t%{URL}\\n]";

/// What is asked of each binary package that gets built.
const PACKAGES_FORMAT: &str = "package\\t%{NAME}\\t%{EPOCHNUM}\\t%{VERSION}\\t%{RELEASE}\\t%{ARCH}\\n\
    [provides\\t%{PROVIDENAME}\\t%{PROVIDEFLAGS}\\t%{PROVIDEVERSION}\\n]\
    [requires\\t%{REQUIRENAME}\\t%{REQUIREFLAGS}\\t%{REQUIREVERSION}\\t%{REQUIREFLAGS:deptype}\\n]\
    [conflicts\\t%{CONFLICTNAME}\\t%{CONFLICTFLAGS}\\t%{CONFLICTVERSION}\\n]\
    [obsoletes\\t%{OBSOLETENAME}\\t%{OBSOLETEFLAGS}\\t%{OBSOLETEVERSION}\\n]\
    [recommends\\t%{RECOMMENDNAME}\\t%{RECOMMENDFLAGS}\\t%{RECOMMENDVERSION}\\n]\
    [suggests\\t%{SUGGESTNAME}\\t%{SUGGESTFLAGS}\\t%{SUGGESTVERSION}\\n]\
    [supplements\\t%{SUPPLEMENTNAME}\\t%{SUPPLEMENTFLAGS}\\t%{SUPPLEMENTVERSION}\\n]\
    [enhances\\t%{ENHANCENAME}\\t%{ENHANCEFLAGS}\\t%{ENHANCEVERSION}\\n]\
    [summary\\t%{SUMMARY}\\n][license\\t%{LICENSE}\\n]";

/// What the macro shell is asked; the highest number of a source in use is 9,999.
const NUMBERS: &str = r#"%{lua: for n = 0, 20000 do for _, kind in ipairs({"SOURCE", "PATCH"}) do local text = rpm.expand("%{?" .. kind .. "URL" .. n .. "}") if text ~= "" then print("number\t" .. kind:lower() .. "\t" .. n .. "\t" .. text .. "\t" .. rpm.expand("%{" .. kind .. n .. "}") .. "\n") end end end}
"#;

/// Bits of a dependency's flags that compare versions.
const LESS: u64 = 1 << 1;
const GREATER: u64 = 1 << 2;
const EQUAL: u64 = 1 << 3;

/// rpmspec's account of a spec, or its complaint.
pub(super) type Account = Result<Told, String>;

/// What rpmspec tells of a spec.
pub(super) struct Told {
    pub(super) facts: Facts,
    /// The source package's header, without and with `%check`.
    pub(super) headers: [Vec<Tag>; 2],
    /// The expanded text, without and with `%check`.
    pub(super) texts: [String; 2],
}

/// What rpmspec said of a spec.
pub(super) struct Answer {
    pub(super) account: Account,
    /// Whether `%check` changes what the binary packages say.
    pub(super) check_changes_packages: bool,
}

/// Asks about specs; the answers stand in their order. Those of one name have one place inside, so they are asked
/// about one after the other.
pub(super) fn ask(peer: &Peer<'_>, specs: &[&SpecInput]) -> Result<Vec<Answer>, BenchError> {
    let mut answers: BTreeMap<usize, Answer> = BTreeMap::new();
    let mut open: Vec<usize> = (0..specs.len()).collect();
    while !open.is_empty() {
        let mut names = BTreeSet::new();
        let (now, later): (Vec<usize>, Vec<usize>) =
            open.into_iter().partition(|index| names.insert(&specs[*index].name));
        let asked: Vec<&SpecInput> = now.iter().map(|index| specs[*index]).collect();
        answers.extend(now.into_iter().zip(ask_together(peer, &asked)?));
        open = later;
    }
    Ok(answers.into_values().collect())
}

/// Asks about specs of different names, all of them in one sandbox.
fn ask_together(peer: &Peer<'_>, specs: &[&SpecInput]) -> Result<Vec<Answer>, BenchError> {
    let (files, answers) = (peer.scratch.join("peer"), peer.scratch.join("answers"));
    crate::tree::empty_directory(&files)?;
    crate::tree::empty_directory(&answers)?;
    open_to_all(&answers)?;
    let arguments: String = common().into_iter().map(|argument| argument + "\0").collect();
    let list: String =
        specs.iter().enumerate().map(|(index, spec)| format!("{index} {}\n", spec.name)).collect();
    let places = peer.scratch.join("places");
    crate::tree::empty_directory(&places)?;
    for spec in specs {
        for place in ["SPECS", "SOURCES"] {
            link(&places.join(place), &spec.name, &peer.inside(spec))?;
        }
    }
    for (name, text) in [
        ("ask.sh", SCRIPT),
        ("arguments", &arguments),
        ("source.format", SOURCE_FORMAT),
        ("packages.format", PACKAGES_FORMAT),
        ("numbers", NUMBERS),
        ("list", &list),
    ] {
        let path = files.join(name);
        fs::write(&path, text).map_err(BenchError::io("write", &path))?;
    }
    let command = ["xargs", "-P2", "-L1", "-a", "/peer/list", "bash", "/peer/ask.sh"];
    let mut spec = peer.spec(command.map(str::to_owned).to_vec());
    spec.binds.push(bind(&files, "/peer", true));
    spec.binds.push(bind(peer.release_macros, RELEASE_INSIDE, true));
    spec.binds.push(bind(&places, "/build", true));
    spec.binds.push(bind(&answers, "/answers", false));
    peer.run(&spec, &peer.scratch.join("verify.log"))?;
    (0..specs.len()).map(|index| answer(&answers, index)).collect()
}

/// Makes a link that leads to where a spec's directory is seen inside. Paths under `/build` are those under which
/// the engine reads a spec; a few specs print them, for example by macros in their changelogs.
fn link(directory: &Path, name: &str, inside: &Path) -> Result<(), BenchError> {
    fs::create_dir_all(directory).map_err(BenchError::io("create", directory))?;
    let path = directory.join(name);
    std::os::unix::fs::symlink(inside, &path).map_err(BenchError::io("link", &path))
}

const QUESTIONS: [&str; 10] = [
    "source-0",
    "source-1",
    "packages-0",
    "packages-1",
    "text-0",
    "text-1",
    "header-0",
    "header-1",
    "sources-0",
    "sources-1",
];

const RELEASE_INSIDE: &str = "/release/macros";

fn common() -> Vec<String> {
    let mut arguments = defines("0");
    // The script says itself whether `%check` runs.
    arguments.truncate(arguments.len() - 2);
    arguments.push(format!("--load={RELEASE_INSIDE}"));
    arguments
}

fn open_to_all(directory: &Path) -> Result<(), BenchError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o777))
        .map_err(BenchError::io("open up", directory))
}

fn answer(directory: &Path, index: usize) -> Result<Answer, BenchError> {
    let mut texts = BTreeMap::new();
    for question in QUESTIONS {
        let failed = directory.join(format!("{index}.{question}.failed"));
        if failed.exists() {
            let bytes = fs::read(&failed).map_err(BenchError::io("read", &failed))?;
            let complaint = format!("{question}: {}", String::from_utf8_lossy(&bytes).trim());
            return Ok(Answer { account: Err(complaint), check_changes_packages: false });
        }
        let path = directory.join(format!("{index}.{question}"));
        let bytes = match fs::read(&path) {
            // The script leaves out what `%check` does not change.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && question.ends_with("-1") => {
                continue;
            }
            bytes => bytes.map_err(BenchError::io("read", &path))?,
        };
        texts.insert(question, String::from_utf8_lossy(&bytes).into_owned());
    }
    let text = |question: &str| {
        let same = || texts.get(question.strip_suffix("-1").map(|start| format!("{start}-0"))?.as_str());
        texts.get(question).or_else(same).map(String::as_str).unwrap_or_default()
    };
    let header =
        |question: &str| header::read_xml(text(question)).map_err(|error| format!("{question}: {error}"));
    let told = || {
        Ok(Told {
            facts: account(&text),
            headers: [header("header-0")?, header("header-1")?],
            texts: [text("text-0").to_owned(), text("text-1").to_owned()],
        })
    };
    Ok(Answer { check_changes_packages: text("packages-0") != text("packages-1"), account: told() })
}

/// Puts the answers to all questions together.
fn account<'t>(text: &impl Fn(&str) -> &'t str) -> Facts {
    let mut facts = Facts::default();
    for words in records(text("source-0")) {
        match words[0] {
            "package" => facts.add("source", &nevra(&words)),
            "requires" => add_dependency(&mut facts, "build_requires", &words),
            "conflicts" => add_dependency(&mut facts, "build_conflicts", &words),
            "source" | "patch" | "nosource" | "nopatch" => {}
            fact => facts.add(fact, &words[1..].join(" ")),
        }
    }
    for words in records(text("source-1")) {
        if words[0] == "requires" {
            add_dependency(&mut facts, "check_requires", &words);
        }
    }
    let without = sources(text("source-0"), text("sources-0"));
    let with = sources(text("source-1"), text("sources-1"));
    without.intersection(&with).for_each(|source| facts.add("sources", source));
    for (only, used) in
        [(without.difference(&with), "without-check"), (with.difference(&without), "with-check")]
    {
        only.for_each(|source| facts.add("sources", &format!("{source} used={used}")));
    }
    let (plain, checked) = (text("text-0"), text("text-1"));
    let has_check = sections::has(plain, "check") || sections::has(checked, "check");
    facts.add("has_check", &has_check.to_string());
    add_packages(&mut facts, text("packages-0"), text("source-0"), plain);
    facts
}

/// Takes lines of words that are separated by tabs; lines of other kinds begin with none of ours.
fn records(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split('\t').collect::<Vec<_>>()).filter(|words| words.len() > 1)
}

/// Returns the sources and patches of one check mode, from the header and from the macros that name them.
fn sources(answer: &str, numbers: &str) -> BTreeSet<String> {
    let (mut files, mut left_out) = (BTreeSet::new(), BTreeSet::new());
    for words in records(answer) {
        match words[0] {
            kind @ ("source" | "patch") => drop(files.insert((kind, words[1]))),
            "nosource" => drop(left_out.insert(("source", words[1]))),
            "nopatch" => drop(left_out.insert(("patch", words[1]))),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    for words in records(numbers) {
        let ["number", kind, number, url, path] = words[..] else { continue };
        let file = path.rsplit('/').next().unwrap_or(path);
        files.remove(&(kind, file));
        let url = if url.contains("://") { format!(" {url}") } else { String::new() };
        let left_out = if left_out.contains(&(kind, number)) { " left_out" } else { "" };
        found.insert(format!("{kind} {number} {file}{url}{left_out}"));
    }
    // What the header has and no macro names would be a source without a number.
    found.extend(files.into_iter().map(|(kind, file)| format!("{kind} ? {file}")));
    found
}

fn add_packages(facts: &mut Facts, answer: &str, source: &str, text: &str) {
    let first = |wanted: &str| {
        let found = records(source).find(|words| words[0] == wanted);
        found.map(|words| words[1..].join(" ")).unwrap_or_default()
    };
    let (main_name, main_license) =
        (first("package").split(' ').next().unwrap_or_default().to_owned(), first("license"));
    let listed = sections::files(text, &main_name);
    let mut current = String::new();
    let mut qualified: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for words in records(answer) {
        match words[0] {
            "package" => {
                add_qualified(facts, &current, &std::mem::take(&mut qualified));
                current = nevra(&words);
                facts.add("packages", &current);
                for (fact, value) in listed.get(words[1]).into_iter().flatten() {
                    facts.add(format!("{current}/{fact}"), value);
                }
            }
            "license" if words[1..].join(" ") == main_license => {}
            "summary" | "license" => facts.add(format!("{current}/{}", words[0]), &words[1..].join(" ")),
            fact => {
                add_dependency(facts, &format!("{current}/{fact}"), &words);
                if let ("requires", Some(kinds), Some(text)) = (fact, words.get(4), dependency(&words)) {
                    qualified.entry(text).or_default().extend(kinds.split(','));
                }
            }
        }
    }
    add_qualified(facts, &current, &qualified);
}

/// Requirements that are declared for something special; plain ones only where they are both.
fn add_qualified(facts: &mut Facts, package: &str, requirements: &BTreeMap<String, BTreeSet<&str>>) {
    // Words that say who declared a requirement, not for what.
    let plain = ["manual", "auto", "config", "missingok", "rpmlib"];
    for (requirement, kinds) in requirements {
        let special = kinds.iter().filter(|kind| !plain.contains(kind));
        let names: Vec<&str> = special.copied().collect();
        for kind in &names {
            facts.add(format!("{package}/qualified_requires/{kind}"), requirement);
        }
        if !names.is_empty() && names.len() < kinds.len() {
            facts.add(format!("{package}/qualified_requires/plain"), requirement);
        }
    }
}

fn add_dependency(facts: &mut Facts, fact: &str, words: &[&str]) {
    if let Some(text) = dependency(words) {
        facts.add(fact, &text);
    }
}

/// Returns a dependency of a line `kind name flags version`; `None` for a feature of rpm itself that is required.
fn dependency(words: &[&str]) -> Option<String> {
    let name = words[1];
    if words[0] == "requires" && name.starts_with("rpmlib(") {
        return None;
    }
    let flags: u64 = words.get(2).and_then(|flags| flags.parse().ok()).unwrap_or(0);
    let version = words.get(3).copied().unwrap_or_default();
    let operator: String = [(LESS, '<'), (GREATER, '>'), (EQUAL, '=')]
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, sign)| *sign)
        .collect();
    if operator.is_empty() || version.is_empty() {
        return Some(name.to_owned());
    }
    // An epoch of zero and none are the same to rpm and in our data.
    Some(format!("{name} {operator} {}", version.strip_prefix("0:").unwrap_or(version)))
}

fn nevra(words: &[&str]) -> String {
    let part = |index: usize| words.get(index).copied().unwrap_or_default();
    let epoch = if part(2) == "0" { String::new() } else { format!("{}:", part(2)) };
    format!("{}-{epoch}{}-{}.{}", part(1), part(3), part(4), part(5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_facts() {
        let source = "package\tz\t1\t2\t3\tsrc\nrequires\tmake\t0\t\nrequires\trpmlib(X)\t16777290\t1\n\
                      requires\ta\t12\t0:1.2\nsource\tz.tgz\nsource\tz.pc\nnosource\t4\nexclude_arch\ts390x\nlicense\tMIT\nsummary\tA b\n";
        let numbers = "> x\nnumber\tsource\t0\thttp://h/z.tgz\t/specs/z/z.tgz\nnumber\tsource\t4\tz.pc\t/specs/z/z.pc\n";
        let packages = "package\tz\t1\t2\t3\tnoarch\nprovides\tz\t8\t1:2-3\nrequires\tsh\t0\t\tpost,interp\n\
                        requires\tsh\t0\t\tmanual\nrequires\tuser\t0\t\tmanual\nlicense\tMIT\nsummary\tA b\n\
                        package\tz-devel\t1\t2\t3\tnoarch\nlicense\tGPL\n";
        let text = "%check\n%files\n/usr/bin/z\n%files devel\n%dir /usr/include\n";
        let with_check = &source.replace("source\tz.pc\nnosource", "source\tz.pc\nsource\tt.tgz\nnosource");
        let facts = account(&|question: &str| match question {
            "source-0" => source,
            "source-1" => with_check,
            "sources-0" | "sources-1" => numbers,
            "packages-0" => packages,
            _ => text,
        });
        let mut expected = Facts::default();
        for (name, value) in [
            ("source", "z-1:2-3.src"),
            ("build_requires", "make"),
            ("build_requires", "a >= 1.2"),
            ("check_requires", "make"),
            ("check_requires", "a >= 1.2"),
            ("sources", "source 0 z.tgz http://h/z.tgz"),
            ("sources", "source 4 z.pc left_out"),
            ("sources", "source ? t.tgz used=with-check"),
            ("exclude_arch", "s390x"),
            ("license", "MIT"),
            ("summary", "A b"),
            ("has_check", "true"),
            ("packages", "z-1:2-3.noarch"),
            ("packages", "z-devel-1:2-3.noarch"),
            ("z-1:2-3.noarch/provides", "z = 1:2-3"),
            ("z-1:2-3.noarch/requires", "sh"),
            ("z-1:2-3.noarch/requires", "user"),
            ("z-1:2-3.noarch/qualified_requires/post", "sh"),
            ("z-1:2-3.noarch/qualified_requires/interp", "sh"),
            ("z-1:2-3.noarch/qualified_requires/plain", "sh"),
            ("z-1:2-3.noarch/summary", "A b"),
            ("z-1:2-3.noarch/files", "/usr/bin/z"),
            ("z-devel-1:2-3.noarch/license", "GPL"),
            ("z-devel-1:2-3.noarch/files", "%dir /usr/include"),
        ] {
            expected.add(name, value);
        }
        assert_eq!(facts, expected);
    }
}
