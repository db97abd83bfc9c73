//! A new change set: what is selected, in its order, with the releases that it will have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rebuild::bump::{ChangelogEntry, bump_spec, published_evr};
use rebuild::change_set::{
    BuildMark, ChangeSet, ChangedSpec, CountedRelease, ExpectedTime, LeftOut, LeftOutReason, Place, Request,
    SpecEdit, TextEdit, layers, patch,
};
use rebuild::select::Evidence;
use report::{Event, Failure, counted};
use rpm_model::{BuildRecord, ContentDigest, Evr, ReleaseBump, SpecData};
use scheduler::{PlanDocument, Planned, PlannedRelease, Rounds, Wanted, blocked_text};

use super::select::{Facts, Selected};
use super::{MassRebuild, io_failure};
use crate::mkpkg::{packager, published_evrs, today};
use crate::tell;

/// What is done about a spec's release.
enum ReleaseStep {
    /// The spec stays as it is; this is what it yields.
    Stays(Evr),
    /// The spec is edited.
    Edit {
        /// What it yields then.
        to: Evr,
        /// Its text then.
        text: String,
    },
}

/// What a changelog entry says.
struct Entry {
    day: String,
    author: String,
    message: String,
}

impl MassRebuild<'_> {
    /// Makes a change set and writes it with its patch; `None` where nothing is selected, which is told.
    pub(super) fn make(&self, request: Request) -> Result<Option<ChangeSet>, Failure> {
        let base = self.pipeline.base(false)?;
        let specs = self.pipeline.specs(&base, self.only)?;
        let records = self.records()?;
        let facts = Facts { records: &records, document: &specs.document, store: &self.store };
        let selected = facts.selected(&request)?;
        let count = selected.members.len() + selected.left_out.len();
        let message = format!("{} selects {}", request.cause(), counted(count, "spec"));
        self.pipeline.reporter().event(&Event::Note { message });
        if count == 0 {
            return Ok(None);
        }
        let limits = |spec: &str| self.pipeline.limits(spec);
        let session = self.pipeline.session(&base, &specs, &limits)?;
        let wanted = self.wanted(&selected.members.keys().cloned().collect());
        let planned = self.pipeline.plan(&session, &base, &specs, &wanted, &Rounds::default(), true)?;
        let blocked = blocked_text(&planned.plan, &crate::style());
        if !blocked.is_empty() && self.asked.goals.dry_run {
            tell(self.common, &blocked)?;
        }
        let root = std::fs::canonicalize(&self.places.root)
            .map_err(|error| io_failure("find", &self.places.root, &error))?;
        let paths = paths(&specs.document.specs, &selected)?;
        // What lies elsewhere can be patched from the root of the file system alone.
        let is_inside = paths.values().all(|path| path.starts_with(&root));
        let directory = if is_inside { root } else { PathBuf::from("/") };
        let entry = Entry { day: today(), author: packager()?, message: request.message.clone() };
        let asked = |spec: &str| self.pipeline.limits(spec).bump;
        let making = Making { planned: &planned, entry: &entry, directory: &directory, asked: &asked };
        let Made { changed, left_out, patches } = making.specs(&specs.document.specs, &selected, &paths)?;
        let time = time(&planned.plan, &changed);
        let directory = directory.to_string_lossy().into_owned();
        let also_due = also_due(&planned.plan, &selected.members);
        let Selected { never_built, .. } = selected;
        let set = ChangeSet::new(request, directory, time, changed, left_out, never_built, also_due);
        self.store.write(&set, &patch_text(&set, &patches))?;
        Ok(Some(set))
    }

    /// Returns what a run over these specs is asked.
    pub(super) fn wanted(&self, names: &BTreeSet<String>) -> Wanted {
        let names: Vec<String> = names.iter().cloned().collect();
        Wanted { goals: names.clone(), ..crate::wanted(&self.asked.goals, &names) }
    }
}

/// Returns the files of the members, without links: what a link points to is edited.
fn paths(specs: &[SpecData], selected: &Selected) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let members = specs.iter().filter(|spec| selected.members.contains_key(&spec.name));
    members
        .map(|spec| {
            let path = Path::new(&spec.spec_path);
            let found = std::fs::canonicalize(path).map_err(|error| io_failure("find", path, &error))?;
            Ok((spec.name.clone(), found))
        })
        .collect()
}

/// What became of the members.
#[derive(Default)]
struct Made {
    /// What is built.
    changed: Vec<ChangedSpec>,
    /// What is not.
    left_out: Vec<LeftOut>,
    /// The patch of each spec that is edited, by spec.
    patches: BTreeMap<String, String>,
}

/// What the specs of a change set are made from.
struct Making<'a> {
    planned: &'a Planned,
    entry: &'a Entry,
    directory: &'a Path,
    /// How the release of a spec rises.
    asked: &'a dyn Fn(&str) -> ReleaseBump,
}

impl Making<'_> {
    /// Looks at each member.
    fn specs(
        &self,
        specs: &[SpecData],
        selected: &Selected,
        paths: &BTreeMap<String, PathBuf>,
    ) -> Result<Made, Failure> {
        let layers = self.layers(&selected.members.keys().map(String::as_str).collect());
        let mut made = Made { left_out: selected.left_out.clone(), ..Made::default() };
        for spec in specs {
            let name = &spec.name;
            let (Some(because), Some(path)) = (selected.members.get(name), paths.get(name)) else { continue };
            let bytes = std::fs::read(path).map_err(|error| io_failure("read", path, &error))?;
            let step = match self.release_step(spec, &bytes) {
                Ok(step) => step,
                Err(reason) => {
                    made.left_out.push(LeftOut { spec: name.clone(), reason });
                    continue;
                }
            };
            let relative = path.strip_prefix(self.directory).unwrap_or(path).to_string_lossy().into_owned();
            if let (ReleaseStep::Edit { text, .. }, Ok(old)) = (&step, std::str::from_utf8(&bytes)) {
                made.patches.insert(name.clone(), patch(&relative, old, text));
            }
            let layer = layers.get(name.as_str()).copied().unwrap_or(1);
            made.changed.push(self.changed(spec, because, relative, &bytes, step, layer));
        }
        Ok(made)
    }

    fn changed(
        &self,
        spec: &SpecData,
        because: &[Evidence],
        path: String,
        bytes: &[u8],
        step: ReleaseStep,
        layer: usize,
    ) -> ChangedSpec {
        let record = self.planned.records.get(&spec.name);
        let planned = self.planned.plan.packages.iter().find(|package| package.package == spec.name);
        let (to, edit) = match step {
            ReleaseStep::Stays(to) => (to, None),
            ReleaseStep::Edit { to, text } => {
                let lines = TextEdit::between(&String::from_utf8_lossy(bytes), &text);
                (to, Some(SpecEdit { sha256_after: ContentDigest::of_bytes(text.as_bytes()), lines }))
            }
        };
        ChangedSpec {
            spec: spec.name.clone(),
            layer,
            because: because.to_vec(),
            path,
            from: record.map(published_evr),
            to,
            counted: planned.and_then(|package| package.release.clone()).map(|release| match release {
                PlannedRelease::Rise { to } => CountedRelease::Rises { to },
                PlannedRelease::Stay { because } => CountedRelease::Stays { because },
            }),
            sha256: ContentDigest::of_bytes(bytes),
            edit,
            before: record.map(BuildMark::of),
            estimate_seconds: planned.map_or(0.0, |package| package.estimate.seconds),
        }
    }

    /// Decides about a release; here each way of raising it has its place.
    fn release_step(&self, spec: &SpecData, bytes: &[u8]) -> Result<ReleaseStep, LeftOutReason> {
        let stays = Ok(ReleaseStep::Stays(spec.source.evr.clone()));
        match ((self.asked)(&spec.name), self.planned.records.get(&spec.name)) {
            // A first build has nothing to be above of; whether a counter is needed, its build shows.
            (ReleaseBump::Dist | ReleaseBump::None, _) | (ReleaseBump::Spec, None) => stays,
            (ReleaseBump::Spec, Some(record)) => self.spec_edit(spec, record, bytes),
        }
    }

    fn spec_edit(
        &self,
        spec: &SpecData,
        record: &BuildRecord,
        bytes: &[u8],
    ) -> Result<ReleaseStep, LeftOutReason> {
        let published = published_evrs(record, &self.planned.universe.state());
        // Whoever raised it already meant the next build.
        if published.iter().all(|other| spec.source.evr.compare(other).is_gt()) {
            return Ok(ReleaseStep::Stays(spec.source.evr.clone()));
        }
        let fail = |message: String| LeftOutReason::ReleaseCannotRise {
            message: format!("`{}`: {message}", spec.spec_path),
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| fail("it is not UTF-8, so nothing is edited; raise it by hand".to_owned()))?;
        let Entry { day, author, message } = self.entry;
        let bumped = bump_spec(text, &spec.source.evr, &published, &ChangelogEntry { day, author, message })
            .map_err(|error| fail(error.to_string()))?;
        Ok(ReleaseStep::Edit { to: bumped.evr, text: bumped.text })
    }

    fn layers<'p>(&'p self, members: &BTreeSet<&str>) -> BTreeMap<&'p str, usize> {
        let places = self.planned.plan.packages.iter().map(|package| Place {
            spec: &package.package,
            needs: package.needs.iter().map(String::as_str).collect(),
        });
        layers(&places.collect::<Vec<_>>(), members)
    }
}

/// Returns what is built besides.
fn also_due(plan: &PlanDocument, members: &BTreeMap<String, Vec<Evidence>>) -> Vec<String> {
    let others = plan.to_build().filter(|package| !members.contains_key(&package.package));
    let mut others: Vec<String> = others.map(|package| package.package.clone()).collect();
    others.sort();
    others
}

fn time(plan: &PlanDocument, changed: &[ChangedSpec]) -> ExpectedTime {
    ExpectedTime {
        work_seconds: changed.iter().map(|spec| spec.estimate_seconds).sum(),
        at_least_seconds: plan.time.at_least_seconds,
        workers: plan.time.workers,
        guessed: plan.time.guessed,
    }
}

/// Returns the patch of all edits, in the order of the change set; what stands before the first is for people.
fn patch_text(set: &ChangeSet, patches: &BTreeMap<String, String>) -> String {
    let edited: Vec<&String> = set.specs.iter().filter_map(|spec| patches.get(&spec.spec)).collect();
    let mut text = format!(
        "Mass rebuild {} for {}: {} built again, {} edited.\nIn {}: patch -p1, or git apply.\n\n",
        set.name,
        set.request.cause(),
        counted(set.count, "spec"),
        edited.len(),
        set.directory,
    );
    edited.into_iter().for_each(|patch| text.push_str(patch));
    text
}
