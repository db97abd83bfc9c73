//! The 96-byte lead: obsolete, but `file` and rpm itself look at its magic and its type.

/// Size in bytes.
pub(crate) const SIZE: usize = 96;

/// Binary or source package, as the lead numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeadKind {
    Binary = 0,
    Source = 1,
}

/// Returns the lead of a package; `arch` is that of the machine, `shown` what `file` says of it.
pub(crate) fn encode(kind: LeadKind, arch: &str, shown: &str) -> [u8; SIZE] {
    const HEADER_STYLE_SIGNATURE: u16 = 5;
    const LINUX: u16 = 1;
    // Numbers of rpmrc's arch_canon; anything unknown is written as 255, which rpm ignores.
    let arch: u16 = match arch {
        "x86_64" | "i386" | "i486" | "i586" | "i686" => 1,
        "armv7l" | "armv7hl" | "armv7hnl" => 12,
        "s390x" => 15,
        "ppc64" | "ppc64le" => 16,
        "aarch64" => 19,
        "riscv64" => 22,
        "loongarch64" => 23,
        _ => 255,
    };
    let mut lead = [0; SIZE];
    lead[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    lead[6..8].copy_from_slice(&(kind as u16).to_be_bytes());
    lead[8..10].copy_from_slice(&arch.to_be_bytes());
    let length = shown.len().min(65);
    lead[10..10 + length].copy_from_slice(&shown.as_bytes()[..length]);
    lead[76..78].copy_from_slice(&LINUX.to_be_bytes());
    lead[78..80].copy_from_slice(&HEADER_STYLE_SIGNATURE.to_be_bytes());
    lead
}
