//! Where the cgroups of this process are: a pure function of two files of `/proc`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::delegation::CALLERS;

/// Directories in which cgroups can perhaps be made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Of the unified hierarchy: the own cgroup first (the one above where that only holds the processes of the other),
    /// then the root of what is mounted.
    pub(super) v2: Vec<PathBuf>,
    /// Of version 1: the own cgroup in the hierarchy of each controller.
    pub(super) v1: BTreeMap<String, PathBuf>,
}

/// Understands `/proc/self/cgroup` and `/proc/self/mountinfo`.
pub(super) fn layout(cgroups: &str, mountinfo: &str) -> Layout {
    let own: Vec<(&str, &str)> = cgroups
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .collect();
    let mut layout = Layout::default();
    for mount in mountinfo.lines().filter_map(parse_mount) {
        match mount.kind {
            "cgroup2" => {
                let path = own.iter().find(|(controllers, _)| controllers.is_empty());
                let root = PathBuf::from(mount.point);
                let own = path.and_then(|(_, path)| below(&mount, without_callers(path)));
                layout.v2.extend(own.filter(|own| *own != root));
                layout.v2.push(root);
            }
            "cgroup" => {
                for controller in mount.options.split(',') {
                    let is_here = |(controllers, _): &&(&str, &str)| {
                        controllers.split(',').any(|name| name == controller)
                    };
                    let path = own.iter().find(is_here).and_then(|(_, path)| below(&mount, path));
                    if let Some(path) = path {
                        layout.v1.entry(controller.to_owned()).or_insert(path);
                    }
                }
            }
            _ => {}
        }
    }
    layout
}

/// Returns the cgroup that was delegated, where the processes that were in it have been moved one down.
fn without_callers(path: &str) -> &str {
    path.strip_suffix(CALLERS).filter(|above| above.ends_with('/')).unwrap_or(path)
}

struct Mount<'a> {
    /// What of the file system is mounted.
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (place, system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let mut system = system.split(' ');
    Some(Mount { root: place.next()?, point: place.next()?, kind: system.next()?, options: system.nth(1)? })
}

/// Returns where a cgroup is beneath a mount point; `None` when that part is not mounted there, as in
/// a container that sees its own cgroup only.
fn below(mount: &Mount<'_>, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path).strip_prefix(mount.root).ok()?;
    // Collected anew because joining an empty path would add a slash.
    Some(Path::new(mount.point).components().chain(relative.components()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_arrangement_is_understood() {
        let check = |cgroups: &str, mounts: &str, v2: &[&str], v1: &[(&str, &str)]| {
            let found = layout(cgroups, mounts);
            let paths: Vec<&str> = found.v2.iter().filter_map(|path| path.to_str()).collect();
            assert_eq!(paths, v2, "{mounts}");
            let found: Vec<(&str, &str)> =
                found.v1.iter().filter_map(|(name, path)| Some((name.as_str(), path.to_str()?))).collect();
            for expected in v1 {
                assert!(found.contains(expected), "{expected:?} in {found:?}");
            }
        };
        check(
            "0::/user.slice/session-1.scope\n",
            "30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
            &["/sys/fs/cgroup/user.slice/session-1.scope", "/sys/fs/cgroup"],
            &[],
        );
        // Processes of a delegated cgroup that were moved to make room, and of a container's own.
        for (own, expected) in [
            (
                "/a.slice/b.service/callers-of-buildroot",
                vec!["/sys/fs/cgroup/a.slice/b.service", "/sys/fs/cgroup"],
            ),
            ("/callers-of-buildroot", vec!["/sys/fs/cgroup"]),
        ] {
            let mounts = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
            check(&format!("0::{own}\n"), mounts, &expected, &[]);
        }
        check(
            "4:memory:/jobs/1\n3:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n",
            "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            &["/sys/fs/cgroup/unified"],
            &[
                ("cpu", "/sys/fs/cgroup/cpu,cpuacct"),
                ("cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
                ("memory", "/sys/fs/cgroup/memory/jobs/1"),
            ],
        );
        // A container: its own part is all that is mounted.
        check(
            "4:memory:/docker/abc\n",
            "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            &[],
            &[("memory", "/sys/fs/cgroup/memory")],
        );
        check("4:memory:/elsewhere\n", "35 31 0:32 /docker/abc /m rw - cgroup cgroup rw,memory\n", &[], &[]);
        check("", "garbage\n- - -\n", &[], &[]);
    }
}
