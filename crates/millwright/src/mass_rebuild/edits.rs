//! The edits of a change set in the tree: checked against what was reviewed, done, and undone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rebuild::change_set::{ChangeSet, ChangedSpec, SpecContent};
use report::{ExitStatus, Failure};
use rpm_model::PackagesDocument;

use super::io_failure;

/// An edit that is still to be done.
pub(super) struct PendingEdit {
    path: PathBuf,
    text: String,
}

/// Returns the edits that are still to be done for these specs; those done already are not done again.
///
/// # Errors
///
/// Names every spec that is not what was reviewed.
pub(super) fn pending_edits(
    set: &ChangeSet,
    members: &BTreeSet<String>,
    document: &PackagesDocument,
) -> Result<Vec<PendingEdit>, Failure> {
    let mut pending = Vec::new();
    let mut refused = Vec::new();
    for spec in set.specs.iter().filter(|spec| members.contains(&spec.spec)) {
        match pending_edit(set, spec, document)? {
            Ok(edit) => pending.extend(edit),
            Err(why) => refused.push(format!("  {}: {why}", spec.spec)),
        }
    }
    if refused.is_empty() {
        return Ok(pending);
    }
    let text = format!("these specs are not what was reviewed:\n{}", refused.join("\n"));
    Err(Failure::new(ExitStatus::Usage, text)
        .hint(format!(
            "`millwright rebuild --all-of left-by:{} --dry-run` makes a change set of what is left, to be reviewed",
            set.name
        ))
        .hint("or put the specs back; nothing was edited or built"))
}

/// Returns the edit of one spec where it is still to be done, or why the spec is not what was reviewed.
fn pending_edit(
    set: &ChangeSet,
    spec: &ChangedSpec,
    document: &PackagesDocument,
) -> Result<Result<Option<PendingEdit>, String>, Failure> {
    let Some(read) = document.specs.iter().find(|read| read.name == spec.spec) else {
        return Ok(Err("the tree has no such spec that can be read".to_owned()));
    };
    let path = file(set, spec);
    let place = Path::new(&read.spec_path);
    let place = std::fs::canonicalize(place).map_err(|error| io_failure("find", place, &error))?;
    if place != path {
        return Ok(Err(format!("it is `{}`, not `{}`", place.display(), path.display())));
    }
    let bytes = std::fs::read(&path).map_err(|error| io_failure("read", &path, &error))?;
    let edited = match (spec.content(&bytes), &spec.edit) {
        (None, _) => return Ok(Err(format!("`{}` was changed since", path.display()))),
        (Some(SpecContent::Edited), _) | (Some(SpecContent::Reviewed), None) => return Ok(Ok(None)),
        (Some(SpecContent::Reviewed), Some(_)) => {
            std::str::from_utf8(&bytes).ok().and_then(|text| spec.edited(text))
        }
    };
    Ok(match edited {
        Some(text) => Ok(Some(PendingEdit { path, text })),
        None => Err("the change set's edit does not yield what it says".to_owned()),
    })
}

/// Does the edits, each spec at once.
pub(super) fn apply(edits: &[PendingEdit]) -> Result<(), Failure> {
    edits.iter().try_for_each(|edit| report::rewrite_file(&edit.path, edit.text.as_bytes()))
}

/// Puts these specs back, as far as they are as their edits left them; returns which.
pub(super) fn undo(set: &ChangeSet, open: &BTreeSet<String>) -> Result<Vec<String>, Failure> {
    let mut undone = Vec::new();
    for spec in set.specs.iter().filter(|spec| spec.edit.is_some() && open.contains(&spec.spec)) {
        let path = file(set, spec);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // Who removed it meanwhile wants it so.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(io_failure("read", &path, &error)),
        };
        if spec.content(&bytes) != Some(SpecContent::Edited) {
            continue;
        }
        if let Some(text) = std::str::from_utf8(&bytes).ok().and_then(|text| spec.restored(text)) {
            report::rewrite_file(&path, text.as_bytes())?;
            undone.push(spec.spec.clone());
        }
    }
    Ok(undone)
}

fn file(set: &ChangeSet, spec: &ChangedSpec) -> PathBuf {
    Path::new(&set.directory).join(&spec.path)
}
