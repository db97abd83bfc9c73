//! The reasons for a build in words.
//!
//! What it is not: it holds no reason; those are data of the documents, [`BuildReason`].

use std::fmt;

use crate::document::BuildReason;
use crate::evr::Evr;
use crate::hash::ContentDigest;
use crate::nevra::Nevra;

/// More changed inputs than this are counted instead of named.
const SHOWN_CHANGES: usize = 4;

impl fmt::Display for BuildReason {
    /// Writes the reason in a few words, with both sides of each comparison.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |digest: &ContentDigest| digest.as_str()[..12].to_owned();
        let identity = |nevra: &Option<Nevra>| nevra.as_ref().map_or("absent".to_owned(), Nevra::to_string);
        match self {
            Self::NeverBuilt => f.write_str("never built"),
            Self::RecordUnreadable => f.write_str("the record of its last build cannot be read"),
            Self::Requested => f.write_str("its rebuild was asked for"),
            Self::MassRebuild { name, cause } => write!(f, "mass rebuild {name} for {cause}"),
            Self::InputsChanged { recorded, present, changed } if changed.is_empty() => {
                write!(f, "spec, sources or macros changed ({} -> {})", short(recorded), short(present))
            }
            Self::InputsChanged { changed, .. } => {
                let (shown, more) = changed.split_at(changed.len().min(SHOWN_CHANGES));
                let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
                f.write_str(&shown.join(", "))?;
                if more.is_empty() { Ok(()) } else { write!(f, " and {} more inputs", more.len()) }
            }
            Self::CheckNotRun => f.write_str("%check is asked for and was not run"),
            Self::OutputMissing { path } => write!(f, "`{path}` is missing or is not what was built"),
            Self::RequirementLost { package, requirement, by, library } => {
                write!(f, "{package} requires `{requirement}`, which nothing provides any more")?;
                // A changed package names its spec or nearly so; of a lost requirement nobody sees whose it was.
                by.as_ref().map_or(Ok(()), |by| write!(f, " since `{by}` was built"))?;
                library.as_ref().map_or(Ok(()), |library| write!(f, " ({library})"))
            }
            Self::StaticInputChanged { package, recorded, present, .. } => {
                write!(
                    f,
                    "{package}, which is compiled in, changed ({} -> {})",
                    short(recorded),
                    short(present)
                )
            }
            Self::BuildRequirementChanged { package, recorded, present, .. } => {
                write!(
                    f,
                    "{package} in its build root changed ({} -> {})",
                    identity(recorded),
                    identity(present)
                )
            }
            Self::TriggerFired { trigger, recorded, present, compared, .. } => {
                write!(f, "trigger `{trigger}` fires: ")?;
                if let Some((then, now)) = compared {
                    write!(f, "{then} -> {now}, ")?;
                }
                match recorded {
                    Some(recorded) if recorded == present => write!(f, "{present} has other content"),
                    recorded => write!(f, "{} -> {present}", identity(recorded)),
                }
            }
            Self::TriggerAnswerChanged { trigger, command, recorded, present } => {
                let recorded = recorded.as_ref().map_or("no version".to_owned(), Evr::to_string);
                write!(f, "trigger `{trigger}` fires: `{command}` gave {recorded}, gives {present}")
            }
            Self::TriggerFileChanged { pattern, file, recorded, present } => {
                write!(f, "`{file}` (trigger `{pattern}`) ")?;
                match (recorded, present) {
                    (Some(recorded), Some(present)) => {
                        write!(f, "changed ({} -> {})", short(recorded), short(present))
                    }
                    (None, _) => f.write_str("is new"),
                    (Some(_), None) => f.write_str("is gone"),
                }
            }
            Self::SonameChanged { package, soname, recorded, present, policy, .. } => {
                write!(
                    f,
                    "{package} is linked to `{soname}`, whose package changed (soname policy {policy}): "
                )?;
                if recorded == present {
                    write!(f, "{present} has other content")
                } else {
                    write!(f, "{recorded} -> {present}")
                }
            }
            Self::WorkerChanged { recorded, present } => {
                write!(f, "the worker changed ({} -> {})", short(recorded), short(present))
            }
        }
    }
}
