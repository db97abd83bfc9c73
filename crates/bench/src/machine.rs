//! The machine that figures were taken on.

use std::fs;

use serde::Serialize;

/// What must be known of a machine to compare its figures with another's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) cpu: String,
    /// Processors that this process may use.
    pub(crate) cores: usize,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// Memory, in MiB.
    pub(crate) memory_mib: u64,
    /// Load average over one minute when the benchmark ended: others' work disturbs wall time.
    pub(crate) load: String,
}

impl Machine {
    /// Returns this machine.
    pub(crate) fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: memory_mib(&read("/proc/meminfo")),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// Returns it in a line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{}, {} cores, {} MiB, Linux {}, load {}",
            self.cpu, self.cores, self.memory_mib, self.kernel, self.load
        )
    }
}

/// Returns the first value of a field in `name : value` lines.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

fn memory_mib(meminfo: &str) -> u64 {
    let kib = field(meminfo, "MemTotal")
        .and_then(|value| value.trim_end_matches("kB").trim().parse::<u64>().ok())
        .unwrap_or(0);
    kib >> 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: A: B\nMemTotal:       2048 kB\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A: B"));
        assert_eq!(field(text, "flags"), None);
        assert_eq!(memory_mib(text), 2);
    }
}
