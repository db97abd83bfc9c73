//! One spec that an engine is asked about: what is known of it before rpm is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::{ReadOptions, SpecInput};
use crate::failure::{FailureKind, SpecFailure};
use crate::{query, text, visible};

/// One spec that a run is asked about.
#[derive(Clone)]
pub(crate) struct Job<'a> {
    /// Its place among the specs that were asked about.
    pub(crate) index: usize,
    pub(crate) input: &'a SpecInput,
    /// The directory of the spec.
    pub(crate) spec_dir: PathBuf,
    /// Whether it may say something else under `with_check 1`.
    pub(crate) check: bool,
    /// Whether its text shows a way to read other files.
    pub(crate) reads_files: bool,
    /// Whether its own text may define trigger macros.
    pub(crate) triggers: bool,
    /// The release macros that it sees, `name body` each.
    pub(crate) release: Vec<String>,
}

impl<'a> Job<'a> {
    /// Looks at a spec; refuses one that cannot be asked about.
    pub(crate) fn new(
        index: usize,
        input: &'a SpecInput,
        options: &ReadOptions,
        limit: u64,
    ) -> Result<Self, FailureKind> {
        let expected = format!("{}.spec", input.name);
        let good_name = is_package_name(&input.name)
            && input.path.file_name().is_some_and(|file| file == expected.as_str());
        if !good_name {
            return Err(FailureKind::BadName);
        }
        let text = read_limited(&input.path, limit)?;
        let spec_dir = match input.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let check = text::asks_for_check(&String::from_utf8_lossy(&text));
        let reads_files = visible::can_read_files(&text);
        let release = options.release_macros.definitions_for(&text);
        let triggers = reads_files || query::names_trigger_macros(&text);
        Ok(Self { index, input, spec_dir, check, reads_files, triggers, release })
    }

    /// Copies the spec and what its macros can see below `scratch`; returns the files that are too large to be
    /// copied, as (where they belong below `scratch`) → (where they are).
    pub(crate) fn stage(&self, scratch: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
        let name = &self.input.name;
        let mut inputs = BTreeMap::new();
        for (place, directory) in [("SPECS", &self.spec_dir), ("SOURCES", &self.input.source_dir)] {
            let target = scratch.join(place).join(name);
            fs::create_dir_all(&target)?;
            for file in visible::copy(visible::files(directory, self.reads_files)?, &target)? {
                inputs.insert(format!("{place}/{name}/{}", file.name.display()), file.path);
            }
        }
        fs::copy(&self.input.path, scratch.join("SPECS").join(name).join(format!("{name}.spec")))?;
        Ok(inputs)
    }
}

/// Returns a failure of a spec about which rpm has said nothing.
pub(crate) fn failure(input: &SpecInput, kind: FailureKind) -> SpecFailure {
    let kind = match kind {
        // The one failure that does not come with rpm's own word of the place.
        kind @ FailureKind::Trigger(_) => {
            kind.located(&String::from_utf8_lossy(&fs::read(&input.path).unwrap_or_default()))
        }
        kind => kind,
    };
    SpecFailure { name: input.name.clone(), spec_path: input.path.clone(), kind, diagnostics: Vec::new() }
}

/// Returns whether a text may be a package's name.
pub(crate) fn is_package_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "+-._".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && name.chars().all(legal)
}

/// Reads a file that has no business to be larger than a limit.
fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, FailureKind> {
    let unreadable = |error: io::Error| FailureKind::Unreadable { message: error.to_string() };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(FailureKind::Unreadable { message: "it is not a file".to_owned() });
    }
    if metadata.len() > limit {
        return Err(FailureKind::TooLarge { limit });
    }
    fs::read(path).map_err(unreadable)
}
