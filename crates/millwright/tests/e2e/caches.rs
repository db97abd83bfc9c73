//! Compiler caches: shared by the specs of a group, with what they did for each build.

use std::fs;

use rpm_model::{CacheUse, CompilerCache, ContentDigest};

use crate::spec::Spec;
use crate::tree::{Tree, files_below};

/// A spec that compiles one file; the cache knows it by what it contains.
fn compiling(name: &str, answer: i32) -> Spec {
    Spec::data(name)
        .needs("gcc")
        .build(&format!("echo 'int answer(void) {{ return {answer}; }}' > a.c\ngcc -O2 -c a.c\n"))
}

fn of(tree: &Tree, spec: &str, cache: CompilerCache) -> CacheUse {
    let record = tree.records()[spec].clone();
    record.caches.into_iter().find(|found| found.cache == cache).unwrap()
}

#[test]
fn ccache_is_shared_by_the_specs_of_a_group() {
    let Some(tree) = Tree::new("ccache") else { return };
    let groups = r#"{"groups": [{"name": "pair", "enabled": true, "packageNames": ["one", "two"]},
        {"name": "off", "enabled": false, "packageNames": ["off"]}]}"#;
    tree.file("groups.json", groups);
    for name in ["one", "two", "own", "off"] {
        tree.spec(&compiling(name, 7));
    }
    let build = |more: &[&str]| {
        let arguments =
            [more, &["--use-ccache", "--ccache-config=groups.json", "-j", "1", "--verbose"]].concat();
        tree.millwright(&arguments)
    };
    build(&["build", "one"]).exits(0).says(&["ccache: 0 hits, 1 misses, 0 errors; it holds 0.0 MiB"]);
    let first = of(&tree, "one", CompilerCache::Ccache);
    assert_eq!((first.hits, first.misses, first.errors), (0, 1, 0));
    assert!(first.size_bytes > 0);
    build(&["build"]).exits(0);
    let (two, own) = (of(&tree, "two", CompilerCache::Ccache), of(&tree, "own", CompilerCache::Ccache));
    assert_eq!((two.hits, two.misses), (1, 0));
    assert_eq!((own.hits, own.misses), (0, 1));
    assert!(tree.records()["off"].caches.is_empty());
    assert!(!files_below(&tree.path("ccache/work/x86_64/pair")).is_empty());
    assert!(!tree.path("ccache/work/x86_64/one").exists() && !tree.path("ccache/work/x86_64/off").exists());
    // The statistics are this build's, not the cache's.
    build(&["rebuild", "one"]).exits(0);
    assert_eq!(
        (of(&tree, "one", CompilerCache::Ccache).hits, of(&tree, "one", CompilerCache::Ccache).misses),
        (1, 0)
    );
    tree.file("groups.json", "no");
    build(&["build"]).exits(2).says(&["is no configuration of cache groups"]);
}

/// sccache itself, of Debian's package `sccache`.
const SCCACHE: &str = "/usr/bin/sccache";

#[test]
fn sccache_lives_in_the_sandbox_of_what_needs_rust() {
    let test = "sccache_lives_in_the_sandbox_of_what_needs_rust";
    let Ok(program) = fs::read(SCCACHE) else {
        assert!(std::env::var_os("CI").is_none(), "{test} would be skipped: no `{SCCACHE}`");
        eprintln!("SKIPPED {test}: sccache is not installed");
        return;
    };
    let Some(tree) = Tree::new("sccache") else { return };
    // A package of it, as the tree of a distribution has one.
    tree.spec(
        &Spec::data("sccache")
            .for_one_architecture()
            .tag("Source0: sccache")
            .tag("%global debug_package %{nil}")
            .install("install -D -m 755 %{SOURCE0} %{buildroot}/usr/bin/sccache")
            .file("/usr/bin/sccache"),
    );
    let hash = ContentDigest::of_bytes(&program);
    tree.file(
        "SPECS/sccache/sccache.signatures.json",
        &format!("{{\"Signatures\": {{\"sccache\": \"{hash}\"}}}}"),
    );
    fs::write(tree.path("SPECS/sccache/sccache"), program).unwrap();
    tree.spec(&Spec::data("cargo"));
    tree.spec(&Spec::data("plain").build("test -z \"$RUSTC_WRAPPER\""));
    // What sccache does is the same for each of its compilers, and Rust's is ten times as large as all of this. The
    // graph knows of caches no more than of what else is outside a spec; the tree's own has to be needed.
    let compile = |more: &str| {
        let source =
            "echo 'int answer(void) { return 7; }' > a.c\necho 'int other(void) { return 8; }' > b.c\n";
        let build =
            format!("{source}for f in a b{more}; do $RUSTC_WRAPPER gcc -O2 -c $f.c -o $f.o; done\nnm a.o");
        Spec::data("rusty").needs("cargo").needs("sccache").needs("gcc").build(&build)
    };
    tree.spec(&compile(""));
    tree.millwright(&["build", "--use-sccache"]).exits(0).says(&["4 built"]);
    let first = of(&tree, "rusty", CompilerCache::Sccache);
    assert_eq!((first.hits, first.misses, first.errors), (0, 2, 0));
    assert!(!files_below(&tree.path("sccache/work/x86_64/rusty")).is_empty());
    assert!(tree.records()["plain"].caches.is_empty());
    // The statistics are this build's, not the cache's.
    tree.spec(&compile(" a b"));
    let ended = tree.millwright(&["build", "--use-sccache", "--verbose"]);
    ended.exits(0).says(&["sccache: 4 hits, 0 misses, 0 errors"]);
    let again = of(&tree, "rusty", CompilerCache::Sccache);
    assert_eq!((again.hits, again.misses, again.errors), (4, 0, 0));
    assert!(again.size_bytes > 0);
}
