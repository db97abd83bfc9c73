//! What the loader would find: whose libraries are for everybody, and where those lie that the files of a build need.
//!
//! The rules are those of glibc's `ld.so`: a file's `RUNPATH`, or without one its `RPATH` and those of the files that
//! load it; then the directories of the loader's configuration, then its own. What is loaded already is not looked for.
//!
//! What it is not: it reads no file. What other packages have it asks [`Installed`].

use std::collections::{BTreeMap, BTreeSet};

use rebuild::soname::Soname;
use rpm_model::{FoundLibrary, LinkageFacts};

use crate::elf::{ElfFile, ElfKind};
use crate::package::{BuiltFiles, PackagedElf};
use crate::path::{base_name, directory, expand, is_default_directory, plain};

/// Libraries that packages keep for themselves: by package and directory, as [`LinkageFacts::private`].
pub type PrivateLibraries = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// A search that is not at rest after so many rounds is left as it is: no chain of libraries is that long.
const MOST_ROUNDS: usize = 32;

/// What is published, the packages of the build included. Libraries are named as rpm does, without symbol versions.
pub trait Installed {
    /// Returns whether a package has this library for everybody.
    fn has_for_everybody(&self, library: &str) -> bool;

    /// Returns whether a package provides it as rpm says, wherever it lies.
    fn provides(&self, library: &str) -> bool;

    /// Returns the package that has this path and that `package` requires.
    fn required_owner(&self, package: &str, path: &str) -> Option<String>;
}

/// Returns which of the libraries that packages provide lie only where the loader does not look by itself.
///
/// `provides` are the names that each package provides; `directories` are those that loader configurations add,
/// the build's own included. What a package provides without a file of that soname counts as said by hand and is for
/// everybody.
pub fn private_libraries(
    built: &BuiltFiles,
    provides: &BTreeMap<&str, Vec<&str>>,
    directories: &BTreeSet<String>,
) -> PrivateLibraries {
    let mut private = PrivateLibraries::new();
    let everybodys = everybodys_names(built, directories);
    for (package, names) in provides {
        let files = || built.files.iter().filter(|file| file.package == *package);
        for name in names {
            let Some(soname) = Soname::parse(name).filter(|soname| soname.symbols.is_none()) else {
                continue;
            };
            let places: BTreeSet<String> = files()
                .filter(|file| {
                    name_of(file) == soname.soname && library_name(soname.soname, &file.elf) == *name
                })
                .map(|file| plain(directory(&file.path)))
                .collect();
            let is_public = |place: &String| is_searched(place, directories);
            if places.iter().any(is_public) || everybodys.contains(soname.soname) {
                continue;
            }
            for place in places {
                let of_package = private.entry((*package).to_owned()).or_default();
                of_package.entry(place).or_default().push((*name).to_owned());
            }
        }
    }
    for libraries in private.values_mut().flat_map(BTreeMap::values_mut) {
        libraries.sort();
        libraries.dedup();
    }
    private
}

/// Looks for every library that the files of a build need, and writes down what rpm's names do not say: `found`,
/// `by_name` and `missing` of the facts.
pub fn needs(built: &BuiltFiles, directories: &BTreeSet<String>, installed: &dyn Installed) -> LinkageFacts {
    let everybodys = everybodys_names(built, directories);
    let search = Search { built, directories, installed };
    let found = search.found();
    let mut facts = LinkageFacts::default();
    let mut of_everybody: BTreeSet<(&str, String)> = BTreeSet::new();
    for (file, found) in built.files.iter().zip(found) {
        for needed in &file.elf.needed {
            let library = library_name(needed, &file.elf);
            let package = file.package.as_str();
            if let Some(found) = found.get(needed) {
                facts.found.entry(package.to_owned()).or_default().entry(library).or_insert(found.clone());
            } else if needed.contains('/')
                || everybodys.contains(needed.as_str())
                || installed.has_for_everybody(&library)
            {
                of_everybody.insert((package, library));
            } else if let Some(found) = search.loaded_by_others(file, needed) {
                facts.found.entry(package.to_owned()).or_default().entry(library).or_insert(found);
            } else if installed.provides(&library) {
                facts.by_name.entry(package.to_owned()).or_default().push(library);
            } else {
                let missing = facts.missing.entry(package.to_owned()).or_default();
                missing.entry(library).or_insert_with(|| file.path.clone());
            }
        }
    }
    // Where one file of a package finds its own and another takes everybody's, the package needs everybody's.
    for (package, found) in &mut facts.found {
        found.retain(|library, _| !of_everybody.contains(&(package.as_str(), library.clone())));
    }
    facts.found.retain(|_, found| !found.is_empty());
    for libraries in facts.by_name.values_mut() {
        libraries.sort();
        libraries.dedup();
    }
    facts
}

/// Returns a library as rpm names it: with the class of who provides or needs it.
fn library_name(soname: &str, elf: &ElfFile) -> String {
    if elf.is_64bit { format!("{soname}()(64bit)") } else { soname.to_owned() }
}

/// Returns the name under which others need a library: without a soname, that of its file.
fn name_of(file: &PackagedElf) -> &str {
    file.elf.soname.as_deref().unwrap_or_else(|| base_name(&file.path))
}

/// Returns whether the loader looks into a directory, whoever asks.
fn is_searched(place: &str, directories: &BTreeSet<String>) -> bool {
    is_default_directory(place) || directories.contains(place)
}

/// Returns the names of what a build has for everybody: names of files and links in searched directories, and sonames
/// of files there, for which the loader's cache is asked.
fn everybodys_names<'a>(built: &'a BuiltFiles, directories: &BTreeSet<String>) -> BTreeSet<&'a str> {
    let paths = built.paths.keys().filter(|path| is_searched(directory(path), directories));
    let names = paths.map(|path| base_name(path));
    let files = built.files.iter().filter(|file| is_searched(&plain(directory(&file.path)), directories));
    names.chain(files.filter_map(|file| file.elf.soname.as_deref())).collect()
}

/// Libraries found through search paths, by the name that is needed.
type Found = BTreeMap<String, FoundLibrary>;

struct Search<'a> {
    built: &'a BuiltFiles,
    directories: &'a BTreeSet<String>,
    installed: &'a dyn Installed,
}

impl Search<'_> {
    /// Returns for each file what it finds through search paths: its own, and those of the files that load it.
    fn found(&self) -> Vec<Found> {
        let files = &self.built.files;
        let own: Vec<Vec<String>> = files.iter().map(|file| self.own_directories(file)).collect();
        let mut inherited: Vec<Vec<String>> = vec![Vec::new(); files.len()];
        let mut found: Vec<Found> = vec![Found::new(); files.len()];
        for _ in 0..MOST_ROUNDS {
            let mut is_at_rest = true;
            for number in 0..files.len() {
                let file = &files[number];
                for needed in file.elf.needed.iter().filter(|needed| !needed.contains('/')) {
                    if found[number].contains_key(needed) {
                        continue;
                    }
                    let places = own[number].iter().chain(&inherited[number]);
                    if let Some(library) = places.into_iter().find_map(|place| self.look(file, place, needed))
                    {
                        found[number].insert(needed.clone(), library);
                        is_at_rest = false;
                    }
                }
                for loaded in self.loaded(&found[number]) {
                    // What the loading file has found is loaded before its libraries look for it.
                    let of_loader: Vec<(String, FoundLibrary)> = found[number]
                        .iter()
                        .filter(|(name, _)| files[loaded].elf.needed.contains(name))
                        .map(|(name, library)| (name.clone(), library.clone()))
                        .collect();
                    for (name, library) in of_loader {
                        is_at_rest &= found[loaded].contains_key(&name);
                        found[loaded].entry(name).or_insert(library);
                    }
                    if file.elf.runpath.is_some() || files[loaded].elf.runpath.is_some() {
                        continue;
                    }
                    let passed_on: Vec<String> =
                        own[number].iter().chain(&inherited[number]).cloned().collect();
                    for place in passed_on {
                        if !inherited[loaded].contains(&place) {
                            inherited[loaded].push(place);
                            is_at_rest = false;
                        }
                    }
                }
            }
            if is_at_rest {
                break;
            }
        }
        found
    }

    /// Returns the directories that a file names itself and that nobody else looks into.
    fn own_directories(&self, file: &PackagedElf) -> Vec<String> {
        let elements = file.elf.runpath.as_ref().unwrap_or(&file.elf.rpath);
        let places =
            elements.iter().flat_map(|element| expand(element, &file.path, &file.elf, file.is_set_id));
        places.filter(|place| !is_searched(place, self.directories)).collect()
    }

    /// Returns the library of a name in a directory, if the build or a package that is required has one.
    fn look(&self, file: &PackagedElf, place: &str, needed: &str) -> Option<FoundLibrary> {
        let path = format!("{}/{needed}", place.trim_end_matches('/'));
        let package = match self.built.paths.get(&path) {
            Some(package) => package.clone(),
            None => self.installed.required_owner(&file.package, &path)?,
        };
        Some(FoundLibrary { path, package })
    }

    /// Returns the numbers of the build's files among what was found.
    fn loaded(&self, found: &Found) -> Vec<usize> {
        let is_it = |file: &PackagedElf| {
            let place = plain(directory(&file.path));
            // The path that is found may be a link to a file with a longer name beside it.
            let named = |name: &str| format!("{place}/{name}");
            found.values().any(|library| {
                library.path == named(base_name(&file.path)) || library.path == named(name_of(file))
            })
        };
        let files = self.built.files.iter().enumerate();
        files
            .filter(|(_, file)| file.elf.kind == ElfKind::Library && is_it(file))
            .map(|(number, _)| number)
            .collect()
    }

    /// Returns a library of the build itself that somebody may have loaded before a library, such as a plug-in, needs
    /// it. Before a program nobody loads anything.
    fn loaded_by_others(&self, file: &PackagedElf, needed: &str) -> Option<FoundLibrary> {
        if file.elf.kind == ElfKind::Program {
            return None;
        }
        let mut own = self.built.paths.iter().filter(|(path, _)| base_name(path) == needed);
        own.next().map(|(path, package)| FoundLibrary { path: path.clone(), package: package.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A build in the making.
    #[derive(Default)]
    struct Bench {
        built: BuiltFiles,
        everybodys: Vec<&'static str>,
        provided: Vec<&'static str>,
        /// Paths of other packages, with whether they are required.
        others: BTreeMap<&'static str, bool>,
    }

    impl Installed for Bench {
        fn has_for_everybody(&self, library: &str) -> bool {
            self.everybodys.contains(&library)
        }

        fn provides(&self, library: &str) -> bool {
            self.has_for_everybody(library) || self.provided.contains(&library)
        }

        fn required_owner(&self, _package: &str, path: &str) -> Option<String> {
            self.others.get(path).is_some_and(|required| *required).then(|| "other".to_owned())
        }
    }

    /// Where a file looks.
    enum Path {
        None,
        Old(&'static str),
        New(&'static str),
    }

    impl Bench {
        /// Adds a file: a library where its name says so.
        fn file(mut self, path: &str, needed: &[&str], search: Path) -> Self {
            let split = |text: &str| text.split(':').map(str::to_owned).collect::<Vec<String>>();
            let is_library = base_name(path).contains(".so");
            let (rpath, runpath) = match search {
                Path::None => (Vec::new(), None),
                Path::Old(text) => (split(text), None),
                Path::New(text) => (Vec::new(), Some(split(text))),
            };
            let elf = ElfFile {
                kind: if is_library { ElfKind::Library } else { ElfKind::Program },
                is_64bit: true,
                platform: "x86_64",
                soname: is_library.then(|| base_name(path).to_owned()),
                needed: needed.iter().map(|name| (*name).to_owned()).collect(),
                rpath,
                runpath,
            };
            if is_library {
                self.built.paths.insert(plain(path), "own".to_owned());
            }
            let (package, path) = ("own".to_owned(), path.to_owned());
            self.built.files.push(PackagedElf { package, path, is_set_id: false, elf, symbols: None });
            self
        }

        fn everybody(mut self, library: &'static str) -> Self {
            self.everybodys.push(library);
            self
        }

        fn provided(mut self, library: &'static str) -> Self {
            self.provided.push(library);
            self
        }

        fn other(mut self, path: &'static str, required: bool) -> Self {
            self.others.insert(path, required);
            self
        }

        /// Returns in a word where a library is found that the package needs.
        fn place(&self, library: &str) -> String {
            let facts = needs(&self.built, &self.built.search_directories, self);
            let library = format!("{library}()(64bit)");
            if let Some(found) = facts.found.get("own").and_then(|found| found.get(&library)) {
                return format!("{}:{}", found.package, found.path);
            }
            if facts.by_name.get("own").is_some_and(|libraries| libraries.contains(&library)) {
                return "by name".to_owned();
            }
            let missing = facts.missing.get("own").and_then(|missing| missing.get(&library));
            missing.map_or("everybody's".to_owned(), |file| format!("missing for {file}"))
        }

        fn private(&self, provides: &[&str]) -> Vec<String> {
            let provides = BTreeMap::from([("own", provides.to_vec())]);
            let private = private_libraries(&self.built, &provides, &self.built.search_directories);
            let directories = private.into_values().flatten();
            directories
                .flat_map(|(place, names)| names.into_iter().map(move |name| format!("{place} {name}")))
                .collect()
        }
    }

    const LIBRARY: &str = "libx.so.1()(64bit)";

    #[test]
    fn the_loader_looks_where_files_say_and_then_where_everybody_does() {
        let program = |search| Bench::default().file("/usr/bin/p", &["libx.so.1"], search);
        let private = |bench: Bench| bench.file("/usr/lib64/p/libx.so.1", &[], Path::None);
        let at = "own:/usr/lib64/p/libx.so.1";
        for (name, bench, expected) in [
            ("$ORIGIN", private(program(Path::New("$ORIGIN/../lib64/p"))), at),
            ("$LIB", private(program(Path::Old("/opt/none:/usr/$LIB/p"))), at),
            ("before everybody's", private(program(Path::New("/usr/lib64/p"))).everybody(LIBRARY), at),
            ("everybody's", program(Path::New("/usr/lib64/p")).everybody(LIBRARY), "everybody's"),
            ("elsewhere", private(program(Path::New("/opt/p"))), "missing for /usr/bin/p"),
            ("no path", private(program(Path::None)), "missing for /usr/bin/p"),
            ("by name", program(Path::None).provided(LIBRARY), "by name"),
            (
                "required",
                program(Path::New("/opt/q")).other("/opt/q/libx.so.1", true),
                "other:/opt/q/libx.so.1",
            ),
            (
                "not required",
                program(Path::New("/opt/q")).other("/opt/q/libx.so.1", false),
                "missing for /usr/bin/p",
            ),
            ("nowhere", program(Path::None), "missing for /usr/bin/p"),
            (
                "own, for everybody",
                program(Path::None).file("/usr/lib64/libx.so.1", &[], Path::None),
                "everybody's",
            ),
        ] {
            assert_eq!(bench.place("libx.so.1"), expected, "{name}");
        }
    }

    #[test]
    fn paths_of_who_loads_a_library_count_as_they_do_for_the_loader() {
        let at = "own:/opt/p/libx.so.1";
        let chain = |program, library| {
            Bench::default()
                .file("/usr/bin/p", &["liby.so.1"], program)
                .file("/opt/p/liby.so.1", &["libx.so.1"], library)
                .file("/opt/p/libx.so.1", &[], Path::None)
        };
        // RPATH is handed on, RUNPATH is not; but a library may count on what others have loaded.
        assert_eq!(chain(Path::Old("/opt/p"), Path::None).place("libx.so.1"), at);
        assert_eq!(chain(Path::New("/opt/p"), Path::None).place("libx.so.1"), at);
        assert_eq!(chain(Path::New("/opt/p"), Path::New("$ORIGIN")).place("libx.so.1"), at);
        // One file finds the package's own, another takes everybody's: the package needs everybody's.
        let both = chain(Path::Old("/opt/p"), Path::None).everybody(LIBRARY);
        assert_eq!(both.place("libx.so.1"), at);
        assert_eq!(both.file("/usr/bin/q", &["libx.so.1"], Path::None).place("libx.so.1"), "everybody's");
    }

    #[test]
    fn what_is_provided_from_a_directory_of_its_own_is_private() {
        let file = |path: &str| Bench::default().file(path, &[], Path::None);
        let expected = format!("/usr/lib64/p {LIBRARY}");
        assert_eq!(file("/usr/lib64/p/libx.so.1").private(&[LIBRARY, "own"]), [expected]);
        assert!(file("/usr/lib64/libx.so.1").private(&[LIBRARY]).is_empty());
        assert!(file("/lib64/libx.so.1").private(&[LIBRARY]).is_empty());
        // Said by hand, without such a file.
        assert!(file("/usr/lib64/p/liby.so.1").private(&[LIBRARY]).is_empty());
        let mut linked = file("/usr/lib64/p/libx.so.1");
        linked.built.paths.insert("/usr/lib64/libx.so.1".to_owned(), "own".to_owned());
        assert!(linked.private(&[LIBRARY]).is_empty());
        let mut configured = file("/usr/lib64/p/libx.so.1");
        configured.built.search_directories.insert("/usr/lib64/p".to_owned());
        assert!(configured.private(&[LIBRARY]).is_empty());
    }
}
