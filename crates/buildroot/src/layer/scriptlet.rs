//! Which scriptlets of a package do more than refresh the linker cache.
//!
//! Unpacking runs none. Most packages have none, or call `ldconfig`, which a build root does not
//! need: the linker's default directories are searched without its cache. The others are reported,
//! so that the caller can make one real rpm transaction instead.

use serde::{Deserialize, Serialize};

/// Ways to call `ldconfig` that appear in packages.
const LDCONFIG: [&str; 4] = ["/sbin/ldconfig", "/usr/sbin/ldconfig", "ldconfig", "%{_sbindir}/ldconfig"];

/// When rpm would have run a scriptlet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScriptletKind {
    /// `%pretrans`
    PreTransaction,
    /// `%pre`
    PreInstall,
    /// `%post`
    PostInstall,
    /// `%posttrans`
    PostTransaction,
    /// `%triggerin`, `%triggerprein` and their like, on other packages.
    Trigger,
    /// `%filetriggerin` and its like.
    FileTrigger,
    /// `%transfiletriggerin` and its like.
    TransactionFileTrigger,
}

/// A scriptlet that installing the package would have run, and that does real work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scriptlet {
    /// When it would have run.
    pub kind: ScriptletKind,
    /// The interpreter and its arguments; empty when the header names none.
    pub interpreter: Vec<String>,
    /// The first line that does something, for reports; at most 200 characters.
    pub first_line: String,
}

/// Returns the scriptlet when it does more than call `ldconfig`.
pub(super) fn if_real(kind: ScriptletKind, interpreter: &[String], script: &str) -> Option<Scriptlet> {
    let mut lines = script.lines().map(str::trim).filter(|line| !is_idle(line));
    let first_line = lines.next().unwrap_or_default();
    let program = interpreter.first().map_or("", String::as_str);
    let is_shell = program.is_empty() || program.ends_with("sh");
    // `%post -p /sbin/ldconfig` has the program as interpreter and no text.
    let is_real = if LDCONFIG.contains(&program) || is_shell { !first_line.is_empty() } else { true };
    is_real.then(|| Scriptlet {
        kind,
        interpreter: interpreter.to_vec(),
        first_line: first_line.chars().take(200).collect(),
    })
}

/// Whether a line of a shell script changes nothing, or only the linker cache.
fn is_idle(line: &str) -> bool {
    let command = line.trim_end_matches(';').trim_end();
    let command = ["|| :", "|| true"].iter().find_map(|tail| command.strip_suffix(tail)).unwrap_or(command);
    let command = command.trim_end();
    command.is_empty()
        || command.starts_with('#')
        || matches!(command, ":" | "true" | "exit 0" | "set -e" | "set -x")
        || LDCONFIG.contains(&command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_that_work_are_reported() {
        let check = |program: &str, script: &str, expected: Option<&str>| {
            let interpreter = if program.is_empty() { vec![] } else { vec![program.to_owned()] };
            let found = if_real(ScriptletKind::PostInstall, &interpreter, script);
            assert_eq!(
                found.map(|scriptlet| scriptlet.first_line).as_deref(),
                expected,
                "{program}: {script}"
            );
        };
        check("/sbin/ldconfig", "", None);
        check("/bin/sh", "", None);
        check("/bin/sh", "/sbin/ldconfig", None);
        check("/usr/bin/sh", "# comment\n\n  ldconfig || :\nexit 0\n", None);
        check("", "/usr/sbin/ldconfig\n", None);
        check("/bin/sh", "/sbin/ldconfig\nuseradd x", Some("useradd x"));
        check("/bin/sh", "ldconfig && useradd x", Some("ldconfig && useradd x"));
        check("<lua>", "", Some(""));
        check("<lua>", "posix.mkdir('/x')", Some("posix.mkdir('/x')"));
        check("/usr/bin/python3", "import os", Some("import os"));
        check("/usr/sbin/update-ca-trust", "", Some(""));
    }
}
