//! In what a package differs from another build of it: plain data, and its words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::nevra::Nevra;

/// One thing in which a package differs from another build of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "kebab-case")]
pub enum PackageDifference {
    /// A value of the header that is not about single files.
    Tag {
        /// rpm's name of the tag, for example `BUILDTIME`.
        tag: String,
        /// The first package's value, shortened; absent when it has none.
        first: Option<String>,
        /// The second package's.
        second: Option<String>,
    },
    /// A file that only the first package has.
    OnlyInFirst {
        /// Its path.
        path: String,
    },
    /// A file that only the second package has.
    OnlyInSecond {
        /// Its path.
        path: String,
    },
    /// A file that both have.
    File {
        /// Its path.
        path: String,
        /// In what it differs.
        aspects: Vec<FileAspect>,
    },
    /// Nothing that a header tells: the compressed payload or the order of files in it.
    PayloadEncoding,
    /// Nothing but the signature header.
    SignatureHeader,
}

/// In what a file of a package differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "aspect", rename_all = "kebab-case")]
pub enum FileAspect {
    /// Its content.
    Content {
        /// Sizes in bytes.
        sizes: [u64; 2],
    },
    /// Its type or permissions.
    Mode {
        /// Both, as `st_mode` has them.
        modes: [u16; 2],
    },
    /// Its owner or group.
    Owner {
        /// Both, `user:group`.
        owners: [String; 2],
    },
    /// Its time of modification.
    Time {
        /// Both, in seconds since 1970 UTC.
        seconds: [u32; 2],
    },
    /// Where a symbolic link leads.
    Link {
        /// Both.
        targets: [String; 2],
    },
}

impl fmt::Display for PackageDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        match self {
            Self::Tag { tag, first, second } => {
                write!(f, "header tag {tag}: {} and {}", value(first), value(second))?;
                match advice(tag) {
                    Some(advice) => write!(f, " ({advice})"),
                    None => Ok(()),
                }
            }
            Self::OnlyInFirst { path } => write!(f, "{path}: only in the first build"),
            Self::OnlyInSecond { path } => write!(f, "{path}: only in the second build"),
            Self::File { path, aspects } => {
                let aspects: Vec<String> = aspects.iter().map(ToString::to_string).collect();
                write!(f, "{path}: {}", aspects.join("; "))
            }
            Self::PayloadEncoding => {
                f.write_str("the files are the same, but the payload is compressed or ordered in another way")
            }
            Self::SignatureHeader => f.write_str("only the signature header differs"),
        }
    }
}

impl fmt::Display for FileAspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Content { sizes: [a, b] } if a == b => write!(
                f,
                "its content differs ({a} bytes in both: look for a date, a random name or an address in it)"
            ),
            Self::Content { sizes: [a, b] } => write!(f, "its content differs ({a} and {b} bytes)"),
            Self::Mode { modes: [a, b] } => write!(f, "its mode differs ({a:o} and {b:o})"),
            Self::Owner { owners: [a, b] } => write!(f, "its owner differs ({a} and {b})"),
            Self::Time { seconds: [a, b] } => write!(
                f,
                "its time differs ({a} and {b}: times are cut to the date of the newest %changelog entry; without one, or \
                 before it, they stay what they are)"
            ),
            Self::Link { targets: [a, b] } => write!(f, "it leads elsewhere (`{a}` and `{b}`)"),
        }
    }
}

/// Returns what a packager can do about a tag that differs.
fn advice(tag: &str) -> Option<&'static str> {
    match tag {
        "BUILDTIME" => Some("a spec without %changelog gives no date; add an entry"),
        "BUILDHOST" => Some("the build host was not fixed by `_buildhost`"),
        "SIZE" | "LONGSIZE" => Some("follows from the files below"),
        "PROVIDENAME" | "REQUIRENAME" | "PROVIDEVERSION" | "REQUIREVERSION" => {
            Some("generated from the files below, or from a macro that the spec expands")
        }
        _ => None,
    }
}

/// A package that was built and differs from the one that was published before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedPackage {
    /// The published package; the new one has the same name and architecture.
    pub published: Nevra,
    /// The first differences; of files, what the headers tell. Empty when there is no such package any more.
    pub differences: Vec<PackageDifference>,
    /// How many differences more there are.
    #[serde(default)]
    pub more: usize,
}

impl ChangedPackage {
    /// How many differences are kept.
    pub const MOST: usize = 5;

    /// Returns the change of a package that differs in these ways: the first of them, files before values of the
    /// header, most of which follow from files.
    pub fn new(published: Nevra, mut differences: Vec<PackageDifference>) -> Self {
        differences.sort_by_key(|difference| matches!(difference, PackageDifference::Tag { .. }));
        let more = differences.len().saturating_sub(Self::MOST);
        differences.truncate(Self::MOST);
        Self { published, differences, more }
    }
}

impl fmt::Display for ChangedPackage {
    /// Writes the change in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.published)?;
        if self.differences.is_empty() {
            return f.write_str(" is made no more");
        }
        for (number, difference) in self.differences.iter().enumerate() {
            f.write_str(if number == 0 { ": " } else { "; " })?;
            match difference {
                PackageDifference::Tag { tag, first, second } => {
                    write!(f, "{tag} {} -> {}", shortened(first.as_deref()), shortened(second.as_deref()))?;
                }
                PackageDifference::OnlyInFirst { path } => write!(f, "{path} is gone")?,
                PackageDifference::OnlyInSecond { path } => write!(f, "{path} is new")?,
                PackageDifference::File { path, aspects } => {
                    let aspects: Vec<&str> = aspects.iter().map(FileAspect::as_str).collect();
                    write!(f, "{path} has another {}", aspects.join(", "))?;
                }
                other => write!(f, "{other}")?,
            }
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "; {more} more"),
        }
    }
}

/// Returns a value as it fits into a line.
fn shortened(value: Option<&str>) -> String {
    const LONGEST: usize = 30;
    let value = value.unwrap_or("absent");
    match value.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

impl FileAspect {
    /// Returns the aspect as a word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Content { .. } => "content",
            Self::Mode { .. } => "mode",
            Self::Owner { .. } => "owner",
            Self::Time { .. } => "time",
            Self::Link { .. } => "target",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_short() {
        let published: Nevra = "zlib-1.0-1.x86_64".parse().unwrap();
        let tag = PackageDifference::Tag {
            tag: "RELEASE".into(),
            first: Some("1".into()),
            second: Some("2".into()),
        };
        let file = PackageDifference::File {
            path: "/usr/lib64/libz.so.1".into(),
            aspects: vec![FileAspect::Content { sizes: [1, 2] }, FileAspect::Mode { modes: [1, 2] }],
        };
        let new = PackageDifference::OnlyInSecond { path: "/usr/share/x".into() };
        let mut differences = vec![tag, file, new];
        let changed = ChangedPackage::new(published.clone(), differences.clone());
        assert_eq!(
            changed.to_string(),
            "zlib-1.0-1.x86_64: /usr/lib64/libz.so.1 has another content, mode; /usr/share/x is new; RELEASE 1 -> 2"
        );
        let gone = |number: usize| PackageDifference::OnlyInFirst { path: format!("/{number}") };
        differences.extend((0..4).map(gone));
        let changed = ChangedPackage::new(published.clone(), differences);
        assert!(changed.to_string().ends_with("/2 is gone; 2 more"), "{changed}");
        let text = serde_json::to_string(&changed).unwrap();
        assert_eq!(serde_json::from_str::<ChangedPackage>(&text).unwrap(), changed);
        let none = ChangedPackage::new(published, Vec::new());
        assert_eq!(none.to_string(), "zlib-1.0-1.x86_64 is made no more");
    }
}
