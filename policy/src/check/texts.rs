//! Names, messages and tags that Tetragon truncates or rejects.

use super::located::LocatedPolicy;
use crate::{
    codes::{MESSAGE_LENGTH, NAME_TOO_LONG, NO_MESSAGE, OVER_LIMIT},
    diagnostic::{Diagnostic, FieldPath, Severity},
    model::Policy,
    target::Targets,
};

/// Longest name of a file (`NAME_MAX` of `include/uapi/linux/limits.h`).
const NAME_MAX: usize = 255;
const MESSAGE_MAX: usize = 256;
const TAG_MAX: usize = 128;
const TAGS_MAX: usize = 16;

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    directory(places.policy, found);
    for place in &places.hooks {
        message(place.hook.message.as_deref(), &place.path, found);
        if !place.hook.tags.is_empty() {
            tags(&place.hook.tags, &place.path.field("tags"), found);
        }
    }
}

/// Tetragon makes a directory `namespace:name` for each policy in the node's BPF file system.
fn directory(policy: &Policy, found: &mut Vec<Diagnostic>) {
    let namespace = policy.namespace.as_deref().unwrap_or_default();
    let length = namespace.len() + 1 + policy.name.len();
    if length > NAME_MAX {
        found.push(
            Diagnostic::new(
                &NAME_TOO_LONG,
                FieldPath::root().field("metadata").field("name"),
                format!(
                    "`namespace:name` has {length} bytes, but at most {NAME_MAX} fit: it names a directory on the \
                     nodes, so no node could load the policy"
                ),
            )
            .help("choose a shorter name"),
        );
    }
}

/// Two to 256 bytes; fewer are rejected by every node, more are cut.
fn message(message: Option<&str>, path: &FieldPath, found: &mut Vec<Diagnostic>) {
    let at = || path.field("message");
    match message.map_or(0, str::len) {
        0 => found.push(
            Diagnostic::new(&NO_MESSAGE, at(), "missing `message`: events of this hook have no description")
                .help("add a short `message`; it appears in every event of this hook"),
        ),
        1 => found.push(
            Diagnostic::new(
                &MESSAGE_LENGTH,
                at(),
                "the message has one byte; Tetragon rejects the whole policy",
            )
            .severity(Severity::Error),
        ),
        length if length > MESSAGE_MAX => found.push(Diagnostic::new(
            &MESSAGE_LENGTH,
            at(),
            format!("the message has {length} bytes and is truncated after {MESSAGE_MAX}"),
        )),
        _ => {}
    }
}

/// At most 16 tags, of two to 128 bytes each.
fn tags(tags: &[String], path: &FieldPath, found: &mut Vec<Diagnostic>) {
    if tags.len() > TAGS_MAX {
        found.push(
            Diagnostic::new(
                &OVER_LIMIT,
                path.clone(),
                format!(
                    "{} tags; the API server accepts at most {TAGS_MAX} and rejects the policy",
                    tags.len()
                ),
            )
            .targets(Targets::BOTH),
        );
    }
    for (i, tag) in tags.iter().enumerate() {
        let at = path.index(i);
        match tag.len() {
            0 | 1 => found.push(
                Diagnostic::new(
                    &MESSAGE_LENGTH,
                    at,
                    format!("tag {tag:?} is shorter than two bytes; Tetragon rejects the whole policy"),
                )
                .severity(Severity::Error),
            ),
            length if length > TAG_MAX => found.push(Diagnostic::new(
                &MESSAGE_LENGTH,
                at,
                format!("the tag has {length} bytes and is truncated after {TAG_MAX}"),
            )),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check_text, reported, reported_all};

    #[test]
    fn messages() {
        let with = |message: &str| {
            reported_all(&format!("tracepoints: [{{subsystem: a, event: b, message: '{message}'}}]"))
        };
        assert_eq!(with("ok"), [""; 0]);
        assert_eq!(with(&"x".repeat(256)), [""; 0]);
        assert_eq!(with(""), ["GW408 spec.tracepoints[0].message"]);
        assert_eq!(with("x"), ["GW406 spec.tracepoints[0].message"]);
        assert_eq!(with(&"x".repeat(257)), ["GW406 spec.tracepoints[0].message"]);
    }

    #[test]
    fn tags() {
        let with = |tags: &[&str]| reported(&format!("lsmhooks: [{{hook: file_open, tags: {tags:?}}}]"));
        assert_eq!(with(&["ab"; 16]), [""; 0]);
        assert_eq!(with(&["ab"; 17]), ["GW404 spec.lsmhooks[0].tags"]);
        assert_eq!(with(&["ab", "a"]), ["GW406 spec.lsmhooks[0].tags[1]"]);
        assert_eq!(with(&["a".repeat(129).as_str()]), ["GW406 spec.lsmhooks[0].tags[0]"]);
    }

    #[test]
    fn long_names() {
        let named = |namespace: usize, name: usize| {
            let found = check_text(&format!(
                "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicyNamespaced\nmetadata: {{name: {}, namespace: {}}}\n\
                 spec: {{kprobes: [{{call: sys_dup, message: ok}}]}}\n",
                "a".repeat(name),
                "b".repeat(namespace)
            ));
            found.iter().map(|d| d.code.id).collect::<Vec<_>>()
        };
        assert_eq!(named(63, 191), [""; 0]);
        assert_eq!(named(63, 192), ["GW405"]);
    }
}
