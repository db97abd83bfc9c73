//! Collections: what goes, what must stay, and what becomes of them when others work or kill.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use buildroot::{
    LayerKey, LayerOutcome, LayerRequest, LayerStore, RootOptions, RootOutcome, RootPlan, SetuidPolicy,
};
use rpm_writer::FileEntry;
use tempfile::TempDir;

use crate::packages::{package_bytes, request};
use crate::support::{eventually, example};

struct Place {
    dir: TempDir,
    store: LayerStore,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let store = LayerStore::open(&dir.path().join("store"), SetuidPolicy::Strip).expect("store");
        Self { dir, store }
    }

    /// A package of one file of so many blocks of 4 KiB.
    fn package(&self, name: &str, blocks: usize) -> LayerRequest {
        let content = name.bytes().cycle().take(blocks * 4096).collect::<Vec<u8>>();
        let files = vec![FileEntry::file(format!("/usr/share/{name}"), 0o644, content)];
        request(self.dir.path(), &format!("{name}.rpm"), &package_bytes(name, files))
    }

    fn plan(&self, requests: &[&LayerRequest]) -> RootPlan {
        let requests: Vec<LayerRequest> = requests.iter().map(|&request| request.clone()).collect();
        self.store.root_plan(&requests, &RootOptions::default()).expect("plan")
    }

    fn has(&self, request: &LayerRequest) -> bool {
        self.base().join("layers").join(LayerKey::of_rpm(&request.sha256).as_str()).exists()
    }

    fn base(&self) -> PathBuf {
        let owner = if nix::unistd::geteuid().is_root() { "root" } else { "user" };
        self.dir.path().join(format!("store/1-{owner}-strip"))
    }

    /// Says that a layer was last used so many seconds ago.
    fn age(&self, request: &LayerRequest, seconds: u64) {
        let layer = self.base().join("layers").join(LayerKey::of_rpm(&request.sha256).as_str());
        set_age(&layer.join("layer.json"), seconds);
    }

    fn use_store(&self, action: &str, arguments: &[&Path]) -> Child {
        let mut command = Command::new(example("use_store"));
        command.arg(self.dir.path().join("store")).arg(action).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("use_store")
    }
}

fn set_age(path: &Path, seconds: u64) {
    let file = fs::File::options().write(true).open(path).expect("file");
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("time");
}

/// Bytes that a tree takes on the disk.
fn disk_use(path: &Path) -> u64 {
    let facts = path.symlink_metadata().expect("facts");
    let below: u64 = if facts.is_dir() {
        fs::read_dir(path).expect("directory").map(|entry| disk_use(&entry.expect("entry").path())).sum()
    } else {
        0
    };
    facts.blocks() * 512 + below
}

#[test]
fn the_longest_unused_goes_first_and_only_as_much_as_must() {
    let place = Place::new();
    let packages = ["a", "b", "c"].map(|name| place.package(name, 16));
    for package in &packages {
        place.store.ensure(package).expect("layer");
    }
    place.age(&packages[0], 100);
    place.age(&packages[1], 300);
    place.age(&packages[2], 200);
    // What the file system keeps for itself may change while files reach the disk.
    let is_near = |told: u64| {
        let layers = place.base().join("layers");
        told.abs_diff(disk_use(&layers) - disk_use_of_directory(&layers)) < 32 << 10
    };
    let told = place.store.collect(1 << 40, false).expect("collect");
    let all = told.bytes_before;
    assert!(is_near(all) && all > 3 * 16 * 4096, "{all}");
    assert_eq!((told.bytes_after, told.removed.len()), (all, 0));

    let dry = place.store.collect(all - 1, true).expect("collect");
    assert!(dry.dry_run && place.has(&packages[1]));
    let told = place.store.collect(all - 1, false).expect("collect");
    assert_eq!(told.removed, dry.removed);
    assert_eq!(packages.each_ref().map(|package| place.has(package)), [true, false, true]);
    let left = told.bytes_after;
    assert!(is_near(left), "{left}");

    // To use one is to save it.
    place.store.ensure(&packages[2]).expect("layer");
    place.store.collect(left - 1, false).expect("collect");
    assert_eq!(packages.each_ref().map(|package| place.has(package)), [false, false, true]);
    let again = place.store.ensure(&packages[0]).expect("layer");
    assert_ne!(again.outcome(), LayerOutcome::Hit);
    assert_eq!(fs::read(again.dir().join("usr/share/a")).expect("file").len(), 16 * 4096);
}

fn disk_use_of_directory(path: &Path) -> u64 {
    path.symlink_metadata().expect("facts").blocks() * 512
}

#[test]
fn a_root_that_is_used_keeps_its_layers_and_a_forgotten_set_is_worked_out_again() {
    let place = Place::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| place.package(name, 4));
    let used = place.plan(&[&a, &b]);
    drop(place.plan(&[&b, &c]));
    let told = place.store.collect(0, false).expect("collect");
    assert_eq!((told.leased, told.forgotten_sets), (2, 1));
    assert!(place.has(&a) && place.has(&b) && !place.has(&c));
    assert!(used.lowers.iter().all(|lower| lower.is_dir()));
    assert_eq!(place.plan(&[&a, &b]).outcome, RootOutcome::Hit, "its set is remembered");
    assert_eq!(place.plan(&[&b, &c]).outcome, RootOutcome::Computed { made_layers: 1 });

    // A copy of the plan keeps them as well as the plan itself.
    let copy = used.clone();
    drop(used);
    place.store.collect(0, false).expect("collect");
    assert!(copy.lowers.iter().all(|lower| lower.is_dir()));
    drop(copy);
    let told = place.store.collect(0, false).expect("collect");
    assert_eq!((told.bytes_after, told.leased), (0, 0));
    assert!(!place.has(&a));
}

#[test]
fn to_ask_for_a_root_is_to_use_its_layers() {
    let place = Place::new();
    let [a, b] = ["a", "b"].map(|name| place.package(name, 4));
    drop((place.plan(&[&a]), place.plan(&[&b])));
    let sets = || fs::read_dir(place.base().join("sets")).expect("sets").map(|set| set.expect("set").path());
    sets().for_each(|set| set_age(&set, 500));
    place.age(&a, 400);
    place.age(&b, 300);
    assert_eq!(place.plan(&[&a]).outcome, RootOutcome::Hit);
    let oldest = place.store.statistics().expect("statistics").kinds["rpm"].oldest_use.expect("use");
    let layer = place.base().join("layers").join(LayerKey::of_rpm(&b.sha256).as_str());
    assert_eq!(oldest, layer.join("layer.json").metadata().expect("facts").mtime() as u64, "that of b");
    let told = place.store.collect(0, true).expect("collect");
    assert_eq!(told.removed[0].key, LayerKey::of_rpm(&b.sha256));
}

#[test]
fn layers_made_of_others_are_counted_once_and_collected_too() {
    let place = Place::new();
    let requests: Vec<LayerRequest> =
        (0..12).map(|number| place.package(&format!("p{number:02}"), 8)).collect();
    let options = RootOptions { max_lowers: 4, ..RootOptions::default() };
    let plan = place.store.root_plan(&requests, &options).expect("plan");
    let statistics = place.store.statistics().expect("statistics");
    let of = |kind: &str| &statistics.kinds[kind];
    assert_eq!((of("rpm").layers, of("merged").layers), (12, 1));
    let merged_files = (12 - (plan.lowers.len() - 1)) * 8 * 4096;
    assert_eq!(of("merged").shared_bytes, merged_files as u64);
    assert_eq!(of("rpm").shared_bytes, of("merged").shared_bytes);
    let sum = of("rpm").bytes + of("merged").bytes - of("merged").shared_bytes;
    assert_eq!(statistics.bytes, sum, "{statistics:?}");
    assert_eq!(statistics.leased, 13, "those merged are used as long as the plan was worked out for it");
    assert_eq!((statistics.leases, statistics.sets), (1, 1));
    drop(plan);
    // Asked for again, only what is mounted is used.
    let plan = place.store.root_plan(&requests, &options).expect("plan");
    assert_eq!(plan.outcome, RootOutcome::Hit);
    let told = place.store.collect(0, false).expect("collect");
    assert_eq!(told.leased, plan.lowers.len());
    assert_eq!(told.removed.len(), 13 - plan.lowers.len());
    for number in 0..12 {
        let found =
            plan.lowers.iter().filter(|lower| lower.join(format!("usr/share/p{number:02}")).is_file());
        assert_eq!(found.count(), 1, "p{number:02}");
    }
    drop(plan);
    let told = place.store.collect(0, false).expect("collect");
    assert_eq!((told.bytes_after, told.forgotten_sets), (0, 1));
    let plan = place.store.root_plan(&requests, &options).expect("plan");
    assert!(matches!(plan.outcome, RootOutcome::Computed { made_layers: 13 }), "{:?}", plan.outcome);
}

#[test]
fn another_process_keeps_its_layers_until_it_is_killed() {
    let place = Place::new();
    let [a, b] = ["a", "b"].map(|name| place.package(name, 4));
    let mut holder = place.use_store("hold", &[&a.path, &b.path]);
    let mut told = String::new();
    BufReader::new(holder.stdout.take().expect("pipe")).read_line(&mut told).expect("line");
    assert_eq!(told.trim(), "held 2");
    place.store.collect(0, false).expect("collect");
    assert!(place.has(&a) && place.has(&b));
    assert_eq!(place.store.statistics().expect("statistics").leases, 1);
    holder.kill().expect("kill");
    holder.wait().expect("wait");
    // No word of the holder: the kernel has let go of its lock.
    assert_eq!(place.store.statistics().expect("statistics").leases, 0);
    place.store.collect(0, false).expect("collect");
    assert!(!place.has(&a) && !place.has(&b));
    assert_eq!(fs::read_dir(place.base().join("leases")).expect("leases").count(), 0);
}

#[test]
fn collections_and_roots_at_the_same_time_do_each_other_no_harm() {
    let place = Place::new();
    let packages: Vec<LayerRequest> = (0..6).map(|number| place.package(&format!("p{number}"), 2)).collect();
    let ended = AtomicBool::new(false);
    let (plans, collections) = thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|worker: usize| {
                let (place, packages) = (&place, &packages);
                scope.spawn(move || {
                    for round in 0..60 {
                        let chosen = [worker + round, worker + 2 * round, 5 - worker];
                        let requests: Vec<&LayerRequest> =
                            chosen.iter().map(|number| &packages[number % 6]).collect();
                        let plan = place.plan(&requests);
                        for request in requests {
                            let name = request.path.file_stem().expect("name").to_string_lossy();
                            let found = plan.lowers.iter().map(|lower| lower.join("usr/share").join(&*name));
                            let files: Vec<PathBuf> = found.filter(|path| path.exists()).collect();
                            assert_eq!(files.len(), 1, "{name} of round {round}");
                            assert_eq!(fs::read(&files[0]).expect("file").len(), 2 * 4096);
                        }
                    }
                    60
                })
            })
            .collect();
        // A store of its own, as another process has it.
        let other = LayerStore::open(&place.dir.path().join("store"), SetuidPolicy::Strip).expect("store");
        let collector = scope.spawn({
            let ended = &ended;
            move || {
                let mut collections = 0;
                while !ended.load(Ordering::Relaxed) {
                    other.collect(0, false).expect("collect");
                    collections += 1;
                }
                collections
            }
        });
        let plans: i32 = workers.into_iter().map(|worker| worker.join().expect("worker")).sum();
        ended.store(true, Ordering::Relaxed);
        (plans, collector.join().expect("collector"))
    });
    assert!(plans == 180 && collections > 0, "{plans} plans, {collections} collections");
    place.store.collect(0, false).expect("collect");
    assert_eq!(fs::read_dir(place.base().join("layers")).expect("layers").count(), 0);
}

#[test]
fn a_killed_collection_leaves_whole_layers_and_nothing_else() {
    for wanted in [1usize, 15] {
        let place = Place::new();
        let files = |package: usize| -> Vec<FileEntry> {
            (0..120)
                .map(|number| FileEntry::file(format!("/usr/{package}/{number}"), 0o644, "content"))
                .collect()
        };
        let packages: Vec<LayerRequest> = (0..30)
            .map(|number| {
                let name = format!("p{number}");
                request(place.dir.path(), &format!("{name}.rpm"), &package_bytes(&name, files(number)))
            })
            .collect();
        let requests: Vec<&LayerRequest> = packages.iter().collect();
        drop(place.plan(&requests));
        let count = |name: &str| fs::read_dir(place.base().join(name)).expect(name).count();
        let left = || count("layers");
        let own_session = count("temp");
        let mut collector = place.use_store("collect", &[Path::new("0")]);
        let seen = eventually(|| left() + wanted <= 30 || collector.try_wait().expect("wait").is_some());
        collector.kill().expect("kill");
        collector.wait().expect("wait");
        assert!(seen);
        // Whatever is there is whole.
        for entry in fs::read_dir(place.base().join("layers")).expect("layers") {
            let layer = entry.expect("entry").path();
            let below = fs::read_dir(layer.join("root/usr")).expect("layer").next().expect("one");
            assert_eq!(fs::read_dir(below.expect("entry").path()).expect("files").count(), 120);
        }
        let store = LayerStore::open(&place.dir.path().join("store"), SetuidPolicy::Strip).expect("store");
        assert_eq!(count("temp"), own_session, "what it left is removed");
        let all: Vec<LayerRequest> = packages.clone();
        let plan = store.root_plan(&all, &RootOptions::default()).expect("plan");
        assert!(plan.lowers.iter().all(|lower| lower.is_dir()));
        assert_eq!(left(), 30);
    }
}

#[test]
fn an_ordinary_user_collects_directories_that_he_may_not_write() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED an_ordinary_user_collects_directories_that_he_may_not_write: needs root");
        return;
    }
    let dir = tempfile::tempdir().expect("directory");
    let path = |name: &str| dir.path().join(name);
    let files = vec![
        FileEntry::directory("/", 0o555),
        FileEntry::directory("/usr/closed", 0o500),
        FileEntry::file("/usr/closed/file", 0o400, "content"),
    ];
    let package = request(dir.path(), "closed.rpm", &package_bytes("closed", files));
    testkit::copy_program(&example("use_store"), &path("use_store"));
    fs::create_dir(path("store")).expect("store");
    std::os::unix::fs::chown(path("store"), Some(SOMEBODY), Some(SOMEBODY)).expect("owner");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    let run = |arguments: &[&Path]| {
        let mut command = Command::new(path("use_store"));
        command.arg(path("store")).args(arguments).uid(SOMEBODY).gid(SOMEBODY);
        let output = command.stdin(Stdio::null()).output().expect("use_store");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(run(&[Path::new("hold"), &package.path]).trim(), "held 1");
    let base = path("store").join("1-user-strip");
    assert_eq!(fs::read_dir(base.join("layers")).expect("layers").count(), 1);
    assert!(run(&[Path::new("collect"), Path::new("0")]).contains(r#""bytes_after":0"#));
    for name in ["layers", "temp", "leases", "sets"] {
        assert_eq!(fs::read_dir(base.join(name)).expect(name).count(), 0, "{name}");
    }
}

/// An id that nobody has.
const SOMEBODY: u32 = 12_346;
