//! TLS: whom to trust, and what is spoken inside.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::{Cut, Version, causes};
use crate::BoxError;
use crate::load::recording::Class;
use crate::transport::{Stream, trust};

/// Which servers are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that the machine's roots vouch for.
    #[default]
    Machine,
    /// Those that the certificates of these PEM files vouch for.
    Files(Vec<PathBuf>),
    /// All: whoever is in the middle reads along.
    Anyone,
}

/// A set-up for TLS handshakes.
pub(in crate::load) struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// Reads the roots, and the client's certificate and key if there are any, from PEM files.
    pub(in crate::load) fn new(
        trust: &Trust,
        identity: Option<&(PathBuf, PathBuf)>,
        version: Version,
        resume: bool,
    ) -> Result<Self, BoxError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match trust {
            Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(trust::anyone(&provider)),
            Trust::Machine => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                builder.with_root_certificates(roots)
            }
            Trust::Files(paths) => {
                let vouched = trust::vouched_by(paths.iter().map(PathBuf::as_path), &provider)?;
                builder.dangerous().with_custom_certificate_verifier(vouched)
            }
        };
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let unusable = |path: &PathBuf, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
                let chain = CertificateDer::pem_file_iter(certificate)
                    .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                    .map_err(|e| unusable(certificate, &e))?;
                let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable(key, &e))?;
                builder.with_client_auth_cert(chain, key_der).map_err(|e| unusable(certificate, &e))?
            }
        };
        config.alpn_protocols = match version {
            Version::Http1 => vec![b"http/1.1".to_vec()],
            Version::Http2OverTls => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Version::Http2 => vec![b"h2".to_vec()],
        };
        if !resume {
            config.resumption = rustls::client::Resumption::disabled();
        }
        Ok(Self { connector: TlsConnector::from(Arc::new(config)) })
    }

    /// Shakes hands; whether the server chose HTTP/2.
    pub(super) async fn over(
        &self,
        stream: Box<dyn Stream>,
        host: &str,
        version: Version,
    ) -> Result<(Box<dyn Stream>, bool), Cut> {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let failed = |why: String| Cut::new(Class::Tls, format!("TLS with {host} failed: {why}"));
        let name = ServerName::try_from(bare).map_err(|error| failed(error.to_string()))?;
        let stream = self.connector.connect(name, stream).await.map_err(|error| failed(causes(&error)))?;
        let chosen = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Box::new(stream), chosen || version == Version::Http2))
    }
}
