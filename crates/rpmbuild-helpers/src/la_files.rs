//! Stands for `brp-remove-la-files`: libtool's descriptions of libraries are removed.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::call::Call;
use crate::oddity::Oddity;
use crate::tree::below;

/// What such a description holds.
const MARK: &[u8] = b".la - a libtool library file";

/// Files to remove.
pub(crate) struct Plan {
    files: Vec<PathBuf>,
}

/// Plans what `brp-remove-la-files` does.
pub(crate) fn plan(call: &Call) -> Result<Plan, Oddity> {
    let mut files = Vec::new();
    for entry in below(call.build_root()?)? {
        let named = entry.path.as_os_str().as_encoded_bytes().ends_with(b".la");
        if entry.kind.is_file() && named {
            match fs::read(&entry.path) {
                Ok(bytes) if bytes.windows(MARK.len()).any(|part| part == MARK) => files.push(entry.path),
                Ok(_) => {}
                // The script's `grep` complains and goes on.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(Oddity::io("read", entry.path)(error)),
            }
        }
    }
    Ok(Plan { files })
}

impl Plan {
    pub(crate) fn carry_out(self) -> io::Result<u8> {
        for file in &self.files {
            fs::remove_file(file)?;
        }
        Ok(0)
    }
}
