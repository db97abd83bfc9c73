//! Libraries by their files: those that packages keep for themselves, those that are nowhere, and their symbols.

use rpm_model::LinkageFacts;

use crate::spec::Spec;
use crate::tree::Tree;

const LIBRARY: &str = "libgreet.so.1()(64bit)";

/// A program with a library of the soname `libgreet.so.1` in a directory of its own, which only the program searches.
fn bundle() -> Spec {
    Spec::data("bundle")
        .for_one_architecture()
        .needs("gcc")
        .build("echo 'int greet(void) { return 1; }' > greet.c")
        .build("gcc -shared -fPIC -Wl,-soname,libgreet.so.1 -o libgreet.so.1 greet.c")
        .build("echo 'int greet(void); int main(void) { return greet(); }' > bundle.c")
        .build("gcc -o bundle bundle.c -Wl,-rpath,'$ORIGIN/../%{_lib}/bundle' libgreet.so.1")
        .install("install -D -m 755 libgreet.so.1 %{buildroot}%{_libdir}/bundle/libgreet.so.1")
        .install("install -D -m 755 bundle %{buildroot}%{_bindir}/bundle")
        .file("%{_libdir}/bundle")
        .file("%{_bindir}/bundle")
}

fn linkage(tree: &Tree, spec: &str) -> LinkageFacts {
    tree.records()[spec].cascade.as_ref().unwrap().linkage.clone().unwrap()
}

/// A library that somebody keeps for himself is none for others, whatever rpm says that he provides.
#[test]
fn a_private_library_is_neither_judged_nor_a_substitute() {
    let Some(tree) = Tree::new("libraries-private") else { return };
    tree.spec(&Spec::library("greet", "1", 7));
    tree.spec(&Spec::program("hello", "greet"));
    tree.spec(&bundle());
    tree.millwright(&["build"]).exits(0).says(&["3 built"]).never_says(&["which no package provides"]);
    let of_bundle = linkage(&tree, "bundle");
    let private = &of_bundle.private["bundle"]["/usr/lib/bundle"];
    assert_eq!(*private, [LIBRARY]);
    let found = &of_bundle.found["bundle"][LIBRARY];
    assert_eq!((found.path.as_str(), found.package.as_str()), ("/usr/lib/bundle/libgreet.so.1", "bundle"));
    assert!(linkage(&tree, "hello").found.is_empty());
    let provides = &tree.records()["bundle"].rpms[0].provides;
    assert!(provides.iter().any(|provide| provide.name == LIBRARY), "rpm says so: {provides:?}");
    assert_eq!(tree.records()["hello"].triggers.sonames[LIBRARY].nevra.name, "greet");

    tree.spec(&Spec::library("greet", "2", 7).version("2.0"));
    // What acceptance would say, the plan of another run says too.
    tree.millwright(&["build", "greet"]).exits(0);
    let why =
        tree.millwright(&["why", "hello"]).exits(0).stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = "will be built: hello requires `libgreet.so.1()(64bit)`, which nothing provides any more since `greet` \
                 was built (greet-1.0-1.mw1.x86_64 provided it, greet-2.0-1.mw1.x86_64 provides \
                 `libgreet.so.2()(64bit)`)";
    assert!(why.contains(words), "{why}");
    tree.millwright(&["build"]).exits(0).says(&["start  hello"]).never_says(&["start  bundle"]);
    tree.millwright(&["build"]).exits(0).says(&["nothing to do"]);
}

#[test]
fn a_library_that_is_nowhere_is_told() {
    let Some(tree) = Tree::new("libraries-nowhere") else { return };
    let left_out = bundle().install("rm %{buildroot}%{_libdir}/bundle/libgreet.so.1");
    tree.spec(&left_out);
    tree.millwright(&["build"]).exits(0).says(&[
        "`/usr/bin/bundle` in bundle needs `libgreet.so.1()(64bit)`, which no package provides and which is in no",
    ]);
    assert_eq!(linkage(&tree, "bundle").missing["bundle"][LIBRARY], "/usr/bin/bundle");
}

/// Symbols of a library that go while its soname stays: nothing in rpm's names says so.
#[test]
fn sodiff_says_which_symbols_are_gone_and_who_misses_them() {
    let Some(tree) = Tree::new("libraries-sodiff") else { return };
    // Besides the function of its name: an object, and a function that nobody uses.
    let library = |more: &str| {
        Spec::library("greet", "1", 7).build(&format!(
            "echo '{more}' >> greet.c; gcc -shared -fPIC -Wl,-soname,libgreet.so.1 -o libgreet.so.1 greet.c"
        ))
    };
    tree.spec(&library("int table[2] = {1}; int unused(void) { return 1; }"));
    tree.spec(&Spec::program("hello", "greet"));
    tree.spec(&Spec::data("other"));
    tree.millwright(&["build"]).exits(0).says(&["3 built"]);
    let published = |version: &str| format!("out/RPMS/x86_64/greet-{version}-1.mw1.x86_64.rpm");
    let keep = |version: &str| {
        let directory = format!("kept-{version}");
        std::fs::create_dir(tree.path(&directory)).unwrap();
        std::fs::copy(tree.path(&published(version)), tree.path(&directory).join("greet.rpm")).unwrap();
        directory
    };
    let first = keep("1.0");
    tree.millwright(&["sodiff", &first, &first]).exits(0).says(&["no shared library", "0 affected"]);

    tree.spec(&library("int table[4] = {1}; int fresh(void) { return 1; }").version("1.1"));
    tree.millwright(&["build", "greet"]).exits(0);
    let second = keep("1.1");
    tree.millwright(&["sodiff", &first, &second]).exits(0).says(&[
        "libgreet.so.1()(64bit): symbols: 1 removed, 1 changed, 1 added",
        "  - unused",
        "  ~ table: object of 8 bytes -> object of 16 bytes",
        "  + fresh",
        "0 affected",
    ]);

    let without = Spec::library("greet", "1", 7).version("1.2").build(
        "echo 'int other(void) { return 1; }' > o.c; gcc -shared -fPIC -Wl,-soname,libgreet.so.1 -o libgreet.so.1 o.c",
    );
    tree.spec(&without);
    tree.millwright(&["build", "greet"]).exits(0);
    tree.millwright(&["sodiff", &second, &published("1.2")]).exits(1).says(&[
        "  - greet",
        "affected: hello: `/usr/bin/hello` in hello misses greet of libgreet.so.1()(64bit)",
        "1 affected",
    ]);
    let document = tree.millwright(&["sodiff", &second, &published("1.2"), "--json"]);
    let document: serde_json::Value = serde_json::from_str(&document.exits(1).stdout).unwrap();
    assert_eq!(document["missed"]["hello"][0]["symbols"], serde_json::json!(["greet"]));
    assert_eq!(document["symbols"][LIBRARY]["removed"], serde_json::json!(["fresh", "greet", "table"]));

    // With the soname everything is gone; here dependants are still linked to the old one.
    tree.spec(&Spec::library("greet", "2", 7).version("2.0"));
    tree.millwright(&["build", "greet"]).exits(0);
    tree.millwright(&["sodiff", &first, &published("2.0")]).exits(1).says(&[
        "libgreet.so.1 -> libgreet.so.2",
        "- libgreet.so.1()(64bit)",
        "libgreet.so.1()(64bit) -> libgreet.so.2: symbols: 2 removed, 0 changed, 0 added",
        "affected: hello needs libgreet.so.1()(64bit)",
    ]);
}
