//! Index files are written, read again, damaged and hidden from.

use proptest::prelude::*;
use rpm_model::{Comparison, Dependency};

use super::*;
use crate::testing::{Scratch, TinyPackage};

fn identity() -> ContentDigest {
    ContentDigest::of_bytes(b"metadata")
}

fn packages() -> Vec<IndexedPackage> {
    [
        TinyPackage::new("zlib", "1.2-1", "x86_64")
            .provides("libz.so.1()(64bit)")
            .file("/usr/lib64/libz.so.1"),
        TinyPackage::new("zlib", "1:1.3~rc1-1", "x86_64")
            .provides("libz.so.1()(64bit)")
            .obsoletes("minizip < 2"),
        TinyPackage::new("bash", "5-1", "x86_64")
            .provides("/bin/sh")
            .file("/usr/bin/bash")
            .conflicts("csh >= 1:2"),
        TinyPackage::new("tool", "1-1", "noarch").requires("(a if (b with c > 2))").requires("zlib >= 1.2"),
    ]
    .iter()
    .map(TinyPackage::indexed)
    .collect()
}

/// What an index keeps of a package.
fn kept(package: &IndexedPackage) -> IndexedPackage {
    let mut package = package.clone();
    package.header.files.clear();
    package.facts = crate::PackageFacts { build_time: package.facts.build_time, ..Default::default() };
    package.origin = PackageOrigin::Base;
    package
}

fn written(scratch: &Scratch, packages: &[IndexedPackage]) -> RepositoryIndex {
    let file = scratch.path().join("cache/base");
    RepositoryIndex::write(&file, &identity(), packages).unwrap();
    RepositoryIndex::open(&file, &identity(), PackageOrigin::Base).unwrap()
}

#[test]
fn gives_back_what_was_written() {
    let scratch = Scratch::new();
    let packages = packages();
    let index = written(&scratch, &packages);
    let mut expected: Vec<IndexedPackage> = packages.iter().map(kept).collect();
    expected.sort_by(|a, b| canonical(a).cmp(&canonical(b)));
    let found: Vec<IndexedPackage> =
        (0..index.len() as u32).map(|number| index.package(number).clone()).collect();
    assert_eq!(found, expected);
    assert_eq!(index.named("zlib").collect::<Vec<_>>(), [2, 3]);
    assert_eq!(index.named("zli").count(), 0);
    assert_eq!(index.named("/bin/sh").count(), 0, "provided, but no name");
    let providers = |name| index.providers(name).map(|(number, _)| number).collect::<Vec<_>>();
    assert_eq!(providers("libz.so.1()(64bit)"), [2, 3]);
    assert_eq!(providers("/bin/sh"), [0]);
    assert_eq!(providers("csh"), [0; 0], "conflicted with, not provided");
    assert_eq!(index.obsoleters("minizip").collect::<Vec<_>>(), [(3, 0)]);
    assert_eq!(index.owners("/usr/bin/bash"), [0]);
    assert_eq!(index.owners("/bin/sh"), [0; 0]);
    assert_eq!(index.arch(1), "noarch");
    let mut names: Vec<&str> = index.capability_names().collect();
    names.sort_unstable();
    assert_eq!(names, ["/bin/sh", "bash", "libz.so.1()(64bit)", "tool", "zlib"]);
}

/// Every operator, and none, and a boolean expression: none may be taken for another.
#[test]
fn every_kind_of_requirement_is_told_apart() {
    let scratch = Scratch::new();
    let mut package = packages().remove(0);
    let constraint = |comparison| Dependency::versioned("a", comparison, "1:2-3".parse().unwrap()).into();
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Unequal};
    package.header.requires =
        [Less, LessOrEqual, Equal, GreaterOrEqual, Greater, Unequal].map(constraint).into();
    package.header.requires.extend([Dependency::any("a").into(), "(a or b)".parse().unwrap()]);
    let index = written(&scratch, std::slice::from_ref(&package));
    assert_eq!(index.package(0).header.requires, package.header.requires);
}

#[test]
fn hidden_packages_count_as_not_there() {
    let scratch = Scratch::new();
    let mut index = written(&scratch, &packages());
    index.hide([0, 3]);
    assert_eq!((index.len(), index.numbers().collect::<Vec<_>>()), (2, vec![1, 2]));
    assert_eq!(index.names().into_iter().collect::<Vec<_>>(), ["tool", "zlib"]);
    assert_eq!(index.named("zlib").collect::<Vec<_>>(), [2]);
    assert_eq!(index.providers("libz.so.1()(64bit)").count(), 1);
    assert_eq!(index.obsoleters("minizip").count(), 0);
    assert_eq!(index.owners("/usr/bin/bash"), [0; 0]);
}

#[test]
fn what_matters_is_found_by_names_and_paths() {
    let scratch = Scratch::new();
    let index = written(&scratch, &packages());
    let found = index.relevant(["zlib", "/usr/bin/bash", "/bin/sh", "absent", "/absent"]);
    let paths = vec!["/usr/bin/bash".to_owned()];
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(0, paths), (2, vec![]), (3, vec![])]);
}

#[test]
fn nothing_is_a_repository_too() {
    let scratch = Scratch::new();
    let index = written(&scratch, &[]);
    assert!(index.is_empty());
    assert_eq!(index.named("a").count(), 0);
    assert_eq!(index.owners("/a"), [0; 0]);
}

#[test]
fn the_order_of_packages_changes_no_byte() {
    let scratch = Scratch::new();
    let mut packages = packages();
    let file = scratch.path().join("base");
    let bytes = |packages: &[IndexedPackage]| {
        RepositoryIndex::write(&file, &identity(), packages).unwrap();
        (std::fs::read(&file).unwrap(), std::fs::read(path_file(&file)).unwrap())
    };
    let first = bytes(&packages);
    packages.reverse();
    assert_eq!(bytes(&packages), first);
}

#[test]
fn what_is_not_whole_counts_as_absent() {
    let scratch = Scratch::new();
    written(&scratch, &packages());
    let file = scratch.path().join("cache/base");
    let open = |identity: &ContentDigest| RepositoryIndex::open(&file, identity, PackageOrigin::Base);
    assert!(open(&ContentDigest::of_bytes(b"newer metadata")).is_none());
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 7, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(open(&identity()).is_none(), "{length} bytes");
    }
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&file, &changed).unwrap();
    assert!(open(&identity()).is_none());
    std::fs::write(&file, &whole).unwrap();
    let paths = path_file(&file);
    let mut changed = std::fs::read(&paths).unwrap();
    changed[0] ^= 1;
    std::fs::write(&paths, &changed).unwrap();
    let index = open(&identity()).unwrap();
    assert_eq!(index.damaged(), None, "nobody has asked yet");
    assert_eq!(index.owners("/usr/bin/bash"), [0; 0]);
    assert_eq!(index.damaged(), Some(paths.as_path()));
    std::fs::write(&paths, b"short").unwrap();
    assert!(open(&identity()).is_none());
}

#[test]
fn metadata_is_read_when_repomd_is_another() {
    let scratch = Scratch::new();
    let (rpms, index_file) = (scratch.path().join("rpms"), scratch.path().join("index"));
    let publish = |packages: &[TinyPackage]| {
        for package in packages {
            scratch.write(&format!("rpms/{}", package.nevra.file_name()), &package.bytes());
        }
        let packages = crate::PackageDirectory::new(&rpms, PackageOrigin::Base).scan().unwrap().packages;
        crate::RepodataWriter::new(&rpms).publish(&packages).unwrap();
    };
    let open = || {
        let opened = open_repository(
            &crate::DirectoryFetch::new(&rpms),
            &OpenOptions::new(PackageOrigin::Base),
            &index_file,
        )
        .unwrap();
        (opened.index.len(), opened.metadata_read)
    };
    publish(&[TinyPackage::new("a", "1-1", "noarch")]);
    assert_eq!(open(), (1, true));
    assert_eq!(open(), (1, false));
    publish(&[TinyPackage::new("b", "1-1", "noarch")]);
    assert_eq!(open(), (2, true));
    assert_eq!(open(), (2, false));
}

proptest! {
    #[test]
    fn every_name_is_found_again(names in proptest::collection::btree_set("[a-z/()0-9]{1,6}", 0..60)) {
        let scratch = Scratch::new();
        let packages: Vec<IndexedPackage> =
            names.iter().map(|name| TinyPackage::new(name, "1-1", "noarch").file(&format!("/{name}")).indexed()).collect();
        let index = written(&scratch, &packages);
        for name in &names {
            let found: Vec<&str> = index.named(name).map(|number| index.package(number).header.nevra.name.as_str()).collect();
            prop_assert_eq!(&found, &[name.as_str()]);
            prop_assert_eq!(index.owners(&format!("/{name}")), index.named(name).collect::<Vec<_>>());
        }
        prop_assert_eq!(index.named("A").count(), 0);
    }
}
