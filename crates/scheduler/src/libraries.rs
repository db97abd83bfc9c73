//! Which packages of the tree keep libraries for themselves, and where the libraries of packages lie.
//!
//! What it is not: it reads no package. Of the tree's packages their records say it; of packages from outside nobody
//! does, so there every library that rpm's names say is provided counts as one for everybody.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use linkage::is_default_directory;
use repository::IndexedPackage;
use rpm_model::{LibraryPath, LinkageFacts, PackageOrigin};

use rebuild::soname::Soname;

/// What records say of private libraries, of all specs.
#[derive(Debug, Default)]
pub(crate) struct PrivateLibraries {
    /// By package and library: the directories that the package has it in.
    packages: HashMap<String, HashMap<String, Vec<String>>>,
    /// The packages of each spec among them.
    specs: HashMap<String, Vec<String>>,
    /// The directories in which packages of a spec make the loader look.
    directories: BTreeMap<String, Vec<String>>,
}

impl PrivateLibraries {
    /// Puts what a spec's new record says in the place of what the old one said.
    pub(crate) fn replace(&mut self, spec: &str, facts: Option<&LinkageFacts>) {
        for package in self.specs.remove(spec).into_iter().flatten() {
            self.packages.remove(&package);
        }
        self.directories.remove(spec);
        let Some(facts) = facts else { return };
        if !facts.search_directories.is_empty() {
            self.directories.insert(spec.to_owned(), facts.search_directories.clone());
        }
        for (package, places) in &facts.private {
            let mut libraries: HashMap<String, Vec<String>> = HashMap::new();
            for (place, names) in places {
                for name in names {
                    libraries.entry(name.clone()).or_default().push(place.clone());
                }
            }
            self.packages.insert(package.clone(), libraries);
            self.specs.entry(spec.to_owned()).or_default().push(package.clone());
        }
    }

    /// Returns the directories in which packages of the tree make the loader look.
    pub(crate) fn search_directories(&self) -> BTreeSet<String> {
        self.directories.values().flatten().cloned().collect()
    }

    /// Returns whether what a package provides under this name is a library that it keeps for itself.
    pub(crate) fn contain(&self, package: &IndexedPackage, name: &str) -> bool {
        if package.origin != PackageOrigin::Tree || self.packages.is_empty() {
            return false;
        }
        let Some(libraries) = self.packages.get(&package.header.nevra.name) else { return false };
        let Some(library) = Soname::parse(name) else { return false };
        libraries.get(&library.without_symbols()).is_some_and(|places| {
            let configured = |place| self.directories.values().any(|directories| directories.contains(place));
            !places.iter().any(configured)
        })
    }
}

/// Returns where a package that provides a library has it, as far as the names of its files tell.
pub(crate) fn library_path(
    package: &IndexedPackage,
    library: &str,
    directories: &BTreeSet<String>,
) -> Option<LibraryPath> {
    let soname = Soname::parse(library)?.soname;
    let split =
        |path: &'_ String| path.rsplit_once('/').map(|(place, name)| (place.to_owned(), name.to_owned()));
    let places = package.header.files.iter().filter_map(split);
    let in_searched = |place: &String| is_default_directory(place) || directories.contains(place);
    let (place, _) = places.clone().find(|(place, name)| name == soname && in_searched(place))?;
    let is_longer = |name: &String| name.strip_prefix(soname).is_some_and(|rest| rest.starts_with('.'));
    let mut longer = places.filter(|(other, name)| *other == place && is_longer(name));
    let file = match (longer.next(), longer.next()) {
        (Some((_, name)), None) => name,
        _ => soname.to_owned(),
    };
    Some(LibraryPath { path: format!("{place}/{soname}"), file: format!("{place}/{file}") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::indexed;

    const LIBRARY: &str = "libx.so.1()(64bit)";

    #[test]
    fn private_libraries_are_those_of_records_until_somebody_makes_the_loader_look_there() {
        let facts = LinkageFacts {
            private: [("x".to_owned(), [("/usr/lib64/x".to_owned(), vec![LIBRARY.to_owned()])].into())]
                .into(),
            ..LinkageFacts::default()
        };
        let package = indexed("x", "1-1", PackageOrigin::Tree, &[LIBRARY]);
        let outside = indexed("x", "1-1", PackageOrigin::Base, &[LIBRARY]);
        let mut private = PrivateLibraries::default();
        private.replace("x", Some(&facts));
        assert!(private.contain(&package, LIBRARY));
        assert!(private.contain(&package, "libx.so.1(X_1)(64bit)"));
        assert!(!private.contain(&package, "libx.so.1"), "another class");
        assert!(!private.contain(&outside, LIBRARY));
        let search_directories = vec!["/usr/lib64/x".to_owned()];
        private.replace("y", Some(&LinkageFacts { search_directories, ..LinkageFacts::default() }));
        assert!(!private.contain(&package, LIBRARY));
        private.replace("y", None);
        assert!(private.contain(&package, LIBRARY));
        private.replace("x", None);
        assert!(!private.contain(&package, LIBRARY));
    }

    #[test]
    fn a_library_is_where_its_names_are() {
        let mut package = indexed("x", "1-1", PackageOrigin::Tree, &[LIBRARY]);
        let mut path = |files: &[&str]| {
            package.header.files = files.iter().map(|file| (*file).to_owned()).collect();
            library_path(&package, LIBRARY, &BTreeSet::new()).map(|path| (path.path, path.file))
        };
        let found = |path: &str, file: &str| Some((path.to_owned(), file.to_owned()));
        assert_eq!(
            path(&["/usr/lib64/libx.so", "/usr/lib64/libx.so.1", "/usr/lib64/libx.so.1.2.3"]),
            found("/usr/lib64/libx.so.1", "/usr/lib64/libx.so.1.2.3")
        );
        assert_eq!(path(&["/lib64/libx.so.1"]), found("/lib64/libx.so.1", "/lib64/libx.so.1"));
        // Two of them, and nobody knows which is meant.
        assert_eq!(
            path(&["/usr/lib64/libx.so.1", "/usr/lib64/libx.so.1.2", "/usr/lib64/libx.so.1.3"]),
            found("/usr/lib64/libx.so.1", "/usr/lib64/libx.so.1")
        );
        assert_eq!(path(&["/usr/lib64/x/libx.so.1", "/usr/lib64/libx.so.10"]), None);
    }
}
