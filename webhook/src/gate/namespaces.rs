//! Namespaces: whether they require coverage.

use std::collections::BTreeMap;

use gatewatch_coverage::{REQUIRE_COVERAGE, requires_coverage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CheckResult, Gate};
use crate::review::{Operation, Request};

/// The fields of a namespace that matter.
#[derive(Default, Deserialize)]
struct Namespace {
    #[serde(default)]
    metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    deletion_timestamp: Option<String>,
}

impl Gate {
    pub(super) fn namespace(&self, request: &Request, result: &mut CheckResult) {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return;
        }
        // It is valid JSON, and the API server has checked that it is a namespace.
        let Some(new) = read(request.object.as_deref()) else { return };
        if new.deletion_timestamp.is_some() {
            return;
        }
        let old = read(request.old_object.as_deref()).unwrap_or_default();
        let [was, now] = [old, new].map(|meta| meta.annotations.unwrap_or_default());
        if was.get(REQUIRE_COVERAGE) == now.get(REQUIRE_COVERAGE) {
            return;
        }
        match (requires_coverage(&was), requires_coverage(&now)) {
            (false, true) if self.can_check_coverage(&mut result.notices) => {
                result.diagnostics =
                    self.cluster.with_index(|index| index.on_coverage_required(&request.name));
            }
            (true, false) => result.notices.push(format!(
                "{REQUIRE_COVERAGE}: from now on, pods in this namespace may run without a policy that \
                 selects them"
            )),
            _ => {}
        }
        if let Some(value) =
            now.get(REQUIRE_COVERAGE).filter(|value| !["true", "false"].contains(&value.as_str()))
        {
            let value: String = value.chars().take(20).collect();
            result.notices.push(format!(
                "{REQUIRE_COVERAGE}: {value:?} has no effect; only \"true\" requires coverage"
            ));
        }
    }
}

fn read(object: Option<&RawValue>) -> Option<Meta> {
    serde_json::from_str::<Namespace>(object?.get()).ok().map(|namespace| namespace.metadata)
}
