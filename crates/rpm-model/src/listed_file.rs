//! One entry of a `%files` section: a path or glob, and the directives that decide what it stands for.
//!
//! Text form, also in JSON: `%exclude`, `%dir` and `%ghost` in this order where they are given, then the path:
//! `%dir /usr/share/doc`, `/usr/bin/*`. Other directives (`%attr`, `%config`, `%doc`, ...) say nothing about which
//! files a package has and are not kept.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One entry of a `%files` section.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ListedFile {
    /// An absolute path or glob as the spec states it, macros expanded, quotes taken off.
    pub path: String,
    /// `%exclude`: what it matches is not in the package.
    pub excluded: bool,
    /// `%dir`: the directory alone. A directory without it stands for all that is below too.
    pub directory_only: bool,
    /// `%ghost`: the package owns the path and does not carry it.
    pub ghost: bool,
}

/// Why a text is not a [`ListedFile`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}`: expected %exclude, %dir or %ghost, then an absolute path")]
pub struct ListedFileError {
    /// The whole text.
    pub text: String,
}

impl fmt::Display for ListedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (given, directive) in
            [(self.excluded, "%exclude "), (self.directory_only, "%dir "), (self.ghost, "%ghost ")]
        {
            f.write_str(if given { directive } else { "" })?;
        }
        f.write_str(&self.path)
    }
}

impl FromStr for ListedFile {
    type Err = ListedFileError;

    fn from_str(text: &str) -> Result<Self, ListedFileError> {
        let mut rest = text;
        let mut given = |directive| match rest.strip_prefix(directive) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        };
        let (excluded, directory_only, ghost) = (given("%exclude "), given("%dir "), given("%ghost "));
        if !rest.starts_with('/') {
            return Err(ListedFileError { text: text.to_owned() });
        }
        Ok(Self { path: rest.to_owned(), excluded, directory_only, ghost })
    }
}

impl From<ListedFile> for String {
    fn from(file: ListedFile) -> Self {
        file.to_string()
    }
}

impl TryFrom<String> for ListedFile {
    type Error = ListedFileError;

    fn try_from(text: String) -> Result<Self, ListedFileError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_round_trip() {
        for text in ["/usr/bin/*", "%dir /usr/share/a b", "%exclude %dir %ghost /x", "%ghost /var/log/x"] {
            let file: ListedFile = text.parse().unwrap();
            assert_eq!(file.to_string(), text);
            let json = serde_json::to_string(&file).unwrap();
            assert_eq!(json, format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<ListedFile>(&json).unwrap(), file);
        }
        assert!("%dir /a".parse::<ListedFile>().unwrap().directory_only);
    }

    #[test]
    fn what_is_no_absolute_path_is_refused() {
        for text in ["", "a", "%dir", "%dir  /a", "%doc /a", "%ghost %dir /a"] {
            assert!(text.parse::<ListedFile>().is_err(), "{text}");
        }
    }
}
