//! OpenPGP signatures of metadata and packages, checked by `gpgv`.
//!
//! `gpgv` is on every Debian, as apt needs it. It wants binary keys; armoured ones are unwrapped here.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rpm::{IndexSignatureTag, PackageMetadata};

/// Whose signatures are asked for; by default nobody's: the repository is trusted as it is, for example
/// because it is our own directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignaturePolicy {
    /// `repomd.xml.asc` must be by one of the keys (`repo_gpgcheck` of `.repo` files).
    pub metadata: bool,
    /// Each package's header must be signed by one of the keys (`gpgcheck` of `.repo` files).
    pub packages: bool,
    /// Files with public keys, armoured or binary.
    pub keys: Vec<PathBuf>,
}

impl SignaturePolicy {
    /// Returns the policy that the metadata is signed by a key of this file.
    pub fn metadata(key: &Path) -> Self {
        Self { metadata: true, packages: false, keys: vec![key.to_owned()] }
    }

    /// Returns the policy that packages are signed by a key of this file.
    pub fn packages(key: &Path) -> Self {
        Self { metadata: false, packages: true, keys: vec![key.to_owned()] }
    }
}

/// Why a signature is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignatureFault {
    /// The package has none over its header.
    #[error("there is none")]
    Missing,
    /// The file cannot be read.
    #[error("the package cannot be read: {0}")]
    Unreadable(String),
    /// `gpgv` could not be run.
    #[error("cannot run `gpgv`: {0}")]
    Run(#[source] std::io::Error),
    /// `gpgv` refuses it.
    #[error("{0}")]
    Refused(String),
}

/// Why key files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A file cannot be read or copied.
    #[error("cannot {operation} the key file `{}`", path.display())]
    File {
        /// `read` or `copy`.
        operation: &'static str,
        /// The key file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It begins as an armoured key and is none.
    #[error("`{}` is no armoured public key", path.display())]
    Armour {
        /// The key file.
        path: PathBuf,
    },
}

/// Keys in the form that `gpgv` reads.
#[derive(Debug)]
pub struct Keyring {
    files: Vec<tempfile::NamedTempFile>,
}

impl Keyring {
    /// Reads key files, armoured or binary.
    ///
    /// # Errors
    /// When one of them cannot be read or is no key.
    pub fn read(paths: &[PathBuf]) -> Result<Self, KeyringError> {
        Ok(Self { files: paths.iter().map(|path| read_key(path)).collect::<Result<_, _>>()? })
    }
}

/// Returns the binary form of a key file.
fn read_key(path: &Path) -> Result<tempfile::NamedTempFile, KeyringError> {
    let failed = |operation| move |source| KeyringError::File { operation, path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed("read"))?;
    let keys = if bytes.starts_with(b"-----BEGIN PGP") {
        unwrap_armour(&String::from_utf8_lossy(&bytes))
            .ok_or_else(|| KeyringError::Armour { path: path.to_owned() })?
    } else {
        bytes
    };
    let store = || -> std::io::Result<tempfile::NamedTempFile> {
        let mut file = tempfile::NamedTempFile::new()?;
        file.write_all(&keys)?;
        Ok(file)
    };
    store().map_err(failed("copy"))
}

/// Checks a detached signature, armoured or binary, over `data`.
///
/// # Errors
/// When no key of the keyring made it, or `gpgv` cannot be run.
pub fn check_detached(keyring: &Keyring, signature: &[u8], data: &[u8]) -> Result<(), SignatureFault> {
    let mut file = tempfile::NamedTempFile::new().map_err(SignatureFault::Run)?;
    file.write_all(signature).map_err(SignatureFault::Run)?;
    let mut child = Command::new("gpgv")
        // As apt does: a host whose clock is behind must still be able to fetch what was signed meanwhile.
        .arg("--ignore-time-conflict")
        .args(keyring.files.iter().flat_map(|file| [OsStr::new("--keyring"), file.path().as_os_str()]))
        .arg(file.path())
        .arg("-")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(SignatureFault::Run)?;
    if let Some(mut input) = child.stdin.take() {
        // When gpgv ends early it has refused the signature already; its exit code tells.
        let _ = input.write_all(data);
    }
    let output = child.wait_with_output().map_err(SignatureFault::Run)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(SignatureFault::Refused(said))
}

/// Checks the signature over a package's header, which in turn states the digest of the payload.
///
/// # Errors
/// As [`check_detached`]; also when the package has none or cannot be read.
pub fn check_package(keyring: &Keyring, path: &Path) -> Result<(), SignatureFault> {
    let unreadable = |error: String| SignatureFault::Unreadable(error);
    let metadata = PackageMetadata::open(path).map_err(|error| unreadable(error.to_string()))?;
    let offsets = metadata.get_package_segment_offsets();
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let header = bytes
        .get(offsets.header as usize..offsets.payload as usize)
        .ok_or_else(|| unreadable("its header lies outside the file".into()))?;
    let signature = [IndexSignatureTag::RPMSIGTAG_RSA, IndexSignatureTag::RPMSIGTAG_DSA]
        .into_iter()
        .find_map(|tag| metadata.signature.get_entry_data_as_binary(tag).ok())
        .ok_or(SignatureFault::Missing)?;
    check_detached(keyring, signature, header)
}

/// Returns the binary content of an armoured block: the base64 between the headers' empty line and the checksum.
fn unwrap_armour(text: &str) -> Option<Vec<u8>> {
    let mut lines =
        text.lines().map(str::trim_end).skip_while(|line| !line.starts_with("-----BEGIN PGP")).skip(1);
    let mut digits = String::new();
    lines.by_ref().find(|line| line.is_empty())?;
    for line in lines {
        if line.starts_with('=') || line.starts_with("-----END") {
            return decode_base64(&digits);
        }
        digits.push_str(line);
    }
    None
}

fn decode_base64(digits: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for digit in digits.bytes().filter(|digit| *digit != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_armour() {
        let text = "comment\n-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\naGVs\nbG8h\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(unwrap_armour(text).as_deref(), Some(&b"hello!"[..]));
        for (digits, expected) in [("", &b""[..]), ("aA==", b"h"), ("aGU=", b"he"), ("/+8=", &[0xff, 0xef])] {
            assert_eq!(decode_base64(digits).as_deref(), Some(expected), "{digits}");
        }
        assert_eq!(decode_base64("a b"), None);
        assert_eq!(unwrap_armour("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\naGVs\n"), None, "cut short");
    }
}
