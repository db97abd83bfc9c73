//! The `toolchain-macros` package: our macro files, where rpm reads them last.

use super::{dated, generated_package};
use rpm_writer::{Dependency, FileEntry, FileFlags, Package};

/// Returns the package and its files: each macro file in `/etc/rpm`, and `/etc/rpmrc`.
///
/// `/usr/lib/rpm/macros.d` would not do: rpm reads its platform macros, which set `%_libdir`, after it.
pub(crate) fn toolchain_macros(macros: &[(String, String)]) -> (Package, Vec<FileEntry>) {
    let mut package = generated_package("toolchain-macros", "RPM macros of the toolchain");
    // Names under which distributions ship such macros, so that their BuildRequires resolve.
    let names = [
        "systemd-rpm-macros",
        "cmake-rpm-macros",
        "redhat-rpm-config",
        "pyproject-rpm-macros",
        "python3-macros",
    ];
    package.provides.extend(names.map(Dependency::any));
    let mut files = vec![FileEntry::directory("/etc/rpm", 0o755)];
    for (name, text) in macros {
        let path = if name == "rpmrc" { "/etc/rpmrc".to_owned() } else { format!("/etc/rpm/{name}") };
        let file = FileEntry::file(path, 0o644, text.as_str());
        files.push(file.with_flags(FileFlags::CONFIG));
    }
    (package, dated(files))
}
