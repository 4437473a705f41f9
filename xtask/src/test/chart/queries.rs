//! The queries of rules and dashboard: each names metrics that there are.

use std::{collections::BTreeSet, fs, process::Command};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Tests, alerts::list, render::passes};
use crate::{chart, paths, setup::chart::Programs};

pub(super) fn run(tests: &mut Tests, programs: &Programs) -> Result<()> {
    let reference = chart::read(&paths::root().join("docs/metrics.md"))?;
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for file in chart::files_in(&chart::folder().join("rules"))? {
        used.extend(metrics(&chart::read(&file)?));
    }
    let queries = dashboard()?;
    for query in &queries {
        used.extend(metrics(&query.text));
    }
    for metric in &used {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|part| metric.strip_suffix(part));
        if !reference.contains(&format!("`{metric}`"))
            && !family.is_some_and(|family| reference.contains(&format!("`{family}`")))
        {
            faults.push(format!("docs/metrics.md has no {metric}, which rules or dashboard ask for"));
        }
    }
    tests.verdict("rules and dashboard ask for metrics that there are", &faults);
    tests.holds("the dashboard's queries can be parsed", parse(programs, &queries));
    Ok(())
}

/// Has promtool read each query, as the expression of a rule.
fn parse(programs: &Programs, queries: &[Query]) -> Result<()> {
    let rules: Vec<Value> = queries
        .iter()
        .enumerate()
        .map(|(number, query)| json!({"record": format!("query:{number}"), "expr": query.text}))
        .collect();
    let file = tempfile::NamedTempFile::new().context("cannot create a file")?;
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(file.path(), groups.to_string()).context("cannot write a file")?;
    passes(Command::new(&programs.promtool).args(["check", "rules"]).arg(file.path()))
}

/// A query of the dashboard.
#[derive(Debug)]
pub(super) struct Query {
    /// The panel that it is of.
    pub(super) panel: String,
    /// As Prometheus takes it, without Grafana's variables.
    pub(super) text: String,
}

impl Query {
    /// Whether it needs a gate that is scraped.
    pub(super) fn is_of_the_gate(&self) -> bool {
        const OF_THE_GATE: &[&str] = &[
            "gatewatch_admission_",
            "gatewatch_certificate_",
            "gatewatch_policies_without_pods",
            "gatewatch_pods_without_required_coverage",
        ];
        OF_THE_GATE.iter().any(|metric| self.text.contains(metric)) && !self.text.contains("vector(0)")
    }
}

/// Every query of the dashboard: of panels and of annotations.
pub(super) fn dashboard() -> Result<Vec<Query>> {
    let path = chart::folder().join("dashboards/gatewatch.json");
    let dashboard: Value = serde_json::from_str(&chart::read(&path)?).context("the dashboard is not JSON")?;
    let panels = list(&dashboard["panels"]).iter().flat_map(|panel| {
        list(&panel["targets"]).iter().map(move |target| (&panel["title"], &target["expr"]))
    });
    let annotations = list(&dashboard["annotations"]["list"]).iter().map(|one| (&one["name"], &one["expr"]));
    panels
        .chain(annotations)
        .map(|(title, query)| {
            let panel = title.as_str().context("a panel of the dashboard has no title")?.to_owned();
            let query = query.as_str().with_context(|| format!("{panel}: a query is missing"))?;
            Ok(Query { panel, text: without_variables(query) })
        })
        .collect()
}

fn without_variables(query: &str) -> String {
    [("$__rate_interval", "1m"), ("$__range", "1h"), ("$policy", ".*"), ("$namespace", ".*")]
        .iter()
        .fold(query.to_owned(), |text, (variable, value)| text.replace(variable, value))
}

/// The names of Gatewatch's metrics in a text. Names with a colon are those of recording rules.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':';
    text.split(|letter| !is_name(letter))
        .filter(|word| word.starts_with("gatewatch_") || word.starts_with("tetragon_"))
        .map(ToOwned::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_in_queries() {
        let found = metrics("sum(rate(gatewatch_a_total[5m])) / gatewatch:rule:x + up{job=\"tetragon_b\"}");
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["gatewatch_a_total", "tetragon_b"]);
    }

    #[test]
    fn variables_are_replaced() {
        let text = without_variables("increase(x{policy=~\"$policy\"}[$__rate_interval])");
        assert_eq!(text, "increase(x{policy=~\".*\"}[1m])");
    }
}
