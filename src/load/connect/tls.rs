//! TLS: whom to trust, and what is spoken inside.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::{Cut, Version, causes};
use crate::BoxError;
use crate::load::recording::Class;
use crate::transport::Stream;

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
            Trust::Anyone => {
                let believes = Believes { whom: Whom::Anyone, provider };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(believes))
            }
            Trust::Machine => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                builder.with_root_certificates(roots)
            }
            Trust::Files(paths) => {
                let (mut roots, mut own) = (RootCertStore::empty(), Vec::new());
                for path in paths {
                    let unusable = |why: &str| format!("{} holds no usable root certificate: {why}", path.display());
                    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unusable(&e.to_string()))?;
                    let before = roots.len();
                    for certificate in certificates {
                        let certificate = certificate.map_err(|e| unusable(&e.to_string()))?;
                        own.push(certificate.clone());
                        roots.add(certificate).map_err(|e| unusable(&e.to_string()))?;
                    }
                    if roots.len() == before {
                        return Err(unusable("it has no CERTIFICATE section").into());
                    }
                }
                let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
                let believes = Believes { whom: Whom::Vouched { webpki, own }, provider };
                builder.dangerous().with_custom_certificate_verifier(Arc::new(believes))
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

/// Whom to believe, where rustls' own answer does not do. Broken signatures are believed of nobody.
#[derive(Debug)]
struct Believes {
    whom: Whom,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Whom {
    /// Everybody.
    Anyone,
    /// Whom the roots vouch for, and a server whose certificate is one of them, as one that vouches for itself: rustls
    /// refuses those whatever the roots.
    Vouched { webpki: Arc<WebPkiServerVerifier>, own: Vec<CertificateDer<'static>> },
}

impl ServerCertVerifier for Believes {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.whom {
            Whom::Anyone => {}
            Whom::Vouched { own, .. } if own.iter().any(|own| own.as_ref() == end_entity.as_ref()) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            Whom::Vouched { webpki, .. } => {
                return webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
