//! A run in rounds: build, look at what the new packages provide, plan again.
//!
//! What a package that was never built provides is not known for certain, so the first plan over a tree may
//! leave packages waiting ([`PlannedAction::Waiting`](crate::PlannedAction::Waiting)). After a round that
//! built something for the first time, graph and plan are made anew from the records; what is known to be
//! provided now is built in the next round. Each further round has learned from a first build, so there are
//! at most as many rounds as specs. What still waits in the end is blocked, with the reason.
//!
//! The same goes for what `%generate_buildrequires` asks for ([`RunSummary::postponed`]): the next graph has it,
//! each spec is postponed at most once for the same requirements, and what nothing provides is blocked.

use std::collections::BTreeSet;

use report::{Event, Reporter};
use rpm_model::{BuildReason, Requirement};

use crate::plan::{PlanDocument, PlannedAction};
use crate::run::RunSummary;

/// What earlier rounds of a run did.
#[derive(Clone, Debug, Default)]
pub struct Rounds {
    /// What all of them did together.
    pub summary: RunSummary,
    /// Requirements that any of them waited for.
    pub awaited: BTreeSet<Requirement>,
    /// How many there were.
    pub number: usize,
}

/// How a run in rounds ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The last plan: what it blocks stays blocked.
    pub plan: PlanDocument,
    /// What all rounds did together.
    pub summary: RunSummary,
}

/// Carries plans out, round after round, until nothing more can be learned or the run was stopped.
///
/// `plan` makes a plan from the records as they are, given what earlier rounds did; `build` carries it out.
pub fn build_in_rounds<P, E>(
    first: P,
    document: impl Fn(&P) -> &PlanDocument,
    mut plan: impl FnMut(&Rounds) -> Result<P, E>,
    mut build: impl FnMut(P) -> Result<RunSummary, E>,
    stopped: impl Fn(&RunSummary) -> bool,
    reporter: &dyn Reporter,
) -> Result<Finished, E> {
    let mut rounds = Rounds::default();
    let mut planned = first;
    loop {
        let current = document(&planned).clone();
        let waiting: Vec<String> = current.waiting().map(str::to_owned).collect();
        let to_build = current.to_build().count();
        if to_build == 0 {
            return Ok(Finished { plan: current, summary: rounds.summary });
        }
        if rounds.number > 0 || !waiting.is_empty() {
            let (round, waiting) = (rounds.number + 1, waiting.len());
            reporter.event(&Event::RoundStarted { round, to_build, waiting });
        }
        let summary = build(planned)?;
        let (learned, ended) = (learns(&current, &summary), summary.halt.is_some() || stopped(&summary));
        rounds.add(&current, summary);
        let postponed: Vec<String> = rounds.summary.postponed.keys().cloned().collect();
        if waiting.is_empty() && postponed.is_empty() {
            return Ok(Finished { plan: current, summary: rounds.summary });
        }
        if ended {
            rounds.summary.not_started.extend(waiting);
            rounds.summary.not_started.extend(postponed);
            rounds.summary.not_started.sort();
            return Ok(Finished { plan: current, summary: rounds.summary });
        }
        planned = plan(&rounds)?;
        if !learned && postponed.is_empty() {
            return Ok(Finished { plan: document(&planned).clone(), summary: rounds.summary });
        }
    }
}

/// Returns whether a round built something for the first time.
fn learns(plan: &PlanDocument, summary: &RunSummary) -> bool {
    let first = |action: &PlannedAction| match action {
        PlannedAction::Build { reasons, .. } => reasons.iter().any(BuildReason::is_first_build),
        _ => false,
    };
    let mut packages = plan.packages.iter().filter(|package| first(&package.action));
    packages.any(|package| summary.has_built(&package.package))
}

impl Rounds {
    fn add(&mut self, plan: &PlanDocument, summary: RunSummary) {
        self.number += 1;
        self.awaited.extend(plan.awaited().cloned());
        self.summary.join(summary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::{Scene, plan_of};
    use crate::testing::Silent;
    use std::collections::BTreeMap;

    /// Plays a run over a scene in which building `spec` removes what the map says from what is open, and
    /// returns, round by round, what was built, then what is blocked in the end and why.
    fn play(scene: &mut Scene, shows: &[(&str, &str)], failing: &[&str]) -> (Vec<String>, Vec<String>) {
        let shows: BTreeMap<&str, &str> = shows.iter().copied().collect();
        let mut played = Vec::new();
        let first = plan_of(scene, &Rounds::default());
        let scene = std::cell::RefCell::new(scene);
        let finished = build_in_rounds::<PlanDocument, ()>(
            first,
            |plan| plan,
            |rounds| Ok(plan_of(&scene.borrow(), rounds)),
            |plan| {
                let mut summary = RunSummary::default();
                let names: Vec<String> = plan.to_build().map(|package| package.package.clone()).collect();
                played.push(names.join(" "));
                for name in names {
                    if failing.contains(&name.as_str()) {
                        summary.failed.insert(name, "%build failed".into());
                        continue;
                    }
                    scene.borrow_mut().build(&name, shows.get(name.as_str()).copied());
                    summary.built.push(name);
                }
                Ok(summary)
            },
            |_| false,
            &Silent,
        )
        .unwrap();
        let blocked = finished.plan.causes.iter();
        (played, blocked.map(|root| format!("{}: {}", root.cause, root.blocks.join(" "))).collect())
    }

    #[test]
    fn what_a_build_shows_is_used_in_the_next_round() {
        let mut scene = Scene::new(&["a:", "b: ?odd", "c: b", "d: ?even"]);
        let (played, blocked) = play(&mut scene, &[("a", "odd"), ("c", "even")], &[]);
        assert_eq!(played, ["a", "b c", "d"]);
        assert!(blocked.is_empty(), "{blocked:?}");
    }

    #[test]
    fn what_nothing_shows_is_blocked_in_the_end() {
        let mut scene = Scene::new(&["a:", "b: ?odd", "c: b"]);
        let (played, blocked) = play(&mut scene, &[], &[]);
        assert_eq!(played, ["a"]);
        assert_eq!(blocked, ["`file(odd)`: built everything that might provide it; nothing does: b c"]);
    }

    #[test]
    fn a_failure_is_not_tried_again_and_stays_what_might_have_provided() {
        let mut scene = Scene::new(&["a:", "b: ?odd", "z:"]);
        let (played, blocked) = play(&mut scene, &[], &["a"]);
        assert_eq!(played, ["a z"]);
        assert_eq!(
            blocked,
            [
                "`a` failed: %build failed: a",
                "nothing is known to provide `file(odd)`; what might, but was never built and cannot be: a: b",
            ]
        );
    }
}
