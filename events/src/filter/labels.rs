//! Selectors of labels in Kubernetes' text form: `app=web,tier!=cache,zone in (a,b),!canary`.

use std::collections::BTreeMap;

use gatewatch_policy::model::{LabelExpression, LabelOperator};

/// One selector: requirements that must all hold.
#[derive(Debug)]
pub(super) struct LabelFilter(Vec<LabelExpression>);

impl LabelFilter {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        split(text).into_iter().map(requirement).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels.get(&requirement.key).map(String::as_str)))
    }
}

/// The requirements, which commas outside of parentheses separate.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_usize);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn requirement(text: &str) -> Result<LabelExpression, String> {
    let text = text.trim();
    let invalid = || {
        format!(
            "invalid requirement {text:?} of a label selector: expected KEY=VALUE, KEY!=VALUE, KEY in (A,B), \
             KEY notin (A,B), KEY or !KEY"
        )
    };
    let (key, operator, values) = if let Some(key) = text.strip_prefix('!') {
        (key, LabelOperator::DoesNotExist, Vec::new())
    } else if let Some((key, value)) = text.split_once("!=") {
        (key, LabelOperator::NotIn, vec![value])
    } else if let Some((key, value)) = text.split_once("==").or_else(|| text.split_once('=')) {
        (key, LabelOperator::In, vec![value])
    } else if let Some((head, rest)) = text.split_once('(') {
        let values = rest.trim_end().strip_suffix(')').ok_or_else(invalid)?.split(',').collect();
        let mut words = head.split_whitespace();
        let (Some(key), Some(operator), None) = (words.next(), words.next(), words.next()) else {
            return Err(invalid());
        };
        let operator = match operator {
            "in" => LabelOperator::In,
            "notin" => LabelOperator::NotIn,
            _ => return Err(invalid()),
        };
        (key, operator, values)
    } else {
        (text, LabelOperator::Exists, Vec::new())
    };
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(invalid());
    }
    let values = values.into_iter().map(|value| value.trim().to_owned()).collect();
    Ok(LabelExpression { key: key.to_owned(), operator, values })
}
