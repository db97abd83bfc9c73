//! A tree of a test's own, and what must be true of it when a program has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rpm_model::{BuildRecord, ContentDigest};
use testkit::{Account, SubordinateIds, copy_program, give_to_somebody};

use crate::run::{Ended, GLANCE, Running, start};
use crate::spec::Spec;

/// The program under test; the others lie beside it.
const MILLWRIGHT: &str = env!("CARGO_BIN_EXE_millwright");

/// The usual configuration: nothing is fetched.
pub(crate) const OFFLINE: &str = "[sources]\nupstream = false\noffline = true\n";

/// How long what belonged to a program may take to be gone after it. The kernel takes mounts and processes
/// away a moment after their supervisor, but a process that waits for a slow disk ends only then.
const AFTERMATH: Duration = Duration::from_secs(120);

/// A directory with specs, configuration, toolchain and what is built; removed when the test has passed.
pub(crate) struct Tree {
    root: PathBuf,
    runs: AtomicUsize,
    /// Who runs the programs, when that is not root.
    account: Option<Account>,
}

impl Tree {
    /// Returns a tree without specs, or `None` when this host cannot build packages; `test` must be unique.
    pub(crate) fn new(test: &str) -> Option<Self> {
        let missing = missing_capability();
        if let Some(missing) = missing {
            assert!(std::env::var_os("CI").is_none(), "{test} would be skipped: {missing}");
            eprintln!("SKIPPED {test}: {missing}");
            return None;
        }
        for program in ["pkgworker", "buildroot-init"] {
            assert!(
                program_path(program).is_file(),
                "`{program}` is missing beside `{MILLWRIGHT}`: run `cargo xtask test`, or first `cargo build -p pkgworker -p buildroot --bins`"
            );
        }
        sweep();
        let root = scratch().join(format!("{test}.{}", std::process::id()));
        fs::create_dir_all(root.join("SPECS")).unwrap();
        fs::create_dir_all(root.join("configs")).unwrap();
        let tree = Self { root, runs: AtomicUsize::new(0), account: None };
        tree.configure(OFFLINE);
        tree.take_toolchain();
        tree.share_layers();
        Some(tree)
    }

    /// Returns a tree of somebody who is not root and has subordinate ids, with unpacked packages and programs of his
    /// own; `None` where [`Tree::new`] says so, or where this host forbids that to ordinary users.
    pub(crate) fn of_somebody(test: &str) -> Option<Self> {
        let mut tree = Self::new(test)?;
        // Where everybody can come to.
        let place = Path::new("/var/tmp").join(format!("millwright-{test}.{}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).unwrap();
        let account = Account::new(&place, SubordinateIds::Range);
        fs::remove_dir_all(&tree.root).unwrap();
        tree.root = place;
        match account {
            Ok(account) => tree.account = Some(account),
            Err(missing) => {
                eprintln!("SKIPPED {test}: {missing}");
                return None;
            }
        }
        for directory in ["SPECS", "configs", "bin", "out"] {
            fs::create_dir_all(tree.path(directory)).unwrap();
        }
        tree.configure(OFFLINE);
        tree.take_toolchain();
        for program in ["buildroot-init", "millwright", "pkgworker", "spec-engine"] {
            copy_program(&program_path(program), &tree.path("bin").join(program));
        }
        give_to_somebody(&tree.root);
        Some(tree)
    }

    /// Takes over the workspace's toolchain.
    fn take_toolchain(&self) {
        let (from, to) = (workspace().join("build"), self.path("build"));
        fs::create_dir_all(to.join("cache")).unwrap();
        let link: fn(&Path, &Path) -> std::io::Result<()> = match self.account {
            None => |file, target| fs::hard_link(file, target),
            // What is given away must not be the workspace's own file under another name.
            Some(_) => |_, _| Err(std::io::ErrorKind::Unsupported.into()),
        };
        link_files(&from.join("toolchain_rpms"), &to.join("toolchain_rpms"), link);
        fs::copy(from.join("toolchain.json"), to.join("toolchain.json")).unwrap();
        // Where the private apt root would be: a toolchain that is not current is an error, not a download.
        fs::write(to.join("apt"), "the workspace's toolchain is not current; `cargo xtask test` makes it\n")
            .unwrap();
    }

    /// Has the toolchain in files of its own, whose stamps do not change when other tests take theirs over.
    pub(crate) fn own_toolchain(&self) {
        let (linked, own) = (self.path("build/toolchain_rpms"), self.path("build/own-toolchain"));
        link_files(&linked, &own, |file, target| fs::copy(file, target).map(drop));
        fs::remove_dir_all(&linked).unwrap();
        fs::rename(&own, &linked).unwrap();
    }

    /// Shares the workspace's unpacked packages: they are known by content.
    fn share_layers(&self) {
        let layers = workspace().join("build/cache/layers");
        fs::create_dir_all(&layers).unwrap();
        std::os::unix::fs::symlink(&layers, self.path("build/cache/layers")).unwrap();
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, text: &str) {
        self.file("configs/millwright.toml", text);
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Writes a file, and its directories.
    pub(crate) fn file(&self, relative: &str, content: &str) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Reads a file that must be there.
    #[track_caller]
    pub(crate) fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
    }

    /// Writes a spec to its place.
    pub(crate) fn spec(&self, spec: &Spec) {
        self.file(&format!("SPECS/{0}/{0}.spec", spec.name), &spec.text());
    }

    /// Returns a command that runs one of the programs in the tree's root.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = match &self.account {
            None => Command::new(program_path(program)),
            Some(account) => account.command(self.path("bin").join(program)),
        };
        command.args(arguments).current_dir(&self.root);
        for variable in [
            "PACKAGE_BUILD_LIST",
            "PACKAGE_REBUILD_LIST",
            "PACKAGE_IGNORE_LIST",
            "SRPM_PACK_LIST",
            "TEST_RUN_LIST",
            "TEST_RERUN_LIST",
            "TEST_IGNORE_LIST",
        ] {
            command.env_remove(variable);
        }
        command
    }

    /// Starts any command; its output goes into the tree.
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        start(command, &self.path(&format!("run-{number}")))
    }

    /// Starts `millwright`.
    pub(crate) fn start_millwright(&self, arguments: &[&str]) -> Running {
        self.start(&mut self.command("millwright", arguments))
    }

    /// Runs `millwright` and asserts that it left nothing behind.
    #[track_caller]
    pub(crate) fn millwright(&self, arguments: &[&str]) -> Ended {
        let ended = self.start_millwright(arguments).wait();
        self.assert_clean();
        ended
    }

    /// Runs any command and waits for its end.
    pub(crate) fn run(&self, command: &mut Command) -> Ended {
        self.start(command).wait()
    }

    /// Returns the build records by spec.
    pub(crate) fn records(&self) -> BTreeMap<String, BuildRecord> {
        files_below(&self.path("build/records"))
            .into_iter()
            // While a run writes them there are temporary files beside them.
            .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
            .map(|path| serde_json::from_slice::<BuildRecord>(&fs::read(path).unwrap()).unwrap())
            .map(|record| (record.package.clone(), record))
            .collect()
    }

    /// Returns the published binary packages, `<arch>/<file>` to content.
    pub(crate) fn published(&self) -> BTreeMap<String, ContentDigest> {
        let rpms = self.path("out/RPMS");
        let relative = |path: &Path| path.strip_prefix(&rpms).unwrap().to_string_lossy().into_owned();
        files_below(&rpms)
            .into_iter()
            .filter(|path| !path.starts_with(rpms.join("repodata")))
            .map(|path| (relative(&path), ContentDigest::of_bytes(&fs::read(&path).unwrap())))
            .collect()
    }

    /// Asserts that what is published is what the records vouch for, that no build's directory is left, and
    /// that no process and no mount of this tree is there.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        self.assert_nothing_runs();
        let records = self.records();
        let vouched: BTreeMap<String, ContentDigest> = records
            .values()
            .flat_map(|record| &record.rpms)
            .map(|rpm| (rpm.artifact.path.clone(), rpm.artifact.sha256.clone()))
            .collect();
        assert_eq!(self.published(), vouched, "published and vouched for by records");
        let jobs = self.path("build/worker/chroot");
        let left: Vec<_> =
            fs::read_dir(&jobs).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// Asserts that no process and no mount of this tree is there, or that they are just going.
    #[track_caller]
    pub(crate) fn assert_nothing_runs(&self) {
        let start = Instant::now();
        loop {
            let left = self.remains();
            if left.is_empty() {
                return;
            }
            assert!(start.elapsed() < AFTERMATH, "left behind: {left:#?}");
            std::thread::sleep(GLANCE);
        }
    }

    /// Returns the processes that have to do with this tree, and the mounts of it: those that name it in
    /// their command line, work in it, or see it in their mounts, which every sandbox over it does.
    pub(crate) fn remains(&self) -> BTreeSet<String> {
        // Whole, for the name of one test may end that of another.
        let mark = format!("/{}/", self.root.file_name().unwrap().to_string_lossy());
        let own = std::process::id().to_string();
        let mut found = BTreeSet::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            if !id.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let process = entry.path();
            let text = |file: &str| {
                let bytes = fs::read(process.join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).replace('\0', " ")
            };
            let command = text("cmdline");
            let directory = fs::read_link(process.join("cwd")).unwrap_or_default();
            let works_here = format!("{}/", directory.display()).contains(&mark) || command.contains(&mark);
            if id != own && works_here {
                found.insert(format!("process {id}: {command}"));
            }
            if let Some(line) = text("mountinfo").lines().find(|line| line.contains(&mark)) {
                found.insert(format!("mount in process {id} ({command}): {line}"));
            }
        }
        found
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the tree of the failed test is kept: {}", self.root.display());
        } else {
            fs::remove_dir_all(&self.root).unwrap();
        }
    }
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

/// Returns the path of one of the programs.
pub(crate) fn program_path(program: &str) -> PathBuf {
    Path::new(MILLWRIGHT).with_file_name(program)
}

/// Returns what this host lacks to build packages.
fn missing_capability() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let toolchain = workspace().join("build/toolchain.json");
    (!toolchain.is_file()).then(|| format!("needs `{}`, which `cargo xtask test` makes", toolchain.display()))
}

/// Returns the directory of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Returns where trees are: on the workspace's file system, so that its toolchain can be linked.
fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e")
}

/// Removes, once, the trees that earlier test programs left because their tests failed or they were killed; this one has
/// made none yet, so what has its number is an earlier one's too.
fn sweep() {
    static SWEEP: Once = Once::new();
    SWEEP.call_once(|| {
        fs::create_dir_all(scratch()).unwrap();
        // Each test removes its tree while others make theirs.
        buildroot::spread_subdirectories(&scratch());
        for entry in fs::read_dir(scratch()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.rsplit_once('.').map(|(_, id)| id.to_owned());
            let own = std::process::id().to_string();
            if owner.is_some_and(|id| id == own || !Path::new("/proc").join(id).exists()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    });
}

/// Links all files of a directory into another; copies them where that is not possible, as on another file system.
fn link_files(from: &Path, to: &Path, link: fn(&Path, &Path) -> std::io::Result<()>) {
    for file in files_below(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        if link(&file, &target).is_err() {
            fs::copy(&file, &target).unwrap();
        }
    }
}
