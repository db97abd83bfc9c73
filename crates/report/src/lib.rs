//! The one place where Millwright talks.
//!
//! What it is: the event stream that all long work reports into ([`Event`], [`Reporter`]) with its renderers
//! for a terminal, for a plain log and for programs (JSON lines), and the end of every binary: a [`Failure`]
//! becomes `error:`, `caused by:` and `help:` lines and a fixed exit code ([`ExitStatus`]). What was asked for
//! goes to standard output ([`print`]) or a file, drawn by Graphviz where a whole graph is wanted.
//!
//! What it is not: it decides nothing and knows no file formats. Libraries take a [`Reporter`]; only
//! binaries choose which.

mod event;
mod failure;
mod frame;
mod lines;
mod live;
mod output;
mod planned;
mod progress;
mod recorder;
mod render;
mod run_report;
mod store;
mod text;
mod ticker;
mod usage;

pub use event::{Event, PackageEnd, RunOutcome, Stage};
pub use failure::{ExitStatus, Failure, conclude, guarded};
pub use live::TerminalReporter;
pub use output::{GRAPHVIZ_NODES, graphviz_svg, print, rewrite_file, write_file};
pub use planned::{Hindrance, PlannedBuild, RunPlan};
pub use recorder::{Recorder, read_events};
pub use render::{
    Appearance, Color, JsonReporter, PlainReporter, QuietReporter, TimedEvent, choose, set_color,
};
pub use run_report::{
    BuildSpan, FailureReport, PackageReport, PackageState, PhaseSpan, RunReport, StageReport,
    UnusedRequirements, junit_text,
};
pub use store::{Extras, ReportStore, Written, run_name};
pub use text::{columns, counted, duration, printable, terminal_columns};

/// Takes events; implementations are shared by all threads of a run.
pub trait Reporter: Send + Sync {
    /// Takes one event. Must not block for long and cannot fail: a report that cannot be written is lost.
    fn event(&self, event: &Event);
}
