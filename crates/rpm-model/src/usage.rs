//! What a build used: as a whole, section by section, and of compiler caches.

use serde::{Deserialize, Serialize};

/// What a build used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceUsage {
    /// From start to end, in seconds.
    pub wall_seconds: f64,
    /// User and system time of all processes, in seconds.
    pub cpu_seconds: f64,
    /// Greatest memory of all processes together where a cgroup counted it, else the largest resident set of
    /// one process, in bytes.
    pub peak_memory_bytes: u64,
    /// Bytes written to file systems on disk; `None` where the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_bytes: Option<u64>,
}

/// What one section of a build used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseUsage {
    /// The section as rpmbuild names it, for example `%build`; [`PhaseUsage::PREPARATION`] before the first,
    /// [`PhaseUsage::PACKAGING`] after the last.
    pub phase: String,
    /// From its start to the start of the next, in seconds.
    #[serde(alias = "seconds")]
    pub wall_seconds: f64,
    /// User and system time of all processes, in seconds; `None` where the run ended before anybody could ask.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
    /// Greatest memory of all processes and memory file systems together, in bytes; `None` where no cgroup
    /// counted it.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// Bytes written to file systems on disk; `None` where the kernel does not tell.
    #[serde(default)]
    pub written_bytes: Option<u64>,
}

impl PhaseUsage {
    /// Setting up the build root and unpacking the SRPM.
    pub const PREPARATION: &'static str = "preparation";
    /// Finding out what packages provide and require, and writing them.
    pub const PACKAGING: &'static str = "packaging";
}

/// Who counted the processor time and the memory of a build's sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsageSource {
    /// A cgroup of the unified hierarchy.
    CgroupV2,
    /// Cgroups of version 1.
    CgroupV1,
    /// A sum over the processes, to a hundredth of a second; nobody counts the memory of all.
    Processes,
}

/// A compiler cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompilerCache {
    /// `ccache`, for C and C++.
    Ccache,
    /// `sccache`, for Rust.
    Sccache,
}

impl CompilerCache {
    /// Returns the program's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ccache => "ccache",
            Self::Sccache => "sccache",
        }
    }
}

/// What a compiler cache did for one build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheUse {
    /// Which cache.
    pub cache: CompilerCache,
    /// Compilations answered from the cache.
    pub hits: u64,
    /// Compilations that were done and stored.
    pub misses: u64,
    /// Calls in which the cache itself failed.
    pub errors: u64,
    /// What the cache holds after the build, in bytes.
    pub size_bytes: u64,
}
