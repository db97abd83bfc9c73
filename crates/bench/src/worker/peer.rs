//! The peer: a worker archive, dnf and rpmbuild in a chroot.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Package;
use super::ours::Ours;
use crate::error::BenchError;
use crate::measure::{Cost, run};
use crate::tree::{Tree, empty_directory, files_below};

/// `_topdir` in the chroot.
const TOP: &str = "build";

/// What a person types: mounts that vanish with their namespace, then rpmbuild.
const BUILD: &str = r#"mount -t proc proc "$1/proc"
mount --bind /dev "$1/dev"
exec chroot "$1" /usr/bin/env -i PATH=/usr/bin:/usr/sbin HOME=/root LC_ALL=C.UTF-8 TZ=UTC \
    rpmbuild --rebuild --define "_topdir /build" --define "dist .mw1" "/build/$2""#;

/// The peer's archive and directories.
pub(super) struct Peer {
    directory: PathBuf,
    archive: PathBuf,
    toolchain: PathBuf,
}

/// What one build cost.
pub(super) struct PeerCost {
    unpack: Cost,
    install: Cost,
    pub(super) rpmbuild: Cost,
    /// Names of the packages, sorted.
    pub(super) packages: Vec<String>,
}

impl PeerCost {
    /// Returns all of it.
    pub(super) fn whole(&self) -> Cost {
        self.root() + self.rpmbuild
    }

    /// Returns what making the build root cost.
    pub(super) fn root(&self) -> Cost {
        self.unpack + self.install
    }
}

impl Peer {
    /// Makes `worker_chroot.tar.gz` of the exported worker. What only Millwright reads is left out of it: the
    /// packages in the archive would nearly double its size.
    pub(super) fn new(tree: &Tree, directory: PathBuf) -> Result<Self, BenchError> {
        empty_directory(&directory)?;
        let home = directory.join("home");
        fs::create_dir_all(&home).map_err(BenchError::io("create", &home))?;
        // Debian's rpm has its database elsewhere; dnf must find the worker's.
        let macros = home.join(".rpmmacros");
        fs::write(&macros, "%_dbpath /var/lib/rpm\n").map_err(BenchError::io("write", &macros))?;
        let peer = Self {
            archive: directory.join("worker_chroot.tar.gz"),
            toolchain: tree.path("build/toolchain_rpms"),
            directory,
        };
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
    pub(super) fn build(&self, ours: &Ours, package: &Package) -> Result<PeerCost, BenchError> {
        let root = self.root();
        empty_directory(&root)?;
        let unpack =
            run(Command::new("tar").arg("-xzf").arg(&self.archive).arg("-C").arg(&root), &self.log("tar"))?;
        let install = run(self.dnf().args(package.requires), &self.log("dnf"))?;
        let top = root.join(TOP);
        fs::create_dir_all(&top).map_err(BenchError::io("create", &top))?;
        let srpm = ours.srpm.file_name().unwrap_or_default();
        fs::copy(&ours.srpm, top.join(srpm)).map_err(BenchError::io("copy", &ours.srpm))?;
        let rpmbuild = run(
            Command::new("unshare")
                .args(["--mount", "--propagation", "private", "--", "/bin/sh", "-ec", BUILD, "sh"])
                .arg(&root)
                .arg(srpm),
            &self.log("rpmbuild"),
        )?;
        let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mut packages: Vec<String> =
            files_below(&top.join("RPMS"))?.into_iter().filter_map(name).collect();
        packages.sort();
        Ok(PeerCost { unpack, install, rpmbuild, packages })
    }

    /// Returns dnf over the toolchain alone, its metadata kept from run to run.
    fn dnf(&self) -> Command {
        let mut command = Command::new("dnf");
        command
            .env("HOME", self.directory.join("home"))
            .args(["-y", "-q", "--nogpgcheck", "--releasever=1", "--forcearch=x86_64"])
            .args(["--setopt=reposdir=/nonexistent", "--setopt=plugins=0", "--setopt=install_weak_deps=0"])
            .arg("--setopt=module_platform_id=platform:x")
            .arg(format!("--setopt=cachedir={}", self.directory.join("cache").display()))
            .arg(format!("--installroot={}", self.root().display()))
            .arg(format!("--repofrompath=toolchain,file://{}", self.toolchain.display()))
            .args(["--repo=toolchain", "install"]);
        command
    }

    fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }
}
