//! The Secret that replicas share. Each replica polls it, and the first that finds a change due writes it. The second
//! one receives a conflict, and reads what the first one wrote.

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
use serde_json::json;

use super::{
    Certificates, Pair, PairError,
    authority::{Material, Settings, Signed, SigningError},
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
    /// The pair in the Secret is invalid.
    #[error("cannot use the Secret {secret}: {source}")]
    Pair {
        /// The Secret.
        secret: String,
        /// Why.
        source: PairError,
    },
}

/// The Secret, and the registrations whose `caBundle` follows it.
pub struct SharedSecret {
    secrets: Api<Secret>,
    registrations: Api<ValidatingWebhookConfiguration>,
    name: String,
    /// Names of `ValidatingWebhookConfiguration`s.
    registered: Vec<String>,
    settings: Settings,
    provider: Arc<CryptoProvider>,
    shown: Option<Signed>,
}

impl SharedSecret {
    /// Uses the Secret `namespace/name`.
    pub fn new(
        client: Client,
        (namespace, name): (&str, &str),
        registered: Vec<String>,
        settings: Settings,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), namespace),
            registrations: Api::all(client),
            name: name.to_owned(),
            registered,
            settings,
            provider,
            shown: None,
        }
    }

    /// Updates Secret, registrations and certificate.
    pub async fn sync(&mut self, certificates: &Certificates, now: SystemTime) -> Result<(), SecretError> {
        let material = self.material(now).await?;
        // The bundle comes first: a client must trust the CA before it receives a leaf. The first certificate is used in
        // any case, because another program may set the bundle.
        let registered = self.register(&material).await;
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
    pub async fn run(mut self, certificates: Arc<Certificates>, every: Duration) {
        let mut last_error = String::new();
        loop {
            match self.sync(&certificates, SystemTime::now()).await {
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

    /// The current material. The first replica that finds a change due writes it.
    async fn material(&self, now: SystemTime) -> Result<Material, SecretError> {
        // A conflict means that another replica was faster. More than a few conflicts are an error.
        for _ in 0..5 {
            let found = self.secrets.get_opt(&self.name).await.map_err(|e| self.failed("read", e))?;
            let (due, old) = match found {
                None => (Some(Material::new(&self.settings, now)?), None),
                Some(secret) => match read(&secret) {
                    Some(material) => match material.advance(&self.settings, now)? {
                        None => return Ok(material),
                        due => (due, Some(secret)),
                    },
                    // A chart reserves the name with an empty Secret. A Secret with a missing part counts as empty.
                    None => (Some(Material::new(&self.settings, now)?), Some(secret)),
                },
            };
            let Some(due) = due else { continue };
            let written = match old {
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
        self.secrets.get(&self.name).await.map_err(|e| self.failed("read", e)).and_then(|secret| {
            let missing = PairError::Certificate("other replicas keep changing it".to_owned());
            read(&secret).ok_or(SecretError::Pair { secret: self.name.clone(), source: missing })
        })
    }

    fn failed(&self, verb: &str, source: kube::Error) -> SecretError {
        SecretError::Api { what: format!("cannot {verb} the Secret {}", self.name), source: Box::new(source) }
    }

    /// Sets `caBundle` of every webhook of every registration, if it differs. A missing registration is no error: it
    /// may be created later.
    async fn register(&self, material: &Material) -> Result<(), SecretError> {
        let bundle = ByteString(material.bundle().into_bytes());
        for name in &self.registered {
            let failed = |verb: &str, source| SecretError::Api {
                what: format!("cannot {verb} the ValidatingWebhookConfiguration {name}"),
                source: Box::new(source),
            };
            let found = self.registrations.get_opt(name).await.map_err(|e| failed("read", e))?;
            let Some(found) = found else { continue };
            let webhooks = found.webhooks.unwrap_or_default();
            let stale: Vec<usize> = (0..webhooks.len())
                .filter(|i| webhooks[*i].client_config.ca_bundle.as_ref() != Some(&bundle))
                .collect();
            if stale.is_empty() {
                continue;
            }
            // The patch is by name, a webhook's merge key. It keeps all other fields.
            let patch = json!({"webhooks": stale.iter().map(|i| json!({
                "name": webhooks[*i].name, "clientConfig": {"caBundle": bundle},
            })).collect::<Vec<_>>()});
            let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
            self.registrations
                .patch(name, &params, &Patch::Strategic(patch))
                .await
                .map_err(|e| failed("patch", e))?;
            tracing::info!(registration = name, "caBundle set");
        }
        Ok(())
    }
}

const SINCE: &str = "next-since";
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

fn write(material: &Material) -> BTreeMap<String, ByteString> {
    let mut data = BTreeMap::from([
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
        let seconds = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        data.insert(SINCE, seconds.to_string());
    }
    data.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect()
}

/// `None` if a part is missing.
fn read(secret: &Secret) -> Option<Material> {
    let data = secret.data.as_ref()?;
    let text =
        |key: &str| data.get(key).and_then(|bytes| std::str::from_utf8(&bytes.0).ok()).map(str::to_owned);
    let signed = |name: &str| {
        Some(Signed { certificate: text(&format!("{name}.crt"))?, key: text(&format!("{name}.key"))? })
    };
    let previous = text("previous-ca.crt").unwrap_or_default();
    let previous = previous.split(BEGIN).filter(|part| !part.trim().is_empty());
    let since = text(SINCE).and_then(|s| s.parse().ok()).map(Duration::from_secs);
    Some(Material {
        ca: signed("signing-ca")?,
        next: signed("next-ca").zip(since.map(|since| SystemTime::UNIX_EPOCH + since)),
        previous: previous.map(|part| format!("{BEGIN}{part}")).collect(),
        leaf: signed("tls")?,
        names: text("names")?.lines().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
        // Every state: one CA, a next CA, a previous CA.
        for hours in 0..6 {
            let secret = Secret { data: Some(write(&material)), ..Secret::default() };
            assert_eq!(read(&secret).as_ref(), Some(&material), "after {hours} h");
            let then = now + hours * hour;
            material = material.advance(&settings, then).unwrap().unwrap_or(material);
        }
        assert_eq!(material.previous.len(), 1, "the loop has seen every state");
        assert_eq!(read(&Secret::default()), None);
    }
}
