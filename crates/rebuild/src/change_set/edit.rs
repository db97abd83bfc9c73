//! The edit of one text, line by line: it is shown, done and undone without the text it was made from.
//!
//! What it is not: it knows nothing of specs, and reads and writes no file.

use serde::{Deserialize, Serialize};
use similar::{ChangeTag, TextDiff};

/// Lines that are replaced; every line with its line end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineEdit {
    /// The first line that is replaced, or before which lines are added: in the old text, counted from 1.
    pub line: usize,
    /// The lines that go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// The lines that come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
}

/// All edits of a text, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TextEdit(pub Vec<LineEdit>);

/// Which way an edit goes.
#[derive(Clone, Copy)]
enum Direction {
    Forth,
    Back,
}

impl TextEdit {
    /// Returns the edit that makes a new text of an old one.
    pub fn between(old: &str, new: &str) -> Self {
        let (old, new) = (lines(old), lines(new));
        let diff = TextDiff::configure().newline_terminated(true).diff_slices(&old, &new);
        let mut edits = Vec::new();
        let mut line = 1;
        let mut open: Option<LineEdit> = None;
        for change in diff.iter_all_changes() {
            let text = change.value().to_owned();
            let begun = LineEdit { line, ..LineEdit::default() };
            match change.tag() {
                ChangeTag::Equal => edits.extend(open.take()),
                ChangeTag::Delete => open.get_or_insert(begun).removed.push(text),
                ChangeTag::Insert => open.get_or_insert(begun).added.push(text),
            }
            line += usize::from(change.tag() != ChangeTag::Insert);
        }
        edits.extend(open);
        Self(edits)
    }

    /// Returns the edited text; `None` where the text is not the one that the edit was made for.
    pub fn apply(&self, old: &str) -> Option<String> {
        self.replaced(old, Direction::Forth)
    }

    /// Returns the text as it was before; `None` where the text is not the edited one.
    pub fn undo(&self, new: &str) -> Option<String> {
        self.replaced(new, Direction::Back)
    }

    fn replaced(&self, text: &str, direction: Direction) -> Option<String> {
        let lines = lines(text);
        let mut result = String::with_capacity(text.len());
        let mut place = 0;
        // How many lines of the edited text stand before a line, counted in lines of the old one.
        let mut more: isize = 0;
        for edit in &self.0 {
            let (goes, comes, shift) = match direction {
                Direction::Forth => (&edit.removed, &edit.added, 0),
                Direction::Back => (&edit.added, &edit.removed, more),
            };
            let start = edit.line.checked_sub(1)?.checked_add_signed(shift)?;
            let end = start.checked_add(goes.len())?;
            if start < place || lines.get(start..end)? != goes.as_slice() {
                return None;
            }
            lines[place..start].iter().for_each(|line| result.push_str(line));
            comes.iter().for_each(|line| result.push_str(line));
            place = end;
            more += edit.added.len().cast_signed() - edit.removed.len().cast_signed();
        }
        lines[place..].iter().for_each(|line| result.push_str(line));
        Some(result)
    }
}

/// Returns the change of a file as a patch that `patch -p1` and `git apply` take; empty where there is none.
pub fn patch(path: &str, old: &str, new: &str) -> String {
    let (old, new) = (lines(old), lines(new));
    let diff = TextDiff::configure().newline_terminated(true).diff_slices(&old, &new);
    // With blanks in a name `patch` takes what stands before the tabulator.
    let end = if path.contains(' ') { "\t" } else { "" };
    let mut unified = diff.unified_diff();
    unified.context_radius(3).header(&format!("a/{path}{end}"), &format!("b/{path}{end}"));
    unified.to_string()
}

/// Returns the lines of a text, each with its line end.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn edits_name_the_lines_that_go_and_come() {
        let (old, new) = ("a\nRelease: 1\nb\n%changelog\n* x\n", "a\nRelease: 2\nb\n%changelog\n* y\n* x\n");
        let edit = TextEdit::between(old, new);
        let line = |line, removed: &[&str], added: &[&str]| LineEdit {
            line,
            removed: removed.iter().map(|text| (*text).to_owned()).collect(),
            added: added.iter().map(|text| (*text).to_owned()).collect(),
        };
        assert_eq!(edit.0, [line(2, &["Release: 1\n"], &["Release: 2\n"]), line(5, &[], &["* y\n"])]);
        assert_eq!(edit.apply(old).as_deref(), Some(new));
        assert_eq!(edit.undo(new).as_deref(), Some(old));
        for other in ["", "a\nRelease: 3\nb\n%changelog\n", "Release: 1\n"] {
            assert_eq!(edit.apply(other), None, "{other}");
            assert_eq!(edit.undo(other), None, "{other}");
        }
    }

    #[test]
    fn patches_are_unified_diffs() {
        let text = patch("SPECS/a b/a.spec", "one\ntwo", "one\n2\n");
        assert_eq!(
            text,
            "--- a/SPECS/a b/a.spec\t\n+++ b/SPECS/a b/a.spec\t\n@@ -1,2 +1,2 @@\n one\n-two\n\\ No newline at end of file\n+2\n"
        );
        assert_eq!(patch("x", "same\n", "same\n"), "");
    }

    proptest! {
        #[test]
        fn every_edit_is_done_and_undone(
            old in "([abc]?\r?\n){0,12}[abc]?",
            new in "([abc]?\r?\n){0,12}[abc]?",
        ) {
            let edit = TextEdit::between(&old, &new);
            prop_assert_eq!(edit.apply(&old), Some(new.clone()));
            prop_assert_eq!(edit.undo(&new), Some(old));
        }
    }
}
