//! `gatewatch coverage`: the policies that select each workload.

use std::{
    collections::BTreeSet,
    io::{self, BufWriter, Write},
};

use anyhow::{Result, bail};
use gatewatch_coverage::{PolicyId, Workload};
use serde::Serialize;

use crate::{
    arguments::{Coverage, TableFormat},
    report::counted,
    survey::{Defaults, ObjectKind, Purpose, Survey, survey},
    table::columns,
};

/// Maximum policies with a column each. With more, each row lists its policies by name.
const COLUMNS: usize = 6;

/// Shows the table of all inputs.
pub(crate) fn run(arguments: &Coverage) -> Result<()> {
    let inputs = &arguments.inputs;
    let survey = survey(&inputs.files, &Defaults::of(inputs), Purpose::Relate);
    let mut output = BufWriter::new(io::stdout().lock());
    match arguments.format {
        TableFormat::Human => output.write_all(human(&survey).as_bytes())?,
        TableFormat::Json => json(&mut output, &survey)?,
    }
    output.flush()?;
    if survey.unreadable > 0 {
        bail!("{} skipped", counted(survey.unreadable, "input was", "inputs were"));
    }
    Ok(())
}

fn workloads(survey: &Survey) -> Vec<&Workload> {
    let mut found: Vec<&Workload> = survey
        .entries
        .iter()
        .filter_map(|entry| match &entry.object {
            ObjectKind::Workload(workload) => Some(&**workload),
            ObjectKind::Policy(_) => None,
        })
        .collect();
    found.sort_by_key(|w| (&w.shape.namespace, &w.kind, &w.name));
    found
}

/// The policies in order, and whether each selects host processes.
fn policies(survey: &Survey) -> Vec<(&PolicyId, bool)> {
    let all: BTreeSet<(&PolicyId, bool)> =
        survey.index.policies().map(|indexed| (&indexed.id, indexed.scope.host)).collect();
    all.into_iter().collect()
}

fn human(survey: &Survey) -> String {
    let (workloads, policies) = (workloads(survey), policies(survey));
    if workloads.is_empty() || policies.is_empty() {
        let found = format!(
            "{} and {}",
            counted(policies.len(), "policy", "policies"),
            counted(workloads.len(), "workload", "workloads")
        );
        return format!("nothing to show: {found} found\n");
    }
    let wide = policies.len() <= COLUMNS;
    let mut rows = vec![["NAMESPACE", "WORKLOAD"].map(str::to_owned).to_vec()];
    if wide {
        rows[0].extend(policies.iter().map(|(id, _)| id.to_string()));
    } else {
        rows[0].push("SELECTED BY".to_owned());
    }
    let mut uncovered = 0;
    for workload in &workloads {
        let selecting = survey.index.selecting_policies(&workload.shape);
        uncovered += usize::from(selecting.is_empty());
        let mut row = vec![workload.shape.namespace.clone(), format!("{}/{}", workload.kind, workload.name)];
        if wide {
            let mark = |id| if selecting.contains(id) { "yes" } else { "-" };
            row.extend(policies.iter().map(|(id, _)| mark(id).to_owned()));
        } else {
            let names: Vec<String> = selecting.iter().map(ToString::to_string).collect();
            row.push(if names.is_empty() { "-".to_owned() } else { names.join(", ") });
        }
        rows.push(row);
    }
    let mut text = format!("{}\n", columns(&rows));
    if policies.iter().any(|(_, host)| *host) {
        let hosts: Vec<String> =
            policies.iter().filter(|(_, host)| *host).map(|(id, _)| id.to_string()).collect();
        text = format!("{text}\nHost processes are selected by {}.\n", hosts.join(", "));
    }
    if uncovered > 0 {
        let many = counted(uncovered, "workload is", "workloads are");
        text = format!("{text}\n{many} not selected by any policy.\n");
    }
    text
}

#[derive(Serialize)]
struct Row<'a> {
    namespace: &'a str,
    kind: &'a str,
    name: &'a str,
    policies: Vec<String>,
}

fn json(to: &mut impl Write, survey: &Survey) -> Result<()> {
    for workload in workloads(survey) {
        let row = Row {
            namespace: &workload.shape.namespace,
            kind: &workload.kind,
            name: &workload.name,
            policies: survey
                .index
                .selecting_policies(&workload.shape)
                .iter()
                .map(ToString::to_string)
                .collect(),
        };
        writeln!(to, "{}", serde_json::to_string(&row)?)?;
    }
    Ok(())
}
