//! The agent reports of each policy of the corpus what every caller of the pipeline does, and loads what it can run. The
//! command line and the webhook have the same test.

use std::{fs, path::Path};

use gatewatch_agent::{policies::read_text, sources::Origin};
use gatewatch_kernel::Profile;
use gatewatch_policy::{
    assess::{Against, Kernel, assess},
    compile::Environment,
    diagnostic::Severity,
    model::NamespaceKind,
    selection::Selection,
    source::parse,
    target::Target,
};

#[test]
fn the_agent_reports_what_every_caller_does() {
    let profile = Profile::shipped("6.12").unwrap();
    let host_namespaces = NamespaceKind::ALL.iter().copied().zip(1..).collect();
    let environment = Environment { kernel: &profile, host_namespaces: &host_namespaces };
    let kernels = [Kernel { name: "6.12", environment, nodes: None }];
    let selection = Selection::of(&[Target::Gatewatch]);
    let against = Against { kernels: &kernels, ..Against::new(&selection) };
    let origin = Origin::Object { kind: "TracingPolicy", namespace: None, name: "p".to_owned() };
    let (mut loaded, mut refused, mut seen) = (0, 0, 0);
    for folder in ["good", "warn", "bad"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(folder);
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let contents = read_text(&origin, &text, environment);
            let documents = parse(&text);
            let findings = documents.iter().flat_map(|document| assess(document, &against).findings);
            let expected: Vec<(Severity, String)> = findings
                .map(|found| found.diagnostic)
                .map(|found| (found.severity, format!("{origin}: {}: {found}", found.severity)))
                .collect();
            assert_eq!(contents.messages, expected, "{}", path.display());
            seen += expected.len();
            for found in &contents.policies {
                assert_eq!(found.plan.is_some(), found.refusal.is_none(), "{}", path.display());
                loaded += usize::from(found.plan.is_some());
                refused += usize::from(found.refusal.is_some());
            }
        }
    }
    assert!(
        loaded > 40 && refused > 40 && seen > 100,
        "{loaded} loaded, {refused} rejected, {seen} findings"
    );
}

/// Policies that Tetragon alone rejects run here.
#[test]
fn what_only_tetragon_refuses_is_loaded() {
    let profile = Profile::shipped("6.12").unwrap();
    let host_namespaces = NamespaceKind::ALL.iter().copied().zip(1..).collect();
    let environment = Environment { kernel: &profile, host_namespaces: &host_namespaces };
    let origin = Origin::Object { kind: "TracingPolicy", namespace: None, name: "p".to_owned() };
    for file in
        ["message-of-one-byte", "five-pids", "two-pid-filters", "two-capability-filters", "rate-limit-syntax"]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/corpus/bad/{file}.yaml"));
        let contents = read_text(&origin, &fs::read_to_string(path).unwrap(), environment);
        let errors: Vec<_> =
            contents.messages.iter().filter(|(severity, _)| *severity == Severity::Error).collect();
        assert!(errors.is_empty() && contents.policies[0].plan.is_some(), "{file}: {errors:?}");
    }
}
