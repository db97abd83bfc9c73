//! Debian versions as RPM versions: the EVR a bridged package bears, and the true version it provides.

/// The version of a Debian package, split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DebianVersion {
    upstream: String,
    revision: String,
}

impl DebianVersion {
    /// Splits `[epoch:]upstream[-revision]`; the epoch is dropped, as Debian's and RPM distributions' epochs
    /// of one package have nothing to do with each other.
    pub(crate) fn parse(text: &str) -> Self {
        let without_epoch = match text.split_once(':') {
            Some((epoch, rest)) if epoch.chars().all(|c| c.is_ascii_digit()) => rest,
            _ => text,
        };
        let (upstream, revision) = without_epoch.rsplit_once('-').unwrap_or((without_epoch, "1"));
        Self { upstream: legal(upstream), revision: legal(revision) }
    }

    /// Returns the version of the RPM, `0~deb.<upstream>`: lower than any version a distribution builds itself,
    /// so that a self-built package of the same name is always an upgrade.
    pub(crate) fn rpm_version(&self) -> String {
        format!("0~deb.{}", self.upstream)
    }

    /// Returns the release of the RPM.
    pub(crate) fn rpm_release(&self) -> &str {
        &self.revision
    }

    /// Returns `version-release` as upstream counts it, for Provides.
    pub(crate) fn true_evr(&self) -> String {
        format!("{}-{}", self.true_version(), self.revision)
    }

    /// Returns upstream's version without Debian's marks for a repacked archive.
    fn true_version(&self) -> &str {
        let cut = ["+dfsg", ".dfsg", "~dfsg", "+ds", "+repack"]
            .iter()
            .filter_map(|mark| self.upstream.find(mark))
            .min()
            .unwrap_or(self.upstream.len());
        &self.upstream[..cut]
    }
}

/// Replaces what RPM refuses in a version or release.
fn legal(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "._+~".contains(c) { c } else { '.' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_cleans() {
        for (text, version, release, true_evr) in [
            ("1:1.2.13.dfsg-1", "0~deb.1.2.13.dfsg", "1", "1.2.13-1"),
            ("2.36-9+deb12u14", "0~deb.2.36", "9+deb12u14", "2.36-9+deb12u14"),
            ("12.4", "0~deb.12.4", "1", "12.4-1"),
            ("1.0-rc1-3", "0~deb.1.0.rc1", "3", "1.0.rc1-3"),
            ("6.4+20221231-2", "0~deb.6.4+20221231", "2", "6.4+20221231-2"),
        ] {
            let parsed = DebianVersion::parse(text);
            assert_eq!(
                (parsed.rpm_version().as_str(), parsed.rpm_release(), parsed.true_evr().as_str()),
                (version, release, true_evr),
                "{text}"
            );
        }
    }
}
