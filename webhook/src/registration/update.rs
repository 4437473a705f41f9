//! The parts of a registration that the webhook itself sets: the trusted certificates and the path with its secret.

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{ValidatingWebhook, WebhookClientConfig},
};
use serde_json::{Value, json};

use crate::gate::Endpoint;

/// The patch that sets the certificates (if the webhook issues its own) and the path of all webhooks of a registration.
/// `None` if all have them. The patch is by name, a webhook's merge key, and keeps all other fields.
pub fn patch(webhooks: &[ValidatingWebhook], bundle: Option<&ByteString>, secret: &str) -> Option<Value> {
    let changed: Vec<Value> = webhooks
        .iter()
        .filter_map(|webhook| {
            let config = &webhook.client_config;
            let mut client = address(&webhook.name, config, secret).unwrap_or_else(|| json!({}));
            if let Some(bundle) = bundle.filter(|bundle| config.ca_bundle.as_ref() != Some(*bundle)) {
                client["caBundle"] = json!(bundle);
            }
            let empty = client.as_object().is_none_or(serde_json::Map::is_empty);
            (!empty).then(|| json!({"name": webhook.name, "clientConfig": client}))
        })
        .collect();
    (!changed.is_empty()).then(|| json!({"webhooks": changed}))
}

/// The address with the secret, if it differs. A webhook of an unknown name is left alone.
fn address(name: &str, config: &WebhookClientConfig, secret: &str) -> Option<Value> {
    let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.webhook() == name)?;
    let path = format!("{}/{secret}", endpoint.path());
    if let Some(url) = &config.url {
        let base = url.split_once(Endpoint::ROOT).map_or(url.as_str(), |(base, _)| base);
        let wanted = format!("{}{path}", base.trim_end_matches('/'));
        return (*url != wanted).then(|| json!({"url": wanted}));
    }
    let service = config.service.as_ref()?;
    (service.path.as_ref() != Some(&path)).then(|| json!({"service": {"path": path}}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registration::{ClientConfig, NAME, Registration};

    fn webhooks(client: ClientConfig) -> Vec<ValidatingWebhook> {
        let object = Registration {
            name: NAME.into(),
            client,
            own_namespace: "gatewatch".into(),
            policies_failure: "Fail".into(),
            workloads_failure: "Ignore".into(),
            ca_bundle: None,
        }
        .object();
        serde_json::from_value(object["webhooks"].clone()).unwrap()
    }

    #[test]
    fn the_path_is_set_and_replaced() {
        let mut registered = webhooks(ClientConfig::Url("https://127.0.0.1:9443/".into()));
        let bundle = ByteString(b"PEM".to_vec());
        let first = patch(&registered, Some(&bundle), "one").unwrap();
        let client = &first["webhooks"][0]["clientConfig"];
        assert_eq!(client["url"], "https://127.0.0.1:9443/validate/policies/one");
        assert_eq!(client["caBundle"], json!(bundle));
        for (webhook, path) in registered.iter_mut().zip(["policies", "workloads"]) {
            webhook.client_config.url = Some(format!("https://127.0.0.1:9443/validate/{path}/one"));
            webhook.client_config.ca_bundle = Some(bundle.clone());
        }
        assert_eq!(patch(&registered, Some(&bundle), "one"), None);
        let next = patch(&registered, None, "two").unwrap();
        assert_eq!(
            next["webhooks"][1],
            json!({"name": "workloads.gatewatch.dev", "clientConfig": {"url": "https://127.0.0.1:9443/validate/workloads/two"}})
        );
    }

    #[test]
    fn a_service_keeps_its_name() {
        let service = ClientConfig::Service { namespace: "n".into(), name: "s".into(), port: 443 };
        let mut registered = webhooks(service);
        registered[1].name = "workloads.example.com".into();
        let patch = patch(&registered, None, "one").unwrap();
        assert_eq!(
            patch,
            json!({"webhooks": [{"name": "policies.gatewatch.dev",
                "clientConfig": {"service": {"path": "/validate/policies/one"}}}]})
        );
    }
}
