//! The parser's events to trees.

use std::{cell::OnceCell, collections::HashMap};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, StructureStyle, Tag};

use super::{
    document::{Document, Located, MAX_ALIASED, MAX_DEPTH, MAX_FINDINGS},
    lines::Lines,
    node::{Entry, Node, Span, Value},
    scalar,
};
use crate::{
    codes::{DUPLICATE_KEY, SYNTAX},
    diagnostic::{Diagnostic, FieldPath, Step},
    placeholder,
};

/// Reads every document of a text.
pub(super) fn documents(text: &str) -> Vec<Document> {
    let options = granit_parser::options! { emit_comments: false, emit_unresolved_aliases: true };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut found = Vec::new();
    let mut builder = Builder::new(text);
    while let Some(event) = parser.next_event() {
        let stop = match event {
            Ok((Event::DocumentStart(..), _)) => {
                builder = Builder::new(text);
                None
            }
            Ok((Event::DocumentEnd, _)) => {
                found.extend(std::mem::replace(&mut builder, Builder::new(text)).finish());
                None
            }
            Ok((event, span)) => builder.event(event, bytes(text, &span)).err(),
            Err(e) => Some(builder.syntax_error(&e)),
        };
        let Some(error) = stop else { continue };
        found.push(std::mem::replace(&mut builder, Builder::new(text)).abandon(error));
        // The text before the next `---` is lost with the document.
        if !parser.proceed_next_document().unwrap_or(false) {
            break;
        }
    }
    found
}

fn bytes(text: &str, span: &granit_parser::Span) -> Span {
    let offset = |marker: &granit_parser::Marker| marker.byte_offset().unwrap_or(text.len());
    Span::new(offset(&span.start), offset(&span.end))
}

/// A value under an anchor, and what a copy of it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    depth: usize,
}

/// A collection that isn't closed yet.
struct Frame {
    open: Open,
    anchor: usize,
    start: u32,
    flow: bool,
    /// Values inside so far, and how deep they go.
    nodes: usize,
    depth: usize,
}

enum Open {
    Seq(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        places: HashMap<String, usize>,
        key: Option<(String, Span)>,
        merged: Vec<Node>,
    },
}

struct Builder<'a> {
    text: &'a str,
    /// Made when first needed.
    lines: OnceCell<Lines<'a>>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Anchored>,
    aliased: usize,
    findings: Vec<Located>,
    root: Option<Node>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            lines: OnceCell::new(),
            frames: Vec::new(),
            anchors: HashMap::new(),
            aliased: 0,
            findings: Vec::new(),
            root: None,
        }
    }

    fn finish(self) -> Option<Document> {
        let root = self.root?;
        // Nothing at all between two separators, or a comment only.
        if root.is_null() && root.written.is_empty() && self.findings.is_empty() {
            return None;
        }
        Some(Document { root, complete: true, findings: self.findings })
    }

    fn abandon(mut self, mut error: Box<Located>) -> Document {
        let span = error.span.unwrap_or(Span::at(0));
        let before = self.text.get(..span.start as usize).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        let line = self.text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        error.diagnostic.help = if line.contains("{{") {
            Some("this looks like a Helm template: render it first with `helm template`".to_owned())
        } else if line.trim_start_matches(' ').starts_with('\t') {
            Some("YAML requires spaces for indentation; replace the tab".to_owned())
        } else {
            // No plain text of YAML begins with `@` or `%`, as some placeholders do.
            placeholder::find(line).map(placeholder::help)
        };
        self.findings.push(*error);
        Document { root: Node::null(span), complete: false, findings: self.findings }
    }

    /// Takes one event; an error ends the document.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Box<Located>> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = scalar_node(&text, style, tag.as_deref(), span);
                self.complete(node, anchor, 1, 0)
            }
            Event::SequenceStart(style, anchor, _) => self.open(Open::Seq(Vec::new()), style, anchor, span),
            Event::MappingStart(style, anchor, _) => {
                let open =
                    Open::Map { entries: Vec::new(), places: HashMap::new(), key: None, merged: Vec::new() };
                self.open(open, style, anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(id, span),
            Event::UnresolvedAlias(name) => {
                self.report(span, format!("alias `*{name}` has no anchor `&{name}` before it"));
                self.complete(Node::null(span), 0, 1, 0)
            }
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        open: Open,
        style: StructureStyle,
        anchor: usize,
        span: Span,
    ) -> Result<(), Box<Located>> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(self.error(span, format!("the document is nested deeper than {MAX_DEPTH} levels")));
        }
        let flow = matches!(style, StructureStyle::Flow);
        self.frames.push(Frame { open, anchor, start: span.start, flow, nodes: 1, depth: 1 });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Box<Located>> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let (value, last) = match frame.open {
            Open::Seq(items) => {
                let last = items.last().map(|item| item.span.end);
                (Value::Seq(items), last)
            }
            Open::Map { mut entries, mut places, merged, .. } => {
                let last = entries.iter().map(|e| e.value.span.end.max(e.key_span.end)).max();
                for source in merged {
                    merge(&mut entries, &mut places, source);
                }
                (Value::Map(entries), last)
            }
        };
        // The parser ends a block where the next thing begins, behind comments and empty lines.
        let end = if frame.flow { span.end } else { last.unwrap_or(frame.start) };
        let node = Node {
            value,
            span: Span { start: frame.start, end: end.max(frame.start) },
            written: Box::default(),
            flow: frame.flow,
        };
        self.complete(node, frame.anchor, frame.nodes, frame.depth)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<(), Box<Located>> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(self.error(span, "an alias inside its own anchor never ends".to_owned()));
        };
        let (nodes, depth) = (anchored.nodes, anchored.depth);
        if self.frames.len() + depth > MAX_DEPTH {
            return Err(self.error(
                span,
                format!("with this alias, the document is nested deeper than {MAX_DEPTH} levels"),
            ));
        }
        self.charge(nodes, span)?;
        let Some(anchored) = self.anchors.get(&id) else { return Ok(()) };
        let node = Node { span, flow: true, ..anchored.node.clone() };
        self.complete(node, 0, nodes, depth)
    }

    /// Pays for a copy.
    fn charge(&mut self, nodes: usize, span: Span) -> Result<(), Box<Located>> {
        self.aliased += nodes;
        if self.aliased <= MAX_ALIASED {
            return Ok(());
        }
        Err(self.error(span, format!("anchors and aliases expand to more than {MAX_ALIASED} values")))
    }

    /// Puts a whole value where it belongs.
    fn complete(
        &mut self,
        node: Node,
        anchor: usize,
        nodes: usize,
        depth: usize,
    ) -> Result<(), Box<Located>> {
        if anchor != 0 {
            self.charge(nodes, node.span)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, depth });
        }
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        frame.nodes += nodes;
        frame.depth = frame.depth.max(depth + 1);
        match &mut frame.open {
            Open::Seq(items) => items.push(node),
            Open::Map { entries, places, key, merged } => match key.take() {
                None => {
                    let Some(name) = scalar::key(&node.value, &node.written) else {
                        let message = format!("{} cannot be used as a key", node.kind());
                        return Err(self.error(node.span, message));
                    };
                    *key = Some((name, node.span));
                }
                // Quoted, it is a key as any other.
                Some((name, key_span)) if name == "<<" && self.text.get(key_span.range()) == Some("<<") => {
                    merged.push(node);
                }
                Some((name, key_span)) => {
                    if let Some(place) = places.get(&name) {
                        // Further checks read the first one. The duplicate is an error, whatever else they find.
                        let first = entries[*place].key_span;
                        self.duplicate(&name, first, key_span);
                    } else {
                        places.insert(name.clone(), entries.len());
                        entries.push(Entry { key: name, key_span, value: node });
                    }
                }
            },
        }
        Ok(())
    }

    /// The path of the collection that is open.
    fn path(&self) -> FieldPath {
        let above = self.frames.len().saturating_sub(1);
        FieldPath(
            self.frames[..above]
                .iter()
                .map(|frame| match &frame.open {
                    Open::Seq(items) => Step::Index(items.len()),
                    Open::Map { key, .. } => {
                        Step::Field(key.as_ref().map(|(name, _)| name.as_str().into()).unwrap_or_default())
                    }
                })
                .collect(),
        )
    }

    fn duplicate(&mut self, name: &str, first: Span, second: Span) {
        let line = self.lines.get_or_init(|| Lines::new(self.text)).position(first.start as usize).line;
        let diagnostic = Diagnostic::new(
            &DUPLICATE_KEY,
            self.path().field(name),
            format!(
                "duplicate key `{name}`: kubectl silently ignores the one on line {line}, and the agent rejects the policy"
            ),
        )
        .label("second occurrence")
        .help("keep one of them; combine what belongs together into one list")
        .at_key();
        self.find(Located { diagnostic, span: Some(second) });
    }

    /// Keeps a finding, but of a document that is nothing but mistakes not all.
    fn find(&mut self, finding: Located) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    fn error(&self, span: Span, message: String) -> Box<Located> {
        Box::new(Located { diagnostic: Diagnostic::new(&SYNTAX, self.path(), message), span: Some(span) })
    }

    fn report(&mut self, span: Span, message: String) {
        let error = self.error(span, message);
        self.find(*error);
    }

    fn syntax_error(&self, e: &ScanError) -> Box<Located> {
        let at = e.marker().byte_offset().unwrap_or(self.text.len()).min(self.text.len());
        self.error(Span::at(at), format!("invalid YAML: {}", e.info()))
    }
}

fn scalar_node(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
    let value = match tag {
        Some(tag) => scalar::tagged(tag.core_suffix().unwrap_or(tag.suffix()), text),
        None if style == ScalarStyle::Plain => scalar::plain(text),
        None => Value::String(text.to_string()),
    };
    // The parser gives `~` for a missing value.
    let written =
        if matches!(value, Value::String(_)) || span.is_empty() { Box::default() } else { Box::from(text) };
    Node { value, span, written, flow: !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) }
}

/// `<<`: members that aren't there yet.
fn merge(entries: &mut Vec<Entry>, places: &mut HashMap<String, usize>, source: Node) {
    match source.value {
        Value::Map(members) => {
            for entry in members {
                if !places.contains_key(&entry.key) {
                    places.insert(entry.key.clone(), entries.len());
                    entries.push(entry);
                }
            }
        }
        Value::Seq(sources) => {
            for source in sources {
                merge(entries, places, source);
            }
        }
        _ => {}
    }
}
