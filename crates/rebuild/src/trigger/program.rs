//! The text of `%_mkpkg_depends_programs` to programs, and what such a program says to a version.
//!
//! What it is not: it runs nothing; whoever asks runs the programs and hands over what they answered.

use std::collections::BTreeMap;
use std::fmt;

use rpm_model::Evr;

use super::parse::{Cursor, TriggerSyntaxError};
use crate::words::{is_line_blank, word};

/// What `%_mkpkg_depends_programs` accepts.
const GRAMMAR: &str = "programs are separated by `;` or line ends; each is `name = command argument ...` with words as in a \
    shell: blanks separate them, and they may stand in '' or \"\"; no shell reads them, so write sh -c '...' for pipes and \
    variables (and %% for %)";

/// The programs that give versions, by the name that they give the version of; each is a command and its arguments.
pub type Programs = BTreeMap<String, Vec<String>>;

/// What a program answered when it was asked.
pub type ProgramAnswer = Result<Evr, ProgramFault>;

/// Why a program gave no version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProgramFault {
    /// It could not be run.
    NotRun {
        /// Why.
        reason: String,
    },
    /// It ended with a failure.
    Failed {
        /// How it ended, for example `exit code 1`.
        end: String,
        /// The last line that it wrote to standard error.
        words: String,
    },
    /// It took too long and was killed.
    TimedOut {
        /// The limit.
        seconds: u64,
    },
    /// It said too much and was killed.
    TooMuch {
        /// The limit.
        bytes: u64,
    },
    /// Its first line is empty.
    Silent,
    /// Its first line is no version.
    NoVersion {
        /// The line, or its beginning.
        line: String,
    },
}

impl fmt::Display for ProgramFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRun { reason } => write!(f, "it could not be run: {reason}"),
            Self::Failed { end, words } if words.is_empty() => write!(f, "it ended with {end}"),
            Self::Failed { end, words } => write!(f, "it ended with {end}: {words}"),
            Self::TimedOut { seconds } => write!(f, "it took longer than {seconds} s and was killed"),
            Self::TooMuch { bytes } => write!(f, "it said more than {bytes} bytes and was killed"),
            Self::Silent => f.write_str("it said nothing, where its first line should be the version"),
            Self::NoVersion { line } => write!(f, "its first line, `{line}`, is no version"),
        }
    }
}

/// Parses the expanded text of `%_mkpkg_depends_programs`.
///
/// # Errors
///
/// Returns an error with line, column and the accepted grammar where the text is malformed.
///
/// # Examples
///
/// ```
/// let programs = rebuild::trigger::parse_programs("dovecot = dovecot --version; x = sh -c 'x -V | cut -c 3-'").unwrap();
/// assert_eq!(programs["dovecot"], ["dovecot", "--version"]);
/// assert_eq!(programs["x"], ["sh", "-c", "x -V | cut -c 3-"]);
/// ```
pub fn parse_programs(text: &str) -> Result<Programs, TriggerSyntaxError> {
    let mut cursor = Cursor::new(text, GRAMMAR);
    let mut programs = Programs::new();
    loop {
        cursor.skip(|c| c == ';' || c.is_whitespace());
        if cursor.peek().is_none() {
            return Ok(programs);
        }
        let start = cursor.clone();
        let name = cursor.name()?;
        if programs.contains_key(&name) {
            return Err(start.error("a name that has no program yet"));
        }
        cursor.skip(is_line_blank);
        if cursor.peek() != Some('=') {
            return Err(cursor.error("`=` and a command"));
        }
        cursor.advance();
        cursor.skip(is_line_blank);
        let mut command = Vec::new();
        while let Some(c) = cursor.peek() {
            if c == ';' || c == '\n' {
                break;
            }
            command.push(word(&mut cursor, |c| c == ';')?);
            cursor.skip(is_line_blank);
        }
        if command.first().is_none_or(String::is_empty) {
            return Err(cursor.error("a command"));
        }
        programs.insert(name, command);
    }
}

/// Returns the version that a program gave: its first line, which may have blanks around it and nothing else.
///
/// # Errors
///
/// Returns the fault where the line is no version `[epoch:]version[-release]` that begins with a digit.
pub fn answered_version(output: &[u8]) -> ProgramAnswer {
    let first = output.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(first);
    let line = line.trim();
    if line.is_empty() {
        return Err(ProgramFault::Silent);
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "._+~^:-".contains(c);
    let parsed = line.parse::<Evr>().ok().filter(|evr| {
        line.len() <= LONGEST_VERSION
            && line.chars().all(legal)
            && evr.version.starts_with(|c: char| c.is_ascii_digit())
    });
    parsed.ok_or_else(|| ProgramFault::NoVersion { line: shown(line) })
}

/// Returns a command as it could be typed.
pub fn command_text(words: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_./:=,+@%^-".contains(c))
    };
    let typed = |word: &String| match word {
        word if plain(word) => word.clone(),
        word => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(typed).collect::<Vec<_>>().join(" ")
}

/// Longer texts are no version.
const LONGEST_VERSION: usize = 200;

/// Returns what a program said in a form that cannot disturb a terminal.
pub fn shown(line: &str) -> String {
    const SHOWN: usize = 100;
    let mut shown: String = line.chars().take(SHOWN).flat_map(char::escape_default).collect();
    if line.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_have_words_as_in_a_shell() {
        for (text, name, command) in [
            ("a=b", "a", &["b"][..]),
            (" a\t= b  c ;", "a", &["b", "c"]),
            ("x = y\na = 'b c' \"d \\\" e\" f'g'h", "a", &["b c", "d \" e", "fgh"]),
            ("a = ./b ''; c = d", "a", &["./b", ""]),
            ("a = b --x=1,2 *.c [d] c#", "a", &["b", "--x=1,2", "*.c", "[d]", "c#"]),
            ("a = b\\ c", "a", &["b c"]),
            ("pkgconfig(lua) = lua -v", "pkgconfig(lua)", &["lua", "-v"]),
            ("a = sh -c 'b | c; d'", "a", &["sh", "-c", "b | c; d"]),
        ] {
            let programs = parse_programs(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(programs[name], command, "{text}");
        }
        assert!(parse_programs(" ;\n").unwrap().is_empty());
    }

    #[test]
    fn commands_are_shown_as_they_could_be_typed() {
        let words = ["sh", "-c", "it's | x", ""].map(str::to_owned);
        assert_eq!(command_text(&words), "sh -c 'it'\\''s | x' ''");
        assert_eq!(parse_programs(&format!("a = {}", command_text(&words))).unwrap()["a"], words);
    }

    #[test]
    fn malformed_texts_are_refused_with_place_and_grammar() {
        for (text, line, column, expected) in [
            ("a", 1, 2, "`=` and a command"),
            ("a b", 1, 3, "`=` and a command"),
            ("a =", 1, 4, "a command"),
            ("a = ; b = c", 1, 5, "a command"),
            ("a = ''", 1, 7, "a command"),
            ("a = b | c", 1, 7, "a word without"),
            ("a = b\n  c = d > e", 2, 9, "a word without"),
            ("a = $b", 1, 5, "a word without"),
            ("a = 'b", 1, 7, "the closing quote"),
            ("a = b; a = c", 1, 8, "a name that has no program yet"),
            ("= b", 1, 1, "the name"),
        ] {
            let error = parse_programs(text).expect_err(text);
            assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
            assert!(error.expected.starts_with(expected), "{text}: {error}");
            assert!(error.to_string().contains("sh -c '...'"), "{error}");
        }
    }

    #[test]
    fn the_first_line_is_the_version_or_there_is_none() {
        for (output, expected) in
            [("1.2.3\n", "1.2.3"), ("  2:1.2-3  \r\nmore", "2:1.2-3"), ("1.0~rc1+git^5", "1.0~rc1+git^5")]
        {
            assert_eq!(answered_version(output.as_bytes()).unwrap().to_string(), expected);
        }
        for output in ["2.3.21 (47349e2482)\n", "v1.2", "x:1", "1.2;rm", "\u{1b}[31m1", "1:", "-1"] {
            let fault = answered_version(output.as_bytes()).unwrap_err();
            assert!(matches!(fault, ProgramFault::NoVersion { .. }), "{output}: {fault:?}");
            assert!(!fault.to_string().contains('\u{1b}'));
        }
        assert_eq!(answered_version(b"\n1.2\n"), Err(ProgramFault::Silent));
        assert!(matches!(answered_version(b"1\xff2"), Err(ProgramFault::NoVersion { .. })));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[a-z0-9=;'\"\\\\ $|().\\n\u{e9}-]{0,30}", output: Vec<u8>) {
            let _ = parse_programs(&text);
            let _ = answered_version(&output);
        }

        #[test]
        fn what_is_quoted_is_read_again(words in proptest::collection::vec("[ -&(-~\u{e9}]{1,8}", 1..4)) {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            let programs = parse_programs(&format!("a = {}", quoted.join(" "))).unwrap();
            prop_assert_eq!(&programs["a"], &words);
        }
    }
}
