//! What facts about a host mean for building on it. Functions of plain data.

use std::path::Path;

use buildroot::{IdMapping, LimitKind, Limiter};
use serde::Serialize;

/// How good a finding is; the worst is greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Status {
    /// As it should be.
    Good,
    /// Building works, with less than there could be.
    Reduced,
    /// Building does not work.
    Missing,
}

/// What was examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Subject {
    Kernel,
    Programs,
    Identity,
    Limits,
    Sandbox,
    KeptRoots,
    DiskSpace,
    Memory,
    Base,
    Drawing,
}

impl Subject {
    fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Programs => "programs",
            Self::Identity => "user ids",
            Self::Limits => "limits",
            Self::Sandbox => "build roots",
            Self::KeptRoots => "kept roots",
            Self::DiskSpace => "disk space",
            Self::Memory => "memory",
            Self::Base => "toolchain",
            Self::Drawing => "pictures",
        }
    }
}

/// One fact, what it means, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) subject: Subject,
    pub(crate) status: Status,
    /// What was found, in a sentence.
    pub(crate) found: String,
    /// What to do about it; nothing where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

/// Who asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// The user's name, or number where there is no name.
    pub(crate) name: String,
    /// Text of `/etc/subuid`.
    pub(crate) subuid: String,
    /// Text of `/etc/subgid`.
    pub(crate) subgid: String,
    /// Whether `newuidmap` and `newgidmap` are installed.
    pub(crate) has_newuidmap: bool,
}

/// The oldest kernel whose mount interface suffices: mounts that are attached nowhere are made read-only (5.12); overlays
/// without root are a release older.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// The kernel from which on lower directories are given one by one.
const LOWER_BY_LOWER: (u32, u32) = (6, 8);

/// Less free space than this, in bytes, ends most larger builds.
const LITTLE_SPACE: u64 = 10 << 30;

/// Less memory than this, in bytes, is too little for larger compilers.
const LITTLE_MEMORY: u64 = 2 << 30;

fn good(subject: Subject, found: impl Into<String>) -> Finding {
    Finding { subject, status: Status::Good, found: found.into(), advice: None }
}

fn bad(subject: Subject, status: Status, found: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { subject, status, found: found.into(), advice: Some(advice.into()) }
}

/// Judges the kernel's release, for example `6.1.0-18-amd64`.
pub(crate) fn kernel(release: &str) -> Finding {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|word| word.parse().ok());
    let version = numbers.next().zip(numbers.next());
    match version {
        Some(version) if version < OLDEST_KERNEL => bad(
            Subject::Kernel,
            Status::Missing,
            format!("Linux {release} is too old"),
            "build roots need Linux 5.12 or newer",
        ),
        Some(version) if version < LOWER_BY_LOWER => good(
            Subject::Kernel,
            format!("Linux {release}; build roots are mounted the older way (below 6.8)"),
        ),
        Some(_) => good(Subject::Kernel, format!("Linux {release}")),
        None => bad(
            Subject::Kernel,
            Status::Reduced,
            format!("the kernel's release `{release}` is not understood"),
            "build roots need Linux 5.12 or newer",
        ),
    }
}

/// Judges which helper programs are absent from the directory of programs.
pub(crate) fn programs(directory: &Path, absent: &[&str]) -> Finding {
    if absent.is_empty() {
        return good(Subject::Programs, format!("all are in `{}`", directory.display()));
    }
    bad(
        Subject::Programs,
        Status::Missing,
        format!("{} missing from `{}`", absent.join(", "), directory.display()),
        "compile and install all of them together: `cargo build --release --workspace --bins`",
    )
}

/// Ids in a range of subordinate ids, as `useradd` gives them (`SUB_UID_COUNT`, login.defs(5)).
const RANGE: u64 = 65_536;

/// Returns the first id above all ranges of a file such as `/etc/subuid`, and not below those that `useradd` gives
/// (`SUB_UID_MIN`, login.defs(5)): what two users have in common, each can change of the other's.
fn first_free_id(ranges: &str) -> u64 {
    let ends = ranges.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(1).map(|field| field.trim().parse::<u64>().ok());
        fields.next()??.checked_add(fields.next()??)
    });
    ends.fold(100_000, u64::max)
}

/// Judges whose ids there are in a sandbox.
pub(crate) fn identity(mapping: IdMapping, account: &Account) -> Finding {
    match mapping {
        IdMapping::Host => good(Subject::Identity, "root builds, as an unprivileged user in each build root"),
        IdMapping::SubordinateIds => {
            good(Subject::Identity, format!("{} builds without root, with subordinate ids", account.name))
        }
        IdMapping::SingleId => {
            let name = &account.name;
            let mut steps = Vec::new();
            if !account.has_newuidmap {
                steps.push(
                    "install `newuidmap` and `newgidmap` (Debian: `apt-get install uidmap`)".to_owned(),
                );
            }
            let listed = |text: &str| text.lines().any(|line| line.split(':').next() == Some(name.as_str()));
            let lacking: Vec<String> =
                [("--add-subuids", &account.subuid), ("--add-subgids", &account.subgid)]
                    .into_iter()
                    .filter(|(_, ranges)| !listed(ranges))
                    .map(|(option, ranges)| {
                        let first = first_free_id(ranges);
                        format!("{option} {first}-{}", first + (RANGE - 1))
                    })
                    .collect();
            if !lacking.is_empty() {
                steps.push(format!("give the user ids: `usermod {} {name}`", lacking.join(" ")));
            }
            if steps.is_empty() {
                steps.push(format!(
                    "give {name} at least 65536 ids in one range of /etc/subuid and of /etc/subgid"
                ));
            }
            bad(
                Subject::Identity,
                Status::Reduced,
                format!(
                    "{name} builds without root and without subordinate ids: packages whose scriptlets make \
                     files of other owners cannot be prepared"
                ),
                steps.join("; "),
            )
        }
    }
}

/// Judges who enforces limits on a whole build.
pub(crate) fn limits(limiter: Limiter, unenforced: &[LimitKind]) -> Finding {
    let by = match limiter {
        Limiter::CgroupV2 => "by cgroup version 2",
        Limiter::CgroupV1 => "by cgroup version 1",
        Limiter::ResourceLimits => "for each process alone (no cgroup can be made)",
    };
    if unenforced.is_empty() {
        return good(Subject::Limits, format!("enforced {by}"));
    }
    let names: Vec<&str> = unenforced
        .iter()
        .map(|kind| match kind {
            LimitKind::Memory => "memory",
            LimitKind::Processes => "number of processes",
            LimitKind::Cpu => "processor share",
        })
        .collect();
    bad(
        Subject::Limits,
        Status::Reduced,
        format!("enforced {by}; not enforced: {}", names.join(", ")),
        "have a cgroup delegated: `systemd-run --user --scope -p Delegate=yes millwright build ...`",
    )
}

/// What helps where nothing can be made in the build directory.
const WRITABLE: &str = "make the build directory writable for who builds, or choose another (--build-dir)";

/// Why a sandbox was not set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unprobed {
    /// There is no place for it: what could not be made, and why.
    NoDirectory(String),
    /// The host does not let this user.
    Refused(String),
}

impl std::fmt::Display for Unprobed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::NoDirectory(text) | Self::Refused(text)) = self;
        f.write_str(text)
    }
}

/// Judges a sandbox that was set up in so many microseconds, or why it was not.
pub(crate) fn sandbox(probed: Result<u64, &Unprobed>) -> Finding {
    match probed {
        Ok(microseconds) => {
            let milliseconds = microseconds as f64 / 1e3;
            good(Subject::Sandbox, format!("set up and taken down in {milliseconds:.1} ms"))
        }
        Err(Unprobed::NoDirectory(text)) => bad(Subject::Sandbox, Status::Missing, text.as_str(), WRITABLE),
        Err(Unprobed::Refused(text)) => bad(
            Subject::Sandbox,
            Status::Missing,
            text.as_str(),
            "run as root, or allow user namespaces to ordinary users (in a container: a seccomp profile that \
             allows `unshare` and `mount`)",
        ),
    }
}

/// Judges whether a build root can be kept in the build directory.
pub(crate) fn kept_roots(directory: &Path, probed: Result<(), &Unprobed>) -> Finding {
    match probed {
        Ok(()) => good(Subject::KeptRoots, format!("can be kept in `{}`", directory.display())),
        Err(Unprobed::NoDirectory(text)) => bad(Subject::KeptRoots, Status::Reduced, text.as_str(), WRITABLE),
        Err(Unprobed::Refused(text)) => bad(
            Subject::KeptRoots,
            Status::Reduced,
            text.as_str(),
            "shells that change a kept root need a build directory on ext4, xfs, btrfs or tmpfs (--build-dir)",
        ),
    }
}

/// Judges the free space in bytes where the build directory is.
pub(crate) fn space(directory: &Path, free: Option<u64>) -> Finding {
    let place = directory.display();
    match free {
        Some(bytes) if bytes < LITTLE_SPACE => bad(
            Subject::DiskSpace,
            Status::Reduced,
            format!("only {:.1} GiB free for `{place}`", gibibytes(bytes)),
            "free some, choose another place (--build-dir), or collect old layers (`millwright cache gc`)",
        ),
        Some(bytes) => good(Subject::DiskSpace, format!("{:.0} GiB free for `{place}`", gibibytes(bytes))),
        None => bad(
            Subject::DiskSpace,
            Status::Reduced,
            format!("the free space for `{place}` is unknown"),
            "see `df`",
        ),
    }
}

/// Judges the memory that can be used, in bytes.
pub(crate) fn memory(available: Option<u64>) -> Finding {
    match available {
        Some(bytes) if bytes < LITTLE_MEMORY => bad(
            Subject::Memory,
            Status::Reduced,
            format!("only {:.1} GiB can be used", gibibytes(bytes)),
            "build fewer packages at once (--workers 1)",
        ),
        Some(bytes) => good(Subject::Memory, format!("{:.0} GiB can be used", gibibytes(bytes))),
        None => good(Subject::Memory, "unknown"),
    }
}

/// Judges where toolchain and worker come from.
pub(crate) fn base(worker_is_there: bool, has_apt: bool) -> Finding {
    match (worker_is_there, has_apt) {
        (true, _) => good(Subject::Base, "toolchain and worker are there"),
        (false, true) => good(Subject::Base, "toolchain and worker will be made by the first build"),
        (false, false) => bad(
            Subject::Base,
            Status::Missing,
            "there is no worker, and no `apt-get` to make one from",
            "make it on a Debian machine (`millwright worker --export worker_chroot.tar.zst`), or from an RPM \
             repository (`bootstrap --base URL`)",
        ),
    }
}

/// Judges whether graphs can be drawn by Graphviz.
pub(crate) fn drawing(has_dot: bool) -> Finding {
    if has_dot {
        good(Subject::Drawing, "large graphs are drawn by Graphviz")
    } else {
        good(Subject::Drawing, "Graphviz is not installed; neighbourhoods are drawn all the same")
    }
}

/// Writes findings for a person, a line each and its advice below, and a last line that sums up.
pub(crate) fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.status {
            Status::Good => "good",
            Status::Reduced => "reduced",
            Status::Missing => "MISSING",
        };
        text.push_str(&format!("{word:<8} {:<12} {}\n", finding.subject.as_str(), finding.found));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("{:<21} -> {advice}\n", ""));
        }
    }
    let worst = findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Good);
    text.push_str(match worst {
        Status::Good => "Packages can be built here.",
        Status::Reduced => "Packages can be built here; see above what would be better.",
        Status::Missing => "Packages cannot be built here until the above is mended.",
    });
    text
}

fn gibibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_apart() {
        for (release, status) in [
            ("5.10.0-8-amd64", Status::Missing),
            ("5.11.0", Status::Missing),
            ("5.12.0", Status::Good),
            ("6.1.0-18-amd64", Status::Good),
            ("6.18", Status::Good),
            ("10.0-rc1", Status::Good),
            ("strange", Status::Reduced),
        ] {
            assert_eq!(kernel(release).status, status, "{release}");
        }
    }

    #[test]
    fn each_missing_piece_of_identity_is_named_and_no_other() {
        let check = |account: Account, expected: &[&str]| {
            let finding = identity(IdMapping::SingleId, &account);
            assert_eq!(finding.status, Status::Reduced);
            let advice = finding.advice.unwrap();
            for part in ["apt-get install uidmap", "usermod", "at least 65536"] {
                assert_eq!(advice.contains(part), expected.contains(&part), "{part} in {advice}");
            }
        };
        let ann = |subuid: &str, subgid: &str, has_newuidmap| Account {
            name: "ann".into(),
            subuid: subuid.into(),
            subgid: subgid.into(),
            has_newuidmap,
        };
        let range = "ann:100000:65536\n";
        check(ann("", "", false), &["apt-get install uidmap", "usermod"]);
        check(ann(range, "", true), &["usermod"]);
        check(ann("anna:100000:65536", range, true), &["usermod"]);
        check(ann(range, range, false), &["apt-get install uidmap"]);
        check(ann("ann:1:10", "ann:1:10", true), &["at least 65536"]);
        // What others have is not given again, and what the user has not once more.
        let advice = |account: Account| identity(IdMapping::SingleId, &account).advice.unwrap();
        assert_eq!(
            advice(ann("bob:100000:65536\nrubbish\neve:1:2\n", "", true)),
            "give the user ids: `usermod --add-subuids 165536-231071 --add-subgids 100000-165535 ann`"
        );
        assert_eq!(
            advice(ann(range, "bob:100000:65536", true)),
            "give the user ids: `usermod --add-subgids 165536-231071 ann`"
        );
        assert_eq!(identity(IdMapping::Host, &Account::default()).status, Status::Good);
    }

    #[test]
    fn advice_is_about_what_failed() {
        let advice = |why| sandbox(Err(&why)).advice.unwrap();
        assert!(advice(Unprobed::NoDirectory("cannot create `/b`".into())).contains("--build-dir"));
        assert!(advice(Unprobed::Refused("no".into())).contains("user namespaces"));
    }

    #[test]
    fn what_is_missing_comes_with_advice_and_decides_the_last_line() {
        let findings = [
            limits(Limiter::CgroupV1, &[]),
            limits(Limiter::ResourceLimits, &[LimitKind::Memory, LimitKind::Cpu]),
            sandbox(Err(&Unprobed::Refused("no namespace".to_owned()))),
            programs(Path::new("/p"), &["pkgworker"]),
            base(false, false),
        ];
        assert_eq!(findings.iter().filter(|finding| finding.advice.is_none()).count(), 1);
        let text = text(&findings);
        assert!(text.contains("reduced  limits       enforced for each process alone"), "{text}");
        assert!(text.contains("not enforced: memory, processor share\n"), "{text}");
        assert!(text.ends_with("cannot be built here until the above is mended."), "{text}");
        assert!(super::text(&findings[..1]).ends_with("Packages can be built here."));
    }
}
