//! What `grapher` reads: packages.json or specs.json, told apart by content, and what was built of specs.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use grapher::{RecordedOutput, RecordedSpec};
use report::{Event, ExitStatus, Failure, Reporter};
use repository::IndexedPackage;
use rpm_model::{AzureSpecs, PackagesDocument};
use serde::de::DeserializeOwned;

/// Reads the tree's specs; of a specs.json tells what it cannot say.
pub(crate) fn packages_document(path: &Path, reporter: &dyn Reporter) -> Result<PackagesDocument, Failure> {
    const HINT: &str = "give the packages.json that specreader writes, or a specs.json";
    let bytes = bytes(path)?;
    if first_key(&bytes).is_some_and(|key| key == b"Repo" || key == b"Bad") {
        let specs: AzureSpecs = parse(path, &bytes).map_err(|failure| failure.hint(HINT))?;
        let read = specs.to_packages().map_err(|error| {
            Failure::new(ExitStatus::Usage, format!("{}: {error}", path.display())).hint(HINT)
        })?;
        for message in read.notes() {
            reporter.event(&Event::Note { message: format!("{}: {message}", path.display()) });
        }
        return Ok(read.document);
    }
    let document: PackagesDocument = parse(path, &bytes).map_err(|failure| failure.hint(HINT))?;
    if document.schema != PackagesDocument::SCHEMA {
        let text = format!(
            "{} has schema {}, expected {}",
            path.display(),
            document.schema,
            PackagesDocument::SCHEMA
        );
        return Err(Failure::new(ExitStatus::Usage, text).hint("write it again with specreader"));
    }
    Ok(document)
}

pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    parse(path, &bytes(path)?)
}

/// Returns what was built of the specs, by the names of the source packages that the RPMs carry. Of several
/// builds the highest version counts; packages of other specs are passed over.
pub(crate) fn recorded_specs<'a>(
    document: &'a PackagesDocument,
    built: &'a [IndexedPackage],
) -> Vec<RecordedSpec<'a>> {
    let specs: HashMap<&str, &str> =
        document.specs.iter().map(|spec| (spec.source.name.as_str(), spec.name.as_str())).collect();
    let mut best: BTreeMap<(&str, &str), &IndexedPackage> = BTreeMap::new();
    for package in built {
        // `name-version-release.src.rpm`; the name may hold dashes, version and release do not.
        let source = package.header.source_rpm.as_deref().and_then(|file| {
            let (rest, _) = file.rsplit_once('-')?;
            rest.rsplit_once('-').map(|(name, _)| name)
        });
        let Some(spec) = source.and_then(|name| specs.get(name)) else { continue };
        let entry = best.entry((spec, &package.header.nevra.name)).or_insert(package);
        if (&package.header.nevra.evr, &package.header.nevra) > (&entry.header.nevra.evr, &entry.header.nevra)
        {
            *entry = package;
        }
    }
    let mut recorded: BTreeMap<&str, Vec<RecordedOutput<'a>>> = BTreeMap::new();
    for ((spec, _), package) in best {
        let header = &package.header;
        recorded.entry(spec).or_default().push(RecordedOutput {
            nevra: &header.nevra,
            provides: &header.provides,
            requires: &header.requires,
            files: &header.files,
        });
    }
    recorded.into_iter().map(|(spec, packages)| RecordedSpec { spec, packages }).collect()
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| Failure::new(ExitStatus::Usage, format!("cannot read {}: {error}", path.display())))
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::new(ExitStatus::Usage, format!("{}: {error}", path.display())))
}

/// Returns the first key of a JSON object, which tells the two documents apart.
fn first_key(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    Some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_tells_documents_apart() {
        for (text, key) in [
            ("{\"Repo\":[]}", Some("Repo")),
            (" {\n \"schema\" : 2}", Some("schema")),
            ("[]", None),
            ("{}", None),
            ("{\"", None),
            ("", None),
        ] {
            assert_eq!(first_key(text.as_bytes()), key.map(str::as_bytes), "{text}");
        }
    }
}
