//! What tells an archive of object files from its relatives by its first bytes.

/// How many bytes of a file are looked at.
pub(crate) const START: usize = 128;

/// What every archive begins with.
const MAGIC: &[u8] = b"!<arch>\n";

/// Length of a member's name.
const NAME: usize = 16;

/// Returns whether a file that begins so is an archive as `ar` makes it: with a table of symbols, or of long names,
/// or with a member of a plain name first. `None` means that it is a relative (a Debian package, another system's
/// archive, one with a table of 64 bits), of which only `file` knows.
pub(crate) fn is_archive(start: &[u8]) -> Option<bool> {
    let Some(rest) = start.strip_prefix(MAGIC) else { return Some(false) };
    let name = rest.get(..NAME)?.trim_ascii_end();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-".contains(byte);
    let member = name
        .strip_suffix(b"/")
        .is_some_and(|name| !name.is_empty() && !name.starts_with(b"_") && name.iter().all(plain));
    (name == b"/" || name == b"//" || (member && !name.starts_with(b"debian"))).then_some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_and_their_relatives() {
        for (start, verdict) in [
            (&b"!<arch>\n/               0           0     0     0       14        `\n"[..], Some(true)),
            (b"!<arch>\n//                                              24        `\n", Some(true)),
            (b"!<arch>\nhello.o/        0           0     0     644     1234      `\n", Some(true)),
            (b"!<arch>\n/SYM64/         0           0     0     0       14        `\n", None),
            (b"!<arch>\ndebian-binary   1700000000  0     0     100644  4         `\n", None),
            (b"!<arch>\n__.SYMDEF/      0           0     0     0       14        `\n", None),
            (b"!<arch>\n", None),
            (b"!<thin>\n/               ", Some(false)),
            (b"", Some(false)),
        ] {
            assert_eq!(is_archive(start), verdict, "{}", String::from_utf8_lossy(start));
        }
    }
}
