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

mod guard;
mod make;
mod prune;
mod stack;
mod transaction;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rpm_model::{ContentDigest, ContentHasher};
use serde::{Deserialize, Serialize};

pub use self::guard::TransactionLimits;
use self::stack::Stack;
pub(crate) use self::transaction::Changes;
pub use self::transaction::TransactionFault;
use crate::Sandbox;
use crate::error::LayerError;
use crate::layer::{Layer, LayerKey, LayerRequest, LayerStore, Lease, Scriptlet};

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
    /// Whether the root has rpm's database, in which all of its packages are installed. Only
    /// [`LayerStore::root`] can make one.
    pub rpm_database: bool,
    /// What the installation of packages with scriptlets may say and write. It is no part of what a root is.
    pub transaction_limits: TransactionLimits,
}

impl Default for RootOptions {
    /// Returns a limit of 300 lowers, no common packages and no database.
    fn default() -> Self {
        Self {
            max_lowers: 300,
            common: BTreeSet::new(),
            rpm_database: false,
            transaction_limits: TransactionLimits::default(),
        }
    }
}

/// The lowers of one set of packages. None of them is collected while this value lives: keep it as
/// long as the root is used.
#[derive(Debug, Clone)]
pub struct RootPlan {
    /// Lower directories, topmost first.
    pub lowers: Vec<PathBuf>,
    /// Scriptlets that do real work and were not run; with any, the root differs from an installed
    /// one. [`LayerStore::root`] runs them.
    pub scriptlets: Vec<PackageScriptlet>,
    /// What was noteworthy about the set.
    pub notes: Vec<RootNote>,
    /// Whether the plan was remembered, and how much work it was if not.
    pub outcome: RootOutcome,
    lease: Arc<Lease>,
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
    /// Scriptlets and triggers were run by the set's own rpm, once; what they changed is on top.
    ScriptletsRun {
        /// How many.
        scriptlets: usize,
    },
    /// The set has scriptlets and no rpm that could run them.
    NoRpm,
    /// What rpm warned of when it installed the set, for example that a scriptlet failed which may.
    TransactionWarning {
        /// rpm's words.
        text: String,
    },
    /// Layers were merged into one because there were too many.
    Merged {
        /// How many.
        layers: usize,
    },
}

impl RootNote {
    /// Returns whether people should be told: of most sets something is mended or merged, which is nobody's
    /// concern.
    pub fn is_unusual(&self) -> bool {
        match self {
            Self::FileConflict { .. } | Self::NoRpm | Self::TransactionWarning { .. } => true,
            Self::DirectoriesAdjusted { .. }
            | Self::Relocated { .. }
            | Self::ScriptletsRun { .. }
            | Self::Merged { .. } => false,
        }
    }
}

impl fmt::Display for RootNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileConflict { path, shown, hidden } => {
                write!(f, "`{path}` is that of {shown}; {hidden} has another one")
            }
            Self::DirectoriesAdjusted { paths } => {
                write!(
                    f,
                    "directories with the mode and owner that their package lists: {}",
                    paths.join(", ")
                )
            }
            Self::Relocated { package, directory, to } => {
                write!(f, "what {package} has in `{directory}` is in `{to}`, where a link leads")
            }
            Self::ScriptletsRun { scriptlets } => write!(f, "{scriptlets} scriptlets and triggers were run"),
            Self::NoRpm => f.write_str("scriptlets were not run: no package of the build root has rpm"),
            Self::TransactionWarning { text } => {
                write!(f, "when the packages were installed, rpm said: {text}")
            }
            Self::Merged { layers } => write!(f, "{layers} layers were merged into one"),
        }
    }
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
    /// The set's own rpm could not install it.
    #[error(transparent)]
    Transaction(#[from] TransactionFault),
    /// The index of a layer is damaged.
    #[error("the index of layer {key} is damaged; remove the layer store")]
    DamagedIndex {
        /// Key of the layer.
        key: String,
    },
}

impl RootError {
    /// Returns whether the packages themselves are to blame, so that every attempt on every host ends the same way.
    pub fn is_of_packages(&self) -> bool {
        match self {
            Self::Layer(error) => error.is_of_package(),
            Self::Clash { .. } | Self::LinkLoop { .. } => true,
            Self::Transaction(fault) => matches!(fault, TransactionFault::Failed { .. }),
            Self::DamagedIndex { .. } => false,
        }
    }

    /// Returns whether the store's disk was full.
    pub fn is_for_want_of_space(&self) -> bool {
        match self {
            Self::Layer(error) => error.is_for_want_of_space(),
            Self::Transaction(fault) => fault.is_for_want_of_space(),
            Self::Clash { .. } | Self::LinkLoop { .. } | Self::DamagedIndex { .. } => false,
        }
    }
}

/// What is remembered of a set.
#[derive(Serialize, Deserialize)]
struct RememberedPlan {
    boot: String,
    /// Topmost first.
    layers: Vec<LayerKey>,
    scriptlets: Vec<PackageScriptlet>,
    notes: Vec<RootNote>,
}

impl LayerStore {
    /// Returns the lowers of the root that consists of these packages, in whatever order they are
    /// given, making the layers that are missing. Scriptlets are not run.
    pub fn root_plan(&self, requests: &[LayerRequest], options: &RootOptions) -> Result<RootPlan, RootError> {
        let requests: BTreeMap<&ContentDigest, &LayerRequest> =
            requests.iter().map(|request| (&request.sha256, request)).collect();
        let remembered = self.sets_directory().join(format!("{}.json", set_key(&requests, options)));
        if let Some(plan) = self.recall(&remembered)? {
            return Ok(plan);
        }
        let lease = self.lease([])?;
        let (common, mut rest): (Vec<LayerRequest>, Vec<LayerRequest>) =
            requests.into_values().cloned().partition(|request| options.common.contains(&request.sha256));
        let mut stack = if common.len() > 1 {
            self.common_stack(&lease, &common)?
        } else {
            rest.extend(common);
            Stack::new(self, &lease)
        };
        stack.add(&rest)?;
        stack.settle(options.max_lowers.max(3))?;
        let memory = RememberedPlan {
            boot: self.boot().to_owned(),
            layers: stack.layers.iter().map(|layer| layer.key().clone()).collect(),
            scriptlets: stack.scriptlets,
            notes: stack.notes.into_iter().collect(),
        };
        self.remember(&remembered, &memory)?;
        let lowers = stack.layers.iter().map(|layer| layer.dir().to_path_buf()).collect();
        let RememberedPlan { scriptlets, notes, .. } = memory;
        let outcome = RootOutcome::Computed { made_layers: stack.made };
        Ok(RootPlan { lowers, scriptlets, notes, outcome, lease })
    }

    /// Returns the lowers of the root as [`Self::root_plan`] does, and has the packages' scriptlets and
    /// triggers run when there are any that do real work.
    ///
    /// The set's own rpm installs the set in a sandbox over the root, without network; what that
    /// changed becomes a layer on top. That happens once for each set. A root with rpm's database gets
    /// that as one more layer.
    pub fn root(
        &self,
        requests: &[LayerRequest],
        options: &RootOptions,
        sandbox: &Sandbox,
    ) -> Result<RootPlan, RootError> {
        let mut plan = self.root_plan(requests, options)?;
        if !plan.scriptlets.is_empty() {
            if transaction::has_rpm(&plan.lowers) {
                let layer = transaction::changes(self, &plan, requests, options, sandbox)?;
                plan.notes.push(RootNote::ScriptletsRun { scriptlets: plan.scriptlets.len() });
                let warning = |text: &String| RootNote::TransactionWarning { text: text.clone() };
                plan.notes.extend(layer.warnings().iter().map(warning));
                plan.scriptlets.clear();
                plan.put_on_top(&layer);
            } else {
                plan.notes.push(RootNote::NoRpm);
            }
        }
        if options.rpm_database {
            if !transaction::has_rpm(&plan.lowers) {
                return Err(TransactionFault::NoRpm.into());
            }
            let layer = transaction::database(self, &plan, requests, options, sandbox)?;
            plan.put_on_top(&layer);
        }
        Ok(plan)
    }

    /// Returns the remembered plan when it can still be used.
    fn recall(&self, path: &Path) -> Result<Option<RootPlan>, RootError> {
        // Whatever is wrong with what is remembered, it can be worked out again.
        let memory = fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let Some(RememberedPlan { boot, layers, scriptlets, notes }) = memory else { return Ok(None) };
        if boot != self.boot() {
            return Ok(None);
        }
        // Leased first and looked for afterwards: see `layer::lease`.
        let lease = self.lease(&layers)?;
        let lowers: Vec<PathBuf> = layers.iter().map(|key| self.root_of(key)).collect();
        if !lowers.iter().all(|lower| lower.is_dir()) {
            return Ok(None);
        }
        self.stamp(path);
        Ok(Some(RootPlan { lowers, scriptlets, notes, outcome: RootOutcome::Hit, lease }))
    }
}

impl RootPlan {
    fn put_on_top(&mut self, layer: &Layer) {
        self.lowers.insert(0, layer.dir().to_path_buf());
        if layer.was_made() {
            let made_layers = match self.outcome {
                RootOutcome::Hit => 1,
                RootOutcome::Computed { made_layers } => made_layers + 1,
            };
            self.outcome = RootOutcome::Computed { made_layers };
        }
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
