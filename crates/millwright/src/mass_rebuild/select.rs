//! From what was asked for to specs, each with why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use grapher::near_names;
use rebuild::change_set::{ChangeSet, LeftOut, LeftOutReason, Request};
use rebuild::select::{Evidence, Selection, SelectionError};
use report::{ExitStatus, Failure};
use rpm_model::{BuildRecord, PackagesDocument};

use super::io_failure;
use super::store::ChangeSetStore;

/// The selection of what another mass rebuild left.
const LEFT_BY: &str = "left-by:";

/// One thing that was asked for.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// What last builds have in common.
    Common(Selection),
    /// What another mass rebuild left.
    LeftBy(String),
    /// The names in a file.
    File(String, SelectionError),
}

/// Specs that belong together.
#[derive(Clone, Debug, Default)]
pub(super) struct Selected {
    /// Those that can be built, each with why.
    pub(super) members: BTreeMap<String, Vec<Evidence>>,
    /// Those that cannot.
    pub(super) left_out: Vec<LeftOut>,
    /// Those of which nobody knows.
    pub(super) never_built: Vec<String>,
}

impl What {
    /// Reads what was typed; what says nothing else is the name of a file.
    pub(super) fn read(text: &str) -> Self {
        match (text.strip_prefix(LEFT_BY), text.parse()) {
            (Some(name), _) => Self::LeftBy(name.trim().to_owned()),
            (None, Ok(selection)) => Self::Common(selection),
            (None, Err(error)) => Self::File(text.to_owned(), error),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Common(selection) => selection.fmt(f),
            Self::LeftBy(name) => write!(f, "{LEFT_BY}{name}"),
            Self::File(file, _) => f.write_str(file),
        }
    }
}

/// What is looked at to select.
pub(super) struct Facts<'a> {
    pub(super) records: &'a BTreeMap<String, BuildRecord>,
    pub(super) document: &'a PackagesDocument,
    pub(super) store: &'a ChangeSetStore,
}

impl Facts<'_> {
    /// Returns what a request means.
    ///
    /// # Errors
    ///
    /// Returns, with similar names, what means nothing.
    pub(super) fn selected(&self, request: &Request) -> Result<Selected, Failure> {
        let mut found: BTreeMap<String, BTreeSet<Evidence>> = BTreeMap::new();
        let mut asks_builds = false;
        for what in &request.all_of {
            let part = match What::read(what) {
                What::Common(selection) => {
                    asks_builds = true;
                    self.having(&selection)?
                }
                What::LeftBy(name) => self.left_by(&name)?,
                What::File(file, error) => self.listed(&file, error)?,
            };
            for (spec, evidence) in part {
                found.entry(spec).or_default().extend(evidence);
            }
        }
        for name in &request.named {
            found.entry(self.spec_called(name)?).or_default().insert(Evidence::Named);
        }
        let except: BTreeSet<String> =
            request.except.iter().map(|name| self.spec_called(name)).collect::<Result<_, _>>()?;
        found.retain(|spec, _| !except.contains(spec));
        let mut selected = Selected::default();
        if asks_builds {
            let specs = self.document.specs.iter().map(|spec| &spec.name);
            let unknown = specs.filter(|name| {
                !self.records.contains_key(*name) && !found.contains_key(*name) && !except.contains(*name)
            });
            selected.never_built = unknown.cloned().collect();
        }
        for (spec, evidence) in found {
            match self.hindrance(&spec) {
                None => {
                    selected.members.insert(spec, evidence.into_iter().collect());
                }
                Some(reason) => selected.left_out.push(LeftOut { spec, reason }),
            }
        }
        Ok(selected)
    }

    fn having(&self, selection: &Selection) -> Result<BTreeMap<String, Vec<Evidence>>, Failure> {
        let found = selection.select(self.records);
        if found.is_empty() {
            let known = selection.known_names(self.records);
            if !known.contains(selection.name()) {
                let text = format!("`{selection}` means nothing: no last build knows `{}`", selection.name());
                let failure = Failure::new(ExitStatus::Usage, text);
                return Err(with_hint(failure, &near_names(known, selection.name())));
            }
        }
        Ok(found)
    }

    fn left_by(&self, name: &str) -> Result<BTreeMap<String, Vec<Evidence>>, Failure> {
        let set: ChangeSet = self.store.named(name)?;
        let left_out = set.left_out.iter().map(|left| left.spec.clone());
        let names = set.open(self.records).into_iter().chain(left_out);
        Ok(names.map(|spec| (spec, vec![Evidence::LeftBy { name: name.to_owned() }])).collect())
    }

    fn listed(&self, file: &str, error: SelectionError) -> Result<BTreeMap<String, Vec<Evidence>>, Failure> {
        let path = Path::new(file);
        if !path.is_file() {
            return Err(Failure::new(ExitStatus::Usage, error).hint("or the name of a file that lists specs"));
        }
        let text = std::fs::read_to_string(path).map_err(|error| io_failure("read", path, &error))?;
        let named = |name: String| Ok((self.spec_called(&name)?, vec![listed_in(file)]));
        listed_names(&text).into_iter().map(named).collect()
    }

    /// Returns the spec that a name of a spec or of one of its packages means.
    fn spec_called(&self, name: &str) -> Result<String, Failure> {
        let specs = &self.document.specs;
        let is_spec = specs.iter().any(|spec| spec.name == name)
            || self.document.bad.iter().any(|bad| bad.name == name)
            || self.records.contains_key(name);
        if is_spec {
            return Ok(name.to_owned());
        }
        let with_package =
            specs.iter().find(|spec| spec.packages.iter().any(|package| package.nevra.name == name));
        with_package.map(|spec| spec.name.clone()).ok_or_else(|| {
            let failure = Failure::new(ExitStatus::Usage, format!("no spec or package is called `{name}`"));
            with_hint(failure, &near_names(specs.iter().map(|spec| spec.name.as_str()), name))
        })
    }

    fn hindrance(&self, spec: &str) -> Option<LeftOutReason> {
        if self.document.specs.iter().any(|read| read.name == spec) {
            return None;
        }
        let bad = self.document.bad.iter().find(|bad| bad.name == spec);
        Some(bad.map_or(LeftOutReason::NoSpec, |bad| LeftOutReason::BadSpec { message: bad.to_string() }))
    }
}

fn with_hint(failure: Failure, near: &[String]) -> Failure {
    match near {
        [] => failure.hint("names are those of last builds: `millwright build` builds what was never built"),
        near => failure.hint(format!("did you mean {}?", near.join(" or "))),
    }
}

fn listed_in(file: &str) -> Evidence {
    Evidence::Listed { file: file.to_owned() }
}

/// Returns the names in a list.
fn listed_names(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_remarks() {
        let names: Vec<String> = listed_names("zlib jq # remark\n\n# all\nless\n").into_iter().collect();
        assert_eq!(names, ["jq", "less", "zlib"]);
    }

    #[test]
    fn what_was_typed_is_told_as_it_is_meant() {
        for (typed, meant) in [
            ("soname: libz.so.1()(64bit)", "soname:libz.so.1"),
            ("left-by: a-1", "left-by:a-1"),
            ("lists/python", "lists/python"),
        ] {
            assert_eq!(What::read(typed).to_string(), meant);
        }
    }
}
