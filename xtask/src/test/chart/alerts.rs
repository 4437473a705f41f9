//! The alerting rules: promtool's checks and unit tests, a test that fires and one that doesn't for each, and a page.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use anyhow::Result;
use serde_json::Value;

use super::{Tests, render::passes};
use crate::{chart, paths, setup::chart::Programs};

/// Headings of a runbook page, in this order.
const HEADINGS: &[&str] = &["## Meaning", "## Diagnosis", "## Mitigation"];

pub(super) fn run(tests: &mut Tests, programs: &Programs) -> Result<()> {
    let folder = chart::folder();
    let sources = chart::files_in(&folder.join("rules"))?;
    let mut alerts = BTreeMap::new();
    for file in &sources {
        let document: Value = serde_saphyr::from_str(&chart::read(file)?)?;
        alerts.extend(
            rules(&document).filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule.clone()))),
        );
    }
    tests.holds(
        "promtool check rules",
        passes(Command::new(&programs.promtool).args(["check", "rules"]).args(&sources)),
    );

    let unit_tests = chart::files_in(&folder.join("tests/rules"))?;
    let (mut firing, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for file in &unit_tests {
        let name = file.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let outcome = passes(Command::new(&programs.promtool).args(["test", "rules"]).arg(file));
        tests.holds(&format!("promtool test rules {name}"), outcome);
        let document: Value = serde_saphyr::from_str(&chart::read(file)?)?;
        tested(&document, &mut firing, &mut silent);
    }
    let untested: Vec<String> = alerts
        .keys()
        .flat_map(|alert| {
            let seen = (!firing.contains(alert)).then(|| format!("no test in which {alert} fires"));
            let not = (!silent.contains(alert)).then(|| format!("no test in which {alert} does not fire"));
            seen.into_iter().chain(not)
        })
        .collect();
    tests.verdict("each alert has a test that fires and one that does not", &untested);

    let mut faults = Vec::new();
    for (alert, rule) in &alerts {
        let needed = ["/labels/severity", "/annotations/summary", "/annotations/description"];
        for text in needed.iter().filter(|text| rule.pointer(text).and_then(Value::as_str).is_none()) {
            faults.push(format!("{alert} has no {text}"));
        }
        let page = paths::root().join("docs/runbooks").join(format!("{alert}.md"));
        match chart::read(&page) {
            Ok(text) => {
                let places: Vec<Option<usize>> = HEADINGS.iter().map(|heading| text.find(heading)).collect();
                if !text.starts_with(&format!("# {alert}\n")) || places.contains(&None) || !places.is_sorted()
                {
                    faults.push(format!(
                        "docs/runbooks/{alert}.md: it has to be headed # {alert}, {}",
                        HEADINGS.join(", ")
                    ));
                }
            }
            Err(_) => faults.push(format!("{alert} has no page docs/runbooks/{alert}.md")),
        }
    }
    for page in chart::files_in(&paths::root().join("docs/runbooks"))? {
        let name = page.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name != "README" && !alerts.contains_key(&name) {
            faults.push(format!("docs/runbooks/{name}.md is the page of no alert"));
        }
    }
    tests.verdict("each alert has severity, texts and a runbook", &faults);
    Ok(())
}

/// All rules of a rules file.
fn rules(document: &Value) -> impl Iterator<Item = &Value> {
    list(&document["groups"]).iter().flat_map(|group| list(&group["rules"]))
}

/// Adds the alerts that a file of unit tests has firing and silent.
fn tested(document: &Value, firing: &mut BTreeSet<String>, silent: &mut BTreeSet<String>) {
    for test in list(&document["tests"]).iter().flat_map(|test| list(&test["alert_rule_test"])) {
        let Some(alert) = test["alertname"].as_str() else { continue };
        let set = if list(&test["exp_alerts"]).is_empty() { &mut *silent } else { &mut *firing };
        set.insert(alert.to_owned());
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
