//! The rules about label selectors as a `ValidatingAdmissionPolicy`. The API server evaluates them itself, so they
//! hold while no webhook answers. They implement the named codes for the selectors of pods and nodes. Rules that need
//! a kernel or a cluster cannot be expressed in this way.

use gatewatch_policy::{
    codes::{BAD_LABEL_KEY, BAD_LABEL_VALUE, Code, LABEL_ARITY},
    labels::NAMESPACE_KEY,
    read::{GROUP, VERSION},
};
use serde_json::{Value, json};

/// The name of the policy and of its binding.
pub const NAME: &str = "gatewatch-labels";

/// The name part of a label key: `k8s.io/apimachinery/pkg/util/validation`, qualifiedNameFmt.
const PART: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
/// A DNS-1123 subdomain.
const PREFIX: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

/// A rule: an expression that must be true.
struct Rule {
    code: &'static Code,
    expression: String,
    message: &'static str,
}

fn rules() -> [Rule; 4] {
    let key = format!(
        "(k == '{NAMESPACE_KEY}' || (k.matches('^({PREFIX}/)?{PART}$') && k.split('/').all(p, size(p) <= 253) \
         && size(k.split('/')[size(k.split('/')) - 1]) <= 63))"
    );
    [
        Rule {
            code: &BAD_LABEL_KEY,
            expression: format!(
                "variables.labels.all(m, m.all(k, {key})) && variables.expressions.all(e, [e.key].all(k, {key}))"
            ),
            message: "a selector has an invalid label key, so it would never match",
        },
        Rule {
            code: &BAD_LABEL_VALUE,
            expression: format!(
                "variables.expressions.all(e, !has(e.values) || e.values.all(v, v == '' || \
                 (size(v) <= 63 && v.matches('^{PART}$'))))"
            ),
            message: "a selector has an invalid label value, so it would never match",
        },
        Rule {
            code: &LABEL_ARITY,
            expression: "variables.expressions.all(e, !(e.operator in ['In', 'NotIn']) || \
                         (has(e.values) && size(e.values) > 0))"
                .to_owned(),
            message: "In and NotIn require values; without them, they select nothing or everything",
        },
        Rule {
            code: &LABEL_ARITY,
            expression: "variables.expressions.all(e, !(e.operator in ['Exists', 'DoesNotExist']) || \
                         !has(e.values) || size(e.values) == 0)"
                .to_owned(),
            message: "Exists and DoesNotExist check only the key; their values would be ignored",
        },
    ]
}

/// The policy and its binding.
pub fn objects() -> [Value; 2] {
    let selected = |field: &str, part: &str| {
        let selector = format!("object.spec.{field}");
        format!("(has({selector}) && has({selector}.{part}) ? [{selector}.{part}] : [])")
    };
    let both = |part: &str| format!("{} + {}", selected("podSelector", part), selected("nodeSelector", part));
    let of = |field: &str| {
        let selector = format!("object.spec.{field}");
        format!("(has({selector}) && has({selector}.matchExpressions) ? {selector}.matchExpressions : [])")
    };
    let validations: Vec<Value> = rules()
        .into_iter()
        .map(|Rule { code, expression, message }| {
            json!({"expression": expression, "message": format!("{} {message}", code.id), "reason": "Invalid"})
        })
        .collect();
    let metadata = json!({"name": NAME, "labels": {"app.kubernetes.io/name": "gatewatch"}});
    [
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": metadata,
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [GROUP], "apiVersions": [VERSION], "operations": ["CREATE", "UPDATE"],
                    "resources": ["tracingpolicies", "tracingpoliciesnamespaced"],
                }]},
                "matchConditions": [
                    {"name": "not-ending", "expression": "!has(object.metadata.deletionTimestamp)"},
                ],
                "variables": [
                    {"name": "labels", "expression": both("matchLabels")},
                    {"name": "expressions", "expression": format!("{} + {}", of("podSelector"), of("nodeSelector"))},
                ],
                "validations": validations,
            },
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": NAME, "validationActions": ["Deny"]},
        }),
    ]
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::admissionregistration::v1::{
        ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    };

    use super::*;

    #[test]
    fn they_are_what_the_api_knows() {
        let [policy, binding] = objects();
        let policy: ValidatingAdmissionPolicy = serde_json::from_value(policy).unwrap();
        let validations = policy.spec.unwrap().validations.unwrap();
        assert!(validations.iter().all(|v| v.message.as_ref().unwrap().starts_with("GW10")));
        let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(binding).unwrap();
        assert_eq!(binding.spec.unwrap().policy_name.as_deref(), Some(NAME));
    }
}
