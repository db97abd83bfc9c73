//! The peers: `rpmspec` processes in the root of the same worker, one per spec and question.
//!
//! One pass is one `xargs -P2` in one sandbox, so that nothing but `rpmspec` itself is paid per spec. It runs
//! without the engine's `TZ=UTC`, which the Azure toolkit does not set either.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use buildroot::{BindMount, Sandbox, SandboxIo, SandboxSpec};
use specreader::SpecInput;

use crate::azure::{ARCH, AzureTree, DIST_TAG};
use crate::error::BenchError;
use crate::measure::{self, Cost};

/// Where the tree is seen inside.
pub(crate) const TREE_INSIDE: &str = "/specs";
/// Where the peer's own files are seen inside.
const FILES_INSIDE: &str = "/peer";
/// Where the Azure toolkit puts the release macros, so that every start of rpm reads them.
pub(crate) const RELEASE_MACROS: &str = "/usr/lib/rpm/macros.d/macros.releaseversions";
/// How many processes run at once.
const PROCESSES: &str = "-P2";
/// How many lines of complaints are told.
const LAST_LINES: usize = 12;

/// One question that is put to `rpmspec` about a spec.
pub(crate) struct Question {
    /// What it is called in reports.
    pub(crate) name: &'static str,
    arguments: &'static [&'static str],
    with_check: &'static str,
}

/// All that one process can tell of the source package.
pub(crate) const COMBINED: Question = Question {
    name: "one combined query",
    arguments: &[
        "-q",
        "--srpm",
        "--qf",
        "%{NAME} %{EPOCHNUM} %{VERSION} %{RELEASE}[ %{REQUIRENEVRS}][ %{CONFLICTNEVRS}][ %{EXCLUSIVEARCH}]\
         [ %{EXCLUDEARCH}][ %{SOURCE}][ %{PATCH}]\\n",
    ],
    with_check: "0",
};

/// What Azure's specreader asks about every spec, in its order.
pub(crate) const AZURE: [Question; 6] = [
    Question {
        name: "SRPM name",
        arguments: &["--srpm", "-q", "--qf", "%{NAME}-%{VERSION}-%{RELEASE}.src.rpm"],
        with_check: "0",
    },
    Question {
        name: "ExclusiveArch",
        arguments: &["--srpm", "-q", "--qf", "[%{EXCLUSIVEARCH} ]"],
        with_check: "0",
    },
    Question {
        name: "ExcludeArch",
        arguments: &["--srpm", "-q", "--qf", "[%{EXCLUDEARCH} ]"],
        with_check: "0",
    },
    Question {
        name: "built packages",
        arguments: &[
            "--builtrpms",
            "-q",
            "--qf",
            "rpm %{ARCH}/%{nvra}.rpm\\n[provides %{PROVIDENEVRS}\\n][requires %{REQUIRENEVRS}\\n][arch %{ARCH}\\n]",
        ],
        with_check: "0",
    },
    Question { name: "BuildRequires", arguments: &["--buildrequires", "-q"], with_check: "0" },
    Question { name: "parsed text", arguments: &["--parse"], with_check: "1" },
];

/// Runs `rpmspec` in a worker's root.
pub(crate) struct Peer<'a> {
    pub(crate) sandbox: &'a Sandbox,
    /// The root's directories, topmost first.
    pub(crate) lowers: &'a [PathBuf],
    pub(crate) tree: &'a AzureTree,
    /// The file of release macros.
    pub(crate) release_macros: &'a Path,
    /// A directory of its own.
    pub(crate) scratch: &'a Path,
}

impl Peer<'_> {
    /// Puts one question about each spec and returns what that cost.
    pub(crate) fn pass(&self, question: &Question, specs: &[SpecInput]) -> Result<Cost, BenchError> {
        let files = self.scratch.join("peer");
        crate::tree::empty_directory(&files)?;
        let list: String = specs.iter().map(|spec| format!("{}\n", self.arguments_for(spec))).collect();
        let path = files.join("list");
        fs::write(&path, list).map_err(BenchError::io("write", &path))?;
        let mut command: Vec<String> = ["xargs", PROCESSES, "-L1", "-a"].map(str::to_owned).to_vec();
        command.push(format!("{FILES_INSIDE}/list"));
        command.push("rpmspec".to_owned());
        command.extend(question.arguments.iter().map(|argument| (*argument).to_owned()));
        command.extend(defines(question.with_check));
        let mut spec = self.spec(command);
        spec.binds.push(bind(&files, FILES_INSIDE, true));
        // The mount point exists in the layer of macros that lies below.
        spec.binds.push(bind(self.release_macros, RELEASE_MACROS, true));
        let log = self.scratch.join("peer.log");
        let ((), cost) = measure::of_children(|| self.run(&spec, &log))?;
        Ok(cost)
    }

    /// Returns a sandbox over the worker's root that sees the tree.
    pub(crate) fn spec(&self, command: Vec<String>) -> SandboxSpec {
        let mut spec = SandboxSpec::new(self.lowers.to_vec(), command);
        spec.binds = vec![bind(self.tree.root(), TREE_INSIDE, true)];
        spec.environment.remove("TZ");
        spec
    }

    /// Runs a sandbox to its good end; its output goes to `log`.
    pub(crate) fn run(&self, spec: &SandboxSpec, log: &Path) -> Result<(), BenchError> {
        let file = File::create(log).map_err(BenchError::io("create", log))?;
        let errors = log.with_extension("errors");
        let error_file = File::create(&errors).map_err(BenchError::io("create", &errors))?;
        let io = SandboxIo { stdin: None, stdout: file.into(), stderr: error_file.into() };
        let outcome = self.sandbox.run(spec, io)?;
        if outcome.is_success() {
            return Ok(());
        }
        let text = fs::read(&errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // Warnings about names of release macros come with every start of rpm.
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("macros.releaseversions")).collect();
        let command = spec.arguments.first().cloned().unwrap_or_default();
        let last_lines = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        Err(BenchError::Peer { command, end: outcome.end.to_string(), last_lines })
    }

    /// Returns where a spec's directory is seen inside.
    pub(crate) fn inside(&self, spec: &SpecInput) -> PathBuf {
        let below = spec.source_dir.strip_prefix(self.tree.root()).unwrap_or(&spec.source_dir);
        Path::new(TREE_INSIDE).join(below)
    }

    fn arguments_for(&self, spec: &SpecInput) -> String {
        let directory = self.inside(spec).display().to_string();
        format!("-D '_sourcedir {directory}' {directory}/{}.spec", spec.name)
    }
}

/// Returns the definitions that the toolkit gives to every `rpmspec`, and the architecture.
pub(crate) fn defines(with_check: &str) -> Vec<String> {
    let define = |text: String| ["-D".to_owned(), text];
    let mut arguments = vec!["--target".to_owned(), ARCH.to_owned()];
    arguments.extend(define(format!("dist {DIST_TAG}")));
    arguments.extend(define("azl 3".to_owned()));
    arguments.extend(define(format!("with_check {with_check}")));
    arguments
}

pub(crate) fn bind(source: &Path, target: &str, read_only: bool) -> BindMount {
    BindMount { source: source.to_owned(), target: target.into(), read_only }
}
