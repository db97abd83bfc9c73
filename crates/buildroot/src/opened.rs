//! Which files of a sandbox's root were opened: plain data.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What is known of the files that a run opened or executed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "opened", rename_all = "snake_case")]
pub enum OpenedFiles {
    /// Nobody asked.
    #[default]
    NotAsked,
    /// This host or this user cannot watch a root.
    Unavailable {
        /// Why, in words.
        message: String,
    },
    /// They were recorded.
    Recorded {
        /// Paths inside the root, each once; files alone, not directories. What lies on other mounts (binds,
        /// temporary file systems, `/proc`, `/dev`) does not count.
        paths: BTreeSet<String>,
    },
}
