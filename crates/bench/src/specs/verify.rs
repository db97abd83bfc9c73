//! placeholder
use super::*;
pub(super) fn run(
    _: &Prepared,
    _: &Peer<'_>,
    _: Option<u64>,
    _: &dyn Reporter,
) -> Result<Conclusion, BenchError> {
    Err(BenchError::NotRoot)
}
