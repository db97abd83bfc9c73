//! `millwright doctor`: what this host can do, what it lacks, and how to mend that.
//!
//! Looks and tries; changes nothing but directories that it makes and removes below the build directory. What the
//! facts mean is decided in [`judge`], which touches nothing.

mod judge;

use std::fs;
use std::path::{Path, PathBuf};

use buildroot::{ProbeError, Sandbox, Upper};
use config::Config;
use report::{ExitStatus, Failure};
use serde::Serialize;

use judge::{Account, Finding, Status, Unprobed};

/// Programs that belong beside `millwright`.
const PROGRAMS: [&str; 3] = ["buildroot-init", "pkgworker", "spec-engine"];

/// What was found, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    /// This code writes schema 1.
    schema: u32,
    /// Whether packages can be built.
    usable: bool,
    findings: Vec<Finding>,
}

/// Examines the host; prints what was found, the worst last.
pub(crate) fn run(config: &Config, json: bool) -> Result<ExitStatus, Failure> {
    let findings = examine(config);
    let usable = findings.iter().all(|finding| finding.status != Status::Missing);
    if json {
        let report = Report { schema: 1, usable, findings };
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Failure::new(ExitStatus::Internal, error))?;
        report::print(&text)?;
    } else {
        report::print(&judge::text(&findings))?;
    }
    Ok(if usable { ExitStatus::Done } else { ExitStatus::Environment })
}

/// Refuses to build when no build root can be set up, before anything is made for it.
pub(crate) fn check_sandbox(config: &Config, sandbox: &Sandbox) -> Result<(), Failure> {
    // For root it is known to work, or the first build says why not.
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    match probe(config, sandbox, |_| Upper::Tmpfs { size_mb: 1 }) {
        Ok(_) => Ok(()),
        Err(text) => Err(Failure::new(
            ExitStatus::Environment,
            format!("build roots cannot be set up by this user: {text}"),
        )
        .hint("`millwright doctor` says what is missing; or run the same command as root")),
    }
}

fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![judge::kernel(&kernel_release())];
    let own = std::env::current_exe().ok();
    let directory = own.as_deref().and_then(Path::parent).unwrap_or(Path::new("/"));
    let absent: Vec<&str> =
        PROGRAMS.into_iter().filter(|program| !directory.join(program).is_file()).collect();
    findings.push(judge::programs(directory, &absent));
    let account = account();
    if let Ok(sandbox) = Sandbox::discover() {
        let probed = probe(config, &sandbox, |_| Upper::Tmpfs { size_mb: 1 });
        if let Ok(capability) = &probed {
            findings.push(judge::identity(capability.id_mapping, &account));
            findings.push(judge::limits(capability.limiter, &capability.unenforced));
        }
        findings.push(judge::sandbox(probed.as_ref().map(|capability| capability.wall_us)));
        let kept = probe(config, &sandbox, |dir| Upper::Disk { dir: dir.to_path_buf() });
        findings.push(judge::kept_roots(&config.directories.build, kept.as_ref().map(|_| ())));
    }
    findings.push(judge::space(&config.directories.build, free_bytes(&config.directories.build)));
    findings.push(judge::memory(memory_bytes()));
    let worker = config.directories.build.join("worker/worker.json");
    findings.push(judge::base(worker.is_file(), on_path("apt-get")));
    findings.push(judge::drawing(on_path("dot")));
    findings.sort_by_key(|finding| finding.status);
    findings
}

/// Tries a sandbox with an upper; `upper` is given an empty directory below the build directory.
fn probe(
    config: &Config,
    sandbox: &Sandbox,
    upper: impl FnOnce(&Path) -> Upper,
) -> Result<buildroot::Capability, Unprobed> {
    let build = &config.directories.build;
    let place = build.join(format!(".probe-{}", std::process::id()));
    let (root, kept) = (place.join("root"), place.join("kept"));
    let prepared = fs::create_dir_all(&root).and_then(|()| fs::create_dir_all(&kept));
    if let Err(error) = prepared {
        return Err(Unprobed::NoDirectory(format!("cannot create `{}`: {error}", place.display())));
    }
    let found = sandbox.probe(&root, upper(&kept));
    // What cannot be removed is empty directories; the finding is what counts.
    let _ = buildroot::remove_tree(&place);
    found.map_err(|error: ProbeError| Unprobed::Refused(error.to_string()))
}

fn kernel_release() -> String {
    nix::sys::utsname::uname().map(|names| names.release().to_string_lossy().into_owned()).unwrap_or_default()
}

fn account() -> Account {
    let uid = nix::unistd::geteuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten();
    Account {
        name: user.map_or_else(|| uid.to_string(), |user| user.name),
        subuid: fs::read_to_string("/etc/subuid").unwrap_or_default(),
        subgid: fs::read_to_string("/etc/subgid").unwrap_or_default(),
        has_newuidmap: on_path("newuidmap") && on_path("newgidmap"),
    }
}

/// Returns whether a program is where the host's programs are.
fn on_path(program: &str) -> bool {
    let places = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"];
    places.iter().any(|place| Path::new(place).join(program).is_file())
}

/// Returns the bytes that are free where a directory is or will be.
fn free_bytes(directory: &Path) -> Option<u64> {
    let place: PathBuf = directory.ancestors().find(|path| path.exists())?.to_path_buf();
    let found = nix::sys::statvfs::statvfs(&place).ok()?;
    Some(found.blocks_available() * found.fragment_size())
}

/// Returns the memory that can be used, in bytes.
fn memory_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}
