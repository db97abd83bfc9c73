//! Writing files and directories so that others see the old or the new one, never a half.

use crate::error::BootstrapError;
use serde::Serialize;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes a file of mode 0644 by way of a temporary one beside it, flushed to disk.
pub(crate) fn write_atomically(path: &Path, text: &str) -> Result<(), BootstrapError> {
    let write = || -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
        file.as_file().sync_data()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(BootstrapError::file("write", path))
}

/// Returns indented JSON with a final newline.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    let mut text =
        serde_json::to_string_pretty(value).expect("plain structs with string keys always serialise");
    text.push('\n');
    text
}

/// Makes the directory `staged` the one at `place`. What was there is then at `staged`, for the caller's
/// temporary directory to remove.
pub(crate) fn exchange_directory(staged: &Path, place: &Path) -> Result<(), BootstrapError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let fail = BootstrapError::file("publish", place);
    if !place.exists() {
        return std::fs::rename(staged, place).map_err(fail);
    }
    renameat_with(CWD, staged, CWD, place, RenameFlags::EXCHANGE).map_err(|error| fail(error.into()))
}
