//! What a person reads about a plan and a run.

mod plan;
mod run;
mod simulation;

pub use plan::{PlanWords, blocked_text, plan_text};
pub use run::{run_status, summary_text};
pub use simulation::simulation_text;

/// Returns seconds as people say them.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=119 => format!("{whole} s"),
        120..=7199 => format!("{} min", whole.div_ceil(60)),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!([0.25, 12.4, 125.0, 9000.0].map(duration), ["0.2 s", "12 s", "3 min", "2.5 h"]);
    }
}
