//! The Secret that replicas share. Each replica polls it, and the first that finds a change due writes it. The second
//! one receives a conflict, and reads what the first one wrote.
//!
//! It holds the secrets in the registered path and, unless another program issues the certificate, the CA and the
//! certificate.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Secret},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use rustls::crypto::CryptoProvider;

use super::{
    Certificates, Pair, PairError,
    authority::{Material, Settings, Signed, SigningError},
};
use crate::{
    access::{
        PathSecrets,
        rotation::{PathSecret, Rotation},
    },
    registration::update,
};

/// The field manager, as `kubectl get --show-managed-fields` shows it.
const MANAGER: &str = "gatewatch-webhook";

/// The reason why the Secret or the registration cannot be updated.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server returned an error.
    #[error("{what}: {source}")]
    Api {
        /// The failed operation.
        what: String,
        /// The error.
        source: Box<kube::Error>,
    },
    /// No certificate could be issued.
    #[error(transparent)]
    Sign(#[from] SigningError),
    /// The system has no random numbers.
    #[error("cannot make a secret for the path: the system has no random numbers")]
    Random,
    /// The pair in the Secret is invalid.
    #[error("cannot use the Secret {secret}: {source}")]
    Pair {
        /// The Secret.
        secret: String,
        /// Why.
        source: PairError,
    },
}

/// The Secret, and the registrations whose `caBundle` and path follow it.
pub struct SharedSecret {
    secrets: Api<Secret>,
    registrations: Api<ValidatingWebhookConfiguration>,
    name: String,
    /// Names of `ValidatingWebhookConfiguration`s.
    registered: Vec<String>,
    settings: Settings,
    issues: Issues,
    provider: Arc<CryptoProvider>,
    shown: Option<Signed>,
}

/// The program that issues the webhook's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Issues {
    /// The webhook. Its CA and certificate are in the Secret.
    Certificate,
    /// Another one. Only the secrets of the path are in the Secret.
    PathAlone,
}

/// Everything that the replicas share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shared {
    /// `None` if another program issues the certificate.
    material: Option<Material>,
    paths: Rotation,
}

impl SharedSecret {
    /// Uses the Secret `namespace/name`.
    pub fn new(
        client: Client,
        (namespace, name): (&str, &str),
        registered: Vec<String>,
        (settings, issues): (Settings, Issues),
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            registrations: Api::all(client),
            name: name.to_owned(),
            registered,
            settings,
            issues,
            provider,
            shown: None,
        }
    }

    /// Updates Secret, registrations, certificate and accepted paths.
    pub async fn sync(
        &mut self,
        certificates: &Certificates,
        paths: &PathSecrets,
        now: SystemTime,
    ) -> Result<(), SecretError> {
        let Shared { material, paths: rotation } = self.shared(now).await?;
        // This replica accepts a path before a registration has it.
        paths.replace(rotation.accepted());
        // The bundle comes first: a client must trust the CA before it receives a leaf. The first certificate is used in
        // any case, because another program may set the bundle.
        let registered = self.register(material.as_ref(), &rotation, now).await;
        let Some(material) = material else { return registered };
        if self.shown.as_ref() == Some(&material.leaf) || (registered.is_err() && self.shown.is_some()) {
            return registered;
        }
        let Signed { certificate, key } = &material.leaf;
        match Pair::read(certificate.as_bytes(), key.as_bytes(), &self.provider, now) {
            Ok(pair) => certificates.replace(pair),
            Err(source) => {
                certificates.count_invalid();
                return Err(SecretError::Pair { secret: self.name.clone(), source });
            }
        }
        self.shown = Some(material.leaf);
        tracing::info!(secret = self.name, "new certificate");
        registered
    }

    /// Updates at each interval and never returns. A repeated error is logged once.
    pub async fn run(mut self, certificates: Arc<Certificates>, paths: Arc<PathSecrets>, every: Duration) {
        let mut last_error = String::new();
        loop {
            match self.sync(&certificates, &paths, SystemTime::now()).await {
                Ok(()) => last_error.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != last_error {
                        tracing::error!("certificates: {text}");
                        last_error = text;
                    }
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// What must replace the contents of the Secret now, or `None` if nothing is due.
    fn advance(&self, old: &Shared, now: SystemTime) -> Result<Option<Shared>, SecretError> {
        let material = match (&old.material, self.issues) {
            (_, Issues::PathAlone) => None,
            // A chart reserves the name with an empty Secret. A Secret with a missing part counts as empty.
            (None, Issues::Certificate) => Some(Material::new(&self.settings, now)?),
            (Some(material), Issues::Certificate) => {
                Some(material.advance(&self.settings, now)?.unwrap_or_else(|| material.clone()))
            }
        };
        let lives = (self.settings.leaf_life, self.settings.settle);
        let paths = old.paths.advance(lives, now, &self.provider);
        let paths = paths.map_err(|_| SecretError::Random)?.unwrap_or_else(|| old.paths.clone());
        let new = Shared { material, paths };
        Ok((new != *old).then_some(new))
    }

    /// The current contents. The first replica that finds a change due writes it.
    async fn shared(&self, now: SystemTime) -> Result<Shared, SecretError> {
        // A conflict means that another replica was faster. More than a few conflicts are an error.
        for _ in 0..5 {
            let found = self.secrets.get_opt(&self.name).await.map_err(|e| self.failed("read", e))?;
            let current = found.as_ref().map(read).unwrap_or_default();
            let Some(due) = self.advance(&current, now)? else { return Ok(current) };
            let written = match found {
                None => {
                    let mut secret = Secret { type_: Some("Opaque".to_owned()), ..Secret::default() };
                    secret.metadata.name = Some(self.name.clone());
                    secret.data = Some(write(&due));
                    self.secrets.create(&PostParams::default(), &secret).await
                }
                Some(mut secret) => {
                    secret.metadata.managed_fields = None;
                    secret.data = Some(write(&due));
                    self.secrets.replace(&self.name, &PostParams::default(), &secret).await
                }
            };
            match written {
                Ok(_) => return Ok(due),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(self.failed("write", error)),
            }
        }
        let secret = self.secrets.get(&self.name).await.map_err(|e| self.failed("read", e))?;
        let shared = read(&secret);
        if shared.material.is_none() && self.issues == Issues::Certificate {
            let source = PairError::Certificate("other replicas keep changing it".to_owned());
            return Err(SecretError::Pair { secret: self.name.clone(), source });
        }
        Ok(shared)
    }

    fn failed(&self, verb: &str, source: kube::Error) -> SecretError {
        SecretError::Api { what: format!("cannot {verb} the Secret {}", self.name), source: Box::new(source) }
    }

    /// Sets `caBundle` and the path of every webhook of every registration, if they differ. A missing registration is not
    /// an error: it may be created later.
    async fn register(
        &self,
        material: Option<&Material>,
        paths: &Rotation,
        now: SystemTime,
    ) -> Result<(), SecretError> {
        let bundle = material.map(|material| ByteString(material.bundle().into_bytes()));
        let Some(secret) = paths.registered(self.settings.settle, now) else { return Ok(()) };
        for name in &self.registered {
            let failed = |verb: &str, source| SecretError::Api {
                what: format!("cannot {verb} the ValidatingWebhookConfiguration {name}"),
                source: Box::new(source),
            };
            let found = self.registrations.get_opt(name).await.map_err(|e| failed("read", e))?;
            let webhooks = found.and_then(|found| found.webhooks).unwrap_or_default();
            let Some(patch) = update::patch(&webhooks, bundle.as_ref(), secret) else { continue };
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            self.registrations
                .patch(name, &params, &Patch::Strategic(patch))
                .await
                .map_err(|e| failed("patch", e))?;
            tracing::info!(registration = name, "certificate authorities and path set");
        }
        Ok(())
    }
}

const SINCE: &str = "next-since";
/// One line for each secret of the path: its time in seconds since 1970, and the secret.
const PATHS: &str = "path-secrets";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

fn write(Shared { material, paths }: &Shared) -> BTreeMap<String, ByteString> {
    let seconds =
        |time: &SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let lines = paths.all().iter().map(|secret| format!("{} {}\n", seconds(&secret.since), secret.text));
    let mut data = BTreeMap::from([(PATHS, lines.collect())]);
    if let Some(material) = material {
        data.extend([
            ("ca.crt", material.bundle()),
            ("signing-ca.crt", material.ca.certificate.clone()),
            ("signing-ca.key", material.ca.key.clone()),
            ("previous-ca.crt", material.previous.concat()),
            ("tls.crt", material.leaf.certificate.clone()),
            ("tls.key", material.leaf.key.clone()),
            ("names", material.names.join("\n")),
        ]);
        if let Some((next, since)) = &material.next {
            data.insert("next-ca.crt", next.certificate.clone());
            data.insert("next-ca.key", next.key.clone());
            data.insert(SINCE, seconds(since).to_string());
        }
    }
    data.into_iter()
        .map(|(key, text): (&str, String)| (key.to_owned(), ByteString(text.into_bytes())))
        .collect()
}

/// The contents of a Secret. A missing part counts as empty.
fn read(secret: &Secret) -> Shared {
    let text = |key: &str| {
        let bytes = secret.data.as_ref()?.get(key)?;
        std::str::from_utf8(&bytes.0).ok().map(str::to_owned)
    };
    let time = |seconds: &str| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.parse().ok()?));
    let paths = text(PATHS).unwrap_or_default();
    let paths = paths.lines().filter_map(|line| {
        let (since, text) = line.split_once(' ')?;
        Some(PathSecret { text: text.to_owned(), since: time(since)? })
    });
    let signed = |name: &str| {
        Some(Signed { certificate: text(&format!("{name}.crt"))?, key: text(&format!("{name}.key"))? })
    };
    let material = || {
        let previous = text("previous-ca.crt").unwrap_or_default();
        let previous = previous.split(BEGIN).filter(|part| !part.trim().is_empty());
        Some(Material {
            ca: signed("signing-ca")?,
            next: signed("next-ca").zip(text(SINCE).and_then(|since| time(&since))),
            previous: previous.map(|part| format!("{BEGIN}{part}")).collect(),
            leaf: signed("tls")?,
            names: text("names")?.lines().map(str::to_owned).collect(),
        })
    };
    Shared { material: material(), paths: Rotation::new(paths.collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::provider;

    #[test]
    fn what_is_written_is_read() {
        let hour = Duration::from_hours(1);
        let settings = Settings {
            ca_life: 6 * hour,
            leaf_life: hour,
            settle: hour,
            names: vec!["a".into(), "b".into()],
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        let mut material = Material::new(&settings, now).unwrap();
        let paths = Rotation::default().advance((hour, hour), now - hour, &provider()).unwrap().unwrap();
        // Every state: one CA, a next CA, a previous CA.
        for hours in 0..6 {
            let paths = paths.advance((hour, hour), now + hours * hour, &provider()).unwrap().unwrap();
            let shared = Shared { material: Some(material.clone()), paths };
            let secret = Secret { data: Some(write(&shared)), ..Secret::default() };
            assert_eq!(read(&secret), shared, "after {hours} h");
            let then = now + hours * hour;
            material = material.advance(&settings, then).unwrap().unwrap_or(material);
        }
        assert_eq!(material.previous.len(), 1, "the loop has seen every state");
        assert_eq!(read(&Secret::default()), Shared::default());
    }
}
