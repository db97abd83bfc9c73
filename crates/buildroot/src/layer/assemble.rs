//! Puts a tree together of parts of other layers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::index::{Node, PathKind, write_index};
use super::tree::{Attributes, TreeFault, TreeWriter};

/// One path of a layer to be, with where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) kind: PathKind,
    pub(crate) attributes: Attributes,
    /// As in the index.
    pub(crate) content: String,
    /// The file or link to take; not used for directories.
    pub(crate) source: PathBuf,
}

/// Makes the parts, by path, in the empty directory `root`; returns the text of their index, or the
/// path (without its leading slash) that could not be made and why.
pub(super) fn assemble(root: &Path, parts: BTreeMap<String, Part>) -> Result<String, (String, TreeFault)> {
    let at = |path: &str| {
        let path = path.trim_start_matches('/').to_owned();
        move |fault| (path, fault)
    };
    let mut tree = TreeWriter::new(root, 0).map_err(|error| at("/")(error.into()))?;
    for (path, part) in &parts {
        match part.kind {
            PathKind::Directory => tree.directory(path, part.attributes),
            // Made on the way to what it holds, and dated below.
            PathKind::ImplicitDirectory => tree.way(path, part.attributes),
            PathKind::File | PathKind::Symlink => tree.adopt(&part.source, path, part.attributes),
        }
        .map_err(at(path))?;
    }
    let directories = tree.finish().map_err(at("/"))?;
    let mut nodes: Vec<Node<'_>> = directories
        .iter()
        .map(|(path, attributes, listed)| Node {
            path,
            kind: if *listed { PathKind::Directory } else { PathKind::ImplicitDirectory },
            mode: attributes.mode,
            uid: attributes.uid,
            gid: attributes.gid,
            content: "-",
        })
        .collect();
    nodes.extend(parts.iter().filter(|(_, part)| is_leaf(part)).map(|(path, part)| Node {
        path,
        kind: part.kind,
        mode: part.attributes.mode,
        uid: part.attributes.uid,
        gid: part.attributes.gid,
        content: &part.content,
    }));
    nodes.sort_unstable_by_key(|node| node.path);
    Ok(write_index(nodes))
}

fn is_leaf(part: &Part) -> bool {
    matches!(part.kind, PathKind::File | PathKind::Symlink)
}
