//! Which files a spec needs, where they may be, and what they will be if nothing has to be fetched.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use file_index::FileIndex;
use rpm_model::{ContentDigest, SourceKind, SpecData};
use sources::{SignatureFile, SignatureMode, SpecSources, WantedFile};
use specreader::SpecInput;
use walkdir::WalkDir;

use crate::record::SrpmRecord;

/// Returns what the spec needs with or without `%check`, for `hydrate`.
///
/// Sources lie beside the spec or in `SOURCES/` beside it; the spec's source directory is preferred. What is in
/// neither may lie deeper, as the Azure toolkit has it: `pam.d/login` is the source `login`.
pub(crate) fn wanted(spec: &SpecInput, data: &SpecData, run_check: bool) -> SpecSources {
    let directory = spec.path.parent().map(PathBuf::from).unwrap_or_default();
    let mut directories = vec![spec.source_dir.clone()];
    for place in [directory.clone(), directory.join("SOURCES")] {
        if !directories.contains(&place) {
            directories.push(place);
        }
    }
    let used = data.sources.iter().filter(|source| source.used.applies(run_check));
    let files: Vec<WantedFile> = used
        .map(|source| WantedFile { kind: source.kind, file: source.file.clone(), url: source.url.clone() })
        .collect();
    directories.extend(deeper_places(&directory, &directories, &files));
    SpecSources {
        spec: spec.name.clone(),
        directories,
        signature_file: directory.join(format!("{}.signatures.json", spec.name)),
        files,
    }
}

/// Returns the directories below the spec's own that have files which `places` lack, sorted.
fn deeper_places(directory: &Path, places: &[PathBuf], files: &[WantedFile]) -> BTreeSet<PathBuf> {
    let lacking = |file: &str| !places.iter().any(|place| place.join(file).is_file());
    let files = files.iter().map(|wanted| wanted.file.as_str());
    let lacking: BTreeSet<&str> = files.filter(|file| lacking(file)).collect();
    if lacking.is_empty() {
        return BTreeSet::new();
    }
    // What cannot be listed has nothing to offer; that a file is found nowhere is told later.
    let entries = WalkDir::new(directory).min_depth(2).into_iter().filter_map(Result::ok);
    let found = entries.filter(|entry| {
        entry.file_type().is_file() && entry.file_name().to_str().is_some_and(|name| lacking.contains(name))
    });
    found.filter_map(|entry| entry.path().parent().map(Path::to_owned)).collect()
}

/// Returns the hashes that the files would have, as far as this host and the signature file can tell.
///
/// `None` means that only `hydrate` can tell: an entry is missing or differs from the tree (so that there is
/// something to fetch, to record or to complain about), or bytes come from a server without an entry.
pub(crate) fn predicted(
    wanted: &SpecSources,
    mode: SignatureMode,
    record: Option<&SrpmRecord>,
    files: &FileIndex,
) -> Option<BTreeMap<String, ContentDigest>> {
    let signatures = SignatureFile::read(&wanted.signature_file).ok()?;
    let listed = |file: &str| signatures.as_ref().and_then(|signatures| signatures.get(file)).cloned();
    let recorded = |file: &str| record.and_then(|record| record.inputs.sources.get(file)).cloned();
    let mut hashes = BTreeMap::new();
    for source in &wanted.files {
        let mut places = wanted.directories.iter().map(|directory| directory.join(&source.file));
        let in_tree = places.find_map(|path| files.of(&path).ok());
        let hash = match (mode, listed(&source.file), in_tree) {
            (SignatureMode::Skip, _, Some(in_tree)) => in_tree,
            (SignatureMode::Skip, _, None) => recorded(&source.file)?,
            (_, Some(listed), Some(in_tree)) if listed != in_tree => return None,
            (_, Some(listed), _) => listed,
            (_, None, Some(in_tree)) if source.kind == SourceKind::Patch => in_tree,
            (_, None, _) => return None,
        };
        hashes.insert(source.file.clone(), hash);
    }
    Some(hashes)
}
