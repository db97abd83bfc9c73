//! dnf over the toolchain and what was built from the tree, its metadata kept from run to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BenchError;
use crate::tree::Tree;

/// dnf's own directories, and the repositories that it installs from.
pub(super) struct Dnf {
    directory: PathBuf,
    toolchain: PathBuf,
    built: PathBuf,
}

impl Dnf {
    /// Prepares dnf to work in `directory`.
    pub(super) fn new(tree: &Tree, directory: &Path) -> Result<Self, BenchError> {
        let home = directory.join("home");
        fs::create_dir_all(&home).map_err(BenchError::io("create", &home))?;
        // Debian's rpm has its database elsewhere; dnf must find the worker's.
        let macros = home.join(".rpmmacros");
        fs::write(&macros, "%_dbpath /var/lib/rpm\n").map_err(BenchError::io("write", &macros))?;
        Ok(Self {
            directory: directory.to_owned(),
            toolchain: tree.path("build/toolchain_rpms"),
            built: tree.path("out/RPMS"),
        })
    }

    /// Returns the command that installs into a root what is added to it.
    pub(super) fn install(&self, root: &Path) -> Command {
        let mut command = Command::new("dnf");
        command
            .env("HOME", self.directory.join("home"))
            .args(["-y", "-q", "--nogpgcheck", "--releasever=1", "--forcearch=x86_64"])
            .args(["--setopt=reposdir=/nonexistent", "--setopt=plugins=0", "--setopt=install_weak_deps=0"])
            .arg("--setopt=module_platform_id=platform:x")
            .arg(format!("--setopt=cachedir={}", self.directory.join("cache").display()))
            .arg(format!("--installroot={}", root.display()))
            .arg(format!("--repofrompath=toolchain,file://{}", self.toolchain.display()))
            .arg(format!("--repofrompath=built,file://{}", self.built.display()))
            .args(["--repo=toolchain", "--repo=built", "install"]);
        command
    }
}
