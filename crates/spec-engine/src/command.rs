//! Which shell expansions may be remembered, and what their output depends on. Pure: text in, verdict out.
//!
//! The same few commands run for nearly every spec of a tree, because macro files hold them; running each once
//! saves four fifths of the time that parsing takes. Wrong would be to remember one that answers differently
//! each time, or one that does something, or one that looks at the directory it runs in. What is recognised as one
//! of these runs again, and the lists err on that side; everything else is taken to depend on its text and the
//! environment alone.

use std::collections::BTreeSet;

/// Programs and variables whose answer differs from one call to the next, or that do something.
const VOLATILE: [&str; 56] = [
    "BASHPID",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SRANDOM",
    "chmod",
    "chown",
    "cp",
    "curl",
    "date",
    "dd",
    "df",
    "dnf",
    "dpkg",
    "free",
    "hostname",
    "hostnamectl",
    "install",
    "kill",
    "killall",
    "ln",
    "logger",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "mv",
    "netstat",
    "openssl",
    "pgrep",
    "pkill",
    "ps",
    "random",
    "rm",
    "rmdir",
    "rpm",
    "rpmdb",
    "rpmkeys",
    "rpmquery",
    "rpmspec",
    "shuf",
    "sleep",
    "sync",
    "systemctl",
    "tee",
    "time",
    "touch",
    "truncate",
    "unlink",
    "uptime",
    "urandom",
    "uuid",
    "uuidgen",
    "wget",
];

/// Programs and variables whose answer depends on the working directory.
const LOCAL: [&str; 12] =
    ["OLDPWD", "PWD", "bzr", "dirs", "du", "find", "git", "hg", "ls", "pwd", "svn", "tree"];

/// Redirections that leave nothing behind.
const HARMLESS: [&str; 8] = [
    "2>/dev/null",
    "2> /dev/null",
    "&>/dev/null",
    "&> /dev/null",
    "2>&1",
    "1>&2",
    ">/dev/null",
    "> /dev/null",
];

/// What the output of a command depends on besides its text and the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Nothing: the output may be remembered for every spec.
    Shared,
    /// The working directory: the output may be remembered for this spec.
    Local,
    /// It must run each time.
    Never,
}

/// Returns how the output of a command may be remembered; `neighbours` are the names of the files in the
/// directory that it runs in.
pub(crate) fn memory(command: &str, neighbours: &[String]) -> Memory {
    let quiet = HARMLESS.iter().fold(command.to_owned(), |text, harmless| text.replace(harmless, ""));
    let words = words(command);
    let has = |list: &[&str]| list.iter().any(|word| words.contains(word));
    if quiet.contains('>') || command.contains("$$") || command.contains("/proc") || has(&VOLATILE) {
        return Memory::Never;
    }
    if has(&LOCAL)
        || names_files(command)
        || reads_makefile(&words, neighbours)
        || neighbours.iter().any(|name| mentions(command, name))
    {
        return Memory::Local;
    }
    Memory::Shared
}

/// Splits at everything that cannot be part of a program's or variable's name; paths count by their last part.
fn words(command: &str) -> BTreeSet<&str> {
    let part = |c: char| c.is_ascii_alphanumeric() || "_-+.".contains(c);
    command.split(|c| !part(c)).filter(|word| !word.is_empty()).collect()
}

/// Returns whether a command may name files by a pattern or by a path from here.
fn names_files(command: &str) -> bool {
    let bracket = |(index, _): (usize, &str)| {
        // `[ -f x ]` is a test, `[a-z]` is a pattern.
        !command[index + 1..].starts_with([' ', '[']) && !command[..index].ends_with('[')
    };
    let path_from_here = |(index, _): (usize, &str)| {
        let before = command[..index].trim_end_matches('.').chars().next_back();
        // As in `./x` and `--file=../x`, but not in `s/\./x/`.
        before.is_none_or(|c| c.is_whitespace() || "\"'`=:(<>;&|,{".contains(c))
    };
    let mut operands = command.split(|c: char| c.is_whitespace() || ";|&()<>\"'`".contains(c));
    command.contains(['*', '?'])
        || command.match_indices('[').any(bracket)
        || command.match_indices("./").any(path_from_here)
        || operands.any(|operand| matches!(operand, "." | ".."))
}

/// Returns whether a command mentions a file, a directory on the way to it, or a module that is in the file.
fn mentions(command: &str, path: &str) -> bool {
    path.split('/').any(|name| {
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        [name, stem].iter().any(|text| text.len() > 1 && command.contains(text))
    })
}

/// Returns whether a command reads a file that it does not name.
fn reads_makefile(words: &BTreeSet<&str>, neighbours: &[String]) -> bool {
    words.contains("make") && neighbours.iter().any(|name| name.to_ascii_lowercase().ends_with("makefile"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &str, expected: Memory) {
        let neighbours =
            ["VERSION", "platform.py", "a", "patches/1.patch", "sub/GNUmakefile"].map(str::to_owned);
        assert_eq!(memory(command, &neighbours), expected, "{command}");
    }

    #[test]
    fn commands_of_macro_files_are_shared() {
        for command in [
            "/usr/bin/python3 -Ic \"import sysconfig; print(sysconfig.get_path('purelib'))\"",
            "perl -V:version",
            "getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1",
            "echo 1.2.3 | cut -d. -f1 | sed 's/x/y/;s/\\./_/'",
            "c=0123456; echo ${c:0:7}",
            "[ -f /etc/os-release ] && . /etc/os-release && echo $ID",
            "if [[ $x == y ]]; then echo z; fi",
            "pkg-config --modversion foo 2>&1 >/dev/null",
            "test -e /usr/bin/update-alternatives && echo 1",
        ] {
            // A lone dot is the shell's `source`; that costs sharing, and nothing else.
            let expected = if command.contains(" . ") { Memory::Local } else { Memory::Shared };
            check(command, expected);
        }
    }

    #[test]
    fn what_looks_around_is_local() {
        for command in [
            "ls",
            "cat VERSION",
            "cat ./x",
            "echo *.patch",
            "git describe",
            "echo $PWD",
            "python3 -c 'import platform'",
            "head x[ab]",
            "grep -rc x patches",
            "make -s version",
        ] {
            check(command, Memory::Local);
        }
    }

    #[test]
    fn what_differs_or_acts_is_never_remembered() {
        for command in [
            "date +%Y",
            "/bin/date",
            "mktemp -d",
            "echo $RANDOM",
            "echo $$",
            "cat /proc/uptime",
            "rpm -q gcc",
            "echo x > y",
            "echo x >> y",
            "touch x; echo done",
            "hostname",
            "uuidgen",
        ] {
            check(command, Memory::Never);
        }
    }
}
