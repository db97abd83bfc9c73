//! `sodiff`: what differs between two builds in shared libraries and their symbols, and who is affected.
//!
//! Sonames and symbol versions are compared as rpm wrote them into the packages. Single symbols are read out of the
//! libraries; who misses one is read out of the published packages that are linked to its library, and only of those.
//!
//! What it is not: what counts as a difference is decided by `rebuild` (sonames) and `linkage` (symbols).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use linkage::symbols::{ExportedSymbol, SymbolDifference, SymbolName};
use linkage::{BuiltFiles, ElfKind, PackagedElf, read_built};
use rebuild::sodiff::SonameDifference;
use rebuild::soname::{Soname, linked_libraries};
use report::{ExitStatus, Failure};
use rpm_model::{BuildRecord, Dependency};
use scheduler::RecordStore;
use serde::Serialize;

const SODIFF_HELP: &str = "\
Examples:
  millwright sodiff old/ out/RPMS/x86_64/zlib-1.3-1.mw1.x86_64.rpm   a kept build, and the published
  millwright sodiff old/ new/ --json                                 two kept builds, as one document

Told are libraries (-, + and what became what), and of each library the symbols that only one
build exports (-, +), or that are not the same in both (~): another kind, another size of an
object, no default version any more. Affected is who needs what is gone: a library, or single
symbols of one that is still there; these are read out of the published packages. Weak symbols,
which programs can do without, do not count.

Exit code 0: nobody misses anything; 1: somebody does; 3: a package cannot be read.";

/// What `sodiff` is asked.
#[derive(Debug, Args)]
#[command(after_help = SODIFF_HELP)]
pub(crate) struct SodiffArguments {
    /// The old build: an RPM file, or a directory of them
    old: PathBuf,
    /// The new build: an RPM file, or a directory of them
    new: PathBuf,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    #[serde(flatten)]
    sonames: SonameDifference,
    /// What differs in the symbols of libraries that both builds have, by the soname in the old one.
    symbols: BTreeMap<String, LibraryDifference>,
    /// Who misses symbols of libraries that are still there, by spec.
    missed: BTreeMap<String, Vec<MissedSymbols>>,
    /// Files that could not be read, each with why.
    unread: BTreeSet<String>,
}

/// What differs in the symbols of a library.
#[derive(Debug, Serialize)]
struct LibraryDifference {
    /// Its soname in the new build.
    present: String,
    #[serde(flatten)]
    difference: SymbolDifference,
}

/// Symbols that a file needs and that are gone.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct MissedSymbols {
    package: String,
    file: String,
    library: String,
    symbols: BTreeSet<SymbolName>,
}

impl Answer {
    fn is_harmless(&self) -> bool {
        self.sonames.affected.is_empty() && self.missed.is_empty()
    }
}

/// Reports what differs between the libraries of two builds, and who misses what is gone. Exit code 1 where somebody
/// does.
pub(crate) fn run_sodiff(
    asked: &SodiffArguments,
    records: &Path,
    rpms: &Path,
    json: bool,
) -> Result<ExitStatus, Failure> {
    let records = RecordStore::new(records).read_all().map_err(environment)?;
    let (old, new) = (Build::read(&asked.old)?, Build::read(&asked.new)?);
    let sonames = SonameDifference::new(&old.provides, &new.provides, &records);
    let mut unread: BTreeSet<String> = [&old.files, &new.files].into_iter().flat_map(unread_files).collect();
    let symbols = compare(&old.files, &new.files, &sonames);
    let missed = missed_symbols(&symbols, &records, rpms, &mut unread)?;
    let answer = Answer { sonames, symbols, missed, unread };
    let text = if json {
        serde_json::to_string(&answer).map_err(|error| Failure::new(ExitStatus::Internal, error))?
    } else {
        answer_text(&answer)
    };
    report::print(&text)?;
    Ok(if answer.is_harmless() { ExitStatus::Done } else { ExitStatus::GoalsFailed })
}

/// The packages of a build.
struct Build {
    provides: Vec<Dependency>,
    files: BuiltFiles,
}

impl Build {
    fn read(path: &Path) -> Result<Self, Failure> {
        let packages = packages(path)?;
        let mut provides = Vec::new();
        let mut names = Vec::new();
        for package in &packages {
            let header = repository::read_header(package).map_err(environment)?;
            names.push(header.nevra.name);
            provides.extend(header.provides);
        }
        let pairs: Vec<(&str, &Path)> =
            names.iter().map(String::as_str).zip(packages.iter().map(PathBuf::as_path)).collect();
        Ok(Self { provides, files: read_built(&pairs, true).map_err(environment)? })
    }
}

/// Returns the package files of a build.
fn packages(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.exists() {
        let text = format!("there is neither an RPM file nor a directory `{}`", path.display());
        return Err(
            Failure::new(ExitStatus::Usage, text).hint("`sodiff` compares two files or directories of RPMs")
        );
    }
    let mut files = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(environment)? {
            let file = entry.map_err(environment)?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with(".rpm") && !name.ends_with(".src.rpm") {
                files.push(file);
            }
        }
    } else {
        files.push(path.to_owned());
    }
    if files.is_empty() {
        return Err(Failure::new(ExitStatus::Usage, format!("there is no RPM in `{}`", path.display())));
    }
    files.sort();
    Ok(files)
}

/// What a library exports, by soname and by whether it is of 64 bits. Of several files of a soname the first by path
/// counts: others are the same for better processors.
fn exports(files: &BuiltFiles) -> BTreeMap<(&str, bool), &BTreeMap<SymbolName, ExportedSymbol>> {
    let mut exports = BTreeMap::new();
    for file in files.files.iter().filter(|file| file.elf.kind == ElfKind::Library) {
        if let (Some(soname), Some(symbols)) = (&file.elf.soname, &file.symbols) {
            exports.entry((soname.as_str(), file.elf.is_64bit)).or_insert(&symbols.exported);
        }
    }
    exports
}

fn compare(
    old: &BuiltFiles,
    new: &BuiltFiles,
    sonames: &SonameDifference,
) -> BTreeMap<String, LibraryDifference> {
    let new = exports(new);
    let compared = exports(old).into_iter().filter_map(|((soname, is_64bit), before)| {
        let renamed = sonames.changed.get(soname).map(String::as_str);
        let (present, after) = [Some(soname), renamed]
            .into_iter()
            .flatten()
            .find_map(|name| Some((name, new.get(&(name, is_64bit))?)))?;
        let difference = SymbolDifference::new(before, after);
        let library = LibraryDifference { present: present.to_owned(), difference };
        (!library.difference.is_empty()).then(|| (library_name(soname, is_64bit), library))
    });
    compared.collect()
}

/// Returns a library as rpm names it.
fn library_name(soname: &str, is_64bit: bool) -> String {
    let class = is_64bit.then_some("64bit");
    Soname { soname, symbols: None, class }.without_symbols()
}

/// Returns who misses symbols of libraries that are still there: of the published packages of all specs that are linked
/// to such a library and have none of their own.
fn missed_symbols(
    symbols: &BTreeMap<String, LibraryDifference>,
    records: &BTreeMap<String, BuildRecord>,
    rpms: &Path,
    unread: &mut BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<MissedSymbols>>, Failure> {
    let lost: BTreeMap<&str, &SymbolDifference> = symbols
        .iter()
        .filter(|(library, change)| {
            let is_there = Soname::parse(library).is_some_and(|old| old.soname == change.present);
            is_there && !change.difference.removed.is_empty()
        })
        .map(|(library, change)| (library.as_str(), &change.difference))
        .collect();
    let mut missed = BTreeMap::new();
    for (spec, record) in records {
        let linked = linked_libraries(record);
        let concerned: Vec<&str> = lost.keys().copied().filter(|library| linked.contains(*library)).collect();
        if concerned.is_empty() {
            continue;
        }
        let places: Vec<PathBuf> = record.rpms.iter().map(|rpm| rpms.join(&rpm.artifact.path)).collect();
        let names = record.rpms.iter().map(|rpm| rpm.artifact.nevra.name.as_str());
        let packages: Vec<(&str, &Path)> = names.zip(places.iter().map(PathBuf::as_path)).collect();
        let files = read_built(&packages, true).map_err(environment)?;
        unread.extend(unread_files(&files));
        let mut of_spec: Vec<MissedSymbols> =
            files.files.iter().flat_map(|file| missed_by(file, &concerned, &lost)).collect();
        of_spec.sort();
        if !of_spec.is_empty() {
            missed.insert(spec.clone(), of_spec);
        }
    }
    Ok(missed)
}

fn missed_by(
    file: &PackagedElf,
    concerned: &[&str],
    lost: &BTreeMap<&str, &SymbolDifference>,
) -> Vec<MissedSymbols> {
    let Some(symbols) = &file.symbols else { return Vec::new() };
    let of_library = |library: &&str| {
        let soname = Soname::parse(library)?;
        let is_linked = file.elf.needed.iter().any(|needed| needed == soname.soname)
            && library_name(soname.soname, file.elf.is_64bit) == *library;
        let missed = lost.get(library).filter(|_| is_linked)?.missed(soname.soname, &symbols.imported);
        (!missed.is_empty()).then(|| MissedSymbols {
            package: file.package.clone(),
            file: file.path.clone(),
            library: (*library).to_owned(),
            symbols: missed,
        })
    };
    concerned.iter().filter_map(of_library).collect()
}

fn unread_files(files: &BuiltFiles) -> impl Iterator<Item = String> {
    files.unread.iter().map(|file| format!("`{}` in {}: {}", file.path, file.package, file.fault))
}

fn answer_text(answer: &Answer) -> String {
    let mut text = String::new();
    if answer.sonames.is_empty() {
        text.push_str("no shared library and no symbol version differs\n");
    }
    for (old, new) in &answer.sonames.changed {
        let _ = writeln!(text, "{old} -> {new}");
    }
    for (mark, names) in [('-', &answer.sonames.removed), ('+', &answer.sonames.added)] {
        for name in names {
            let _ = writeln!(text, "{mark} {name}");
        }
    }
    for (library, LibraryDifference { present, difference }) in &answer.symbols {
        let now =
            Soname::parse(library).filter(|old| old.soname != present).map(|_| format!(" -> {present}"));
        let _ = writeln!(
            text,
            "{library}{}: symbols: {} removed, {} changed, {} added",
            now.unwrap_or_default(),
            difference.removed.len(),
            difference.changed.len(),
            difference.added.len()
        );
        for name in &difference.removed {
            let _ = writeln!(text, "  - {name}");
        }
        for (name, [before, after]) in &difference.changed {
            let _ = writeln!(text, "  ~ {name}: {before} -> {after}");
        }
        for name in &difference.added {
            let _ = writeln!(text, "  + {name}");
        }
    }
    for file in &answer.unread {
        let _ = writeln!(text, "not read: {file}");
    }
    for (spec, needed) in &answer.sonames.affected {
        let needed: Vec<&str> = needed.iter().map(String::as_str).collect();
        let _ = writeln!(text, "affected: {spec} needs {}", needed.join(", "));
    }
    for (spec, missed) in &answer.missed {
        for MissedSymbols { package, file, library, symbols } in missed {
            let symbols: Vec<String> = symbols.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                text,
                "affected: {spec}: `{file}` in {package} misses {} of {library}",
                symbols.join(", ")
            );
        }
    }
    let affected: BTreeSet<&String> = answer.sonames.affected.keys().chain(answer.missed.keys()).collect();
    let _ = write!(text, "{} affected", affected.len());
    text
}

fn environment(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(ExitStatus::Environment, error)
}
