//! A store behind HTTP (WebDAV's `PUT`), the S3 protocol or Azure Blob Storage, through `object_store`.
//!
//! The library's own waiting is shortened: a cache that does not answer soon is worth less than a build. Every
//! request has a time limit, a body one for each next piece of it; a failed request is tried again a few times
//! within the limit. Objects of these protocols appear whole or not at all; large ones go up in parts where the
//! protocol has a way to put them together in one step (S3, Azure), else in one request.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path as ObjectPath;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, ObjectStoreScheme, PutPayload,
    RetryConfig, WriteMultipart,
};
use tokio::runtime::{Builder, Runtime};
use url::{Position, Url};

use crate::document::StoredFile;
use crate::hashing::{HashingWriter, copy_hashing};
use crate::place::{AccessError, Place};

/// What goes up in one piece, and in pieces of which size larger files go up.
const PIECE: usize = 16 << 20;

/// How many pieces of a file are under way at the same time.
const PIECES_AT_ONCE: usize = 4;

/// An upload may take this much longer for each of so many bytes.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

/// How much of a server's words is passed on.
const LONGEST_MESSAGE: usize = 300;

/// Why a store cannot be used at all.
#[derive(Debug)]
pub(crate) enum SetupError {
    /// The URL or an option means nothing.
    Settings(String),
    /// The system gives no threads.
    Runtime(io::Error),
}

/// An object store, below a prefix.
pub(crate) struct RemotePlace {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    /// Whether large files can go up in parts.
    in_parts: bool,
    timeout: Duration,
    runtime: Runtime,
}

impl RemotePlace {
    /// Opens a store; nothing is asked of it yet. `options` must be known ones, of `environment` the known ones count.
    pub(crate) fn open(
        url: &Url,
        options: &BTreeMap<String, String>,
        environment: &BTreeMap<String, String>,
        timeout: Duration,
    ) -> Result<Self, SetupError> {
        // Fails when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings = |error: Error| SetupError::Settings(error.to_string());
        let (scheme, path) =
            ObjectStoreScheme::parse(url).map_err(|error| SetupError::Settings(error.to_string()))?;
        let prefix = ObjectPath::parse(path).map_err(|error| SetupError::Settings(error.to_string()))?;
        let plain_endpoint =
            options.values().chain(environment.values()).any(|value| value.starts_with("http://"));
        let client = ClientOptions::new()
            .with_allow_http(url.scheme() == "http" || plain_endpoint)
            .with_connect_timeout(timeout.min(Duration::from_secs(10)))
            .with_timeout_disabled();
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(2),
                base: 2.0,
            },
            max_retries: 2,
            retry_timeout: timeout,
        };
        /// Applies the options that this kind of store knows.
        macro_rules! configured {
            ($builder:expr) => {{
                let mut builder = $builder;
                for (key, value) in environment {
                    if let Ok(key) = key.to_ascii_lowercase().parse() {
                        builder = builder.with_config(key, value);
                    }
                }
                for (key, value) in options {
                    let unknown = || SetupError::Settings(format!("`{key}` is no option of such a store"));
                    builder =
                        builder.with_config(key.to_ascii_lowercase().parse().map_err(|_| unknown())?, value);
                }
                builder
            }};
        }
        let store: Arc<dyn ObjectStore> = match scheme {
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::new().with_client_options(client).with_retry(retry);
                Arc::new(configured!(builder.with_url(url.as_str())).build().map_err(settings)?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::new().with_client_options(client).with_retry(retry);
                Arc::new(configured!(builder.with_url(url.as_str())).build().map_err(settings)?)
            }
            ObjectStoreScheme::Http => {
                let builder = HttpBuilder::new().with_client_options(client).with_retry(retry);
                let builder = builder.with_url(&url[..Position::BeforePath]);
                Arc::new(configured!(builder).build().map_err(settings)?)
            }
            other => return Err(SetupError::Settings(format!("stores of kind {other:?} are not supported"))),
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("result-store")
            .enable_all()
            .build()
            .map_err(SetupError::Runtime)?;
        Ok(Self { store, prefix, in_parts: scheme != ObjectStoreScheme::Http, timeout, runtime })
    }

    fn path(&self, name: &str) -> ObjectPath {
        name.split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Waits for an answer, at most so long.
    async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, AccessError> {
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.map_err(access_error),
            Err(_) => Err(AccessError::TimedOut { seconds: limit.as_secs() }),
        }
    }

    fn upload_limit(&self, size: u64) -> Duration {
        self.timeout + Duration::from_secs(size / SLOWEST_BYTES_PER_SECOND)
    }

    async fn put_whole(&self, path: &ObjectPath, bytes: Bytes) -> Result<(), AccessError> {
        let limit = self.upload_limit(bytes.len() as u64);
        self.within(limit, self.store.put(path, PutPayload::from(bytes))).await.map(drop)
    }

    /// Puts a file there in parts, which become one object at the end.
    async fn put_parts(&self, path: &ObjectPath, from: &Path, file: &StoredFile) -> Result<(), AccessError> {
        let local = |error: io::Error| AccessError::local("read", from, &error);
        let mut input = File::open(from).map_err(local)?;
        let upload = self.within(self.timeout, self.store.put_multipart(path)).await?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, PIECE);
        let mut hashing = HashingWriter::new(io::sink());
        let mut piece = vec![0; PIECE];
        let limit = self.upload_limit((PIECE * PIECES_AT_ONCE) as u64);
        let mut sent = Ok(());
        loop {
            let length = match input.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) => {
                    sent = Err(local(error));
                    break;
                }
            };
            sent = self.within(limit, upload.wait_for_capacity(PIECES_AT_ONCE)).await;
            if sent.is_err() {
                break;
            }
            hashing.write_all(&piece[..length]).map_err(local)?;
            upload.write(&piece[..length]);
        }
        if sent.is_ok() && hashing.finish().1 != *file {
            sent = Err(AccessError::changed(from));
        }
        match sent {
            Ok(()) => self.within(limit, upload.finish()).await.map(drop),
            Err(error) => {
                // The parts were never an object; a server that does not hear this drops them by itself.
                let _ = self.within(self.timeout, upload.abort()).await;
                Err(error)
            }
        }
    }
}

impl Place for RemotePlace {
    fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, AccessError> {
        let mut bytes = Vec::new();
        self.fetch(name, most, &mut bytes)?;
        Ok(bytes)
    }

    fn fetch(&self, name: &str, most: u64, to: &mut dyn Write) -> Result<(), AccessError> {
        let path = self.path(name);
        self.runtime.block_on(async {
            let mut body = self.within(self.timeout, self.store.get(&path)).await?.into_stream();
            let mut received = 0;
            loop {
                let next = tokio::time::timeout(self.timeout, body.next()).await;
                let piece = match next {
                    Err(_) => return Err(AccessError::TimedOut { seconds: self.timeout.as_secs() }),
                    Ok(None) => return Ok(()),
                    Ok(Some(piece)) => piece.map_err(access_error)?,
                };
                received += piece.len() as u64;
                if received > most {
                    return Err(AccessError::TooLong { most });
                }
                to.write_all(&piece).map_err(|error| AccessError::Local {
                    message: format!("cannot write what the store sent: {error}"),
                })?;
            }
        })
    }

    fn size(&self, name: &str) -> Result<Option<u64>, AccessError> {
        let path = self.path(name);
        match self.runtime.block_on(self.within(self.timeout, self.store.head(&path))) {
            Ok(meta) => Ok(Some(meta.size)),
            Err(AccessError::Absent) => Ok(None),
            Err(other) => Err(other),
        }
    }

    fn put_file(&self, name: &str, from: &Path, file: &StoredFile) -> Result<(), AccessError> {
        let path = self.path(name);
        if self.in_parts && file.size > PIECE as u64 {
            return self.runtime.block_on(self.put_parts(&path, from, file));
        }
        let mut bytes = Vec::new();
        let copied = File::open(from).and_then(|mut input| copy_hashing(&mut input, &mut bytes));
        if copied.map_err(|error| AccessError::local("read", from, &error))? != *file {
            return Err(AccessError::changed(from));
        }
        self.runtime.block_on(self.put_whole(&path, bytes.into()))
    }

    fn put_bytes(&self, name: &str, bytes: &[u8]) -> Result<(), AccessError> {
        self.runtime.block_on(self.put_whole(&self.path(name), Bytes::copy_from_slice(bytes)))
    }
}

/// Returns an error of the library in our terms, with all its causes.
fn access_error(error: Error) -> AccessError {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = inner.source();
    }
    if let Some((end, _)) = message.char_indices().nth(LONGEST_MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    match error {
        Error::NotFound { .. } => AccessError::Absent,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => AccessError::Denied { message },
        _ => AccessError::Unreachable { message },
    }
}
