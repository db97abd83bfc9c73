//! Turns failed system calls into [`SetupFailure`] values with words and hints.

use std::io;
use std::path::Path;

use nix::libc;

use crate::outcome::{SetupFailure, SetupOperation};

/// Result of one step of the set-up.
pub(super) type Step<T> = Result<T, SetupFailure>;

/// Names the step that a failed system call belongs to.
pub(super) trait Context<T> {
    /// Names the operation.
    fn at(self, operation: SetupOperation) -> Step<T>;

    /// Names the operation and the path.
    fn at_path(self, operation: SetupOperation, path: &Path) -> Step<T>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn at(self, operation: SetupOperation) -> Step<T> {
        self.map_err(|error| failure(operation, None, &error.into(), ""))
    }

    fn at_path(self, operation: SetupOperation, path: &Path) -> Step<T> {
        self.map_err(|error| failure(operation, Some(path), &error.into(), ""))
    }
}

/// Returns the failure of `operation`; `kernel_text` is the kernel's own explanation, when it gave one.
pub(super) fn failure(
    operation: SetupOperation,
    path: Option<&Path>,
    error: &io::Error,
    kernel_text: &str,
) -> SetupFailure {
    let errno = error.raw_os_error().unwrap_or(0);
    let message = match kernel_text {
        "" => error.to_string(),
        text => format!("{error}: {text}"),
    };
    SetupFailure {
        operation,
        path: path.map(Path::to_path_buf),
        errno,
        message,
        hint: hint(operation, errno).map(str::to_owned),
    }
}

/// Returns what can be done about an error, when that is known.
fn hint(operation: SetupOperation, errno: i32) -> Option<&'static str> {
    use SetupOperation as Op;
    match (operation, errno) {
        (Op::Namespace, libc::EPERM) => Some(
            "needs root, or unprivileged user namespaces: see `kernel.unprivileged_userns_clone`, AppArmor's `apparmor_restrict_unprivileged_userns` and, in a container, its seccomp profile",
        ),
        (Op::Namespace, libc::ENOSPC) => {
            Some("a namespace limit is reached: see `/proc/sys/user/max_*_namespaces`")
        }
        (Op::MountOverlay, libc::EINVAL) => Some(
            "the upper directory must not lie on an overlay (in a container use a volume or the tmpfs upper), nor on a file system without extended attributes",
        ),
        (Op::MountOverlay, libc::ENODEV) => Some("the kernel has no overlay file system: `modprobe overlay`"),
        (Op::AddLower, libc::ENOENT) => Some("the layer is missing; was the layer store cleaned meanwhile?"),
        (Op::PrepareUpper | Op::MountPoint, libc::ENOSPC) => {
            Some("the file system or the memory limit is full")
        }
        (Op::MountPoint, libc::EROFS) => {
            Some("a link or file of the root stands in the place of the mount point")
        }
        (Op::PivotRoot, libc::EINVAL) => {
            Some("the host's root is an initramfs, which cannot be pivoted from")
        }
        (Op::Execute, libc::ENOENT) => Some("the program, or the interpreter it names, is not in the root"),
        (Op::Execute, libc::EACCES) => Some("the program is not executable for this user"),
        (Op::SystemCallFilter, libc::EINVAL) => Some("the kernel lacks CONFIG_SECCOMP_FILTER"),
        (Op::WorkingDirectory, libc::ENOENT) => Some("the working directory is not in the root"),
        _ => None,
    }
}
