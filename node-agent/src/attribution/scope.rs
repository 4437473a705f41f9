//! The cgroups that a policy selects.

use gatewatch_policy::{
    model::LabelSelector,
    plan::{PodScope, Scope},
};

use super::{ContainerState, Owner};
use crate::pods::Pod;

/// Whether a policy selects a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// It does.
    Selected,
    /// It doesn't.
    Unselected,
    /// Not known yet: the kernel counts, and the counts wait until it is known.
    Undecided,
}

/// Whether events of this owner's processes have to be counted for a policy of this scope: they are selected, or
/// may turn out to be.
pub fn selects(scope: &Scope, owner: &Owner) -> bool {
    selection(scope, owner) != Selection::Unselected
}

/// Whether a policy of this scope selects this owner's processes.
///
/// A pod without an object is selected by policies that select every pod, since no label could change that.
pub fn selection(scope: &Scope, owner: &Owner) -> Selection {
    let decided = |selected| if selected { Selection::Selected } else { Selection::Unselected };
    match (owner, &scope.pods) {
        (Owner::Pending, pods) if scope.host || pods.is_some() => Selection::Undecided,
        (Owner::Host, _) => decided(scope.host),
        (Owner::Container { pod, container }, Some(pods)) => of_container(pods, pod, container),
        (Owner::Unlisted { .. }, Some(PodScope { namespace, pods, containers })) => {
            let any =
                |selector: &Option<LabelSelector>| selector.as_ref().is_none_or(LabelSelector::is_empty);
            decided(namespace.is_none() && any(pods) && any(containers))
        }
        (Owner::Pending | Owner::Container { .. } | Owner::Unlisted { .. }, _) => Selection::Unselected,
    }
}

fn of_container(scope: &PodScope, pod: &Pod, container: &ContainerState) -> Selection {
    if !scope.selects_pod(&pod.namespace, &pod.labels) {
        return Selection::Unselected;
    }
    if scope.containers.as_ref().is_none_or(LabelSelector::is_empty) {
        return Selection::Selected;
    }
    match container {
        ContainerState::Named(container) if scope.selects_container(&container.name, &container.repo) => {
            Selection::Selected
        }
        ContainerState::Named(_) | ContainerState::Unnamed => Selection::Unselected,
        ContainerState::Awaited => Selection::Undecided,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gatewatch_policy::{
        labels::NAMESPACE_KEY,
        model::{LabelExpression, LabelOperator},
    };

    use super::*;
    use crate::{attribution::tests::pod, pods::Container};

    fn labels(pairs: &[(&str, &str)]) -> LabelSelector {
        LabelSelector {
            match_labels: pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            match_expressions: Vec::new(),
        }
    }

    fn expression(key: &str, operator: LabelOperator, values: &[&str]) -> LabelSelector {
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        LabelSelector {
            match_expressions: vec![LabelExpression { key: key.to_owned(), operator, values }],
            ..LabelSelector::default()
        }
    }

    fn pods(
        namespace: Option<&str>,
        pods: Option<LabelSelector>,
        containers: Option<LabelSelector>,
    ) -> Scope {
        Scope {
            host: false,
            pods: Some(PodScope { namespace: namespace.map(str::to_owned), pods, containers }),
        }
    }

    fn in_container(name: &str, repo: &str) -> ContainerState {
        ContainerState::Named(Container {
            name: name.to_owned(),
            repo: repo.to_owned(),
            id: Some("1".to_owned()),
        })
    }

    fn tiefighter(container: ContainerState) -> Owner {
        let mut pod = pod("u1", "test", "tiefighter");
        pod.labels = [("org".to_owned(), "empire".to_owned())].into();
        Owner::Container { pod: Arc::new(pod), container }
    }

    #[test]
    fn semantics_of_the_language() {
        use Selection::{Selected, Undecided, Unselected};
        let main = in_container("spaceship", "docker.io/tgraf/netperf");
        let owners = [
            Owner::Host,
            tiefighter(main),
            tiefighter(ContainerState::Awaited),
            tiefighter(ContainerState::Unnamed),
            Owner::Unlisted { uid: "u9".into() },
            Owner::Pending,
        ];
        let everything = Scope { host: true, ..pods(None, None, None) };
        let host = Scope { host: true, pods: None };
        let yes = [Unselected, Selected, Selected, Selected, Unselected, Undecided];
        let no = [Unselected, Unselected, Unselected, Unselected, Unselected, Undecided];
        let one_container = [Unselected, Selected, Undecided, Unselected, Unselected, Undecided];
        let not_that_one = [Unselected, Unselected, Undecided, Unselected, Unselected, Undecided];
        let synthetic = |namespace: &str| labels(&[(NAMESPACE_KEY, namespace)]);
        for (scope, want) in [
            (everything, [Selected, Selected, Selected, Selected, Selected, Undecided]),
            (host, [Selected, Unselected, Unselected, Unselected, Unselected, Undecided]),
            (Scope::default(), [Unselected; 6]),
            // `podSelector: {}`: every pod, never the host.
            (
                pods(None, Some(labels(&[])), None),
                [Unselected, Selected, Selected, Selected, Selected, Undecided],
            ),
            (pods(None, Some(labels(&[("org", "empire")])), None), yes),
            (pods(None, Some(labels(&[("org", "Empire")])), None), no),
            (pods(Some("test"), None, None), yes),
            (pods(Some("other"), None, None), no),
            (pods(Some("other"), Some(labels(&[("org", "empire")])), None), no),
            (pods(None, Some(synthetic("test")), None), yes),
            (pods(None, Some(synthetic("other")), None), no),
            (pods(None, Some(expression("class", LabelOperator::NotIn, &["x"])), None), yes),
            (pods(None, Some(expression("org", LabelOperator::DoesNotExist, &[])), None), no),
            (pods(None, None, Some(labels(&[("name", "spaceship")]))), one_container),
            (pods(None, None, Some(labels(&[("name", "sidecar")]))), not_that_one),
            (
                pods(None, None, Some(expression("repo", LabelOperator::In, &["docker.io/tgraf/netperf"]))),
                one_container,
            ),
            (
                pods(None, None, Some(labels(&[]))),
                [Unselected, Selected, Selected, Selected, Selected, Undecided],
            ),
            // Where the pod decides, the container needn't be awaited.
            (pods(None, Some(labels(&[("org", "alliance")])), Some(labels(&[("name", "spaceship")]))), no),
        ] {
            for (owner, want) in owners.iter().zip(want) {
                assert_eq!(selection(&scope, owner), want, "{scope:?} {owner:?}");
                assert_eq!(selects(&scope, owner), want != Unselected);
            }
        }
    }

    #[test]
    fn a_label_of_the_synthetic_key_wins() {
        let mut labelled = pod("u1", "test", "p");
        labelled.labels = [(NAMESPACE_KEY.to_owned(), "claimed".to_owned())].into();
        let owner = Owner::Container { pod: Arc::new(labelled), container: ContainerState::Unnamed };
        assert!(!selects(&pods(None, Some(labels(&[(NAMESPACE_KEY, "test")])), None), &owner));
        assert!(selects(&pods(None, Some(labels(&[(NAMESPACE_KEY, "claimed")])), None), &owner));
        // A namespaced policy goes by the real one.
        assert!(selects(&pods(Some("test"), None, None), &owner));
    }
}
