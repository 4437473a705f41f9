//! The registry of diagnostics: every code that Gatewatch can report, in one table. A code is never reused with
//! another meaning. Groups: `GW0xx` form, `GW1xx` label selectors and coverage, `GW2xx` hooks and kernels, `GW3xx`
//! event filters, `GW4xx` limits and cost, `GW5xx` rights.

use crate::{
    severity::Severity,
    target::{Targets, Version, Versions},
};

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// `GWnnn`.
    pub id: &'static str,
    /// A short name, for lists.
    pub title: &'static str,
    /// How bad it usually is.
    pub severity: Severity,
    /// The programs that it is about, where a diagnostic doesn't set others.
    pub targets: Targets,
    /// Its page for users, in Markdown: `docs/codes/GWnnn.md`. See [`pages`](crate::pages).
    pub page: &'static str,
}

/// The page on a code, which may be written in small letters.
pub fn page(id: &str) -> Option<&'static str> {
    ALL.iter().find(|code| code.id.eq_ignore_ascii_case(id)).map(|code| code.page)
}

/// A code is about Gatewatch and every Tetragon unless its line has other targets.
macro_rules! targets {
    () => {
        Targets::BOTH
    };
    ($targets:expr) => {
        $targets
    };
}

macro_rules! codes {
    ($($name:ident = $id:literal, $severity:ident, $title:literal $(, $targets:expr)?;)*) => {
        $(#[doc = concat!($id, ": ", $title, ".")]
        pub static $name: Code = Code {
            id: $id,
            title: $title,
            severity: Severity::$severity,
            targets: targets!($($targets)?),
            page: include_str!(concat!("../../docs/codes/", $id, ".md")),
        };)*

        /// Every code, in order.
        pub static ALL: &[&Code] = &[$(&$name,)*];
    };
}

codes! {
    SYNTAX = "GW001", Error, "the document cannot be parsed";
    NOT_A_POLICY = "GW002", Error, "the document is not a policy";
    UNKNOWN_FIELD = "GW003", Error, "unknown field";
    WRONG_TYPE = "GW004", Error, "value of the wrong type";
    MISSING_FIELD = "GW005", Error, "missing required field";
    BAD_NAME = "GW006", Error, "invalid object name";
    UNKNOWN_NAME = "GW007", Error, "value is not one of the allowed names";
    NO_HOOK = "GW008", Error, "policy without hooks";
    NOT_RUN_HERE = "GW009", Error, "policy feature that this agent does not support yet", Targets::GATEWATCH;
    DUPLICATE_KEY = "GW010", Error, "duplicate key";
    MANY_SECTIONS = "GW011", Error, "more than one kind of hook in a policy", Targets::TETRAGON;
    CONFLICTING_FIELDS = "GW012", Error, "fields that are mutually exclusive, or none of them set";
    SECTION_KIND = "GW013", Error, "section not allowed in this kind of policy", Targets::TETRAGON;
    BAD_OPTION = "GW014", Error, "unknown option or invalid option value";
    BAD_LIST = "GW015", Error, "invalid list";
    BAD_MACRO = "GW016", Error, "invalid macro", Targets::both(Versions::from(Version::new(1, 7)));
    DROPPED_FIELD = "GW017", Warning, "field dropped by the API server";
    SCHEMA = "GW018", Error, "rejected by the API server's schema";
    NOT_IN_VERSION = "GW019", Error, "policy feature that a version of Tetragon does not have", Targets::TETRAGON;
    OLDER_NAME = "GW020", Warning, "name that only earlier versions of Tetragon have", Targets::GATEWATCH;
    BAD_LABEL_KEY = "GW101", Error, "invalid label key";
    BAD_LABEL_VALUE = "GW102", Error, "invalid label value";
    LABEL_ARITY = "GW103", Error, "wrong number of values for an operator";
    LABEL_CONTRADICTION = "GW104", Error, "label selector that cannot match";
    NAMESPACE_IGNORED = "GW105", Warning, "namespace on a cluster-wide policy";
    NEAR_MISS = "GW106", Warning, "likely typo in a workload's label";
    HOST_SELECTOR = "GW107", Error, "invalid `hostSelector`";
    LOADER_SCOPE = "GW108", Error, "`loader` with a workload selector", Targets::TETRAGON;
    NAMESPACE_LABEL = "GW109", Warning, "pods selected by a namespace label";
    SELECTS_NOTHING = "GW110", Warning, "policy selects no pods";
    NO_CONTAINER = "GW111", Warning, "container that no selected pod has";
    NEARLY_SELECTED = "GW112", Warning, "likely typo in a policy's selector";
    NOT_COVERED = "GW113", Error, "no policy selects a workload that must be covered";
    LEFT_BY_RELABEL = "GW114", Warning, "label change: pods no longer selected";
    LEFT_BY_POLICY = "GW115", Warning, "policy change: pods no longer selected";
    LABEL_NOT_ON_PODS = "GW116", Warning, "label on the workload but not on its pods";
    SIBLING_DIFFERS = "GW117", Warning, "workload lacks the label that selects its siblings";
    SELECTED_PODS = "GW118", Note, "number of pods that a policy selects";
    EXCLUDES_NOTHING = "GW119", Warning, "excluded label value that no pod has";
    EMPTY_SELECTOR = "GW120", Warning, "empty label selector, which selects every pod";
    UNKNOWN_FUNCTION = "GW201", Error, "unknown kernel function";
    NOT_ATTACHABLE = "GW202", Error, "function cannot be probed";
    SYSCALL_NAME = "GW203", Error, "`syscall` does not fit the function name";
    ARG_INDEX = "GW204", Error, "argument that the function does not have";
    ARG_TYPE = "GW205", Error, "wrong argument type";
    RETURN_TYPE = "GW206", Error, "wrong return type";
    DUPLICATE_HOOK = "GW207", Warning, "duplicate hook in a policy";
    HOT_HOOK = "GW208", Warning, "frequently called hook without a filter";
    EXEC_CALLER = "GW209", Note, "program filter at the entry of execve";
    RACY_HOOK = "GW210", Warning, "enforcement on a value that the program can still change";
    UNTYPED_ARG = "GW211", Error, "argument without a readable type", Targets::TETRAGON;
    DUPLICATE_ARG = "GW212", Error, "argument declared twice";
    ARG_FIELD = "GW213", Error, "argument fields that do not fit together";
    ARCH_NAME = "GW214", Warning, "name that exists on one architecture only";
    LSM_NAME = "GW215", Error, "invalid LSM hook name";
    COUNTED_TWICE = "GW216", Warning, "events already counted by another policy";
    SHARED_NAME = "GW217", Warning, "policies with the same name in the counter";
    REPLACED = "GW218", Warning, "policy that replaces another one of its name";
    OPERATOR_TYPE = "GW301", Error, "operator does not work on the type";
    NO_VALUES = "GW302", Error, "filter without values";
    UNDECLARED_ARG = "GW303", Error, "filter on an undeclared argument";
    BAD_NUMBER = "GW304", Error, "invalid number";
    BAD_ADDRESS = "GW305", Error, "invalid address or network";
    BAD_TEXT = "GW306", Error, "string that never matches";
    UNKNOWN_CONSTANT = "GW307", Error, "unknown constant";
    RETURN_FILTER = "GW308", Error, "filter on a return value that is not captured";
    DEAD_SELECTOR = "GW309", Warning, "selector after one that matches every call";
    NAMESPACE_INODE = "GW310", Warning, "namespace number that differs between nodes";
    PATH_ALIAS = "GW311", Warning, "path that is a link on most systems";
    UNREAD_ENTRIES = "GW312", Error, "more entries than Tetragon reads", Targets::TETRAGON;
    RETURN_ACTION = "GW313", Warning, "enforcement that Tetragon does not detect", Targets::TETRAGON;
    TETRAGON_NUMBER = "GW314", Warning, "number format that Tetragon does not accept here", Targets::TETRAGON;
    NEVER_MATCHES = "GW315", Warning, "filter that never matches";
    ALWAYS_HOLDS = "GW316", Warning, "filter that always matches";
    REDUNDANT_FILTER = "GW317", Note, "filter implied by another one";
    SUBSUMED_SELECTOR = "GW318", Warning, "selector covered by earlier selectors";
    ENUM_NUMBER = "GW319", Note, "number whose meaning depends on the kernel release";
    EXPRESSION = "GW320", Error, "invalid CEL expression", Targets::both(Versions::from(Version::new(1, 7)));
    UNFILTERED_SELECTOR = "GW321", Warning, "selector without a filter beside one with filters";
    RELATIVE_PATH = "GW322", Warning, "relative path in a filter on paths";
    LOOSE_POSTFIX = "GW323", Warning, "postfix that also matches other names";
    TOO_MANY_FIELDS = "GW401", Error, "too many fields on one kernel function", Targets::GATEWATCH;
    TOO_MANY_SELECTORS = "GW402", Error, "too many selectors on one kernel function", Targets::GATEWATCH;
    NO_EFFECT = "GW403", Note, "setting without effect", Targets::GATEWATCH;
    OVER_LIMIT = "GW404", Error, "limit exceeded", Targets::TETRAGON;
    NAME_TOO_LONG = "GW405", Error, "name too long for the node's file system", Targets::TETRAGON;
    MESSAGE_LENGTH = "GW406", Warning, "message or tag truncated or rejected", Targets::TETRAGON;
    RATE_LIMIT = "GW407", Error, "invalid rate limit", Targets::TETRAGON;
    NO_MESSAGE = "GW408", Note, "hook without a message";
    WIDE_RANGE = "GW409", Warning, "range that costs one map entry per value", Targets::TETRAGON;
    SELECTOR_BYTES = "GW410", Warning, "selectors too large for Tetragon", Targets::TETRAGON;
    NODE_BUDGET = "GW411", Warning, "costly feature, or one that a node has few of", Targets::TETRAGON;
    AGENT_SETTING = "GW412", Note, "feature that requires a Tetragon agent setting", Targets::tetragon(Versions::from(Version::new(1, 7)));
    TOO_MANY_POINTS = "GW413", Error, "lists with too many functions", Targets::GATEWATCH;
    ENFORCED_EVERYWHERE = "GW501", Warning, "enforcement on every process of every node";
    NOT_OVERRIDABLE = "GW502", Error, "function that cannot be overridden", Targets::TETRAGON;
    NO_ENFORCER = "GW503", Error, "missing or invalid enforcer", Targets::TETRAGON;
    EGRESS = "GW504", Warning, "privileged agent made to access the network", Targets::TETRAGON;
    ACTION_FIELD = "GW505", Error, "action with a missing or invalid argument";
    ACTION_PLACE = "GW506", Error, "action not supported by this kind of hook", Targets::TETRAGON;
    NODE_LABELS = "GW507", Note, "enforcement that node labels turn off";
    SOCKET_TRACKING = "GW508", Warning, "sockets tracked but never untracked, or the reverse", Targets::TETRAGON;
    NOT_PERFORMED = "GW509", Warning, "action that is not performed, only counted", Targets::GATEWATCH;
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
