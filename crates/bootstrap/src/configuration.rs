//! The lists, the name table and the macro files of `configs/bootstrap/`: built in, or read from a directory.

use crate::bridge::{NameTable, parse_list};
use crate::error::BootstrapError;
use rpm_model::ContentHasher;
use std::path::Path;

/// The shipped `names.toml`.
pub(crate) const NAMES: &str = include_str!("../../../configs/bootstrap/names.toml");
const CORE: &str = include_str!("../../../configs/bootstrap/core.list");
const EXTRA: &str = include_str!("../../../configs/bootstrap/extra.list");

macro_rules! macro_file {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../configs/bootstrap/macros/", $name)))
    };
}

const MACROS: [(&str, &str); 6] = [
    macro_file!("macros.millwright"),
    macro_file!("macros.millwright-cmake"),
    macro_file!("macros.millwright-directories"),
    macro_file!("macros.millwright-python"),
    macro_file!("macros.millwright-systemd"),
    macro_file!("rpmrc"),
];

/// What a toolchain consists of.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// RPM names of the worker's core.
    pub core: Vec<String>,
    /// RPM names offered besides.
    pub extra: Vec<String>,
    /// Debian's names in RPM's words, and corrections.
    pub names: NameTable,
    /// Macro files and `rpmrc`, by file name.
    pub macros: Vec<(String, String)>,
    /// The texts that all of this was read from, for the state's hash.
    sources: Vec<(String, String)>,
}

impl Configuration {
    /// Returns what is shipped.
    ///
    /// # Errors
    /// [`BootstrapError::Configuration`] if the shipped table were invalid; a test keeps it valid.
    pub fn shipped() -> Result<Self, BootstrapError> {
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Self::from_texts(CORE, EXTRA, NAMES, MACROS.iter().map(owned).collect())
    }

    /// Returns what a directory laid out like `configs/bootstrap` says.
    ///
    /// # Errors
    /// [`BootstrapError::File`] for a missing file, [`BootstrapError::Configuration`] for a wrong one.
    pub fn read(directory: &Path) -> Result<Self, BootstrapError> {
        let read = |path: &Path| std::fs::read_to_string(path).map_err(BootstrapError::file("read", path));
        let macro_directory = directory.join("macros");
        let entries =
            std::fs::read_dir(&macro_directory).map_err(BootstrapError::file("read", &macro_directory))?;
        let mut macros = Vec::new();
        for entry in entries {
            let path = entry.map_err(BootstrapError::file("read", &macro_directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name == "rpmrc" || name.starts_with("macros.") {
                macros.push((name, read(&path)?));
            }
        }
        macros.sort();
        let file = |name: &str| read(&directory.join(name));
        Self::from_texts(&file("core.list")?, &file("extra.list")?, &file("names.toml")?, macros)
    }

    fn from_texts(
        core: &str,
        extra: &str,
        names: &str,
        macros: Vec<(String, String)>,
    ) -> Result<Self, BootstrapError> {
        let mut sources: Vec<(String, String)> =
            [("core.list", core), ("extra.list", extra), ("names.toml", names)]
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .to_vec();
        sources.extend(macros.iter().cloned());
        Ok(Self {
            core: parse_list(core),
            extra: parse_list(extra),
            names: NameTable::parse("names.toml", names)?,
            macros,
            sources,
        })
    }

    /// Adds everything that decides the toolchain's content to a hash.
    pub(crate) fn hash_into(&self, hasher: &mut ContentHasher) {
        for (name, text) in &self.sources {
            hasher.field(name, text);
        }
    }
}
