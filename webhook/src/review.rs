//! What the API server asks, and what it is answered: `AdmissionReview` of `admission.k8s.io/v1`.
//!
//! Objects stay text until it is known what they are: of workloads only the few fields that matter are read then, of
//! policies the whole tree.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The only supported version. API servers since 1.16 use it.
pub const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// A request from the API server.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Identifies this request. The answer repeats it.
    pub uid: String,
    /// The object's kind.
    pub kind: Kind,
    /// `pods`, `deployments` and so on.
    #[serde(default)]
    pub resource: ResourceName,
    /// `ephemeralcontainers` and the like.
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// The object's name; empty until the API server generates one.
    #[serde(default)]
    pub name: String,
    /// The object's namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The operation on the object.
    pub operation: Operation,
    /// The user of the request.
    #[serde(default)]
    pub user_info: User,
    /// The new object; absent in deletions.
    #[serde(default)]
    pub object: Option<Box<RawValue>>,
    /// The existing object; absent in creations.
    #[serde(default)]
    pub old_object: Option<Box<RawValue>>,
    /// Whether it is a dry run, so that nothing is stored.
    #[serde(default)]
    pub dry_run: bool,
}

/// A kind of objects.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Kind {
    /// Empty for the core group.
    #[serde(default)]
    pub group: String,
    /// `v1`.
    #[serde(default)]
    pub version: String,
    /// `Pod`.
    #[serde(default)]
    pub kind: String,
}

/// The plural name of a resource.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct ResourceName {
    /// `pods`.
    #[serde(default)]
    pub resource: String,
}

/// The user of a request.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct User {
    /// `system:serviceaccount:kube-system:replicaset-controller`.
    #[serde(default)]
    pub username: String,
    /// `system:masters` and so on.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// An operation on an object.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is created.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// A connection to it, such as `kubectl exec`. The webhook does not register for it.
    Connect,
}

impl Operation {
    /// The label in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Connect => "connect",
        }
    }
}

#[derive(Deserialize)]
struct Review {
    #[serde(default)]
    request: Option<Request>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

/// The reason why a body is not an admission review.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// The kind or version is different.
    #[error(
        "the body is {found}, but this server accepts only {KIND} of {API_VERSION}: set admissionReviewVersions to [v1]"
    )]
    Other {
        /// Its kind and version.
        found: String,
    },
    /// A field is invalid.
    #[error("cannot read the {KIND}: {0}")]
    Malformed(serde_json::Error),
    /// The review has no request.
    #[error("the {KIND} has no request")]
    NoRequest,
}

/// Reads a request.
pub fn parse(body: &[u8]) -> Result<Request, ReviewError> {
    let malformed = match serde_json::from_slice::<Review>(body) {
        // The bodies of an API server are valid. Only others pay for the second parse.
        Ok(Review { request: Some(request) }) if is_supported(body) => return Ok(request),
        Ok(_) => None,
        Err(error) => Some(error),
    };
    let head: Head = serde_json::from_slice(body).map_err(ReviewError::NotJson)?;
    if head.api_version != API_VERSION || head.kind != KIND {
        let found = match (head.api_version.as_str(), head.kind.as_str()) {
            ("", "") => "JSON without apiVersion and kind".to_owned(),
            (version, kind) => format!("{kind:?} of {version:?}"),
        };
        return Err(ReviewError::Other { found });
    }
    Err(malformed.map_or(ReviewError::NoRequest, ReviewError::Malformed))
}

/// Whether the body is a review of the supported version. Go's encoder writes these members first, without spaces.
/// Otherwise the head is parsed.
fn is_supported(body: &[u8]) -> bool {
    const USUAL: &[u8] = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","#;
    body.starts_with(USUAL)
        || serde_json::from_slice::<Head>(body)
            .is_ok_and(|head| head.api_version == API_VERSION && head.kind == KIND)
}

/// The answer to a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The `uid` of the request.
    pub uid: String,
    /// Whether the object is admitted.
    pub allowed: bool,
    /// The reason of a rejection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Warnings that `kubectl` prints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Annotations for the audit log.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub audit_annotations: BTreeMap<String, String>,
}

impl Answer {
    /// Admits the object without warnings.
    pub fn allow(uid: &str) -> Self {
        Self { uid: uid.to_owned(), allowed: true, ..Self::default() }
    }

    /// Rejects with reason Invalid and code 422, as the API server does for an object that violates its schema.
    #[must_use]
    pub fn rejected(
        mut self,
        message: String,
        object: ObjectReference<'_>,
        causes: Vec<StatusCause>,
    ) -> Self {
        self.allowed = false;
        self.status = Some(Status {
            code: Some(422),
            reason: Some("Invalid".to_owned()),
            status: Some("Failure".to_owned()),
            message: Some(message),
            details: Some(StatusDetails {
                group: Some(object.kind.group.clone()),
                kind: Some(object.kind.kind.clone()),
                name: Some(object.name.to_owned()),
                causes: Some(causes),
                ..StatusDetails::default()
            }),
            ..Status::default()
        });
        self
    }

    /// The admission review with this answer, as bytes.
    pub fn into_review(self) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Outgoing {
            api_version: &'static str,
            kind: &'static str,
            response: Answer,
        }
        serde_json::to_vec(&Outgoing { api_version: API_VERSION, kind: KIND, response: self })
    }
}

/// The object of an answer.
#[derive(Clone, Copy, Debug)]
pub struct ObjectReference<'a> {
    /// Its kind.
    pub kind: &'a Kind,
    /// Its name.
    pub name: &'a str,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &Value) -> Result<Request, ReviewError> {
        parse(&serde_json::to_vec(body).unwrap())
    }

    fn review() -> Value {
        json!({
            "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "request": {
                "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE",
                "resource": {"group": "", "version": "v1", "resource": "pods"}, "name": "p", "namespace": "n",
                "userInfo": {"username": "me"}, "object": {"a": 1}, "oldObject": null, "dryRun": true,
                "options": {"unknown": []}
            }
        })
    }

    #[test]
    fn a_request_is_read() {
        let request = read(&review()).unwrap();
        assert_eq!(
            (request.uid.as_str(), request.operation, request.dry_run),
            ("u", Operation::Create, true)
        );
        assert_eq!(request.object.map(|object| object.get().to_owned()).as_deref(), Some(r#"{"a":1}"#));
        assert!(request.old_object.is_none());
    }

    #[test]
    fn invalid_requests_are_distinguished() {
        let error = |body: &Value| read(body).unwrap_err().to_string();
        let mut other = review();
        other["apiVersion"] = json!("admission.k8s.io/v1beta1");
        assert!(error(&other).contains(r#""AdmissionReview" of "admission.k8s.io/v1beta1""#));
        let mut none = review();
        none["request"] = Value::Null;
        assert!(error(&none).contains("no request"));
        let mut wrong = review();
        wrong["request"]["operation"] = json!("EAT");
        assert!(
            error(&wrong).contains("cannot read the AdmissionReview: unknown variant `EAT`"),
            "{}",
            error(&wrong)
        );
        assert!(error(&json!({})).contains("without apiVersion"));
        assert!(parse(b"<html>").unwrap_err().to_string().contains("not JSON"));
        assert!(parse(br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","reque"#).is_err());
    }

    #[test]
    fn an_admitted_object_without_findings_has_a_short_answer() {
        let bytes = Answer::allow("u").into_review().unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            value,
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "response": {"uid": "u", "allowed": true}})
        );
    }
}
