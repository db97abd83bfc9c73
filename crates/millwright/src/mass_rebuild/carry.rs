//! A change set carried out: edits, builds, what did not succeed put back, and what became of it told.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use rebuild::change_set::ChangeSet;
use report::{Event, ExitStatus, Failure};
use rpm_model::ReleaseBump;
use scheduler::{Finished, Rounds, run_status, summary_text};

use super::edits::{apply, pending_edits, undo};
use super::follow::SetReporter;
use super::store::Progress;
use super::{MassRebuild, words};
use crate::tell;

impl MassRebuild<'_> {
    /// Carries out what of a change set is not done yet. Sets `stopped` where the user ended it.
    pub(super) fn carry_out(&self, set: &ChangeSet, stopped: &Cell<bool>) -> Result<ExitStatus, Failure> {
        let mut progress = self.store.progress(&set.name)?.unwrap_or_default();
        let open = set.open(&self.records()?);
        let mut members = open.clone();
        if self.asked.only_failed {
            members.retain(|spec| progress.failed.contains_key(spec));
        }
        if members.is_empty() {
            return self.end(set, progress, ExitStatus::Done);
        }
        let base = self.pipeline.base(false)?;
        let specs = self.pipeline.specs(&base, self.only)?;
        let edits = pending_edits(set, &members, &specs.document)?;
        progress.complete = false;
        // From here on the same command goes on with it.
        self.store.write_progress(&set.name, &progress)?;
        // Whoever stops the run has the edits taken back first.
        let _attending = (!edits.is_empty()).then(|| self.pipeline.stop().attend());
        let built = apply(&edits).and_then(|()| self.build(set, &members, open, &mut progress, stopped));
        if !self.asked.keep_edits {
            self.put_back(set)?;
        }
        self.end(set, progress, built?)
    }

    /// Builds these members and what they need, round after round.
    fn build(
        &self,
        set: &ChangeSet,
        members: &BTreeSet<String>,
        open: BTreeSet<String>,
        progress: &mut Progress,
        stopped: &Cell<bool>,
    ) -> Result<ExitStatus, Failure> {
        let pipeline = self.pipeline;
        let base = pipeline.base(false)?;
        let specs = pipeline.specs(&base, self.only)?;
        let tests = crate::chosen_tests(&self.asked.goals, &specs)?;
        // What was reviewed says whether releases rise, whatever is typed or configured when it is carried out.
        let leaves_releases = set.request.bump == ReleaseBump::None.as_str();
        let limits = |spec: &str| {
            let mut limits = tests.over(spec, pipeline.limits(spec));
            if leaves_releases {
                limits.bump = ReleaseBump::None;
            }
            limits
        };
        let of_set = (set.name.as_str(), set.count);
        let follower = SetReporter::new(pipeline.reporter(), &self.store, of_set, open, progress.clone());
        let mut session = pipeline.session(&base, &specs, &limits)?;
        session.settings.run_check |= !tests.rerun.is_empty();
        session.settings.run.verbose = true;
        session.settings.run.find_unused = self.asked.goals.find_unused;
        session.reporter = &follower;
        let mut wanted = self.wanted(members);
        wanted.causes = members.iter().map(|spec| (spec.clone(), set.build_reason())).collect();
        let plan = |rounds: &Rounds| pipeline.plan(&session, &base, &specs, &wanted, rounds, false);
        let first = plan(&Rounds::default())?;
        let Finished { plan, summary } = pipeline.carry_out(&session, first, plan)?;
        stopped.set(pipeline.stop().is_asked());
        crate::tell_blocked(self.common, &plan)?;
        tell(self.common, &summary_text(&plan, &summary, pipeline.seconds()))?;
        progress.failed = follower.failed();
        let by_run = summary.blocked.iter().map(|(spec, by)| (spec.clone(), by.iter().cloned().collect()));
        let by_plan = plan
            .causes
            .iter()
            .flat_map(|root| root.blocks.iter().map(|spec| (spec.clone(), vec![root.cause.to_string()])));
        let mut blocked: BTreeMap<String, Vec<String>> = by_plan.collect();
        blocked.extend(by_run);
        blocked.retain(|spec, _| members.contains(spec) && !progress.failed.contains_key(spec));
        progress.blocked = blocked;
        Ok(run_status(&plan, &summary))
    }

    /// Puts the specs back whose builds did not succeed, in this run or another, and tells which.
    fn put_back(&self, set: &ChangeSet) -> Result<(), Failure> {
        let undone = undo(set, &set.open(&self.records()?))?;
        if !undone.is_empty() {
            let message = format!(
                "as before, for their builds did not succeed: {} (--keep-edits leaves them edited)",
                grapher::list_of_names(&undone, 20)
            );
            self.pipeline.reporter().event(&Event::Note { message });
        }
        Ok(())
    }

    /// Writes down and tells what became of a change set.
    fn end(&self, set: &ChangeSet, mut progress: Progress, built: ExitStatus) -> Result<ExitStatus, Failure> {
        let records = self.records()?;
        let open = set.open(&records);
        progress.failed.retain(|spec, _| open.contains(spec));
        progress.blocked.retain(|spec, _| open.contains(spec));
        progress.complete = open.is_empty();
        self.store.write_progress(&set.name, &progress)?;
        let file = self.asked.change_set.clone().unwrap_or_else(|| self.store.file(&set.name));
        let text = words::end_text(set, &set.states(&records), &progress, &file, &crate::style());
        tell(self.common, &text)?;
        Ok(match built {
            ExitStatus::Done if !open.is_empty() || !set.left_out.is_empty() => ExitStatus::GoalsFailed,
            other => other,
        })
    }
}
