//! ELF files for tests, made by the host's C compiler, which linking this workspace needs anyway.

use std::process::Command;

/// What the compiler is given.
pub(crate) struct Compiled<'a> {
    pub(crate) source: &'a str,
    /// Options besides `-fPIC`.
    pub(crate) options: &'a [&'a str],
}

/// Returns the file that the compiler makes.
pub(crate) fn compile(wanted: Compiled<'_>) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (source, made) = (directory.path().join("x.c"), directory.path().join("x"));
    std::fs::write(&source, wanted.source).unwrap();
    let map = directory.path().join("map");
    // A version script comes as a remark in the source.
    let script = wanted.source.lines().find_map(|line| line.strip_prefix("// map: "));
    std::fs::write(&map, script.unwrap_or_default()).unwrap();
    let mut command = Command::new("cc");
    command.arg("-fPIC").args(wanted.options).arg("-o").arg(&made).arg(&source);
    if script.is_some() {
        command.arg(format!("-Wl,--version-script={}", map.display()));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(&made).unwrap()
}
