//! All inputs together: each object is read and dropped again. Only what other objects need to know is kept.

use std::collections::BTreeMap;
use std::ops::Range;

use gatewatch_coverage::{Index, IndexedPolicy, Workload, read as objects};
use gatewatch_policy::assess::{Checked, Object, Objects, rebase};
use gatewatch_policy::codes::NEARLY_SELECTED;
use gatewatch_policy::diagnostic::{Diagnostic, FieldPath};
use gatewatch_policy::read::{self, Identity};
use gatewatch_policy::source::{self, Document, Located, Node, Span};

use crate::chunks::chunks;
use crate::complain;
use crate::inputs::{self, Input, Place};
use crate::lint::Prepared;

/// What was read, and what was found in it.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The inputs, in order.
    pub(crate) sources: Vec<Source>,
    /// Policies, pods and templates, in the order of the inputs.
    pub(crate) entries: Vec<Entry>,
    /// What they are to one another.
    pub(crate) index: Index,
    /// How many policies there are.
    pub(crate) policies: usize,
    /// How many pods and templates there are.
    pub(crate) workloads: usize,
    /// How many inputs couldn't be read.
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
    /// What of it is text: of bytes that are none, what comes before them is.
    pub(crate) fn text(&self) -> &str {
        self.input.text()
    }
}

/// An object, by its place.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The input.
    pub(crate) source: usize,
    chunk: usize,
    document: usize,
    base: FieldPath,
    pub(crate) what: What,
}

/// What an object is.
#[derive(Debug)]
pub(crate) enum What {
    Policy(Box<Found>),
    Workload(Box<Workload>),
}

/// A policy that was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) watch: IndexedPolicy,
    /// The policy itself, where it is to be explained.
    pub(crate) checked: Option<Checked>,
}

/// What inputs are read for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose<'a> {
    /// Everything that is to be reported of them.
    Lint(&'a Prepared<'a>),
    /// The policies themselves.
    Explain,
    /// What policies and workloads are to one another.
    Relate,
}

/// Reads all inputs.
pub(crate) fn survey(inputs: &[std::path::PathBuf], namespace: &str, purpose: Purpose<'_>) -> Survey {
    let mut survey = Survey::default();
    let (places, unlisted) = inputs::find(inputs);
    for unreadable in unlisted {
        complain(&format!("error: {unreadable}"));
        survey.unreadable += 1;
    }
    for place in places {
        survey.read(&place, namespace, purpose);
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
    fn read(&mut self, place: &Place, namespace: &str, purpose: Purpose<'_>) {
        let input = match inputs::read(place) {
            Ok(input) => input,
            Err(unreadable) => {
                complain(&format!("error: {unreadable}"));
                self.unreadable += 1;
                return;
            }
        };
        let mut findings = Vec::new();
        let text = input.text();
        let whole = text.len() == input.bytes.len();
        let chunks = if whole { chunks(text) } else { Vec::new() };
        for (chunk, range) in chunks.iter().enumerate() {
            let at = (self.sources.len(), chunk);
            let said = self.documents(&source::parse(&text[range.clone()]), &input, at, namespace, purpose);
            findings.extend(said.into_iter().map(|finding| shifted(finding, range.start)));
        }
        if !whole {
            // Says where it stops being text.
            findings.extend(source::parse_bytes(&input.bytes).into_iter().flat_map(|d| d.findings));
        }
        self.sources.push(Source { input, chunks, findings });
    }

    /// Reads the documents of a part, and gives what is to be said of each alone.
    fn documents(
        &mut self,
        documents: &[Document],
        input: &Input,
        (source, chunk): (usize, usize),
        namespace: &str,
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
            // What is said of a document as a whole is there already.
            let mut whole = false;
            for object in objects {
                let node = object.node();
                let what = match read::identify(node) {
                    Identity::Policy(_) => {
                        let (said, policy) = policy(&object, namespace, purpose);
                        whole |= object.is_whole() && matches!(purpose, Purpose::Lint(_));
                        found.extend(said);
                        self.policies += 1;
                        policy.map(|policy| What::Policy(Box::new(policy)))
                    }
                    Identity::Other { .. } => {
                        if let Some((name, annotations)) = objects::namespace(node) {
                            self.index.apply_namespace(&name, &annotations);
                        }
                        objects::workload(node, namespace).map(|(workload, said)| {
                            found.extend(said.into_iter().map(|diagnostic| object.locate(diagnostic)));
                            self.workloads += 1;
                            What::Workload(Box::new(workload))
                        })
                    }
                    Identity::Unknown => {
                        if is_meant(node, input.named, list.as_deref()) {
                            let (_, said) = read::read_node(node, &FieldPath::root());
                            found.extend(said.into_iter().map(|diagnostic| object.locate(diagnostic)));
                        }
                        None
                    }
                };
                match &what {
                    Some(What::Policy(policy)) => self.index.apply_policy(policy.watch.clone()),
                    Some(What::Workload(workload)) => self.index.apply_workload(workload),
                    None => {}
                }
                let base = object.base().clone();
                self.entries.extend(what.map(|what| Entry { source, chunk, document: number, base, what }));
            }
            // Of other documents nothing is said, of a list once.
            if self.entries.len() > known && !whole {
                found.extend(document.findings.iter().cloned());
            }
        }
        found
    }

    /// Says what objects are to one another. Where only policies or only workloads were given, there is little to say:
    /// the others may be in the cluster.
    fn relate(&mut self) {
        let mut said: BTreeMap<(usize, usize), Vec<(usize, Diagnostic)>> = BTreeMap::new();
        for entry in &self.entries {
            let diagnostics = match &entry.what {
                // The pods say that themselves.
                What::Policy(policy) => {
                    let mut all = self.index.on_policy(&policy.watch);
                    all.retain(|diagnostic| diagnostic.code != &NEARLY_SELECTED);
                    all
                }
                What::Workload(workload) if self.policies > 0 => self.index.on_workload(workload),
                What::Workload(_) => continue,
            };
            if !diagnostics.is_empty() {
                let rebased = diagnostics.into_iter().map(|d| (entry.document, rebase(d, &entry.base)));
                said.entry((entry.source, entry.chunk)).or_default().extend(rebased);
            }
        }
        // A part is read again only where something has to be found in it.
        for ((source, chunk), diagnostics) in said {
            let Some(source) = self.sources.get_mut(source) else { continue };
            let range = source.chunks[chunk].clone();
            let documents = source::parse(&source.input.text()[range.clone()]);
            for (document, diagnostic) in diagnostics {
                if let Some(document) = documents.get(document) {
                    source.findings.push(shifted(document.locate(diagnostic), range.start));
                }
            }
        }
    }
}

/// What is to be said of a policy, and the policy.
fn policy(object: &Object<'_>, namespace: &str, purpose: Purpose<'_>) -> (Vec<Located>, Option<Found>) {
    match purpose {
        Purpose::Lint(rules) => {
            let assessment = rules.assess(object);
            let watch = assessment.policy.map(|policy| IndexedPolicy::new(&policy, namespace));
            (assessment.findings, watch.map(|watch| Found { watch, checked: None }))
        }
        Purpose::Explain => {
            let found = Checked::of(object.clone()).map(|checked| Found {
                watch: IndexedPolicy::new(&checked.policy, namespace),
                checked: Some(checked),
            });
            (Vec::new(), found.ok())
        }
        Purpose::Relate => {
            let policy = read::read_node(object.node(), &FieldPath::root()).0;
            let watch = policy.map(|policy| IndexedPolicy::new(&policy, namespace));
            (Vec::new(), watch.map(|watch| Found { watch, checked: None }))
        }
    }
}

/// Whether something without `kind` is to be complained about. In a directory there are files of other programs
/// (helm's values), and the API server leaves `kind` out of the items of a `PodList`.
fn is_meant(node: &Node, named: bool, list: Option<&str>) -> bool {
    let alone = list.is_none_or(|kind| kind == "List");
    // With both it has a kind that the group of policies doesn't have.
    let typed = ["apiVersion", "kind"].iter().all(|key| node.get(key).is_some());
    alone && (named || typed || node.get("spec").is_some())
}

/// A finding in a part of a text as one in the text.
fn shifted(finding: Located, by: usize) -> Located {
    let by = u32::try_from(by).unwrap_or(u32::MAX);
    let shift = |span: Span| Span { start: span.start.saturating_add(by), end: span.end.saturating_add(by) };
    Located { diagnostic: finding.diagnostic, span: finding.span.map(shift) }
}
