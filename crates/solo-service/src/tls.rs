//! Mutual TLS between services, when certificates are configured.

use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

use crate::config::TlsFiles;

/// A certificate that cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("global.tls: {path} cannot be read: {problem}")]
pub struct TlsError {
    path: PathBuf,
    problem: String,
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError {
        path: path.to_owned(),
        problem: error.to_string(),
    })
}

/// Names the cryptography that rustls uses: with more than one provider compiled in, it refuses to choose.
fn choose_provider() {
    // Fails only where one was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn identity(files: &TlsFiles) -> Result<Identity, TlsError> {
    Ok(Identity::from_pem(read(&files.cert)?, read(&files.key)?))
}

/// What a server presents and demands; `None`: plain text.
pub(crate) fn server(files: &Option<TlsFiles>) -> Result<Option<ServerTlsConfig>, TlsError> {
    files
        .as_ref()
        .map(|files| {
            choose_provider();
            let authority = Certificate::from_pem(read(&files.ca)?);
            Ok(ServerTlsConfig::new()
                .identity(identity(files)?)
                .client_ca_root(authority))
        })
        .transpose()
}

/// What a client presents and demands; `None`: plain text.
pub(crate) fn client(files: &Option<TlsFiles>) -> Result<Option<ClientTlsConfig>, TlsError> {
    files
        .as_ref()
        .map(|files| {
            choose_provider();
            let authority = Certificate::from_pem(read(&files.ca)?);
            Ok(ClientTlsConfig::new()
                .identity(identity(files)?)
                .ca_certificate(authority))
        })
        .transpose()
}
