//! Whom to believe over TLS, where the machine's roots are not asked.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Believes whom the certificates of these PEM files vouch for, and nobody else.
pub(crate) fn vouched_by<'a>(
    paths: impl IntoIterator<Item = &'a Path>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
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
            return Err(unusable("it has no CERTIFICATE section"));
        }
    }
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let webpki = webpki.build().map_err(|e| e.to_string())?;
    Ok(Arc::new(Believes { whom: Whom::Vouched { webpki, own }, provider: provider.clone() }))
}

/// Believes everybody: whoever is in the middle reads along.
#[cfg(feature = "load")]
pub(crate) fn anyone(provider: &Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
    Arc::new(Believes { whom: Whom::Anyone, provider: provider.clone() })
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
    #[cfg(feature = "load")]
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
            #[cfg(feature = "load")]
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
