//! All signature files of the tree against the files that lie beside them, and what people are told when nothing
//! but the tree is asked for sources.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use sources::{SignatureFile, hash_file};

use crate::Place;
use crate::azure::{ARCH, AzureTree, DIST_TAG};
use crate::error::BenchError;
use crate::noop::macro_file;
use crate::specs::Prepared;

/// What is in the signature files of a tree.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    files: usize,
    entries: usize,
    right: usize,
    wrong: Vec<String>,
    absent: usize,
    without_spec: Vec<String>,
    unusable: Vec<String>,
}

/// Checks every entry, and runs `srpmpacker` over all specs with nothing but the tree; returns lines for people.
pub(super) fn check(
    place: &Place,
    prepared: &Prepared,
    azure_tree: Option<&Path>,
) -> Result<String, BenchError> {
    let tree = AzureTree::open(azure_tree)?;
    let counts = count(&tree)?;
    let mut text = format!(
        "signatures: {} files, {} entries: {} present with the right hash, {} wrong, {} absent; without a spec: {}\n",
        counts.files,
        counts.entries,
        counts.right,
        counts.wrong.len(),
        counts.absent,
        counts.without_spec.join(", "),
    );
    for line in counts.wrong.iter().chain(&counts.unusable) {
        text.push_str(&format!("  {line}\n"));
    }
    text.push_str(&enforce(place, prepared)?);
    Ok(text)
}

fn count(tree: &AzureTree) -> Result<Counts, BenchError> {
    let specs: BTreeSet<_> = tree.specs()?.into_iter().map(|spec| spec.path).collect();
    let mut counts = Counts::default();
    for directory in ["SPECS", "SPECS-EXTENDED", "SPECS-SIGNED"] {
        for path in crate::tree::files_below(&tree.file(directory))? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let Some(name) = name.strip_suffix(".signatures.json") else { continue };
            counts.files += 1;
            if !specs.contains(&path.with_file_name(format!("{name}.spec"))) {
                counts.without_spec.push(name.to_owned());
            }
            match SignatureFile::read(&path) {
                Ok(file) => file.iter().for_each(|file| counts.add(file, &path)),
                Err(error) => counts.unusable.push(error.to_string()),
            }
        }
    }
    Ok(counts)
}

impl Counts {
    fn add(&mut self, file: &SignatureFile, path: &Path) {
        let directory = path.parent().unwrap_or(Path::new("."));
        // As the packer looks for them: beside the spec, else deeper.
        let deeper = crate::tree::files_below(directory).unwrap_or_default();
        for (name, digest) in file.entries() {
            self.entries += 1;
            let beside = directory.join(name);
            let place = if beside.is_file() {
                Some(&beside)
            } else {
                deeper.iter().find(|path| path.file_name().is_some_and(|file| file == name))
            };
            match place.map_or(Err(std::io::ErrorKind::NotFound.into()), |path| hash_file(path)) {
                Ok(found) if found == *digest => self.right += 1,
                Ok(_) => self.wrong.push(path.with_file_name(name).display().to_string()),
                Err(_) => self.absent += 1,
            }
        }
    }
}

/// Packs all specs from the tree alone; the whole account stays in the log.
fn enforce(place: &Place, prepared: &Prepared) -> Result<String, BenchError> {
    let log = place.figures.with_file_name("pack-enforce.log");
    let output = File::create(&log).map_err(BenchError::io("create", &log))?;
    let mut command = Command::new(place.programs.join("srpmpacker"));
    command.arg(format!("--dir={}", prepared.tree.root().display()));
    command.arg(format!("--output-dir={}", place.scratch.join("enforced").display()));
    command.arg(format!("--build-dir={}", place.scratch.join("enforced-build").display()));
    command.arg(format!("--worker-tar={}", prepared.worker.path.display()));
    command.arg(format!("--layers={}", prepared.worker.layers.display()));
    command.arg(format!("--versions-macro-file={}", macro_file(place, prepared)?.display()));
    command.args([format!("--dist-tag={DIST_TAG}"), format!("--arch={ARCH}")]);
    command.args(["--offline", "--signature-handling=enforce", "--quiet"]);
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .status()
        .map_err(|source| BenchError::Start { program: "srpmpacker".to_owned(), source })?;
    let text = fs::read_to_string(&log).map_err(BenchError::io("read", &log))?;
    let numbers = text.lines().rev().find(|line| line.contains("specs failed")).unwrap_or_default();
    Ok(format!(
        "enforce --offline over {} specs: {status}, {} lines in {}, the last number: {}\n",
        prepared.specs.len(),
        text.lines().count(),
        log.display(),
        numbers.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rpm_model::ContentDigest;

    #[test]
    fn entries_are_right_wrong_or_absent() {
        let directory = tempfile::tempdir().unwrap();
        let tree =
            crate::azure::testing::tree(directory.path(), &[("SPECS/a", "1"), ("SPECS-EXTENDED/b", "2")]);
        fs::write(tree.file("SPECS/a/x"), "x").unwrap();
        fs::write(tree.file("SPECS/a/y"), "y").unwrap();
        let (x, z) = (ContentDigest::of_bytes(b"x"), ContentDigest::of_bytes(b"z"));
        let text = format!("{{\"signatures\": {{\"x\": \"{x}\", \"y\": \"{z}\", \"z\": \"{z}\"}}}}");
        fs::write(tree.file("SPECS/a/a.signatures.json"), text).unwrap();
        fs::write(tree.file("SPECS/a/c.signatures.json"), "{}").unwrap();
        let counts = count(&tree).unwrap();
        assert_eq!((counts.files, counts.entries, counts.right, counts.absent), (2, 3, 1, 1));
        assert_eq!(counts.wrong, [tree.file("SPECS/a/y").display().to_string()]);
        assert_eq!(counts.without_spec, ["c"]);
        assert_eq!(counts.unusable.len(), 1);
    }
}
