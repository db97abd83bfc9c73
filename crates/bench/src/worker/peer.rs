//! The first peer: a worker archive, dnf and rpmbuild in a chroot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::dnf::Dnf;
use super::ours::Ours;
use crate::error::BenchError;
use crate::measure::{Cost, run};
use crate::tree::{Tree, empty_directory, files_below};

/// `_topdir` in the chroot.
pub(super) const TOP: &str = "build";

/// What a person types: mounts that vanish with their namespace, then rpmbuild.
const BUILD: &str = r#"mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
exec chroot "$1" /usr/bin/env -i PATH=/usr/bin:/usr/sbin HOME=/root LC_ALL=C.UTF-8 TZ=UTC \
    rpmbuild --rebuild --nocheck --define "_topdir /build" --define "dist .mw1" "/build/$2""#;

/// The peer's archive and directories.
pub(super) struct Peer {
    directory: PathBuf,
    archive: PathBuf,
    dnf: Dnf,
}

/// What one build cost.
pub(super) struct PeerCost {
    /// Making the build root.
    pub(super) root: Cost,
    pub(super) rpmbuild: Cost,
    /// Names of the packages, sorted.
    pub(super) packages: Vec<String>,
}

impl PeerCost {
    /// Returns all of it.
    pub(super) fn whole(&self) -> Cost {
        self.root + self.rpmbuild
    }
}

impl Peer {
    /// Makes `worker_chroot.tar.gz` of the exported worker. What only Millwright reads is left out of it: the
    /// packages in the archive would nearly double its size.
    pub(super) fn new(tree: &Tree, directory: PathBuf) -> Result<Self, BenchError> {
        empty_directory(&directory)?;
        let dnf = Dnf::new(tree, &directory)?;
        let peer = Self { archive: directory.join("worker_chroot.tar.gz"), dnf, directory };
        empty_directory(&peer.root())?;
        let exported = tree.path("build/worker/worker_chroot.tar");
        let log = peer.log("archive");
        run(
            Command::new("tar")
                .args(["-x", "--exclude=usr/lib/millwright", "-f"])
                .arg(exported)
                .current_dir(peer.root()),
            &log,
        )?;
        run(Command::new("tar").arg("-czf").arg(&peer.archive).arg("-C").arg(peer.root()).arg("."), &log)?;
        Ok(peer)
    }

    /// Builds the SRPM of one of our jobs once.
    pub(super) fn build(&self, ours: &Ours, requires: &[&str]) -> Result<PeerCost, BenchError> {
        let root = self.root();
        empty_directory(&root)?;
        let unpack =
            run(Command::new("tar").arg("-xzf").arg(&self.archive).arg("-C").arg(&root), &self.log("tar"))?;
        let install = run(self.dnf.install(&root).args(requires), &self.log("dnf"))?;
        let srpm = place_srpm(&root, ours)?;
        let rpmbuild = run(
            Command::new("unshare")
                .args(["--mount", "--propagation", "private", "--", "/bin/sh", "-ec", BUILD, "sh"])
                .arg(&root)
                .arg(srpm),
            &self.log("rpmbuild"),
        )?;
        Ok(PeerCost { root: unpack + install, rpmbuild, packages: built(&root)? })
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }
}

/// Copies the SRPM of a job into a root's `_topdir` and returns its name.
pub(super) fn place_srpm(root: &Path, ours: &Ours) -> Result<String, BenchError> {
    let top = root.join(TOP);
    fs::create_dir_all(&top).map_err(BenchError::io("create", &top))?;
    let srpm = ours.srpm.file_name().unwrap_or_default();
    fs::copy(&ours.srpm, top.join(srpm)).map_err(BenchError::io("copy", &ours.srpm))?;
    Ok(srpm.to_string_lossy().into_owned())
}

/// Returns the names of the packages that were built in a root, sorted.
pub(super) fn built(root: &Path) -> Result<Vec<String>, BenchError> {
    let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut packages: Vec<String> =
        files_below(&root.join(TOP).join("RPMS"))?.into_iter().filter_map(name).collect();
    packages.sort();
    Ok(packages)
}
