//! The names of fields, object by object.

use crate::model::Section;

/// An entry of `matchActions`.
pub(super) const ACTION: &[&str] = &[
    "action",
    "argUrl",
    "argFqdn",
    "argError",
    "argSig",
    "argSock",
    "argIndex",
    "argValue",
    "argRegs",
    "argNewSymbol",
    "argNewAddr",
    "argNewOffset",
    "argFd",
    "argName",
    "rateLimit",
    "rateLimitScope",
    "kernelStackTrace",
    "userStackTrace",
    "imaHash",
];

/// An entry of `selectors`.
pub(super) const SELECTOR: &[&str] = &[
    "label",
    "matchArgs",
    "matchData",
    "matchReturnArgs",
    "matchBinaries",
    "matchParentBinaries",
    "matchPIDs",
    "matchNamespaces",
    "matchCapabilities",
    "matchNamespaceChanges",
    "matchCapabilityChanges",
    "matchWorkloads",
    "matchActions",
    "matchReturnActions",
    "macros",
];

/// A label selector.
pub(super) const LABEL_SELECTOR: &[&str] = &["matchLabels", "matchExpressions"];

/// An entry of `args`.
pub(super) const ARG: &[&str] = &[
    "index",
    "type",
    "resolve",
    "sizeArgIndex",
    "returnCopy",
    "maxData",
    "label",
    "source",
    "btfType",
    "btfTypeModule",
];

/// An entry of `kprobes`.
pub(super) const KPROBE: &[&str] = &[
    "call",
    "syscall",
    "return",
    "message",
    "args",
    "data",
    "returnArg",
    "returnArgAction",
    "selectors",
    "tags",
    "ignore",
];

/// An entry of `tracepoints`.
pub(super) const TRACEPOINT: &[&str] = &["subsystem", "event", "raw", "message", "args", "selectors", "tags"];

/// An entry of `lsmhooks`.
pub(super) const LSM_HOOK: &[&str] = &["hook", "message", "args", "selectors", "tags"];

/// An entry of `uprobes`.
pub(super) const UPROBE: &[&str] = &[
    "path",
    "btfPath",
    "symbols",
    "offsets",
    "addrs",
    "refCtrOffsets",
    "message",
    "selectors",
    "args",
    "data",
    "tags",
    "return",
    "returnArg",
    "binaryDigests",
    "ignore",
];

/// An entry of `usdts`.
pub(super) const USDT: &[&str] =
    &["path", "btfPath", "provider", "name", "tags", "message", "args", "selectors"];

/// The object itself.
pub(super) const TOP: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];

/// Members of `ObjectMeta`, from the API reference of Kubernetes.
pub(super) const METADATA: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// `spec`.
pub(super) const SPEC: &[&str] = &[
    Section::Kprobes.name(),
    Section::Fentries.name(),
    Section::Tracepoints.name(),
    Section::LsmHooks.name(),
    Section::Uprobes.name(),
    Section::Usdts.name(),
    "loader",
    "podSelector",
    "containerSelector",
    "hostSelector",
    "nodeSelector",
    "lists",
    "enforcers",
    "options",
    "selectorsMacros",
];

/// An entry of `lists`.
pub(super) const LIST: &[&str] = &["name", "type", "values", "pattern", "validated"];
