//! What happens when a selector matches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel;

/// One action on a call that matched.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(extend("x-kubernetes-validations" = cel::validations(&[cel::ONE_NEW_PLACE])))]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// Name of the action.
    pub action: ActionKind,

    /// Override: the error that the call returns, as a negative number (-1 is EPERM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_error: Option<i32>,

    /// `DnsLookup`: the name to look up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_fqdn: Option<String>,

    /// Set: index of the argument to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_index: Option<i32>,

    /// Override in a uprobe: continue at this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_new_addr: Option<i64>,

    /// Override in a uprobe: continue at this offset of the binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_new_offset: Option<i64>,

    /// Override in a uprobe: continue at this symbol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_new_symbol: Option<String>,

    /// Override in a uprobe: registers to set, for example `rax=0`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arg_regs: Vec<String>,

    /// Signal: number of the signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_sig: Option<i32>,

    /// `TrackSock`, `UntrackSock`: index of the argument that holds the socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_sock: Option<i32>,

    /// `GetUrl`: the address to request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_url: Option<String>,

    /// Set: the value to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arg_value: Option<i32>,

    /// Post in an LSM hook: add IMA's hash of the file.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub ima_hash: bool,

    /// Post: add the kernel stack.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub kernel_stack_trace: bool,

    /// Post: at most one event with equal arguments in this time. A number with s, m or h; without a unit, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<String>,

    /// Post: scope of the rate limit: thread (default), process or global.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_scope: Option<String>,

    /// Post: add the user stack of the process.
    #[serde(default, skip_serializing_if = "crate::is_false")]
    pub user_stack_trace: bool,
}

/// The actions of the policy language.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ActionKind {
    /// Report the event. The default without an action.
    Post,
    /// Kill the process.
    Sigkill,
    /// Return an error instead of running the call.
    Override,
    /// Request a URL from the agent.
    GetUrl,
    /// Look up a name from the agent.
    DnsLookup,
    /// Do not report the event.
    NoPost,
    /// Send a signal to the process.
    Signal,
    /// Follow a socket, so that later events carry its process.
    TrackSock,
    /// Stop following a socket.
    UntrackSock,
    /// Notify the policy's enforcer of the call.
    NotifyEnforcer,
    /// Remove a notification from the policy's enforcer.
    CleanupEnforcerNotification,
    /// Write an argument of a USDT probe.
    Set,
}
