//! The policies as typed: how far a rebuild goes and how releases rise.

use clap::Args;
use config::{CascadeLayers, RawConfig};
use rpm_model::ReleaseBump;

/// Options that every command has, for it may plan or build.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PolicyArguments {
    /// How many layers of dependants a rebuild brings along: `all`, 0 (none), 1 (direct dependants), 2, ...; what
    /// lies beyond stays due
    #[arg(long, global = true, value_name = "NUMBER")]
    max_cascading_rebuilds: Option<CascadeLayers>,
    /// How the release of what is built again for others' sake rises, if it comes out different: `dist` counts behind
    /// %dist (3.azl3 becomes 3.azl3.2), `spec` (`mkpkg` and `rebuild --all-of`) edits the spec, `none` leaves it
    /// [default: what policy.bump says, else dist]
    #[arg(long, global = true, value_name = "HOW")]
    pub(crate) bump: Option<ReleaseBump>,
}

impl PolicyArguments {
    /// Lays what was typed over a configuration, and over what that says of single packages.
    pub(crate) fn lay_over(self, config: &mut RawConfig) {
        if self.max_cascading_rebuilds.is_some() {
            config.policy.max_cascading_rebuilds = self.max_cascading_rebuilds;
        }
        let Some(bump) = self.bump else { return };
        config.policy.bump = Some(bump);
        config.packages.values_mut().for_each(|package| package.bump = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_holds_for_every_package() {
        let text = "[policy]\nbump = 'none'\n[packages.gcc]\nbump = 'spec'\n";
        let bump = |typed: Option<ReleaseBump>| {
            let mut raw: RawConfig = toml::from_str(text).unwrap();
            PolicyArguments { bump: typed, max_cascading_rebuilds: None }.lay_over(&mut raw);
            let config = raw.resolve(std::path::Path::new("/t"), 1).unwrap();
            (config.limits("zlib").bump, config.limits("gcc").bump)
        };
        assert_eq!(bump(None), (ReleaseBump::None, ReleaseBump::Spec));
        assert_eq!(bump(Some(ReleaseBump::Dist)), (ReleaseBump::Dist, ReleaseBump::Dist));
    }
}
