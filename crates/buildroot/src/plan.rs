//! The ordered list of mounts that a specification means: a pure function, tested without root.
//!
//! The executor (`crate::init::mounts`) does these operations one by one and decides nothing that
//! could be decided here. Every host path is opened before the staging file system covers a host
//! directory, so no source can be hidden by it; every path inside is resolved beneath the new root,
//! so a symbolic link in a layer cannot lead a mount out of it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::spec::{Capabilities, MAX_LOWERS, SandboxSpec, TmpfsMount, Upper};

/// A character device that every sandbox sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its name in `/dev`, the same inside as on the host.
    pub(crate) name: &'static str,
    /// Numbers by which the kernel knows it, the same on every host (`devices.txt` of the kernel).
    pub(crate) major: u32,
    /// The second of them.
    pub(crate) minor: u32,
}

/// Everything in the minimal `/dev` but pseudo terminals.
const DEVICES: [Device; 6] = [
    Device { name: "full", major: 1, minor: 7 },
    Device { name: "null", major: 1, minor: 3 },
    Device { name: "random", major: 1, minor: 8 },
    Device { name: "tty", major: 5, minor: 0 },
    Device { name: "urandom", major: 1, minor: 9 },
    Device { name: "zero", major: 1, minor: 5 },
];

/// Where devices are.
pub(crate) const DEVICE_DIRECTORY: &str = "/dev";

/// Symbolic links in `/dev`, with what they point to.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("ptmx", "pts/ptmx"),
    ("stderr", "/proc/self/fd/2"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
];

/// Parts of `/proc` through which user id 0 could change the host without any capability.
const PROC_READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Files of `/proc` that tell of the host and that nothing inside has any use for: what its kernel was started with, and
/// the keyrings of the host's user of the same number.
const PROC_HIDDEN: [&str; 2] = ["/proc/cmdline", "/proc/keys"];

/// Size in MiB that the staging file system has for mount points, and what is in `/dev`.
const STAGING_MB: u64 = 16;

/// Greatest number of files and directories of the same.
const STAGING_FILES: u64 = 16_384;

/// Size in MiB of `/dev/shm`.
const SHM_MB: u64 = 512;

/// The mounts of one sandbox in the order in which they are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountPlan {
    /// The operations; the last one is [`MountOperation::EnterRoot`].
    pub(crate) operations: Vec<MountOperation>,
}

/// One step of setting up the file systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MountOperation {
    /// Cuts the new mount namespace off from the host's mount events.
    MakePrivate,
    /// Takes a detached copy of a host mount point, for a later [`Self::AttachTree`].
    CloneTree {
        /// Number by which the copy is attached later; counts from 0.
        slot: usize,
        /// Absolute host path.
        source: PathBuf,
    },
    /// Takes detached copies of the host's devices, where this process may make none of its own.
    OpenDevices {
        /// The devices.
        devices: &'static [Device],
    },
    /// Opens the lower directories on the host, topmost first.
    OpenLowers {
        /// Absolute host paths.
        lowers: Vec<PathBuf>,
    },
    /// Makes `<dir>/upper` when missing and a fresh `<dir>/work`, and opens them.
    OpenDiskUpper {
        /// Absolute host path.
        dir: PathBuf,
    },
    /// Mounts the private tmpfs that holds the mount points and, when asked, the upper.
    MountStaging {
        /// Size limit in MiB.
        size_mb: u64,
        /// Greatest number of files and directories.
        files: Option<u64>,
        /// Makes an upper and a work directory in it.
        with_upper: bool,
    },
    /// Makes the bottom lower directory: nothing but mount points, so that a read-only root and a
    /// kept upper need none of their own.
    MakeSkeleton {
        /// Absolute paths inside, each with the slot whose kind (file or directory) it takes.
        points: Vec<(PathBuf, Option<usize>)>,
    },
    /// Mounts the overlay of everything opened so far.
    MountOverlay {
        /// Refuses writes to the root.
        read_only: bool,
        /// Never syncs the upper; for uppers that are not kept across a power loss.
        volatile: bool,
    },
    /// Mounts an empty directory of the staging file system, which costs less than a file system of its own.
    MountShared {
        /// Absolute path inside.
        target: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// Makes the devices, or mounts the copies of the host's.
    MakeDevices {
        /// The devices.
        devices: &'static [Device],
    },
    /// Mounts an empty tmpfs.
    MountTmpfs {
        /// Absolute path inside.
        target: PathBuf,
        /// Size limit in MiB.
        size_mb: u64,
        /// Greatest number of files and directories.
        files: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
    },
    /// Mounts the process file system of the new pid namespace.
    MountProc,
    /// Mounts a new instance of the pseudo terminals.
    MountDevpts,
    /// Attaches a copy taken earlier.
    AttachTree {
        /// Its number.
        slot: usize,
        /// Absolute path inside.
        target: PathBuf,
        /// Refuses writes through it.
        read_only: bool,
    },
    /// Makes symbolic links beside the devices.
    MakeDeviceLinks {
        /// Names in `/dev`, each with what it points to.
        links: &'static [(&'static str, &'static str)],
    },
    /// Makes a path inside read-only in place; one that does not exist is passed over.
    ProtectPath {
        /// Absolute path inside.
        path: PathBuf,
    },
    /// Puts `/dev/null` over files inside, which are empty then; those that do not exist are passed over.
    HideFiles {
        /// Absolute paths inside.
        paths: &'static [&'static str],
    },
    /// Makes the overlay the root and lets go of everything of the host.
    EnterRoot,
}

/// Reasons why a specification cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no lower directory.
    #[error("a sandbox needs at least one lower directory")]
    NoLowers,
    /// There are more lower directories than the kernel stacks.
    #[error(
        "{count} lower directories, but the kernel stacks at most 500 and one of them holds the mount \
         points; merge some of them (`LayerStore::root_plan` does)"
    )]
    TooManyLowers {
        /// Number asked for.
        count: usize,
    },
    /// A path is relative, contains `..` or a NUL, or is not where such a path may be.
    #[error("{what} `{}` must be an absolute path without `.` and `..`", .path.display())]
    BadPath {
        /// Which path of the specification.
        what: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// There is no program to run.
    #[error("a sandbox needs a program to run")]
    NoProgram,
    /// An argument or an environment entry cannot be passed to a program.
    #[error("{what} `{value}` contains a NUL byte, or is empty or has `=` where a name is needed")]
    BadText {
        /// Argument or environment.
        what: &'static str,
        /// The text.
        value: String,
    },
    /// Capabilities are asked for that the user cannot hold.
    #[error("only user id 0 can keep capabilities, not {uid}")]
    CapabilitiesNeedRoot {
        /// User id of the specification.
        uid: u32,
    },
    /// The host name is not one.
    #[error("`{0}` is no host name (1 to 64 letters, digits, `-` and `.`)")]
    BadHostname(String),
}

impl MountPlan {
    /// Returns the mounts that `spec` means, or why it means nothing.
    pub(crate) fn new(spec: &SandboxSpec) -> Result<Self, PlanError> {
        check(spec)?;
        let mut operations = vec![MountOperation::MakePrivate];
        operations.push(MountOperation::OpenDevices { devices: &DEVICES });
        operations.extend(
            spec.binds
                .iter()
                .enumerate()
                .map(|(slot, bind)| MountOperation::CloneTree { slot, source: bind.source.clone() }),
        );
        operations.push(MountOperation::OpenLowers { lowers: spec.lowers.clone() });
        operations.extend(root(spec));
        operations.push(MountOperation::MountProc);
        operations.extend(device_directory(spec));
        operations.extend(spec.tmpfs.iter().map(|tmpfs| in_memory(spec, tmpfs)));
        operations.extend(spec.binds.iter().enumerate().map(|(slot, bind)| MountOperation::AttachTree {
            slot,
            target: bind.target.clone(),
            read_only: bind.read_only,
        }));
        operations.push(MountOperation::HideFiles { paths: &PROC_HIDDEN });
        if spec.uid == 0 {
            let protect = |path: &&str| MountOperation::ProtectPath { path: PathBuf::from(path) };
            operations.extend(PROC_READ_ONLY.iter().map(protect));
        }
        operations.push(MountOperation::EnterRoot);
        Ok(Self { operations })
    }
}

/// Returns the operations between opening the lowers and having a root.
fn root(spec: &SandboxSpec) -> Vec<MountOperation> {
    let mut operations = Vec::new();
    if let Upper::Disk { dir } = &spec.upper {
        operations.push(MountOperation::OpenDiskUpper { dir: dir.clone() });
    }
    operations.push(staging(spec));
    let fixed = ["/dev", "/proc"].into_iter().map(|path| (PathBuf::from(path), None));
    let tmpfs = spec.tmpfs.iter().map(|tmpfs| (tmpfs.target.clone(), None));
    let binds = spec.binds.iter().enumerate().map(|(slot, bind)| (bind.target.clone(), Some(slot)));
    let points: BTreeSet<(PathBuf, Option<usize>)> = fixed.chain(tmpfs).chain(binds).collect();
    operations.push(MountOperation::MakeSkeleton { points: points.into_iter().collect() });
    operations.push(MountOperation::MountOverlay {
        read_only: spec.read_only_root || spec.upper == Upper::None,
        volatile: matches!(spec.upper, Upper::Disk { .. }),
    });
    operations
}

/// Returns the operation that mounts the staging file system. Without an upper it has room for all empty directories
/// in memory together.
fn staging(spec: &SandboxSpec) -> MountOperation {
    if let Upper::Tmpfs { size_mb } = spec.upper {
        return MountOperation::MountStaging { size_mb, files: spec.limits.files, with_upper: true };
    }
    // Who has little room in the other directories has no more in this one, which would be theirs too.
    let shm = spec.tmpfs.iter().map(|tmpfs| tmpfs.size_mb).max().map_or(SHM_MB, |most| most.min(SHM_MB));
    let sizes = [STAGING_MB, shm].into_iter().chain(spec.tmpfs.iter().map(|tmpfs| tmpfs.size_mb));
    MountOperation::MountStaging {
        size_mb: sizes.fold(0, u64::saturating_add),
        files: spec.limits.files.map(|files| files.saturating_add(STAGING_FILES)),
        with_upper: false,
    }
}

/// Returns the operation that mounts an empty directory in memory.
fn in_memory(spec: &SandboxSpec, tmpfs: &TmpfsMount) -> MountOperation {
    let (target, mode) = (tmpfs.target.clone(), tmpfs.mode);
    // It belongs to root: only root, or one whom its mode lets, can fill it, and with it an upper.
    let may_be_filled = spec.uid == 0 || spec.gid == 0 || mode & 0o002 != 0;
    if may_be_filled && matches!(spec.upper, Upper::Tmpfs { .. }) {
        return MountOperation::MountTmpfs { target, size_mb: tmpfs.size_mb, files: spec.limits.files, mode };
    }
    MountOperation::MountShared { target, mode }
}

/// Returns the operations that make the minimal `/dev`.
fn device_directory(spec: &SandboxSpec) -> Vec<MountOperation> {
    let mut operations = vec![
        MountOperation::MountShared { target: "/dev".into(), mode: 0o755 },
        MountOperation::MakeDevices { devices: &DEVICES },
        MountOperation::MountDevpts,
        in_memory(spec, &TmpfsMount { target: "/dev/shm".into(), size_mb: SHM_MB, mode: 0o1777 }),
    ];
    operations.push(MountOperation::MakeDeviceLinks { links: &DEVICE_LINKS });
    operations
}

fn check(spec: &SandboxSpec) -> Result<(), PlanError> {
    match spec.lowers.len() {
        0 => return Err(PlanError::NoLowers),
        count if count > MAX_LOWERS => return Err(PlanError::TooManyLowers { count }),
        _ => {}
    }
    for lower in &spec.lowers {
        check_path("lower directory", lower, true)?;
    }
    if let Upper::Disk { dir } = &spec.upper {
        check_path("upper directory", dir, false)?;
    }
    for bind in &spec.binds {
        check_path("bind source", &bind.source, true)?;
        check_path("bind target", &bind.target, false)?;
    }
    for tmpfs in &spec.tmpfs {
        check_path("tmpfs target", &tmpfs.target, false)?;
    }
    check_path("working directory", &spec.working_directory, true)?;
    if spec.capabilities != Capabilities::None && spec.uid != 0 {
        return Err(PlanError::CapabilitiesNeedRoot { uid: spec.uid });
    }
    check_texts(spec)
}

fn check_texts(spec: &SandboxSpec) -> Result<(), PlanError> {
    if spec.arguments.first().is_none_or(String::is_empty) {
        return Err(PlanError::NoProgram);
    }
    let bad = |what, value: &str| Err(PlanError::BadText { what, value: value.to_owned() });
    if let Some(argument) = spec.arguments.iter().find(|argument| argument.contains('\0')) {
        return bad("argument", argument);
    }
    for (name, value) in &spec.environment {
        if name.is_empty() || name.contains(['=', '\0']) {
            return bad("environment name", name);
        }
        if value.contains('\0') {
            return bad("environment value", value);
        }
    }
    let name = &spec.hostname;
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if name.is_empty() || name.len() > 64 || !name.chars().all(legal) {
        return Err(PlanError::BadHostname(name.clone()));
    }
    Ok(())
}

/// Checks that a path is absolute and plain, and not the root itself unless that makes sense.
fn check_path(what: &'static str, path: &Path, may_be_root: bool) -> Result<(), PlanError> {
    let mut components = path.components();
    let absolute = components.next() == Some(Component::RootDir);
    let mut names = 0;
    let plain = components.all(|component| {
        names += 1;
        matches!(component, Component::Normal(_))
    });
    let text = path.as_os_str().as_encoded_bytes();
    if absolute && plain && (may_be_root || names > 0) && !text.contains(&0) {
        Ok(())
    } else {
        Err(PlanError::BadPath { what, path: path.to_path_buf() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::BindMount;

    fn spec() -> SandboxSpec {
        SandboxSpec::new(vec!["/store/b".into(), "/store/a".into()], vec!["true".to_owned()])
    }

    /// One line an operation, without what is the same in every sandbox.
    fn summary(spec: &SandboxSpec) -> Vec<String> {
        let plan = MountPlan::new(spec).expect("plan");
        let shown = plan.operations.iter().filter_map(|operation| {
            Some(match operation {
                MountOperation::CloneTree { slot, source } => format!("clone {slot} {}", source.display()),
                MountOperation::AttachTree { slot, target, read_only } => {
                    format!("attach {slot} {} {}", target.display(), if *read_only { "ro" } else { "rw" })
                }
                MountOperation::OpenLowers { lowers } => format!("lowers {lowers:?}"),
                MountOperation::OpenDiskUpper { dir } => format!("upper {}", dir.display()),
                MountOperation::MountStaging { size_mb, with_upper, .. } => {
                    format!("staging {size_mb} upper {with_upper}")
                }
                MountOperation::MakeSkeleton { points } => {
                    let points = points.iter().map(|(path, slot)| match slot {
                        Some(slot) => format!("{}={slot}", path.display()),
                        None => path.display().to_string(),
                    });
                    format!("skeleton {}", points.collect::<Vec<_>>().join(" "))
                }
                MountOperation::MountOverlay { read_only, volatile } => {
                    format!("overlay ro {read_only} volatile {volatile}")
                }
                MountOperation::MountTmpfs { target, size_mb, files, mode }
                    if !target.starts_with("/dev") =>
                {
                    let files = files.map(|files| format!(" {files} files")).unwrap_or_default();
                    format!("tmpfs {} {size_mb} {mode:o}{files}", target.display())
                }
                MountOperation::MountShared { target, mode } if target != Path::new("/dev") => {
                    format!("shared {} {mode:o}", target.display())
                }
                MountOperation::ProtectPath { path } => format!("protect {}", path.display()),
                MountOperation::EnterRoot => "enter".to_owned(),
                _ => return None,
            })
        });
        shown.collect()
    }

    #[test]
    fn host_paths_are_opened_before_anything_covers_them_and_mounts_follow_the_root() {
        let mut spec = spec();
        let tmpfs = |target: &str, mode| TmpfsMount { target: target.into(), size_mb: 64, mode };
        spec.tmpfs = vec![tmpfs("/tmp", 0o1777), tmpfs("/run", 0o755)];
        spec.binds = vec![
            BindMount { source: "/srv/build".into(), target: "/build".into(), read_only: false },
            BindMount { source: "/etc/hosts".into(), target: "/tmp/hosts".into(), read_only: true },
        ];
        assert_eq!(
            summary(&spec),
            [
                "clone 0 /srv/build",
                "clone 1 /etc/hosts",
                r#"lowers ["/store/b", "/store/a"]"#,
                "staging 1024 upper true",
                "skeleton /build=0 /dev /proc /run /tmp /tmp/hosts=1",
                "overlay ro false volatile false",
                "tmpfs /tmp 64 1777",
                "shared /run 755",
                "attach 0 /build rw",
                "attach 1 /tmp/hosts ro",
                "enter",
            ]
        );
    }

    #[test]
    fn the_limit_of_files_holds_for_every_tmpfs_that_a_program_can_fill() {
        let mut spec = spec();
        spec.limits.files = Some(7);
        let limited = MountPlan::new(&spec).expect("plan").operations.into_iter().filter(|operation| {
            matches!(
                operation,
                MountOperation::MountTmpfs { files: Some(7), .. }
                    | MountOperation::MountStaging { files: Some(7), with_upper: true, .. }
            )
        });
        // The upper, /dev/shm, /tmp and /var/tmp; /dev and /run are nobody's to write.
        assert_eq!(limited.count(), 4);
        (spec.uid, spec.gid) = (0, 0);
        let own = MountPlan::new(&spec).expect("plan").operations.into_iter().filter(
            |operation| matches!(operation, MountOperation::MountTmpfs { files: Some(7), target, .. } if target == Path::new("/run")),
        );
        assert_eq!(own.count(), 1, "root can write /run");
    }

    #[test]
    fn without_an_upper_in_memory_there_is_one_file_system_in_memory_with_room_for_all() {
        let mut spec = spec();
        (spec.upper, spec.limits.files) = (Upper::None, Some(7));
        let plan = MountPlan::new(&spec).expect("plan");
        let file_systems: Vec<&MountOperation> = plan
            .operations
            .iter()
            .filter(|operation| {
                matches!(operation, MountOperation::MountTmpfs { .. } | MountOperation::MountStaging { .. })
            })
            .collect();
        let all = MountOperation::MountStaging {
            size_mb: STAGING_MB + SHM_MB + 3 * 1024,
            files: Some(STAGING_FILES + 7),
            with_upper: false,
        };
        assert_eq!(file_systems, [&all]);
        // One who may hold little may hold little everywhere.
        spec.tmpfs.iter_mut().for_each(|tmpfs| tmpfs.size_mb = 16);
        let MountOperation::MountStaging { size_mb, .. } = staging(&spec) else { panic!("no staging") };
        assert_eq!(size_mb, STAGING_MB + 4 * 16);
    }

    #[test]
    fn uppers_decide_where_changes_go() {
        let mut spec = spec();
        spec.tmpfs.clear();
        let check = |spec: &SandboxSpec, expected: &[&str]| {
            let summary = summary(spec);
            let shown: Vec<&str> = summary
                .iter()
                .map(String::as_str)
                .filter(|line| ["upper", "staging", "overlay"].iter().any(|start| line.starts_with(start)))
                .collect();
            assert_eq!(shown, expected, "{:?}", spec.upper);
        };
        spec.upper = Upper::None;
        check(&spec, &["staging 528 upper false", "overlay ro true volatile false"]);
        spec.upper = Upper::Disk { dir: "/kept".into() };
        check(&spec, &["upper /kept", "staging 528 upper false", "overlay ro false volatile true"]);
        spec.read_only_root = true;
        check(&spec, &["upper /kept", "staging 528 upper false", "overlay ro true volatile true"]);
    }

    #[test]
    fn only_user_0_needs_parts_of_proc_protected() {
        let protects = |spec: &SandboxSpec| {
            summary(spec).iter().filter(|line| line.starts_with("protect /proc/")).count()
        };
        let mut spec = spec();
        assert_eq!(protects(&spec), 0);
        spec.uid = 0;
        assert_eq!(protects(&spec), PROC_READ_ONLY.len());
    }

    #[test]
    fn impossible_specifications_say_why() {
        let check = |change: &dyn Fn(&mut SandboxSpec), expected: &str| {
            let mut spec = spec();
            change(&mut spec);
            let error = MountPlan::new(&spec).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&|spec| spec.lowers.clear(), "at least one lower");
        check(&|spec| spec.lowers = vec!["/x".into(); 500], "500 lower directories");
        check(&|spec| spec.lowers[0] = "relative".into(), "lower directory `relative`");
        check(&|spec| spec.lowers[0] = "/a/../b".into(), "lower directory `/a/../b`");
        check(&|spec| spec.upper = Upper::Disk { dir: "/".into() }, "upper directory `/`");
        check(&|spec| spec.tmpfs[0].target = "/".into(), "tmpfs target `/`");
        check(&|spec| spec.working_directory = "x".into(), "working directory `x`");
        check(&|spec| spec.arguments.clear(), "program to run");
        check(&|spec| spec.arguments.push("a\0b".to_owned()), "NUL");
        check(&|spec| drop(spec.environment.insert("A=B".to_owned(), String::new())), "environment name");
        check(&|spec| spec.hostname = "under_score".to_owned(), "host name");
        check(&|spec| spec.hostname.clear(), "host name");
        check(&|spec| spec.capabilities = Capabilities::PackageTransaction, "user id 0");
        let bind = |source: &str, target: &str| BindMount {
            source: source.into(),
            target: target.into(),
            read_only: true,
        };
        check(&|spec| spec.binds.push(bind("x", "/y")), "bind source `x`");
        check(&|spec| spec.binds.push(bind("/x", "/")), "bind target `/`");
    }

    #[test]
    fn the_greatest_number_of_lowers_is_accepted() {
        let mut spec = spec();
        spec.lowers = vec!["/x".into(); MAX_LOWERS];
        assert!(MountPlan::new(&spec).is_ok());
    }
}
