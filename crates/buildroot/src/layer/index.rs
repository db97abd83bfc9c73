//! The list of all paths of a layer, kept beside it for questions about sets of layers.
//!
//! One record a path, sorted by path: `type mode uid gid content`, NUL, the path, NUL. Types are
//! `d` (directory that the package lists), `i` (directory that only leads to others), `f` (file) and
//! `l` (symbolic link); modes are octal; the content is the file's digest as in the header, or the
//! target of the link, or `-`. Neither contains a NUL, so nothing is escaped.

/// What a path of a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    /// A directory that the package lists.
    Directory,
    /// A directory that is there only because something lies in it.
    ImplicitDirectory,
    File,
    Symlink,
}

/// One path of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Node<'a> {
    pub(crate) path: &'a str,
    pub(crate) kind: PathKind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Digest of a file, target of a link, `-` for directories.
    pub(crate) content: &'a str,
}

/// Returns the text of an index; the caller has sorted the nodes by path.
pub(super) fn write_index<'a>(nodes: impl IntoIterator<Item = Node<'a>>) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for node in nodes {
        let kind = match node.kind {
            PathKind::Directory => 'd',
            PathKind::ImplicitDirectory => 'i',
            PathKind::File => 'f',
            PathKind::Symlink => 'l',
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{kind} {:o} {} {} {}\0{}\0",
            node.mode, node.uid, node.gid, node.content, node.path
        );
    }
    text
}

/// Reads the text of an index; `None` when it is not one.
pub(crate) fn read_index(text: &str) -> Option<Vec<Node<'_>>> {
    let mut nodes = Vec::new();
    let mut fields = text.split_terminator('\0');
    while let Some(facts) = fields.next() {
        let path = fields.next()?;
        let mut facts = facts.splitn(5, ' ');
        nodes.push(Node {
            path,
            kind: match facts.next()? {
                "d" => PathKind::Directory,
                "i" => PathKind::ImplicitDirectory,
                "f" => PathKind::File,
                "l" => PathKind::Symlink,
                _ => return None,
            },
            mode: u32::from_str_radix(facts.next()?, 8).ok()?,
            uid: facts.next()?.parse().ok()?,
            gid: facts.next()?.parse().ok()?,
            content: facts.next()?,
        });
    }
    Some(nodes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_index_is_read_back(
            facts in proptest::collection::vec(("[^\0]{1,20}", "[^\0]{0,20}", 0u32..0o10000, any::<u32>(), 0usize..4), 0..20)
        ) {
            let kinds = [PathKind::Directory, PathKind::ImplicitDirectory, PathKind::File, PathKind::Symlink];
            let nodes: Vec<Node<'_>> = facts
                .iter()
                .map(|(path, content, mode, uid, kind)| Node {
                    path, kind: kinds[*kind], mode: *mode, uid: *uid, gid: *uid / 2, content,
                })
                .collect();
            let text = write_index(nodes.iter().copied());
            prop_assert_eq!(read_index(&text), Some(nodes));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = read_index(&text);
        }
    }
}
