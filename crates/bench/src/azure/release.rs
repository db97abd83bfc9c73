//! `macros.releaseversions`, as Azure's versions processor generates it.
//!
//! Two or three definitions for each spec: `%azl_<file name>_version`, `_release` (without the distribution
//! tag) and, where the spec states one, `_epoch`. In the file name `-` becomes `_`; `.` and `+` stay, although
//! no macro name may hold them, so rpm reads nonsense there (`%azl_golang_1` with the body `.23_version ...`).
//! That is reproduced, not mended. Where two specs have one file name the last one counts; the original writes
//! them in the order in which its threads end, ours in the order of paths.

use std::fs;
use std::path::Path;

use rpm_model::SpecData;
use specreader::SpecInput;

use super::DIST_TAG;
use crate::error::BenchError;

/// Returns the text of the file for specs and what was read of them.
pub(crate) fn text<'a>(
    specs: impl IntoIterator<Item = (&'a SpecInput, &'a SpecData)>,
) -> Result<String, BenchError> {
    let mut text = String::new();
    for (input, data) in specs {
        text.push_str(&definitions(&input.name, data, states_zero_epoch(&input.path)?));
    }
    Ok(text)
}

fn definitions(name: &str, data: &SpecData, zero_epoch: bool) -> String {
    let name = name.replace('-', "_");
    let evr = &data.source.evr;
    let release = evr.release.as_deref().unwrap_or_default().replacen(DIST_TAG, "", 1);
    let epoch = match evr.epoch {
        0 if !zero_epoch => String::new(),
        epoch => format!("%azl_{name}_epoch {epoch}\n"),
    };
    format!("{epoch}%azl_{name}_version {}\n%azl_{name}_release {release}\n", evr.version)
}

/// Package data knows no difference between no epoch and one of zero, but `%{evr}` does.
fn states_zero_epoch(spec: &Path) -> Result<bool, BenchError> {
    let text = fs::read(spec).map_err(BenchError::io("read", spec))?;
    let text = String::from_utf8_lossy(&text);
    let value = text.lines().find_map(|line| line.strip_prefix("Epoch:"));
    Ok(value.is_some_and(|value| value.trim() == "0"))
}

#[cfg(test)]
mod tests {
    use rpm_model::{Evr, Nevra};

    use super::*;

    fn data(epoch: u32, release: &str) -> SpecData {
        serde_json::from_value(serde_json::json!({
            "name": "x", "spec_path": "x.spec",
            "source": Nevra::new("other-name", Evr::new(epoch, "1.2", Some(release)), "src").to_string(),
            "build_requires": [], "check_requires": [], "sources": [], "packages": [],
            "has_check": false,
        }))
        .unwrap()
    }

    #[test]
    fn definitions_are_those_of_the_versions_processor() {
        assert_eq!(
            definitions("mlnx-ofa_kernel", &data(0, "7.azl3.azl3"), false),
            "%azl_mlnx_ofa_kernel_version 1.2\n%azl_mlnx_ofa_kernel_release 7.azl3\n"
        );
        assert_eq!(
            definitions("golang-1.23", &data(4, "1"), false),
            "%azl_golang_1.23_epoch 4\n%azl_golang_1.23_version 1.2\n%azl_golang_1.23_release 1\n"
        );
        assert!(definitions("perl", &data(0, "1"), true).starts_with("%azl_perl_epoch 0\n"));
    }

    #[test]
    fn a_stated_epoch_of_zero_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.spec");
        for (text, expected) in [("Epoch:   0\n", true), ("Epoch: 1\n", false), ("Name: x\n", false)] {
            fs::write(&path, text).unwrap();
            assert_eq!(states_zero_epoch(&path).unwrap(), expected, "{text}");
        }
    }
}
