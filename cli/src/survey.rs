//! All inputs together: each object is read and dropped again. Only what other objects need to know is kept.

use std::{collections::BTreeMap, ops::Range};

use gatewatch_coverage::{Index, IndexedPolicy, Workload, read as objects, templates::Templates};
use gatewatch_policy::{
    assess::{Checked, Object, Objects, rebase},
    codes::NEARLY_SELECTED,
    diagnostic::{Diagnostic, FieldPath},
    read::{self, Identity},
    same_name::{Names, replaces},
    source::{self, Document, Located, Node, Span},
};

use crate::{
    arguments::Inputs,
    chunks::chunks,
    inputs::{self, Input, InputFile},
    lint::Prepared,
    print_message,
};

/// The inputs and their findings.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The inputs, in order.
    pub(crate) sources: Vec<Source>,
    /// Policies, pods and templates, in the order of the inputs.
    pub(crate) entries: Vec<Entry>,
    /// Which policies select which workloads.
    pub(crate) index: Index,
    /// The names of the policies. A place is a source and a byte in its text.
    names: Names<(usize, usize)>,
    /// Number of policies.
    pub(crate) policies: usize,
    /// Number of pods and templates.
    pub(crate) workloads: usize,
    /// Number of unreadable inputs.
    pub(crate) unreadable: usize,
}

/// An input.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) input: Input,
    chunks: Vec<Range<usize>>,
    /// In the order of the text.
    pub(crate) findings: Vec<Located>,
}

impl Source {
    /// The content up to the first invalid UTF-8.
    pub(crate) fn text(&self) -> &str {
        self.input.text()
    }
}

/// An object and its position.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The input.
    pub(crate) source: usize,
    chunk: usize,
    document: usize,
    base: FieldPath,
    pub(crate) object: ObjectKind,
}

/// A policy or a workload.
#[derive(Debug)]
pub(crate) enum ObjectKind {
    Policy(Box<FoundPolicy>),
    Workload(Box<Workload>),
}

/// A policy that was read.
#[derive(Debug)]
pub(crate) struct FoundPolicy {
    pub(crate) indexed: IndexedPolicy,
    /// The policy itself, for `explain`.
    pub(crate) checked: Option<Checked>,
}

/// The purpose of reading the inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose<'a> {
    /// To report all findings.
    Lint(&'a Prepared<'a>),
    /// To explain the policies.
    Explain,
    /// To show which policies select which workloads.
    Relate,
}

/// What objects do not say themselves.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    /// The namespace of objects that do not set one.
    namespace: String,
    /// The paths to the pod templates of other kinds.
    templates: Templates,
}

impl Defaults {
    /// Those that the user has set.
    pub(crate) fn of(inputs: &Inputs) -> Self {
        Self { namespace: inputs.namespace.clone(), templates: inputs.templates.get() }
    }
}

impl Default for Defaults {
    fn default() -> Self {
        Self { namespace: objects::DEFAULT_NAMESPACE.to_owned(), templates: Templates::default() }
    }
}

/// Reads all inputs.
pub(crate) fn survey(inputs: &[std::path::PathBuf], defaults: &Defaults, purpose: Purpose<'_>) -> Survey {
    let mut survey = Survey::default();
    let (files, unlisted) = inputs::find(inputs);
    for unreadable in unlisted {
        print_message(&format!("error: {unreadable}"));
        survey.unreadable += 1;
    }
    for file in files {
        survey.read(&file, defaults, purpose);
    }
    if matches!(purpose, Purpose::Lint(_)) {
        survey.relate();
    }
    for source in &mut survey.sources {
        source.findings.sort_by_key(|finding| finding.span.map_or(u32::MAX, |span| span.start));
    }
    survey
}

impl Survey {
    fn read(&mut self, file: &InputFile, defaults: &Defaults, purpose: Purpose<'_>) {
        let input = match inputs::read(file) {
            Ok(input) => input,
            Err(unreadable) => {
                print_message(&format!("error: {unreadable}"));
                self.unreadable += 1;
                return;
            }
        };
        let mut findings = Vec::new();
        let text = input.text();
        let whole = text.len() == input.bytes.len();
        let chunks = if whole { chunks(text) } else { Vec::new() };
        for (chunk, range) in chunks.iter().enumerate() {
            let at = (self.sources.len(), chunk, range.start);
            let found = self.documents(&source::parse(&text[range.clone()]), &input, at, defaults, purpose);
            findings.extend(found.into_iter().map(|finding| shift_finding(finding, range.start)));
        }
        if !whole {
            // Reports the position of the first invalid byte.
            findings.extend(source::parse_bytes(&input.bytes).into_iter().flat_map(|d| d.findings));
        }
        self.sources.push(Source { input, chunks, findings });
    }

    /// Reads the documents of a part, which begins at `start`. Returns the findings that need no other kinds of objects.
    fn documents(
        &mut self,
        documents: &[Document],
        input: &Input,
        (source, chunk, start): (usize, usize, usize),
        defaults: &Defaults,
        purpose: Purpose<'_>,
    ) -> Vec<Located> {
        let mut found = Vec::new();
        for (number, document) in documents.iter().enumerate() {
            if !document.complete {
                found.extend(document.findings.iter().cloned());
                continue;
            }
            let known = self.entries.len();
            let Objects { list, objects } = Objects::of(document);
            // Assessing a policy already includes the findings of its document.
            let mut whole = false;
            for object in objects {
                let node = object.node();
                let object_kind = match read::identify(node) {
                    Identity::Policy(_) => {
                        let (findings, policy) = policy(&object, &defaults.namespace, purpose);
                        whole |= object.is_whole() && matches!(purpose, Purpose::Lint(_));
                        found.extend(findings);
                        if matches!(purpose, Purpose::Lint(_)) {
                            found.extend(self.replacement(&object, &defaults.namespace, input, start));
                        }
                        self.policies += 1;
                        policy.map(|policy| ObjectKind::Policy(Box::new(policy)))
                    }
                    Identity::Other { .. } => {
                        if let Some((name, annotations)) = objects::namespace(node) {
                            self.index.apply_namespace(&name, &annotations);
                        }
                        let read = objects::workload(node, &defaults.namespace, &defaults.templates);
                        read.map(|(workload, diagnostics)| {
                            found.extend(diagnostics.into_iter().map(|diagnostic| object.locate(diagnostic)));
                            self.workloads += 1;
                            ObjectKind::Workload(Box::new(workload))
                        })
                    }
                    Identity::Unknown => {
                        if must_be_object(node, input.named, list.as_deref()) {
                            let (_, diagnostics) = read::read_node(node, &FieldPath::root());
                            found.extend(diagnostics.into_iter().map(|diagnostic| object.locate(diagnostic)));
                        }
                        None
                    }
                };
                match &object_kind {
                    Some(ObjectKind::Policy(policy)) => self.index.apply_policy(policy.indexed.clone()),
                    Some(ObjectKind::Workload(workload)) => self.index.apply_workload(workload),
                    None => {}
                }
                let base = object.base().clone();
                self.entries.extend(object_kind.map(|object| Entry {
                    source,
                    chunk,
                    document: number,
                    base,
                    object,
                }));
            }
            // Other documents have no findings, and a list has them once.
            if self.entries.len() > known && !whole {
                found.extend(document.findings.iter().cloned());
            }
        }
        found
    }

    /// Reports if a policy replaces one that was read before. The part of `input` that has the policy begins at `start`.
    fn replacement(
        &mut self,
        object: &Object<'_>,
        namespace: &str,
        input: &Input,
        start: usize,
    ) -> Option<Located> {
        let place = (self.sources.len(), start + object.node().span.start as usize);
        let (source, byte) = self.names.add(object.node(), namespace, place)?;
        let input = self.sources.get(source).map_or(input, |source| &source.input);
        let line = 1 + input.text().get(..byte).unwrap_or_default().matches('\n').count();
        Some(object.locate(replaces(&format!("{}:{line}", input.name))))
    }

    /// Reports findings that concern several objects. Without policies, workloads have none: the policies may be in the
    /// cluster.
    fn relate(&mut self) {
        let mut by_part: BTreeMap<(usize, usize), Vec<(usize, Diagnostic)>> = BTreeMap::new();
        for entry in &self.entries {
            let diagnostics = match &entry.object {
                // The pods have this finding themselves.
                ObjectKind::Policy(policy) => {
                    let mut all = self.index.on_policy(&policy.indexed);
                    all.retain(|diagnostic| diagnostic.code != &NEARLY_SELECTED);
                    all
                }
                ObjectKind::Workload(workload) if self.policies > 0 => self.index.on_workload(workload),
                ObjectKind::Workload(_) => continue,
            };
            if !diagnostics.is_empty() {
                let rebased = diagnostics.into_iter().map(|d| (entry.document, rebase(d, &entry.base)));
                by_part.entry((entry.source, entry.chunk)).or_default().extend(rebased);
            }
        }
        // Only parts with findings are parsed again.
        for ((source, chunk), diagnostics) in by_part {
            let Some(source) = self.sources.get_mut(source) else { continue };
            let range = source.chunks[chunk].clone();
            let documents = source::parse(&source.input.text()[range.clone()]);
            for (document, diagnostic) in diagnostics {
                if let Some(document) = documents.get(document) {
                    source.findings.push(shift_finding(document.locate(diagnostic), range.start));
                }
            }
        }
    }
}

/// The findings of a policy, and the policy.
fn policy(object: &Object<'_>, namespace: &str, purpose: Purpose<'_>) -> (Vec<Located>, Option<FoundPolicy>) {
    match purpose {
        Purpose::Lint(rules) => {
            let assessment = rules.assess(object);
            let indexed = assessment.policy.map(|policy| IndexedPolicy::new(&policy, namespace));
            (assessment.findings, indexed.map(|indexed| FoundPolicy { indexed, checked: None }))
        }
        Purpose::Explain => {
            let found = Checked::of(object.clone()).map(|checked| FoundPolicy {
                indexed: IndexedPolicy::new(&checked.policy, namespace),
                checked: Some(checked),
            });
            (Vec::new(), found.ok())
        }
        Purpose::Relate => {
            let policy = read::read_node(object.node(), &FieldPath::root()).0;
            let indexed = policy.map(|policy| IndexedPolicy::new(&policy, namespace));
            (Vec::new(), indexed.map(|indexed| FoundPolicy { indexed, checked: None }))
        }
    }
}

/// Whether an object without `kind` is reported. A directory also has files of other programs (Helm values), and the
/// API server omits `kind` in the items of a `PodList`.
fn must_be_object(node: &Node, named: bool, list: Option<&str>) -> bool {
    let alone = list.is_none_or(|kind| kind == "List");
    // With both, its kind does not exist in the API group of policies.
    let typed = ["apiVersion", "kind"].iter().all(|key| node.get(key).is_some());
    alone && (named || typed || node.get("spec").is_some())
}

/// Moves a finding of a part to its position in the whole text.
fn shift_finding(finding: Located, by: usize) -> Located {
    let by = u32::try_from(by).unwrap_or(u32::MAX);
    let shift = |span: Span| Span { start: span.start.saturating_add(by), end: span.end.saturating_add(by) };
    Located { diagnostic: finding.diagnostic, span: finding.span.map(shift) }
}
