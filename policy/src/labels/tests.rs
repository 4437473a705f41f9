use proptest::prelude::*;

use super::*;

/// Matching written as one sentence a case, over all keys rather than by lookup.
fn naive(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let has = |k: &str, v: &str| labels.iter().any(|(a, b)| a == k && b == v);
    let exists = |k: &str| labels.iter().any(|(a, _)| a == k);
    for (key, value) in &selector.match_labels {
        if !has(key, value) {
            return false;
        }
    }
    for e in &selector.match_expressions {
        let one_of = e.values.iter().any(|v| has(&e.key, v));
        let holds = match e.operator.name() {
            "In" => one_of,
            "NotIn" => !one_of,
            "Exists" => exists(&e.key),
            _ => !exists(&e.key),
        };
        if !holds {
            return false;
        }
    }
    true
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["x", "y", "z"]).prop_map(str::to_owned)
}

fn selectors(min_values: usize) -> impl Strategy<Value = LabelSelector> {
    let expression =
        (key(), prop::sample::select(LabelOperator::ALL), prop::collection::vec(value(), min_values..3))
            .prop_map(move |(key, operator, values)| {
                let takes = matches!(operator, LabelOperator::In | LabelOperator::NotIn);
                // Only with the number of values that the operator takes, where that is asked for.
                let values = if min_values > 0 && !takes { Vec::new() } else { values };
                LabelExpression { key, operator, values }
            });
    (prop::collection::btree_map(key(), value(), 0..2), prop::collection::vec(expression, 0..4))
        .prop_map(|(match_labels, match_expressions)| LabelSelector { match_labels, match_expressions })
}

proptest! {
    #[test]
    fn matches_as_the_naive_reading(
        selector in selectors(0),
        labels in prop::collection::btree_map(key(), value(), 0..3),
    ) {
        prop_assert_eq!(selector.matches(&labels), naive(&selector, &labels));
    }

    #[test]
    fn contradiction_is_reported_exactly_where_nothing_matches(selector in selectors(1)) {
        let choices = [None, Some("x"), Some("y"), Some("z"), Some("other")];
        let satisfiable = choices.iter().any(|a| choices.iter().any(|b| {
            let labels = [("a", a), ("b", b)].into_iter()
                .filter_map(|(k, v)| v.map(|v| (k.to_owned(), v.to_owned()))).collect();
            selector.matches(&labels)
        }));
        let found = check(&selector, Subject::Pod, &FieldPath::root());
        prop_assert_eq!(found.is_empty(), satisfiable, "{:?}", found);
    }
}

fn one(key: &str, operator: LabelOperator, values: &[&str]) -> LabelSelector {
    LabelSelector {
        match_labels: BTreeMap::new(),
        match_expressions: vec![LabelExpression {
            key: key.to_owned(),
            operator,
            values: values.iter().map(|v| (*v).to_owned()).collect(),
        }],
    }
}

fn reported(selector: &LabelSelector, subject: Subject) -> Vec<String> {
    check(selector, subject, &FieldPath::root().field("s"))
        .iter()
        .map(|d| format!("{} {}", d.code.id, d.path))
        .collect()
}

#[test]
fn operators_without_values() {
    let labels = BTreeMap::from([("a".to_owned(), "x".to_owned())]);
    assert!(!one("a", LabelOperator::In, &[]).matches(&labels));
    assert!(one("a", LabelOperator::NotIn, &[]).matches(&labels));
    assert!(one("b", LabelOperator::NotIn, &["x"]).matches(&labels));
    assert!(LabelSelector::default().matches(&labels));
}

#[test]
fn mistakes_that_the_schema_lets_through() {
    use LabelOperator::{DoesNotExist, Exists, In, NotIn};
    let place = "s.matchExpressions[0]";
    for (selector, expected) in [
        (one("my app", In, &["x"]), format!("GW101 {place}.key")),
        (one("app", In, &[]), format!("GW103 {place}")),
        (one("app", NotIn, &[]), format!("GW103 {place}")),
        (one("app", Exists, &["x"]), format!("GW103 {place}.values")),
        (one("app", DoesNotExist, &["x"]), format!("GW103 {place}.values")),
        (one("app", In, &["x", "a b"]), format!("GW102 {place}.values[1]")),
    ] {
        assert_eq!(reported(&selector, Subject::Pod), [expected]);
    }
}

#[test]
fn containers_have_two_keys() {
    use LabelOperator::In;
    assert_eq!(reported(&one("repo", In, &["docker.io/library/nginx"]), Subject::Container), [""; 0]);
    assert_eq!(reported(&one("name", In, &["main"]), Subject::Container), [""; 0]);
    assert_eq!(
        reported(&one("name", In, &["Main"]), Subject::Container),
        ["GW102 s.matchExpressions[0].values[0]"]
    );
    assert_eq!(reported(&one("app", In, &["x"]), Subject::Container), ["GW101 s.matchExpressions[0].key"]);
    let mut labels = LabelSelector::default();
    labels.match_labels.insert("repo".to_owned(), "docker.io/nginx".to_owned());
    assert_eq!(reported(&labels, Subject::Container), ["GW102 s.matchLabels.repo"]);
}

#[test]
fn namespace_key_is_for_pods() {
    let selector = one(NAMESPACE_KEY, LabelOperator::In, &["default"]);
    assert_eq!(reported(&selector, Subject::Pod), [""; 0]);
    assert_eq!(reported(&selector, Subject::Node), ["GW101 s.matchExpressions[0].key"]);
}

#[test]
fn slips_in_keys_are_named() {
    let found = check(&one("App.io/x ", LabelOperator::Exists, &[]), Subject::Pod, &FieldPath::root());
    assert_eq!(found[0].help.as_deref(), Some("did you mean `app.io/x`?"));
}
