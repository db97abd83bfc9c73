//! Debian as a base: fetched by a private apt, bridged to RPMs, completed by generated packages.

use super::{BaseNote, BaseSource, Selection};
use crate::apt::{AptRoot, DebianPackage, Indexes};
use crate::bridge::{self, BRIDGE_VERSION, DebFileReference};
use crate::configuration::Configuration;
use crate::error::BootstrapError;
use crate::generated;
use crate::progress::Reporter;
use rpm_model::{ContentDigest, ContentHasher};
use std::path::{Path, PathBuf};

/// Debian, as the host's apt knows it.
#[derive(Debug)]
pub struct DebianBase<'a> {
    configuration: &'a Configuration,
    apt_directory: PathBuf,
    generated: Vec<Generated>,
    inputs: ContentDigest,
}

/// A generated package ready to be written.
type Generated = (rpm_writer::Package, rpm_writer::Payload);

impl<'a> DebianBase<'a> {
    /// Returns the base; `apt_directory` is the place of its private apt, usually `build/apt`.
    ///
    /// # Errors
    /// [`BootstrapError::Write`] when a generated package cannot be made, for example of a macro file with an
    /// impossible name.
    pub fn new(configuration: &'a Configuration, apt_directory: &Path) -> Result<Self, BootstrapError> {
        let generated = generated_packages(configuration)?;
        let inputs = inputs_hash(configuration, &generated)?;
        Ok(Self { configuration, apt_directory: apt_directory.to_owned(), generated, inputs })
    }

    /// Debian names of everything the lists ask for; generated packages have none.
    fn names(&self) -> Vec<String> {
        let is_generated = |name: &str| self.generated.iter().any(|(package, _)| package.name == name);
        let wanted = self.configuration.core.iter().chain(&self.configuration.extra);
        let mut names: Vec<String> = wanted
            .filter(|name| !is_generated(name))
            .map(|name| self.configuration.names.deb_name(name).to_owned())
            .collect();
        names.sort();
        names.dedup();
        names
    }
}

impl BaseSource for DebianBase<'_> {
    fn inputs(&self) -> &ContentDigest {
        &self.inputs
    }

    fn select(
        &self,
        indexes: Indexes,
        reporter: &dyn Reporter,
    ) -> Result<Box<dyn Selection + '_>, BootstrapError> {
        let apt = AptRoot::prepare(&self.apt_directory, indexes, reporter)?;
        let names = self.names();
        let packages = match apt.closure(&names) {
            // A name may be unknown only to indexes that are out of date.
            Err(BootstrapError::Command { .. }) if indexes == Indexes::Keep => {
                apt.refresh(reporter)?;
                apt.closure(&names)?
            }
            result => result?,
        };
        Ok(Box::new(DebianSelection { base: self, apt, names, packages }))
    }
}

struct DebianSelection<'a> {
    base: &'a DebianBase<'a>,
    apt: AptRoot,
    names: Vec<String>,
    packages: Vec<DebianPackage>,
}

impl Selection for DebianSelection<'_> {
    fn content(&self) -> ContentDigest {
        let mut hasher = ContentHasher::new("debian-content", 1);
        hasher.field("inputs", self.base.inputs.as_str());
        hasher.list("debs", self.packages.iter().map(|deb| format!("{} {}", deb.file_name, deb.sha256)));
        hasher.finish()
    }

    fn write(&self, directory: &Path, reporter: &dyn Reporter) -> Result<Vec<BaseNote>, BootstrapError> {
        let files = match self.apt.download(&self.names, &self.packages, reporter) {
            // The mirror no longer has what older indexes describe; the next bootstrap sees the newer ones.
            Err(error @ BootstrapError::Command { .. }) => {
                self.apt.forget_indexes()?;
                return Err(error);
            }
            result => result?,
        };
        let reference = |(package, path): (&DebianPackage, PathBuf)| DebFileReference {
            path,
            sha256: package.sha256.clone(),
        };
        let debs: Vec<DebFileReference> = self.packages.iter().zip(files).map(reference).collect();
        let notes = bridge::bridge(&debs, &self.base.configuration.names, directory, reporter)?;
        for (package, payload) in &self.base.generated {
            bridge::write_rpm(directory, package, payload)?;
        }
        Ok(notes.into_iter().map(BaseNote::Bridge).collect())
    }
}

fn generated_packages(configuration: &Configuration) -> Result<Vec<Generated>, BootstrapError> {
    [generated::filesystem(), generated::toolchain_macros(&configuration.macros)]
        .into_iter()
        .map(|(package, files)| match rpm_writer::Payload::pack(files) {
            Ok(payload) => Ok((package, payload)),
            Err(source) => Err(BootstrapError::Write { package: package.name, source }),
        })
        .collect()
}

fn inputs_hash(
    configuration: &Configuration,
    generated: &[Generated],
) -> Result<ContentDigest, BootstrapError> {
    let mut hasher = ContentHasher::new("debian-inputs", 1);
    hasher.field("bridge", &BRIDGE_VERSION.to_string());
    configuration.hash_into(&mut hasher);
    for (package, payload) in generated {
        let bytes = package
            .to_bytes(payload)
            .map_err(|source| BootstrapError::Write { package: package.name.clone(), source })?;
        hasher.field(&package.name, ContentDigest::of_bytes(&bytes).as_str());
    }
    Ok(hasher.finish())
}
