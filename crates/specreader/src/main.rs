//! `specreader`: arguments in, two documents out, every bad spec told; the work is the library's.

mod arguments;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use arguments::Arguments;
use buildroot::{LayerStore, Sandbox, SetuidPolicy};
use clap::Parser;
use file_index::Directory;
use report::{Event, ExitStatus, Failure, Reporter, Stage, conclude, counted};
use rpm_model::WorkerManifest;
use specreader::{
    AzureLayout, CachedReader, DocumentFiles, DocumentSummary, EngineLimits, HostEngine, ReadOptions,
    ReleaseMacros, SpecEngine, SpecInput, WorkerEngine, expand, packages_document,
};

fn main() -> ExitCode {
    conclude(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<ExitStatus, Failure> {
    let reporter = report::choose(arguments.json, arguments.quiet);
    let mut failures = Vec::new();
    if arguments.expand {
        failures.extend(unpack(arguments, reporter.as_ref())?);
    }
    let listing = Directory::list(&arguments.dir);
    let specs = find_specs(arguments, &listing)?;
    let options = ReadOptions {
        arch: arguments.target_arch.clone(),
        defines: [("dist".to_owned(), arguments.dist_tag.clone())].into(),
        macro_files: Vec::new(),
        release_macros: ReleaseMacros::read(arguments.versions_macro_file.iter().map(PathBuf::as_path))
            .map_err(|error| Failure::new(ExitStatus::Usage, error))?,
        source_headers: false,
    };
    let started = Instant::now();
    reporter.event(&Event::StageStarted { stage: Stage::Read, total: Some(specs.len()) });
    let (written, read) = with_engine(arguments, reporter.as_ref(), |engine| {
        read(arguments, engine, &specs, &options, &listing, reporter.as_ref())
    })?;
    let summary = format!("{} ({read} read, {} bad)", counted(specs.len(), "spec"), written.bad.len());
    let seconds = started.elapsed().as_secs_f64();
    reporter.event(&Event::StageFinished { stage: Stage::Read, summary, seconds });
    failures.extend(written.bad.iter().map(|bad| {
        let line = bad.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{}{line}: {}", bad.spec_path, bad.message)
    }));
    if failures.is_empty() {
        return Ok(ExitStatus::Done);
    }
    let list: Vec<String> = failures.iter().map(|failure| format!("  {failure}")).collect();
    let text = format!("{} cannot be read\n{}", counted(failures.len(), "spec"), list.join("\n"));
    Err(Failure::new(ExitStatus::GoalsFailed, text))
}

/// Reads the specs and writes the documents; returns what is in them and how many specs the engine read.
fn read(
    arguments: &Arguments,
    engine: &dyn SpecEngine,
    specs: &[SpecInput],
    options: &ReadOptions,
    listing: &Directory,
    reporter: &dyn Reporter,
) -> Result<(DocumentSummary, usize), Failure> {
    let cache = arguments.cache_dir.clone().unwrap_or_else(|| arguments.build_dir.join("cache/specs"));
    let documents = DocumentFiles {
        packages: arguments.packages_output(),
        specs: arguments.output.clone(),
        layout: layout(arguments)?,
        cache: cache.clone(),
    };
    let reader = CachedReader::new(engine, cache);
    let look = reader.look(specs, options, std::slice::from_ref(listing)).map_err(environment)?;
    if let Some(present) = documents.current(&look) {
        reader.keep_memory().map_err(environment)?;
        return Ok((present, 0));
    }
    let identity = look.identity().clone();
    let progress = |done, total| {
        let detail = String::new();
        reporter.event(&Event::StageProgress { stage: Stage::Read, done, total, detail });
    };
    let reading = reader.read_looked(look, &progress).map_err(environment)?;
    for note in engine.notes() {
        reporter.event(&Event::Warning { message: note.to_string() });
    }
    let read = specs.len() - reading.remembered;
    let document = packages_document(&options.arch, identity, reading.results);
    documents.write(&document, reading.digest.as_ref()).map_err(|(path, error)| {
        Failure::new(ExitStatus::Environment, format!("cannot write {}: {error}", path.display()))
    })?;
    let summary = DocumentSummary { good: document.specs.len(), bad: document.bad.clone() };
    // A program that is about to end need not take a distribution's worth of data apart.
    std::mem::forget(document);
    Ok((summary, read))
}

fn layout(arguments: &Arguments) -> Result<AzureLayout, Failure> {
    Ok(AzureLayout {
        srpm_dir: arguments.srpm_dir.clone(),
        rpm_dir: arguments.rpm_dir.clone(),
        toolchain_rpms_dir: arguments.toolchain_rpms_dir.clone(),
        toolchain_manifest: toolchain(arguments)?,
        run_check: arguments.run_check,
    })
}

fn toolchain(arguments: &Arguments) -> Result<BTreeSet<String>, Failure> {
    let Some(path) = &arguments.toolchain_manifest else { return Ok(BTreeSet::new()) };
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(ExitStatus::Usage, format!("cannot read the manifest {}: {error}", path.display()))
    })?;
    Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}

/// Unpacks the SRPMs; returns what could not be.
fn unpack(arguments: &Arguments, reporter: &dyn Reporter) -> Result<Vec<String>, Failure> {
    let srpms = files_below(&arguments.srpm_dir, ".src.rpm")?;
    let expansion = expand(&srpms, &arguments.dir).map_err(environment)?;
    let (all, unpacked) = (expansion.specs.len(), expansion.unpacked);
    let message = format!("{all} SRPMs ({unpacked} unpacked, {} removed)", expansion.removed.len());
    reporter.event(&Event::Note { message });
    Ok(expansion.failures.iter().map(ToString::to_string).collect())
}

/// Finds the specs; each name of the list must mean exactly one.
fn find_specs(arguments: &Arguments, listing: &Directory) -> Result<Vec<SpecInput>, Failure> {
    let mut paths = Vec::new();
    collect_specs(listing, &mut paths)?;
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        found.entry(name).or_default().push(path);
    }
    let usage = |text: String| Failure::new(ExitStatus::Usage, text);
    for (name, paths) in &found {
        if let [first, second, ..] = paths.as_slice() {
            let text = format!("two specs are called {name}: {} and {}", first.display(), second.display());
            return Err(usage(text).hint("remove or rename one"));
        }
    }
    let wanted: Vec<&str> = arguments.spec_list.split_whitespace().collect();
    let unknown: Vec<&str> = wanted.iter().copied().filter(|name| !found.contains_key(*name)).collect();
    if !unknown.is_empty() {
        let dir = arguments.dir.display();
        return Err(usage(format!("no spec below {dir} is called {}", unknown.join(" or "))));
    }
    found.retain(|name, _| wanted.is_empty() || wanted.contains(&name.as_str()));
    let input = |(name, path): (String, PathBuf)| {
        let source_dir = path.parent().unwrap_or(Path::new(".")).to_owned();
        SpecInput { name, path, source_dir }
    };
    let single = found.into_iter().filter_map(|(name, mut paths)| Some((name, paths.pop()?)));
    Ok(single.map(input).collect())
}

/// Collects the specs of a listing, those that links lead to left out.
fn collect_specs(listing: &Directory, paths: &mut Vec<PathBuf>) -> Result<(), Failure> {
    // What else may be wrong in there, a link to nowhere for example, is no spec.
    if let Some(fault) = listing.own_fault().filter(|fault| fault.path == listing.path()) {
        let text = format!("cannot read {}: {}", fault.path.display(), fault.source);
        return Err(Failure::new(ExitStatus::Usage, text));
    }
    let specs =
        listing.files().iter().filter(|file| !file.is_link && file.name.to_string_lossy().ends_with(".spec"));
    paths.extend(specs.map(|file| listing.path().join(&file.name)));
    let directories = listing.directories().iter().filter(|directory| !directory.is_link());
    directories.into_iter().try_for_each(|directory| collect_specs(directory, paths))
}

fn files_below(directory: &Path, ending: &str) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(directory).sort_by_file_name() {
        let entry = entry.map_err(|error| Failure::new(ExitStatus::Usage, error))?;
        if entry.file_type().is_file() && entry.file_name().to_string_lossy().ends_with(ending) {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// Does some work with the engine that the arguments name.
fn with_engine<T>(
    arguments: &Arguments,
    reporter: &dyn Reporter,
    work: impl FnOnce(&dyn SpecEngine) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let processors = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let limits = EngineLimits::usual(arguments.workers.unwrap_or_else(processors));
    let Some(manifest) = &arguments.worker_tar else {
        let message = "no worker is given: specs are read by the rpm of this host, without a sandbox";
        reporter.event(&Event::Warning { message: message.to_owned() });
        let engine = HostEngine::new(arguments.build_dir.join("work/specreader"), limits)
            .map_err(|error| environment(error).hint("install rpm"))?;
        return work(&engine);
    };
    let manifest = read_manifest(manifest)?;
    let sandbox = Sandbox::discover()
        .map_err(|error| environment(error).hint("`buildroot-init` belongs beside `specreader`"))?;
    let directory = arguments.layers.clone().unwrap_or_else(|| arguments.build_dir.join("cache/layers"));
    let layers = LayerStore::open(&directory, SetuidPolicy::Strip).map_err(environment)?;
    work(&WorkerEngine::new(&manifest, &sandbox, &layers, limits))
}

fn read_manifest(path: &Path) -> Result<WorkerManifest, Failure> {
    let usage = |text: String| Failure::new(ExitStatus::Usage, text);
    let text = fs::read(path)
        .map_err(|error| usage(format!("cannot read the worker {}: {error}", path.display())))?;
    let manifest: WorkerManifest = serde_json::from_slice(&text).map_err(|error| {
        usage(format!("{} is no worker manifest: {error}", path.display()))
            .hint("give the worker.json that `bootstrap` made; it also imports worker archives")
    })?;
    if manifest.schema != WorkerManifest::SCHEMA {
        let text =
            format!("{} has schema {}, expected {}", path.display(), manifest.schema, WorkerManifest::SCHEMA);
        return Err(usage(text).hint("make the worker again with `bootstrap`"));
    }
    Ok(manifest)
}

fn environment(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(ExitStatus::Environment, error)
}
