//! The workspace's own distribution, built once for all tests, and the running of programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rpm_model::{BuildRecord, ContentDigest};

/// The program under test; the others lie beside it.
pub(crate) const MILLWRIGHT: &str = env!("CARGO_BIN_EXE_millwright");

/// What chooses packages through the environment; these tests say themselves what they build.
const VARIABLES: [&str; 5] = [
    "MILLWRIGHT_CONFIG",
    "PACKAGE_BUILD_LIST",
    "PACKAGE_REBUILD_LIST",
    "PACKAGE_IGNORE_LIST",
    "SRPM_PACK_LIST",
];

/// Makes sure that the whole distribution is built; returns its tree, or `None` when this host cannot build
/// packages or lacks one of these programs.
#[track_caller]
pub(crate) fn distribution(test: &str, programs: &[&str]) -> Option<&'static Path> {
    static BUILT: OnceLock<Ended> = OnceLock::new();
    if let Some(missing) = missing_capability(programs) {
        assert!(std::env::var_os("CI").is_none(), "{test} would be skipped: {missing}");
        eprintln!("SKIPPED {test}: {missing}");
        return None;
    }
    let root = workspace();
    // Its progress is shown: it takes minutes. What stands for rpmbuild's scripts is compared with them on the way.
    let build = ["build", "--tuning=compare"];
    let ended = BUILT.get_or_init(|| run(millwright(root, &build).stderr(Stdio::inherit())));
    ended.exits(0);
    Some(root)
}

/// Returns what this host lacks.
fn missing_capability(programs: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let toolchain = workspace().join("build/toolchain.json");
    if !toolchain.is_file() {
        return Some(format!("needs `{}`, which `cargo xtask test` makes", toolchain.display()));
    }
    let absent = programs.iter().find(|program| !Path::new("/usr/bin").join(program).exists())?;
    Some(format!("needs `{absent}`, which `cargo xtask test` installs"))
}

/// Returns the tree that this test was compiled in.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

/// Returns a command that runs `millwright` in a tree.
pub(crate) fn millwright(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(MILLWRIGHT);
    command.args(arguments);
    in_tree(&mut command, root);
    command
}

/// Lets a command run in a tree's root, undisturbed by the user's variables.
pub(crate) fn in_tree(command: &mut Command, root: &Path) {
    command.current_dir(root);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
}

/// A program that has ended.
pub(crate) struct Ended {
    words: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Ended {
    let words = format!("{command:?}");
    let output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot start {words}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { words, code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

impl Ended {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}\n{}{}", self.words, self.stderr, self.stdout);
        self
    }

    /// Asserts that standard output contains a text.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> &Self {
        assert!(
            self.stdout.contains(text),
            "`{text}` is not in what {} said:\n{}{}",
            self.words,
            self.stderr,
            self.stdout
        );
        self
    }
}

/// Returns a tree's build records by spec.
pub(crate) fn records(root: &Path) -> BTreeMap<String, BuildRecord> {
    files_below(&root.join("build/records"))
        .into_iter()
        .map(|path| serde_json::from_slice::<BuildRecord>(&fs::read(path).unwrap()).unwrap())
        .map(|record| (record.package.clone(), record))
        .collect()
}

/// Returns a tree's published packages, sources included: path below `out` to content.
pub(crate) fn published(root: &Path) -> BTreeMap<String, ContentDigest> {
    let out = root.join("out");
    files_below(&out)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rpm"))
        .map(|path| {
            let relative = path.strip_prefix(&out).unwrap().to_string_lossy().into_owned();
            (relative, ContentDigest::of_bytes(&fs::read(&path).unwrap()))
        })
        .collect()
}

/// Returns the published packages that another tree does not have just so.
pub(crate) fn different(ours: &BTreeMap<String, ContentDigest>, root: &Path) -> Vec<String> {
    let theirs = published(root);
    theirs
        .into_iter()
        .filter(|(path, content)| ours.get(path) != Some(content))
        .map(|(path, _)| path)
        .collect()
}

/// Returns the names of a tree's specs, sorted.
pub(crate) fn specs(root: &Path) -> Vec<String> {
    let is_spec = |path: &Path| path.extension().is_some_and(|extension| extension == "spec");
    let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut names: Vec<String> =
        files_below(&root.join("SPECS")).into_iter().filter(|path| is_spec(path)).map(stem).collect();
    names.sort();
    names
}

/// Returns all files below a directory, sorted; none where there is no directory.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// An empty directory of a test's own, removed when the test has passed.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one on the workspace's file system, so that files can be linked; `test` must be unique.
    pub(crate) fn new(test: &str) -> Self {
        Self::at(Path::new(env!("CARGO_TARGET_TMPDIR")).join("distribution").join(test))
    }

    /// Makes one that every user can reach, wherever the workspace is.
    pub(crate) fn reachable(test: &str) -> Self {
        Self::at(Path::new("/var/tmp").join(format!("millwright-{test}.{}", std::process::id())))
    }

    fn at(path: PathBuf) -> Self {
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept: {}", self.path.display());
        } else {
            fs::remove_dir_all(&self.path).unwrap();
        }
    }
}
