//! The HTTP client with its certificates.
//!
//! The authorities of the system are trusted, and beside them those of a file. A bare image has no system
//! authorities at all: then the client still works for plain HTTP and for the file's authorities.

use std::fs;
use std::path::Path;

use reqwest::{Certificate, Client, ClientBuilder, Identity};

use super::DownloadOptions;
use super::failure::DownloadSetupError;

pub(super) fn client(options: &DownloadOptions) -> Result<Client, DownloadSetupError> {
    // Fails when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authorities = match &options.ca_certificate {
        None => Vec::new(),
        Some(path) => authorities(path)?,
    };
    let identity = match &options.client_certificate {
        None => None,
        Some((certificate, key)) => Some(identity(certificate, key)?),
    };
    let builder = || {
        let builder = base(options);
        match &identity {
            None => builder,
            Some(identity) => builder.identity(identity.clone()),
        }
    };
    let with_system = builder().tls_certs_merge(authorities.clone()).build();
    with_system.or_else(|_| builder().tls_certs_only(authorities).build()).map_err(DownloadSetupError::Client)
}

fn base(options: &DownloadOptions) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent("millwright")
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.read_timeout)
        .redirect(reqwest::redirect::Policy::limited(10))
        .referer(false);
    if options.use_proxy { builder } else { builder.no_proxy() }
}

fn read(path: &Path) -> Result<Vec<u8>, DownloadSetupError> {
    fs::read(path).map_err(|source| DownloadSetupError::Read { path: path.to_owned(), source })
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, DownloadSetupError> {
    let unusable = |reason| DownloadSetupError::Pem { path: path.to_owned(), what: "certificate", reason };
    let found = Certificate::from_pem_bundle(&read(path)?).map_err(|error| unusable(error.to_string()))?;
    if found.is_empty() {
        return Err(unusable("there is no PEM block `CERTIFICATE` in it".to_owned()));
    }
    Ok(found)
}

fn identity(certificate: &Path, key: &Path) -> Result<Identity, DownloadSetupError> {
    let mut both = read(certificate)?;
    both.push(b'\n');
    both.extend(read(key)?);
    Identity::from_pem(&both).map_err(|error| DownloadSetupError::Pem {
        path: certificate.to_owned(),
        what: "client certificate and key",
        reason: error.to_string(),
    })
}
