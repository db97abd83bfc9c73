//! A record's triggers and libraries in the two forms that mkpkg leaves beside its recipes, for whoever reads those.
//!
//! What it is not: nothing here is read again; the build record is what decides.

use std::collections::BTreeMap;
use std::fmt::Write;

use rpm_model::{BuildRecord, Evr};

use crate::soname::Soname;

/// Returns `.mkp_dep_vers`: one line `name version` for each name that the spec watches; the version with epoch and
/// release. A name that nothing had, or whose program gave none, is left out.
pub fn dep_vers(record: &BuildRecord) -> String {
    let packages =
        record.triggers.packages.iter().filter_map(|(name, seen)| Some((name, seen.as_ref()?.version())));
    let answers =
        record.triggers.programs.iter().filter_map(|(name, seen)| Some((name, &seen.as_ref()?.version)));
    let versions: BTreeMap<&String, &Evr> = packages.chain(answers).collect();
    versions.into_iter().map(|(name, version)| format!("{name} {version}\n")).collect()
}

/// Returns `.mkp_dep_soname`: TOML with a table for each shared library that what was built is linked to. Fields
/// are mkpkg's as far as headers know them: `soname`, `vers` (the version in the soname), `class_vers` (the version
/// of symbols that is needed), `path_vers` (the version of the package that provides it); and `package`, that package.
pub fn dep_soname(record: &BuildRecord) -> String {
    let mut text = String::new();
    for (name, provider) in &record.triggers.sonames {
        let Some(library) = Soname::parse(name) else { continue };
        let version = Evr { release: None, ..provider.nevra.evr.clone() };
        let _ = writeln!(text, "[{}]", quoted(name));
        for (key, value) in [
            ("soname", library.soname),
            ("vers", library.version()),
            ("class_vers", library.symbols.unwrap_or_default()),
            ("path_vers", &version.to_string()),
            ("package", &provider.nevra.to_string()),
        ] {
            let _ = writeln!(text, "{key} = {}", quoted(value));
        }
        text.push('\n');
    }
    text
}

/// Returns a text as a basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
