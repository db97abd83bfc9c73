//! Workers killed at random moments of their life: nothing of them runs or lies about, and the next one succeeds.

use testkit::{KillReport, KillTrial, STAGES};

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, program_path};

/// How many workers are killed; `cargo xtask bench kills` kills more.
const KILLS: usize = 10;

#[test]
fn a_worker_killed_at_any_moment_leaves_nothing() {
    let Some(tree) = Tree::new("killed-workers") else { return };
    tree.configure(&format!("{OFFLINE}[build]\nrun-check = true\n"));
    let work = "for i in 1 2 3; do (sleep 0.1; :) & done; wait";
    tree.spec(&Spec::data("victim").build(work).install(work).check(work));
    tree.millwright(&["build"]).exits(0);
    let job = tree.path("build/work/jobs/victim/job.json");
    let trial = KillTrial::new(&program_path("pkgworker"), &job, &tree.path("trial"));
    for stage in STAGES.into_iter().cycle().take(KILLS) {
        let KillReport { leftovers, next_failure, .. } = trial.kill(stage);
        assert_eq!((leftovers, next_failure), (Vec::new(), None), "killed in {}", stage.name());
    }
}
