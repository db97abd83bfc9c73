//! A stack of layers on its way to being a root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rpm_model::ContentHasher;
use serde::{Deserialize, Serialize};

use super::view::{Conflict, Findings, Member, examine};
use super::{PackageScriptlet, RootError, RootNote, SCHEMA, make};
use crate::error::{LayerError, PathContext};
use crate::layer::{Layer, LayerKey, LayerRequest, LayerStore, Lease, read_index};

/// How often links may lead to directories that are links themselves.
const MAX_ROUNDS: usize = 8;

/// The package whose directories are everybody's.
const FILESYSTEM: &str = "filesystem";

/// A stack of layers with what is known about it.
pub(super) struct Stack<'a> {
    store: &'a LayerStore,
    /// Names every layer that is looked for.
    lease: Arc<Lease>,
    /// Topmost first.
    pub(super) layers: Vec<Layer>,
    pub(super) scriptlets: Vec<PackageScriptlet>,
    pub(super) notes: BTreeSet<RootNote>,
    /// How many layers were made.
    pub(super) made: usize,
    /// Layers that are part of a merged one, to name the owner of a path.
    merged: Vec<LayerKey>,
}

/// What is remembered of packages that many roots have in common.
#[derive(Serialize, Deserialize)]
struct RememberedStack {
    boot: String,
    layers: Vec<LayerKey>,
    merged: Vec<LayerKey>,
    scriptlets: Vec<PackageScriptlet>,
    notes: BTreeSet<RootNote>,
}

impl LayerStore {
    /// Returns the stack of packages that many roots have in common: `filesystem` if it is one of
    /// them, packages in conflict with another, and one layer of all the others.
    pub(super) fn common_stack(
        &self,
        lease: &Arc<Lease>,
        requests: &[LayerRequest],
    ) -> Result<Stack<'_>, RootError> {
        let mut hasher = ContentHasher::new("common-stack", SCHEMA);
        hasher.list("packages", requests.iter().map(|request| request.sha256.as_str()));
        let remembered = self.sets_directory().join(format!("common-{}.json", hasher.finish()));
        if let Some(stack) = self.recall_stack(lease, &remembered)? {
            return Ok(stack);
        }
        let mut stack = Stack::new(self, lease);
        stack.add(requests)?;
        let conflicts = stack.relocate()?.conflicts;
        let chosen = stack.free(&conflicts);
        stack.merge(&chosen)?;
        let memory = RememberedStack {
            boot: self.boot().to_owned(),
            layers: stack.layers.iter().map(|layer| layer.key().clone()).collect(),
            merged: stack.merged.clone(),
            scriptlets: stack.scriptlets.clone(),
            notes: stack.notes.clone(),
        };
        self.remember(&remembered, &memory)?;
        Ok(stack)
    }

    /// Writes what is remembered of a set.
    pub(super) fn remember(&self, path: &Path, memory: &impl Serialize) -> Result<(), LayerError> {
        let json = serde_json::to_vec(memory).map_err(std::io::Error::other).context("describe", path)?;
        self.write_beside(path, &json)
    }

    fn recall_stack(&self, lease: &Arc<Lease>, path: &Path) -> Result<Option<Stack<'_>>, RootError> {
        // Whatever is wrong with what is remembered, it can be worked out again.
        let memory = fs::read(path).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let Some(RememberedStack { boot, layers, merged, scriptlets, notes }) = memory else {
            return Ok(None);
        };
        if boot != self.boot() {
            return Ok(None);
        }
        // Those that are part of the merged one only say whose a path is, but must not go meanwhile.
        lease.add(&merged)?;
        let layers: Option<Vec<Layer>> =
            layers.iter().map(|key| self.find_leased(lease, key)).collect::<Result<_, _>>()?;
        if layers.is_some() {
            self.stamp(path);
        }
        let lease = Arc::clone(lease);
        Ok(layers.map(|layers| Stack { store: self, lease, layers, scriptlets, notes, made: 0, merged }))
    }
}

impl<'a> Stack<'a> {
    pub(super) fn new(store: &'a LayerStore, lease: &Arc<Lease>) -> Self {
        Self {
            store,
            lease: Arc::clone(lease),
            layers: Vec::new(),
            scriptlets: Vec::new(),
            notes: BTreeSet::new(),
            made: 0,
            merged: Vec::new(),
        }
    }

    /// Adds the layers of packages, each at its place.
    pub(super) fn add(&mut self, requests: &[LayerRequest]) -> Result<(), RootError> {
        let layers = self.store.ensure_all_leased(&self.lease, requests)?;
        self.made += layers.iter().filter(|layer| layer.was_made()).count();
        for layer in &layers {
            let package = name_of(layer);
            let scriptlets = layer.scriptlets().iter().cloned();
            self.scriptlets
                .extend(scriptlets.map(|scriptlet| PackageScriptlet { package: package.clone(), scriptlet }));
        }
        self.scriptlets.sort();
        self.layers.extend(layers);
        self.layers.sort_by_cached_key(position);
        Ok(())
    }

    /// Relocates, merges and adjusts until the stack is a root of fewer than `limit` layers.
    pub(super) fn settle(&mut self, limit: usize) -> Result<(), RootError> {
        let mut findings = self.relocate()?;
        self.note_conflicts(&findings.conflicts)?;
        // One place is kept for the layer of directories. Fewer than two cannot be merged; the mount
        // plan then says that there are too many.
        let free = self.free(&findings.conflicts);
        if self.layers.len() >= limit && free.len() > 1 {
            let least = self.layers.len() + 2 - limit;
            self.merge(&free.into_iter().take(least.max(2)).collect())?;
            findings = self.relocate()?;
        }
        if !findings.directories.is_empty() {
            let layer = make::directories(self.store, &self.lease, &findings.directories)?;
            self.made += usize::from(layer.was_made());
            let hidden = findings.directories.into_iter().filter(|fix| fix.was_hidden);
            let paths = hidden.map(|fix| fix.path).collect();
            self.notes.insert(RootNote::DirectoriesAdjusted { paths });
            self.layers.insert(0, layer);
        }
        Ok(())
    }

    /// Moves directories to where links lead until none is left to move; returns what else there
    /// is to do.
    fn relocate(&mut self) -> Result<Findings, RootError> {
        for _ in 0..MAX_ROUNDS {
            let texts = self.index_texts()?;
            let members = self.members(&texts)?;
            let findings = examine(&members)?;
            if findings.relocations.is_empty() {
                return Ok(findings);
            }
            for (index, moves) in findings.relocations {
                let layer =
                    make::relocated(self.store, &self.lease, &self.layers[index], &members[index], &moves)?;
                self.made += usize::from(layer.was_made());
                self.note_relocation(index, &moves);
                self.layers[index] = layer;
            }
        }
        let package = self.layers.first().map(name_of).unwrap_or_default();
        Err(RootError::LinkLoop { path: "/".to_owned(), package })
    }

    /// Makes one layer of those chosen, at the bottom of the stack.
    fn merge(&mut self, chosen: &BTreeSet<usize>) -> Result<(), RootError> {
        if chosen.len() < 2 {
            return Ok(());
        }
        let texts = self.index_texts()?;
        let layer = make::merged(self.store, &self.lease, &self.layers, &self.members(&texts)?, chosen)?;
        self.made += usize::from(layer.was_made());
        self.notes.insert(RootNote::Merged { layers: chosen.len() });
        let layers = std::mem::take(&mut self.layers);
        for (index, layer) in layers.into_iter().enumerate() {
            if chosen.contains(&index) {
                self.merged.push(layer.key().clone());
            } else {
                self.layers.push(layer);
            }
        }
        self.layers.push(layer);
        Ok(())
    }

    /// Returns which layers may be merged: those whose place in the stack does not matter.
    fn free(&self, conflicts: &[Conflict]) -> BTreeSet<usize> {
        let mut free: BTreeSet<usize> = (0..self.layers.len()).collect();
        free.retain(|index| self.layers[*index].package_name() != Some(FILESYSTEM));
        for conflict in conflicts {
            free.remove(&conflict.shown);
            free.remove(&conflict.hidden);
        }
        free
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

    fn note_conflicts(&mut self, conflicts: &[Conflict]) -> Result<(), RootError> {
        for conflict in conflicts {
            let note = RootNote::FileConflict {
                path: conflict.path.clone(),
                shown: self.owner(conflict.shown, &conflict.path)?,
                hidden: self.owner(conflict.hidden, &conflict.path)?,
            };
            self.notes.insert(note);
        }
        Ok(())
    }

    /// Returns the NEVRA of the package that a path of a layer, perhaps a merged one, belongs to.
    fn owner(&self, index: usize, path: &str) -> Result<String, RootError> {
        let layer = &self.layers[index];
        if layer.nevra().is_some() {
            return Ok(name_of(layer));
        }
        for key in &self.merged {
            // One that was collected can only not be named; what it held is in the merged one.
            let Some(member) = self.store.find_leased(&self.lease, key)? else { continue };
            let text = self.store.index_text(key)?;
            if read_index(&text).is_some_and(|nodes| nodes.iter().any(|node| node.path == path)) {
                return Ok(name_of(&member));
            }
        }
        Ok(name_of(layer))
    }
}

/// Where a layer is in the stack: `filesystem` first, then by name, merged ones last.
fn position(layer: &Layer) -> (u8, String, String) {
    let rank = match layer.package_name() {
        Some(FILESYSTEM) => 0,
        Some(_) => 1,
        None => 2,
    };
    (rank, layer.package_name().unwrap_or_default().to_owned(), name_of(layer) + layer.key().as_str())
}

/// Returns how to call a layer in a report.
fn name_of(layer: &Layer) -> String {
    layer.nevra().unwrap_or(layer.key().as_str()).to_owned()
}
