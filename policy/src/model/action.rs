//! Actions: entries of `matchActions` and `matchReturnActions`.

use std::collections::BTreeMap;

use super::names::names;

names! {
    /// The actions of the language.
    pub enum ActionKind {
        Post = "Post",
        NoPost = "NoPost",
        Sigkill = "Sigkill",
        Signal = "Signal",
        Override = "Override",
        GetUrl = "GetUrl",
        DnsLookup = "DnsLookup",
        TrackSock = "TrackSock",
        UntrackSock = "UntrackSock",
        NotifyEnforcer = "NotifyEnforcer",
        CleanupEnforcerNotification = "CleanupEnforcerNotification",
        Set = "Set",
        FollowFD = "FollowFD",
        UnfollowFD = "UnfollowFD",
        CopyFD = "CopyFD",
    }
}

impl ActionKind {
    /// The actions that `returnArgAction` can name.
    pub const ON_RETURN_VALUES: [Self; 2] = [Self::TrackSock, Self::UntrackSock];

    /// Whether a policy that only monitors counts its events instead of performing it.
    pub const fn is_monitored(self) -> bool {
        self.enforces() || matches!(self, Self::CleanupEnforcerNotification | Self::Set)
    }

    /// Whether later versions of Tetragon do not have it (`NOT_IN_VERSION` names the last one).
    pub const fn is_removed(self) -> bool {
        matches!(self, Self::FollowFD | Self::UnfollowFD | Self::CopyFD)
    }

    /// Whether it does something to the process instead of reporting it.
    pub const fn enforces(self) -> bool {
        matches!(self, Self::Sigkill | Self::Signal | Self::Override | Self::NotifyEnforcer)
    }
}

/// One entry of `matchActions` or `matchReturnActions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Action {
    /// `action`; `None` where it is not one of the language's. Not to know an action is not to do nothing: such a
    /// policy does not run.
    pub kind: Option<ActionKind>,
    /// Every other field as written: `argError`, `argSig`, `rateLimit` and so on.
    pub fields: BTreeMap<String, String>,
}

impl Action {
    /// A field that is a number.
    pub fn number(&self, field: &str) -> Option<i64> {
        self.fields.get(field)?.parse().ok()
    }

    /// Whether it does something to the process instead of reporting it.
    pub fn enforces(&self) -> bool {
        self.kind.is_some_and(ActionKind::enforces)
    }

    /// Whether a boolean field is set.
    pub fn is_set(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|value| value == "true")
    }
}
