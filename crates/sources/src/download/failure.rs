//! Why a download failed, as data: kept in reports, decided on by the retry policy.

use std::io;
use std::path::{Path, PathBuf};

use rpm_model::ContentDigest;
use serde::Serialize;

/// What ended a transfer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum TransferFailure {
    /// The server does not have it (404 or 410).
    #[error("{status} not found")]
    NotFound {
        /// The HTTP status.
        status: u16,
    },
    /// The server answered with another status that is no success.
    #[error("the server answered {status}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What the server asked to wait before the next try, in seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after: Option<u64>,
    },
    /// The text is no HTTP or HTTPS URL.
    #[error("not an HTTP URL: {reason}")]
    InvalidUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// The host's name has no address.
    #[error("the host is not known: {reason}")]
    UnknownHost {
        /// The resolver's words.
        reason: String,
    },
    /// No connection could be made.
    #[error("cannot connect: {reason}")]
    Unreachable {
        /// The system's words.
        reason: String,
    },
    /// TLS refused: unknown authority, wrong name, missing client certificate.
    #[error("TLS: {reason}")]
    Tls {
        /// The TLS library's words.
        reason: String,
    },
    /// Nothing came for longer than the read or connect timeout.
    #[error("timed out after {received} bytes")]
    TimedOut {
        /// Bytes that this process has of the file.
        received: u64,
    },
    /// The connection ended before the file did.
    #[error("cut after {received} bytes{}: {reason}", total.map(|total| format!(" of {total}")).unwrap_or_default())]
    Cut {
        /// Bytes that this process has of the file.
        received: u64,
        /// The length that the server announced.
        total: Option<u64>,
        /// The HTTP library's words.
        reason: String,
    },
    /// The file changed on the server between two parts of it.
    #[error("the file changed on the server while it was fetched")]
    Changed,
    /// Too many redirects, or a redirect to something that is no URL.
    #[error("redirects lead nowhere: {reason}")]
    Redirect {
        /// The HTTP library's words.
        reason: String,
    },
    /// Everything came, but it has another hash; the bytes were thrown away.
    #[error("wrong hash: sha256 is {got}")]
    WrongHash {
        /// The hash of the bytes that came.
        got: ContentDigest,
    },
    /// The file is larger than the caller allows.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
}

impl TransferFailure {
    /// Returns whether another try may end otherwise.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 425 | 429),
            Self::Unreachable { .. }
            | Self::UnknownHost { .. }
            | Self::TimedOut { .. }
            | Self::Cut { .. }
            | Self::Changed => true,
            Self::NotFound { .. }
            | Self::InvalidUrl { .. }
            | Self::Tls { .. }
            | Self::Redirect { .. }
            | Self::WrongHash { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// Returns whether the fault lies with the host as a whole, so that other files of it fail as well.
    pub fn is_of_host(&self) -> bool {
        matches!(self, Self::UnknownHost { .. } | Self::Unreachable { .. })
    }

    /// Sorts the HTTP library's error into ours.
    pub(crate) fn from_client(error: &reqwest::Error, received: u64, total: Option<u64>) -> Self {
        let reason = innermost(error);
        if has_tls_cause(error) {
            Self::Tls { reason }
        } else if error.is_timeout() {
            Self::TimedOut { received }
        } else if error.is_redirect() {
            Self::Redirect { reason }
        } else if error.is_builder() {
            Self::InvalidUrl { reason }
        } else if error.is_dns() {
            Self::UnknownHost { reason }
        } else if error.is_connect() {
            Self::Unreachable { reason }
        } else {
            Self::Cut { received, total, reason }
        }
    }
}

/// The last cause says most: `Connection refused`, `UnknownIssuer`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// rustls hides its error in `io::Error`s, whose `source` skips what they wrap.
fn has_tls_cause(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>()
        || wrapped.is_some_and(|inner| has_tls_cause(inner))
        || error.source().is_some_and(has_tls_cause)
}

/// Why a download did not end with the file.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The other side or the way to it.
    #[error("{url}: {failure}")]
    Transfer {
        /// What was asked for.
        url: String,
        /// What ended it.
        failure: TransferFailure,
    },
    /// This side: a full disk, a missing directory.
    #[error("cannot {operation} {}", path.display())]
    Local {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl DownloadError {
    pub(crate) fn local<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Local { operation, path: path.to_owned(), source }
    }
}

/// Why the downloader itself could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum DownloadSetupError {
    /// A certificate or key file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A certificate or key file has no usable content.
    #[error("{} holds no usable {what}: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// `certificate`, or `client certificate and key`.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The HTTP client refused its settings.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// Threads or event queues could not be made.
    #[error("cannot start the download threads")]
    Runtime(#[source] io::Error),
}
