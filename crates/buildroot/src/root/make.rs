//! Makes layers out of published layers: relocated, merged, or nothing but directories.
//!
//! Files are hard links to those of the layers they come from, which costs no space. That is safe
//! for the one reason that makes layers safe: neither name is ever opened for writing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rpm_model::ContentHasher;

use super::RootError;
use super::view::{DirectoryFix, Member};
use crate::error::{LayerError, PathContext};
use crate::layer::{Attributes, Layer, LayerKey, LayerStore, Lease, Node, Part, PathKind};

/// Version of what relocating, merging and adjusting make.
const SCHEMA: u32 = 1;

/// Returns the layer with some directories moved to where `moves` says.
pub(super) fn relocated(
    store: &LayerStore,
    lease: &Arc<Lease>,
    layer: &Layer,
    member: &Member<'_>,
    moves: &BTreeMap<String, String>,
) -> Result<Layer, RootError> {
    let mut hasher = ContentHasher::new("relocated-layer", SCHEMA);
    hasher.field("layer", layer.key().as_str());
    hasher.list("moves", moves.iter().flat_map(|(from, to)| [from, to]));
    let key = key("relocated", hasher);
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for node in &member.nodes {
        let (path, moved_itself) = relocate(node.path, moves);
        let mut part = part(node, layer.dir())?;
        if moved_itself && part.kind == PathKind::Directory {
            // Its attributes are those of the directory the link leads to, which has its own.
            part.kind = PathKind::ImplicitDirectory;
        }
        // A directory may come twice, moved and in place; one that is listed counts.
        if node.kind != PathKind::ImplicitDirectory || !parts.contains_key(&path) {
            parts.insert(path, part);
        }
    }
    Ok(store.make_from_parts(lease, &key, layer, parts)?)
}

/// Returns where a path is after the moves, and whether it is itself one of the moved directories.
fn relocate(path: &str, moves: &BTreeMap<String, String>) -> (String, bool) {
    for (from, to) in moves.iter().rev() {
        match path.strip_prefix(from.as_str()) {
            Some("") => return (to.clone(), true),
            Some(below) if below.starts_with('/') => return (format!("{to}{below}"), false),
            _ => {}
        }
    }
    (path.to_owned(), false)
}

/// Returns the layer that shows what the layers `chosen` of a stack show together.
pub(super) fn merged(
    store: &LayerStore,
    lease: &Arc<Lease>,
    layers: &[Layer],
    members: &[Member<'_>],
    chosen: &BTreeSet<usize>,
) -> Result<Layer, RootError> {
    let mut hasher = ContentHasher::new("merged-layers", SCHEMA);
    hasher.list("layers", chosen.iter().map(|&index| layers[index].key().as_str()));
    let key = key("merged", hasher);
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for &index in chosen {
        for node in &members[index].nodes {
            let known = parts.get(node.path).map(|part| part.kind);
            let is_better = match known {
                None => true,
                Some(PathKind::ImplicitDirectory) => node.kind == PathKind::Directory,
                Some(_) => false,
            };
            if is_better {
                parts.insert(node.path.to_owned(), part(node, layers[index].dir())?);
            }
        }
    }
    Ok(store.make_anonymous(lease, &key, parts)?)
}

/// Returns the layer that has these directories and nothing else.
pub(super) fn directories(
    store: &LayerStore,
    lease: &Arc<Lease>,
    fixes: &[DirectoryFix],
) -> Result<Layer, RootError> {
    let mut hasher = ContentHasher::new("adjusted-directories", SCHEMA);
    let mut parts = BTreeMap::new();
    for fix in fixes {
        let (mode, uid, gid) = (fix.attributes.mode, fix.attributes.uid, fix.attributes.gid);
        hasher.field(&fix.path, &format!("{mode:o} {uid} {gid}"));
        let attributes = Attributes { mode, uid, gid, mtime: 0 };
        let part =
            Part { kind: PathKind::Directory, attributes, content: "-".to_owned(), source: PathBuf::new() };
        parts.insert(fix.path.clone(), part);
    }
    Ok(store.make_anonymous(lease, &key("directories", hasher), parts)?)
}

fn key(kind: &str, hasher: ContentHasher) -> LayerKey {
    LayerKey::of_kind(kind, &hasher.finish()).expect("the kinds of this module are lower-case letters")
}

/// Returns a node of a layer as a part of another.
fn part(node: &Node<'_>, layer: &Path) -> Result<Part, LayerError> {
    let source = layer.join(node.path.trim_start_matches('/'));
    let is_directory = matches!(node.kind, PathKind::Directory | PathKind::ImplicitDirectory);
    // Files keep their own times: they are the same files.
    let mtime = if is_directory { source.symlink_metadata().context("examine", &source)?.mtime() } else { 0 };
    Ok(Part {
        kind: node.kind,
        attributes: Attributes {
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            mtime: u32::try_from(mtime).unwrap_or(0),
        },
        content: node.content.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_below_is_moved() {
        let moves = BTreeMap::from([
            ("/lib".to_owned(), "/usr/lib".to_owned()),
            ("/lib/deep".to_owned(), "/srv".to_owned()),
        ]);
        for (path, expected, itself) in [
            ("/lib", "/usr/lib", true),
            ("/lib/x", "/usr/lib/x", false),
            ("/lib/deep", "/srv", true),
            ("/lib/deep/x", "/srv/x", false),
            ("/lib/deeper", "/usr/lib/deeper", false),
            ("/library", "/library", false),
            ("/", "/", false),
        ] {
            assert_eq!(relocate(path, &moves), (expected.to_owned(), itself), "{path}");
        }
    }
}
