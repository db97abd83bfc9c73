//! Native writing beside `rpmbuild -bs` of the worker: the same tree packed both ways, the same files.
//!
//! Skips, saying so, without the worker of this workspace.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failing test may panic, a skipped one says so"
)]

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use buildroot::{LayerStore, Sandbox, SetuidPolicy};
use report::{Event, Reporter};
use rpm_model::ContentDigest;
use sources::{DownloadOptions, RemotePlaces, SignatureMode, SourceStore};
use specreader::{
    Done, EngineError, EngineLimits, PackError, PackRequest, ParsedSpec, ReadOptions, ReleaseMacros,
    SpecEngine, SpecFailure, SpecInput, WorkerEngine,
};
use srpmpacker::{FallbackReason, PackOptions, PackReport, SpecOutcome, SrpmWriter, discover, pack};

/// An engine that keeps the headers for itself, so that everything is left to rpmbuild.
struct WithoutHeaders<'a>(&'a dyn SpecEngine);

impl SpecEngine for WithoutHeaders<'_> {
    fn identity(&self) -> &ContentDigest {
        self.0.identity()
    }

    fn read_telling(
        &self,
        specs: &[SpecInput],
        options: &ReadOptions,
        done: Done<'_>,
    ) -> Result<Vec<Result<ParsedSpec, SpecFailure>>, EngineError> {
        let without = |parsed| ParsedSpec { source_headers: None, ..parsed };
        Ok(self.0.read_telling(specs, options, done)?.into_iter().map(|result| result.map(without)).collect())
    }

    fn pack(&self, request: &PackRequest) -> Result<PathBuf, PackError> {
        self.0.pack(request)
    }
}

struct Silent;

impl Reporter for Silent {
    fn event(&self, _event: &Event) {}
}

/// A tree of specs and what is made of it.
struct Tree {
    directory: tempfile::TempDir,
}

const END: &str = "\n%description\nText.\n\n%prep\n\n%files\n";
const LOG: &str = "\n%changelog\n* Tue Jun 03 2025 A Packager <packager@example.org> - 1-1\n- First\n";

impl Tree {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a spec with the lines of its preamble, its end, and the files beside it.
    fn spec(&self, name: &str, preamble: &str, end: &str, files: &[(&str, &[u8])]) {
        let directory = self.path("SPECS").join(name);
        fs::create_dir_all(&directory).unwrap();
        let common = "Version: 1\nRelease: 1%{?dist}\nSummary: S\nLicense: MIT\n";
        let spec = format!("Name: {name}\n{common}{preamble}\n{END}{end}");
        fs::write(directory.join(format!("{name}.spec")), spec).unwrap();
        for (file, content) in files {
            fs::write(directory.join(file), content).unwrap();
        }
    }

    /// Packs into the directory `output` and returns the report.
    fn pack(&self, engine: &dyn SpecEngine, output: &str, payload: &str, run_check: bool) -> PackReport {
        let store = SourceStore::open(&self.path("sources")).unwrap();
        let options = PackOptions {
            engine,
            read: ReadOptions {
                arch: "x86_64".to_owned(),
                defines: [("dist", ".mw1"), ("_source_payload", payload)]
                    .map(|(name, body)| (name.to_owned(), body.to_owned()))
                    .into(),
                macro_files: Vec::new(),
                release_macros: ReleaseMacros::default(),
                source_headers: true,
            },
            run_check,
            output: self.path(output),
            build: self.path(&format!("{output}-build")),
            store: &store,
            signatures: SignatureMode::Skip,
            offline: true,
            remote: RemotePlaces {
                servers: Vec::new(),
                debian: None,
                upstream: false,
                download: DownloadOptions::standard(1),
            },
            concurrent_downloads: 1,
            workers: 2,
            repack: false,
            reporter: &Silent,
        };
        pack(&discover(&[self.path("SPECS")], &[], false).unwrap(), &options).unwrap()
    }
}

/// Does some work with the engine of this workspace's worker; skips, loudly, without one.
fn with_worker(work: impl FnOnce(&dyn SpecEngine)) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let named = std::env::var_os("MILLWRIGHT_TEST_WORKER").map(PathBuf::from);
    let manifest = named.unwrap_or_else(|| workspace.join("build/worker/worker.json"));
    let programs = Path::new(env!("CARGO_BIN_EXE_srpmpacker")).parent().unwrap();
    for needed in [&manifest, &programs.join("buildroot-init"), &programs.join("spec-engine")] {
        if !needed.is_file() {
            eprintln!("skipped: there is no {}", needed.display());
            return;
        }
    }
    let manifest = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let sandbox = Sandbox::with_init(&programs.join("buildroot-init"));
    let layers =
        LayerStore::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("layers"), SetuidPolicy::Strip)
            .unwrap();
    let limits = EngineLimits::usual(NonZeroUsize::new(2).unwrap());
    work(&WorkerEngine::new(&manifest, &sandbox, &layers, limits));
}

/// Returns the SRPM and the writer of every spec; each must have been packed.
fn packed(report: &PackReport) -> BTreeMap<&str, (&Path, &SrpmWriter)> {
    let one = |spec: &'_ srpmpacker::SpecReport| match &spec.outcome {
        SpecOutcome::Packed { .. } => {}
        outcome => panic!("{}: {outcome:?}", spec.spec),
    };
    report.specs.iter().for_each(one);
    let specs = report.specs.iter().filter_map(|spec| match &spec.outcome {
        SpecOutcome::Packed { srpm, writer, .. } => Some((spec.spec.as_str(), (srpm.as_path(), writer))),
        _ => None,
    });
    specs.collect()
}

/// Specs with all that decides an SRPM, by name.
fn fill(tree: &Tree) {
    let text: &[u8] = b"a source that is long enough for rpm to believe in it\n";
    tree.spec("bare", "", LOG, &[]);
    tree.spec("undated", "", "", &[]);
    let files = [("b.tar.gz", text), ("empty", &[]), ("z.patch", text), ("a.patch", text), ("unused", text)];
    let sources = "Source0: https://example.org/a/b.tar.gz\nSource7: dir/empty\nSource8: other/b.tar.gz\n\
                   Patch3: z.patch\nPatch1: a.patch";
    tree.spec("sources", sources, LOG, &files);
    let names = "Epoch: 3\nBuildArch: noarch\nSummary(de): Grüße\nVendor: V\nURL: u\n\
                 BuildRequires: gcc >= 4~1, zz = 1^2, (a or b)\nBuildConflicts: y < 2\nExcludeArch: s390x";
    tree.spec("names", names, LOG, &[]);
    // The parsed text is part of the package, with all paths.
    let paths =
        "%install\n: %{_topdir} %{_sourcedir} %{_specdir} %{_builddir} %{buildroot} %{SOURCE0} %(id -u)\n";
    tree.spec("paths", "Source0: s\nProvides: p = %(echo 1)", &format!("{paths}{LOG}"), &[("s", text)]);
    tree.spec("including", "%include extra.inc", LOG, &[("extra.inc", b"BuildRequires: included\n")]);
    let check = "%if 0%{?with_check}\nBuildRequires: only-for-check\n%endif";
    tree.spec("checked", check, LOG, &[]);
    tree.spec("subpackages", "%package devel\nSummary: D\nRequires: x\n%description devel\nD", LOG, &[]);
    let large: Vec<u8> =
        (0..1_500_000u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 5).to_le_bytes()).collect();
    tree.spec("streamed", "Source: large", LOG, &[("large", &large)]);
}

#[test]
fn both_ways_give_the_same_files() {
    with_worker(|engine| {
        let tree = Tree::new();
        fill(&tree);
        for run_check in [false, true] {
            let output = |way: &str| format!("{way}-{run_check}");
            let native = tree.pack(engine, &output("native"), "w.ufdio", run_check);
            let fallback = tree.pack(&WithoutHeaders(engine), &output("rpmbuild"), "w.ufdio", run_check);
            let (native, fallback) = (packed(&native), packed(&fallback));
            assert_eq!(native.len(), 9);
            for (spec, (srpm, writer)) in &native {
                let (other, by) = fallback[spec];
                assert_eq!(**writer, SrpmWriter::Native, "{spec}");
                assert_eq!(*by, SrpmWriter::Rpmbuild { reason: FallbackReason::NoHeader }, "{spec}");
                assert_eq!(srpm.file_name(), other.file_name());
                assert!(
                    fs::read(srpm).unwrap() == fs::read(other).unwrap(),
                    "{spec}: {}",
                    difference(srpm, other)
                );
                assert_eq!(fs::metadata(srpm).unwrap().permissions().mode() & 0o777, 0o644, "{spec}");
            }
            let requires = query(native["checked"].0, "[%{REQUIRES} ]");
            assert_eq!(requires.contains("only-for-check"), run_check, "{requires}");
        }
    });
}

fn query(srpm: &Path, format: &str) -> String {
    let output = run(Command::new("rpm").args(["-qp", "--qf", format]).arg(srpm));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Returns the first tags that differ, in rpm's words.
fn difference(ours: &Path, peers: &Path) -> String {
    let [ours, peers] = [ours, peers].map(|srpm| {
        let output = run(Command::new("rpm").args(["-qp", "--xml"]).arg(srpm));
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    let differing = ours.lines().zip(peers.lines()).filter(|(ours, peers)| ours != peers).take(5);
    differing.map(|(ours, peers)| format!("\n{ours}\n{peers}")).collect()
}

/// Runs a command; its failure fails the test.
#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    output
}

/// Says so and returns false where a program is not installed.
fn has(program: &str, arguments: &[&str]) -> bool {
    let found = Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: there is no `{program} {}`", arguments.join(" "));
    }
    found
}

#[test]
fn real_programs_take_the_packages() {
    with_worker(|engine| {
        let tree = Tree::new();
        let text: &[u8] = b"a source that is long enough for rpm to believe in it\n";
        let end = format!(
            "/usr/share/real\n\n%install\ninstall -Dm644 %{{SOURCE0}} %{{buildroot}}/usr/share/real\n{LOG}"
        );
        tree.spec(
            "real",
            "BuildArch: noarch\nSource0: real.txt\nBuildRequires: make",
            &end,
            &[("real.txt", text)],
        );
        for payload in ["w3.zstdio", "w3T0.zstdio", "w9.gzdio", "w2.xzdio", "w.ufdio"] {
            let report = tree.pack(engine, payload, payload, false);
            let srpm = packed(&report)["real"].0;
            if has("rpm", &["--version"]) {
                accepted_by_rpm(&tree, srpm, text);
            }
            if has("rpmbuild", &["--version"]) {
                let top = tree.path(&format!("top-{payload}"));
                run(Command::new("rpmbuild")
                    .args(["--rebuild", "--nodeps", "--define"])
                    .arg(format!("_topdir {}", top.display()))
                    .arg(srpm));
                assert!(top.join("RPMS/noarch").read_dir().unwrap().count() == 1);
            }
            if payload == "w3.zstdio" && has("dnf", &["--releasever=1", "builddep", "--help"]) {
                accepted_by_dnf(&tree, srpm);
            }
        }
    });
}

fn accepted_by_rpm(tree: &Tree, srpm: &Path, source: &[u8]) {
    let verdict = run(Command::new("rpm").arg("-K").arg(srpm));
    assert!(String::from_utf8_lossy(&verdict.stdout).contains("digests OK"), "{verdict:?}");
    let told = run(Command::new("rpm").args(["-qip"]).arg(srpm));
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("Source RPM  : (none)") && told.contains("Build Host  : millwright"), "{told}");
    let root = tree.path("installed");
    let define = format!("_topdir {}", root.display());
    run(Command::new("rpm").args(["-i", "--define", &define]).arg(srpm));
    assert_eq!(fs::read(root.join("SOURCES/real.txt")).unwrap(), source);
    assert_eq!(
        fs::read(root.join("SPECS/real.spec")).unwrap(),
        fs::read(tree.path("SPECS/real/real.spec")).unwrap()
    );
    fs::remove_dir_all(root).unwrap();
}

/// dnf finds what the package needs to be built in the repository of this workspace's toolchain.
fn accepted_by_dnf(tree: &Tree, srpm: &Path) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    let repository = workspace.join("build/toolchain_rpms");
    if !repository.join("repodata/repomd.xml").is_file() {
        eprintln!("skipped: there is no {}", repository.display());
        return;
    }
    let output = Command::new("dnf")
        .arg(format!("--repofrompath=toolchain,{}", repository.display()))
        .args(["--repo=toolchain", "--nogpgcheck", "--releasever=1", "builddep", "--assumeno"])
        .arg(format!("--installroot={}", tree.path("root").display()))
        .arg(format!("--setopt=cachedir={}", tree.path("dnf").display()))
        .arg(srpm)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // It ends with 1 because nobody said yes.
    assert!(out.lines().any(|line| line.trim_start().starts_with("make ")), "{out}{err}");
    assert!(err.contains("Operation aborted") || out.contains("Operation aborted"), "{out}{err}");
}
