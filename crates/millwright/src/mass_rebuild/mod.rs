//! `rebuild --all-of`: one change set over all packages that have something in common, to be reviewed, carried out,
//! and gone on with.
//!
//! What it is not: which specs are meant, what a change set is and what of it is done are decided by `rebuild`, order
//! and builds by the scheduler.

mod carry;
mod edits;
mod follow;
mod make;
mod select;
mod sodiff;
mod store;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use rebuild::change_set::{ChangeSet, Request};
use report::{Event, ExitStatus, Failure};
use rpm_model::ReleaseBump;

use crate::arguments::{Common, Goals, words as words_of};
use crate::pipeline::Pipeline;
use crate::reporting::Reporting;
use crate::{command_line, tell};
use select::What;
use store::ChangeSetStore;

pub(crate) use sodiff::{SodiffArguments, run_sodiff};

pub(crate) const REBUILD_HELP: &str = "\
Examples:
  millwright rebuild zlib                                     build zlib again

  millwright rebuild --all-of soname:libz.so.1 --dry-run      write a change set: who is linked to it and why, in
                                                              which order, with which releases, how long it takes
  millwright rebuild --change-set build/mass-rebuilds/NAME/change-set.json
                                                              carry out what was reviewed; go on with it
  millwright rebuild --all-of soname:libz.so.1                both at once; interrupted, the same command goes on
  millwright rebuild --all-of builds-with:gcc --bump spec     raise `Release:` in each spec, instead of
                                                              counting behind %dist
  millwright rebuild --all-of requires:python3 --except jq    all whose packages require it, or a library of it
  millwright rebuild --all-of FILE                            the specs that a file names, `#` begins a remark
  millwright rebuild --all-of left-by:NAME                    what the mass rebuild NAME failed at or did not come to

Only last builds count: what was never built is told, and built by `millwright build`. See docs/mass-rebuilds.md.";

/// What `rebuild` is asked.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("set").args(["all_of", "change_set"]).multiple(true))]
pub(crate) struct RebuildArguments {
    #[command(flatten)]
    pub(crate) goals: Goals,
    /// All specs whose last builds have this in common: soname:LIBRARY, requires:NAME, builds-with:PACKAGE, left-by:NAME
    /// or a FILE of names (can be repeated: any of them is enough)
    #[arg(long, value_name = "WHAT", conflicts_with = "update_versions", help_heading = MASS)]
    all_of: Vec<String>,
    /// Leave these specs alone, separated by blanks (can be repeated)
    #[arg(long, value_name = "NAMES", requires = "all_of", help_heading = MASS)]
    except: Vec<String>,
    /// What changelog entries say [default: Rebuilt for WHAT]
    #[arg(long, value_name = "TEXT", requires = "all_of", help_heading = MASS)]
    message: Option<String>,
    /// Make a new change set, although one for the same has not come to its end
    #[arg(long, requires = "all_of", help_heading = MASS)]
    anew: bool,
    /// Carry out this change set, or go on with it; its specs must be as they were reviewed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all_of", "names", "update_versions"], help_heading = MASS)]
    change_set: Option<PathBuf>,
    /// Of a change set that was carried out already, build only what failed
    #[arg(long, requires = "set", help_heading = MASS)]
    only_failed: bool,
    /// Leave the edits of specs whose builds do not succeed
    #[arg(long, requires = "set", help_heading = MASS)]
    keep_edits: bool,
}

/// The heading of what only a mass rebuild takes.
const MASS: &str = "Rebuilds of many packages for one cause";

impl RebuildArguments {
    /// Returns whether a change set is asked for.
    pub(crate) fn is_mass_rebuild(&self) -> bool {
        !self.all_of.is_empty() || self.change_set.is_some()
    }

    fn request(&self, bump: ReleaseBump) -> Request {
        let sorted = |mut list: Vec<String>| {
            list.sort();
            list.dedup();
            list
        };
        let all_of = sorted(self.all_of.iter().map(|what| What::read(what).to_string()).collect());
        let message = self.message.clone().unwrap_or_else(|| format!("Rebuilt for {}", all_of.join(", ")));
        Request {
            all_of,
            named: sorted(self.goals.wanted()),
            except: sorted(self.except.iter().flat_map(|list| words_of(Some(list))).collect()),
            bump: bump.to_string(),
            message,
        }
    }
}

/// Where a mass rebuild finds things.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The tree's root.
    pub(crate) root: PathBuf,
    /// The build directory.
    pub(crate) build: PathBuf,
}

impl Places {
    fn records(&self) -> PathBuf {
        self.build.join("records")
    }
}

/// A mass rebuild that was asked for.
struct MassRebuild<'a> {
    pipeline: &'a Pipeline<'a>,
    common: &'a Common,
    asked: &'a RebuildArguments,
    places: &'a Places,
    only: &'a [String],
    store: ChangeSetStore,
}

/// Shows, or makes and carries out, what was asked for.
pub(crate) fn run_mass_rebuild(
    pipeline: &Pipeline<'_>,
    common: &Common,
    asked: &RebuildArguments,
    places: &Places,
    only: &[String],
    reporting: &Reporting,
) -> Result<ExitStatus, Failure> {
    let store = ChangeSetStore::new(&places.build);
    let rebuild = MassRebuild { pipeline, common, asked, places, only, store };
    if asked.goals.dry_run {
        return rebuild.show();
    }
    reporting.begin(pipeline.reporter(), &["mass-rebuild".to_owned()], &command_line());
    let result = pipeline.check_sandbox().and_then(|()| rebuild.change_set()).and_then(|set| {
        let Some(set) = set else { return Ok(ExitStatus::Done) };
        rebuild.carry_out(&set, &reporting.stopped)
    });
    if let Some(page) = reporting.finish(pipeline.reporter(), &result, pipeline.seconds()) {
        tell(common, &format!("report: {}", page.display()))?;
    }
    result
}

impl MassRebuild<'_> {
    /// Returns the change set that is meant: the one named, the one that has not come to its end, or a new one, which
    /// is written. `None` where nothing is selected.
    fn change_set(&self) -> Result<Option<ChangeSet>, Failure> {
        if let Some(file) = &self.asked.change_set {
            return self.store.read(file).map(Some);
        }
        // Of single packages the configuration may say something else.
        let request = self.asked.request(self.pipeline.limits("").bump);
        let unfinished = self.store.unfinished()?;
        if !self.asked.anew
            && let Some(set) = unfinished.iter().find(|set| set.request == request)
        {
            let message = format!(
                "going on with mass rebuild {}, which has not come to its end (--anew makes another)",
                set.name
            );
            self.pipeline.reporter().event(&Event::Note { message });
            return Ok(Some(set.clone()));
        }
        for other in unfinished.iter().filter(|set| set.request != request) {
            let message = format!(
                "mass rebuild {} has not come to its end: `millwright rebuild --change-set {}` goes on with it",
                other.name,
                self.store.file(&other.name).display()
            );
            self.pipeline.reporter().event(&Event::Note { message });
        }
        self.make(request)
    }

    /// Shows a change set and what is left of it; edits and builds nothing.
    fn show(&self) -> Result<ExitStatus, Failure> {
        let Some(set) = self.change_set()? else { return Ok(ExitStatus::Done) };
        let records = self.records()?;
        if self.asked.change_set.is_some() || self.store.progress(&set.name)?.is_some() {
            self.check(&set, &set.open(&records))?;
        }
        if self.common.json {
            let json = serde_json::to_string(&set).map_err(internal)?;
            report::print(&json)?;
            return Ok(self.status_of(&set));
        }
        let files = words::Files {
            document: &self.asked.change_set.clone().unwrap_or_else(|| self.store.file(&set.name)),
            patch: &self.store.patch(&set.name),
        };
        tell(self.common, &words::set_text(&set, &set.states(&records), &files, &crate::style()))?;
        Ok(self.status_of(&set))
    }

    /// Refuses a change set of which specs are not what was reviewed.
    fn check(&self, set: &ChangeSet, open: &BTreeSet<String>) -> Result<(), Failure> {
        let base = self.pipeline.base(false)?;
        let specs = self.pipeline.specs(&base, self.only)?;
        edits::pending_edits(set, open, &specs.document).map(drop)
    }

    fn records(&self) -> Result<BTreeMap<String, rpm_model::BuildRecord>, Failure> {
        scheduler::RecordStore::new(self.places.records()).read_all().map_err(environment)
    }

    /// Returns how it ends where everything that can be done is done.
    fn status_of(&self, set: &ChangeSet) -> ExitStatus {
        if set.left_out.is_empty() { ExitStatus::Done } else { ExitStatus::GoalsFailed }
    }
}

fn environment(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Failure {
    Failure::new(ExitStatus::Environment, error)
}

fn internal(error: serde_json::Error) -> Failure {
    Failure::new(ExitStatus::Internal, error)
}

/// Returns a failure to do something with a file.
fn io_failure(operation: &str, path: &Path, error: &std::io::Error) -> Failure {
    environment(format!("cannot {operation} `{}`: {error}", path.display()))
}
