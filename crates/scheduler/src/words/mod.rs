//! What a person reads about a plan and a run.

mod plan;
mod run;
mod simulation;

pub use plan::{PlanWords, blocked_text, plan_text};
pub use report::duration;
pub use run::{run_status, summary_text};
pub use simulation::simulation_text;
