//! What kept a build within its limits, as results and provenance tell it.

use serde::{Deserialize, Serialize};

/// What kept a build within its limits; empty where nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitEnforcement {
    /// The mechanism, for example `cgroup_v1`.
    pub limiter: String,
    /// Whose ids the ids inside were, for example `host`.
    pub id_mapping: String,
    /// Limits that were asked for and that nothing enforced.
    pub unenforced: Vec<String>,
}
