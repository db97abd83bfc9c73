//! One file from one URL: requests, resumed and repeated until the file is complete or hope is lost.

use std::time::Duration;

use backon::BackoffBuilder;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, IF_RANGE, RANGE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use rpm_model::ContentDigest;

use super::failure::{DownloadError, TransferFailure};
use super::part::Part;
use super::{Download, DownloadEvent, DownloadProgress, RetryPolicy};

/// A cut connection after so many new bytes counts as a fresh start, not as one more failure.
const PROGRESS_THAT_RESETS: u64 = 1024 * 1024;

/// What one transfer needs.
pub(super) struct Transfer<'a> {
    pub(super) client: &'a Client,
    pub(super) retries: &'a RetryPolicy,
    pub(super) progress: &'a DownloadProgress,
    pub(super) download: &'a Download<'a>,
    pub(super) url: Url,
}

/// Why an attempt ended without the file.
enum Interruption {
    Remote(TransferFailure),
    Local(DownloadError),
}

impl From<TransferFailure> for Interruption {
    fn from(failure: TransferFailure) -> Self {
        Self::Remote(failure)
    }
}

impl From<DownloadError> for Interruption {
    fn from(error: DownloadError) -> Self {
        Self::Local(error)
    }
}

impl Transfer<'_> {
    /// Fetches the file into the part; returns its hash and length.
    pub(super) async fn run(&self) -> Result<(ContentDigest, u64), DownloadError> {
        let Download { url, part, note, expected, .. } = *self.download;
        let mut again = false;
        loop {
            let mut open = Part::open(part, note, url, expected.is_some())?;
            (self.progress)(&DownloadEvent::Started { url: url.to_owned(), resumed_at: open.position() });
            self.complete(&mut open).await?;
            let (length, spliced) = (open.position(), open.is_spliced());
            let got = open.finish()?;
            match expected {
                Some(expected) if *expected != got => {
                    // What cannot be deleted is hashed and refused again next time.
                    let _ = std::fs::remove_file(part);
                    let _ = std::fs::remove_file(note);
                    // Parts of two versions may have been put together: once more from the start.
                    if again || !spliced {
                        return Err(self.error(TransferFailure::WrongHash { got }));
                    }
                    again = true;
                }
                _ => {
                    (self.progress)(&DownloadEvent::Finished { url: url.to_owned(), bytes: length });
                    return Ok((got, length));
                }
            }
        }
    }

    fn error(&self, failure: TransferFailure) -> DownloadError {
        DownloadError::Transfer { url: self.download.url.to_owned(), failure }
    }

    /// Repeats attempts until the part is complete.
    async fn complete(&self, part: &mut Part<'_>) -> Result<(), DownloadError> {
        let mut delays = self.retries.delays().build();
        let mut refused_connections = 0;
        loop {
            let before = part.position();
            let failure = match self.attempt(part).await {
                Ok(()) => return Ok(()),
                Err(Interruption::Local(error)) => return Err(error),
                Err(Interruption::Remote(failure)) => failure,
            };
            if part.position() >= before + PROGRESS_THAT_RESETS {
                delays = self.retries.delays().build();
            }
            refused_connections += u32::from(failure.is_of_host());
            let delay = match delays.next() {
                Some(delay) if failure.is_transient() => delay,
                _ => return Err(self.error(failure)),
            };
            if refused_connections >= self.retries.connection_attempts {
                return Err(self.error(failure));
            }
            let delay = self.retries.respecting(&failure, delay);
            let url = self.download.url.to_owned();
            (self.progress)(&DownloadEvent::Retrying { url, failure, delay });
            tokio::time::sleep(delay).await;
        }
    }

    /// Makes one request and takes what comes.
    async fn attempt(&self, part: &mut Part<'_>) -> Result<(), Interruption> {
        if part.validator().is_none() && self.download.expected.is_none() {
            // Nothing could tell whether a continuation belongs to the bytes at hand.
            part.restart()?;
        }
        let mut request = self.client.get(self.url.clone()).header(ACCEPT_ENCODING, "identity");
        if part.position() > 0 {
            request = request.header(RANGE, format!("bytes={}-", part.position()));
            if let Some(validator) = part.validator() {
                request = request.header(IF_RANGE, validator);
            }
        }
        let sent = request.send().await;
        let response = sent.map_err(|error| TransferFailure::from_client(&error, part.position(), None))?;
        match response.status() {
            StatusCode::OK => {
                part.restart()?;
                part.begin(response.headers())?;
            }
            StatusCode::PARTIAL_CONTENT if part.continues(response.headers()) => part.splice(),
            StatusCode::RANGE_NOT_SATISFIABLE if is_complete(&response, part.position()) => return Ok(()),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                part.restart()?;
                return Err(TransferFailure::Changed.into());
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(TransferFailure::NotFound { status: response.status().as_u16() }.into());
            }
            status => {
                let retry_after = response.headers().get(RETRY_AFTER);
                let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
                return Err(TransferFailure::Status { status: status.as_u16(), retry_after }.into());
            }
        }
        self.take_body(response, part).await
    }

    async fn take_body(&self, mut response: Response, part: &mut Part<'_>) -> Result<(), Interruption> {
        let total = response.content_length().map(|rest| part.position() + rest);
        self.check_limit(total.unwrap_or(0))?;
        loop {
            let piece = response.chunk().await;
            let piece =
                piece.map_err(|error| TransferFailure::from_client(&error, part.position(), total))?;
            let Some(piece) = piece else { break };
            self.check_limit(part.position() + piece.len() as u64)?;
            part.write(&piece)?;
            let url = self.download.url.to_owned();
            (self.progress)(&DownloadEvent::Received { url, bytes: part.position(), total });
        }
        match total {
            Some(total) if part.position() < total => {
                let (received, total) = (part.position(), Some(total));
                Err(TransferFailure::Cut { received, total, reason: "the body ended early".to_owned() }
                    .into())
            }
            _ => Ok(()),
        }
    }

    fn check_limit(&self, length: u64) -> Result<(), TransferFailure> {
        match self.download.limit {
            Some(limit) if length > limit => Err(TransferFailure::TooLarge { limit }),
            _ => Ok(()),
        }
    }
}

/// Returns whether `416` says that the bytes at hand are all there are.
fn is_complete(response: &Response, position: u64) -> bool {
    let total = response
        .headers()
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok()?.strip_prefix("bytes */")?.parse::<u64>().ok());
    position > 0 && total == Some(position)
}

impl RetryPolicy {
    fn delays(&self) -> backon::ExponentialBuilder {
        backon::ExponentialBuilder::new()
            .with_min_delay(self.first_delay)
            .with_max_delay(self.largest_delay)
            .with_max_times(self.retries)
            .with_jitter()
    }

    /// Waits at least as long as the server asked; never longer than our own limit, which jitter would exceed.
    fn respecting(&self, failure: &TransferFailure, delay: Duration) -> Duration {
        let asked = match failure {
            TransferFailure::Status { retry_after: Some(seconds), .. } => Duration::from_secs(*seconds),
            _ => Duration::ZERO,
        };
        delay.max(asked).min(self.largest_delay)
    }
}
