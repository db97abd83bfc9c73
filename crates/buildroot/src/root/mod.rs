//! From a set of packages to the ordered lower directories of a root.
//!
//! A stack of layers and an installed root differ in four ways, and each is settled here:
//! - Order: the topmost layer's directories give the attributes, so `filesystem` is on top; the others
//!   are sorted by name.
//! - A directory that one package lists with its own mode or owner may be hidden by one that another
//!   package only has on the way to its files: a small layer with the right directories goes on top.
//! - A symbolic link to a directory (`/lib64` to `usr/lib64`) hides what other packages have in a
//!   directory of that name: a copy of their layer has it where the link leads, as rpm would.
//! - The kernel stacks 500 directories: above a limit some layers are merged into one, and those that
//!   many roots have in common are in any case ([`RootOptions::common`]).
//!
//! What two packages disagree about otherwise is reported ([`RootNote::FileConflict`]), or refused
//! when rpm could not install it either ([`RootError::Clash`]). Everything is worked out once for
//! each set and remembered in the store. Layers are only ever added; none is changed.

mod make;
mod stack;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rpm_model::{ContentDigest, ContentHasher};
use serde::{Deserialize, Serialize};

use self::stack::Stack;
use crate::error::LayerError;
use crate::layer::{LayerRequest, LayerStore, Scriptlet};

/// Version of what a root plan means.
const SCHEMA: u32 = 1;

/// Says how the root of a set of packages is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootOptions {
    /// Greatest number of lowers; more are merged. At least 3.
    pub max_lowers: usize,
    /// Packages that many roots have in common. Those of them that are in a set are merged into one
    /// layer, which all roots with the same ones share: looking a file up in one directory costs less
    /// than in a hundred, and a new set with known common packages costs little to work out.
    pub common: BTreeSet<ContentDigest>,
}

impl Default for RootOptions {
    /// Returns a limit of 300 lowers and no common packages.
    fn default() -> Self {
        Self { max_lowers: 300, common: BTreeSet::new() }
    }
}

/// The lowers of one set of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootPlan {
    /// Lower directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Scriptlets that were not run although they do real work; with any, the root differs from an
    /// installed one.
    pub scriptlets: Vec<PackageScriptlet>,
    /// What was noteworthy about the set.
    pub notes: Vec<RootNote>,
    /// Whether the plan was remembered, and how much work it was if not.
    pub outcome: RootOutcome,
}

/// Tells where a root plan came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootOutcome {
    /// It was remembered.
    Hit,
    /// It was worked out now.
    Computed {
        /// Layers that were not in the store before.
        made_layers: usize,
    },
}

/// A scriptlet and the package it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageScriptlet {
    /// NEVRA of the package.
    pub package: String,
    /// The scriptlet.
    pub scriptlet: Scriptlet,
}

/// Something noteworthy about a set of packages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RootNote {
    /// Two packages have different files of the same path. rpm would refuse to install both.
    FileConflict {
        /// The path.
        path: String,
        /// NEVRA of the package whose file is seen.
        shown: String,
        /// NEVRA of the package whose file is hidden.
        hidden: String,
    },
    /// Directories whose mode or owner another package's layer would have hidden were put on top.
    DirectoriesAdjusted {
        /// Their paths.
        paths: Vec<String>,
    },
    /// A package's directory was moved to where another package's symbolic link leads.
    Relocated {
        /// NEVRA of the package.
        package: String,
        /// The directory, which is a link in this set.
        directory: String,
        /// Where its content is now.
        to: String,
    },
    /// Layers were merged into one because there were too many.
    Merged {
        /// How many.
        layers: usize,
    },
}

/// Reasons why a set of packages has no root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// One of the layers cannot be had.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// One package has a file where another has a directory.
    #[error("`{path}` is a file in {file_package} and a directory in {directory_package}")]
    Clash {
        /// The path.
        path: String,
        /// NEVRA of the package with the file.
        file_package: String,
        /// NEVRA of the package with the directory.
        directory_package: String,
    },
    /// Symbolic links lead round in circles, or out of the root.
    #[error("symbolic links in place of directories lead nowhere, for example `{path}` of {package}")]
    LinkLoop {
        /// A path concerned.
        path: String,
        /// NEVRA of a package concerned.
        package: String,
    },
    /// The index of a layer is damaged.
    #[error("the index of layer {key} is damaged; remove the layer store")]
    DamagedIndex {
        /// Key of the layer.
        key: String,
    },
}

/// What is remembered of a set.
#[derive(Serialize, Deserialize)]
struct RememberedPlan {
    boot: String,
    lowers: Vec<PathBuf>,
    scriptlets: Vec<PackageScriptlet>,
    notes: Vec<RootNote>,
}

impl LayerStore {
    /// Returns the lowers of the root that consists of these packages, in whatever order they are
    /// given, making the layers that are missing.
    pub fn root_plan(&self, requests: &[LayerRequest], options: &RootOptions) -> Result<RootPlan, RootError> {
        let requests: BTreeMap<&ContentDigest, &LayerRequest> =
            requests.iter().map(|request| (&request.sha256, request)).collect();
        let remembered = self.sets_directory().join(format!("{}.json", set_key(&requests, options)));
        if let Some(plan) = self.recall(&remembered) {
            return Ok(plan);
        }
        let (common, mut rest): (Vec<LayerRequest>, Vec<LayerRequest>) =
            requests.into_values().cloned().partition(|request| options.common.contains(&request.sha256));
        let mut stack = if common.len() > 1 {
            self.common_stack(&common)?
        } else {
            rest.extend(common);
            Stack::new(self)
        };
        stack.add(&rest)?;
        stack.settle(options.max_lowers.max(3))?;
        let memory = RememberedPlan {
            boot: self.boot().to_owned(),
            lowers: stack.layers.iter().map(|layer| layer.dir().to_path_buf()).collect(),
            scriptlets: stack.scriptlets,
            notes: stack.notes.into_iter().collect(),
        };
        self.remember(&remembered, &memory)?;
        let RememberedPlan { lowers, scriptlets, notes, .. } = memory;
        let outcome = RootOutcome::Computed { made_layers: stack.made };
        Ok(RootPlan { lowers, scriptlets, notes, outcome })
    }

    /// Returns the remembered plan when it can still be used.
    fn recall(&self, path: &Path) -> Option<RootPlan> {
        // Whatever is wrong with what is remembered, it can be worked out again.
        let memory: RememberedPlan = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        if memory.boot != self.boot() || !memory.lowers.iter().all(|lower| lower.is_dir()) {
            return None;
        }
        let RememberedPlan { lowers, scriptlets, notes, .. } = memory;
        Some(RootPlan { lowers, scriptlets, notes, outcome: RootOutcome::Hit })
    }
}

fn set_key(requests: &BTreeMap<&ContentDigest, &LayerRequest>, options: &RootOptions) -> ContentDigest {
    let mut hasher = ContentHasher::new("root-plan", SCHEMA);
    hasher.list("packages", requests.keys().map(|digest| digest.as_str()));
    hasher.field("max-lowers", &options.max_lowers.to_string());
    let common = requests.keys().filter(|digest| options.common.contains(digest));
    hasher.list("common", common.map(|digest| digest.as_str()));
    hasher.finish()
}
