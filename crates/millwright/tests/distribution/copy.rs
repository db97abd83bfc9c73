//! Another tree with the workspace's specs, toolchain and sources, and with what was built or without.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::give_to_somebody;

use crate::workspace::{Scratch, files_below};

/// A copy of the workspace's tree; whatever happens in it, the workspace's own files stay as they are.
pub(crate) struct Copy {
    /// Removed with the copy.
    _scratch: Scratch,
    root: PathBuf,
}

/// Whether a copy knows what was built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Built {
    /// It starts from scratch.
    No,
    /// It is as far as the workspace.
    Yes,
}

/// What is never written to, but replaced: it may be linked.
const LINKED: [&str; 2] = ["build/toolchain_rpms", "build/sources"];
const LINKED_WHEN_BUILT: [&str; 2] = ["build/INTERMEDIATE_SRPMS", "out"];

/// What is small.
const COPIED: [&str; 3] = ["SPECS", "configs", "build/toolchain.json"];
const COPIED_WHEN_BUILT: [&str; 5] =
    ["build/worker", "build/records", "build/cache/index", "build/cache/specs", "build/cache/srpms"];

impl Copy {
    /// Makes a copy; `test` must be unique.
    pub(crate) fn new(workspace: &Path, test: &str, built: Built) -> Self {
        let scratch = Scratch::new(test);
        let root = scratch.path().join("tree");
        let optional = |paths: &'static [&'static str]| if built == Built::Yes { paths } else { &[] };
        for path in LINKED.iter().chain(optional(&LINKED_WHEN_BUILT)) {
            transfer(&workspace.join(path), &root.join(path), |from, to| {
                fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
            });
        }
        for path in COPIED.iter().chain(optional(&COPIED_WHEN_BUILT)) {
            transfer(&workspace.join(path), &root.join(path), |from, to| fs::copy(from, to).map(drop));
        }
        // Unpacked packages are known by content and shared.
        fs::create_dir_all(root.join("build/cache")).unwrap();
        let layers = workspace.join("build/cache/layers");
        std::os::unix::fs::symlink(layers, root.join("build/cache/layers")).unwrap();
        Self { _scratch: scratch, root }
    }

    /// Makes a copy that starts from scratch, shares nothing, and belongs to somebody who is not root.
    pub(crate) fn of_somebody(workspace: &Path, test: &str) -> Self {
        let scratch = Scratch::reachable(test);
        let root = scratch.path().join("tree");
        for path in LINKED.iter().chain(&COPIED) {
            transfer(&workspace.join(path), &root.join(path), |from, to| fs::copy(from, to).map(drop));
        }
        give_to_somebody(&root);
        Self { _scratch: scratch, root }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Replaces a text, which must be there once, in a file of the copy.
    #[track_caller]
    pub(crate) fn edit(&self, relative: &str, before: &str, after: &str) {
        let path = self.root.join(relative);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(before).count(), 1, "`{before}` in `{}`", path.display());
        fs::write(&path, text.replace(before, after)).unwrap();
    }
}

/// Brings a file, or all files below a directory, somewhere else.
fn transfer(from: &Path, to: &Path, each: impl Fn(&Path, &Path) -> std::io::Result<()>) {
    let files = if from.is_dir() { files_below(from) } else { vec![from.to_owned()] };
    for file in files {
        let below = file.strip_prefix(from).unwrap();
        let target = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        each(&file, &target)
            .unwrap_or_else(|error| panic!("{} -> {}: {error}", file.display(), target.display()));
    }
}
