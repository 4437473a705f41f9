//! The Secret that replicas share: each of them reads it again and again, and the first to find that something is due
//! writes it. Who comes second meets a conflict, and reads what the first has written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use rustls::crypto::CryptoProvider;
use serde_json::json;

use super::authority::{CannotSign, Material, Settings, Signed};
use super::{BadPair, Certificates, Pair};

/// Who writes, as `kubectl get --show-managed-fields` shows it.
const MANAGER: &str = "gatewatch-webhook";

/// Why the Secret or the registration can't be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The API server says no.
    #[error("{what}: {source}")]
    Api {
        /// What was tried.
        what: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
    /// No certificate could be made.
    #[error(transparent)]
    Sign(#[from] CannotSign),
    /// What the Secret holds can't be shown.
    #[error("cannot use the Secret {secret}: {source}")]
    Pair {
        /// The Secret.
        secret: String,
        /// Why.
        source: BadPair,
    },
}

/// The Secret, and the registrations whose `caBundle` follows it.
pub struct Shared {
    secrets: Api<Secret>,
    registrations: Api<ValidatingWebhookConfiguration>,
    name: String,
    /// Names of `ValidatingWebhookConfiguration`s.
    registered: Vec<String>,
    settings: Settings,
    provider: Arc<CryptoProvider>,
    shown: Option<Signed>,
}

impl Shared {
    /// The Secret `namespace/name`.
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

    /// Brings everything up to date: Secret, registrations, certificate.
    pub async fn step(&mut self, certificates: &Certificates, now: SystemTime) -> Result<(), Failed> {
        let material = self.material(now).await?;
        // The bundle first: a client must know the CA before it meets its leaf. Where nothing is shown yet there is
        // nothing to keep, and whoever may not be patched may be told by somebody else.
        let registered = self.register(&material).await;
        if self.shown.as_ref() == Some(&material.leaf) || (registered.is_err() && self.shown.is_some()) {
            return registered;
        }
        let Signed { certificate, key } = &material.leaf;
        match Pair::read(certificate.as_bytes(), key.as_bytes(), &self.provider, now) {
            Ok(pair) => certificates.show(pair),
            Err(source) => {
                certificates.refuse();
                return Err(Failed::Pair { secret: self.name.clone(), source });
            }
        }
        self.shown = Some(material.leaf);
        tracing::info!(secret = self.name, "new certificate");
        registered
    }

    /// Does so again and again, for ever. The same complaint is made once.
    pub async fn follow(mut self, certificates: Arc<Certificates>, every: Duration) {
        let mut complaint = String::new();
        loop {
            match self.step(&certificates, SystemTime::now()).await {
                Ok(()) => complaint.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != complaint {
                        tracing::error!("certificates: {text}");
                        complaint = text;
                    }
                }
            }
            tokio::time::sleep(every).await;
        }
    }

    /// What is due by now, written by whoever comes first.
    async fn material(&self, now: SystemTime) -> Result<Material, Failed> {
        // Each round ends or loses against another replica; more than a few of these are no coincidence.
        for _ in 0..5 {
            let found = self.secrets.get_opt(&self.name).await.map_err(|e| self.failed("read", e))?;
            let (due, old) = match found {
                None => (Some(Material::new(&self.settings, now)?), None),
                Some(secret) => match read(&secret) {
                    Some(material) => match material.advance(&self.settings, now)? {
                        None => return Ok(material),
                        due => (due, Some(secret)),
                    },
                    // An empty Secret is how a chart reserves the name; one that lost a part is as good as empty.
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
            let missing = BadPair::Certificate("other replicas keep changing it".to_owned());
            read(&secret).ok_or(Failed::Pair { secret: self.name.clone(), source: missing })
        })
    }

    fn failed(&self, verb: &str, source: kube::Error) -> Failed {
        Failed::Api { what: format!("cannot {verb} the Secret {}", self.name), source: Box::new(source) }
    }

    /// Sets `caBundle` of every webhook of every registration, where it isn't so already. A registration that isn't
    /// there is nobody's fault: it may come later.
    async fn register(&self, material: &Material) -> Result<(), Failed> {
        let bundle = ByteString(material.bundle().into_bytes());
        for name in &self.registered {
            let failed = |verb: &str, source| Failed::Api {
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
            // By name, which is a webhook's key: whatever else is in the registration stays.
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

/// `None` where a part is missing.
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
        // Through every state: alone, with a next CA, with one before.
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
