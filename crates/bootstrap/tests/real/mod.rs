//! The real toolchain and worker, made once below `target/tmp` for all tests that need them.

use bootstrap::{
    BootstrapError, Configuration, Indexes, Silent, Toolchain, Worker, make_toolchain, make_worker,
};
use std::path::{Path, PathBuf};

fn build_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("bootstrap-build")
}

/// Makes toolchain and worker, or says why this host cannot. One test at a time: a build directory belongs to
/// one bootstrap.
pub(crate) fn toolchain_and_worker(configuration: &Configuration) -> Option<(Toolchain, Worker)> {
    std::fs::create_dir_all(build_directory()).unwrap();
    let turn = std::fs::File::create(build_directory().join("tests.lock")).unwrap();
    turn.lock().unwrap();
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: not root, no toolchain was made");
        return None;
    }
    let toolchain = match make_toolchain(&build_directory(), configuration, Indexes::Keep, &Silent) {
        Ok(toolchain) => toolchain,
        Err(error @ (BootstrapError::Start { .. } | BootstrapError::NoDebianSource { .. })) => {
            eprintln!("SKIPPED: {error}, no toolchain was made");
            return None;
        }
        Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
    };
    let worker = make_worker(&build_directory(), configuration, &toolchain, &Silent).unwrap();
    let again = make_toolchain(&build_directory(), configuration, Indexes::Keep, &Silent).unwrap();
    assert!(!again.was_made);
    assert!(!make_worker(&build_directory(), configuration, &again, &Silent).unwrap().was_made);
    Some((toolchain, worker))
}
