//! How much of a version a trigger looks at.

use std::fmt;
use std::num::NonZeroU32;

use rpm_model::Evr;

/// How much of a version a trigger looks at. The epoch comes first in every level, for it stands above the
/// version; the release takes part in [`Level::Release`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The epoch alone.
    Epoch,
    /// The first so many elements of the version, which dots separate: `major` is 1, `minor` 2.
    Elements(NonZeroU32),
    /// The whole version.
    Last,
    /// Version and release.
    Release,
}

/// The named levels; case does not count.
const NAMES: [(&str, u32); 7] = [
    ("major", 1),
    ("minor", 2),
    ("patch", 3),
    ("micro", 3),
    ("extra", 4),
    ("releaselevel", 4),
    ("serial", 5),
];

impl Level {
    /// Returns the level that a word names, in any case; `None` where it names none.
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        let elements = |number: u32| NonZeroU32::new(number).map(Self::Elements);
        match word.as_str() {
            "last" => return Some(Self::Last),
            "epoch" => return Some(Self::Epoch),
            "release" => return Some(Self::Release),
            _ => {}
        }
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == word) {
            return elements(*number);
        }
        let digits = word.strip_prefix("first_")?;
        let canonical = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|_| canonical).and_then(elements)
    }

    /// Returns the part of a version that the level looks at; parts compare as whole versions do.
    pub fn part(self, evr: &Evr) -> Evr {
        match self {
            // The version of an EVR is never empty, and equal ones do not take part.
            Self::Epoch => Evr::new(evr.epoch, "0", None),
            Self::Elements(number) => {
                let most = usize::try_from(number.get()).unwrap_or(usize::MAX);
                let end =
                    evr.version.match_indices('.').nth(most - 1).map_or(evr.version.len(), |(at, _)| at);
                // A version that begins with a dot has an empty first element.
                let version = if end == 0 { "0" } else { &evr.version[..end] };
                Evr::new(evr.epoch, version, None)
            }
            Self::Last => Evr::new(evr.epoch, evr.version.clone(), None),
            Self::Release => evr.clone(),
        }
    }

    /// Writes a part that [`Level::part`] returned for people.
    pub(crate) fn describe(self, part: &Evr) -> String {
        if self == Self::Epoch { format!("epoch {}", part.epoch) } else { part.to_string() }
    }
}

impl fmt::Display for Level {
    /// Writes the level as [`Level::from_word`] reads it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch => f.write_str("epoch"),
            Self::Elements(number) => write!(f, "First_{number}"),
            Self::Last => f.write_str("last"),
            Self::Release => f.write_str("release"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_names_its_level() {
        for (word, version, part) in [
            ("major", "2:1.2.3.4.5.6-7", "2:1"),
            ("First_1", "1.2.3-7", "1"),
            ("MINOR", "1.2.3.4.5.6-7", "1.2"),
            ("patch", "1.2.3.4.5.6-7", "1.2.3"),
            ("micro", "1.2.3.4.5.6-7", "1.2.3"),
            ("extra", "1.2.3.4.5.6-7", "1.2.3.4"),
            ("releaselevel", "1.2.3.4.5.6-7", "1.2.3.4"),
            ("serial", "1.2.3.4.5.6-7", "1.2.3.4.5"),
            ("FIRST_6", "1.2.3.4.5.6.7-7", "1.2.3.4.5.6"),
            ("first_40", "1.2-7", "1.2"),
            ("last", "3:1.2.3.4.5.6-7", "3:1.2.3.4.5.6"),
            ("release", "3:1.2-7.1", "3:1.2-7.1"),
            ("epoch", "3:1.2-7", "3:0"),
            ("minor", "255-1", "255"),
            ("minor", "3.0~rc1-1", "3.0~rc1"),
            ("major", ".5-1", "0"),
        ] {
            let level = Level::from_word(word).unwrap();
            assert_eq!(level.part(&version.parse().unwrap()).to_string(), part, "{word} of {version}");
        }
    }

    #[test]
    fn other_words_are_no_levels() {
        for word in [
            "first_0",
            "first_",
            "first_x",
            "first_01",
            "First_-1",
            "first_99999999999",
            "majo",
            "major,",
            "",
        ] {
            assert_eq!(Level::from_word(word), None, "{word}");
        }
    }
}
