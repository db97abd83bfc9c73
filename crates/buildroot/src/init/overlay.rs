//! Mounts one overlay, by the kernel's new or its old interface.
//!
//! New (Linux 6.8): one `lowerdir+` per directory; on failure the kernel's own text can be read.
//! Old: `mount(2)` takes all names in one page of options, far too little for hundreds of layers
//! (it is cut at 4095 bytes and the error is a misleading `ENOENT`). So every directory gets a
//! symbolic link with a short name in a staging directory, which is made the working directory.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount, open_tree,
};
use rustix::process::chdir;

use super::failure::{Context, Step, failure};
use crate::outcome::{SetupFailure, SetupOperation as Op};

/// The two directories of an upper; both on one file system.
pub(super) struct UpperPaths {
    /// What to call it in messages.
    pub(super) shown: PathBuf,
    /// A path that leads to the upper directory now: short, and without characters that the
    /// options of the overlay would take for their own.
    pub(super) upper: String,
    /// The same for the work directory.
    pub(super) work: String,
    /// Keeps paths through `/proc/self/fd` alive.
    pub(super) _held: Vec<OwnedFd>,
}

/// How an overlay is to be mounted.
#[derive(Clone, Copy)]
pub(super) struct OverlayOptions {
    pub(super) read_only: bool,
    /// Never syncs the upper.
    pub(super) volatile: bool,
    /// Marks are kept in `user.overlay` attributes: only root may set the other ones.
    pub(super) user_attributes: bool,
}

impl OverlayOptions {
    /// Returns the options that are flags, for an overlay with or without an upper.
    fn flags(self, has_upper: bool) -> impl Iterator<Item = &'static str> {
        let flags = [(self.volatile && has_upper, "volatile"), (self.user_attributes, "userxattr")];
        flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag)
    }
}

/// An overlay whose host directories are open and which is not mounted yet.
pub(super) struct Overlay {
    /// The topmost lower directory.
    pub(super) top: OwnedFd,
    lowers: Lowers,
}

enum Lowers {
    /// A context of the new interface, which holds the directories.
    Context(OwnedFd),
    /// The directories, for the old interface.
    Directories(Vec<OwnedFd>),
}

impl Overlay {
    /// Opens the lower directories, topmost first.
    pub(super) fn open(lowers: &[PathBuf]) -> Step<Self> {
        match open_context(lowers)? {
            Some(context) => Ok(Self { top: open_top(lowers)?, lowers: Lowers::Context(context) }),
            None => Self::open_directories(lowers),
        }
    }

    /// Opens the lower directories for the old interface.
    fn open_directories(lowers: &[PathBuf]) -> Step<Self> {
        let directories = lowers.iter().map(|path| open_directory(path)).collect::<Step<_>>()?;
        Ok(Self { top: open_top(lowers)?, lowers: Lowers::Directories(directories) })
    }

    /// Mounts the overlay at `target`, with `skeleton` as the lowest of all; returns its root.
    pub(super) fn mount(
        self,
        skeleton: &Path,
        upper: Option<&UpperPaths>,
        target: &Path,
        options: OverlayOptions,
    ) -> Step<OwnedFd> {
        match self.lowers {
            Lowers::Context(context) => mount_context(&context, skeleton, upper, target, options),
            Lowers::Directories(directories) => {
                let link = |(index, directory): (usize, &OwnedFd)| {
                    let source = format!("/proc/self/fd/{}", directory.as_raw_fd());
                    symlink(source, short_name(skeleton, index)).at_path(Op::AddLower, skeleton)
                };
                directories.iter().enumerate().try_for_each(link)?;
                mount_by_options(directories.len(), skeleton, upper, target, options)
            }
        }
    }
}

/// Opens the topmost of the lower directories; a plan has at least one.
fn open_top(lowers: &[PathBuf]) -> Step<OwnedFd> {
    open_directory(lowers.first().map_or(Path::new("/"), PathBuf::as_path))
}

fn open_directory(path: &Path) -> Step<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty()).at_path(Op::AddLower, path)
}

/// Returns a context that holds `lowers`; `None` when the kernel does not know `lowerdir+`.
///
/// Every program inside can read in its mount table by which names the directories were given. So these are their
/// last names, as seen from the directories that they are in, and where those are is not told.
fn open_context(lowers: &[PathBuf]) -> Step<Option<OwnedFd>> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).at(Op::MountOverlay)?;
    if gathers_options_unseen(&context) {
        return Ok(None);
    }
    let added = add_lowers(&context, lowers)?;
    chdir("/").at(Op::MountOverlay)?;
    Ok(added.then_some(context))
}

/// Gives the directories to a context; returns false when the kernel does not know `lowerdir+`. Leaves this process in
/// some directory.
fn add_lowers(context: &OwnedFd, lowers: &[PathBuf]) -> Step<bool> {
    let mut place = None;
    for (index, lower) in lowers.iter().enumerate() {
        let (parent, name) = lower.parent().zip(lower.file_name()).unwrap_or((lower, ".".as_ref()));
        if place != Some(parent) {
            chdir(parent).at_path(Op::AddLower, parent)?;
            place = Some(parent);
        }
        match fsconfig_set_string(context, "lowerdir+", name) {
            Ok(()) => {}
            // An unknown option; a directory that is at fault gives another error.
            Err(Errno::INVAL) if index == 0 => {
                let text = kernel_text(context);
                return if text.is_empty() || text.contains("nknown parameter") {
                    Ok(false)
                } else {
                    Err(failure(Op::AddLower, Some(lower), &Errno::INVAL.into(), &text))
                };
            }
            Err(error) => {
                return Err(failure(Op::AddLower, Some(lower), &error.into(), &kernel_text(context)));
            }
        }
    }
    Ok(true)
}

/// Returns whether the kernel takes any word for an option of this file system and looks at none before the mount, as it
/// does for overlays before Linux 6.5: all options together are a page then, as for `mount(2)`, and nothing
/// tells that `lowerdir+` is unknown.
fn gathers_options_unseen(context: &OwnedFd) -> bool {
    let taken = fsconfig_set_flag(context, "no-option-of-overlays").is_ok();
    // What the kernel says of the refusal is not to be taken for the reason of a later one.
    kernel_text(context);
    taken
}

fn mount_context(
    context: &OwnedFd,
    skeleton: &Path,
    upper: Option<&UpperPaths>,
    target: &Path,
    options: OverlayOptions,
) -> Step<OwnedFd> {
    let explain = |operation, path: &Path, error: Errno| -> SetupFailure {
        failure(operation, Some(path), &error.into(), &kernel_text(context))
    };
    fsconfig_set_string(context, "lowerdir+", skeleton)
        .map_err(|error| explain(Op::AddLower, skeleton, error))?;
    if let Some(paths) = upper {
        for (key, path) in [("upperdir", &paths.upper), ("workdir", &paths.work)] {
            fsconfig_set_string(context, key, path.as_str())
                .map_err(|error| explain(Op::PrepareUpper, &paths.shown, error))?;
        }
    }
    for flag in options.flags(upper.is_some()) {
        fsconfig_set_flag(context, flag).map_err(|error| explain(Op::MountOverlay, target, error))?;
    }
    fsconfig_create(context).map_err(|error| explain(Op::MountOverlay, target, error))?;
    let attributes =
        if options.read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    let root = fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|error| explain(Op::MountOverlay, target, error))?;
    move_mount(&root, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .at_path(Op::MountOverlay, target)?;
    Ok(root)
}

fn mount_by_options(
    count: usize,
    skeleton: &Path,
    upper: Option<&UpperPaths>,
    target: &Path,
    options: OverlayOptions,
) -> Step<OwnedFd> {
    let links = skeleton.parent().unwrap_or(skeleton);
    let mut names: Vec<String> = (0..count).map(|index| index.to_string()).collect();
    names.push("skeleton".to_owned());
    let mut data = format!("lowerdir={}", names.join(":"));
    if let Some(paths) = upper {
        data.push_str(&format!(",upperdir={},workdir={}", paths.upper, paths.work));
    }
    for flag in options.flags(upper.is_some()) {
        data.push(',');
        data.push_str(flag);
    }
    chdir(links).at_path(Op::MountOverlay, links)?;
    let flags = if options.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    let text = std::ffi::CString::new(data).unwrap_or_default();
    mount("overlay", target, "overlay", flags, text.as_c_str()).at_path(Op::MountOverlay, target)?;
    chdir("/").at(Op::MountOverlay)?;
    open_tree(CWD, target, OpenTreeFlags::OPEN_TREE_CLOEXEC).at_path(Op::MountOverlay, target)
}

/// Returns the place of the short link to a lower directory.
fn short_name(skeleton: &Path, index: usize) -> PathBuf {
    skeleton.with_file_name(index.to_string())
}

/// Reads what the kernel has to say about the last error of a file system context.
fn kernel_text(context: &OwnedFd) -> String {
    let mut texts = Vec::new();
    let mut buffer = [0u8; 1024];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        // Each message begins with its level (`e`, `w` or `i`) and a space.
        let text = text.trim_end();
        texts.push(text.get(2..).unwrap_or(text).to_owned());
    }
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use nix::sched::{CloneFlags, unshare};
    use rustix::mount::{MountPropagationFlags, mount_change};

    use super::*;

    /// Mounts 120 directories by each interface and returns what is seen: the topmost and the
    /// lowest file, how many there are, and what becomes of a write.
    fn mount_many(open: fn(&[PathBuf]) -> Step<Overlay>, with_upper: bool) -> String {
        let dir = tempfile::tempdir().expect("directory");
        let place = |name: String| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.join("many")).expect("directory");
            path
        };
        let lowers: Vec<PathBuf> =
            (0..120).map(|number| place(format!("a rather long name, with a comma: {number}"))).collect();
        for (number, lower) in lowers.iter().enumerate() {
            fs::write(lower.join("same"), number.to_string()).expect("file");
            fs::write(lower.join("many").join(number.to_string()), "").expect("file");
        }
        let (skeleton, target) = (place("skeleton".to_owned()), place("root".to_owned()));
        let (upper, work) = (place("upper".to_owned()), place("work".to_owned()));
        let overlay = open(&lowers).expect("open");
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let paths =
            UpperPaths { shown: upper.clone(), upper: text(&upper), work: text(&work), _held: vec![] };
        let options = OverlayOptions { read_only: !with_upper, volatile: with_upper, user_attributes: false };
        overlay.mount(&skeleton, with_upper.then_some(&paths), &target, options).expect("mount");
        let same = fs::read_to_string(target.join("same")).expect("file");
        let many = fs::read_dir(target.join("many")).expect("directory").count();
        let written = fs::write(target.join("same"), "new").map_err(|error| error.kind());
        let below = fs::read_to_string(lowers[0].join("same")).expect("file");
        rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH).expect("unmount");
        format!("{same} {many} {written:?} {below}")
    }

    #[test]
    fn both_interfaces_mount_the_same() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED both_interfaces_mount_the_same: needs root");
            return;
        }
        let seen = thread::spawn(|| {
            // Of this thread alone, and gone with it.
            unshare(CloneFlags::CLONE_NEWNS).expect("mount namespace");
            mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).expect("private");
            let of = |open| [false, true].map(|with_upper| mount_many(open, with_upper));
            [of(Overlay::open), of(Overlay::open_directories)]
        });
        let seen = seen.join().expect("thread");
        let expected = ["0 120 Err(ReadOnlyFilesystem) 0", "0 120 Ok(()) 0"].map(str::to_owned);
        assert_eq!(seen, [expected.clone(), expected]);
    }

    #[test]
    fn the_kernels_own_words_are_passed_on() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED the_kernels_own_words_are_passed_on: needs root");
            return;
        }
        let dir = tempfile::tempdir().expect("directory");
        if open_context(&[dir.path().to_path_buf()]).expect("context").is_none() {
            eprintln!("SKIPPED the_kernels_own_words_are_passed_on: needs Linux 6.8");
            return;
        }
        let lowers = vec![dir.path().to_path_buf(); 501];
        let Err(failure) = Overlay::open(&lowers) else { panic!("501 directories were accepted") };
        assert_eq!(failure.operation, Op::AddLower);
        assert!(failure.message.contains("limit is 500"), "{}", failure.message);
    }
}
