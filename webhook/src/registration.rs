//! The `ValidatingWebhookConfiguration`: the requests that the API server sends, and its behaviour without an answer. A
//! test compares the chart's template with it.

pub mod update;

use gatewatch_policy::read::{GROUP, VERSION};
use serde_json::{Value, json};

use crate::gate::Endpoint;

/// The default name of the registration.
pub const NAME: &str = "gatewatch";
/// Namespaces that are always exempt, in addition to the webhook's own. A cluster must be able to repair itself.
pub const EXEMPT_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];
/// Seconds that the API server waits for an answer.
pub const TIMEOUT_SECONDS: u32 = 3;
/// The label of an exempt namespace. The administrator sets labels of namespaces, not the users who create pods in them.
pub const EXEMPT_LABEL: &str = "gatewatch.dev/exempt";

/// How the API server reaches the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientConfig {
    /// A URL without a path: `https://127.0.0.1:9443`.
    Url(String),
    /// A service of the cluster.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
}

/// The contents of a `ValidatingWebhookConfiguration`.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name.
    pub name: String,
    /// The address of the webhook.
    pub client: ClientConfig,
    /// The webhook's own namespace, which is exempt.
    pub own_namespace: String,
    /// `Fail` or `Ignore` for policies: without an answer, the API server admits none or all.
    pub policies_failure: String,
    /// The same for workloads.
    pub workloads_failure: String,
    /// The bundle of trusted certificates, as PEM. `None` if another program writes it.
    pub ca_bundle: Option<String>,
}

impl Registration {
    /// The object.
    pub fn object(&self) -> Value {
        let exempt: Vec<&str> = EXEMPT_NAMESPACES.into_iter().chain([self.own_namespace.as_str()]).collect();
        let quoted: Vec<String> = exempt.iter().map(|namespace| format!("'{namespace}'")).collect();
        let selector = json!({"matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": exempt},
            {"key": EXEMPT_LABEL, "operator": "NotIn", "values": ["true"]},
        ]});
        let rule = |group: &str, version: &str, resources: &[&str], operations: &[&str]| {
            json!({
                "apiGroups": [group], "apiVersions": [version], "resources": resources,
                "operations": operations, "scope": "*",
            })
        };
        let common = |endpoint: Endpoint, failure: &str| {
            json!({
                "name": endpoint.webhook(),
                "admissionReviewVersions": ["v1"],
                "clientConfig": self.client(),
                "failurePolicy": failure,
                "matchPolicy": "Equivalent",
                "sideEffects": "None",
                "timeoutSeconds": TIMEOUT_SECONDS,
                "namespaceSelector": selector,
            })
        };
        let written = ["CREATE", "UPDATE"];
        let mut policies = common(Endpoint::Policies, &self.policies_failure);
        policies["rules"] = json!([rule(
            GROUP,
            VERSION,
            &["tracingpolicies", "tracingpoliciesnamespaced"],
            &["CREATE", "UPDATE", "DELETE"],
        )]);
        // A namespaceSelector does not apply to cluster-scoped kinds. The garbage collector and the namespace
        // controller may delete everything.
        policies["matchConditions"] = json!([
            {
                "name": "not-by-controllers",
                "expression": "request.operation != 'DELETE' || \
                    !request.userInfo.username.startsWith('system:serviceaccount:kube-system:')",
            },
        ]);
        let mut workloads = common(Endpoint::Workloads, &self.workloads_failure);
        workloads["rules"] = json!([
            rule(
                "",
                "v1",
                &[
                    "pods",
                    "pods/ephemeralcontainers",
                    "pods/status",
                    "podtemplates",
                    "replicationcontrollers",
                    "namespaces",
                ],
                &written
            ),
            rule("apps", "v1", &["deployments", "statefulsets", "daemonsets", "replicasets"], &written),
            rule("batch", "v1", &["jobs", "cronjobs"], &written),
            rule("argoproj.io", "v1alpha1", &["rollouts"], &written),
            rule("apps.openshift.io", "v1", &["deploymentconfigs"], &written),
            rule("serving.knative.dev", "v1", &["services"], &written),
        ]);
        workloads["matchConditions"] = json!([
            {"name": "not-exempt", "expression": format!("!(request.namespace in [{}])", quoted.join(", "))},
            // The pods of a node's static manifests cannot be rejected: they run already.
            {"name": "not-by-kubelets", "expression": "!('system:nodes' in request.userInfo.groups)"},
        ]);
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.name, "labels": {"app.kubernetes.io/name": "gatewatch"}},
            "webhooks": [policies, workloads],
        })
    }

    /// The path is missing: the webhook sets it, with its secret.
    fn client(&self) -> Value {
        let mut client = match &self.client {
            ClientConfig::Url(url) => json!({"url": url.trim_end_matches('/')}),
            ClientConfig::Service { namespace, name, port } => {
                json!({"service": {"namespace": namespace, "name": name, "port": port}})
            }
        };
        if let Some(bundle) = &self.ca_bundle {
            let bundle = k8s_openapi::ByteString(bundle.clone().into_bytes());
            client["caBundle"] = json!(bundle);
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;

    use super::*;

    #[test]
    fn it_is_what_the_api_knows() {
        let registration = Registration {
            name: NAME.into(),
            client: ClientConfig::Url("https://127.0.0.1:9443/".into()),
            own_namespace: "gatewatch".into(),
            policies_failure: "Fail".into(),
            workloads_failure: "Ignore".into(),
            ca_bundle: Some("PEM".into()),
        };
        let object: ValidatingWebhookConfiguration = serde_json::from_value(registration.object()).unwrap();
        let webhooks = object.webhooks.unwrap();
        assert_eq!(webhooks[0].client_config.url.as_deref(), Some("https://127.0.0.1:9443"));
        assert_eq!(webhooks[0].client_config.ca_bundle.as_ref().unwrap().0, b"PEM");
        let failure: Vec<_> = webhooks.iter().map(|w| w.failure_policy.as_deref().unwrap()).collect();
        assert_eq!(failure, ["Fail", "Ignore"]);
        assert!(webhooks.iter().all(|w| w.side_effects == "None" && w.timeout_seconds == Some(3)));
        let conditions = webhooks[1].match_conditions.as_ref().unwrap();
        assert!(
            conditions[0].expression.contains("'kube-system'")
                && conditions[0].expression.contains("'gatewatch'")
        );
    }
}
