//! What a person reads about a plan, a run and the reasons for both.

mod plan;
mod run;
mod simulation;
mod why;

pub(crate) use plan::deferred_text;
pub use plan::{PlanWords, blocked_text, plan_text};
pub use report::duration;
pub use run::{run_status, summary_text};
pub use simulation::simulation_text;
pub use why::why_text;
