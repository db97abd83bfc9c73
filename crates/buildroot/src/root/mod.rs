//! From a set of packages to the ordered lower directories of a root.
//!
//! A stack of layers and an installed root differ in four ways, and each is settled here:
//! - Order: the topmost layer's directories give the attributes, so `filesystem` is on top; the others
//!   are sorted by name.
//! - A directory that one package lists with its own mode or owner may be hidden by one that another
//!   package only has on the way to its files: a small layer with the right directories goes on top.
//! - A symbolic link to a directory (`/lib64` to `usr/lib64`) hides what other packages have in a
//!   directory of that name: a copy of their layer has it where the link leads, as rpm would.
//! - The kernel stacks 500 directories: above a limit some layers are merged into one.
//!
//! What two packages disagree about otherwise is reported ([`RootNote::FileConflict`]), or refused
//! when rpm could not install it either ([`RootError::Clash`]). Everything is worked out once for
//! each set and remembered in the store. Layers are only ever added; none is changed.

mod make;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use rpm_model::{ContentDigest, ContentHasher};
use serde::{Deserialize, Serialize};

use self::view::{Member, examine};
use crate::error::{LayerError, PathContext};
use crate::layer::{Layer, LayerRequest, LayerStore, Scriptlet, read_index};

/// Version of what a root plan means.
const SCHEMA: u32 = 1;

/// How often links may lead to directories that are links themselves.
const MAX_ROUNDS: usize = 8;

/// The package whose directories are everybody's.
const FILESYSTEM: &str = "filesystem";

/// Says how the root of a set of packages is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootOptions {
    /// Greatest number of lowers; more are merged. At least 2.
    pub max_lowers: usize,
    /// Packages to merge first when some must be: those that many roots have in common, so that many
    /// roots can share the merged layer.
    pub merge_first: BTreeSet<ContentDigest>,
}

impl Default for RootOptions {
    /// Returns a limit of 300 lowers and no preference.
    fn default() -> Self {
        Self { max_lowers: 300, merge_first: BTreeSet::new() }
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        let requests: Vec<LayerRequest> = requests.into_values().cloned().collect();
        let mut layers = self.ensure_all(&requests)?;
        let mut made_layers = layers.iter().filter(|layer| layer.was_made()).count();
        layers.sort_by_cached_key(position);
        let mut plan = Stacking { store: self, layers, notes: BTreeSet::new() };
        let scriptlets = plan.scriptlets();
        made_layers += plan.settle(options)?;
        let lowers: Vec<PathBuf> = plan.layers.iter().map(|layer| layer.dir().to_path_buf()).collect();
        let notes: Vec<RootNote> = plan.notes.into_iter().collect();
        let memory =
            RememberedPlan { boot: self.boot().to_owned(), lowers: lowers.clone(), scriptlets, notes };
        let json = serde_json::to_vec(&memory).map_err(std::io::Error::other);
        self.write_beside(&remembered, &json.context("describe", &remembered)?)?;
        let outcome = RootOutcome::Computed { made_layers };
        Ok(RootPlan { lowers, scriptlets: memory.scriptlets, notes: memory.notes, outcome })
    }

    /// Returns the remembered plan when it can still be used.
    fn recall(&self, path: &std::path::Path) -> Option<RootPlan> {
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
    hasher.list("merge-first", options.merge_first.iter().map(ContentDigest::as_str));
    hasher.finish()
}

/// Where a layer is in the stack: `filesystem` first, then by name, then by everything else.
fn position(layer: &Layer) -> (bool, String, String) {
    let name = layer.package_name().unwrap_or_default();
    (name != FILESYSTEM, name.to_owned(), format!("{} {}", layer.nevra().unwrap_or_default(), layer.key()))
}

/// Returns how to call a layer in a report.
fn name_of(layer: &Layer) -> String {
    layer.nevra().unwrap_or(layer.key().as_str()).to_owned()
}

/// A stack of layers on its way to being a root.
struct Stacking<'a> {
    store: &'a LayerStore,
    /// Topmost first.
    layers: Vec<Layer>,
    notes: BTreeSet<RootNote>,
}

impl Stacking<'_> {
    fn scriptlets(&self) -> Vec<PackageScriptlet> {
        let of_layer = |layer: &Layer| -> Vec<PackageScriptlet> {
            let package = name_of(layer);
            let scriptlets = layer.scriptlets().iter().cloned();
            scriptlets.map(|scriptlet| PackageScriptlet { package: package.clone(), scriptlet }).collect()
        };
        self.layers.iter().flat_map(of_layer).collect()
    }

    /// Relocates, merges and adjusts until the stack is a root; returns how many layers that made.
    fn settle(&mut self, options: &RootOptions) -> Result<usize, RootError> {
        let mut made = 0;
        for _ in 0..MAX_ROUNDS {
            let texts = self.index_texts()?;
            let members = self.members(&texts)?;
            let findings = examine(&members)?;
            if !findings.relocations.is_empty() {
                for (index, moves) in findings.relocations {
                    let layer = make::relocated(self.store, &self.layers[index], &members[index], &moves)?;
                    made += usize::from(layer.was_made());
                    self.note_relocation(index, &moves);
                    self.layers[index] = layer;
                }
                continue;
            }
            for conflict in &findings.conflicts {
                self.notes.insert(RootNote::FileConflict {
                    path: conflict.path.clone(),
                    shown: name_of(&self.layers[conflict.shown]),
                    hidden: name_of(&self.layers[conflict.hidden]),
                });
            }
            let excess = self.choose_for_merging(options, &findings.conflicts);
            // Fewer than two would change nothing; the mount plan then says that there are too many.
            if excess.len() > 1 {
                let layer = make::merged(self.store, &self.layers, &members, &excess)?;
                made += usize::from(layer.was_made());
                self.notes.insert(RootNote::Merged { layers: excess.len() });
                let mut index = 0;
                self.layers.retain(|_| {
                    index += 1;
                    !excess.contains(&(index - 1))
                });
                self.layers.push(layer);
                continue;
            }
            if !findings.directories.is_empty() {
                let layer = make::directories(self.store, &findings.directories)?;
                made += usize::from(layer.was_made());
                let paths =
                    findings.directories.iter().filter(|fix| fix.was_hidden).map(|fix| fix.path.clone());
                self.notes.insert(RootNote::DirectoriesAdjusted { paths: paths.collect() });
                self.layers.insert(0, layer);
            }
            return Ok(made);
        }
        let package = self.layers.first().map(name_of).unwrap_or_default();
        Err(RootError::LinkLoop { path: "/".to_owned(), package })
    }

    fn index_texts(&self) -> Result<Vec<String>, LayerError> {
        self.layers.iter().map(|layer| self.store.index_text(layer.key())).collect()
    }

    fn members<'t>(&self, texts: &'t [String]) -> Result<Vec<Member<'t>>, RootError> {
        let read = |(layer, text): (&Layer, &'t String)| {
            let damaged = || RootError::DamagedIndex { key: layer.key().to_string() };
            Ok(Member { name: name_of(layer), nodes: read_index(text).ok_or_else(damaged)? })
        };
        self.layers.iter().zip(texts).map(read).collect()
    }

    fn note_relocation(&mut self, index: usize, moves: &BTreeMap<String, String>) {
        let package = name_of(&self.layers[index]);
        self.notes.extend(moves.iter().map(|(directory, to)| RootNote::Relocated {
            package: package.clone(),
            directory: directory.clone(),
            to: to.clone(),
        }));
    }

    /// Returns which layers to merge so that few enough remain, one place kept for adjusted
    /// directories. Never one whose place in the stack matters.
    fn choose_for_merging(&self, options: &RootOptions, conflicts: &[view::Conflict]) -> BTreeSet<usize> {
        let limit = options.max_lowers.max(2);
        if self.layers.len() < limit {
            return BTreeSet::new();
        }
        let least = self.layers.len() + 2 - limit;
        let fixed: BTreeSet<usize> =
            conflicts.iter().flat_map(|conflict| [conflict.shown, conflict.hidden]).collect();
        let free =
            |index: &usize| !fixed.contains(index) && self.layers[*index].package_name() != Some(FILESYSTEM);
        let preferred = |index: &usize| {
            let key = self.layers[*index].key().as_str();
            options.merge_first.iter().any(|digest| digest.as_str() == key)
        };
        let (first, rest): (Vec<usize>, Vec<usize>) =
            (0..self.layers.len()).filter(free).partition(preferred);
        let wanted = least.max(first.len());
        first.into_iter().chain(rest).take(wanted).collect()
    }
}
