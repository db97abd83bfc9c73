//! The sections of a spec that rpmbuild runs, in their order, and how it is made to stop before one or to
//! leave some out.
//!
//! rpmbuild writes each section to a script and starts it with the command in a macro of the section's own,
//! `__spec_build_cmd` for `%build`. With `/bin/false` there the build fails exactly where the section would
//! start, and its script stays; with `/bin/true` the section counts as done. Unlike `--short-circuit` this
//! works for every section, and packaging follows as in any build.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A section that rpmbuild runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// `%prep`
    Prep,
    /// `%build`
    Build,
    /// `%install`
    Install,
    /// `%check`
    Check,
}

/// A text that names no section.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no section that can be chosen: %prep, %build, %install or %check")]
pub struct SectionError(String);

impl Section {
    /// All of them, in the order of a build.
    pub const ALL: [Self; 4] = [Self::Prep, Self::Build, Self::Install, Self::Check];

    /// Returns its name in a spec, for example `%build`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prep => "%prep",
            Self::Build => "%build",
            Self::Install => "%install",
            Self::Check => "%check",
        }
    }

    /// Returns the macro that holds the command for its script.
    fn command_macro(self) -> String {
        format!("__spec_{}_cmd", &self.as_str()[1..])
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Section {
    type Err = SectionError;

    /// Reads `%build` or `build`.
    fn from_str(text: &str) -> Result<Self, SectionError> {
        let name = text.strip_prefix('%').unwrap_or(text);
        Self::ALL
            .into_iter()
            .find(|section| &section.as_str()[1..] == name)
            .ok_or_else(|| SectionError(text.to_owned()))
    }
}

/// Makes rpmbuild fail where this section would start. `arguments` end with the file to build.
pub(crate) fn stop_before(arguments: &mut Vec<String>, section: Section) {
    // A build without %check would pass by where it is to stop.
    arguments.retain(|argument| argument != "--nocheck" || section != Section::Check);
    define(arguments, &section.command_macro(), "/bin/false");
}

/// Makes rpmbuild leave out all sections before this one. `arguments` end with the file to build.
pub(crate) fn start_from(arguments: &mut Vec<String>, section: Section) {
    for earlier in Section::ALL.into_iter().filter(|earlier| *earlier < section) {
        define(arguments, &earlier.command_macro(), "/bin/true");
    }
}

fn define(arguments: &mut Vec<String>, name: &str, value: &str) {
    let end = arguments.len().saturating_sub(1);
    arguments.splice(end..end, ["--define".to_owned(), format!("{name} {value}")]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments() -> Vec<String> {
        ["rpmbuild", "--nocheck", "x.spec"].map(str::to_owned).to_vec()
    }

    #[test]
    fn sections_are_read_with_and_without_their_sign() {
        for section in Section::ALL {
            assert_eq!(section.to_string().parse(), Ok(section));
            assert_eq!(section.as_str()[1..].parse(), Ok(section));
        }
        assert_eq!(
            "%files".parse::<Section>().unwrap_err().to_string(),
            "`%files` is no section that can be chosen: %prep, %build, %install or %check"
        );
    }

    #[test]
    fn the_file_to_build_stays_last() {
        let mut stopped = arguments();
        stop_before(&mut stopped, Section::Install);
        assert_eq!(stopped, ["rpmbuild", "--nocheck", "--define", "__spec_install_cmd /bin/false", "x.spec"]);
        let mut checked = arguments();
        stop_before(&mut checked, Section::Check);
        assert_eq!(checked, ["rpmbuild", "--define", "__spec_check_cmd /bin/false", "x.spec"]);
        let mut started = arguments();
        start_from(&mut started, Section::Install);
        assert_eq!(
            started,
            [
                "rpmbuild",
                "--nocheck",
                "--define",
                "__spec_prep_cmd /bin/true",
                "--define",
                "__spec_build_cmd /bin/true",
                "x.spec"
            ]
        );
        let mut whole = arguments();
        start_from(&mut whole, Section::Prep);
        assert_eq!(whole, arguments());
    }
}
