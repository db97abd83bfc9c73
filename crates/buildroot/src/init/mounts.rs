//! Executes a [`MountPlan`], operation by operation, inside the new mount namespace.
//!
//! Uses the mount API of file descriptors (Linux 5.2): nothing inside the new root is reached by a
//! path that a symbolic link could bend. The overlay has two ways, see [`super::overlay`].
//!
//! Runs as pid 1 of the sandbox. Nothing is undone on errors: the process ends, its mount namespace
//! ends with it, and the kernel takes every mount away.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, fstat, makedev, mkdirat, mknodat, openat, openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    unmount,
};
use rustix::process::{chdir, fchdir, pivot_root, umask};

use super::failure::{Context, Step, failure};
use super::overlay::{Overlay, OverlayOptions, UpperPaths};
use super::{privileges, system};
use crate::outcome::{IdMapping, SetupFailure, SetupOperation as Op};
use crate::plan::{DEVICE_DIRECTORY, Device, MountOperation, MountPlan};
use crate::remove::remove_as_is;

/// Host directories that the staging tmpfs may cover, in this private namespace only. Everything of
/// the host has been opened by then, so it does not matter what is below.
const STAGING_POINTS: [&str; 4] = ["/tmp", "/mnt", "/run", "/var"];

/// Executes every operation of `plan`; afterwards this process is inside the new root.
///
/// In a user namespace the overlay keeps its marks in attributes that its user may set, and host
/// mounts are taken with those below them: the kernel does not let them be uncovered.
///
/// With subordinate ids this process becomes user id 0 as soon as the overlay is mounted: everything of the host,
/// which only the caller may reach, is open by then, and what is made from then on belongs to root, as it does when
/// root calls.
pub(super) fn execute(plan: &MountPlan, id_mapping: IdMapping) -> Step<()> {
    let mut mounter = Mounter {
        in_user_namespace: id_mapping != IdMapping::Host,
        becomes_root: id_mapping == IdMapping::SubordinateIds,
        ..Mounter::default()
    };
    plan.operations.iter().try_for_each(|operation| mounter.perform(operation))
}

#[derive(Default)]
struct Mounter {
    in_user_namespace: bool,
    becomes_root: bool,
    /// Detached copies of host mount points, by slot.
    clones: Vec<OwnedFd>,
    /// The same of the host's devices, where none can be made.
    devices: Vec<OwnedFd>,
    overlay: Option<Overlay>,
    upper: Option<UpperPaths>,
    /// Where the staging tmpfs is.
    staging: Option<&'static Path>,
    /// Its root.
    staging_root: Option<OwnedFd>,
    /// The root of the overlay.
    root: Option<OwnedFd>,
}

impl Mounter {
    fn perform(&mut self, operation: &MountOperation) -> Step<()> {
        match operation {
            MountOperation::MakePrivate => {
                let flags = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
                mount_change("/", flags).at_path(Op::Mount, Path::new("/"))
            }
            MountOperation::CloneTree { slot, source } => self.clone_tree(*slot, source),
            MountOperation::OpenDevices { devices } => self.open_devices(devices),
            MountOperation::OpenLowers { lowers } => {
                self.overlay = Some(Overlay::open(lowers)?);
                Ok(())
            }
            MountOperation::OpenDiskUpper { dir } => {
                self.upper = Some(disk_upper(dir)?);
                Ok(())
            }
            MountOperation::MountStaging { size_mb, files, with_upper } => {
                self.mount_staging(*size_mb, *files, *with_upper)
            }
            MountOperation::MakeSkeleton { points } => self.make_skeleton(points),
            MountOperation::MountOverlay { read_only, volatile } => self.mount_overlay(*read_only, *volatile),
            MountOperation::MountTmpfs { target, size_mb, files, mode } => {
                let mount = tmpfs(*size_mb, *files, *mode).at_path(Op::Mount, target)?;
                self.attach(&mount, target, false)
            }
            MountOperation::MountShared { target, mode } => self.mount_shared(target, *mode),
            MountOperation::MakeDevices { devices } => self.make_devices(devices),
            MountOperation::MountProc => self.mount_proc(),
            MountOperation::MountDevpts => self.mount_devpts(),
            MountOperation::AttachTree { slot, target, read_only } => {
                self.attach_tree(*slot, target, *read_only)
            }
            MountOperation::MakeDeviceLinks { links } => self.make_device_links(links),
            MountOperation::ProtectPath { path } => self.protect(path),
            MountOperation::HideFiles { paths } => self.hide(paths),
            MountOperation::EnterRoot => self.enter_root(),
        }
    }

    fn clone_tree(&mut self, slot: usize, source: &Path) -> Step<()> {
        debug_assert_eq!(slot, self.clones.len(), "slots are taken in order");
        self.clones.push(self.detached_copy(source)?);
        Ok(())
    }

    fn detached_copy(&self, source: &Path) -> Step<OwnedFd> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        if self.in_user_namespace {
            flags |= OpenTreeFlags::AT_RECURSIVE;
        }
        open_tree(CWD, source, flags).at_path(Op::OpenBind, source)
    }

    /// A mount costs much more than a node; but only root of the host may make nodes.
    fn open_devices(&mut self, devices: &[Device]) -> Step<()> {
        if self.in_user_namespace {
            let copies = devices
                .iter()
                .map(|device| self.detached_copy(&Path::new(DEVICE_DIRECTORY).join(device.name)));
            self.devices = copies.collect::<Step<_>>()?;
        }
        Ok(())
    }

    fn make_devices(&self, devices: &[Device]) -> Step<()> {
        for (device, copy) in devices.iter().zip(&self.devices) {
            self.attach(copy, &Path::new(DEVICE_DIRECTORY).join(device.name), true)?;
        }
        if !self.devices.is_empty() {
            return Ok(());
        }
        // Everybody may use them.
        let directory = self.device_directory()?;
        without_mask(|| devices.iter().try_for_each(|device| self.make_device(&directory, device)))
    }

    fn device_directory(&self) -> Step<OwnedFd> {
        let path = Path::new(DEVICE_DIRECTORY);
        open_inside(self.root()?, path).at_path(Op::MountPoint, path)
    }

    fn make_device(&self, directory: &OwnedFd, device: &Device) -> Step<()> {
        let path = Path::new(DEVICE_DIRECTORY).join(device.name);
        let (everybody, number) = (Mode::from_raw_mode(0o666), makedev(device.major, device.minor));
        match mknodat(directory, device.name, FileType::CharacterDevice, everybody, number) {
            // A container's root. The staging file system covers no place of devices.
            Err(Errno::PERM) => self.attach(&self.detached_copy(&path)?, &path, true),
            made => made.at_path(Op::MountPoint, &path),
        }
    }

    fn mount_staging(&mut self, size_mb: u64, files: Option<u64>, with_upper: bool) -> Step<()> {
        let mount = tmpfs(size_mb, files, 0o755).at(Op::PrepareUpper)?;
        let place = |point: &&str| {
            move_mount(&mount, "", CWD, *point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).is_ok()
        };
        let Some(staging) = STAGING_POINTS.iter().find(|point| place(point)).map(Path::new) else {
            let error = io::Error::from(io::ErrorKind::NotFound);
            return Err(failure(Op::PrepareUpper, Some(Path::new(STAGING_POINTS[0])), &error, ""));
        };
        self.staging = Some(staging);
        for name in ["skeleton", "root"] {
            make_directory(&mount, Path::new(name)).at_path(Op::PrepareUpper, Path::new(name))?;
        }
        if with_upper {
            for name in ["upper", "work"] {
                make_directory(&mount, Path::new(name)).at_path(Op::PrepareUpper, Path::new(name))?;
            }
            self.upper = Some(UpperPaths {
                shown: staging.join("upper"),
                upper: format!("{}/upper", staging.display()),
                work: format!("{}/work", staging.display()),
                _held: Vec::new(),
            });
        }
        self.staging_root = Some(mount);
        Ok(())
    }

    fn mount_shared(&self, target: &Path, mode: u32) -> Step<()> {
        let staging = self.staging_root.as_ref().ok_or_else(|| out_of_order(Op::Mount))?;
        let name = format!("at{}", target.display()).replace('/', "-");
        without_mask(|| mkdirat(staging, &name, Mode::from_raw_mode(mode))).at_path(Op::Mount, target)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(staging, &name, flags).at_path(Op::Mount, target)?;
        self.attach(&mount, target, false)
    }

    fn make_skeleton(&self, points: &[(PathBuf, Option<usize>)]) -> Step<()> {
        let skeleton = self.staging()?.join("skeleton");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let skeleton = openat(CWD, &skeleton, flags, Mode::empty()).at_path(Op::MountPoint, &skeleton)?;
        let mut made = BTreeSet::new();
        for (target, slot) in points {
            let is_directory = match slot {
                Some(slot) => is_directory(self.clone_of(*slot)?).at_path(Op::OpenBind, target)?,
                None => true,
            };
            let target = target.strip_prefix("/").unwrap_or(target);
            make_skeleton_point(&skeleton, target, is_directory, &mut made)
                .at_path(Op::MountPoint, target)?;
        }
        Ok(())
    }

    fn mount_overlay(&mut self, read_only: bool, volatile: bool) -> Step<()> {
        let staging = self.staging()?.to_path_buf();
        let overlay = self.overlay.take().ok_or_else(|| out_of_order(Op::MountOverlay))?;
        if let Some(paths) = &self.upper {
            copy_attributes(&overlay.top, &paths.upper).at_path(Op::PrepareUpper, &paths.shown)?;
        }
        let target = staging.join("root");
        let options = OverlayOptions { read_only, volatile, user_attributes: self.in_user_namespace };
        let root = overlay.mount(&staging.join("skeleton"), self.upper.as_ref(), &target, options)?;
        self.root = Some(root);
        // The kernel's own files beside the upper were the caller's to make, and stay the caller's to remove.
        if self.becomes_root {
            privileges::become_root()?;
        }
        Ok(())
    }

    fn mount_proc(&self) -> Step<()> {
        let target = Path::new("/proc");
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = filesystem("proc", &[], attributes).at_path(Op::Mount, target)?;
        self.attach(&mount, target, false)
    }

    fn mount_devpts(&self) -> Step<()> {
        let target = Path::new("/dev/pts");
        let options = [("mode", "0620"), ("ptmxmode", "0666")];
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = filesystem("devpts", &options, attributes).at_path(Op::Mount, target)?;
        self.attach(&mount, target, false)
    }

    fn attach_tree(&self, slot: usize, target: &Path, read_only: bool) -> Step<()> {
        let mount = self.clone_of(slot)?;
        if read_only {
            system::set_mount_read_only(mount.as_fd()).at_path(Op::Mount, target)?;
        }
        let is_file = !is_directory(mount).at_path(Op::OpenBind, target)?;
        self.attach(mount, target, is_file)
    }

    /// Attaches a detached mount at `target` beneath the new root, which is made when missing.
    fn attach(&self, mount: &OwnedFd, target: &Path, is_file: bool) -> Step<()> {
        let root = self.root()?;
        let point = match open_inside(root, target) {
            Err(Errno::NOENT) => make_mount_point(root, target, !is_file).at_path(Op::MountPoint, target)?,
            opened => opened.at_path(Op::MountPoint, target)?,
        };
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(mount, "", &point, "", flags).at_path(Op::Mount, target)
    }

    fn make_device_links(&self, links: &[(&str, &str)]) -> Step<()> {
        let directory = self.device_directory()?;
        links.iter().try_for_each(|(name, points_to)| {
            symlinkat(*points_to, &directory, *name).at_path(Op::MountPoint, Path::new(name))
        })
    }

    fn hide(&self, paths: &[&str]) -> Step<()> {
        let nothing = Path::new("/dev/null");
        let nothing = open_inside(self.root()?, nothing).at_path(Op::Mount, nothing)?;
        for path in paths.iter().map(Path::new) {
            let place = match open_inside(self.root()?, path) {
                Err(Errno::NOENT) => continue,
                opened => opened.at_path(Op::Mount, path)?,
            };
            let flags = OpenTreeFlags::OPEN_TREE_CLONE
                | OpenTreeFlags::OPEN_TREE_CLOEXEC
                | OpenTreeFlags::AT_EMPTY_PATH;
            let copy = open_tree(&nothing, "", flags).at_path(Op::Mount, path)?;
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            move_mount(&copy, "", &place, "", flags).at_path(Op::Mount, path)?;
        }
        Ok(())
    }

    fn protect(&self, path: &Path) -> Step<()> {
        let place = match open_inside(self.root()?, path) {
            Err(Errno::NOENT) => return Ok(()),
            opened => opened.at_path(Op::Mount, path)?,
        };
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let copy = open_tree(&place, "", flags).at_path(Op::Mount, path)?;
        system::set_mount_read_only(copy.as_fd()).at_path(Op::Mount, path)?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&copy, "", &place, "", flags).at_path(Op::Mount, path)
    }

    fn enter_root(&mut self) -> Step<()> {
        let root = self.root.take().ok_or_else(|| out_of_order(Op::PivotRoot))?;
        fchdir(&root).at(Op::PivotRoot)?;
        // Old and new root stack on the same place; the upper one of the two is then the old one.
        pivot_root(".", ".").at(Op::PivotRoot)?;
        unmount(".", UnmountFlags::DETACH).at(Op::PivotRoot)?;
        chdir("/").at(Op::PivotRoot)
    }

    fn staging(&self) -> Step<&'static Path> {
        self.staging.ok_or_else(|| out_of_order(Op::MountPoint))
    }

    fn root(&self) -> Step<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| out_of_order(Op::MountPoint))
    }

    fn clone_of(&self, slot: usize) -> Step<&OwnedFd> {
        self.clones.get(slot).ok_or_else(|| out_of_order(Op::OpenBind))
    }
}

/// Returns the failure of a plan whose operations are in an impossible order.
fn out_of_order(operation: Op) -> SetupFailure {
    failure(operation, None, &io::Error::other("the mount plan is out of order"), "")
}

/// Returns a new, detached file system.
fn filesystem(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value)?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn tmpfs(size_mb: u64, files: Option<u64>, mode: u32) -> io::Result<OwnedFd> {
    let (size, mode) = (format!("{size_mb}m"), format!("{mode:o}"));
    let files = files.map(|files| files.to_string());
    let mut options = vec![("size", size.as_str()), ("mode", mode.as_str())];
    options.extend(files.as_deref().map(|files| ("nr_inodes", files)));
    filesystem("tmpfs", &options, MountAttrFlags::MOUNT_ATTR_NOSUID)
}

/// Makes the directories of a kept upper. The work directory is always fresh: a `volatile` mount
/// leaves a mark in it that makes the next mount fail. It is the kernel's own, so it belongs to whom the upper belongs.
fn disk_upper(dir: &Path) -> Step<UpperPaths> {
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    fs::create_dir_all(&upper).at_path(Op::PrepareUpper, &upper)?;
    remove_as_is(&work).at_path(Op::PrepareUpper, &work)?;
    fs::create_dir(&work).at_path(Op::PrepareUpper, &work)?;
    let open = |path: &Path| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty()).at_path(Op::PrepareUpper, path)
    };
    let held = vec![open(&upper)?, open(&work)?];
    let through = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(UpperPaths { upper: through(&held[0]), work: through(&held[1]), shown: upper, _held: held })
}

/// Gives the upper directory the owner and mode of the topmost lower: the root directory of an
/// overlay has those of its upper.
fn copy_attributes(top: &OwnedFd, upper: &str) -> io::Result<()> {
    let attributes = fstat(top)?;
    match std::os::unix::fs::chown(upper, Some(attributes.st_uid), Some(attributes.st_gid)) {
        // An owner that does not exist in this user namespace.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) => {}
        changed => changed?,
    }
    let mode = Mode::from_raw_mode(attributes.st_mode);
    Ok(rustix::fs::chmod(upper, mode)?)
}

/// Makes files with exactly the modes that are asked for.
fn without_mask<T>(make: impl FnOnce() -> T) -> T {
    let mask = umask(Mode::empty());
    let made = make();
    umask(mask);
    made
}

fn is_directory(fd: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode) == FileType::Directory)
}

fn make_directory(parent: impl AsFd, name: &Path) -> rustix::io::Result<()> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

/// Opens a path inside the root, with every symbolic link on the way resolved inside it.
fn open_inside(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Makes `target`, a relative path, and its parents in the skeleton, which is new, private and holds no link.
/// `made` are the directories that it has already.
fn make_skeleton_point<'a>(
    skeleton: &OwnedFd,
    target: &'a Path,
    is_directory: bool,
    made: &mut BTreeSet<&'a Path>,
) -> rustix::io::Result<()> {
    let parents: Vec<&Path> = target.ancestors().skip(usize::from(!is_directory)).collect();
    for directory in parents.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
        if made.insert(directory) {
            make_directory(skeleton, directory)?;
        }
    }
    if !is_directory {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(skeleton, target, flags, Mode::from_raw_mode(0o644))?;
    }
    Ok(())
}

/// Makes `target`, which is not there, beneath `root`, its parents where they are missing, too, and opens it.
fn make_mount_point(root: BorrowedFd<'_>, target: &Path, is_directory: bool) -> rustix::io::Result<OwnedFd> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { return Err(Errno::NOENT) };
    let parent = match open_inside(root, parent) {
        Err(Errno::NOENT) => make_mount_point(root, parent, true)?,
        opened => opened?,
    };
    if is_directory {
        mkdirat(&parent, name, Mode::from_raw_mode(0o755))?;
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&parent, name, flags, Mode::from_raw_mode(0o644))?;
    }
    openat(&parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}
