//! The same tree gives the same bytes, wherever and however it is built.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use rpm_model::ContentDigest;

use crate::spec::Spec;
use crate::tree::{OFFLINE, Tree, files_below};

/// Eight binary packages of four specs: libraries, programs, debug information, data, a local source.
fn write_specs(tree: &Tree) {
    tree.spec(&Spec::library("greet", "1", 7));
    tree.spec(&Spec::program("hello", "greet"));
    // Everything that tends to differ: the clock, the directory, the host, random names, the order of files.
    tree.spec(
        &Spec::program("noisy", "greet")
            .install(
                "mkdir -p %{buildroot}/usr/share/noisy\n\
         for i in $(seq 40); do echo $i > %{buildroot}/usr/share/noisy/$RANDOM.$i; done\n\
         for f in %{buildroot}/usr/share/noisy/*; do mv $f ${f%%/*}/${f##*.}; done\n\
         pwd > %{buildroot}/usr/share/noisy/where\nhostname > %{buildroot}/usr/share/noisy/host || :\n\
         touch %{buildroot}/usr/share/noisy/now\nid > %{buildroot}/usr/share/noisy/who",
            )
            .file("/usr/share/noisy"),
    );
    tree.spec(
        &Spec::data("data")
            .tag("Source0: data-1.0.txt")
            .install("cp %{SOURCE0} %{buildroot}/usr/share/data/"),
    );
    tree.file("SPECS/data/data-1.0.txt", "some data\n");
    let hash = ContentDigest::of_bytes(b"some data\n");
    tree.file(
        "SPECS/data/data.signatures.json",
        &format!("{{\"Signatures\": {{\"data-1.0.txt\": \"{hash}\"}}}}"),
    );
}

/// Returns the files below a directory with their content.
fn contents(tree: &Tree, directory: &str) -> BTreeMap<String, ContentDigest> {
    let place = tree.path(directory);
    files_below(&place)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&place).unwrap().to_string_lossy().into_owned();
            (name, ContentDigest::of_bytes(&fs::read(path).unwrap()))
        })
        .collect()
}

#[test]
fn two_directories_give_identical_packages() {
    let Some(first) = Tree::new("reproducible") else { return };
    let Some(second) = Tree::new("reproducible-in-another-place") else { return };
    for tree in [&first, &second] {
        write_specs(tree);
    }
    // Another order of builds, other parallelism, other file times.
    let later = SystemTime::now() + Duration::from_secs(86_400);
    for path in files_below(&second.path("SPECS")) {
        fs::File::options().append(true).open(path).unwrap().set_modified(later).unwrap();
    }
    second.configure(&format!("{OFFLINE}[build]\nworkers = 2\nmax-cpu = 3\nclean = \"never\"\n"));
    first.millwright(&["build", "-j", "1"]).exits(0).says(&["4 built"]);
    second.start_millwright(&["build"]).wait().exits(0).says(&["4 built"]);

    let published = first.published();
    assert_eq!(published.len(), 8, "{published:#?}");
    assert_eq!(second.published(), published);
    let sources = contents(&first, "out/SRPMS");
    assert_eq!(sources.len(), 4);
    assert_eq!(contents(&second, "out/SRPMS"), sources);
    assert_eq!(contents(&second, "out/RPMS/repodata"), contents(&first, "out/RPMS/repodata"));
    let identities = |tree: &Tree| -> Vec<ContentDigest> {
        tree.records().into_values().map(|record| record.identity).collect()
    };
    assert_eq!(identities(&second), identities(&first), "equal inputs are known to be equal");
}
