//! Certificates: the one that is presented, and its source.
//!
//! There are two sources: a directory that another program fills ([`directory`]), or a Secret that the replicas share
//! and write themselves ([`secret`], by the rules of [`authority`]). Both are polled by content: a mounted Secret
//! changes by the swap of a link, which a watch on its files does not see. An invalid pair is rejected, and the
//! previous one stays in use.

pub mod authority;
pub mod directory;
pub mod secret;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The reason why a certificate cannot be used. Each is a sentence.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The file has no certificate.
    #[error("tls.crt contains no readable certificate: {0}")]
    Certificate(String),
    /// The file has no key.
    #[error("tls.key contains no readable private key: {0}")]
    Key(String),
    /// They do not match, or the type of the key is unknown.
    #[error("tls.crt and tls.key do not work together: {0}")]
    Together(rustls::Error),
    /// The certificate has expired.
    #[error("the certificate in tls.crt has expired")]
    Expired,
}

/// A certificate with its key.
#[derive(Debug)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    not_after: SystemTime,
}

impl Pair {
    /// Reads a pair, as PEM. The key must match the certificate, which must be valid `now`.
    pub fn read(
        certificate: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Self, PairError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| PairError::Certificate(error.to_string()))?;
        let Some(leaf) = chain.first() else {
            return Err(PairError::Certificate("it has no BEGIN CERTIFICATE line".to_owned()));
        };
        let not_after = expiry(leaf)
            .ok_or_else(|| PairError::Certificate("it is not an X.509 certificate".to_owned()))?;
        if not_after <= now {
            return Err(PairError::Expired);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| PairError::Key(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(PairError::Together)?;
        Ok(Self { key: Arc::new(key), not_after })
    }
}

/// The time when a certificate expires.
fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The certificate that the server presents to clients.
#[derive(Default)]
pub struct Certificates {
    current: ArcSwapOption<Pair>,
    refused: AtomicU64,
    changed: AtomicU64,
}

impl Certificates {
    /// Uses this pair from the next connection on.
    pub fn replace(&self, pair: Pair) {
        self.current.store(Some(Arc::new(pair)));
        self.changed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an invalid pair.
    pub fn count_invalid(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// When the current certificate expires; `None` if there is none.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.current.load().as_ref().map(|pair| pair.not_after)
    }

    /// The numbers of used and of invalid pairs.
    pub fn counts(&self) -> (u64, u64) {
        (self.changed.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("not_after", &self.not_after()).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().as_ref().map(|pair| Arc::clone(&pair.key))
    }
}

/// The cryptography provider of the process.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The TLS settings: TLS 1.2 and 1.3 with the default cipher suites of rustls, HTTP/1.1.
pub fn server_config(
    certificates: Arc<Certificates>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
