//! The peer: `rpmbuild -bs` in the root of the same worker, all specs in one sandbox, so that nothing but rpmbuild
//! itself is paid per spec. It sees the release macros as the Azure toolkit shows them, and the files with a time
//! that it cuts down to the package's own date.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use buildroot::{Sandbox, SandboxSpec, Upper};
use specreader::SpecInput;

use super::{COMPARED, TIMED};
use crate::Place;
use crate::error::BenchError;
use crate::figures::Metric;
use crate::specs::Prepared;
use crate::specs::peer::{Peer, RELEASE_MACROS, bind};

const SCRIPT: &str = include_str!("peer.sh");
/// The year 2100.
const LATE: Duration = Duration::from_secs(4_102_444_800);

/// Returns where the peer's SRPMs of a compression are.
pub(super) fn output_directory(place: &Place, payload: &str) -> PathBuf {
    place.scratch.join("peer-pack/out").join(payload)
}

/// Packs the specs with rpmbuild and returns the median of each in milliseconds of processor time.
pub(super) fn measure(
    place: &Place,
    prepared: &Prepared,
    local: &[SpecInput],
    runs: u32,
) -> Result<Vec<f64>, BenchError> {
    let stage = Stage::new(place, local)?;
    let others = COMPARED.into_iter().filter(|payload| *payload != TIMED);
    stage.run(prepared, runs, [TIMED].into_iter().chain(others))?;
    medians(&stage.directory.join("out/times"))
}

/// The directories that rpmbuild works in.
pub(super) struct Stage {
    directory: PathBuf,
}

impl Stage {
    /// Copies specs and what lies beside them.
    pub(super) fn new(place: &Place, specs: &[SpecInput]) -> Result<Self, BenchError> {
        let directory = place.scratch.join("peer-pack");
        crate::tree::empty_directory(&directory)?;
        for place in ["SPECS", "SOURCES"] {
            for spec in specs {
                crate::tree::copy(&spec.source_dir, &directory.join(place).join(&spec.name))?;
            }
        }
        for path in crate::tree::files_below(&directory)? {
            let late = || -> std::io::Result<()> {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
                File::options().write(true).open(&path)?.set_modified(SystemTime::UNIX_EPOCH + LATE)
            };
            late().map_err(BenchError::io("date", &path))?;
        }
        let list: String = specs.iter().map(|spec| format!("{}\n", spec.name)).collect();
        for (name, text) in [("list", list.as_str()), ("peer.sh", SCRIPT)] {
            let path = directory.join(name);
            fs::write(&path, text).map_err(BenchError::io("write", &path))?;
        }
        let output = directory.join("out");
        fs::create_dir(&output).map_err(BenchError::io("create", &output))?;
        // rpmbuild runs as an unprivileged user.
        fs::set_permissions(&output, fs::Permissions::from_mode(0o777))
            .map_err(BenchError::io("open up", &output))?;
        Ok(Self { directory })
    }

    /// Runs rpmbuild over all specs in one sandbox.
    pub(super) fn run<'p>(
        &self,
        prepared: &Prepared,
        runs: u32,
        payloads: impl IntoIterator<Item = &'p str>,
    ) -> Result<(), BenchError> {
        let sandbox = Sandbox::discover()?;
        let peer = Peer {
            sandbox: &sandbox,
            lowers: &prepared.worker.lowers,
            tree: &prepared.tree,
            release_macros: &prepared.release_macros,
            scratch: &self.directory,
        };
        let mut command = vec!["bash".to_owned(), "/build/peer.sh".to_owned(), runs.to_string()];
        command.extend(payloads.into_iter().map(str::to_owned));
        peer.run(&self.spec(&peer, command), &self.directory.join("log"))
    }

    fn spec(&self, peer: &Peer<'_>, command: Vec<String>) -> SandboxSpec {
        let mut spec = peer.spec(command);
        spec.upper = Upper::Tmpfs { size_mb: 1024 };
        spec.environment.insert("TZ".to_owned(), "UTC".to_owned());
        for name in ["SPECS", "SOURCES", "list", "peer.sh"] {
            spec.binds.push(bind(&self.directory.join(name), &format!("/build/{name}"), true));
        }
        spec.binds.push(bind(&self.directory.join("out"), "/build/out", false));
        spec.binds.push(bind(peer.release_macros, RELEASE_MACROS, true));
        spec
    }
}

/// Returns the median of each spec in milliseconds, from lines `name user system` in seconds.
fn medians(path: &Path) -> Result<Vec<f64>, BenchError> {
    let text = fs::read_to_string(path).map_err(BenchError::io("read", path))?;
    let mut by_name: std::collections::BTreeMap<&str, Vec<f64>> = std::collections::BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(name), Some(user), Some(system)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if let (Ok(user), Ok(system)) = (user.parse::<f64>(), system.parse::<f64>()) {
            by_name.entry(name).or_default().push((user + system) * 1e3);
        }
    }
    Ok(by_name
        .values()
        .filter_map(|values| Metric::of("ms CPU", values))
        .map(|metric| metric.value)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_each_spec() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("times");
        fs::write(&path, "a 0.010 0.002\na 0.020 0.002\na 0.050 0.002\nb 0.001 0.001\n").unwrap();
        assert_eq!(medians(&path).unwrap(), [22.0, 2.0]);
    }
}
