//! Which controllers a cgroup of the unified hierarchy passes on to those below it, and what it takes that it does.
//!
//! All cgroups but the hierarchy's root pass controllers on only while no process is in them. Whoever has a cgroup
//! delegated, and a container whose own cgroup looks like a root, mostly is inside it. So the processes there are moved
//! into a cgroup below, [`CALLERS`], which goes when the delegated one does. Cgroups that were not delegated are left as
//! they are.

use std::fs;
use std::io;
use std::path::Path;

use super::write;
use crate::kernel_file::read;

/// Name of the cgroup that takes in the processes of a delegated one.
pub(super) const CALLERS: &str = "callers-of-buildroot";

/// How often processes are moved before it is given up: those that were started meanwhile are found the next time.
const ATTEMPTS: usize = 20;

/// Has `place` pass on those of `needed` that it can; returns all of `needed` that it then passes on.
///
/// `available` are the controllers that it has itself.
pub(super) fn pass_on<'a>(place: &Path, available: &str, needed: &[&'a str]) -> Vec<&'a str> {
    let control = place.join("cgroup.subtree_control");
    let passed = || {
        let enabled = read(&control).unwrap_or_default();
        needed.iter().copied().filter(|name| lists(&enabled, name)).collect::<Vec<_>>()
    };
    let before = passed();
    let missing = needed.iter().filter(|name| lists(available, name) && !before.contains(name));
    let missing: Vec<String> = missing.map(|name| format!("+{name}")).collect();
    if missing.is_empty() {
        return before;
    }
    // With processes in it the kernel refuses some controllers, and takes others in a way that no process can then be in a
    // cgroup below (EOPNOTSUPP). What stays refused is seen in what is passed on.
    let _ = make_room(place).and_then(|()| write(&control, &missing.join(" ")));
    passed()
}

/// Returns whether a list of controllers, as cgroup files have it, names one.
pub(super) fn lists(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|listed| listed == name)
}

/// Returns whether what is in a cgroup, which is not the hierarchy's root, is this user's to move, if it can be.
fn may_be_rearranged(place: &Path) -> bool {
    // Others can write to nothing that was not given to them.
    !rustix::process::geteuid().is_root()
        // A container's own.
        || !place.parent().is_some_and(|parent| parent.join("cgroup.procs").exists())
        // Marked so by the service manager.
        || ["trusted.delegate", "user.delegate"].into_iter().any(|name| is_marked(place, name))
}

fn is_marked(place: &Path, attribute: &str) -> bool {
    let mut value = [0u8; 4];
    rustix::fs::getxattr(place, attribute, &mut value).is_ok_and(|length| value.get(..length) == Some(b"1"))
}

/// Moves all processes of a cgroup, if it is not the hierarchy's root, into [`CALLERS`] below it.
fn make_room(place: &Path) -> io::Result<()> {
    let processes = || read(&place.join("cgroup.procs")).unwrap_or_default();
    // Only the root has no type.
    if !place.join("cgroup.type").exists() || processes().is_empty() {
        return Ok(());
    }
    if !may_be_rearranged(place) {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    let callers = place.join(CALLERS);
    match fs::create_dir(&callers) {
        // Somebody else does the same now, or has done it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    for _ in 0..ATTEMPTS {
        let processes = processes();
        if processes.is_empty() {
            return Ok(());
        }
        for process in processes.lines() {
            // One that has ended meanwhile is not listed again; one that cannot be moved is, and is seen below.
            let _ = write(&callers.join("cgroup.procs"), process);
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files in place of a cgroup's: what is written covers the beginning of what was there.
    fn cgroup(available: &str, enabled: &str) -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("directory");
        fs::write(place.path().join("cgroup.controllers"), available).expect("file");
        fs::write(place.path().join("cgroup.subtree_control"), enabled).expect("file");
        place
    }

    #[test]
    fn only_what_is_available_and_missing_is_asked_for() {
        let check = |available: &str, enabled: &str, asked: &str| {
            let place = cgroup(available, enabled);
            pass_on(place.path(), available, &["cpu", "memory", "pids"]);
            let control = fs::read_to_string(place.path().join("cgroup.subtree_control")).expect("file");
            assert_eq!(control, asked, "{available}, {enabled}");
        };
        check("cpuset cpu io memory pids", "", "+cpu +memory +pids");
        check("memory pids", "", "+memory +pids");
        check("cpu memory pids", "pids memory", "+cpu memory");
        check("cpu memory pids", "cpu memory pids", "cpu memory pids");
        check("cpuset io", "io", "io");
    }

    #[test]
    fn what_is_passed_on_is_what_the_kernel_says() {
        let place = cgroup("cpu memory pids", "pids memory");
        assert_eq!(pass_on(place.path(), "memory pids", &["cpu", "memory", "pids"]), ["memory", "pids"]);
        let nothing = pass_on(Path::new("/nowhere"), "memory", &["memory"]);
        assert_eq!(nothing, [""; 0]);
        assert!(!lists("cpuset memory", "cpu"));
    }

    #[test]
    fn processes_that_stay_are_an_error() {
        let place = cgroup("memory", "");
        fs::write(place.path().join("cgroup.procs"), "1\n").expect("file");
        assert!(make_room(place.path()).is_ok(), "the root needs none");
        fs::write(place.path().join("cgroup.type"), "domain\n").expect("file");
        assert!(make_room(place.path()).is_err());
        pass_on(place.path(), "memory", &["memory"]);
        assert_eq!(fs::read_to_string(place.path().join("cgroup.subtree_control")).expect("file"), "");
        fs::write(place.path().join("cgroup.procs"), "").expect("file");
        assert!(make_room(place.path()).is_ok());
    }
}
