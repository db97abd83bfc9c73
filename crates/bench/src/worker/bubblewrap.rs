//! The second peer: a root that dnf installs from nothing, and rpmbuild in it under bubblewrap.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rpm_model::WorkerManifest;

use super::dnf::Dnf;
use super::ours::{Ours, read};
use super::peer::{PeerCost, built, place_srpm};
use crate::error::BenchError;
use crate::measure::run;
use crate::tree::{Tree, empty_directory};

/// The peer's directories, and what its roots start from.
pub(super) struct Bubblewrap {
    directory: PathBuf,
    core: Vec<String>,
    dnf: Dnf,
}

impl Bubblewrap {
    /// Takes the names of the worker's core packages.
    pub(super) fn new(tree: &Tree, directory: PathBuf) -> Result<Self, BenchError> {
        empty_directory(&directory)?;
        let manifest: WorkerManifest = read(&tree.path("build/worker/worker.json"), "worker manifest")?;
        let core = manifest.core.packages().iter().map(|package| package.nevra.name.clone()).collect();
        let dnf = Dnf::new(tree, &directory)?;
        Ok(Self { directory, core, dnf })
    }

    /// Builds the SRPM of one of our jobs once.
    pub(super) fn build(&self, ours: &Ours, requires: &[&str]) -> Result<PeerCost, BenchError> {
        let root = self.directory.join("root");
        empty_directory(&root)?;
        let made = run(self.dnf.install(&root).args(&self.core).args(requires), &self.log("dnf"))?;
        for mount_point in ["proc", "dev", "tmp", "var/tmp"] {
            let path = root.join(mount_point);
            fs::create_dir_all(&path).map_err(BenchError::io("create", &path))?;
        }
        let srpm = place_srpm(&root, ours)?;
        let rpmbuild = run(&mut rpmbuild(&root, &srpm), &self.log("rpmbuild"))?;
        Ok(PeerCost { root: made, rpmbuild, packages: built(&root)? })
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }
}

fn rpmbuild(root: &Path, srpm: &str) -> Command {
    let mut command = Command::new("bwrap");
    command
        .args(["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--bind"])
        .arg(root)
        .arg("/")
        .args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/var/tmp"])
        .args(["--setenv", "PATH", "/usr/bin:/usr/sbin", "--setenv", "HOME", "/root"])
        .args(["--setenv", "LC_ALL", "C.UTF-8", "--setenv", "TZ", "UTC", "--"])
        .args(["rpmbuild", "--rebuild", "--nocheck", "--define", "_topdir /build", "--define", "dist .mw1"])
        .arg(format!("/build/{srpm}"));
    command
}
