//! A package as plain data: everything a header says, apart from its files.

use crate::dependency::Dependency;
use crate::error::WriteError;
use crate::lead::{self, LeadKind};
use crate::main_header;
use crate::payload::Payload;
use crate::signature::{self, Signed};
use md5::{Digest, Md5};

/// Binary or source package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageKind {
    /// A package to install.
    Binary {
        /// File name of the source package it was made from.
        source_rpm: String,
    },
    /// A source package; its files have bare names, its `Requires` are the BuildRequires.
    Source {
        /// File names of the sources, by number.
        sources: Vec<String>,
        /// File names of the patches, by number.
        patches: Vec<String>,
    },
}

/// When a scriptlet runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// `%pre`
    Pre,
    /// `%post`
    Post,
    /// `%preun`
    PreUninstall,
    /// `%postun`
    PostUninstall,
    /// `%pretrans`
    PreTransaction,
    /// `%posttrans`
    PostTransaction,
}

/// A program run by rpm while it installs or erases the package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scriptlet {
    /// When it runs.
    pub phase: Phase,
    /// Path of the interpreter.
    pub interpreter: String,
    /// Text given to the interpreter; empty to run the interpreter alone, as `%post -p /sbin/ldconfig` does.
    pub body: String,
}

/// One entry of `%changelog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangelogEntry {
    /// Seconds since 1970.
    pub time: u32,
    /// `Name <address> - version-release`.
    pub author: String,
    /// The text.
    pub text: String,
}

/// What a header says of the moment and place of the build: given by the caller, never measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildStamp {
    /// Build time in seconds since 1970.
    pub time: u32,
    /// Build host.
    pub host: String,
}

/// A package without its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Name.
    pub name: String,
    /// Epoch; none is the same as 0 when compared, but is written differently.
    pub epoch: Option<u32>,
    /// Version.
    pub version: String,
    /// Release.
    pub release: String,
    /// Architecture, or `noarch`; for a source package the architecture it was made on.
    pub arch: String,
    /// Binary or source.
    pub kind: PackageKind,
    /// One line.
    pub summary: String,
    /// Several lines.
    pub description: String,
    /// Licence expression.
    pub license: String,
    /// Home page.
    pub url: Option<String>,
    /// Who made the package available.
    pub vendor: Option<String>,
    /// `Provides`; the package's own `name = evr` must be among them for a binary package.
    pub provides: Vec<Dependency>,
    /// `Requires`; `rpmlib(...)` features are added by the writer.
    pub requires: Vec<Dependency>,
    /// `Recommends`.
    pub recommends: Vec<Dependency>,
    /// `Suggests`.
    pub suggests: Vec<Dependency>,
    /// `Supplements`.
    pub supplements: Vec<Dependency>,
    /// `Enhances`.
    pub enhances: Vec<Dependency>,
    /// `Conflicts`.
    pub conflicts: Vec<Dependency>,
    /// `Obsoletes`.
    pub obsoletes: Vec<Dependency>,
    /// Scriptlets, at most one of each phase.
    pub scriptlets: Vec<Scriptlet>,
    /// Changelog, newest first.
    pub changelog: Vec<ChangelogEntry>,
    /// Build time and host.
    pub build: BuildStamp,
}

impl Package {
    /// Returns a binary package that provides its own name and nothing else, built at time 0 on `localhost`.
    pub fn new(
        name: impl Into<String>,
        version: impl Into<String>,
        release: impl Into<String>,
        arch: impl Into<String>,
    ) -> Self {
        let (name, version, release) = (name.into(), version.into(), release.into());
        Self {
            provides: vec![Dependency::equal(&name, format!("{version}-{release}"))],
            kind: PackageKind::Binary { source_rpm: format!("{name}-{version}-{release}.src.rpm") },
            summary: name.clone(),
            description: String::new(),
            license: String::new(),
            name,
            epoch: None,
            version,
            release,
            arch: arch.into(),
            url: None,
            vendor: None,
            requires: Vec::new(),
            recommends: Vec::new(),
            suggests: Vec::new(),
            supplements: Vec::new(),
            enhances: Vec::new(),
            conflicts: Vec::new(),
            obsoletes: Vec::new(),
            scriptlets: Vec::new(),
            changelog: Vec::new(),
            build: BuildStamp { time: 0, host: "localhost".into() },
        }
    }

    /// Returns `[epoch:]version-release`.
    pub fn evr(&self) -> String {
        match self.epoch {
            Some(epoch) => format!("{epoch}:{}-{}", self.version, self.release),
            None => format!("{}-{}", self.version, self.release),
        }
    }

    /// Returns the conventional file name, `name-version-release.arch.rpm`, with `src` for a source package.
    pub fn file_name(&self) -> String {
        let arch = match self.kind {
            PackageKind::Binary { .. } => self.arch.as_str(),
            PackageKind::Source { .. } => "src",
        };
        format!("{}-{}-{}.{arch}.rpm", self.name, self.version, self.release)
    }

    /// Returns the whole package file: lead, signature header (SHA-256, SHA-1, MD5, sizes), header, payload.
    ///
    /// # Errors
    /// [`WriteError::Field`] for a name, version, release or architecture rpm would refuse;
    /// [`WriteError::TooLarge`] beyond 32-bit sizes.
    pub fn to_bytes(&self, payload: &Payload) -> Result<Vec<u8>, WriteError> {
        self.check_fields()?;
        let header = main_header::encode(self, payload)?;
        let md5 = Md5::new().chain_update(&header).chain_update(&payload.bytes).finalize().into();
        let signature = signature::encode(&Signed {
            header: &header,
            md5,
            payload_size: payload.bytes.len() as u64,
            archive_size: payload.archive_size,
            room: 0,
        })?;
        let lead = self.lead();
        let mut bytes = Vec::with_capacity(lead.len() + signature.len() + header.len() + payload.bytes.len());
        bytes.extend_from_slice(&lead);
        bytes.extend_from_slice(&signature);
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(&payload.bytes);
        Ok(bytes)
    }

    fn check_fields(&self) -> Result<(), WriteError> {
        let fields = [
            ("name", &self.name, "._+-"),
            ("version", &self.version, "._+~^"),
            ("release", &self.release, "._+~^"),
            ("architecture", &self.arch, "_"),
        ];
        for (field, value, punctuation) in fields {
            let legal = |c: char| c.is_ascii_alphanumeric() || punctuation.contains(c);
            if value.is_empty() || !value.chars().all(legal) {
                return Err(WriteError::Field { field, value: value.clone() });
            }
        }
        Ok(())
    }

    fn lead(&self) -> [u8; lead::SIZE] {
        let kind = match self.kind {
            PackageKind::Binary { .. } => LeadKind::Binary,
            PackageKind::Source { .. } => LeadKind::Source,
        };
        lead::encode(kind, &self.arch, &format!("{}-{}-{}", self.name, self.version, self.release))
    }
}
