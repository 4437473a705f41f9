//! The objects of a document: the document itself, or the items of a `List`.

use crate::{
    diagnostic::{Diagnostic, FieldPath},
    read::{self, Identity},
    source::{Document, Located, Node},
};

/// One object of a document.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    document: &'a Document,
    base: FieldPath,
    node: &'a Node,
}

/// The objects of a document.
#[derive(Clone, Debug)]
pub struct Objects<'a> {
    /// The kind of the list that they are items of: `List`, `PodList`.
    pub list: Option<String>,
    /// The objects, in their order.
    pub objects: Vec<Object<'a>>,
}

impl<'a> From<&'a Document> for Object<'a> {
    /// The whole document as one object.
    fn from(document: &'a Document) -> Self {
        Self { document, base: FieldPath::root(), node: &document.root }
    }
}

impl<'a> Objects<'a> {
    /// Expands a list, and the lists in it, as `kubectl` does; any other document is one object.
    pub fn of(document: &'a Document) -> Self {
        let whole = Object::from(document);
        let list = list_kind(whole.node);
        let mut objects = Vec::new();
        whole.expand(&mut objects);
        Self { list, objects }
    }
}

/// The kind of a list.
fn list_kind(node: &Node) -> Option<String> {
    match read::identify(node) {
        Identity::Other { kind, .. } if kind.ends_with("List") => Some(kind),
        _ => None,
    }
}

impl<'a> Object<'a> {
    /// Adds the object, or the objects of a list. The parser limits the depth of a document.
    fn expand(self, objects: &mut Vec<Self>) {
        if list_kind(self.node).is_none() {
            return objects.push(self);
        }
        let items = self.base.field("items");
        let nodes = self.node.get("items").map(Node::items).unwrap_or_default();
        for (i, node) in nodes.iter().enumerate() {
            Self { document: self.document, base: items.index(i), node }.expand(objects);
        }
    }

    /// Where it is in the document.
    pub const fn base(&self) -> &FieldPath {
        &self.base
    }

    /// Its tree.
    pub const fn node(&self) -> &'a Node {
        self.node
    }

    /// The document that it is in.
    pub const fn document(&self) -> &'a Document {
        self.document
    }

    /// Whether it is all of its document.
    pub fn is_whole(&self) -> bool {
        self.base.0.is_empty()
    }

    /// A diagnostic about the document as one about the object, if it is about a part of it.
    pub(super) fn own(&self, diagnostic: &Diagnostic) -> Option<Diagnostic> {
        let path = diagnostic.path.0.strip_prefix(self.base.0.as_slice())?;
        Some(Diagnostic { path: FieldPath(path.to_vec()), ..diagnostic.clone() })
    }

    /// A diagnostic about the object as one about the document, with its place in the text.
    pub fn locate(&self, diagnostic: Diagnostic) -> Located {
        self.document.locate(rebase(diagnostic, &self.base))
    }
}

/// A diagnostic about an object as one about the document that has the object at `base`.
#[must_use]
pub fn rebase(mut diagnostic: Diagnostic, base: &FieldPath) -> Diagnostic {
    let rebase = |path: &mut FieldPath| path.0.splice(0..0, base.0.iter().cloned()).for_each(drop);
    if !base.0.is_empty() {
        rebase(&mut diagnostic.path);
        if let Some(fix) = &mut diagnostic.fix {
            rebase(&mut fix.path);
        }
    }
    diagnostic
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        assess::{Against, assess},
        codes::NO_HOOK,
        diagnostic::{Edit, Fix},
        selection::Selection,
        source::parse,
    };

    #[test]
    fn items_of_a_list_are_objects() {
        let document = &parse("apiVersion: v1\nkind: List\nitems:\n- {kind: A}\n- {kind: B}\n")[0];
        let objects = Objects::of(document);
        assert_eq!(objects.list.as_deref(), Some("List"));
        let bases: Vec<String> = objects.objects.iter().map(|object| object.base().to_string()).collect();
        assert_eq!(bases, ["items[0]", "items[1]"]);
        let path = FieldPath::root().field("kind");
        let fix = Fix { title: String::new(), path: path.clone(), edit: Edit::Remove, safe: true };
        let found = objects.objects[1].locate(Diagnostic::new(&NO_HOOK, path, "m").fix(fix));
        assert_eq!(found.diagnostic.path.to_string(), "items[1].kind");
        assert_eq!(found.diagnostic.fix.map(|fix| fix.path.to_string()).as_deref(), Some("items[1].kind"));
        assert!(found.span.is_some_and(|span| span.start > 40));
    }

    #[test]
    fn a_list_in_a_list_is_expanded() {
        let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: List\n  items: [{kind: A}]\n- {kind: B}\n";
        let document = &parse(text)[0];
        let bases: Vec<String> =
            Objects::of(document).objects.iter().map(|object| object.base().to_string()).collect();
        assert_eq!(bases, ["items[0].items[0]", "items[1]"]);
    }

    #[test]
    fn a_list_without_a_list_is_an_error() {
        for (items, found) in [("{kind: TracingPolicy}", "a mapping"), ("x", "a string")] {
            let document = &parse(&format!("apiVersion: v1\nkind: List\nitems: {items}\n"))[0];
            let objects = Objects::of(document).objects;
            assert_eq!(objects.len(), 1, "{items}");
            let selection = Selection::default();
            let findings = assess(objects[0].clone(), &Against::new(&selection)).findings;
            assert_eq!(findings.len(), 1, "{findings:?}");
            let diagnostic = &findings[0].diagnostic;
            assert_eq!((diagnostic.code.id, diagnostic.path.to_string().as_str()), ("GW002", "items"));
            assert!(diagnostic.is_error() && diagnostic.message.contains(found), "{diagnostic}");
        }
        // As `kubectl get` writes what it did not find.
        for items in ["items: []", "items: null", "metadata: {}"] {
            let document = &parse(&format!("apiVersion: v1\nkind: List\n{items}\n"))[0];
            assert!(Objects::of(document).objects.is_empty(), "{items}");
        }
    }

    #[test]
    fn any_other_document_is_one_object() {
        let document = &parse("kind: TracingPolicy\n")[0];
        let objects = Objects::of(document);
        assert!(objects.list.is_none() && objects.objects.len() == 1 && objects.objects[0].is_whole());
    }
}
