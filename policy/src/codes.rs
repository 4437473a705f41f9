//! The registry of diagnostics: every code that Gatewatch can say, in one table. A code is never used again for
//! something else. Groups: `GW0xx` form, `GW1xx` label selectors and coverage, `GW2xx` hooks and kernels, `GW3xx` event
//! filters, `GW4xx` limits and cost, `GW5xx` rights.

use crate::diagnostic::Severity;

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `GWnnn`.
    pub id: &'static str,
    /// A short name, for lists.
    pub title: &'static str,
    /// How bad it usually is.
    pub severity: Severity,
    /// Its page for users, in Markdown: `docs/codes/GWnnn.md`. See [`pages`](crate::pages).
    pub page: &'static str,
}

/// The page on a code, which may be written in small letters.
pub fn page(id: &str) -> Option<&'static str> {
    ALL.iter().find(|code| code.id.eq_ignore_ascii_case(id)).map(|code| code.page)
}

macro_rules! codes {
    ($($name:ident = $id:literal, $severity:ident, $title:literal;)*) => {
        $(#[doc = concat!($id, ": ", $title, ".")]
        pub static $name: Code = Code {
            id: $id,
            title: $title,
            severity: Severity::$severity,
            page: include_str!(concat!("../../docs/codes/", $id, ".md")),
        };)*

        /// Every code, in order.
        pub static ALL: &[&Code] = &[$(&$name,)*];
    };
}

codes! {
    SYNTAX = "GW001", Error, "the document can't be read";
    NOT_A_POLICY = "GW002", Error, "the document is no policy";
    UNKNOWN_FIELD = "GW003", Error, "a field that doesn't exist";
    WRONG_TYPE = "GW004", Error, "a value of the wrong type";
    MISSING_FIELD = "GW005", Error, "a required field is missing";
    BAD_NAME = "GW006", Error, "the name is no Kubernetes name";
    UNKNOWN_NAME = "GW007", Error, "a word that isn't one of those allowed here";
    NO_HOOK = "GW008", Error, "the policy watches nothing";
    NOT_RUN_HERE = "GW009", Error, "a part of the language that this agent doesn't run yet";
    DUPLICATE_KEY = "GW010", Error, "a key that stands twice";
    MANY_SECTIONS = "GW011", Error, "hooks of more than one kind in one policy";
    CONFLICTING_FIELDS = "GW012", Error, "fields that exclude one another, or none of which is there";
    SECTION_KIND = "GW013", Error, "a section that this kind of policy can't have";
    BAD_OPTION = "GW014", Error, "an option that doesn't exist, or a value that it can't have";
    BAD_LIST = "GW015", Error, "a list that can't be used";
    BAD_MACRO = "GW016", Error, "a macro that can't be used";
    DROPPED_FIELD = "GW017", Warning, "a field that was written and isn't in the object";
    SCHEMA = "GW018", Error, "what the API server's schema refuses";
    BAD_LABEL_KEY = "GW101", Error, "a label key that no object can have";
    BAD_LABEL_VALUE = "GW102", Error, "a label value that no object can have";
    LABEL_ARITY = "GW103", Error, "an operator with too few or too many values";
    LABEL_CONTRADICTION = "GW104", Error, "a label selector that nothing can match";
    NAMESPACE_IGNORED = "GW105", Warning, "a namespace that means nothing here";
    NEAR_MISS = "GW106", Warning, "a label that almost matches a policy";
    HOST_SELECTOR = "GW107", Error, "a selector of hosts that can't be";
    LOADER_SCOPE = "GW108", Error, "`loader` with a selector of workloads";
    NAMESPACE_LABEL = "GW109", Warning, "a namespace selected by a label that pods don't have";
    SELECTS_NOTHING = "GW110", Warning, "a policy that selects no pod";
    NO_CONTAINER = "GW111", Warning, "a container that no selected pod has";
    NEARLY_SELECTED = "GW112", Warning, "pods that a policy misses by one slip";
    NOT_COVERED = "GW113", Error, "no policy watches what has to be watched";
    LEFT_BY_RELABEL = "GW114", Warning, "a change of labels that takes pods out of sight";
    LEFT_BY_POLICY = "GW115", Warning, "a change of a policy that takes pods out of sight";
    LABEL_NOT_ON_PODS = "GW116", Warning, "a label that the workload has and its pods don't";
    SIBLING_DIFFERS = "GW117", Warning, "a workload without the label that its siblings are selected by";
    SELECTED_PODS = "GW118", Note, "what a policy selects";
    UNKNOWN_FUNCTION = "GW201", Error, "the kernel has no such function";
    NOT_ATTACHABLE = "GW202", Error, "the function can't be probed";
    SYSCALL_NAME = "GW203", Error, "`syscall` doesn't fit the name";
    ARG_INDEX = "GW204", Error, "the function has no such argument";
    ARG_TYPE = "GW205", Error, "the argument has another type";
    RETURN_TYPE = "GW206", Error, "the result has another type";
    DUPLICATE_HOOK = "GW207", Warning, "the same hook twice in one policy";
    HOT_HOOK = "GW208", Warning, "a hook that fires all the time, without a filter";
    EXEC_CALLER = "GW209", Note, "at the entry of execve the program is still the old one";
    RACY_HOOK = "GW210", Warning, "enforcement by what a program can still change";
    UNTYPED_ARG = "GW211", Error, "an argument without a type that can be read";
    DUPLICATE_ARG = "GW212", Error, "an argument that is declared twice";
    ARG_FIELD = "GW213", Error, "a field of an argument that doesn't fit the others";
    ARCH_NAME = "GW214", Warning, "a name that only one architecture has";
    LSM_NAME = "GW215", Error, "the name isn't that of an LSM hook";
    COUNTED_TWICE = "GW216", Warning, "the same events counted by another policy";
    SHARED_NAME = "GW217", Warning, "two policies with one name in the counter";
    OPERATOR_TYPE = "GW301", Error, "the operator doesn't work on this type";
    NO_VALUES = "GW302", Error, "a filter without values";
    UNDECLARED_ARG = "GW303", Error, "a filter on an argument that isn't declared";
    BAD_NUMBER = "GW304", Error, "a value that is no number of this type";
    BAD_ADDRESS = "GW305", Error, "a value that is no address or network";
    BAD_TEXT = "GW306", Error, "a string that nothing can equal";
    UNKNOWN_CONSTANT = "GW307", Error, "a name that the kernel doesn't know";
    RETURN_FILTER = "GW308", Error, "a filter on a result that isn't asked for";
    DEAD_SELECTOR = "GW309", Warning, "a selector after one that takes every call";
    NAMESPACE_INODE = "GW310", Warning, "a namespace by a number that differs from node to node";
    PATH_ALIAS = "GW311", Warning, "a path that is a link on most systems";
    UNREAD_ENTRIES = "GW312", Error, "more entries than Tetragon looks at";
    RETURN_ACTION = "GW313", Warning, "enforcement that Tetragon doesn't see";
    TETRAGON_NUMBER = "GW314", Warning, "a number that Tetragon doesn't read here";
    NEVER_MATCHES = "GW315", Warning, "filters that nothing can pass";
    ALWAYS_HOLDS = "GW316", Warning, "a filter that everything passes";
    REDUNDANT_FILTER = "GW317", Note, "a filter that another one implies";
    SUBSUMED_SELECTOR = "GW318", Warning, "a selector whose events earlier ones take";
    ENUM_NUMBER = "GW319", Note, "a number that kernels may give another meaning";
    EXPRESSION = "GW320", Error, "an expression that can't be evaluated";
    TOO_MANY_FIELDS = "GW401", Error, "more fields than one kernel function's program looks at";
    TOO_MANY_SELECTORS = "GW402", Error, "more selectors than one kernel function's program holds";
    NO_EFFECT = "GW403", Note, "a setting that changes nothing here";
    OVER_LIMIT = "GW404", Error, "more than may be of something";
    NAME_TOO_LONG = "GW405", Error, "a name too long for the node's file system";
    MESSAGE_LENGTH = "GW406", Warning, "a message or tag that is cut or refused";
    RATE_LIMIT = "GW407", Error, "a rate limit that can't be";
    NO_MESSAGE = "GW408", Note, "a hook without a message";
    WIDE_RANGE = "GW409", Warning, "a range that costs one entry of a map for every value";
    SELECTOR_BYTES = "GW410", Warning, "selectors that Tetragon can't address";
    NODE_BUDGET = "GW411", Warning, "what costs every node much, or of which a node has few";
    AGENT_SETTING = "GW412", Note, "what Tetragon does only where its agent is set up for it";
    ENFORCED_EVERYWHERE = "GW501", Warning, "enforcement on every process of every node";
    NOT_OVERRIDABLE = "GW502", Error, "an override of what can't be overridden";
    NO_ENFORCER = "GW503", Error, "an enforcer that isn't there, or can't be";
    EGRESS = "GW504", Warning, "a privileged agent made to talk to the network";
    ACTION_FIELD = "GW505", Error, "an action without what it needs";
    ACTION_PLACE = "GW506", Error, "an action that this kind of hook can't take";
    NODE_LABELS = "GW507", Note, "enforcement that a node's labels turn off";
    SOCKET_TRACKING = "GW508", Warning, "sockets that are tracked and never untracked, or the other way round";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_order_and_used_once() {
        assert!(ALL.is_sorted_by(|a, b| a.id < b.id));
        assert!(ALL.iter().all(|code| code.id.len() == 5 && code.id.starts_with("GW")));
    }
}
