//! Socket tracking: `TrackSock` and `UntrackSock`.

use super::located::{LocatedHook, LocatedPolicy};
use crate::{
    codes::{NO_EFFECT, SOCKET_TRACKING, UNKNOWN_NAME},
    diagnostic::{Diagnostic, Edit, Fix, Severity},
    model::ActionKind,
    nearest::nearest,
    target::{Targets, Version, Versions},
};

pub(super) fn check(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
    for place in &places.hooks {
        return_arg_action(place, found);
    }
    sockets(places, found);
}

/// The release of Tetragon from which on another action makes it reject the policy. Earlier ones accept any word.
const STRICT: Version = Version::new(1, 7);

/// An action on the return value that does nothing. The schema accepts any word.
fn return_arg_action(place: &LocatedHook<'_>, found: &mut Vec<Diagnostic>) {
    let known = ActionKind::ON_RETURN_VALUES.map(ActionKind::name);
    let Some(action) = place.hook.return_arg_action.as_deref().filter(|action| !known.contains(action))
    else {
        return;
    };
    let at = place.path.field("returnArgAction");
    let fix = match nearest(action, known) {
        Some(suggestion) => Fix {
            title: format!("write `{suggestion}`"),
            path: at.clone(),
            edit: Edit::Replace(suggestion.to_owned()),
            safe: false,
        },
        None => Fix {
            title: "remove `returnArgAction`".to_owned(),
            path: at.clone(),
            edit: Edit::Remove,
            safe: true,
        },
    };
    let message = format!(
        "`returnArgAction: {action}` is ignored, as by {}; only `TrackSock` and `UntrackSock` act on a return value",
        Versions::up_to(STRICT.before()),
    );
    let diagnostic = Diagnostic::new(&NO_EFFECT, at.clone(), message)
        .severity(Severity::Warning)
        .targets(Targets::both(Versions::up_to(STRICT.before())));
    found.push(diagnostic.fix(fix.clone()));
    let message =
        format!("unknown action {action:?} for return values; {} reject the policy", Versions::from(STRICT));
    let diagnostic =
        Diagnostic::new(&UNKNOWN_NAME, at, message).targets(Targets::tetragon(Versions::from(STRICT)));
    found.push(diagnostic.fix(fix));
}

/// Sockets that are tracked stay so until they are untracked.
fn sockets(places: &LocatedPolicy<'_>, found: &mut Vec<Diagnostic>) {
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
            for (name, i, action) in selector.actions() {
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
    use super::super::testing::reported;

    const PLACE: &str = "spec.kprobes[0].selectors[0]";

    fn with(actions: &str) -> Vec<String> {
        reported(&format!("kprobes: [{{call: sys_dup, selectors: [{{matchActions: [{actions}]}}]}}]"))
    }

    #[test]
    fn results_are_tracked_or_untracked() {
        let with =
            |action: &str| reported(&format!("kprobes: [{{call: sys_dup, returnArgAction: {action}}}]"));
        for unused in ["Post", "Sigkill", "TrackSok"] {
            let at = "spec.kprobes[0].returnArgAction";
            assert_eq!(with(unused), [format!("GW403 {at}"), format!("GW007 {at}")], "{unused}");
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
