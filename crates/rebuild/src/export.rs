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
/// are mkpkg's: `soname`, `vers` (the version in the soname), `class_vers` (the version of symbols that is needed),
/// `path` (where the loader finds it; left out where nobody knows), `path_vers` (the version in the name of the file
/// itself, `1.3.1` of `libz.so.1.3.1`; where it has none, that of the package); and `package`, which provides it.
pub fn dep_soname(record: &BuildRecord) -> String {
    let mut text = String::new();
    for (name, provider) in &record.triggers.sonames {
        let Some(library) = Soname::parse(name) else { continue };
        let facts = record.cascade.as_ref().and_then(|facts| facts.linkage.as_ref());
        let place = facts.and_then(|facts| facts.paths.get(&library.without_symbols()));
        let of_package = || Evr { release: None, ..provider.nevra.evr.clone() }.to_string();
        let of_file =
            place.and_then(|place| file_version(&place.file)).filter(|version| *version != library.version());
        let version = of_file.map_or_else(of_package, str::to_owned);
        let _ = writeln!(text, "[{}]", quoted(name));
        for (key, value) in [
            ("soname", library.soname),
            ("vers", library.version()),
            ("class_vers", library.symbols.unwrap_or_default()),
            ("path", place.map(|place| place.path.as_str()).unwrap_or_default()),
            ("path_vers", &version),
            ("package", &provider.nevra.to_string()),
        ] {
            if key == "path" && value.is_empty() {
                continue;
            }
            let _ = writeln!(text, "{key} = {}", quoted(value));
        }
        text.push('\n');
    }
    text
}

/// Returns the version in the name of a library's file: `1.3.1` of `/usr/lib64/libz.so.1.3.1`.
fn file_version(path: &str) -> Option<&str> {
    let (_, name) = path.rsplit_once('/')?;
    name.split_once(".so.").map(|(_, version)| version).filter(|version| !version.is_empty())
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
