//! Packages that no Debian package corresponds to: `filesystem` and `toolchain-macros`.

mod filesystem;
mod macros;

pub(crate) use filesystem::{filesystem, is_known_group, is_known_user, is_standard_directory};
pub(crate) use macros::toolchain_macros;

use rpm_writer::{BuildStamp, Dependency, FileEntry, Package};

/// Modification time of generated files, and build time of generated packages: fixed, as nothing in them has
/// a time of its own.
const TIME: u32 = 1_700_000_000;

/// Returns a noarch package whose version marks it as part of the toolchain: anything a tree builds is newer.
fn generated_package(name: &str, summary: &str) -> Package {
    let mut package = Package::new(name, "0~deb.1", "1", "noarch");
    package.summary = summary.into();
    package.description = summary.into();
    package.license = "MIT".into();
    package.vendor = Some("Millwright".into());
    package.build = BuildStamp { time: TIME, host: "bridge".into() };
    package.provides.push(Dependency::equal(name, "1-1"));
    package
}

fn dated(mut files: Vec<FileEntry>) -> Vec<FileEntry> {
    files.iter_mut().for_each(|file| file.mtime = TIME);
    files
}
