//! Compiler caches: shared by the specs of a group, with what they did for each build.

use rpm_model::{CacheUse, CompilerCache};

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

/// A program that answers as sccache does, as far as a build can tell: its server is a file, it stores what it
/// is asked to compile, and its statistics have the original's form. It stands for the wiring alone.
const STAND_IN: &str = r#"cat > sccache <<'END'
#!/bin/sh
state=/tmp/stand-in
count() { echo $(($(cat $state/$1) + 1)) > $state/$1; }
case $1 in
--start-server) mkdir $state; echo 0 > $state/hits; echo 0 > $state/misses ;;
--stop-server) rm -r $state; touch $SCCACHE_DIR/stopped ;;
--show-stats)
    test "$2" = --stats-format=json || exit 1
    echo "{\"stats\": {\"cache_hits\": {\"counts\": {\"Rust\": $(cat $state/hits)}},"
    echo "\"cache_misses\": {\"counts\": {\"Rust\": $(cat $state/misses)}}, \"cache_errors\": {\"counts\": {}}},"
    echo "\"cache_size\": 4096}" ;;
*) test -d $state || exit 9
    if test -e $SCCACHE_DIR/object; then count hits; else count misses; touch $SCCACHE_DIR/object; fi
    exec "$@" ;;
esac
END"#;

#[test]
fn sccache_lives_in_the_sandbox_of_what_needs_rust() {
    let Some(tree) = Tree::new("sccache") else { return };
    tree.spec(
        &Spec::data("sccache")
            .build(STAND_IN)
            .install("install -D -m 755 sccache %{buildroot}/usr/bin/sccache")
            .file("/usr/bin/sccache"),
    );
    tree.spec(&Spec::data("cargo"));
    tree.spec(&Spec::data("plain").build("test -z \"$RUSTC_WRAPPER\""));
    // The graph knows of caches no more than of what else is outside a spec; the tree's own has to be needed.
    let rusty = Spec::data("rusty").needs("cargo").needs("sccache").build("$RUSTC_WRAPPER echo compiled");
    tree.spec(&rusty);
    tree.millwright(&["build", "--use-sccache"]).exits(0).says(&["4 built"]);
    let first = of(&tree, "rusty", CompilerCache::Sccache);
    assert_eq!((first.hits, first.misses, first.errors, first.size_bytes), (0, 1, 0, 4096));
    assert!(tree.path("sccache/work/x86_64/rusty/stopped").is_file());
    assert!(tree.records()["plain"].caches.is_empty());
    tree.millwright(&["rebuild", "rusty", "--use-sccache"]).exits(0);
    let again = of(&tree, "rusty", CompilerCache::Sccache);
    assert_eq!((again.hits, again.misses), (1, 0));
}
