//! The configuration that holds, in the form of the file: defaults filled in, paths absolute.

use std::time::Duration;

use crate::raw::RawConfig;
use crate::resolved::Config;

impl RawConfig {
    /// Returns this configuration with the value of every key that has one, as `resolved`, which was made of it,
    /// has it. What stays absent has no default (`sources.ca-cert`, `build.memory-retry`) or stands for no limit.
    #[must_use]
    pub fn with_values_of(mut self, resolved: &Config) -> Self {
        let Config { directories, .. } = resolved;
        let limits = resolved.limits("");
        let define = |name: &str| resolved.defines.get(name).cloned();
        self.distribution.dist = define("dist");
        self.distribution.release_version = define("distro_release_version");
        self.distribution.build_number = define("distro_build_number");

        let places = &mut self.directories;
        places.specs = Some(directories.specs.clone());
        for (place, path) in [
            (&mut places.build, &directories.build),
            (&mut places.output, &directories.output),
            (&mut places.rpms, &directories.rpms),
            (&mut places.srpms, &directories.srpms),
            (&mut places.intermediate_srpms, &directories.intermediate_srpms),
            (&mut places.intermediate_specs, &directories.intermediate_specs),
            (&mut places.artifacts, &directories.artifacts),
            (&mut places.logs, &directories.logs),
            (&mut places.work, &directories.work),
            (&mut places.toolchain, &directories.toolchain),
            (&mut places.cache, &directories.cache),
            (&mut places.ccache, &directories.ccache),
            (&mut places.sccache, &directories.sccache),
        ] {
            *place = Some(path.clone());
        }

        let sources = &mut self.sources;
        sources.urls = Some(resolved.source_urls.clone());
        sources.upstream = Some(resolved.upstream);
        sources.debian = Some(resolved.debian_sources.clone());
        sources.signature_handling = Some(resolved.signature_handling);
        sources.ca_cert.clone_from(&resolved.ca_cert);
        (sources.tls_cert, sources.tls_key) = resolved.client_certificate.clone().unzip();
        sources.offline = Some(resolved.offline);
        sources.concurrent_downloads = Some(resolved.concurrent_downloads);

        let build = &mut self.build;
        build.workers = Some(resolved.workers);
        build.cpus = Some(resolved.cpus);
        build.memory_mib = Some(resolved.memory_bytes.unwrap_or(0) >> 20);
        build.max_cpu = Some(limits.most_cpus.unwrap_or(0));
        build.run_check = Some(limits.run_check);
        build.timeout = Some(text(limits.timeout));
        build.retries = Some(resolved.retries);
        build.disk_limit_mib = Some(limits.disk_limit_bytes >> 20);
        build.memory_limit_mib = Some(limits.build.memory_limit_bytes.unwrap_or(0) >> 20);
        build.process_limit = Some(limits.build.process_limit);
        build.cpu_limit = Some(text(Duration::from_secs(limits.build.cpu_limit_seconds.unwrap_or(0))));
        build.file_limit = Some(limits.build.file_limit);
        build.clean = Some(resolved.clean.to_string());
        build.log_limit_mib = Some(limits.log_limit_bytes >> 20);
        build.ccache = Some(resolved.ccache);
        build.sccache = Some(resolved.sccache);
        build.ccache_config.clone_from(&resolved.ccache_config);
        build.stop_on_failure = Some(resolved.stop_on_failure);
        build.macros_file.clone_from(&resolved.macros_file);
        build.tuning = Some(resolved.tuning);

        self.cache.results = Some(resolved.result_cache);
        self.reports.keep = Some(resolved.reports_kept);

        let policy = &mut self.policy;
        policy.rebuild = Some(limits.rebuild);
        policy.sonames = Some(limits.sonames.to_string());
        policy.bump = Some(limits.bump);
        policy.max_cascading_rebuilds = Some(resolved.cascade_layers);
        let programs = resolved.program_limits("");
        policy.program_timeout = Some(text(programs.timeout));
        policy.program_network = Some(programs.network);
        policy.pins = Some(resolved.rules.pins.clone());
        policy.excludes = Some(resolved.rules.excludes.clone());
        self
    }
}

/// Returns a duration as the file states it.
fn text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// What is stated as holding states itself again.
    #[test]
    fn what_holds_resolves_to_itself() {
        for written in [
            "",
            "[distribution]\ndist = '.x'\nmacros = { vendor = 'Example' }\n[directories]\nbuild = 'b'\noutput = '/o'\n\
             [sources]\nca-cert = 'ca.pem'\ntls-cert = 'c'\ntls-key = 'k'\nurls = ['https://a.invalid']\n\
             [build]\nworkers = 3\ntimeout = '90m'\nclean = 'on-success'\nmemory-limit-mib = 100\ncpu-limit = '2h'\n\
             [policy]\nrebuild = 'exact'\nexcludes = ['*-debuginfo']\n[packages.gcc]\ntimeout = '20h'\n\
             [[repositories]]\nid = 'base'\nurls = ['/r']\n",
        ] {
            let raw: RawConfig = toml::from_str(written).unwrap();
            let resolved = raw.clone().resolve(Path::new("/tree"), 8).unwrap();
            let holds = raw.with_values_of(&resolved);
            let shown: RawConfig = toml::from_str(&holds.to_toml().unwrap()).unwrap();
            assert_eq!(shown, holds, "what is printed is what holds");
            assert_eq!(
                shown.resolve(Path::new("/elsewhere"), 2).unwrap().directories.build,
                resolved.directories.build
            );
            assert_eq!(holds.build.workers, Some(resolved.workers));
        }
    }

    /// A key with a default has a value where nothing is written: nothing that holds is left out.
    #[test]
    fn only_what_has_no_default_is_left_out() {
        let raw = RawConfig::default();
        let resolved = raw.clone().resolve(Path::new("/tree"), 8).unwrap();
        let holds = serde_json::to_value(raw.with_values_of(&resolved)).unwrap();
        let tables =
            holds.as_object().unwrap().iter().filter_map(|(name, table)| Some((name, table.as_object()?)));
        let absent: Vec<String> = tables
            .flat_map(|(name, table)| table.iter().map(move |(key, value)| (format!("{name}.{key}"), value)))
            .filter_map(|(key, value)| value.is_null().then_some(key))
            .collect();
        let without_default = [
            "build.ccache-config",
            "build.macros-file",
            "build.memory-retry",
            "cache.layer-budget",
            "cache.result-budget",
            "distribution.macros",
            "sources.ca-cert",
            "sources.tls-cert",
            "sources.tls-key",
        ];
        assert_eq!(absent.into_iter().collect::<BTreeSet<_>>(), without_default.map(str::to_owned).into());
        // A processor limit that nobody stated is none, not the share of a machine with so many workers.
        assert_eq!(holds["build"]["max-cpu"], 0);
    }
}
