//! What a package that was never built probably provides, judged by its name alone.
//!
//! The last resort, for a first build of a tree: `pkgconfig(oniguruma)` will most likely come from
//! `oniguruma-devel`. A wrong guess costs an order that was not needed, or an error of the solver that says
//! what is missing; once the package is built, its record takes over.

/// Returns lower-case package names that usually provide a generated capability, likeliest first.
pub(crate) fn usual_packages(capability: &str) -> Vec<String> {
    let capability = capability.to_ascii_lowercase();
    if let Some(path) = capability.strip_prefix('/') {
        let program = path.rsplit('/').next().unwrap_or_default();
        let in_bin = path.contains("bin/");
        return if in_bin && !program.is_empty() { vec![program.to_owned()] } else { Vec::new() };
    }
    let Some((kind, rest)) = capability.split_once('(') else { return Vec::new() };
    let inner = rest.split(')').next().unwrap_or_default();
    if inner.is_empty() && !kind.contains(".so") {
        return Vec::new();
    }
    match kind {
        "pkgconfig" | "cmake" => library_names(inner, &["-devel", ""]),
        "perl" => vec![format!("perl-{}", inner.replace("::", "-"))],
        "rubygem" => vec![format!("rubygem-{inner}")],
        kind if kind.starts_with("python3") && kind.ends_with("dist") => vec![format!("python3-{inner}")],
        kind => match kind.split_once(".so") {
            Some((library, _)) => library_names(library, &["-libs", ""]),
            None => Vec::new(),
        },
    }
}

/// Returns how likely a package is what usually provides a capability: 0 for the likeliest name.
pub(crate) fn unlikelihood(capability: &str, package: &str) -> usize {
    let usual = usual_packages(capability);
    usual.iter().position(|name| name.eq_ignore_ascii_case(package)).unwrap_or(usual.len())
}

/// Returns names with each ending: as it is, with and without `lib`, without version digits.
fn library_names(name: &str, endings: &[&str]) -> Vec<String> {
    let short = name.trim_end_matches(|c: char| c.is_ascii_digit() || ".-_".contains(c));
    // `libpcre2-8`: the part before the last dash.
    let before_dash = name.rsplit_once('-').map_or(name, |(before, _)| before);
    let mut names = Vec::new();
    for stem in [name, before_dash, short] {
        let bare = stem.strip_prefix("lib").unwrap_or(stem);
        if bare.is_empty() {
            continue;
        }
        for stem in [stem.to_owned(), bare.to_owned(), format!("lib{bare}")] {
            for ending in endings {
                let candidate = format!("{stem}{ending}");
                if !names.contains(&candidate) {
                    names.push(candidate);
                }
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(capability: &str, package: &str, expected: bool) {
        let names = usual_packages(capability);
        assert_eq!(names.iter().any(|name| name == package), expected, "{capability}: {names:?}");
    }

    #[test]
    fn usual_names_are_known() {
        check("pkgconfig(oniguruma)", "oniguruma-devel", true);
        check("pkgconfig(libzstd)", "zstd-devel", true);
        check("pkgconfig(libpng16)", "libpng-devel", true);
        check("pkgconfig(libpcre2-8)", "pcre2-devel", true);
        check("cmake(ZLIB)", "zlib-devel", true);
        check("libonig.so.5()(64bit)", "libonig", true);
        check("libz.so.1(ZLIB_1.2.9)(64bit)", "z-libs", true);
        check("perl(Test::More)", "perl-test-more", true);
        check("python3dist(six)", "python3-six", true);
        check("/usr/bin/jq", "jq", true);
        check("/etc/jq", "jq", false);
        check("zlib", "zlib", false);
        check("pkgconfig()", "", false);
        check("config(x)", "x", false);
    }
}
