//! What a stack of layers looks like, seen as one root: a pure function of their indexes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::RootError;
use crate::layer::{Node, PathKind};

/// How many symbolic links one path may lead through, as in the kernel.
const MAX_LINKS: usize = 40;

/// Attributes of a directory that no package lists.
const IMPLICIT: Attributes = Attributes { mode: 0o755, uid: 0, gid: 0 };

/// One layer of a stack.
pub(super) struct Member<'a> {
    /// How to call it in a report.
    pub(super) name: String,
    pub(super) nodes: Vec<Node<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// A directory with the attributes it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DirectoryFix {
    pub(super) path: String,
    pub(super) attributes: Attributes,
    /// The stack shows other ones; if not, it is here only because it leads to one that does.
    pub(super) was_hidden: bool,
}

/// Two different files of the same path, by the places of their layers in the stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conflict {
    pub(super) path: String,
    pub(super) shown: usize,
    pub(super) hidden: usize,
}

/// What is to be done about a stack.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// For each layer concerned: directories that are links in this root, and where those lead.
    pub(super) relocations: BTreeMap<usize, BTreeMap<String, String>>,
    /// Sorted by path; with every directory above one that is listed.
    pub(super) directories: Vec<DirectoryFix>,
    /// Sorted by path and place.
    pub(super) conflicts: Vec<Conflict>,
}

/// What is known of one path while looking through the stack from the top.
struct Seen<'a> {
    node: Node<'a>,
    /// The layer that shows it.
    member: usize,
    /// Attributes of the topmost layer that lists this directory.
    listed: Option<Attributes>,
}

/// Looks at a stack, topmost layer first.
pub(super) fn examine(members: &[Member<'_>]) -> Result<Findings, RootError> {
    let paths = members.iter().map(|member| member.nodes.len()).sum();
    let mut seen: HashMap<&str, Seen<'_>> = HashMap::with_capacity(paths);
    let mut findings = Findings::default();
    let mut linked_directories = BTreeSet::new();
    for (member, Member { nodes, .. }) in members.iter().enumerate() {
        for node in nodes {
            let listed = (node.kind == PathKind::Directory).then_some(attributes(node));
            let known = match seen.entry(node.path) {
                Entry::Vacant(place) => {
                    place.insert(Seen { node: *node, member, listed });
                    continue;
                }
                Entry::Occupied(known) => known.into_mut(),
            };
            match (is_directory(&known.node), is_directory(node)) {
                (true, true) => known.listed = known.listed.or(listed),
                (false, false) if !equal(&known.node, node) => findings.conflicts.push(Conflict {
                    path: node.path.to_owned(),
                    shown: known.member,
                    hidden: member,
                }),
                (false, false) => {}
                (known_is_directory, _) => {
                    let other = (known.node, known.member);
                    let (leaf, directory) =
                        if known_is_directory { ((*node, member), other.1) } else { (other, member) };
                    if leaf.0.kind != PathKind::Symlink {
                        return Err(RootError::Clash {
                            path: node.path.to_owned(),
                            file_package: members[leaf.1].name.clone(),
                            directory_package: members[directory].name.clone(),
                        });
                    }
                    linked_directories.insert(node.path);
                    // The link is what counts, wherever in the stack it is.
                    (known.node, known.member) = leaf;
                }
            }
        }
    }
    if !linked_directories.is_empty() {
        findings.relocations = relocations(members, &seen, &linked_directories)?;
    }
    findings.directories = directory_fixes(&seen);
    findings.conflicts.sort_by(|a, b| (&a.path, a.shown, a.hidden).cmp(&(&b.path, b.shown, b.hidden)));
    Ok(findings)
}

/// Returns, for each layer with a directory that is a link, where its content belongs.
fn relocations(
    members: &[Member<'_>],
    seen: &HashMap<&str, Seen<'_>>,
    linked: &BTreeSet<&str>,
) -> Result<BTreeMap<usize, BTreeMap<String, String>>, RootError> {
    let mut relocations = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        let mut moves = BTreeMap::new();
        for node in member.nodes.iter().filter(|node| is_directory(node) && linked.contains(node.path)) {
            let to = resolve(node.path, seen).ok_or_else(|| RootError::LinkLoop {
                path: node.path.to_owned(),
                package: member.name.clone(),
            })?;
            moves.insert(node.path.to_owned(), to);
        }
        if !moves.is_empty() {
            relocations.insert(index, moves);
        }
    }
    Ok(relocations)
}

/// Follows every symbolic link of the root in `path`; `None` when that does not end.
fn resolve(path: &str, seen: &HashMap<&str, Seen<'_>>) -> Option<String> {
    let mut to_do: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut done = String::new();
    let mut links = 0;
    while let Some(name) = to_do.pop() {
        match name.as_str() {
            "" | "." => continue,
            ".." => {
                done.truncate(done.rfind('/').unwrap_or(0));
                continue;
            }
            name => done = format!("{done}/{name}"),
        }
        let link = seen.get(done.as_str()).filter(|seen| seen.node.kind == PathKind::Symlink);
        if let Some(link) = link {
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            let target = link.node.content;
            let length = if target.starts_with('/') { 0 } else { done.rfind('/').unwrap_or(0) };
            done.truncate(length);
            to_do.extend(target.split('/').rev().map(str::to_owned));
        }
    }
    (!done.is_empty()).then_some(done)
}

/// Returns the directories that the stack shows with attributes they must not have, and those above.
fn directory_fixes(seen: &HashMap<&str, Seen<'_>>) -> Vec<DirectoryFix> {
    let wanted = |seen: &Seen<'_>| seen.listed.unwrap_or(IMPLICIT);
    let hidden: BTreeSet<&str> = seen
        .iter()
        .filter(|(_, seen)| is_directory(&seen.node) && attributes(&seen.node) != wanted(seen))
        .map(|(path, _)| *path)
        .collect();
    let mut paths = BTreeSet::new();
    for path in &hidden {
        let mut above = *path;
        while paths.insert(above) && above != "/" {
            above = match above.rfind('/') {
                Some(end @ 1..) => &above[..end],
                _ => "/",
            };
        }
    }
    let fix = |path: &str| DirectoryFix {
        path: path.to_owned(),
        attributes: seen.get(path).map_or(IMPLICIT, wanted),
        was_hidden: hidden.contains(path),
    };
    paths.into_iter().map(fix).collect()
}

fn is_directory(node: &Node<'_>) -> bool {
    matches!(node.kind, PathKind::Directory | PathKind::ImplicitDirectory)
}

fn attributes(node: &Node<'_>) -> Attributes {
    Attributes { mode: node.mode, uid: node.uid, gid: node.gid }
}

/// Whether two packages may share a path: everything is the same.
fn equal(a: &Node<'_>, b: &Node<'_>) -> bool {
    let facts = |node: &Node<'_>| (node.kind, node.uid, node.gid, node.content.to_owned());
    // The mode of a symbolic link means nothing.
    facts(a) == facts(b) && (a.kind == PathKind::Symlink || a.mode == b.mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads lines of `kind[mode[:uid]] path[ -> target or content]`.
    fn member<'a>(name: &str, lines: &[&'a str]) -> Member<'a> {
        let nodes = lines.iter().map(|line| {
            let (facts, rest) = line.split_once(' ').expect("kind and path");
            let (path, content) = rest.split_once(" -> ").unwrap_or((rest, "-"));
            let kind = match &facts[..1] {
                "d" => PathKind::Directory,
                "i" => PathKind::ImplicitDirectory,
                "f" => PathKind::File,
                "l" => PathKind::Symlink,
                other => panic!("{other}"),
            };
            let (mode, uid) = facts[1..].split_once(':').unwrap_or((&facts[1..], "0"));
            let default = if kind == PathKind::File { 0o644 } else { 0o755 };
            let mode = u32::from_str_radix(mode, 8).unwrap_or(default);
            Node { path, kind, mode, uid: uid.parse().expect("uid"), gid: 0, content }
        });
        Member { name: name.to_owned(), nodes: nodes.collect() }
    }

    #[test]
    fn agreeing_layers_need_nothing() {
        let stack = [
            member("filesystem", &["d /", "d /usr", "d1777 /tmp", "l /bin -> usr/bin"]),
            member("a", &["i /", "i /usr", "f /usr/a -> 1", "l /usr/l -> a"]),
            member("b", &["i /", "i /usr", "f /usr/a -> 1", "l777 /usr/l -> a"]),
        ];
        assert_eq!(examine(&stack).expect("examined"), Findings::default());
    }

    #[test]
    fn a_listed_directory_is_not_hidden_by_one_on_the_way() {
        let stack = [
            member("filesystem", &["d555 /", "d /var"]),
            member("a", &["i /", "i /var", "i /var/lib", "i /var/lib/x", "f /var/lib/x/a"]),
            member("b", &["i /", "i /var", "i /var/lib", "d700:1000 /var/lib/x"]),
        ];
        let directories = examine(&stack).expect("examined").directories;
        let shown: Vec<String> = directories
            .iter()
            .map(|fix| {
                format!("{} {:o} {} {}", fix.path, fix.attributes.mode, fix.attributes.uid, fix.was_hidden)
            })
            .collect();
        assert_eq!(
            shown,
            ["/ 555 0 false", "/var 755 0 false", "/var/lib 755 0 false", "/var/lib/x 700 1000 true"]
        );
    }

    #[test]
    fn the_topmost_listing_of_a_directory_wins() {
        let stack = [member("a", &["d711 /x"]), member("b", &["d700 /x"]), member("c", &["i /x"])];
        assert_eq!(examine(&stack).expect("examined"), Findings::default());
    }

    #[test]
    fn directories_are_moved_to_where_links_lead() {
        let check = |links: &[&str], directory: &str, expected: Option<&str>| {
            let line = format!("i {directory}");
            // The link counts above and below the directory.
            for order in [0, 1] {
                let mut stack = vec![member("links", links), member("b", &[&line])];
                stack.rotate_left(order);
                let found = examine(&stack).map(|findings| findings.relocations);
                let found = found.ok().map(|moves| {
                    moves.values().next().and_then(|moves| moves.get(directory)).cloned().unwrap_or_default()
                });
                assert_eq!(found.as_deref(), expected, "{links:?} {directory}");
            }
        };
        check(&["l /lib64 -> usr/lib64"], "/lib64", Some("/usr/lib64"));
        check(&["l /lib64 -> usr/lib64", "l /usr/lib64 -> lib"], "/lib64", Some("/usr/lib"));
        check(&["l /a/b/c -> ../../x/./y"], "/a/b/c", Some("/x/y"));
        check(&["l /a -> /b//c/"], "/a", Some("/b/c"));
        check(&["l /a -> ../../../b"], "/a", Some("/b"));
        check(&["l /a -> b", "l /b -> a"], "/a", None);
        check(&["l /a -> /"], "/a", None);
        check(&["l /other -> x"], "/a", Some(""));
    }

    #[test]
    fn files_that_differ_are_conflicts_and_files_in_place_of_directories_clash() {
        let stack = [
            member("a", &["f /x -> 1", "f755 /y -> 1", "l /z -> p", "f /w -> 1"]),
            member("b", &["f /x -> 2", "f644 /y -> 1", "l /z -> q", "l /w -> x"]),
        ];
        let conflicts = examine(&stack).expect("examined").conflicts;
        let paths: Vec<&str> = conflicts.iter().map(|conflict| conflict.path.as_str()).collect();
        assert_eq!(paths, ["/w", "/x", "/y", "/z"]);
        assert!(conflicts.iter().all(|conflict| (conflict.shown, conflict.hidden) == (0, 1)));

        for (first, second) in [("f /x", "i /x"), ("d /x", "f /x")] {
            let error = examine(&[member("a", &[first]), member("b", &[second])]).expect_err("clash");
            assert!(error.to_string().contains("/x"), "{error}");
        }
    }
}
