//! Directories in which loaders look, as text: nothing is looked up.

use crate::elf::ElfFile;

/// Directories in which the loader looks by itself, in the form that [`plain`] gives. Which of them it is differs
/// between distributions; none of them is anybody's private one.
const DEFAULT_DIRECTORIES: [&str; 2] = ["/usr/lib", "/usr/lib64"];

/// Returns whether the loader looks into a directory by itself: `/usr/lib64`, `/usr/lib`, where a distribution has it
/// the directory of the architecture below them (`/usr/lib/x86_64-linux-gnu`), and those for better processors
/// (`glibc-hwcaps`).
pub fn is_default_directory(directory: &str) -> bool {
    let directory = plain(directory);
    let directory = match directory.split_once("/glibc-hwcaps/") {
        Some((before, capability)) if !capability.contains('/') => before,
        _ => directory.as_str(),
    };
    let triplet = |name: &str| name.ends_with("-linux-gnu") && !name.contains('/');
    DEFAULT_DIRECTORIES.contains(&directory) || directory.strip_prefix("/usr/lib/").is_some_and(triplet)
}

/// Returns an absolute path without `.`, `..`, repeated and final slashes, and with `/usr` before what is a link into
/// it (`/lib64`).
pub(crate) fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if parts.first().is_some_and(|first| ["bin", "lib", "lib64", "sbin"].contains(first)) {
        parts.insert(0, "usr");
    }
    format!("/{}", parts.join("/"))
}

/// Returns the directory of an absolute path.
pub(crate) fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Returns the last name of a path.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Returns the directories that an element of `RPATH` or `RUNPATH` of a file stands for, [`plain`] ones; none where it
/// means the working directory, or is not obeyed.
///
/// `$LIB` is `lib64` or `lib`; which of them is decided when a loader is compiled, so both are looked at. Of what runs
/// with others' rights (set-id) the loader obeys no `$ORIGIN`: anybody could link it elsewhere.
pub(crate) fn expand(element: &str, path: &str, elf: &ElfFile, is_set_id: bool) -> Vec<String> {
    let named =
        |text: &str, name: &str| text.contains(&format!("${name}")) || text.contains(&format!("${{{name}}}"));
    let put = |text: &str, name: &str, value: &str| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    };
    if is_set_id && named(element, "ORIGIN") {
        return Vec::new();
    }
    let element = put(element, "ORIGIN", directory(path));
    let element = put(&element, "PLATFORM", elf.platform);
    let libraries: &[&str] = match (named(&element, "LIB"), elf.is_64bit) {
        (false, _) => &[""],
        (true, true) => &["lib64", "lib"],
        (true, false) => &["lib"],
    };
    let expanded = libraries.iter().map(|library| put(&element, "LIB", library));
    expanded.filter(|directory| directory.starts_with('/')).map(|directory| plain(&directory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::ElfKind;

    #[test]
    fn directories_of_everybody_and_of_one_package_are_told_apart() {
        for directory in [
            "/usr/lib64",
            "/lib64",
            "/usr/lib/",
            "//lib/../lib64/.",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib64/glibc-hwcaps/x86-64-v3",
        ] {
            assert!(is_default_directory(directory), "{directory}");
        }
        for directory in
            ["/usr/lib64/samba", "/opt/lib64", "/usr/lib/jvm/lib", "/usr/lib64/glibc-hwcaps", "/"]
        {
            assert!(!is_default_directory(directory), "{directory}");
        }
    }

    #[test]
    fn elements_are_expanded_as_the_loader_does() {
        let elf = |is_64bit| ElfFile {
            kind: ElfKind::Program,
            is_64bit,
            platform: "x86_64",
            soname: None,
            needed: Vec::new(),
            rpath: Vec::new(),
            runpath: None,
        };
        for (element, path, expected) in [
            ("$ORIGIN", "/usr/bin/x", &["/usr/bin"][..]),
            ("${ORIGIN}/../lib64/x/", "/usr/bin/x", &["/usr/lib64/x"]),
            ("$ORIGIN/../../..", "/usr/bin/x", &["/"]),
            ("/opt/x/$LIB", "/usr/bin/x", &["/opt/x/lib64", "/opt/x/lib"]),
            ("/opt/${LIB}/$PLATFORM", "/x", &["/opt/lib64/x86_64", "/opt/lib/x86_64"]),
            ("/lib64", "/x", &["/usr/lib64"]),
            ("", "/x", &[]),
            (".", "/x", &[]),
            ("lib", "/x", &[]),
            ("$NOTHING/x", "/x", &[]),
        ] {
            assert_eq!(expand(element, path, &elf(true), false), expected, "{element}");
        }
        assert_eq!(expand("/opt/$LIB", "/x", &elf(false), false), ["/opt/lib"]);
        assert!(expand("$ORIGIN/lib", "/usr/bin/su", &elf(true), true).is_empty());
    }
}
