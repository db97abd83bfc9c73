//! Installs a set of packages with its own rpm, over its own layers, and keeps what that changed.
//!
//! Most packages only bring files, and a stack of their layers is what rpm would have installed. Others
//! run scriptlets or triggers. For a set with such packages rpm itself installs the whole set once, in
//! a sandbox whose root is the stack: every scriptlet and trigger runs as in any installation, in
//! rpm's order, with `$1` as in a new root. What the files of the packages are is known already, so
//! what differs from the stack afterwards is what the scriptlets did: users, alternatives, caches,
//! links, removed files. It becomes a layer on top of the stack ([`super::prune`]).
//!
//! The sandbox has no network and sees nothing of the host but the packages. rpm is user 0 in it with
//! the capabilities of [`Capabilities::PackageTransaction`].
//!
//! Thrown away: rpm's database, logs, caches, backups and locks, the machine's identity. They are
//! different each time, or belong to a machine and not to a build root. Everything is dated no later
//! than the newest package was built.
//!
//! One thing is different from an installation into an empty directory: the files of packages that rpm
//! installs later are there already when a scriptlet runs.
//!
//! The key of the layer covers all packages of the set, and with them rpm; owners and set-id bits are
//! covered by the store's format.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rpm_model::ContentHasher;
use serde::{Deserialize, Serialize};

use super::guard::{Guarded, TransactionLimits, run_guarded};
use super::prune::{PruneOptions, prune};
use super::{RootError, RootOptions, RootPlan};
use crate::error::{LayerError, PathContext};
use crate::file_work::{FileWork, perform_as_owner};
use crate::layer::{
    Layer, LayerCounts, LayerKey, LayerRequest, LayerStore, SetuidPolicy, count, identity_and_build_time,
    verify_sha256,
};
use crate::remove::remove_tree;
use crate::spec::{BindMount, Capabilities, Limits, SandboxSpec, Upper};
use crate::{End, IdMapping, Sandbox, SandboxError};

/// Version of what a transaction makes.
const SCHEMA: u32 = 1;

/// Where rpm is in a root.
const RPM: &str = "/usr/bin/rpm";

/// Where the packages are seen inside; `/run` is in memory, so no trace of it stays in the upper.
const PACKAGES_INSIDE: &str = "/run/packages";

/// The longest that a transaction may take, in milliseconds.
const WALL_MS: u64 = 30 * 60 * 1000;

/// What programs say when a disk is full.
const NO_SPACE: &str = "No space left on device";

/// How much rpm says of a failure is passed on.
const MAX_LINES: usize = 20;

/// Whatever is in these directories is different each time.
const DROPPED_BELOW: [&str; 3] = ["/var/log", "/var/cache", "/var/lib/systemd"];

/// Files that are different each time, or identify a machine.
const DROPPED_FILES: [&str; 11] = [
    "/etc/.pwd.lock",
    "/etc/.updated",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/machine-id",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    "/var/.updated",
    "/var/lib/dbus/machine-id",
];

/// The lock of the database. The journal beside it stays: without it only those could read the database
/// who may write its directory.
const DATABASE_LOCK: &str = ".rpm.lock";

/// Reasons why the set's own rpm could not install it.
#[derive(Debug, thiserror::Error)]
pub enum TransactionFault {
    /// The set has no rpm.
    #[error("a root with rpm's database needs rpm among its packages")]
    NoRpm,
    /// The sandbox could not be started.
    #[error("cannot start rpm over the packages' layers")]
    Sandbox(#[from] SandboxError),
    /// rpm did not end well: a scriptlet failed that must not, or the packages cannot be installed.
    #[error("the packages' own rpm cannot install them: {end}{}{}", want_of_ids(*.ids), shown(.lines))]
    Failed {
        /// How it ended.
        end: String,
        /// Whose ids there were.
        ids: IdMapping,
        /// The last lines that it said.
        lines: Vec<String>,
    },
    /// rpm did not come to its end, or not for want of space: the host's fault.
    #[error("rpm could not finish installing the packages: {end}{}", shown(.lines))]
    Unfinished {
        /// How it ended.
        end: String,
        /// The last lines that it said.
        lines: Vec<String>,
    },
    /// What it changed cannot become a layer.
    #[error("cannot keep what installing the packages changed: {problem}")]
    Changes {
        /// Why, with path and operation.
        problem: String,
    },
}

impl TransactionFault {
    /// Returns whether the store's disk was full.
    pub(super) fn is_for_want_of_space(&self) -> bool {
        match self {
            Self::Unfinished { lines, .. } => says_full(lines),
            Self::Changes { problem } => problem.contains(NO_SPACE),
            Self::NoRpm | Self::Sandbox(_) | Self::Failed { .. } => false,
        }
    }
}

fn says_full(lines: &[String]) -> bool {
    lines.iter().any(|line| line.contains(NO_SPACE))
}

/// Says what a caller lacks where no file can have another owner.
fn want_of_ids(ids: IdMapping) -> &'static str {
    match ids {
        IdMapping::Host | IdMapping::SubordinateIds => "",
        IdMapping::SingleId => {
            "\n  (no file can be given to another owner here, because the caller has no subordinate ids: see \
             `millwright doctor`)"
        }
    }
}

fn shown(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Whether the packages of a stack have rpm among them.
pub(super) fn has_rpm(lowers: &[PathBuf]) -> bool {
    lowers.iter().any(|lower| lower.join(&RPM[1..]).is_file())
}

/// Returns the layer of what the scriptlets and triggers of a set change.
pub(super) fn changes(
    store: &LayerStore,
    plan: &RootPlan,
    requests: &[LayerRequest],
    options: &RootOptions,
    sandbox: &Sandbox,
) -> Result<Layer, RootError> {
    make(store, plan, requests, options, sandbox, Kind::Scriptlets)
}

/// Returns the layer of rpm's database in which the packages of a set are installed.
pub(super) fn database(
    store: &LayerStore,
    plan: &RootPlan,
    requests: &[LayerRequest],
    options: &RootOptions,
    sandbox: &Sandbox,
) -> Result<Layer, RootError> {
    make(store, plan, requests, options, sandbox, Kind::Database)
}

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// What scriptlets and triggers change.
    Scriptlets,
    /// rpm's database.
    Database,
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Scriptlets => "transaction",
            Self::Database => "rpmdb",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Scriptlets => &[],
            Self::Database => &["--justdb"],
        }
    }

    /// Returns whether a path is thrown away, whatever it is; `database` is where rpm keeps its own.
    fn drops(self, path: &Path, database: &Path) -> bool {
        match self {
            Self::Scriptlets => {
                path == database
                    || DROPPED_BELOW.iter().any(|top| path.parent() == Some(Path::new(top)))
                    || DROPPED_FILES.iter().any(|file| path == Path::new(file))
            }
            // Only what leads to the database, and what is in it, stays.
            Self::Database => {
                !database.starts_with(path)
                    && (!path.starts_with(database) || path == database.join(DATABASE_LOCK))
            }
        }
    }
}

fn make(
    store: &LayerStore,
    plan: &RootPlan,
    requests: &[LayerRequest],
    options: &RootOptions,
    sandbox: &Sandbox,
    kind: Kind,
) -> Result<Layer, RootError> {
    let key = key(kind.key(), requests);
    store.make(&plan.lease, &key, |staging| {
        let limits = options.transaction_limits;
        let work = Work { staging, lowers: &plan.lowers, limits, sandbox };
        let newest = work.add_packages(requests)?;
        let database = work.database()?;
        let said = work.install(kind.options(), newest)?;
        let changes = Changes {
            overlay: staging.join("overlay"),
            root: staging.join("root"),
            lowers: plan.lowers.clone(),
            strips_setuid: store.setuid() == SetuidPolicy::Strip,
            newest,
            kind,
            database,
        };
        let counts = perform_as_owner(sandbox, FileWork::Keep(changes)).map_err(TransactionFault::from)?;
        let counts = counts.map_err(|problem| TransactionFault::Changes { problem })?;
        let packages = work.packages();
        remove_tree(&packages).context("remove", &packages)?;
        Ok(store.record_of(counts, said))
    })
}

/// What a transaction left, and what is to be made of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Holds the upper directory; it goes away.
    overlay: PathBuf,
    /// Where the layer's tree will be.
    root: PathBuf,
    /// What the transaction ran over, topmost first.
    lowers: Vec<PathBuf>,
    /// Whether set-id bits go, as in all layers of the store.
    strips_setuid: bool,
    /// When the newest package was built, in seconds since 1970.
    newest: i64,
    kind: Kind,
    /// Where rpm keeps its database inside.
    database: PathBuf,
}

impl Changes {
    /// Makes the layer's tree of the upper and returns what is in it; or says why not.
    pub(crate) fn keep(&self) -> Result<LayerCounts, String> {
        let upper = self.overlay.join("upper");
        let is_dropped = |path: &Path| self.kind.drops(path, &self.database);
        let setuid = if self.strips_setuid { SetuidPolicy::Strip } else { SetuidPolicy::Keep };
        let options = PruneOptions { setuid, newest: self.newest, is_dropped: &is_dropped };
        prune(&upper, &self.lowers, &options).map_err(|fault| with_cause(&fault))?;
        let made = || -> Result<LayerCounts, LayerError> {
            fs::rename(&upper, &self.root).context("move into the store", &upper)?;
            remove_tree(&self.overlay).context("remove", &self.overlay)?;
            count(&self.root)
        };
        made().map_err(|error| with_cause(&error))
    }
}

/// Returns an error's words with those of its cause.
fn with_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn key(kind: &str, requests: &[LayerRequest]) -> LayerKey {
    let packages: BTreeMap<&str, ()> = requests.iter().map(|request| (request.sha256.as_str(), ())).collect();
    let mut hasher = ContentHasher::new(kind, SCHEMA);
    hasher.list("packages", packages.into_keys());
    LayerKey::of_kind(kind, &hasher.finish()).expect("the kinds of this module are lower-case letters")
}

/// A layer in the making.
struct Work<'a> {
    staging: &'a Path,
    lowers: &'a [PathBuf],
    limits: TransactionLimits,
    sandbox: &'a Sandbox,
}

impl Work<'_> {
    fn packages(&self) -> PathBuf {
        self.staging.join("packages")
    }

    /// Puts the package files into one directory, verified; returns when the newest was built, in
    /// seconds since 1970.
    fn add_packages(&self, requests: &[LayerRequest]) -> Result<i64, RootError> {
        let directory = self.packages();
        fs::create_dir(&directory).context("make", &directory)?;
        let each: BTreeMap<&str, &LayerRequest> =
            requests.iter().map(|request| (request.sha256.as_str(), request)).collect();
        let mut newest = 0;
        for (sha256, request) in each {
            let path = directory.join(sha256);
            if fs::hard_link(&request.path, &path).is_err() {
                fs::copy(&request.path, &path).context("copy", &request.path)?;
            }
            let mut file = File::open(&path).context("open", &path)?;
            verify_sha256(&mut file, request)?;
            let (nevra, time) = identity_and_build_time(&path)?;
            newest = newest.max(i64::from(time));
            // rpm installs those that do not need each other in the order of their names.
            let named = directory.join(format!("{nevra}.{sha256}.rpm"));
            fs::rename(&path, &named).context("rename", &path)?;
        }
        Ok(newest)
    }

    /// Returns where this rpm keeps its database.
    fn database(&self) -> Result<PathBuf, RootError> {
        let ran = self.run(self.spec(vec!["--eval".to_owned(), "%{_dbpath}".to_owned()]))?;
        // What rpm has to complain about comes before.
        let lines = last_lines(&ran.said);
        let said = lines.last().cloned().unwrap_or_default();
        let path = PathBuf::from(&said);
        let end = match ran.outcome.is_success() {
            true if path.is_absolute() && path.parent().is_some() => return Ok(path),
            true => format!("its database is at `{said}`"),
            false => ran.outcome.end.to_string(),
        };
        Err(TransactionFault::Failed { end, ids: ran.outcome.id_mapping, lines }.into())
    }

    /// Installs everything; returns what rpm warned of.
    fn install(&self, options: &[&str], newest: i64) -> Result<Vec<String>, RootError> {
        // The layers were verified, dependencies are their solver's business, and what two packages
        // disagree about was reported when they were stacked. The two excluded directories are the
        // sandbox's own.
        let fixed = [
            "--install",
            "--nodeps",
            "--nosignature",
            "--nodigest",
            "--noplugins",
            "--replacefiles",
            "--ignoresize",
            "--excludepath=/dev",
            "--excludepath=/proc",
        ];
        let mut arguments: Vec<String> =
            fixed.iter().chain(options).map(|option| (*option).to_owned()).collect();
        let mut names: Vec<String> = Vec::new();
        let directory = self.packages();
        for entry in fs::read_dir(&directory).context("list", &directory)? {
            names.push(entry.context("list", &directory)?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        arguments.extend(names.iter().map(|name| format!("{PACKAGES_INSIDE}/{name}")));
        let mut spec = self.spec(arguments);
        spec.upper = Upper::Disk { dir: self.staging.join("overlay") };
        spec.environment.insert("SOURCE_DATE_EPOCH".to_owned(), newest.to_string());
        spec.binds.push(BindMount { source: directory, target: PACKAGES_INSIDE.into(), read_only: true });
        let ran = self.run(spec)?;
        let lines = last_lines(&ran.said);
        if let Some(excess) = ran.excess {
            let ids = ran.outcome.id_mapping;
            return Err(TransactionFault::Failed { end: excess.to_string(), ids, lines }.into());
        }
        if ran.outcome.is_success() {
            // Whatever else was said is the scriptlets' own talk.
            let is_warning = |line: &String| line.starts_with("warning: ") || line.starts_with("error: ");
            return Ok(lines.into_iter().filter(is_warning).collect());
        }
        Err(ended_badly(&ran.outcome.end, ran.outcome.id_mapping, lines, self.limits).into())
    }

    fn spec(&self, arguments: Vec<String>) -> SandboxSpec {
        let arguments = std::iter::once(RPM.to_owned()).chain(arguments).collect();
        let mut spec = SandboxSpec::new(self.lowers.to_vec(), arguments);
        (spec.uid, spec.gid) = (0, 0);
        spec.capabilities = Capabilities::PackageTransaction;
        spec.limits = Limits {
            wall_ms: Some(WALL_MS),
            processes: Some(self.limits.processes),
            memory_bytes: self.limits.memory_bytes,
            excess_ends_run: true,
            ..Limits::default()
        };
        spec
    }

    fn run(&self, spec: SandboxSpec) -> Result<Guarded, RootError> {
        let written = self.staging.join("overlay");
        Ok(run_guarded(self.sandbox, &spec, &written, self.limits).map_err(TransactionFault::from)?)
    }
}

/// Says whose fault it is that rpm did not install a set. Memory that nobody limits is the host's.
fn ended_badly(end: &End, ids: IdMapping, lines: Vec<String>, limits: TransactionLimits) -> TransactionFault {
    let is_own = match end {
        End::Exited { .. } | End::TimedOut | End::TooManyProcesses => !says_full(&lines),
        End::OutOfMemory => limits.memory_bytes.is_some(),
        _ => false,
    };
    let end = end.to_string();
    if is_own {
        TransactionFault::Failed { end, ids, lines }
    } else {
        TransactionFault::Unfinished { end, lines }
    }
}

/// Returns the last lines that a program said.
fn last_lines(said: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(MAX_LINES)).map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_blamed_only_for_what_they_do_everywhere() {
        let blames = |end: End, line: &str| {
            let fault =
                ended_badly(&end, IdMapping::Host, vec![line.to_owned()], TransactionLimits::default());
            assert!(fault.to_string().contains(line), "{fault}");
            let error = RootError::from(fault);
            assert_eq!(error.is_for_want_of_space(), line.contains(NO_SPACE));
            error.is_of_packages()
        };
        assert!(blames(End::Exited { code: 1 }, "error: %prein(a-1-1.noarch) scriptlet failed"));
        assert!(blames(End::TimedOut, "waiting"));
        assert!(!blames(End::Exited { code: 1 }, "cpio: write failed - No space left on device"));
        assert!(!blames(End::Signaled { signal: 9 }, "killed"));
        assert!(!blames(End::KilledFromOutside { signal: 9 }, "killed"));
        assert!(!blames(End::HostOutOfMemory, "killed"));
        assert!(!blames(End::Cancelled, "cancelled"));
        assert!(!blames(End::OutOfMemory, "killed"), "others have taken it");
        let limits = TransactionLimits { memory_bytes: Some(1), ..TransactionLimits::default() };
        let fault = ended_badly(&End::OutOfMemory, IdMapping::Host, Vec::new(), limits);
        assert!(RootError::from(fault).is_of_packages());
    }

    #[test]
    fn who_has_no_subordinate_ids_is_told() {
        let said = |ids| {
            let lines = vec!["cpio: chown failed".to_owned()];
            ended_badly(&End::Exited { code: 1 }, ids, lines, TransactionLimits::default()).to_string()
        };
        assert!(said(IdMapping::SingleId).contains("no subordinate ids"));
        assert!(!said(IdMapping::SubordinateIds).contains("subordinate"));
    }
}
