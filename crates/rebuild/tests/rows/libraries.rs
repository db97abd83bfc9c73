//! Rows about what the files of packages say of libraries: private ones, search paths, and where libraries lie.

use rpm_model::{FoundLibrary, LibraryPath};

use crate::bench::{Bench, FIRES, QUIET};
use crate::rows::Row;

const LIBRARY: &str = "liba.so.1()(64bit)";

/// What the files of packages say.
pub(crate) const LIBRARIES: &[Row] = &[
    Row {
        name: "libraries of the package itself",
        documented: "",
        does: "libraries found through $ORIGIN below pkg/ vanish at clean-up",
        ours: "what the package provides itself is no library of others; nor is what it finds through a search path",
        check: || {
            let bench = Bench::default().own_library("libown.so.1()(64bit)");
            assert_eq!(bench.sonames("newer"), QUIET);
            assert!(bench.providers().is_empty());
            let found = |package: &str| {
                let found = FoundLibrary { path: "/opt/p/liba.so.1".into(), package: package.into() };
                Bench::default().library(LIBRARY, "1-1", "2-1").linkage(|facts| {
                    facts.found.entry("own".into()).or_default().insert(LIBRARY.into(), found);
                })
            };
            assert_eq!(found("own").gone(LIBRARY).sonames("newer"), QUIET);
            // In another package it is that file that must stay.
            assert_eq!(found("other").sonames("keep"), FIRES);
            assert_eq!(found("other").beside("/opt/p/liba.so.1", "1-1").sonames("newer"), QUIET);
        },
    },
    Row {
        name: "a private library of the same name",
        documented: "",
        does: "whatever the loader of the host finds",
        ours: "is no substitute for the library for everybody, neither another package's nor the package's own",
        check: || {
            let linked = || Bench::default().library(LIBRARY, "1-1", "1-1").linkage(|_| ());
            assert_eq!(linked().sonames("keep"), QUIET);
            assert_eq!(linked().privately(LIBRARY).sonames("keep"), FIRES);
            assert_eq!(linked().privately(LIBRARY).sonames("neverever"), QUIET);
            let own = linked().own_library(LIBRARY).linkage(|facts| {
                let libraries = facts.private.entry("own".into()).or_default();
                libraries.insert("/opt/p".into(), vec![LIBRARY.into()]);
            });
            assert_eq!(own.gone(LIBRARY).sonames("keep"), FIRES);
            // Where no loader finds it, rpm's name is all that is known; so it is for older records.
            let by_name =
                linked().linkage(|facts| drop(facts.by_name.insert("own".into(), vec![LIBRARY.into()])));
            assert_eq!(by_name.privately(LIBRARY).sonames("keep"), QUIET);
            assert_eq!(
                Bench::default().library(LIBRARY, "1-1", "1-1").privately(LIBRARY).sonames("keep"),
                QUIET
            );
        },
    },
    Row {
        name: "where a library lies",
        documented: "path and real file of each library, with the version in its name",
        does: "the same, sometimes of another library",
        ours: "the path that the loader finds, and the version in the name of the file itself",
        check: || {
            let (path, file) = ("/usr/lib64/liba.so.1".to_owned(), "/usr/lib64/liba.so.1.3.9".to_owned());
            let bench = Bench::default().library(LIBRARY, "1.3.1-1", "1.3.1-1").linkage(|facts| {
                facts.paths.insert(LIBRARY.into(), LibraryPath { path, file });
            });
            assert!(bench.dep_soname().contains("path = \"/usr/lib64/liba.so.1\"\npath_vers = \"1.3.9\"\n"));
        },
    },
];
