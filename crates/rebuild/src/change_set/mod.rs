//! A mass rebuild as a document: which specs are built again and why, in which order, what of them is edited, and
//! what became of it.
//!
//! What was reviewed is what is carried out: the document holds every edit as lines that go and come, and the hash
//! of each spec before and after it. What is done is told by records of builds alone, never by time: an interrupted
//! mass rebuild needs no notes to go on.
//!
//! What it is not: it reads and writes no file, and starts no build.

mod edit;
mod layers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rpm_model::{BuildReason, BuildRecord, ContentDigest, ContentHasher, Evr};
use serde::{Deserialize, Serialize};

pub use edit::{LineEdit, TextEdit, patch};
pub use layers::{Place, layers};

use crate::select::Evidence;

/// What was asked for; two mass rebuilds with the same request are one, as long as the first has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What the specs have in common, sorted; one of them is enough.
    pub all_of: Vec<String>,
    /// Specs that were named besides, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
    /// Specs that are left alone, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// How releases rise, as `--bump` names it.
    pub bump: String,
    /// What changelog entries say.
    pub message: String,
}

impl Request {
    /// Returns what the specs have in common, in words.
    pub fn cause(&self) -> String {
        self.all_of.join(", ")
    }
}

/// What is known of a build, to be recognised: another build has another mark, however alike its packages are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildMark {
    /// The build.
    pub build: ContentDigest,
    /// Its packages.
    pub packages: ContentDigest,
}

impl BuildMark {
    /// Returns the mark of a recorded build. What a refresh of records rewrites is no part of it.
    pub fn of(record: &BuildRecord) -> Self {
        let files = record.rpms.iter().map(|rpm| format!("{} {}", rpm.artifact.path, rpm.artifact.sha256));
        let mut hasher = ContentHasher::new("packages-of-a-build", 1);
        hasher.list("files", files);
        let packages = hasher.finish();
        let mut hasher = ContentHasher::new("mark-of-a-build", 1);
        hasher
            .field("identity", record.identity.as_str())
            .field("source", record.srpm.sha256.as_str())
            .field("packages", packages.as_str())
            // Two builds of the same take the same time to the last bit as often as hashes collide.
            .field("took", &record.usage.wall_seconds.to_bits().to_string())
            .list("reasons", record.reasons.iter().map(ToString::to_string));
        Self { build: hasher.finish(), packages }
    }
}

/// The edit of one spec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecEdit {
    /// The spec's content after it.
    pub sha256_after: ContentDigest,
    /// The lines that go and come.
    pub lines: TextEdit,
}

/// What a counter behind `%dist` makes of a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "counter", rename_all = "kebab-case")]
pub enum CountedRelease {
    /// It becomes this, unless the package comes out the same.
    Rises {
        /// Epoch, version and release.
        to: Evr,
    },
    /// It should rise and cannot: the package keeps its release, however it comes out.
    Stays {
        /// Why, and what can be done.
        because: String,
    },
}

/// One spec of a mass rebuild.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangedSpec {
    /// The spec's name.
    pub spec: String,
    /// Its layer, counted from 1: one more than the highest of those of the set that it needs.
    pub layer: usize,
    /// Why it belongs to the set.
    pub because: Vec<Evidence>,
    /// The file, relative to [`ChangeSet::directory`].
    pub path: String,
    /// What is published; `None` where it was never built.
    pub from: Option<Evr>,
    /// What the spec will say.
    pub to: Evr,
    /// What becomes of that, where releases are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<CountedRelease>,
    /// The spec's content as it was reviewed.
    pub sha256: ContentDigest,
    /// What is edited before it is built, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<SpecEdit>,
    /// The build that another one has to follow; `None` where it was never built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<BuildMark>,
    /// Expected duration of its build, in seconds.
    pub estimate_seconds: f64,
}

/// Why a selected spec is not built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum LeftOutReason {
    /// Its release cannot be raised.
    ReleaseCannotRise {
        /// Why not, and what to do about it.
        message: String,
    },
    /// It was built once, but the tree has no such spec any more.
    NoSpec,
    /// Its spec cannot be read.
    BadSpec {
        /// rpm's own words.
        message: String,
    },
}

impl fmt::Display for LeftOutReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReleaseCannotRise { message } => f.write_str(message),
            Self::NoSpec => f.write_str("it was built once, but the tree has no such spec any more"),
            Self::BadSpec { message } => write!(f, "its spec cannot be read: {message}"),
        }
    }
}

/// A selected spec that is not built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The spec's name.
    pub spec: String,
    /// Why.
    #[serde(flatten)]
    pub reason: LeftOutReason,
}

/// How long a mass rebuild will take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpectedTime {
    /// All builds together, in seconds.
    pub work_seconds: f64,
    /// At least so long with these workers, in seconds.
    pub at_least_seconds: f64,
    /// Packages built at the same time.
    pub workers: usize,
    /// How many durations are guessed.
    pub guessed: usize,
}

/// `change-set.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeSet {
    /// This code reads and writes [`ChangeSet::SCHEMA`].
    pub schema: u32,
    /// Its name: what was asked for first, and a piece of the hash of all that is done.
    pub name: String,
    /// What was asked for.
    pub request: Request,
    /// How many specs are built.
    pub count: usize,
    /// How long that takes.
    pub time: ExpectedTime,
    /// Where the patch is applied, and what paths are relative to.
    pub directory: String,
    /// What is built, by layer and name.
    pub specs: Vec<ChangedSpec>,
    /// What was selected and is not built, by name.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// Specs of the tree that nobody knows to belong to it, for they were never built; sorted.
    #[serde(default)]
    pub never_built: Vec<String>,
    /// Specs that are built besides, because the set needs them and they were due when it was made; sorted.
    #[serde(default)]
    pub also_due: Vec<String>,
}

/// What became of one spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecState {
    /// It is still to be built.
    Open,
    /// It was built again, and its packages differ.
    Rebuilt,
    /// It was built again, and its packages are the same: they are kept.
    Identical,
}

/// What a spec's text is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecContent {
    /// As it was reviewed.
    Reviewed,
    /// As it is after its edit.
    Edited,
}

/// Letters of a name that come from what was asked for.
const NAME: usize = 40;
/// Letters of a name that come from the hash.
const HASH: usize = 8;

impl ChangeSet {
    /// The schema that this code reads and writes.
    pub const SCHEMA: u32 = 1;

    /// Returns a change set over these specs.
    pub fn new(
        request: Request,
        directory: String,
        time: ExpectedTime,
        mut specs: Vec<ChangedSpec>,
        mut left_out: Vec<LeftOut>,
        never_built: Vec<String>,
        also_due: Vec<String>,
    ) -> Self {
        specs.sort_by(|a, b| (a.layer, &a.spec).cmp(&(b.layer, &b.spec)));
        left_out.sort_by(|a, b| a.spec.cmp(&b.spec));
        let name = name(&request, &specs);
        let count = specs.len();
        Self {
            schema: Self::SCHEMA,
            name,
            request,
            count,
            time,
            directory,
            specs,
            left_out,
            never_built,
            also_due,
        }
    }

    /// Returns whether a text can be a name: names become directories.
    pub fn is_name(text: &str) -> bool {
        !text.is_empty() && !text.starts_with('.') && text.chars().all(is_name_letter)
    }

    /// Returns the reason that its builds are recorded with.
    pub fn build_reason(&self) -> BuildReason {
        BuildReason::MassRebuild { name: self.name.clone(), cause: self.request.cause() }
    }

    /// Returns how many layers it has.
    pub fn layers(&self) -> usize {
        self.specs.iter().map(|spec| spec.layer).max().unwrap_or(0)
    }

    /// Returns what became of each spec, as the records of last builds tell.
    pub fn states(&self, records: &BTreeMap<String, BuildRecord>) -> BTreeMap<&str, SpecState> {
        self.specs.iter().map(|spec| (spec.spec.as_str(), self.state(spec, records))).collect()
    }

    fn state(&self, spec: &ChangedSpec, records: &BTreeMap<String, BuildRecord>) -> SpecState {
        let Some(record) = records.get(&spec.spec) else { return SpecState::Open };
        let mark = BuildMark::of(record);
        let is_its_own = record.reasons.contains(&self.build_reason());
        let is_another = spec.before.as_ref().is_none_or(|before| before.build != mark.build);
        // Whoever built it: with the release that was to be, or a higher one, it is done.
        if !(is_its_own || is_another) || record.source.evr.compare(&spec.to).is_lt() {
            SpecState::Open
        } else if spec.before.as_ref().is_some_and(|before| before.packages == mark.packages) {
            SpecState::Identical
        } else {
            SpecState::Rebuilt
        }
    }

    /// Returns the names of specs that are still to be built.
    pub fn open(&self, records: &BTreeMap<String, BuildRecord>) -> BTreeSet<String> {
        let states = self.states(records).into_iter().filter(|(_, state)| *state == SpecState::Open);
        states.map(|(spec, _)| spec.to_owned()).collect()
    }
}

impl ChangedSpec {
    /// Returns what a text of the spec is; `None` where it is neither what was reviewed nor what the edit makes of it.
    pub fn content(&self, text: &[u8]) -> Option<SpecContent> {
        let digest = ContentDigest::of_bytes(text);
        if digest == self.sha256 {
            Some(SpecContent::Reviewed)
        } else if self.edit.as_ref().is_some_and(|edit| edit.sha256_after == digest) {
            Some(SpecContent::Edited)
        } else {
            None
        }
    }

    /// Returns the text after the edit; `None` where the text is not the reviewed one, or the edit is not what its
    /// hash says.
    pub fn edited(&self, reviewed: &str) -> Option<String> {
        let edit = self.edit.as_ref()?;
        let text = edit.lines.apply(reviewed)?;
        (ContentDigest::of_bytes(text.as_bytes()) == edit.sha256_after).then_some(text)
    }

    /// Returns the text as it was reviewed; `None` where it cannot be had from this text.
    pub fn restored(&self, edited: &str) -> Option<String> {
        let text = self.edit.as_ref()?.lines.undo(edited)?;
        (ContentDigest::of_bytes(text.as_bytes()) == self.sha256).then_some(text)
    }
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "._+-".contains(letter)
}

fn name(request: &Request, specs: &[ChangedSpec]) -> String {
    let mut hasher = ContentHasher::new("mass-rebuild", 1);
    hasher
        .list("all-of", &request.all_of)
        .list("named", &request.named)
        .list("except", &request.except)
        .field("bump", &request.bump)
        .field("message", &request.message);
    for spec in specs {
        let after = spec.edit.as_ref().map_or("", |edit| edit.sha256_after.as_str());
        let before = spec.before.as_ref().map_or("", |before| before.build.as_str());
        hasher.list("spec", [&*spec.spec, &*spec.path, spec.sha256.as_str(), after, before]);
    }
    let first = request.all_of.first().or(request.named.first()).map_or("", String::as_str);
    let file = first.rsplit('/').next().unwrap_or(first).trim_start_matches('.');
    let letters = file.chars().map(|letter| if is_name_letter(letter) { letter } else { '-' });
    let words: String = letters.take(NAME).collect();
    format!("{words}-{}", &hasher.finish().as_str()[..HASH])
}
