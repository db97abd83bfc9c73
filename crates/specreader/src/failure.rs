//! What is wrong with one spec, in rpm's own words.

use std::fmt;
use std::path::PathBuf;

use rebuild::trigger::{DefinitionPlace, locate_definition};
use rpm_model::BadSpec;
use serde::{Deserialize, Serialize};

/// Why a spec could not be read or packed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", self.summary())]
pub struct SpecFailure {
    /// The spec's base name without `.spec`.
    pub name: String,
    /// The spec file as the caller named it.
    pub spec_path: PathBuf,
    /// What kind of failure it is.
    pub kind: FailureKind,
    /// What rpm said, in its order; may be empty for failures that rpm could not report.
    pub diagnostics: Vec<Diagnostic>,
}

/// What kind of failure it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FailureKind {
    /// rpm refuses the spec; see the diagnostics.
    Rejected,
    /// The parse did not end in time, for example because of `%(sleep 1000)`.
    TimeLimit {
        /// The limit.
        seconds: u64,
    },
    /// The spec file is larger than any spec is, or rpm printed more than the limit.
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The spec's name has characters that no package name may have.
    BadName,
    /// What rpm printed is not UTF-8.
    NotUtf8 {
        /// Which field.
        field: String,
    },
    /// A dependency, version or source that rpm accepted cannot be understood.
    Malformed {
        /// Which field.
        field: String,
        /// The text and what is wrong with it.
        message: String,
    },
    /// A trigger macro is malformed.
    Trigger(Box<TriggerFault>),
    /// The spec file cannot be read.
    Unreadable {
        /// The system's words.
        message: String,
    },
    /// The parser died.
    Crashed {
        /// How, for example "signal 11".
        how: String,
    },
}

/// What is wrong with a trigger macro.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerFault {
    /// The macro.
    pub name: String,
    /// Its expanded value.
    pub value: String,
    /// Where.
    pub place: TriggerPlace,
    /// What is wrong, and what is accepted.
    pub message: String,
}

/// Where something is wrong with a trigger macro; lines and columns are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TriggerPlace {
    /// In the spec.
    Spec {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// In the expanded value of the macro that this line defines.
    Definition {
        /// The line of the definition in the spec.
        line: usize,
        /// The column in the value, in characters.
        column: usize,
    },
    /// In the expanded value, of which the spec does not show where it comes from.
    Value {
        /// The line in the value.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
}

impl TriggerPlace {
    /// Returns the line in the spec.
    fn spec_line(self) -> Option<u32> {
        match self {
            Self::Spec { line, .. } | Self::Definition { line, .. } => u32::try_from(line).ok(),
            Self::Value { .. } => None,
        }
    }
}

impl FailureKind {
    /// Returns the failure with its place in the spec, as far as this text of it shows one.
    pub(crate) fn located(self, spec: &str) -> Self {
        let Self::Trigger(mut fault) = self else { return self };
        if let TriggerPlace::Value { line, column } = fault.place {
            match locate_definition(spec, &fault.name, &fault.value, line, column) {
                Some(DefinitionPlace { line, column: Some(column) }) => {
                    fault.place = TriggerPlace::Spec { line, column };
                }
                Some(DefinitionPlace { line, column: None }) => {
                    fault.place = TriggerPlace::Definition { line, column };
                }
                None => {}
            }
        }
        Self::Trigger(fault)
    }

    /// Returns whether the same spec fails in the same way again, so that the failure may be remembered.
    pub fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Rejected | Self::BadName | Self::NotUtf8 { .. } | Self::Malformed { .. } | Self::Trigger(_)
        )
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected => f.write_str("rpm refuses the spec"),
            Self::TimeLimit { seconds } => {
                write!(f, "parsing did not end within {seconds} s; does a `%(...)` or `%{{lua:...}}` hang?")
            }
            Self::TooLarge { limit } => {
                write!(f, "the spec, or what rpm prints for it, is larger than {limit} bytes")
            }
            Self::BadName => {
                f.write_str("the file name must be a package name (letters, digits, `+-._`) and `.spec`")
            }
            Self::NotUtf8 { field } => write!(f, "{field} is not UTF-8"),
            Self::Malformed { field, message } => write!(f, "{field}: {message}"),
            Self::Trigger(fault) => fault.fmt(f),
            Self::Unreadable { message } => write!(f, "cannot be read: {message}"),
            Self::Crashed { how } => write!(f, "rpm died while parsing: {how}"),
        }
    }
}

impl fmt::Display for TriggerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, place, message } = self;
        match place {
            TriggerPlace::Spec { column, .. } => write!(f, "column {column}: `%{name}`: {message}"),
            TriggerPlace::Definition { column, .. } => {
                write!(f, "`%{name}`, which expands to `{value}`, column {column}: {message}")
            }
            TriggerPlace::Value { line, column } => {
                write!(f, "`%{name}`, which expands to `{value}`, line {line} column {column}: {message}")
            }
        }
    }
}

/// One of rpm's error messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The file rpm names where it is not the spec itself, for example an included one or a macro file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// Line, counted from 1, where rpm names one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    /// rpm's words without `error:` and the place.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)
    }
}

impl SpecFailure {
    /// Returns the failure in one line: file, place, rpm's first message.
    pub fn summary(&self) -> String {
        let mut place = self.spec_path.display().to_string();
        if let FailureKind::Trigger(fault) = &self.kind
            && let Some(line) = fault.place.spec_line()
        {
            place = format!("{place}:{line}");
        }
        match self.diagnostics.first() {
            Some(first) if self.kind == FailureKind::Rejected => format!("{place}: {first}"),
            Some(first) => format!("{place}: {} ({first})", self.kind),
            None => format!("{place}: {}", self.kind),
        }
    }
}

impl From<SpecFailure> for BadSpec {
    fn from(failure: SpecFailure) -> Self {
        let line = match &failure.kind {
            FailureKind::Trigger(fault) => fault.place.spec_line(),
            _ => failure.diagnostics.iter().find(|d| d.file.is_none()).and_then(|d| d.line),
        };
        let mut words: Vec<String> = Vec::new();
        if failure.kind != FailureKind::Rejected || failure.diagnostics.is_empty() {
            words.push(failure.kind.to_string());
        }
        for (index, diagnostic) in failure.diagnostics.iter().enumerate() {
            // The place of the first message is the bad spec's own; saying it twice helps nobody.
            let told = index == 0 && words.is_empty() && diagnostic.file.is_none();
            words.push(if told { diagnostic.message.clone() } else { diagnostic.to_string() });
        }
        Self {
            name: failure.name,
            spec_path: failure.spec_path.display().to_string(),
            line,
            message: words.join("\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_trigger_has_its_place_in_the_spec() {
        let spec = "Name: x\n%global _mkpkg_depends lua > nonsense\n";
        let failure = |value: &str, column| SpecFailure {
            name: "x".to_owned(),
            spec_path: PathBuf::from("SPECS/x/x.spec"),
            kind: FailureKind::Trigger(Box::new(TriggerFault {
                name: "_mkpkg_depends".to_owned(),
                value: value.to_owned(),
                place: TriggerPlace::Value { line: 1, column },
                message: "expected a level".to_owned(),
            }))
            .located(spec),
            diagnostics: Vec::new(),
        };
        let exact = failure("lua > nonsense", 7);
        assert_eq!(exact.summary(), "SPECS/x/x.spec:2: column 30: `%_mkpkg_depends`: expected a level");
        assert_eq!(BadSpec::from(exact.clone()).to_string(), exact.summary());
        assert_eq!(
            failure("lua > made", 7).summary(),
            "SPECS/x/x.spec:2: `%_mkpkg_depends`, which expands to `lua > made`, column 7: expected a level"
        );
    }

    #[test]
    fn a_bad_spec_keeps_every_message_and_the_first_line_number() {
        let diagnostic = |file: Option<&str>, line, message: &str| Diagnostic {
            file: file.map(str::to_owned),
            line,
            message: message.to_owned(),
        };
        let mut failure = SpecFailure {
            name: "zlib".to_owned(),
            spec_path: PathBuf::from("SPECS/zlib/zlib.spec"),
            kind: FailureKind::Rejected,
            diagnostics: vec![
                diagnostic(Some("common.inc"), Some(3), "Unclosed %if"),
                diagnostic(None, Some(7), "Unknown tag: Foo"),
            ],
        };
        assert_eq!(failure.to_string(), "SPECS/zlib/zlib.spec: common.inc:3: Unclosed %if");
        let bad = BadSpec::from(failure.clone());
        assert_eq!(bad.line, Some(7));
        assert_eq!(bad.message, "common.inc:3: Unclosed %if\nline 7: Unknown tag: Foo");
        let second = failure.diagnostics.pop().unwrap();
        let bad = BadSpec::from(SpecFailure { diagnostics: vec![second], ..failure });
        assert_eq!((bad.line, bad.message.as_str()), (Some(7), "Unknown tag: Foo"));
    }
}
