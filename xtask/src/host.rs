//! What the host must have, and how it gets it.
//!
//! A program counts as present when it is on the path; no package manager is asked when all are.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Stop, say};

/// What the host is needed for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Building packages.
    Build,
    /// Running the tests, whose oracles are the distribution's own tools.
    Test,
}

/// A file whose presence shows that a Debian package is installed.
struct Need {
    file: &'static str,
    package: &'static str,
}

const BUILD: [Need; 4] = [
    Need { file: "/usr/bin/cc", package: "gcc" },
    Need { file: "/usr/include/stdio.h", package: "libc6-dev" },
    Need { file: "/usr/bin/make", package: "make" },
    Need { file: "/etc/ssl/certs/ca-certificates.crt", package: "ca-certificates" },
];

const TEST: [Need; 13] = [
    Need { file: "/usr/bin/rpm", package: "rpm" },
    Need { file: "/usr/bin/bwrap", package: "bubblewrap" },
    Need { file: "/usr/bin/createrepo_c", package: "createrepo-c" },
    Need { file: "/usr/bin/dnf", package: "dnf" },
    Need { file: "/usr/lib/python3/dist-packages/dnf-plugins/builddep.py", package: "dnf-plugins-core" },
    Need { file: "/usr/bin/dot", package: "graphviz" },
    Need { file: "/usr/bin/git", package: "git" },
    Need { file: "/usr/bin/strace", package: "strace" },
    Need { file: "/usr/bin/sccache", package: "sccache" },
    Need { file: "/usr/bin/gpg", package: "gnupg" },
    Need { file: "/usr/bin/newuidmap", package: "uidmap" },
    Need { file: "/usr/bin/debugedit", package: "debugedit" },
    Need { file: "/usr/bin/faketime", package: "faketime" },
];

/// Makes sure that the host has what the purpose needs.
///
/// As root it installs what is missing; otherwise it says which command does it.
pub(crate) fn ensure(purpose: Purpose) -> Result<(), Stop> {
    let needs = BUILD.iter().chain(if purpose == Purpose::Test { TEST.iter() } else { [].iter() });
    let missing: Vec<&str> =
        needs.filter(|need| !Path::new(need.file).exists()).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let command =
        format!("apt-get update && apt-get install -y --no-install-recommends {}", missing.join(" "));
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err(Stop::environment(format!(
            "this host lacks {}, and has no apt-get to install it; Millwright is set up on Debian 12",
            missing.join(", ")
        )));
    }
    if !is_root() {
        return Err(Stop::environment(format!("the host lacks some packages; run as root: {command}")));
    }
    say(&format!("installing Debian packages: {}", missing.join(" ")));
    apt_get(&["update", "-q"])?;
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(missing);
    apt_get(&install)
}

fn apt_get(arguments: &[&str]) -> Result<(), Stop> {
    let output = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Stop::environment(format!("cannot start apt-get: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Stop::environment(format!(
        "`apt-get {}` failed:\n{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// Returns whether the effective user is root, as the kernel says it.
pub(crate) fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|ids| ids.split_whitespace().nth(1).map(|effective| effective == "0"))
        .unwrap_or(false)
}
