//! Recorded events as the events of tests: for `gatewatch replay` and `gatewatch test --record`.

use std::{
    collections::{BTreeMap, HashSet},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use gatewatch_events::{
    Argument, Event, Value,
    argument::objects::{File, Sock},
    bits::{Capability, Flags as _},
    compact::Compact,
    event::Body,
    process::Capabilities,
};
use gatewatch_policy::{model::CapabilitySet, plan::HookPlan};
use serde_json::{Value as Json, json};

use super::{
    Suite, decide,
    file::{Case, Expected, Pod, Process, TestFile},
};
use crate::{FAILED, print_message};

/// What policies make of a recorded event.
pub(crate) enum Replayed {
    /// These policies count it.
    Counted(Vec<String>),
    /// None counts it.
    NotCounted,
    /// None hooks its function.
    NoHook,
    /// They read something that the record does not have.
    Unknown(String),
}

impl Suite {
    /// Decides about one record.
    pub(crate) fn replay(&self, event: &Event) -> Result<Replayed> {
        let Some(case) = self.case(event) else { return Ok(Replayed::NoHook) };
        let decision = decide(&case, &self.compiled, self.kernel()?.environment)?;
        Ok(match decision.missing {
            Some(what) => Replayed::Unknown(what),
            None if decision.counting.is_empty() => Replayed::NotCounted,
            None => Replayed::Counted(decision.counting.into_iter().collect()),
        })
    }

    /// A record as a test that expects what these policies make of it; `None` if they do not hook its function, or read
    /// something that it lacks.
    fn recorded(&self, event: &Event, name: String) -> Result<Option<Case>> {
        let Some(mut case) = self.case(event) else { return Ok(None) };
        let decision = decide(&case, &self.compiled, self.kernel()?.environment)?;
        if decision.missing.is_some() {
            return Ok(None);
        }
        let policies: Vec<String> = decision.counting.into_iter().collect();
        case.counted = match policies.as_slice() {
            [] => Expected::Any(false),
            [one] => Expected::By(one.clone()),
            _ => Expected::ByAll(policies),
        };
        case.name = name;
        Ok(Some(case))
    }

    /// The event of a record, for the first hook at its function: arguments are recorded in the order of the policy, and
    /// events have them by position.
    fn case(&self, event: &Event) -> Option<Case> {
        let label = event.label()?;
        let hooks = self.compiled.iter().flat_map(|compiled| &compiled.plan.hooks);
        let hook = hooks.into_iter().find(|hook| hook.point.label() == label)?;
        Some(case(event, hook, label))
    }
}

/// Writes the tests of a file of records to standard output: one for each record that differs from those before it.
pub(super) fn write(records: &Path, policies: &[PathBuf], kernel: Option<&str>) -> Result<ExitCode> {
    let suite = Suite::load(policies, kernel)?;
    let mut tests = Vec::new();
    let mut known = HashSet::new();
    let mut left_out = 0_u64;
    let faults = crate::events::records(records, |event| {
        if event.matched().is_none() {
            return Ok(());
        }
        match suite.recorded(&event, String::new())? {
            Some(mut case) => {
                // What differs from run to run makes no other test.
                case.process.pid = None;
                if known.insert(serde_json::to_string(&case)?) {
                    case.name = format!("{} {}", tests.len() + 1, Compact::of(&event).line());
                    tests.push(case);
                }
            }
            None => left_out += 1,
        }
        Ok(())
    })?;
    let file = TestFile { policies: policies.to_vec(), kernel: kernel.map(str::to_owned), tests };
    let text = serde_saphyr::to_string(&file)?;
    io::stdout().write_all(text.as_bytes())?;
    if left_out > 0 {
        print_message(&format!(
            "{left_out} records make no test: no policy hooks their function, or reads only what they have"
        ));
    }
    Ok(if faults == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn case(event: &Event, hook: &HookPlan, label: String) -> Case {
    let processes = event.processes();
    let process = processes.map(|processes| &processes.process);
    let mut args = Vec::new();
    for (argument, plan) in event.arguments().iter().zip(&hook.args) {
        let index = plan.index as usize;
        if args.len() <= index {
            args.resize(index + 1, Json::Null);
        }
        args[index] = value(argument);
    }
    let result = match &event.body {
        Body::ProcessKprobe(call) => call.return_value.as_ref().map(value),
        _ => None,
    };
    let pod = process.and_then(|process| process.pod.as_deref()).map(|pod| {
        let container = pod.container.as_deref();
        Pod {
            namespace: pod.namespace.clone(),
            labels: pod.pod_labels.clone(),
            container: container.map_or_else(String::new, |container| container.name.clone()),
            image: container
                .and_then(|container| container.image.as_ref())
                .map_or_else(String::new, |image| image.name.clone()),
        }
    });
    let ancestors = processes.into_iter().flat_map(|processes| {
        processes
            .parent
            .iter()
            .map(AsRef::as_ref)
            .chain(&processes.ancestors)
            .map(|parent| parent.binary.clone())
    });
    Case {
        name: String::new(),
        pod,
        process: Process {
            binary: process.map(|process| process.binary.clone()).filter(|path| !path.is_empty()),
            ancestors: ancestors.collect(),
            pid: process.and_then(|process| process.pid),
            capabilities: process.and_then(|process| process.cap).map(capabilities),
            ..Process::default()
        },
        call: label,
        args,
        result,
        counted: Expected::Any(false),
    }
}

fn capabilities(sets: Capabilities) -> BTreeMap<String, Vec<String>> {
    let names = |bits: u64| {
        let known = (0..u64::BITS).filter(|bit| bits >> bit & 1 == 1).filter_map(Capability::name);
        known
            .map(|name| if name.starts_with("CAP_") { name.to_owned() } else { format!("CAP_{name}") })
            .collect()
    };
    [
        (CapabilitySet::Permitted, sets.permitted),
        (CapabilitySet::Effective, sets.effective),
        (CapabilitySet::Inheritable, sets.inheritable),
    ]
    .into_iter()
    .map(|(set, bits)| (set.to_string(), names(bits.bits())))
    .collect()
}

/// An argument as tests write it. What filters cannot compare is left out.
fn value(argument: &Argument) -> Json {
    match &argument.value {
        Some(Value::Int(number)) => json!(number),
        Some(Value::Uint(number)) => json!(number),
        Some(Value::Long(number)) => json!(number),
        Some(Value::Size(number)) => json!(number),
        Some(Value::String(text)) => json!(text),
        Some(
            Value::File(File { path, .. })
            | Value::Path(File { path, .. })
            | Value::LinuxBinprm(File { path, .. }),
        ) => {
            json!(path)
        }
        Some(Value::Sock(sock)) => socket(sock),
        Some(Value::Skb(packet)) => json!({
            "saddr": packet.saddr, "daddr": packet.daddr, "sport": packet.sport, "dport": packet.dport,
            "protocol": packet.protocol, "family": packet.family,
        }),
        Some(Value::Sockaddr(address)) => {
            json!({"family": address.family, "saddr": address.addr, "sport": address.port})
        }
        Some(Value::SyscallId(call)) => json!(call.id),
        Some(
            Value::KernelCap(digits)
            | Value::CapInheritable(digits)
            | Value::CapPermitted(digits)
            | Value::CapEffective(digits),
        ) => json!(format!("0x{digits}")),
        _ => Json::Null,
    }
}

fn socket(sock: &Sock) -> Json {
    json!({
        "family": sock.family, "protocol": sock.protocol, "state": sock.state,
        "saddr": sock.saddr, "daddr": sock.daddr, "sport": sock.sport, "dport": sock.dport,
    })
}
