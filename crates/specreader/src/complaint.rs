//! Takes rpm's standard error apart into messages with a place.
//!
//! rpm writes `error: line 3: ...`, `error: FILE: line 3: ...`, `error: FILE:3: ...` or a bare
//! `error: ...`; a message may go on over several lines. Warnings are not errors and are left out, as are
//! the closing words that only repeat that the query failed.

use crate::failure::Diagnostic;

/// Messages beyond this many say nothing new.
const MAXIMUM_MESSAGES: usize = 50;
/// One message longer than this many characters is cut.
const MAXIMUM_LENGTH: usize = 2000;

/// Returns rpm's error messages; `directory` and `spec` are where rpm saw the spec.
pub(crate) fn diagnostics(stderr: &[u8], directory: &str, spec: &str) -> Vec<Diagnostic> {
    let text = String::from_utf8_lossy(stderr);
    let mut messages: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(message) = line.strip_prefix("error: ") {
            inside = true;
            messages.push(message.trim_end().to_owned());
        } else if line.starts_with("warning: ") {
            inside = false;
        } else if let (true, Some(last)) = (inside, messages.last_mut()) {
            last.push('\n');
            last.push_str(line.trim_end());
        }
    }
    if messages.is_empty() {
        let last = text.lines().map(str::trim).rfind(|line| !line.is_empty());
        messages.extend(last.map(str::to_owned));
    }
    let closing =
        |message: &str| message.starts_with("query of specfile ") || message.starts_with("parsing failed");
    if messages.iter().any(|message| !closing(message)) {
        messages.retain(|message| !closing(message));
    }
    messages.dedup();
    messages.truncate(MAXIMUM_MESSAGES);
    messages.iter().map(|message| diagnostic(message.trim_end(), directory, spec)).collect()
}

fn diagnostic(message: &str, directory: &str, spec: &str) -> Diagnostic {
    let (file, line, words) = place(message);
    let file = file.and_then(|file| {
        let base = spec.rsplit('/').next().unwrap_or(spec);
        if file == spec || file == base {
            return None;
        }
        let inside = file.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/'));
        Some(inside.unwrap_or(file).to_owned())
    });
    let message = words.chars().take(MAXIMUM_LENGTH).collect();
    Diagnostic { file, line, message }
}

/// Splits `[FILE] line N: words` or `FILE:N: words`; what has no such place is all words.
fn place(message: &str) -> (Option<&str>, Option<u32>, &str) {
    let numbered = |rest: &str| -> Option<(u32, usize)> {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..digits].parse().ok()?;
        rest[digits..].starts_with(':').then_some((number, digits + 1))
    };
    if let Some(rest) = message.strip_prefix("line ")
        && let Some((line, length)) = numbered(rest)
    {
        return (None, Some(line), rest[length..].trim_start());
    }
    let Some((file, rest)) = message.split_once(':') else { return (None, None, message) };
    if file.is_empty() || file.contains(char::is_whitespace) {
        return (None, None, message);
    }
    let after = rest.strip_prefix(" line ").unwrap_or(rest);
    match numbered(after) {
        Some((line, length)) => (Some(file), Some(line), after[length..].trim_start()),
        None => (None, None, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stderr: &str, expected: &[&str]) {
        let found = diagnostics(stderr.as_bytes(), "/build/SPECS/a", "/build/SPECS/a/a.spec");
        let written: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(written, expected, "{stderr}");
    }

    #[test]
    fn places_are_read_in_every_form() {
        check("error: line 3: Unknown tag: Foo: bar\n", &["line 3: Unknown tag: Foo: bar"]);
        check("error: /build/SPECS/a/a.spec: line 2: Too many levels\n", &["line 2: Too many levels"]);
        check("error: /build/SPECS/a/a.spec:5: bad %if\n", &["line 5: bad %if"]);
        check("error: a.spec:5: bad %if\n", &["line 5: bad %if"]);
        check("error: /build/SPECS/a/x.inc:5: bad\n", &["x.inc:5: bad"]);
        check(
            "error: Name field must be present in package: (main package)\n",
            &["Name field must be present in package: (main package)"],
        );
        check(
            "error: lua script failed: [string \"x\"]:1: no\n",
            &["lua script failed: [string \"x\"]:1: no"],
        );
    }

    #[test]
    fn warnings_and_closing_words_are_left_out() {
        check(
            "warning: bogus date\nerror: line 1: one\nmore of it\nwarning: w\nnoise\nerror: line 2: two\n\
             error: query of specfile /build/SPECS/a/a.spec failed, can't parse\n",
            &["line 1: one\nmore of it", "line 2: two"],
        );
        check(
            "error: query of specfile x failed, can't parse\n",
            &["query of specfile x failed, can't parse"],
        );
    }

    #[test]
    fn without_an_error_the_last_words_are_kept() {
        check("sh: 1: foo: not found\n\n", &["sh: 1: foo: not found"]);
        check("", &[]);
    }

    #[test]
    fn floods_are_cut() {
        let flood = "error: line 1: ".to_owned() + &"x".repeat(5000) + "\n";
        assert_eq!(diagnostics(flood.as_bytes(), "/d", "/d/s")[0].message.len(), MAXIMUM_LENGTH);
        let many: String = (1..=200).map(|n| format!("error: line {n}: x\n")).collect();
        assert_eq!(diagnostics(many.as_bytes(), "/d", "/d/s").len(), MAXIMUM_MESSAGES);
    }
}
