//! Merges `/bin`, `/sbin` and `/lib*` into `/usr`, and tells which files of a Debian package are left out.
//!
//! Debian packages of release 12 still hold files below `/bin` or `/lib`, which `dpkg` places through symbolic
//! links. An RPM must name the true place: rpm would otherwise see two packages own one file by two names.

/// Directories whose libraries the dynamic linker finds without configuration.
pub(crate) const LINKER_DIRECTORIES: [&str; 3] = ["/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu"];

const MERGED: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Below these nothing is kept: documentation and translations have no reader in a build root.
const LEFT_OUT: [&str; 10] = [
    "/usr/share/doc",
    "/usr/share/doc-base",
    "/usr/share/man",
    "/usr/share/info",
    "/usr/share/locale",
    "/usr/share/lintian",
    "/usr/share/bug",
    "/usr/share/gtk-doc",
    "/usr/share/menu",
    "/usr/share/pixmaps",
];

/// Returns the path a file has after the merge; `/bin/sh` becomes `/usr/bin/sh`.
pub(crate) fn merged(path: &str) -> String {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or("");
    if path.starts_with('/') && MERGED.contains(&first) { format!("/usr{path}") } else { path.to_owned() }
}

/// Returns the target of the symbolic link `link` (a path before the merge) as it must read after the merge.
///
/// A relative link stays relative, but to the link's new directory.
pub(crate) fn merged_target(link: &str, target: &str) -> String {
    if target.starts_with('/') {
        return merged(target);
    }
    let parent = link.rsplit_once('/').map_or("", |(parent, _)| parent);
    let place = merged(&normalise(&format!("{parent}/{target}")));
    let new_parent = merged(parent);
    if new_parent == parent && !crosses_merge(parent, target) {
        return target.to_owned();
    }
    relative(&new_parent, &place)
}

/// Returns true when following `target` from `parent` passes a directory that the merge moves.
fn crosses_merge(parent: &str, target: &str) -> bool {
    let place = normalise(&format!("{parent}/{target}"));
    merged(&place) != place
}

/// Resolves `.` and `..` in an absolute path, without looking at any file system.
fn normalise(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Returns the way from a directory to a path, both absolute and normalised.
fn relative(directory: &str, path: &str) -> String {
    let from: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    let to: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let mut way = vec![".."; from.len() - common];
    way.extend(&to[common..]);
    way.join("/")
}

/// Returns true when the file stays out of the RPM; `skipped` holds further paths, a final `*` matching the rest.
pub(crate) fn is_left_out(path: &str, skipped: &[String]) -> bool {
    let below = |directory: &str| {
        path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let matches = |pattern: &String| match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => below(pattern),
    };
    LEFT_OUT.iter().any(|directory| below(directory)) || skipped.iter().any(matches)
}

/// Returns where the copyright file of a package goes, when `path` is one: the licence must travel with it.
pub(crate) fn licence_path(path: &str) -> Option<String> {
    let package = path.strip_prefix("/usr/share/doc/")?.strip_suffix("/copyright")?;
    (!package.contains('/')).then(|| format!("/usr/share/licenses/{package}/copyright"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn merges_paths() {
        for (path, expected) in [
            ("/bin", "/usr/bin"),
            ("/bin/sh", "/usr/bin/sh"),
            ("/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libc.so.6"),
            ("/lib64/ld-linux-x86-64.so.2", "/usr/lib64/ld-linux-x86-64.so.2"),
            ("/usr/bin/cc", "/usr/bin/cc"),
            ("/binary", "/binary"),
            ("/etc/bin", "/etc/bin"),
        ] {
            assert_eq!(merged(path), expected);
        }
    }

    #[test]
    fn keeps_links_pointing_at_the_same_file() {
        for (link, target, expected) in [
            ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld.so", "/usr/lib/x86_64-linux-gnu/ld.so"),
            ("/bin/nc", "nc.openbsd", "nc.openbsd"),
            ("/usr/lib/x86_64-linux-gnu/libz.so", "../../../lib/x86_64-linux-gnu/libz.so.1", "libz.so.1"),
            ("/bin/x", "../usr/bin/y", "y"),
            ("/sbin/a", "../lib/b", "../lib/b"),
            ("/usr/bin/c", "../share/d", "../share/d"),
            ("/etc/e", "../bin/f", "../usr/bin/f"),
            ("/etc/g", "h", "h"),
        ] {
            assert_eq!(merged_target(link, target), expected, "{link} -> {target}");
        }
    }

    #[test]
    fn leaves_out_documentation_but_not_licences() {
        let skipped = vec!["/usr/bin/lto-dump*".to_owned(), "/usr/share/x".to_owned()];
        for (path, expected) in [
            ("/usr/share/doc", true),
            ("/usr/share/doc/a/copyright", true),
            ("/usr/share/document", false),
            ("/usr/bin/lto-dump-12", true),
            ("/usr/share/x/y", true),
            ("/usr/share/xy", false),
            ("/usr/lib/locale/C.utf8/LC_CTYPE", false),
        ] {
            assert_eq!(is_left_out(path, &skipped), expected, "{path}");
        }
        assert_eq!(
            licence_path("/usr/share/doc/a/copyright").as_deref(),
            Some("/usr/share/licenses/a/copyright")
        );
        assert_eq!(licence_path("/usr/share/doc/a/b/copyright"), None);
    }

    proptest! {
        #[test]
        fn a_relative_link_leads_where_the_merge_moved_its_target(
            link in "/(usr/)?(bin|lib|share)(/[ab]){1,3}",
            target in "(\\.\\./){0,4}(usr/)?(bin|lib|share)?(/?[ab]){1,2}",
        ) {
            prop_assume!(!target.starts_with('/'));
            let old_parent = link.rsplit_once('/').unwrap().0;
            let new_link = merged(&link);
            let new_parent = new_link.rsplit_once('/').unwrap().0;
            let expected = merged(&normalise(&format!("{old_parent}/{target}")));
            let found = normalise(&format!("{new_parent}/{}", merged_target(&link, &target)));
            prop_assert_eq!(merged(&found), expected);
        }
    }
}
