//! OpenPGP keys and signatures by the host's `gpg`, for tests.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Makes a key pair in a new GnuPG home and returns the armoured public key, or nothing without `gpg`.
pub(crate) fn make_key(home: &Path) -> Option<PathBuf> {
    std::fs::create_dir_all(home).unwrap();
    let gpg = |arguments: &[&str]| {
        Command::new("gpg")
            .arg("--homedir")
            .arg(home)
            .args(["--batch", "--quiet", "--passphrase", ""])
            .args(arguments)
            .output()
    };
    let Ok(made) = gpg(&["--quick-gen-key", "tester@example.org", "rsa2048", "sign", "never"]) else {
        eprintln!("SKIPPED: `gpg` is not installed, no signature was checked");
        return None;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = home.join("key.asc");
    std::fs::write(&key, gpg(&["--armor", "--export"]).unwrap().stdout).unwrap();
    Some(key)
}

/// Writes `<file>.asc`, an armoured detached signature by the key of this GnuPG home.
pub(crate) fn sign(home: &Path, file: &Path) {
    let mut gpg = Command::new("gpg");
    gpg.arg("--homedir").arg(home).args(["--batch", "--yes", "--armor", "--detach-sign"]).arg(file);
    assert!(gpg.status().unwrap().success());
}
