//! Reading specs with `rpmspec` and packing them with `rpmbuild`, wherever these run.
//!
//! Many specs share one run of a small shell driver (`driver.sh`), but each spec and question has a process
//! of its own under its own time, memory and output limit. A spec for which a run leaves no answer, because
//! a neighbour brought the whole run down, is asked again alone.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::assemble::{self, Answers};
use crate::complaint;
use crate::engine::{Done, EngineError, PackError, PackRequest, ParsedSpec, ReadOptions, SpecInput};
use crate::failure::{FailureKind, SpecFailure};
use crate::job::{Job, failure};
use crate::query;
use crate::runner::{Run, RunEnd, RunOutcome, Runner};
use crate::{release, visible};

const DRIVER: &str = include_str!("driver.sh");
/// More specs than this in one run would only delay the first result after a breakdown.
const MAXIMUM_SPECS_PER_RUN: usize = 64;
/// The most questions that one spec needs.
const QUESTIONS: u64 = 6;

/// What one spec may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLimits {
    /// How many runs go on at once.
    pub workers: NonZeroUsize,
    /// Seconds for one question about one spec.
    pub seconds: u64,
    /// Address space of one rpm process in bytes.
    pub memory_bytes: u64,
    /// What rpm may print about one spec, in bytes.
    pub output_bytes: u64,
    /// The largest spec file in bytes.
    pub spec_bytes: u64,
}

impl EngineLimits {
    /// Returns the usual limits: 30 s, 2 GiB, 64 MiB of output, 16 MiB of spec.
    ///
    /// The slowest of 3,087 specs of a real distribution needs 1.5 s and the largest is below 2 MiB.
    pub fn usual(workers: NonZeroUsize) -> Self {
        Self { workers, seconds: 30, memory_bytes: 2 << 30, output_bytes: 64 << 20, spec_bytes: 16 << 20 }
    }
}

/// Reads and packs with rpm's own programs.
pub(crate) struct CommandEngine<R> {
    runner: R,
    scratch: PathBuf,
    limits: EngineLimits,
}

impl<R: Runner> CommandEngine<R> {
    pub(crate) fn new(runner: R, scratch: PathBuf, limits: EngineLimits) -> Self {
        Self { runner, scratch, limits }
    }

    /// Returns where its programs run.
    pub(crate) fn runner(&self) -> &R {
        &self.runner
    }

    /// See [`crate::SpecEngine::read`].
    pub(crate) fn read(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
        done: Done<'_>,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        let mut results: Vec<Option<Result<ParsedSpec, SpecFailure>>> = specs.iter().map(|_| None).collect();
        let mut jobs = Vec::new();
        let triggers_everywhere = options_name_triggers(options);
        for (index, input) in specs.iter().enumerate() {
            match Job::new(index, input, options, self.limits.spec_bytes) {
                Ok(job) => jobs.push(Job { triggers: job.triggers || triggers_everywhere, ..job }),
                Err(kind) => results[index] = Some(Err(failure(input, kind))),
            }
        }
        let mut left = Vec::new();
        for (job, answer) in self.read_all(&chunks(jobs, self.limits.workers), options, done)? {
            match answer {
                Some(result) => results[job.index] = Some(result),
                None => left.push(vec![job]),
            }
        }
        for (job, answer) in self.read_all(&left, options, &|| ())? {
            let crashed = || {
                let how = "it brought its sandbox down".to_owned();
                Err(failure(job.input, FailureKind::Crashed { how }))
            };
            results[job.index] = Some(answer.unwrap_or_else(crashed));
        }
        let complete = |(input, result): (&SpecInput, Option<_>)| {
            result.ok_or_else(|| EngineError::Protocol {
                name: input.name.clone(),
                message: "no run took it".to_owned(),
            })
        };
        specs.iter().zip(results).map(complete).collect()
    }

    /// Executes chunks on as many threads as the limits say.
    fn read_all<'a>(
        &self,
        chunks: &[Vec<Job<'a>>],
        options: &ReadOptions,
        tell: Done<'_>,
    ) -> Result<Vec<Answered<'a>>, EngineError> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Ok(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..self.limits.workers.get().min(chunks.len()) {
                scope.spawn(|| {
                    while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let answers = self.read_chunk(chunk, options);
                        chunk.iter().for_each(|_| tell());
                        let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        match (&mut *done, answers) {
                            (Ok(all), Ok(answers)) => all.extend(answers),
                            (Ok(_), Err(error)) => *done = Err(error),
                            (Err(_), _) => {}
                        }
                        if done.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        done.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn read_chunk<'a>(
        &self,
        chunk: &[Job<'a>],
        options: &ReadOptions,
    ) -> Result<Vec<Answered<'a>>, EngineError> {
        let scratch = self.private_directory()?;
        let root = self.runner.root(scratch.path());
        let mut inputs = BTreeMap::new();
        for name in ["query", "SPECS", "SOURCES"] {
            let path = scratch.path().join(name);
            fs::create_dir(&path).map_err(|source| EngineError::io("create", &path, source))?;
            inputs.insert(format!("/build/{name}"), path);
        }
        let (staged, mut answered) = stage_all(chunk, scratch.path(), &mut inputs);
        self.write_query(&scratch.path().join("query"), &root, &staged, options)?;
        visible::open_up(scratch.path())
            .map_err(|source| EngineError::io("change the mode of", scratch.path(), source))?;
        let answers = writable_directory(scratch.path(), "answers")?;
        let kib = |bytes: u64| (bytes / 1024).to_string();
        let run = Run {
            arguments: vec![
                "bash".to_owned(),
                format!("{root}/build/query/driver.sh"),
                root.clone(),
                self.limits.seconds.to_string(),
                kib(self.limits.memory_bytes),
                kib(self.limits.output_bytes),
            ],
            inputs,
            outputs: BTreeMap::from([("/build/answers".to_owned(), answers.clone())]),
            environment: BTreeMap::new(),
            time_limit: Duration::from_secs((self.limits.seconds + 2) * QUESTIONS * chunk.len() as u64),
        };
        let outcome = self.runner.run(scratch.path(), &run)?;
        self.check_start(&outcome)?;
        for job in staged {
            answered.push((job.clone(), self.answer(job, &answers, &root)?));
        }
        Ok(answered)
    }

    /// Writes what `driver.sh` reads.
    fn write_query(
        &self,
        query: &Path,
        root: &str,
        jobs: &[&Job<'_>],
        options: &ReadOptions,
    ) -> Result<(), EngineError> {
        let files = copy_macro_files(root, query, &options.macro_files)?;
        let arguments = common_arguments(options, files);
        for job in jobs.iter().filter(|job| !job.release.is_empty()) {
            let file = release::macro_file(&job.release);
            write(&query.join(format!("release-{}", job.input.name)), file.as_bytes())?;
        }
        for job in jobs.iter().filter(|job| job.triggers) {
            let path = &job.input.path;
            let mut spec = fs::read(path).map_err(|source| EngineError::io("read", path, source))?;
            spec.extend(format!("\n%{{echo:{}}}\n", query::TRIGGERS).bytes());
            write(&query.join(format!("triggers-{}.spec", job.input.name)), &spec)?;
        }
        write(&query.join("driver.sh"), DRIVER.as_bytes())?;
        write(&query.join("jobs"), jobs.iter().map(|job| line(job)).collect::<String>().as_bytes())?;
        write(&query.join("arguments"), &nul_separated(&arguments))?;
        write(&query.join("source.format"), query::SOURCE.format().as_bytes())?;
        write(&query.join("packages.format"), query::PACKAGES.format().as_bytes())
    }

    /// An exit of the driver itself means that it could not even begin; a killed one may have begun.
    fn check_start(&self, outcome: &RunOutcome) -> Result<(), EngineError> {
        match outcome.end {
            RunEnd::Exited(code @ (126 | 127)) => Err(EngineError::Start {
                place: self.runner.place(),
                message: format!("exit code {code}: {}", String::from_utf8_lossy(&outcome.stderr).trim()),
            }),
            _ => Ok(()),
        }
    }

    /// Returns what a run left about one spec; `None` where it ended before the spec was done.
    fn answer(
        &self,
        job: &Job<'_>,
        answers: &Path,
        root: &str,
    ) -> Result<Option<Result<ParsedSpec, SpecFailure>>, EngineError> {
        let mut outputs: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for question in questions(job) {
            let Some(answer) = Answer::load(answers, &job.input.name, question)? else { return Ok(None) };
            if answer.status != 0 {
                return self.refused(job, &answer, root).map(|failure| Some(Err(failure)));
            }
            outputs.insert(question, answer.stdout);
        }
        let output = |question: &str| outputs.get(question).map(Vec::as_slice);
        let answers = Answers {
            source: output("source").unwrap_or_default(),
            packages: output("packages").unwrap_or_default(),
            text: output("text").unwrap_or_default(),
            triggers: output("triggers").unwrap_or_default(),
            with_check: output("check-source").zip(output("check-text")),
        };
        let parsed =
            assemble::spec_data(job.input, &answers).map(|data| ParsedSpec { data, source_headers: None });
        Ok(Some(parsed.map_err(|kind| failure(job.input, kind))))
    }

    fn refused(&self, job: &Job<'_>, answer: &Answer, root: &str) -> Result<SpecFailure, EngineError> {
        let kind = match answer.status {
            124 | 137 => FailureKind::TimeLimit { seconds: self.limits.seconds },
            // SIGXFSZ: the output limit.
            153 => FailureKind::TooLarge { limit: self.limits.output_bytes },
            125..=127 => {
                return Err(EngineError::Start {
                    place: self.runner.place(),
                    message: String::from_utf8_lossy(&answer.stderr).trim().to_owned(),
                });
            }
            status @ 129.. => FailureKind::Crashed { how: format!("signal {}", status - 128) },
            _ => FailureKind::Rejected,
        };
        let directory = format!("{root}/build/SPECS/{}", job.input.name);
        let spec = format!("{directory}/{}.spec", job.input.name);
        let diagnostics = complaint::diagnostics(&answer.stderr, &directory, &spec);
        Ok(SpecFailure { diagnostics, ..failure(job.input, kind) })
    }

    /// See [`crate::SpecEngine::pack`].
    pub(crate) fn pack(&self, request: &PackRequest) -> Result<PathBuf, PackError> {
        crate::pack::pack(&self.runner, &self.scratch, request)
    }

    fn private_directory(&self) -> Result<tempfile::TempDir, EngineError> {
        private_directory(&self.scratch)
    }
}

/// Stages the specs of a chunk; returns those staged, and what is wrong with the others.
fn stage_all<'a, 'j>(
    chunk: &'j [Job<'a>],
    scratch: &Path,
    inputs: &mut BTreeMap<String, PathBuf>,
) -> (Vec<&'j Job<'a>>, Vec<Answered<'a>>) {
    let (mut staged, mut answered) = (Vec::new(), Vec::new());
    for job in chunk {
        match job.stage(scratch) {
            Ok(more) => {
                inputs.extend(more.into_iter().map(|(place, path)| (format!("/build/{place}"), path)));
                staged.push(job);
            }
            Err(error) => {
                let kind = FailureKind::Unreadable { message: error.to_string() };
                answered.push((job.clone(), Some(Err(failure(job.input, kind)))));
            }
        }
    }
    (staged, answered)
}

/// Returns a spec's line of the driver's job list.
fn line(job: &Job<'_>) -> String {
    let word = |asked: bool, word: &'static str| if asked { word } else { "-" };
    format!("{} {} {}\n", job.input.name, word(job.check, "check"), word(job.triggers, "triggers"))
}

/// Returns the questions that the driver puts for a spec, in its order.
fn questions(job: &Job<'_>) -> impl Iterator<Item = &'static str> {
    let check = if job.check { &["check-source", "check-text"][..] } else { &[] };
    let triggers = job.triggers.then_some("triggers");
    ["source", "packages", "text"].into_iter().chain(check.iter().copied()).chain(triggers)
}

/// Returns whether something that all specs see may define trigger macros; a file that cannot be read is told
/// where it is handed to rpm.
fn options_name_triggers(options: &ReadOptions) -> bool {
    let texts = options.defines.iter().flat_map(|(name, body)| [name, body]);
    let mut files = options.macro_files.iter().filter_map(|path| fs::read(path).ok());
    texts.into_iter().any(|text| query::names_trigger_macros(text.as_bytes()))
        || files.any(|text| query::names_trigger_macros(&text))
}

type Answered<'a> = (Job<'a>, Option<Result<ParsedSpec, SpecFailure>>);

/// What `driver.sh` left about one question.
struct Answer {
    status: i32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Answer {
    fn load(directory: &Path, name: &str, question: &str) -> Result<Option<Self>, EngineError> {
        let file = |ending: &str| directory.join(format!("{name}.{question}.{ending}"));
        let load = |path: PathBuf| match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(EngineError::io("read", &path, source)),
        };
        let Some(status) = load(file("status"))? else { return Ok(None) };
        let Ok(status) = String::from_utf8_lossy(&status).trim().parse() else { return Ok(None) };
        let stdout = load(file("out"))?.unwrap_or_default();
        let stderr = load(file("err"))?.unwrap_or_default();
        Ok(Some(Self { status, stdout, stderr }))
    }
}

/// Deals jobs out; no two specs of one name share a chunk, for each name is one place in the sandbox.
fn chunks(jobs: Vec<Job<'_>>, workers: NonZeroUsize) -> Vec<Vec<Job<'_>>> {
    let size = jobs.len().div_ceil(workers.get()).clamp(1, MAXIMUM_SPECS_PER_RUN);
    let mut chunks: Vec<Vec<Job<'_>>> = Vec::new();
    let mut current: Vec<Job<'_>> = Vec::new();
    for job in jobs {
        if current.len() == size || current.iter().any(|other| other.input.name == job.input.name) {
            chunks.push(std::mem::take(&mut current));
        }
        current.push(job);
    }
    chunks.extend((!current.is_empty()).then_some(current));
    chunks
}

/// Returns rpm's options for the architecture, some macro files, and the definitions on top of them.
pub(crate) fn common_arguments(options: &ReadOptions, macro_files: Vec<String>) -> Vec<String> {
    let mut arguments = vec!["--target".to_owned(), options.arch.clone()];
    arguments.extend(macro_files.into_iter().map(|file| format!("--load={file}")));
    for (name, body) in &options.defines {
        arguments.extend(["--define".to_owned(), format!("{name} {body}")]);
    }
    arguments
}

/// Copies macro files into `query` and returns where a command finds the copies.
fn copy_macro_files(root: &str, query: &Path, files: &[PathBuf]) -> Result<Vec<String>, EngineError> {
    let copy = |(index, file): (usize, &PathBuf)| {
        let name = format!("macros-{index}");
        fs::copy(file, query.join(&name)).map_err(|source| EngineError::io("read", file, source))?;
        Ok(format!("{root}/build/query/{name}"))
    };
    files.iter().enumerate().map(copy).collect()
}

/// Returns a new directory that is removed when the value is dropped.
pub(crate) fn private_directory(scratch: &Path) -> Result<tempfile::TempDir, EngineError> {
    fs::create_dir_all(scratch).map_err(|source| EngineError::io("create", scratch, source))?;
    tempfile::Builder::new()
        .prefix("specs-")
        .tempdir_in(scratch)
        .map_err(|source| EngineError::io("create a directory in", scratch, source))
}

/// Creates a directory that rpm's unprivileged user may write; its parent is private to this process's user.
pub(crate) fn writable_directory(parent: &Path, name: &str) -> Result<PathBuf, EngineError> {
    use std::os::unix::fs::PermissionsExt;
    let directory = parent.join(name);
    fs::create_dir(&directory).map_err(|source| EngineError::io("create", &directory, source))?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777))
        .map_err(|source| EngineError::io("open up", &directory, source))?;
    Ok(directory)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), EngineError> {
    fs::write(path, bytes).map_err(|source| EngineError::io("write", path, source))
}

fn nul_separated(arguments: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for argument in arguments {
        bytes.extend(argument.as_bytes());
        bytes.push(0);
    }
    bytes
}
