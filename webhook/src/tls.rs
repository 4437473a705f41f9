//! Certificates: which one is shown, and where it comes from.
//!
//! Two sources: a folder, which somebody else fills ([`files`]), or a Secret that the replicas share, which they fill
//! themselves ([`secret`], by the rules of [`authority`]). Both are looked at again and again by content: a mounted
//! Secret changes by the swap of a link, which no watch on its files tells of. A pair that can't be used is refused,
//! and the one before stays.

pub mod authority;
pub mod files;
pub mod secret;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Why a certificate can't be used. Each reads as a sentence.
#[derive(Debug, thiserror::Error)]
pub enum BadPair {
    /// No certificate in the file.
    #[error("tls.crt contains no readable certificate: {0}")]
    Certificate(String),
    /// No key in the file.
    #[error("tls.key contains no readable private key: {0}")]
    Key(String),
    /// They don't belong together, or the key is of a kind that isn't known.
    #[error("tls.crt and tls.key do not work together: {0}")]
    Together(rustls::Error),
    /// Its time is over.
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
    /// Reads a pair, as PEM. The key has to be the certificate's, and the certificate valid `now`.
    pub fn read(
        certificate: &[u8],
        key: &[u8],
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Self, BadPair> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| BadPair::Certificate(error.to_string()))?;
        let Some(leaf) = chain.first() else {
            return Err(BadPair::Certificate("it has no BEGIN CERTIFICATE line".to_owned()));
        };
        let not_after =
            expiry(leaf).ok_or_else(|| BadPair::Certificate("it is not an X.509 certificate".to_owned()))?;
        if not_after <= now {
            return Err(BadPair::Expired);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| BadPair::Key(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(BadPair::Together)?;
        Ok(Self { key: Arc::new(key), not_after })
    }
}

/// When a certificate ends.
fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// The certificate that is shown to clients.
#[derive(Default)]
pub struct Certificates {
    current: ArcSwapOption<Pair>,
    refused: AtomicU64,
    changed: AtomicU64,
}

impl Certificates {
    /// From the next connection on, this one.
    pub fn show(&self, pair: Pair) {
        self.current.store(Some(Arc::new(pair)));
        self.changed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a pair that couldn't be used.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// When the one that is shown ends; `None` while there is none.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.current.load().as_ref().map(|pair| pair.not_after)
    }

    /// How many pairs were taken up, and how many refused.
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

/// The provider of cryptography of everything here.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// What TLS is spoken with: TLS 1.2 and 1.3 with rustls' own choice of suites, HTTP/1.1.
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
