//! `millwright why`: what the records and the plan say about a package, and nothing is built.

use clap::Args;
use report::{ExitStatus, Failure};
use scheduler::{Style, Verdict, Wanted, why_text};

use crate::arguments::Common;
use crate::pipeline::Pipeline;
use crate::{style, tell_answer};

pub(crate) const WHY_HELP: &str = "\
Says of each package why it was built last, whether `millwright build` builds it now and why, and otherwise what was
compared, what changed without counting, and what would make it due. Reasons that other packages caused are followed
to where they began; of changed inputs it says which file or macro it was.

Examples:
  millwright why zlib                 a spec
  millwright why zlib-devel jq --all  packages; with everything that changed in their build roots
  millwright why jq --json            one document, see docs/rebuilds.md

Exit codes: 0 told, 1 told, and one of them cannot be built, 2 usage, configuration or an unknown name, 3 the host
lacks something, 4 a defect of Millwright";

/// What `why` is asked.
#[derive(Debug, Args)]
pub(crate) struct WhyArguments {
    /// Specs or packages
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Show everything, however long
    #[arg(long, short = 'v')]
    pub(crate) all: bool,
}

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
    tell_answer(common, &why_text(&answer, &Style { whole: asked.all, ..style() }))?;
    let is_blocked = |verdict: &Verdict| matches!(verdict, Verdict::Blocked { .. });
    let blocked = answer.packages.iter().any(|package| is_blocked(&package.now));
    Ok(if blocked { ExitStatus::GoalsFailed } else { ExitStatus::Done })
}
