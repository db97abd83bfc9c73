//! Which hosts spoil what they are given.
//!
//! A host on which attempts at several packages, one after the other, failed for no fault of theirs is given nothing
//! for a while. Packages are counted, not attempts: one package that brings down its worker again and again says
//! nothing about the host. Any attempt that came to an end of its own clears the host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// When a host is given nothing, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRules {
    /// Packages in a row that failed on it.
    pub failures: usize,
    /// How long it is left alone.
    pub pause: Duration,
}

impl Default for HostRules {
    /// Three different packages; ten minutes.
    fn default() -> Self {
        Self { failures: 3, pause: Duration::from_secs(600) }
    }
}

/// The hosts that attempts ran on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    /// Packages that failed since something last went well.
    failing: BTreeMap<String, BTreeSet<String>>,
    /// Until when a host is left alone.
    paused: BTreeMap<String, Duration>,
}

impl Hosts {
    /// Notes that an attempt came to an end of its own.
    pub(crate) fn sound(&mut self, host: &str) {
        self.failing.remove(host);
    }

    /// Notes that an attempt was spoilt; returns the packages when that is one too many.
    pub(crate) fn failed(
        &mut self,
        host: &str,
        package: &str,
        rules: &HostRules,
        now: Duration,
    ) -> Option<BTreeSet<String>> {
        let packages = self.failing.entry(host.to_owned()).or_default();
        packages.insert(package.to_owned());
        if packages.len() < rules.failures {
            return None;
        }
        self.paused.insert(host.to_owned(), now.saturating_add(rules.pause));
        self.failing.remove(host)
    }

    /// Returns the hosts that are left alone, sorted.
    pub(crate) fn avoided(&self, now: Duration) -> Vec<String> {
        self.paused.iter().filter(|(_, until)| **until > now).map(|(host, _)| host.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_packages_in_a_row_and_not_one_package_again_and_again() {
        let rules = HostRules { failures: 2, pause: Duration::from_secs(10) };
        let (mut hosts, now) = (Hosts::default(), Duration::from_secs(100));
        for _ in 0..5 {
            assert_eq!(hosts.failed("n1", "bomb", &rules, now), None);
        }
        hosts.sound("n1");
        assert_eq!(hosts.failed("n1", "a", &rules, now), None);
        assert_eq!(hosts.failed("n2", "b", &rules, now), None);
        let both = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        assert_eq!(hosts.failed("n1", "b", &rules, now), Some(both));
        assert_eq!(hosts.avoided(now), ["n1"]);
        assert!(hosts.avoided(Duration::from_secs(110)).is_empty());
    }
}
