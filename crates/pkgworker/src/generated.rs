//! `%generate_buildrequires`: what a spec asks for only when its sources are there.
//!
//! rpmbuild 4.18 with `-rr --nodeps` runs `%prep` and the section. When the section asked for something it writes
//! `SRPMS/<name>.buildreqs.nosrc.rpm`, which requires what the spec says and what the section said, and ends
//! with exit code 11; when it asked for nothing it ends with 0. Afterwards `--rebuild --noprep` goes on in the
//! same tree; it runs the section once more, as it does in every build.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use repository::SourcePackageHeader;
use rpm_model::Requirement;

use crate::error::{IoContext, WorkerError};
use crate::left::list_left;

/// rpmbuild's exit code when build requirements were generated.
pub(crate) const GENERATED: i32 = 11;

/// How many rounds of asking and making another root are borne.
pub const MOST_ROUNDS: usize = 10;

/// Returns what the section asked for besides what the SRPM requires anyway, sorted; `srpms` is where
/// rpmbuild left its answer. The inner error says what the build left there instead.
pub(crate) fn requirements(
    srpms: &Path,
    srpm: &SourcePackageHeader,
) -> Result<Result<Vec<Requirement>, String>, WorkerError> {
    let Some(answer) = answer(srpms)? else {
        return Ok(Err(
            "%generate_buildrequires ended well, but rpmbuild left no list of requirements".into()
        ));
    };
    let header = match repository::read_source_package(&answer) {
        Ok(package) => package.header,
        Err(error) => return Ok(Err(format!("the generated build requirements are unreadable: {error}"))),
    };
    let known: BTreeSet<&Requirement> = srpm.build_requires.iter().collect();
    let asked: BTreeSet<Requirement> =
        header.build_requires.into_iter().filter(|requirement| !known.contains(requirement)).collect();
    Ok(Ok(asked.into_iter().collect()))
}

/// Returns rpmbuild's answer, a regular file.
fn answer(srpms: &Path) -> Result<Option<PathBuf>, WorkerError> {
    let entries = match list_left(srpms) {
        Err(error) if error.kind() != io::ErrorKind::NotADirectory => {
            return Err(error).context("read", srpms);
        }
        // The build has taken it away, or put something else there.
        entries => entries.ok().flatten(),
    };
    for entry in entries.into_iter().flatten() {
        let entry = entry.context("read", srpms)?;
        let name = entry.file_name();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && name.to_string_lossy().ends_with(".buildreqs.nosrc.rpm") {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// Returns in words what differs between two rounds.
pub fn changed_requirements(before: &[Requirement], after: &[Requirement]) -> String {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
    let list = |set: &mut dyn Iterator<Item = &&Requirement>| {
        set.map(|requirement| format!("`{requirement}`")).collect::<Vec<_>>().join(", ")
    };
    let (added, gone) = (list(&mut new.difference(&old)), list(&mut old.difference(&new)));
    match (added.is_empty(), gone.is_empty()) {
        (false, false) => format!("asks for {added} now, and no more for {gone}"),
        (false, true) => format!("asks for {added} now"),
        (true, false) => format!("asks no more for {gone}"),
        (true, true) => "asks for the same".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_from_both_sides() {
        let list =
            |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Requirement>>();
        let check = |before: &[&str], after: &[&str], expected: &str| {
            assert_eq!(changed_requirements(&list(before), &list(after)), expected);
        };
        check(&["a"], &["a", "b >= 2"], "asks for `b >= 2` now");
        check(&["a", "c"], &["b"], "asks for `b` now, and no more for `a`, `c`");
        check(&["a"], &[], "asks no more for `a`");
        check(&["a"], &["a"], "asks for the same");
    }
}
