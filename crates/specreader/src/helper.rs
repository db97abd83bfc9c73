//! Reading specs with the helper process `spec-engine`: one parse of each spec answers everything.
//!
//! A spec is parsed as `/build/SPECS/<name>/<name>.spec` with its sources in `/build/SOURCES/<name>`, wherever
//! it lies; both are links into the trees, which the sandbox shows read only. Of a tree a parse may read the
//! files that count for its result (`visible.rs`) and no others: the kernel sees to that. A spec for which that
//! cannot be had (a link among its files, files not for everyone, an old kernel) is copied first.
//!
//! Parses run beside each other, and one that is killed or dies may have hurt those beside it, for example by
//! leaving them no processes or memory; one that makes temporary files may have been read by them. So what ran
//! beside it is asked again without it, and what was running when the helper itself died is asked again alone. No
//! result stands that may owe something to a neighbour.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use spec_wire::{ParseLimits, Parsed, Question, Ready, Setup};

use crate::assemble::{self, Answers};
use crate::command::{EngineLimits, private_directory};
use crate::complaint;
use crate::engine::{Done, EngineError, ParsedSpec, ReadOptions, SourceHeaders, SpecInput};
use crate::failure::{FailureKind, SpecFailure};
use crate::job::{Job, failure};
use crate::query;
use crate::session::{self, Ended, SessionEnd};
use crate::visible;

/// All of a session that belongs to specs lies below this directory.
const BUILD: &str = "/build";
/// What is kept of the words of one parse, in bytes.
const WORDS: u64 = 1 << 20;
/// Processes that parse cost time to start and stop, too.
const SLACK: Duration = Duration::from_secs(60);

/// What one session needs around it.
pub(crate) struct Surroundings {
    /// Where inside → which host directory or file, read only.
    pub(crate) mounts: BTreeMap<String, PathBuf>,
    /// Empty directories inside that the helper may write.
    pub(crate) empty: Vec<String>,
    /// The whole session is killed after this.
    pub(crate) time_limit: Duration,
}

/// What a helper left behind when it ended.
pub(crate) struct HelperEnd {
    /// What was said in the session.
    pub(crate) session: io::Result<SessionEnd>,
    /// Its standard error and how it ended, in words.
    pub(crate) words: String,
}

/// Talks to a helper: its standard input and output in, what was said out.
pub(crate) type Talk<'t> = dyn FnMut(File, File) -> io::Result<SessionEnd> + Send + 't;

/// Starts helpers.
pub(crate) trait Launcher: Sync {
    /// Starts a helper, lets `talk` speak to it, and waits until nothing of it is left.
    fn launch(&self, around: &Surroundings, talk: &mut Talk<'_>) -> Result<HelperEnd, EngineError>;
}

/// Why specs were not read by the helper.
#[derive(Debug)]
pub(crate) enum HelperError {
    /// It cannot work here; another way has to be found.
    Unable(String),
    /// Nothing can work here.
    Engine(EngineError),
}

impl From<EngineError> for HelperError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// What was read, and what the helper said about itself.
pub(crate) struct Answered {
    /// In the order of the specs.
    pub(crate) results: Vec<Result<ParsedSpec, SpecFailure>>,
    pub(crate) ready: Option<Ready>,
}

/// Reads specs; see the module text.
pub(crate) fn read(
    launcher: &impl Launcher,
    scratch: &Path,
    limits: &EngineLimits,
    specs: &[SpecInput],
    options: &ReadOptions,
    done: Done<'_>,
) -> Result<Answered, HelperError> {
    let mut results = Results { specs, found: specs.iter().map(|_| None).collect() };
    let mut jobs = Vec::new();
    for (index, input) in specs.iter().enumerate() {
        match Job::new(index, input, options, limits.spec_bytes) {
            Ok(job) => jobs.push(job),
            Err(kind) => results.fail(index, kind),
        }
    }
    let mut reader = Reader { launcher, scratch, limits, options, done, stage_all: false, ready: None };
    let mut alone = Vec::new();
    let mut rounds = by_name(jobs);
    while let Some(round) = rounds.pop() {
        let open = round.iter().filter(|job| results.found[job.index].is_none()).count();
        let outcome = reader.round(&round, &mut results)?;
        let still_open = round.iter().filter(|job| results.found[job.index].is_none()).count();
        if still_open > 0 && still_open == open && outcome.unfinished.is_empty() {
            return Err(HelperError::Unable("it ends without an answer".to_owned()));
        }
        let (mut again, mut suspects) = (Vec::new(), Vec::new());
        for job in round {
            if outcome.unfinished.contains(&job.index) {
                suspects.push(job);
            } else if results.found[job.index].is_none() || outcome.disturbed.contains(&job.index) {
                again.push(job);
            }
        }
        // What was hurt by another and may hurt others itself gets no chance to.
        let (bad, good): (Vec<_>, Vec<_>) = again.into_iter().partition(|job| {
            outcome.littered.contains(&job.index) || results.found[job.index].as_ref().is_some_and(was_killed)
        });
        alone.extend(suspects);
        alone.extend(bad);
        // What was said beside a parse that went wrong is no result, be it good or bad.
        good.iter().for_each(|job| results.found[job.index] = None);
        rounds.extend((!good.is_empty()).then_some(good));
    }
    for job in alone {
        let index = job.index;
        results.found[index] = None;
        let outcome = reader.round(std::slice::from_ref(&job), &mut results)?;
        if results.found[index].is_none() || outcome.unfinished.contains(&index) {
            results.fail(index, FailureKind::Crashed { how: "it brought its sandbox down".to_owned() });
        }
    }
    Ok(Answered { results: results.complete()?, ready: reader.ready })
}

/// Deals specs out to rounds in each of which a name is one spec, for it is one place in the sandbox; the first
/// round last.
fn by_name(jobs: Vec<Job<'_>>) -> Vec<Vec<Job<'_>>> {
    let mut rounds: Vec<Vec<Job<'_>>> = Vec::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for job in jobs {
        let count = seen.entry(&job.input.name).or_default();
        if rounds.len() == *count {
            rounds.push(Vec::new());
        }
        rounds[*count].push(job);
        *count += 1;
    }
    rounds.reverse();
    rounds
}

fn was_killed(result: &Result<ParsedSpec, SpecFailure>) -> bool {
    result.as_ref().is_err_and(|failure| {
        matches!(
            failure.kind,
            FailureKind::Crashed { .. } | FailureKind::TimeLimit { .. } | FailureKind::TooLarge { .. }
        )
    })
}

struct Results<'s> {
    specs: &'s [SpecInput],
    found: Vec<Option<Result<ParsedSpec, SpecFailure>>>,
}

impl Results<'_> {
    fn fail(&mut self, index: usize, kind: FailureKind) {
        self.found[index] = Some(Err(failure(&self.specs[index], kind)));
    }

    fn complete(self) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        let one = |(input, result): (&SpecInput, Option<_>)| {
            result.ok_or_else(|| EngineError::Protocol {
                name: input.name.clone(),
                message: "no session took it".to_owned(),
            })
        };
        self.specs.iter().zip(self.found).map(one).collect()
    }
}

/// Which specs of a round have no result that stands.
struct RoundEnd {
    unfinished: BTreeSet<usize>,
    disturbed: BTreeSet<usize>,
    littered: BTreeSet<usize>,
}

struct Reader<'a, L> {
    launcher: &'a L,
    scratch: &'a Path,
    limits: &'a EngineLimits,
    options: &'a ReadOptions,
    done: Done<'a>,
    /// Whether every spec is copied, because the kernel keeps parses away from nothing.
    stage_all: bool,
    ready: Option<Ready>,
}

impl<L: Launcher> Reader<'_, L> {
    /// Asks about some specs of different names in one session.
    fn round(&mut self, jobs: &[Job<'_>], results: &mut Results<'_>) -> Result<RoundEnd, HelperError> {
        loop {
            let session = self.session(jobs, results)?;
            let unconfined = session.ready.as_ref().is_some_and(|ready| ready.unconfined.is_some());
            if unconfined && !self.stage_all {
                self.stage_all = true;
                continue;
            }
            let index = |ids: BTreeSet<u32>| ids.into_iter().map(|id| id as usize / 2).collect();
            self.ready = session.ready.or(self.ready.take());
            return Ok(RoundEnd {
                unfinished: index(session.unfinished),
                disturbed: index(session.disturbed),
                littered: index(session.littered),
            });
        }
    }

    fn session(&self, jobs: &[Job<'_>], results: &mut Results<'_>) -> Result<SessionEnd, HelperError> {
        let scratch = private_directory(self.scratch)?;
        let mut places = Places::new(scratch.path(), self.stage_all)?;
        let mut questions = Vec::new();
        for job in jobs {
            match places.place(job) {
                Ok(place) => questions.extend(self.questions(job, &place)),
                Err(error) => {
                    results.fail(job.index, FailureKind::Unreadable { message: error.to_string() });
                }
            }
        }
        let setup = self.setup(&places.query, jobs.len())?;
        let around = places.surroundings(self.session_limit(questions.len()))?;
        let accept = |ready: &Ready| self.stage_all || ready.unconfined.is_none();
        let by_index: BTreeMap<usize, &Job<'_>> = jobs.iter().map(|job| (job.index, job)).collect();
        let mut first_halves: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut take = |id: u32, ended: Ended<'_>| {
            let Some(job) = by_index.get(&(id as usize / 2)) else { return };
            if let Some(result) = self.answered(job, id % 2 == 1, ended, &mut first_halves) {
                // A failure of either half stands.
                let found = &mut results.found[job.index];
                if found.is_none() {
                    (self.done)();
                }
                if !found.as_ref().is_some_and(Result::is_err) {
                    *found = Some(result);
                }
            }
        };
        let mut talk = |to: File, from: File| session::hold(to, from, &setup, &questions, accept, &mut take);
        let end = self.launcher.launch(&around, &mut talk)?;
        let session = end.session.map_err(|error| {
            HelperError::Unable(format!("it cannot be understood: {error}; {}", end.words))
        })?;
        match (&session.ready, &session.unable) {
            (_, Some(why)) => Err(HelperError::Unable(why.clone())),
            (None, None) => Err(HelperError::Unable(format!("it does not start: {}", end.words))),
            (Some(_), None) => Ok(session),
        }
    }

    fn session_limit(&self, questions: usize) -> Duration {
        let each = u32::try_from(questions).unwrap_or(u32::MAX);
        Duration::from_secs(self.limits.seconds + 2).saturating_mul(each).saturating_add(SLACK)
    }

    fn setup(&self, query: &Path, jobs: usize) -> Result<Setup, EngineError> {
        // The two parses of a spec that is read alone do not run beside each other either.
        let parallel = if jobs == 1 { 1 } else { self.limits.workers.get() };
        let mut macro_files = Vec::new();
        for (index, file) in self.options.macro_files.iter().enumerate() {
            let name = format!("macros-{index}");
            fs::copy(file, query.join(&name)).map_err(|source| EngineError::io("read", file, source))?;
            macro_files.push(format!("{BUILD}/query/{name}"));
        }
        Ok(Setup {
            target: self.options.arch.clone(),
            macro_files,
            defines: self.options.defines.iter().map(|(name, body)| format!("{name} {body}")).collect(),
            source_format: query::SOURCE.format(),
            package_format: query::PACKAGES.format(),
            parallel: u32::try_from(parallel).unwrap_or(u32::MAX),
            limits: ParseLimits {
                seconds: self.limits.seconds,
                memory_bytes: self.limits.memory_bytes,
                output_bytes: self.limits.output_bytes,
                words_bytes: WORDS,
            },
            expression: query::TRIGGERS.to_owned(),
            withheld: BUILD.to_owned(),
        })
    }

    /// Returns what is asked about a spec: id `2 * index` without `%check`, the next one with it.
    fn questions(&self, job: &Job<'_>, place: &Place) -> Vec<Question> {
        let name = &job.input.name;
        let directories = (format!("{BUILD}/SPECS/{name}"), format!("{BUILD}/SOURCES/{name}"));
        let question = |check: bool| Question {
            // More specs than this do not fit into memory.
            id: (job.index as u32) * 2 + u32::from(check),
            spec: format!("{}/{name}.spec", directories.0),
            working_directory: directories.0.clone(),
            links: place.links.clone(),
            macros: job.release.clone(),
            defines: vec![
                format!("_topdir {BUILD}"),
                format!("_sourcedir {}", directories.1),
                format!("_specdir {}", directories.0),
                format!("with_check {}", u8::from(check)),
            ],
            packages: !check,
            source_header: self.options.source_headers,
            readable: place.readable.clone(),
            neighbours: place.neighbours.clone(),
        };
        [false, true].into_iter().filter(|check| !check || job.check).map(question).collect()
    }

    /// Takes one answer; returns the result when the spec's answers are complete or one is bad.
    fn answered(
        &self,
        job: &Job<'_>,
        check: bool,
        ended: Ended<'_>,
        first_halves: &mut BTreeMap<usize, Vec<u8>>,
    ) -> Option<Result<ParsedSpec, SpecFailure>> {
        let parsed = match ended {
            Ended::Parsed(parsed) => parsed,
            Ended::Failed(end, words) => return Some(Err(self.refused(job, end, &words))),
        };
        if !job.check {
            return Some(self.assembled(job, &parsed, None));
        }
        // Two answers belong together; the one that comes first waits for the other.
        let malformed = |error: io::Error| {
            let (field, message) = ("the engine's answer".to_owned(), error.to_string());
            Some(Err(failure(job.input, FailureKind::Malformed { field, message })))
        };
        let Some(first) = first_halves.remove(&job.index) else {
            return match spec_wire::encode(&parsed) {
                Ok(frame) => {
                    first_halves.insert(job.index, frame);
                    None
                }
                Err(error) => malformed(error),
            };
        };
        match spec_wire::decode::<Parsed<'_>>(&first) {
            Ok(first) if check => Some(self.assembled(job, &first, Some(&parsed))),
            Ok(first) => Some(self.assembled(job, &parsed, Some(&first))),
            Err(error) => malformed(error),
        }
    }

    fn assembled(
        &self,
        job: &Job<'_>,
        plain: &Parsed<'_>,
        with_check: Option<&Parsed<'_>>,
    ) -> Result<ParsedSpec, SpecFailure> {
        let answers = Answers {
            source: plain.source,
            packages: plain.packages,
            text: plain.text,
            triggers: plain.expanded,
            with_check: with_check.map(|parsed| (parsed.source, parsed.text)),
        };
        let data = assemble::spec_data(job.input, &answers).map_err(|kind| failure(job.input, kind))?;
        let source_headers = self.options.source_headers.then(|| SourceHeaders {
            plain: plain.source_header.to_vec(),
            with_check: with_check.map(|parsed| parsed.source_header.to_vec()),
        });
        Ok(ParsedSpec { data, source_headers })
    }

    fn refused(&self, job: &Job<'_>, end: spec_wire::End, words: &[u8]) -> SpecFailure {
        let kind = match end {
            spec_wire::End::TimeLimit => FailureKind::TimeLimit { seconds: self.limits.seconds },
            spec_wire::End::TooLarge => FailureKind::TooLarge { limit: self.limits.output_bytes },
            spec_wire::End::Crashed(how) => FailureKind::Crashed { how },
            spec_wire::End::Rejected | spec_wire::End::Parsed => FailureKind::Rejected,
        };
        let directory = format!("{BUILD}/SPECS/{}", job.input.name);
        let spec = format!("{directory}/{}.spec", job.input.name);
        let diagnostics = complaint::diagnostics(words, &directory, &spec);
        SpecFailure { diagnostics, ..failure(job.input, kind) }
    }
}

/// Where the files of one spec are inside, and which of them count.
struct Place {
    links: Vec<(String, String)>,
    readable: Vec<String>,
    neighbours: Vec<String>,
}

/// Finds places for specs.
struct Places {
    staged: PathBuf,
    query: PathBuf,
    stage_all: bool,
    /// Host directory that holds directories of specs → where it is inside.
    trees: BTreeMap<PathBuf, String>,
    /// Files too large to be copied.
    large: BTreeMap<String, PathBuf>,
}

impl Places {
    fn new(scratch: &Path, stage_all: bool) -> Result<Self, EngineError> {
        let (staged, query) = (scratch.join("staged"), scratch.join("query"));
        for path in [&staged.join("SPECS"), &staged.join("SOURCES"), &query] {
            fs::create_dir_all(path).map_err(|source| EngineError::io("create", path, source))?;
        }
        Ok(Self { staged, query, stage_all, trees: BTreeMap::new(), large: BTreeMap::new() })
    }

    fn place(&mut self, job: &Job<'_>) -> io::Result<Place> {
        let name = &job.input.name;
        let mut place = Place { links: Vec::new(), readable: Vec::new(), neighbours: Vec::new() };
        let mut directories = vec![("SPECS", &job.spec_dir)];
        directories.push(("SOURCES", &job.input.source_dir));
        for (kind, directory) in &directories {
            let files = visible::files(directory, job.reads_files)?;
            let names = files.iter().filter_map(|file| file.name.to_str());
            place.neighbours.extend(names.map(str::to_owned));
            let own = (*kind == "SPECS").then_some(job.input.path.as_path());
            let shown = if self.stage_all { None } else { self.shown(directory, &files, own)? };
            let Some(inside) = shown else { return self.stage(job, place) };
            if job.reads_files {
                place.readable.push(inside.clone());
            } else {
                let files = files.iter().map(|file| file.name.as_path());
                let own = own.and_then(Path::file_name).map(Path::new);
                place.readable.extend(files.chain(own).map(|file| format!("{inside}/{}", file.display())));
            }
            place.links.push((format!("{BUILD}/{kind}/{name}"), inside));
        }
        place.readable.sort();
        place.readable.dedup();
        place.neighbours.sort();
        place.neighbours.dedup();
        Ok(place)
    }

    /// Returns where a directory is inside; `None` where it cannot be shown as it is.
    fn shown(
        &mut self,
        directory: &Path,
        files: &[visible::VisibleFile],
        own: Option<&Path>,
    ) -> io::Result<Option<String>> {
        let directory = std::path::absolute(directory)?;
        let (Some(tree), Some(name)) =
            (directory.parent().filter(|tree| tree.parent().is_some()), directory.file_name())
        else {
            return Ok(None);
        };
        let Some(name) = name.to_str() else { return Ok(None) };
        // The user that specs are parsed as owns nothing here.
        let for_everyone = |path: &Path, bits: u32| {
            fs::symlink_metadata(path)
                .map(|metadata| !metadata.is_symlink() && metadata.permissions().mode() & bits == bits)
        };
        if !for_everyone(&directory, 0o005)? {
            return Ok(None);
        }
        for path in files.iter().map(|file| file.path.as_path()).chain(own) {
            if path.to_str().is_none() || !for_everyone(path, 0o004)? {
                return Ok(None);
            }
        }
        for file in files.iter().filter(|file| file.name.components().count() > 1) {
            for ancestor in file.name.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()) {
                if !for_everyone(&directory.join(ancestor), 0o005)? {
                    return Ok(None);
                }
            }
        }
        let number = self.trees.len();
        let inside = self.trees.entry(tree.to_owned()).or_insert_with(|| format!("{BUILD}/trees/{number}"));
        Ok(Some(format!("{inside}/{name}")))
    }

    fn stage(&mut self, job: &Job<'_>, place: Place) -> io::Result<Place> {
        let large = job.stage(&self.staged)?;
        self.large.extend(large.into_iter().map(|(target, path)| (format!("{BUILD}/staged/{target}"), path)));
        let name = &job.input.name;
        let inside = |kind: &str| format!("{BUILD}/staged/{kind}/{name}");
        let links = ["SPECS", "SOURCES"].map(|kind| (format!("{BUILD}/{kind}/{name}"), inside(kind)));
        Ok(Place { links: links.to_vec(), readable: vec![inside("SPECS"), inside("SOURCES")], ..place })
    }

    fn surroundings(self, time_limit: Duration) -> Result<Surroundings, EngineError> {
        for tree in [&self.staged, &self.query] {
            visible::open_up(tree).map_err(|source| EngineError::io("change the mode of", tree, source))?;
        }
        let mut mounts: BTreeMap<String, PathBuf> =
            self.trees.into_iter().map(|(tree, inside)| (inside, tree)).collect();
        mounts.insert(format!("{BUILD}/staged"), self.staged);
        mounts.insert(format!("{BUILD}/query"), self.query);
        // After the directory that they lie in, as their names are longer.
        mounts.extend(self.large);
        let empty = vec![format!("{BUILD}/SPECS"), format!("{BUILD}/SOURCES")];
        Ok(Surroundings { mounts, empty, time_limit })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::num::NonZeroUsize;
    use std::sync::Mutex;

    use spec_wire::{End, Message};

    use super::*;
    use crate::release::ReleaseMacros;

    /// Plays one list of messages for each session.
    struct Script(Mutex<VecDeque<Vec<Message>>>);

    impl Launcher for Script {
        fn launch(&self, _: &Surroundings, talk: &mut Talk<'_>) -> Result<HelperEnd, EngineError> {
            let said = self.0.lock().unwrap().pop_front().expect("a session that the script does not have");
            let ready = Ready { rpm_version: "4".to_owned(), memo_off: None, unconfined: None };
            let mut bytes = Vec::new();
            for message in std::iter::once(Message::Ready(ready)).chain(said) {
                spec_wire::send(&mut bytes, &message).unwrap();
            }
            let ((_asked, asks), (answers, mut says)) = (io::pipe().unwrap(), io::pipe().unwrap());
            io::Write::write_all(&mut says, &bytes).unwrap();
            drop(says);
            let file = |fd: std::os::fd::OwnedFd| File::from(fd);
            Ok(HelperEnd { session: talk(file(asks.into()), file(answers.into())), words: String::new() })
        }
    }

    fn start(id: u32) -> Message {
        Message::Started { id }
    }

    fn end(id: u32, end: End, words: &str) -> Message {
        Message::Answer { id, end, words: words.as_bytes().to_vec(), littered: false }
    }

    /// Reads the specs `0` and `1`; returns what is wrong with each.
    fn failures(sessions: Vec<Vec<Message>>) -> Vec<SpecFailure> {
        let directory = tempfile::tempdir().unwrap();
        let spec = |name: &str| {
            let source_dir = directory.path().join("tree").join(name);
            fs::create_dir_all(&source_dir).unwrap();
            let path = source_dir.join(format!("{name}.spec"));
            fs::write(&path, "Name: x\n").unwrap();
            SpecInput { name: name.to_owned(), path, source_dir }
        };
        let options = ReadOptions {
            arch: "x86_64".to_owned(),
            defines: BTreeMap::new(),
            macro_files: Vec::new(),
            release_macros: ReleaseMacros::default(),
            source_headers: false,
        };
        let script = Script(Mutex::new(sessions.into()));
        let limits = EngineLimits::usual(NonZeroUsize::MIN);
        let specs = [spec("0"), spec("1")];
        let read = read(&script, &directory.path().join("scratch"), &limits, &specs, &options, &|| ());
        assert!(script.0.lock().unwrap().is_empty(), "not every session was held");
        read.ok().unwrap().results.into_iter().map(Result::unwrap_err).collect()
    }

    #[test]
    fn what_ran_beside_a_bad_parse_is_read_again_whatever_it_said() {
        let first =
            vec![start(0), start(2), end(2, End::Rejected, "error: hurt"), end(0, End::TimeLimit, "")];
        let again = vec![start(2), end(2, End::Rejected, "error: its own fault")];
        let failures = failures(vec![first, again]);
        assert!(matches!(failures[0].kind, FailureKind::TimeLimit { .. }));
        assert_eq!(failures[1].diagnostics[0].message, "its own fault");
    }

    #[test]
    fn what_ran_when_the_helper_died_is_read_alone() {
        let alone = |id| vec![start(id), end(id, End::Rejected, "error: alone")];
        let failures = failures(vec![vec![start(0), start(2)], alone(0), vec![start(2)]]);
        assert_eq!(failures[0].diagnostics[0].message, "alone");
        assert!(matches!(failures[1].kind, FailureKind::Crashed { .. }));
    }
}
