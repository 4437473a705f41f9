//! Socket tracking: `TrackSock` and `UntrackSock`.

use super::budget::actions;
use super::{Place, Places};
use crate::codes::{NO_EFFECT, SOCKET_TRACKING};
use crate::diagnostic::{Diagnostic, Edit, Fix, Severity};
use crate::model::ActionKind;
use crate::nearest::nearest;

pub(super) fn check(places: &Places<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        return_arg_action(place, found);
    }
    sockets(places, found);
}

/// An action on the result that does nothing; the schema takes any word.
fn return_arg_action(place: &Place<'_>, found: &mut Vec<Diagnostic>) {
    const KNOWN: [&str; 2] = [ActionKind::TrackSock.name(), ActionKind::UntrackSock.name()];
    let Some(action) = place.hook.return_arg_action.as_deref().filter(|action| !KNOWN.contains(action))
    else {
        return;
    };
    let at = place.path.field("returnArgAction");
    let message = format!(
        "`returnArgAction: {action}` has no effect, and Tetragon 1.7 and later reject the policy; only `TrackSock` and \
         `UntrackSock` act on a return value"
    );
    let diagnostic = Diagnostic::new(&NO_EFFECT, at.clone(), message).severity(Severity::Warning);
    found.push(match nearest(action, KNOWN) {
        Some(meant) => diagnostic.fix(Fix {
            title: format!("write `{meant}`"),
            path: at,
            edit: Edit::Replace(meant.to_owned()),
            safe: false,
        }),
        None => diagnostic.fix(Fix {
            title: "remove `returnArgAction`".to_owned(),
            path: at,
            edit: Edit::Remove,
            safe: true,
        }),
    });
}

/// Sockets that are tracked stay so until they are untracked.
fn sockets(places: &Places<'_>, found: &mut Vec<Diagnostic>) {
    let mut first = [None, None];
    let mut see = |kind: Option<ActionKind>, path| {
        let slot = match kind {
            Some(ActionKind::TrackSock) => &mut first[0],
            Some(ActionKind::UntrackSock) => &mut first[1],
            _ => return,
        };
        slot.get_or_insert(path);
    };
    for place in &places.hooks {
        if let Some(action) = &place.hook.return_arg_action {
            see(ActionKind::from_name(action), place.path.field("returnArgAction"));
        }
        for (selector, path) in place.selectors() {
            for (name, i, action) in actions(selector) {
                see(action.kind, path.field(name).index(i).field("action"));
            }
        }
    }
    let (path, message) = match first {
        [Some(path), None] => {
            (path, "sockets are tracked but never untracked, so the tracking table fills up")
        }
        [None, Some(path)] => (path, "sockets are untracked but never tracked, so this has no effect"),
        _ => return,
    };
    found.push(Diagnostic::new(&SOCKET_TRACKING, path, message).help(
        "use `TrackSock` and `UntrackSock` together in one policy: where a socket is created, and where it \
         is closed",
    ));
}

#[cfg(test)]
mod tests {
    use super::super::testing::said;

    const PLACE: &str = "spec.kprobes[0].selectors[0]";

    fn with(actions: &str) -> Vec<String> {
        said(&format!("kprobes: [{{call: sys_dup, selectors: [{{matchActions: [{actions}]}}]}}]"))
    }

    #[test]
    fn results_are_tracked_or_untracked() {
        let with = |action: &str| said(&format!("kprobes: [{{call: sys_dup, returnArgAction: {action}}}]"));
        for unused in ["Post", "Sigkill", "TrackSok"] {
            assert_eq!(with(unused), ["GW403 spec.kprobes[0].returnArgAction"], "{unused}");
        }
        assert_eq!(with("TrackSock"), ["GW508 spec.kprobes[0].returnArgAction"]);
    }

    #[test]
    fn tracking_is_a_pair() {
        let (track, untrack) = ("{action: TrackSock, argSock: 0}", "{action: UntrackSock, argSock: 0}");
        assert_eq!(with(track), [format!("GW508 {PLACE}.matchActions[0].action")]);
        assert_eq!(with(untrack), [format!("GW508 {PLACE}.matchActions[0].action")]);
        assert_eq!(with(&format!("{track}, {untrack}")), [""; 0]);
    }
}
