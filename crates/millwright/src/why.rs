//! `millwright why`: what the records and the plan say about a package, and nothing is built.

use report::{ExitStatus, Failure};
use scheduler::{Style, Verdict, Wanted, why_text};

use crate::arguments::{Common, WhyArguments};
use crate::pipeline::Pipeline;
use crate::{style, tell};

/// Answers for each name; the plan behind it is the one of `millwright build` without names.
pub(crate) fn run_why(
    pipeline: &Pipeline<'_>,
    common: &Common,
    asked: &WhyArguments,
    only: &[String],
) -> Result<ExitStatus, Failure> {
    let base = pipeline.base(false)?;
    let specs = pipeline.specs(&base, only)?;
    let limits = |spec: &str| pipeline.limits(spec);
    let session = pipeline.session(&base, &specs, &limits)?;
    let (planned, names) = pipeline.decide(&session, &base, &specs, &Wanted::default(), &asked.names)?;
    let answer = session.why(&planned, &names).map_err(scheduler::failure)?;
    if common.json {
        let json =
            serde_json::to_string(&answer).map_err(|error| Failure::new(ExitStatus::Internal, error))?;
        report::print(&json)?;
    }
    tell(common, &why_text(&answer, &Style { whole: asked.all, ..style() }))?;
    let is_blocked = |verdict: &Verdict| matches!(verdict, Verdict::Blocked { .. });
    let blocked = answer.packages.iter().any(|package| is_blocked(&package.now));
    Ok(if blocked { ExitStatus::GoalsFailed } else { ExitStatus::Done })
}
