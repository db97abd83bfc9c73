//! The `filesystem` package: the directories, the links of the merged `/usr`, and the accounts of a build root.

use super::{dated, generated_package};
use rpm_writer::{Dependency, FileEntry, FileFlags, Package};

/// Directories of mode 0755.
const DIRECTORIES: [&str; 66] = [
    "/boot",
    "/dev",
    "/etc",
    "/etc/opt",
    "/etc/profile.d",
    "/etc/skel",
    "/home",
    "/media",
    "/mnt",
    "/opt",
    "/run",
    "/srv",
    "/usr",
    "/usr/bin",
    "/usr/games",
    "/usr/include",
    "/usr/lib",
    "/usr/lib/debug",
    "/usr/lib/locale",
    "/usr/lib/pkgconfig",
    "/usr/lib/systemd",
    "/usr/lib/systemd/system",
    "/usr/lib/tmpfiles.d",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu/pkgconfig",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/local",
    "/usr/local/bin",
    "/usr/local/etc",
    "/usr/local/include",
    "/usr/local/lib",
    "/usr/local/sbin",
    "/usr/local/share",
    "/usr/local/src",
    "/usr/sbin",
    "/usr/share",
    "/usr/share/aclocal",
    "/usr/share/applications",
    "/usr/share/bash-completion",
    "/usr/share/bash-completion/completions",
    "/usr/share/dict",
    "/usr/share/doc",
    "/usr/share/icons",
    "/usr/share/info",
    "/usr/share/licenses",
    "/usr/share/locale",
    "/usr/share/man",
    "/usr/share/man/man1",
    "/usr/share/man/man3",
    "/usr/share/man/man5",
    "/usr/share/man/man7",
    "/usr/share/man/man8",
    "/usr/share/misc",
    "/usr/share/pixmaps",
    "/usr/share/pkgconfig",
    "/usr/src",
    "/var",
    "/var/cache",
    "/var/empty",
    "/var/lib",
    "/var/lib/misc",
    "/var/lib/rpm",
    "/var/log",
    "/var/opt",
    "/var/spool",
];

/// Directories of another mode. `/build` is the home of the build user; it belongs to root all the same, since
/// rpm looks up owners before this package has brought `/etc/passwd`.
const SPECIAL_DIRECTORIES: [(&str, u16); 7] = [
    ("/", 0o755),
    ("/build", 0o1777),
    ("/proc", 0o555),
    ("/root", 0o700),
    ("/sys", 0o555),
    ("/tmp", 0o1777),
    ("/var/tmp", 0o1777),
];

/// The merged `/usr`, and two old names of `/run`.
const LINKS: [(&str, &str); 7] = [
    ("/bin", "usr/bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/sbin", "usr/sbin"),
    ("/var/lock", "../run/lock"),
    ("/var/run", "../run"),
    ("/etc/mtab", "../proc/self/mounts"),
];

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
man:x:6:12:man:/var/cache/man:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
builder:x:1000:1000:builder:/build:/bin/bash
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin
";

const GROUP: &str = "\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
lp:x:7:
mail:x:8:
man:x:12:
wheel:x:10:
kmem:x:15:
utmp:x:43:
shadow:x:42:
staff:x:50:
users:x:100:
builder:x:1000:
nobody:x:65534:
nogroup:x:65533:
";

const NSSWITCH: &str = "\
passwd: files
group: files
shadow: files
hosts: files dns
services: files
protocols: files
networks: files
";

const OS_RELEASE: &str = "\
NAME=\"Millwright\"
ID=millwright
PRETTY_NAME=\"Millwright toolchain\"
VERSION_ID=1
HOME_URL=\"https://millwright.invalid/\"
";

/// Configuration files: path, mode, content.
const FILES: [(&str, u16, &str); 9] = [
    ("/etc/fstab", 0o644, ""),
    ("/etc/group", 0o644, GROUP),
    ("/etc/host.conf", 0o644, "multi on\n"),
    ("/etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/nsswitch.conf", 0o644, NSSWITCH),
    ("/etc/passwd", 0o644, PASSWD),
    ("/etc/profile", 0o644, "export PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin\numask 022\n"),
    ("/etc/resolv.conf", 0o644, ""),
    ("/etc/shells", 0o644, "/bin/sh\n/bin/bash\n"),
];

/// Returns the package and its files.
pub(crate) fn filesystem() -> (Package, Vec<FileEntry>) {
    let mut package = generated_package("filesystem", "Directories and accounts of a build root");
    package.provides.push(Dependency::any("filesystem(merged-usr)"));
    package.provides.push(Dependency::any("system-release"));
    let mut files: Vec<FileEntry> =
        DIRECTORIES.iter().map(|path| FileEntry::directory(*path, 0o755)).collect();
    files.extend(SPECIAL_DIRECTORIES.iter().map(|(path, mode)| FileEntry::directory(*path, *mode)));
    files.extend(LINKS.iter().map(|(path, target)| FileEntry::symlink(*path, *target)));
    for (path, mode, content) in FILES {
        files.push(FileEntry::file(path, mode, content).with_flags(FileFlags::CONFIG | FileFlags::NOREPLACE));
    }
    files.push(FileEntry::file("/usr/lib/os-release", 0o644, OS_RELEASE));
    files.push(FileEntry::symlink("/etc/os-release", "../usr/lib/os-release"));
    (package, dated(files))
}

/// Returns true for a directory or link that belongs to `filesystem` and to no other package.
pub(crate) fn is_standard_directory(path: &str) -> bool {
    DIRECTORIES.contains(&path)
        || SPECIAL_DIRECTORIES.iter().any(|(known, _)| *known == path)
        || LINKS.iter().any(|(known, _)| *known == path)
}

/// Returns true for a user that `filesystem` defines.
pub(crate) fn is_known_user(name: &str) -> bool {
    defines(PASSWD, name)
}

/// Returns true for a group that `filesystem` defines.
pub(crate) fn is_known_group(name: &str) -> bool {
    defines(GROUP, name)
}

fn defines(table: &str, name: &str) -> bool {
    table.lines().any(|line| line.split(':').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packs_without_contradiction() {
        let (package, files) = filesystem();
        let payload = rpm_writer::Payload::pack(files).unwrap();
        assert!(payload.records().iter().any(|r| r.path == "/lib64" && r.link_target == "usr/lib64"));
        package.to_bytes(&payload).unwrap();
    }

    #[test]
    fn every_user_has_a_group() {
        for line in PASSWD.lines() {
            let group = line.split(':').nth(3).unwrap();
            assert!(GROUP.lines().any(|entry| entry.split(':').nth(2) == Some(group)), "{line}");
        }
    }
}
