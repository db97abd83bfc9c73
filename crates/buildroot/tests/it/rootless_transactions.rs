//! Packages with real scriptlets in the store of an ordinary user: owners are kept, and everything can be removed.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::Output;

use testkit::{Account, SOMEBODY, SUBORDINATE, SubordinateIds, copy_program, give_to_somebody};

use crate::support::example;
use crate::transactions::Site;

/// User and group that the package's scriptlet makes.
const SERVICE: u32 = 301;

/// A program in somebody's hands, and a store that somebody has.
struct Somebody {
    site: Site,
    account: Account,
}

impl Somebody {
    /// Returns `None`, and says why, when this host does not allow it.
    fn new(test: &str, ids: SubordinateIds) -> Option<Self> {
        let site = Site::new(test)?;
        let account = match Account::new(site.dir.path(), ids) {
            Ok(account) => account,
            Err(missing) => {
                eprintln!("SKIPPED {test}: {missing}");
                return None;
            }
        };
        let somebody = Self { site, account };
        let init = PathBuf::from(env!("CARGO_BIN_EXE_buildroot-init"));
        for (name, source) in [("buildroot-init", init), ("use_store", example("use_store"))] {
            copy_program(&source, &somebody.path(name));
        }
        fs::create_dir(somebody.path("own")).expect("directory");
        give_to_somebody(&somebody.path("own"));
        fs::set_permissions(somebody.site.dir.path(), Permissions::from_mode(0o755)).expect("mode");
        Some(somebody)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.dir.path().join(name)
    }

    /// Uses somebody's store as somebody.
    fn use_store(&self, action: &[&str], packages: &[PathBuf]) -> Output {
        let mut command = self.account.command(self.path("use_store"));
        command.arg(self.path("own")).args(action).args(packages);
        command.output().expect("unshare")
    }

    fn says(&self, action: &[&str], packages: &[PathBuf]) -> String {
        let output = self.use_store(action, packages);
        assert!(output.status.success(), "{action:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Returns what is in a directory of the store.
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path("own/1-user-strip").join(directory)).expect("directory");
        entries.map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

fn owner(path: &Path) -> (u32, u32) {
    let facts = path.symlink_metadata().expect("facts");
    (facts.uid(), facts.gid())
}

#[test]
fn what_scriptlets_give_away_keeps_its_owners_and_can_be_removed() {
    let test = "what_scriptlets_give_away_keeps_its_owners_and_can_be_removed";
    let Some(somebody) = Somebody::new(test, SubordinateIds::Range) else { return };
    let package = somebody.site.build(
        "service",
        "%pre\necho 'svc:x:301:301::/var/lib/svc:/bin/sh' >> /etc/passwd\necho 'svc:x:301:' >> /etc/group\n\
         %post\nmkdir -m 700 -p /var/lib/svc/deep\necho secret > /var/lib/svc/deep/key\n\
         chmod 600 /var/lib/svc/deep/key\nchmod 700 /var/lib/svc\nchown -R svc:svc /var/lib/svc\n\
         rm /usr/share/service/doomed\n\
         %install\nmkdir -p %{buildroot}/usr/share/service\ntouch %{buildroot}/usr/share/service/doomed\n\
         echo x > %{buildroot}/usr/share/service/tool\n\
         %files\n/usr/share/service/doomed\n%attr(640, svc, svc) /usr/share/service/tool\n",
    );
    let packages: Vec<PathBuf> =
        somebody.site.with(&[package]).into_iter().map(|request| request.path).collect();

    let layer = PathBuf::from(somebody.says(&["root"], &packages).trim());
    assert!(layer.to_string_lossy().contains("/1-user-strip/layers/transaction-"), "{}", layer.display());
    let theirs = (SUBORDINATE.0 + SERVICE, SUBORDINATE.1 + SERVICE);
    for path in ["var/lib/svc", "var/lib/svc/deep/key", "usr/share/service/tool"] {
        assert_eq!(owner(&layer.join(path)), theirs, "{path}");
    }
    assert_eq!(owner(&layer.join("etc/passwd")), (SOMEBODY, SOMEBODY));

    // A build sees the owners that the scriptlets meant, and may no more than anybody else.
    let script = "stat -c '%u:%g %a' /var/lib/svc /usr/share/service/tool; grep -c svc /etc/passwd; \
                  ls /var/lib/svc/deep 2>/dev/null || echo refused; test -e /usr/share/service/doomed || echo gone";
    let said = somebody.says(&["run", script], &packages);
    assert_eq!(said, "301:301 700\n301:301 640\n1\nrefused\ngone\n");

    // It is a remembered root like any other, and somebody removes it, although part of it is not somebody's.
    assert!(somebody.names("layers").iter().any(|name| name.starts_with("transaction-")));
    somebody.says(&["collect", "0"], &[]);
    assert_eq!(somebody.names("layers"), [""; 0]);
    assert_eq!(somebody.names("temp"), [""; 0]);
}

#[test]
fn what_a_killed_transaction_gave_away_is_removed_by_the_next_who_opens_the_store() {
    let test = "what_a_killed_transaction_gave_away_is_removed_by_the_next_who_opens_the_store";
    let Some(somebody) = Somebody::new(test, SubordinateIds::Range) else { return };
    somebody.says(&["collect", "0"], &[]);
    // As the kernel leaves it when transaction and worker are killed together.
    let temp = somebody.path("own/1-user-strip/temp");
    let closed = temp.join("sdead/d1/overlay/upper/var/lib/svc");
    fs::create_dir_all(&closed).expect("directories");
    fs::write(temp.join("sdead.lock"), "").expect("lock");
    give_to_somebody(&temp);
    fs::write(closed.join("key"), "secret").expect("file");
    for path in [closed.join("key"), closed.clone()] {
        fs::set_permissions(&path, Permissions::from_mode(0o700)).expect("mode");
        lchown(&path, Some(SUBORDINATE.0 + SERVICE), Some(SUBORDINATE.1 + SERVICE)).expect("owner");
    }
    somebody.says(&["collect", "0"], &[]);
    assert_eq!(somebody.names("temp"), [""; 0]);
}

#[test]
fn without_subordinate_ids_a_package_with_owners_is_refused_and_the_reason_told() {
    let test = "without_subordinate_ids_a_package_with_owners_is_refused_and_the_reason_told";
    let Some(somebody) = Somebody::new(test, SubordinateIds::None) else { return };
    let package = somebody.site.build(
        "owned",
        "%pre\necho 'svc:x:301:301::/:/bin/sh' >> /etc/passwd\necho 'svc:x:301:' >> /etc/group\n\
         %install\nmkdir -p %{buildroot}/usr/share\necho x > %{buildroot}/usr/share/owned\n\
         %files\n%attr(640, svc, svc) /usr/share/owned\n",
    );
    let packages: Vec<PathBuf> =
        somebody.site.with(&[package]).into_iter().map(|request| request.path).collect();
    let output = somebody.use_store(&["root"], &packages);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    for expected in ["chown failed", "SingleId"] {
        assert!(said.contains(expected), "`{expected}` is not in {said}");
    }
    assert_eq!(somebody.names("temp"), [""; 0]);
}
