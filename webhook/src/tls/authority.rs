//! Our own certificates: a CA and a leaf, and when each is renewed. The result is a function of the existing
//! certificates and the time.
//!
//! A leaf is renewed when a third of its lifetime is left. So is a CA, in two steps, so that no client receives a
//! leaf of an unknown CA. First the next CA joins the bundle of trusted ones. After every client has had time to
//! learn it, it signs the next leaf. The previous CA stays in the bundle until it expires.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// A certificate is backdated by this time, because clocks differ.
const BACKDATE: Duration = Duration::from_mins(5);

/// Lifetimes, and the names of a leaf certificate.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Lifetime of a CA.
    pub ca_life: Duration,
    /// Lifetime of a leaf.
    pub leaf_life: Duration,
    /// Time between adding a CA to the bundle and signing with it.
    pub settle: Duration,
    /// DNS names and addresses of the webhook.
    pub names: Vec<String>,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// Everything that replicas share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Material {
    /// The CA that signs.
    pub ca: Signed,
    /// The CA that will sign, and since when it is in the bundle.
    pub next: Option<(Signed, SystemTime)>,
    /// CAs that no longer sign, as PEM.
    pub previous: Vec<String>,
    /// The certificate that the server presents.
    pub leaf: Signed,
    /// The names of the leaf.
    pub names: Vec<String>,
}

/// The reason why no certificate could be issued.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate: {0}")]
pub struct SigningError(#[from] rcgen::Error);

impl Material {
    /// A new CA and leaf.
    pub fn new(settings: &Settings, now: SystemTime) -> Result<Self, SigningError> {
        let ca = authority(settings, now)?;
        let leaf = leaf(&ca, settings, now)?;
        Ok(Self { ca, next: None, previous: Vec::new(), leaf, names: settings.names.clone() })
    }

    /// The trusted certificates, as PEM: the value of `caBundle`.
    pub fn bundle(&self) -> String {
        let next = self.next.iter().map(|(next, _)| next.certificate.as_str());
        let previous = self.previous.iter().map(String::as_str);
        std::iter::once(self.ca.certificate.as_str()).chain(next).chain(previous).collect()
    }

    /// The material that must replace this one now, or `None` if nothing is due.
    pub fn advance(&self, settings: &Settings, now: SystemTime) -> Result<Option<Self>, SigningError> {
        if left(&self.ca.certificate, now).is_none() {
            // The CA expired while no replica ran.
            return Self::new(settings, now).map(Some);
        }
        let mut new = self.clone();
        new.previous.retain(|certificate| left(certificate, now).is_some());
        match &self.next {
            None if is_old(&self.ca.certificate, settings.ca_life, now) => {
                new.next = Some((authority(settings, now)?, now));
            }
            Some((next, since)) if now.duration_since(*since).is_ok_and(|d| d >= settings.settle) => {
                new.previous.push(std::mem::replace(&mut new.ca, next.clone()).certificate);
                new.next = None;
                new.leaf = leaf(&new.ca, settings, now)?;
            }
            _ => {}
        }
        let same_ca = new.ca == self.ca;
        let stale = is_old(&new.leaf.certificate, settings.leaf_life, now) || new.names != settings.names;
        if same_ca && stale {
            new.leaf = leaf(&new.ca, settings, now)?;
        }
        new.names.clone_from(&settings.names);
        Ok((new != *self).then_some(new))
    }
}

/// Whether at most a third of a certificate's lifetime is left.
fn is_old(certificate: &str, life: Duration, now: SystemTime) -> bool {
    left(certificate, now).is_none_or(|left| left <= life / 3)
}

/// The time until a certificate expires.
fn left(certificate: &str, now: SystemTime) -> Option<Duration> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).ok()?;
    super::expiry(&certificate)?.duration_since(now).ok().filter(|left| !left.is_zero())
}

fn authority(settings: &Settings, now: SystemTime) -> Result<Signed, SigningError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + settings.ca_life).into();
    params.distinguished_name = name("Gatewatch webhook CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(Signed { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn leaf(ca: &Signed, settings: &Settings, now: SystemTime) -> Result<Signed, SigningError> {
    let issuer = Issuer::from_ca_cert_pem(&ca.certificate, KeyPair::from_pem(&ca.key)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(settings.names.clone())?;
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + settings.leaf_life).into();
    params.distinguished_name = name("Gatewatch webhook");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Signed { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Pair, provider};

    const DAY: Duration = Duration::from_hours(24);

    fn settings() -> Settings {
        Settings {
            ca_life: 300 * DAY,
            leaf_life: 30 * DAY,
            settle: DAY,
            names: vec!["gate.test.svc".to_owned(), "127.0.0.1".to_owned()],
        }
    }

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY
    }

    /// The material after `days` with one check a day.
    fn after(days: u32, material: &Material, from: u32) -> Material {
        (from..days).fold(material.clone(), |material, day| {
            material.advance(&settings(), start() + day * DAY).unwrap().unwrap_or(material)
        })
    }

    #[test]
    fn what_is_made_can_be_served() {
        let material = Material::new(&settings(), start()).unwrap();
        let Signed { certificate, key } = &material.leaf;
        let read = |now| Pair::read(certificate.as_bytes(), key.as_bytes(), &provider(), now);
        assert!(read(start()).is_ok());
        assert!(read(start() + 31 * DAY).unwrap_err().to_string().contains("expired"));
        assert_eq!(material.advance(&settings(), start()).unwrap(), None);
        let other = Material::new(&settings(), start()).unwrap().leaf.key;
        let error = Pair::read(certificate.as_bytes(), other.as_bytes(), &provider(), start()).unwrap_err();
        assert!(matches!(error, crate::tls::PairError::Together(_)), "{error}");
    }

    #[test]
    fn a_leaf_is_renewed_in_time_by_the_same_ca() {
        let first = Material::new(&settings(), start()).unwrap();
        let same = after(20, &first, 0);
        assert_eq!(first, same);
        let renewed = after(21, &first, 0);
        assert_ne!(first.leaf, renewed.leaf);
        assert_eq!((first.ca, None), (renewed.ca, renewed.next));
    }

    #[test]
    fn a_ca_is_known_before_it_signs_and_for_as_long_as_what_it_signed() {
        let first = Material::new(&settings(), start()).unwrap();
        let announced = after(201, &first, 0);
        let (next, _) = announced.next.clone().unwrap();
        assert_eq!(announced.ca, first.ca);
        assert!(
            announced.bundle().contains(&next.certificate)
                && announced.bundle().contains(&first.ca.certificate)
        );
        let signing = after(202, &announced, 201);
        assert_eq!(signing.ca, next);
        assert_ne!(signing.leaf, announced.leaf);
        assert!(signing.bundle().contains(&first.ca.certificate), "leaves of the first are still shown");
        let later = after(302, &signing, 202);
        assert!(!later.bundle().contains(&first.ca.certificate));
    }

    #[test]
    fn other_names_need_another_leaf_and_an_ended_ca_another_start() {
        let first = Material::new(&settings(), start()).unwrap();
        let other = Settings { names: vec!["other.svc".to_owned()], ..settings() };
        let renamed = first.advance(&other, start()).unwrap().unwrap();
        assert_eq!(renamed.ca, first.ca);
        assert_ne!(renamed.leaf, first.leaf);
        assert_eq!(renamed.advance(&other, start()).unwrap(), None);
        let ended = first.advance(&settings(), start() + 301 * DAY).unwrap().unwrap();
        assert_ne!(ended.ca, first.ca);
    }
}
