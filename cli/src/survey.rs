//! All inputs together: each object is read and dropped again. Only what other objects need to know is kept.

use std::collections::BTreeMap;
use std::ops::Range;

use gatewatch_coverage::{Index, Watch, Workload, read as objects};
use gatewatch_policy::codes::NEARLY_SELECTED;
use gatewatch_policy::diagnostic::{Diagnostic, FieldPath};
use gatewatch_policy::model::Policy;
use gatewatch_policy::read::{self, Identity};
use gatewatch_policy::source::{self, Document, Located, Node, Span};

use crate::chunks::chunks;
use crate::complain;
use crate::inputs::{self, Input, Place};
use crate::lint::Rules;

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
    Policy(Box<(Policy, Watch)>),
    Workload(Box<Workload>),
}

/// Reads all inputs. With `rules`, what is to be said of each policy is found, too.
pub(crate) fn survey(inputs: &[std::path::PathBuf], namespace: &str, rules: Option<&Rules>) -> Survey {
    let mut survey = Survey::default();
    let (places, unlisted) = inputs::find(inputs);
    for unreadable in unlisted {
        complain(&format!("error: {unreadable}"));
        survey.unreadable += 1;
    }
    for place in places {
        survey.read(&place, namespace, rules);
    }
    if rules.is_some() {
        survey.relate();
    }
    for source in &mut survey.sources {
        source.findings.sort_by_key(|finding| finding.span.map_or(u32::MAX, |span| span.start));
    }
    survey
}

impl Survey {
    fn read(&mut self, place: &Place, namespace: &str, rules: Option<&Rules>) {
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
            let said = self.documents(&source::parse(&text[range.clone()]), &input, at, namespace, rules);
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
        rules: Option<&Rules>,
    ) -> Vec<Located> {
        let mut found = Vec::new();
        for (number, document) in documents.iter().enumerate() {
            if !document.complete {
                found.extend(document.findings.iter().cloned());
                continue;
            }
            let known = self.entries.len();
            let (list, bases) = bases(document);
            for base in bases {
                let Some(node) = document.get(&base) else { continue };
                let what = match read::identify(node) {
                    Identity::Policy(_) => {
                        let said = policy(document, node, &base, rules);
                        found.extend(said.0);
                        self.policies += 1;
                        said.1.map(|policy| {
                            let watch = Watch::new(&policy, namespace);
                            What::Policy(Box::new((*policy, watch)))
                        })
                    }
                    Identity::Other { .. } => {
                        if let Some((name, annotations)) = objects::namespace(node) {
                            self.index.apply_namespace(&name, &annotations);
                        }
                        objects::workload(node, namespace).map(|(workload, said)| {
                            let located = said.into_iter().map(|d| document.locate(rebased(d, &base)));
                            found.extend(located);
                            self.workloads += 1;
                            What::Workload(Box::new(workload))
                        })
                    }
                    Identity::Unknown => {
                        if is_meant(node, input.named, list.as_deref()) {
                            let (_, said) = read::read_node(node, &base);
                            found.extend(said.into_iter().map(|diagnostic| document.locate(diagnostic)));
                        }
                        None
                    }
                };
                match &what {
                    Some(What::Policy(policy)) => self.index.apply_policy(policy.1.clone()),
                    Some(What::Workload(workload)) => self.index.apply_workload(workload),
                    None => {}
                }
                self.entries.extend(what.map(|what| Entry { source, chunk, document: number, base, what }));
            }
            // Of other documents nothing is said, of a list once.
            if self.entries.len() > known {
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
                    let mut all = self.index.on_policy(&policy.1);
                    all.retain(|diagnostic| diagnostic.code != &NEARLY_SELECTED);
                    all
                }
                What::Workload(workload) if self.policies > 0 => self.index.on_workload(workload),
                What::Workload(_) => continue,
            };
            if !diagnostics.is_empty() {
                let rebased = diagnostics.into_iter().map(|d| (entry.document, rebased(d, &entry.base)));
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
fn policy(
    document: &Document,
    node: &Node,
    base: &FieldPath,
    rules: Option<&Rules>,
) -> (Vec<Located>, Option<Box<Policy>>) {
    let alone;
    let object = if base.0.is_empty() && document.findings.is_empty() {
        document
    } else {
        alone = Document { root: node.clone(), complete: true, findings: Vec::new() };
        &alone
    };
    match rules {
        Some(rules) => {
            let (said, policy) = rules.findings(object);
            (said.into_iter().map(|found| rebased_finding(found, base)).collect(), policy.map(Box::new))
        }
        None => (Vec::new(), read::read(object).0.map(Box::new)),
    }
}

/// The places of the objects in a document: the items of a list, with the list's kind, or else the document itself.
pub(crate) fn bases(document: &Document) -> (Option<String>, Vec<FieldPath>) {
    let root = FieldPath::root();
    match read::identify(&document.root) {
        Identity::Other { kind, .. } if kind.ends_with("List") => {
            let items = root.field("items");
            let count = document.get(&items).map_or(0, |items| items.items().len());
            (Some(kind), (0..count).map(|i| items.index(i)).collect())
        }
        _ => (None, vec![root]),
    }
}

/// Whether something without `kind` is to be complained about. In a directory there are files of other programs
/// (helm's values), and the API server leaves `kind` out of the items of a `PodList`.
fn is_meant(node: &Node, named: bool, list: Option<&str>) -> bool {
    let alone = list.is_none_or(|kind| kind == "List");
    alone && (named || node.get("spec").is_some())
}

/// What is said of an item of a list as said of the list.
pub(crate) fn rebased(mut diagnostic: Diagnostic, base: &FieldPath) -> Diagnostic {
    let rebase = |path: &mut FieldPath| path.0.splice(0..0, base.0.iter().cloned()).for_each(drop);
    rebase(&mut diagnostic.path);
    if let Some(fix) = &mut diagnostic.fix {
        rebase(&mut fix.path);
    }
    diagnostic
}

fn rebased_finding(finding: Located, base: &FieldPath) -> Located {
    Located { diagnostic: rebased(finding.diagnostic, base), span: finding.span }
}

/// A finding in a part of a text as one in the text.
fn shifted(finding: Located, by: usize) -> Located {
    let by = u32::try_from(by).unwrap_or(u32::MAX);
    let shift = |span: Span| Span { start: span.start.saturating_add(by), end: span.end.saturating_add(by) };
    Located { diagnostic: finding.diagnostic, span: finding.span.map(shift) }
}
