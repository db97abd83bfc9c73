//! Packages with real scriptlets: what the set's own rpm makes of them is what rpm makes of them anywhere.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use buildroot::{
    LayerRequest, LayerStore, RootError, RootNote, RootOptions, RootOutcome, RootPlan, SandboxSpec,
    SetuidPolicy, TransactionLimits,
};
use rpm_model::{ContentDigest, WorkerManifest};
use rpm_writer::FileEntry;
use testkit::{differences, list_directory, list_overlay};

use crate::packages::{package_bytes, request};
use crate::support::{can_sandbox, eventually, example, mounts_with, output, sandbox};

/// A real worker's packages, and a place for more.
pub(crate) struct Site {
    pub(crate) dir: tempfile::TempDir,
    core: Vec<LayerRequest>,
    store: LayerStore,
}

impl Site {
    /// Returns `None`, loudly, without root, rpmbuild or a worker (`build/worker/worker.json` of this
    /// workspace, or the file that `MILLWRIGHT_TEST_WORKER` names).
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !can_sandbox(test) {
            return None;
        }
        if Command::new("rpmbuild").arg("--version").output().is_err() {
            eprintln!("SKIPPED {test}: needs rpmbuild");
            return None;
        }
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("workspace");
        #[expect(clippy::disallowed_methods, reason = "a test is the rim")]
        let named = std::env::var("MILLWRIGHT_TEST_WORKER").map(PathBuf::from);
        let path = named.unwrap_or_else(|_| workspace.join("build/worker/worker.json"));
        let Ok(bytes) = fs::read(&path) else {
            eprintln!("SKIPPED {test}: no worker at {}", path.display());
            return None;
        };
        let manifest: WorkerManifest = serde_json::from_slice(&bytes).expect("worker manifest");
        // A set is made once for ever, which would leave nothing to try: each test has its own store.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("directory");
        let store = LayerStore::open(&dir.path().join("store"), SetuidPolicy::Strip).expect("store");
        let core = manifest.core.packages().iter().map(LayerRequest::from).collect();
        Some(Self { dir, core, store })
    }

    /// Builds a package with rpmbuild.
    pub(crate) fn build(&self, name: &str, spec: &str) -> LayerRequest {
        self.build_needing(name, "", spec)
    }

    /// The same with lines for the preamble.
    fn build_needing(&self, name: &str, preamble: &str, spec: &str) -> LayerRequest {
        let top = self.dir.path().join("rpmbuild");
        fs::create_dir_all(&top).expect("directory");
        let file = top.join(format!("{name}.spec"));
        let head =
            format!("Name: {name}\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n");
        fs::write(&file, format!("{head}{preamble}%description\n{spec}")).expect("spec");
        let output = Command::new("rpmbuild")
            .args(["-bb", "--nodeps", "--define", "_binary_payload w3.zstdio"])
            .args(["--define", &format!("_topdir {}", top.display())])
            .args(["--define", "_rpmfilename %{NAME}.rpm"])
            .arg(&file)
            .env("HOME", &top)
            .output()
            .expect("rpmbuild");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = top.join("RPMS").join(format!("{name}.rpm"));
        let bytes = fs::read(&path).expect("package");
        LayerRequest { path, sha256: ContentDigest::of_bytes(&bytes), size: None }
    }

    pub(crate) fn with(&self, more: &[LayerRequest]) -> Vec<LayerRequest> {
        self.core.iter().chain(more).cloned().collect()
    }

    fn root(&self, more: &[LayerRequest]) -> Result<RootPlan, RootError> {
        self.store.root(&self.with(more), &RootOptions::default(), &sandbox())
    }

    /// Installs the same packages with the host's rpm in an empty directory.
    fn install(&self, more: &[LayerRequest]) -> PathBuf {
        let root = self.dir.path().join("installed");
        fs::create_dir_all(root.join("dev")).expect("root");
        fs::create_dir_all(root.join("proc")).expect("root");
        // A namespace of its own, so that nothing stays mounted. Scriptlets find what every root has.
        let script = "mount --bind /dev \"$0/dev\" && mount -t proc proc \"$0/proc\" && root=$0 && \
                      exec rpm --root \"$root\" -i --nodeps --nosignature --noplugins --replacefiles \
                      --ignoresize --excludepath=/dev --excludepath=/proc \
                      --define '_dbpath /var/lib/rpm' \"$@\"";
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", script])
            .arg(&root)
            .args(self.with(more).iter().map(|request| &request.path))
            .env("HOME", &root)
            .output()
            .expect("rpm");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        root
    }
}

/// What a scriptlet wrote, in the order of writing.
const JOURNAL: &str = "/usr/share/journal";

fn writes(text: &str) -> String {
    format!("echo '{text} '$1 >> {JOURNAL}\n")
}

#[test]
fn scriptlets_and_triggers_do_what_they_do_in_a_real_installation() {
    let test = "scriptlets_and_triggers_do_what_they_do_in_a_real_installation";
    let Some(site) = Site::new(test) else { return };
    let install = |path: &str, text: &str| {
        format!("%install\ninstall -d $(dirname %{{buildroot}}{path})\necho {text} > %{{buildroot}}{path}\n")
    };
    let packages = [
        // Users, of which the files of the package are, an alternative, something removed, a link of Lua.
        site.build_needing(
            "service",
            // rpm then installs the other one first.
            "Requires: other\n",
            &format!(
                "%pre\necho 'svc:x:301:301::/var/lib/svc:/bin/sh' >> /etc/passwd\necho 'svc:x:301:' >> \
                 /etc/group\n{}%post\nmkdir -p /etc/alternatives\nln -s /usr/share/service/tool \
                 /etc/alternatives/tool\nln -s /etc/alternatives/tool /usr/bin/tool\nchmod 700 \
                 /usr/share/other\nrm /usr/share/other/doomed\nrm -r /usr/share/gone\necho log > \
                 /var/log/service.log\nhead -c 16 /dev/urandom > /etc/machine-id\n{}%posttrans -p <lua>\n\
                 posix.mkdir('/usr/share/from-lua')\nposix.symlink('x', '/usr/share/from-lua/link')\n{}\n\
                 %files\n%attr(640, svc, svc) /usr/share/service/tool\n",
                writes("service pre"),
                writes("service post"),
                install("/usr/share/service/tool", "tool"),
            ),
        ),
        site.build(
            "other",
            &format!(
                "%triggerin -- service\n{}%filetriggerin -- /usr/share/service\n{}%transfiletriggerin -- \
                 /usr/share/service /usr/share/other\n{}{}mkdir -p %{{buildroot}}/usr/share/gone/deep\necho g \
                 > %{{buildroot}}/usr/share/gone/deep/file\necho d > %{{buildroot}}/usr/share/other/doomed\n\
                 %files\n/usr/share/other\n/usr/share/gone\n",
                writes("other trigger"),
                format_args!("sort | sed 's/^/file /' >> {JOURNAL}\n"),
                format_args!("sort | sed 's/^/transaction /' >> {JOURNAL}\n"),
                install("/usr/share/other/kept", "kept"),
            ),
        ),
    ];
    let plan = site.root(&packages).expect("root");
    assert!(plan.scriptlets.is_empty(), "{:?}", plan.scriptlets);
    assert!(plan.notes.contains(&RootNote::ScriptletsRun { scriptlets: 6 }), "{:?}", plan.notes);

    // The layer has what they did and nothing else.
    let layer = &plan.lowers[0];
    let mut names = BTreeSet::new();
    collect_names(layer, layer, &mut names);
    let whiteouts = ["usr/share/other/doomed", "usr/share/gone"];
    for path in whiteouts {
        let kind = layer.join(path).symlink_metadata().expect(path).file_type();
        assert!(kind.is_char_device(), "{path} must be a whiteout");
    }
    let expected = [
        "etc",
        "etc/alternatives",
        "etc/alternatives/tool",
        "etc/group",
        "etc/passwd",
        "usr",
        "usr/bin",
        "usr/bin/tool",
        "usr/share",
        "usr/share/from-lua",
        "usr/share/from-lua/link",
        "usr/share/gone",
        "usr/share/journal",
        "usr/share/other",
        "usr/share/other/doomed",
        "usr/share/service",
        "usr/share/service/tool",
    ];
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected);

    // The whole root is what rpm installs into an empty directory, but for what is thrown away.
    let installed = site.install(&packages);
    let mut theirs = list_directory(&installed);
    let thrown = ["./var/lib/rpm/", "./var/log/", "./etc/machine-id"];
    theirs.retain(|path, _| !thrown.iter().any(|thrown| path.starts_with(thrown)));
    theirs.remove("./var/lib/rpm");
    let mut ours = list_overlay(&plan.lowers);
    ours.remove("./var/lib/rpm");
    // What scriptlets wrote has the time at which they ran.
    for path in ["./etc/group time", "./etc/passwd time", "./usr/share/journal time"] {
        assert!(ours.remove(path).is_some() && theirs.remove(path).is_some(), "{path}");
    }
    // The host's directories, which were mounted there.
    for listing in [&mut ours, &mut theirs] {
        listing.retain(|path, _| !path.starts_with("./dev") && !path.starts_with("./proc"));
    }
    assert_eq!(differences(&ours, &theirs), [""; 0]);

    // It is made once, and the same again in another store.
    let again = site.root(&packages).expect("root");
    assert_eq!((again.outcome, &again.lowers), (RootOutcome::Hit, &plan.lowers));
    assert!(again.scriptlets.is_empty());

    // A program in the root sees all of it.
    let script = format!(
        "exec 2>&1; cat {JOURNAL}; ls /usr/share/gone /usr/share/other; stat -c %u:%g /usr/share/service/tool"
    );
    let mut spec = SandboxSpec::new(plan.lowers.clone(), vec!["/bin/sh".into(), "-c".into(), script]);
    (spec.uid, spec.gid) = (0, 0);
    let said = output(&spec);
    for expected in
        ["service pre 1", "service post 1", "other trigger 1", "file /usr/share/service", "301:301"]
    {
        assert!(said.contains(expected), "`{expected}` is not in {said}");
    }
    assert!(!said.contains("\ndoomed") && said.contains("No such file"), "{said}");
}

fn collect_names(root: &Path, directory: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).expect("directory") {
        let path = entry.expect("entry").path();
        names.insert(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
        if path.symlink_metadata().expect("facts").is_dir() {
            collect_names(root, &path, names);
        }
    }
}

#[test]
fn what_scriptlets_made_is_the_same_each_time() {
    let test = "what_scriptlets_made_is_the_same_each_time";
    let Some(site) = Site::new(test) else { return };
    let package = site.build("dated", "%post\nmkdir /usr/share/dated\necho x > /usr/share/dated/x\n%files\n");
    let facts = |store: &Path| {
        let store = LayerStore::open(store, SetuidPolicy::Strip).expect("store");
        let plan = store
            .root(&site.with(std::slice::from_ref(&package)), &RootOptions::default(), &sandbox())
            .expect("root");
        let layer = &plan.lowers[0];
        ["usr", "usr/share/dated", "usr/share/dated/x"]
            .map(|path| layer.join(path).symlink_metadata().expect(path).modified().expect("time"))
    };
    let (first, second) = (facts(&site.dir.path().join("store")), facts(&site.dir.path().join("second")));
    assert_eq!(first, second);
}

#[test]
fn a_scriptlet_that_fails_is_told() {
    let Some(site) = Site::new("a_scriptlet_that_fails_is_told") else { return };
    // rpm goes on after %post, and so does this.
    let may_fail = site.build("may-fail", "%post\necho made > /usr/share/made\nexit 3\n%files\n");
    let plan = site.root(&[may_fail]).expect("root");
    let is_told = |note: &RootNote| matches!(note, RootNote::TransactionWarning { text } if text.contains("may-fail") && text.contains('3'));
    assert!(plan.notes.iter().any(is_told), "{:?}", plan.notes);
    let told: Vec<String> =
        plan.notes.iter().filter(|note| note.is_unusual()).map(ToString::to_string).collect();
    assert!(told.iter().any(|text| text.contains("rpm said: ") && text.contains("may-fail")), "{told:?}");
    assert!(plan.lowers[0].join("usr/share/made").is_file());
    // A %pre that fails keeps its package out: such a set cannot be installed.
    let must_not = site.build("must-not", "%pre\necho no reason >&2\nexit 4\n%files\n");
    let error = site.root(std::slice::from_ref(&must_not)).expect_err("failing %pre").to_string();
    for expected in ["must-not", "4", "no reason"] {
        assert!(error.contains(expected), "`{expected}` is not in {error}");
    }
    assert!(mounts_with(&site.dir.path().to_string_lossy()).is_empty());
    let error = site.root(&[must_not]).expect_err("it is tried again").to_string();
    assert!(error.contains("must-not"), "{error}");
}

#[test]
fn a_scriptlet_that_wants_everything_is_ended() {
    let Some(site) = Site::new("a_scriptlet_that_wants_everything_is_ended") else { return };
    let limits = TransactionLimits {
        output_bytes: 1 << 20,
        files: 40_000,
        processes: 200,
        memory_bytes: Some(128 << 20),
        ..TransactionLimits::default()
    };
    let options = RootOptions { transaction_limits: limits, ..RootOptions::default() };
    let fill = "mkdir /usr/share/many; cd /usr/share/many; i=0; while [ $i -lt 10000000 ]; do : > $i; i=$((i+1)); done";
    for (name, script, words) in [
        ("flood", "trap '' PIPE TERM\nyes flood", "more than 1048576 bytes of output"),
        ("filler", fill, "more than 40000 files"),
        ("bomb", "bomb() { bomb | bomb & }\nbomb\nsleep 1000", "process limit"),
        ("hoard", "hoard=x; while :; do hoard=$hoard$hoard; done", "memory"),
    ] {
        let cgroups = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/cgroup.controllers"];
        if ["bomb", "hoard"].contains(&name) && !cgroups.iter().any(|path| Path::new(path).exists()) {
            eprintln!("SKIPPED a {name} in a scriptlet: no cgroups");
            continue;
        }
        let package = site.build(name, &format!("%post\n{script}\n%files\n"));
        let result = site.store.root(&site.with(&[package]), &options, &sandbox());
        let error = result.expect_err(name);
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(error.is_of_packages(), "{name}: {error}");
        assert!(error.to_string().len() < 100_000, "{name}");
        // Nothing of it runs, is mounted, or lies about.
        assert!(mounts_with(&site.dir.path().to_string_lossy()).is_empty());
        let layers = fs::read_dir(site.dir.path().join("store/1-root-strip/layers")).expect("layers");
        let made =
            layers.flatten().filter(|entry| entry.file_name().to_string_lossy().contains("transaction"));
        assert_eq!(made.count(), 0, "{name}");
    }
}

#[test]
fn without_rpm_scriptlets_are_not_run_and_that_is_told() {
    let Some(site) = Site::new("without_rpm_scriptlets_are_not_run_and_that_is_told") else { return };
    let scripted = site.build("scripted", "%post\necho x > /usr/share/x\n%files\n");
    let plain =
        request(site.dir.path(), "p.rpm", &package_bytes("p", vec![FileEntry::file("/p", 0o644, "p")]));
    let plan = site.store.root(&[scripted, plain], &RootOptions::default(), &sandbox()).expect("root");
    assert!(plan.notes.contains(&RootNote::NoRpm), "{:?}", plan.notes);
    assert_eq!(plan.scriptlets.len(), 1);
}

#[test]
fn a_root_has_rpms_database_when_it_is_asked_for() {
    let Some(site) = Site::new("a_root_has_rpms_database_when_it_is_asked_for") else { return };
    let options = RootOptions { rpm_database: true, ..RootOptions::default() };
    let plan = site.store.root(&site.core, &options, &sandbox()).expect("root");
    let query = ["/usr/bin/rpm", "-q", "bash", "filesystem", "rpm"].map(str::to_owned).to_vec();
    let said = output(&SandboxSpec::new(plan.lowers.clone(), query));
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.starts_with("bash-"), "{said}");
    let again = site.store.root(&site.core, &options, &sandbox()).expect("root");
    assert_eq!((again.outcome, again.lowers), (RootOutcome::Hit, plan.lowers.clone()));
    // Nothing but the database.
    let mut names = BTreeSet::new();
    collect_names(&plan.lowers[0], &plan.lowers[0], &mut names);
    let expected = ["var", "var/lib", "var/lib/rpm", "var/lib/rpm/rpmdb.sqlite"];
    names.retain(|name| !name.ends_with("-shm") && !name.ends_with("-wal"));
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn two_workers_take_turns_at_a_set_and_a_killed_one_leaves_nothing() {
    let test = "two_workers_take_turns_at_a_set_and_a_killed_one_leaves_nothing";
    let Some(site) = Site::new(test) else { return };
    let package = site.build("slow", "%post\necho x > /usr/share/slow\n%files\n");
    let all = site.with(&[package]);
    let start = || {
        Command::new(example("use_store"))
            .arg(site.dir.path().join("store"))
            .arg("root")
            .args(all.iter().map(|request| &request.path))
            .stdout(Stdio::piped())
            .spawn()
            .expect("use_store")
    };
    let temp = site.dir.path().join("store/1-root-strip/temp");
    let installing = || {
        let sessions = fs::read_dir(&temp).into_iter().flatten().flatten();
        let works = sessions.flat_map(|session| fs::read_dir(session.path()).into_iter().flatten().flatten());
        works.into_iter().any(|work| work.path().join("overlay/upper/usr/bin").is_dir())
    };
    let mut killed = start();
    let seen = eventually(|| installing() || killed.try_wait().expect("wait").is_some());
    killed.kill().expect("kill");
    assert!(seen);
    if killed.wait().expect("wait").success() {
        // It was quicker than this test; there is nothing to see then.
        fs::remove_dir_all(site.dir.path().join("store")).expect("remove");
    }
    assert!(mounts_with(&site.dir.path().to_string_lossy()).is_empty());

    let outputs: Vec<_> = [start(), start()].map(|worker| worker.wait_with_output().expect("wait")).into();
    let lowers: Vec<String> = outputs
        .iter()
        .map(|output| {
            assert!(output.status.success());
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        })
        .collect();
    assert_eq!(lowers[0], lowers[1]);
    assert!(lowers[0].contains("/transaction-"), "{}", lowers[0]);
    assert_eq!(fs::read_to_string(Path::new(&lowers[0]).join("usr/share/slow")).expect("made"), "x\n");
    // What the killed one left goes as soon as its sandbox has ended; the two that ended well left nothing.
    let is_clean = || {
        LayerStore::open(&site.dir.path().join("store"), SetuidPolicy::Strip).expect("store");
        fs::read_dir(&temp).expect("temp").count() == 0
    };
    // The site's own store has no unfinished things.
    assert!(eventually(is_clean));
}
