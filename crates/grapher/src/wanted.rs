//! What of the world outside matters to a tree.
//!
//! A distribution's repositories hold tens of thousands of packages, and most of them provide nothing that any
//! spec asks for. Whoever has them in an index looks up these names there, and passes only what was found to
//! [`crate::GraphInput`]; the graph is the same.

use std::collections::BTreeSet;

use rpm_model::PackagesDocument;

use crate::catalog::{Catalog, wanted_names};
use crate::input::{ExternalPackage, GraphInput, RecordedSpec};

/// Every name that some requirement of a tree mentions: package names, capabilities, absolute paths.
///
/// Packages that the tree's packages replace matter only for what they provide of these (name take-over), so the names
/// of the tree's own packages are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedNames<'a>(BTreeSet<&'a str>);

impl<'a> WantedNames<'a> {
    /// Returns the names that matter for the specs of a document and what is recorded of their last builds.
    pub fn of(document: &'a PackagesDocument, recorded: &'a [RecordedSpec<'a>]) -> Self {
        // Requirements of tests are always among them.
        let catalog = Catalog::of_tree(&GraphInput { document, external: &[], recorded, run_check: true });
        Self(wanted_names(&catalog).into_iter().collect())
    }

    /// Returns them with further names, for example those that [`crate::GraphHints`] names.
    #[must_use]
    pub fn with(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.extend(names);
        self
    }

    /// Returns whether a name is among them.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Returns the names, sorted; those that begin with `/` are paths, to be looked up among files too.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().copied()
    }

    /// Returns whether a package provides any of them, or has a file of such a path.
    pub fn want(&self, package: &ExternalPackage<'_>) -> bool {
        package.provides.iter().any(|provide| self.contains(&provide.name))
            || package.files.iter().any(|file| self.contains(file))
    }
}
