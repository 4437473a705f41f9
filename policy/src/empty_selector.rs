//! Label selectors that are written, and select everything because nothing is in them.
//!
//! A model can't tell them from `podSelector: {}`, which selects all pods on purpose, so the document is read.

use crate::{
    codes::EMPTY_SELECTOR,
    diagnostic::{Diagnostic, FieldPath},
    source::{Node, Value},
};

/// Selectors of `spec`, and what each selects when it is empty.
const SELECTORS: [(&str, &str); 3] =
    [("podSelector", "every pod"), ("containerSelector", "every container"), ("nodeSelector", "every node")];

/// The findings on the selectors of a policy's object.
pub fn check(object: &Node) -> Vec<Diagnostic> {
    let Some(spec) = object.get("spec") else { return Vec::new() };
    let path = FieldPath::root().field("spec");
    let of = |(name, all): &(&str, &str)| one(spec.get(name)?, &path.field(name), all);
    SELECTORS.iter().filter_map(of).collect()
}

fn one(selector: &Node, path: &FieldPath, all: &str) -> Option<Diagnostic> {
    if selector.is_null() {
        let name = path.to_string();
        let name = name.rsplit('.').next().unwrap_or_default();
        let message = format!(
            "`{name}` has no value, which is the same as no `{name}`: it selects nothing less than {all}"
        );
        return Some(Diagnostic::new(&EMPTY_SELECTOR, path.clone(), message).help(HELP));
    }
    let labels = selector.get("matchLabels")?;
    let empty = match &labels.value {
        Value::Null => true,
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    };
    let expressions = selector.get("matchExpressions").map_or(0, |list| list.items().len());
    (empty && expressions == 0).then(|| {
        let message = format!("`matchLabels` is empty, so the policy selects {all}");
        Diagnostic::new(&EMPTY_SELECTOR, path.field("matchLabels"), message).help(HELP)
    })
}

const HELP: &str = "write the labels (a label without a value is dropped by the API server), or `{}` for the whole \
                    selector to select everything on purpose";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::parse;

    fn reported(spec: &str) -> Vec<String> {
        let found = check(&parse(&format!("spec: {{{spec}}}"))[0].root);
        found.iter().map(|d| format!("{} {}", d.code.id, d.path)).collect()
    }

    #[test]
    fn empty_selectors() {
        assert_eq!(reported("podSelector: {matchLabels: {}}"), ["GW120 spec.podSelector.matchLabels"]);
        assert_eq!(reported("podSelector: {matchLabels: }"), ["GW120 spec.podSelector.matchLabels"]);
        assert_eq!(reported("nodeSelector: "), ["GW120 spec.nodeSelector"]);
        let expression = "{key: app, operator: Exists}";
        for good in [
            "kprobes: []".to_owned(),
            "podSelector: {}".to_owned(),
            "hostSelector: {}".to_owned(),
            "podSelector: {matchLabels: {app: shop}}".to_owned(),
            format!("podSelector: {{matchLabels: {{}}, matchExpressions: [{expression}]}}"),
        ] {
            assert_eq!(reported(&good), [""; 0], "{good}");
        }
    }
}
