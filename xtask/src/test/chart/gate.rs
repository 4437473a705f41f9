//! What chart and gate both say: the rules of the `ValidatingAdmissionPolicy`, and what the API server asks the gate about.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Tests,
    render::{objects, of_kind, template},
};
use crate::{chart, setup::chart::Programs};

pub(super) fn run(tests: &mut Tests, programs: &Programs) -> Result<()> {
    let current = chart::admission()?;
    let path = chart::folder().join(chart::ADMISSION);
    let stale = (chart::read(&path)? != current)
        .then(|| format!("{} is not current: `cargo xtask chart` writes it", path.display()));
    tests.verdict("the admission policy is the gate's", &stale.into_iter().collect::<Vec<_>>());

    let of_gate = objects(&chart::webhook(&["manifests", "--namespace=gatewatch"])?)?;
    let of_gate = of_gate.first().context("the gate prints no registration")?;
    let of_chart = template(programs, "1.36.0", &[])?;
    let of_chart =
        of_kind(&of_chart, "ValidatingWebhookConfiguration").context("the chart has no registration")?;
    tests.verdict("the chart registers the gate as the gate says", &differences(of_gate, of_chart));
    Ok(())
}

/// What the chart registers otherwise than the gate says. Conditions of its own it may have.
fn differences(of_gate: &Value, of_chart: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, (gate, chart)) in webhooks(of_gate).zip(webhooks(of_chart)).enumerate() {
        let fields = gate.as_object().into_iter().flatten();
        for (field, value) in fields.filter(|(field, _)| *field != "matchConditions") {
            if chart[field] != *value {
                faults.push(format!(
                    "webhooks[{at}].{field}: the gate has {value}, the chart {}",
                    chart[field]
                ));
            }
        }
        for condition in conditions(&gate) {
            if !conditions(&chart).contains(&condition) {
                faults.push(format!("webhooks[{at}]: the chart has no condition {condition}"));
            }
        }
    }
    if webhooks(of_gate).count() != webhooks(of_chart).count() {
        faults.push("the gate and the chart have different numbers of webhooks".into());
    }
    faults
}

fn webhooks(registration: &Value) -> impl Iterator<Item = Value> {
    registration["webhooks"].as_array().cloned().unwrap_or_default().into_iter()
}

/// The conditions, without what is only their layout.
fn conditions(webhook: &Value) -> Vec<Value> {
    let all = webhook["matchConditions"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|condition| {
            let expression = condition["expression"].as_str().unwrap_or_default();
            let plain: String = expression.chars().filter(|letter| !letter.is_whitespace()).collect();
            json!({"name": condition["name"], "expression": plain})
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_found() {
        let condition = |expression: &str| json!({"name": "a", "expression": expression});
        let webhook = |failure: &str, expression: &str| json!({"webhooks": [{"failurePolicy": failure, "matchConditions": [condition(expression)]}]});
        assert!(differences(&webhook("Fail", "a && b"), &webhook("Fail", "a&&  b")).is_empty());
        assert_eq!(differences(&webhook("Fail", "a"), &webhook("Ignore", "b")).len(), 2);
        assert_eq!(differences(&webhook("Fail", "a"), &json!({})).len(), 1);
    }
}
