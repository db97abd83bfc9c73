//! Workers killed at random moments of their life: nothing of them runs or lies about, and the next one succeeds.

use testkit::{KillReport, KillTrial, STAGES};

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, program_path};

/// How many workers are killed; `cargo xtask bench kills` kills more.
const KILLS: usize = 10;

#[test]
fn a_worker_killed_at_any_moment_leaves_nothing() {
    let Some(tree) = Tree::new("killed-workers") else { return };
    // With so little memory its files are on disk.
    let limits = "[packages.on-disk]\nmemory-limit-mib = 512\n";
    tree.configure(&format!("{OFFLINE}[build]\nrun-check = true\n{limits}"));
    let work = "for i in 1 2 3; do (sleep 0.1; :) & done; wait";
    let victims = ["victim", "on-disk"];
    for victim in victims {
        tree.spec(&Spec::data(victim).build(work).install(work).check(work));
    }
    tree.millwright(&["build"]).exits(0);
    let trials = victims.map(|victim| {
        let job = tree.path(&format!("build/work/jobs/{victim}/job.json"));
        KillTrial::new(&program_path("pkgworker"), &job, &tree.path(&format!("trial-{victim}")))
    });
    let mut running = 0;
    for (number, stage) in STAGES.into_iter().cycle().take(KILLS).enumerate() {
        // Each stage's second turn is the other one's: the number of stages is odd.
        let KillReport { leftovers, next_failure, was_running } = trials[number % 2].kill(stage);
        running += usize::from(was_running);
        assert_eq!((leftovers, next_failure), (Vec::new(), None), "killed in {}", stage.name());
    }
    // A worker that has ended by itself leaves nothing either, and says nothing about kills.
    assert!(running > 0, "every worker had ended before it was killed");
}
