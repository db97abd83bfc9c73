//! What a build record keeps so that a change can be followed from package to package, in whichever run.
//!
//! What it is not: a decision; `rebuild` decides by comparing records with what is published.

use serde::{Deserialize, Serialize};

use crate::dependency::Requirement;
use crate::linkage::LinkageFacts;

/// What a record knows for deciding about its package, and about those that follow it, later.
///
/// Records are the persisted cascade: whoever is due because of a change is so by comparison with what is
/// published, whatever became of the run that made the change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CascadeFacts {
    /// How far from the change that began it: 0 for a package built for a reason of its own, else one more than
    /// the package whose change brought it along.
    pub layer: u32,
    /// Packages of the build root that a build requirement named, whatever it named them by; sorted.
    pub direct: Vec<String>,
    /// Packages of the build root whose content is inside what was built, by what they provide; sorted.
    pub compiled_in: Vec<String>,
    /// Requirements of other specs' packages that this spec's satisfied once, and nothing does since; sorted.
    pub withdrawn: Vec<Requirement>,
    /// What its ELF files say of libraries; `None` where they could not be read, and in records of older versions: then
    /// rpm's names alone count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linkage: Option<LinkageFacts>,
}
