//! What commands of specs that give versions may do and take.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::raw::{RawPackage, RawPolicy};
use crate::resolved::{ConfigError, duration};

/// What holds for the commands of one spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramLimits {
    /// A command is killed after this.
    pub timeout: Duration,
    /// Whether commands see the network of the host.
    pub network: bool,
    /// The git repository that the version comes from where the spec names none; absolute.
    pub repository: Option<PathBuf>,
}

/// Returns what holds for every spec; checks what single ones state.
pub(crate) fn resolve(
    policy: &RawPolicy,
    packages: &BTreeMap<String, RawPackage>,
) -> Result<ProgramLimits, ConfigError> {
    for (name, package) in packages {
        if let Some(text) = &package.program_timeout {
            duration(&format!("packages.{name}.program-timeout"), text)?;
        }
    }
    let timeout = policy.program_timeout.as_deref().unwrap_or("30s");
    Ok(ProgramLimits {
        timeout: duration("policy.program-timeout", timeout)?,
        network: policy.program_network.unwrap_or(false),
        repository: None,
    })
}

impl ProgramLimits {
    /// Returns these limits with what a package states itself; `root` is the tree's.
    pub(crate) fn of(&self, package: Option<&RawPackage>, root: &Path) -> Self {
        let Some(own) = package else { return self.clone() };
        let timeout = own.program_timeout.as_deref().map(|text| duration("program-timeout", text));
        Self {
            // `resolve` has parsed it before.
            timeout: timeout.and_then(Result::ok).unwrap_or(self.timeout),
            network: own.program_network.unwrap_or(self.network),
            repository: own.version_repository.as_ref().map(|path| root.join(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolved::tests::resolve;

    #[test]
    fn there_is_no_network_unless_it_is_allowed() {
        let limits = resolve("").unwrap().program_limits("x");
        assert_eq!(
            (limits.timeout, limits.network, limits.repository),
            (Duration::from_secs(30), false, None)
        );
        let config = resolve(
            "[policy]\nprogram-timeout = '5s'\n[packages.x]\nprogram-network = true\nversion-repository = 'git/x'\n\
             [packages.y]\nprogram-timeout = '1m'\n",
        );
        let config = config.unwrap();
        let limits = config.program_limits("x");
        assert_eq!((limits.timeout, limits.network), (Duration::from_secs(5), true));
        assert_eq!(limits.repository.as_deref(), Some(Path::new("/tree/git/x")));
        let limits = config.program_limits("y");
        assert_eq!((limits.timeout, limits.network), (Duration::from_secs(60), false));
        assert!(
            resolve("[packages.x]\nprogram-timeout = 'soon'\n")
                .unwrap_err()
                .contains("packages.x.program-timeout")
        );
        assert!(
            resolve("[policy]\nprogram-timeout = 'soon'\n").unwrap_err().contains("policy.program-timeout")
        );
    }
}
