//! The repository is of use: dnf installs all of it into an empty root, and the programs run there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rpm_model::BuildRecord;

use crate::workspace::{Scratch, distribution, records, run};

/// What is tried, in a chroot, by a shell that stops at the first command that fails.
const TRIALS: [(&str, &str); 17] = [
    ("jq", r#"test "$(echo '{"a": [40, 2]}' | jq '.a | add')" = 42"#),
    ("jq, regular expressions", r#"test "$(jq -n '"föö" | test("^f\\p{L}{2}$")')" = true"#),
    ("lua", r#"echo 'print(("x"):rep(3), 6 * 7)' > /tmp/try.lua; test "$(lua /tmp/try.lua)" = "xxx	42""#),
    (
        "lua, lines through readline",
        r#"printf '=6*7\n' | lua -i | grep -q 42; uses lua libreadline.so.8
        # It crashed under a locale that is not there.
        printf '=6*7\n' | LC_ALL=xx_YY.UTF-8 lua -i | grep -q 42"#,
    ),
    ("tree", "tree --version; tree /usr/share/millwright-release | grep -q identity.json"),
    ("nano", "nano --version; uses nano libncursesw.so.6"),
    ("less", "less --version; less /etc/millwright-release | grep -q Millwright"),
    ("sqlite", r#"test "$(sqlite3 :memory: 'with t(x) as (values (40), (2)) select sum(x) from t')" = 42"#),
    ("grep", "echo aXb | grep -qP '(?<=a)X(?=b)'; ! echo aXc | grep -qP '(?<=a)X(?=b)'"),
    ("pcre2", "echo abc | pcre2grep -q 'a(?=bc)'"),
    (
        "xz, bzip2, zstd, lz4",
        r#"seq 20000 > /tmp/numbers
        for program in xz bzip2 zstd lz4; do
            $program -c < /tmp/numbers > /tmp/packed
            test "$(stat -c %s /tmp/packed)" -lt "$(stat -c %s /tmp/numbers)"
            test "$($program -dc < /tmp/packed | sha256sum)" = "$(sha256sum < /tmp/numbers)"
        done"#,
    ),
    ("which", r#"test "$(which jq)" = /usr/bin/jq; ! which no-such-program 2> /dev/null"#),
    (
        "make",
        r#"printf 'all: a b\n\t@cat a b\na b:\n\t@echo $@ > $@\n' > /tmp/Makefile
        cd /tmp; test "$(make -j2 | tr -d '\n')" = ab; make -q a"#,
    ),
    ("ncurses", r#"test "$(tput -T xterm-256color colors)" = 256"#),
    (
        "libpng",
        // One grey pixel; then the same, cut short.
        "echo iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg== |
            base64 -d > /tmp/one.png
        pngfix --out=/tmp/two.png /tmp/one.png; test -s /tmp/two.png
        head -c 50 /tmp/one.png > /tmp/cut.png; ! pngfix /tmp/cut.png",
    ),
    ("expat", "echo '<a><b/></a>' > /tmp/try.xml; xmlwf /tmp/try.xml"),
    (
        "release",
        r#". /usr/share/millwright-release/os-release; test "$ID" = "$(jq -r .id /usr/share/millwright-release/identity.json)""#,
    ),
];

/// Given to every trial: whether a program is linked with a library that is there.
const USES: &str = r#"uses() { LD_TRACE_LOADED_OBJECTS=1 "$(which "$1")" | grep "$2 => /" > /dev/null; }
"#;

#[test]
fn all_of_it_is_installed_into_an_empty_root_and_runs() {
    let test = "all_of_it_is_installed_into_an_empty_root_and_runs";
    let Some(workspace) = distribution(test, &["dnf", "rpm", "unshare"]) else { return };
    let scratch = Scratch::new(test);
    let root = InstalledRoot::new(scratch.path());
    let ours = packages(&records(workspace));
    root.install(workspace, &ours);

    let installed: BTreeSet<String> = root
        .rpm(&["-qa", "--qf", "%{name}-%{version}-%{release}.%{arch}\n"])
        .lines()
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = ours.iter().filter(|package| !installed.contains(*package)).collect();
    assert!(missing.is_empty(), "not installed: {missing:?}");
    root.assert_consistent();

    let failures: BTreeMap<&str, String> =
        TRIALS.iter().filter_map(|(name, script)| Some((*name, root.try_script(script)?))).collect();
    assert!(failures.is_empty(), "{failures:#?}");
    root.assert_jq_uses_our_oniguruma();
}

/// Returns the NEVRAs of all packages that people install.
fn packages(records: &BTreeMap<String, BuildRecord>) -> BTreeSet<String> {
    records
        .values()
        .flat_map(|record| &record.rpms)
        .map(|rpm| &rpm.artifact.nevra)
        .filter(|nevra| !nevra.name.ends_with("-debuginfo") && !nevra.name.ends_with("-debugsource"))
        .map(ToString::to_string)
        .collect()
}

/// A root that dnf installs into, and rpm of this host looks into.
struct InstalledRoot {
    root: PathBuf,
    home: PathBuf,
    cache: PathBuf,
}

impl InstalledRoot {
    fn new(directory: &Path) -> Self {
        let place = |name: &str| directory.join(name);
        let root = Self { root: place("root"), home: place("home"), cache: place("cache") };
        fs::create_dir(&root.root).unwrap();
        fs::create_dir(&root.home).unwrap();
        // Debian's rpm keeps its database in the user's home.
        fs::write(root.home.join(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
        root
    }

    /// Installs packages from the repository and what they need from it and from the toolchain.
    #[track_caller]
    fn install(&self, workspace: &Path, packages: &BTreeSet<String>) {
        let repository =
            |id: &str, path: &str| format!("--repofrompath={id},file://{}", workspace.join(path).display());
        let mut dnf = Command::new("dnf");
        dnf.env("HOME", &self.home)
            .args(["-y", "--nogpgcheck", "--releasever=1", "--forcearch=x86_64"])
            .args(["--setopt=reposdir=/nonexistent", "--setopt=plugins=0", "--setopt=install_weak_deps=0"])
            .arg("--setopt=module_platform_id=platform:x")
            .arg(format!("--setopt=cachedir={}", self.cache.display()))
            .arg(format!("--installroot={}", self.root.display()))
            .arg(repository("millwright", "out/RPMS"))
            .arg(repository("toolchain", "build/toolchain_rpms"))
            .args(["--repo=millwright", "--repo=toolchain", "install"])
            // The trials' shell, tools and locale.
            .args(["filesystem", "bash", "coreutils", "glibc-common"])
            .args(packages);
        run(&mut dnf).exits(0).says("Complete!");
    }

    /// Returns what rpm says of the root.
    #[track_caller]
    fn rpm(&self, arguments: &[&str]) -> String {
        let mut rpm = Command::new("rpm");
        rpm.env("HOME", &self.home).arg("--root").arg(&self.root).args(arguments);
        run(&mut rpm).exits(0).stdout.clone()
    }

    /// Asserts that every file is as its package says, that every requirement is met, and that no library is
    /// there twice, once of the tree and once of the toolchain.
    #[track_caller]
    fn assert_consistent(&self) {
        self.rpm(&["-Va"]);
        let mut owners: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in self.rpm(&["-qa", "--qf", "[%{=NAME} %{PROVIDENAME}\n]"]).lines() {
            let (package, provided) = line.split_once(' ').unwrap();
            if provided.contains(".so.") {
                owners.entry(provided.to_owned()).or_default().insert(package.to_owned());
            }
        }
        assert!(owners.contains_key("libz.so.1()(64bit)"), "{owners:#?}");
        owners.retain(|_, packages| packages.len() > 1);
        assert!(owners.is_empty(), "libraries that are there twice: {owners:#?}");
    }

    #[track_caller]
    fn assert_jq_uses_our_oniguruma(&self) {
        let owner = self.rpm(&["-qf", "--qf", "%{name} %{vendor}", "/usr/lib/libonig.so.5"]);
        assert_eq!(owner, "oniguruma Millwright");
        let requires = self.rpm(&["-q", "--requires", "jq"]);
        assert!(requires.lines().any(|line| line == "libonig.so.5()(64bit)"), "{requires}");
        // The loader finds it by one of the names of that directory.
        let loads = "LD_TRACE_LOADED_OBJECTS=1 /usr/bin/jq > /tmp/libraries
            test \"$(readlink -f $(sed -n 's/.*libonig.so.5 => \\([^ ]*\\).*/\\1/p' /tmp/libraries))\" = \"$(readlink -f /usr/lib/libonig.so.5)\"";
        assert_eq!(self.try_script(loads), None);
    }

    /// Runs a shell script in the root; returns what it said when it failed.
    fn try_script(&self, script: &str) -> Option<String> {
        // The mounts are the private namespace's and end with it.
        const ENTER: &str = r#"mount -t proc proc "$1/proc"
            mount -t tmpfs tmpfs "$1/dev"
            mknod -m 666 "$1/dev/null" c 1 3
            exec chroot "$1" /usr/bin/env -i PATH=/usr/bin HOME=/tmp LC_ALL=C.UTF-8 TERM=dumb /bin/bash -euc "$2""#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-ec", ENTER, "sh"]);
        command.arg(&self.root).arg(format!("{USES}{script}"));
        let ended = run(&mut command);
        (ended.code != Some(0)).then(|| format!("{:?}: {}{}", ended.code, ended.stdout, ended.stderr))
    }
}
