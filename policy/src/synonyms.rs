//! Synonyms of the language's words for operators, actions, types and namespaces. [`nearest`](crate::nearest::nearest)
//! finds likely typos.

use crate::{
    labels::namespace_help,
    model::{ActionKind, ArgType, LabelOperator, NamespaceKind, Operator},
};

/// The word of the language that has the same meaning as one that isn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synonym {
    /// The word of the language, if there is one for it.
    pub(crate) word: Option<&'static str>,
    /// What to write, and why.
    pub(crate) help: String,
}

/// What a word should name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordKind {
    /// An operator of a filter; the values may be numbers or texts.
    Operator {
        /// Whether all values are numbers or ranges.
        numbers: bool,
    },
    /// An action.
    Action,
    /// The type of an argument.
    Type,
    /// A kind of kernel namespace.
    Namespace,
    /// Anything else.
    Other,
}

impl WordKind {
    /// How a person calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Operator { .. } => "operator",
            Self::Action => "action",
            Self::Type => "type",
            Self::Namespace => "kind of namespace",
            Self::Other => "word",
        }
    }
}

/// The word that has the same meaning as `text`, out of those that are allowed in its place.
pub(crate) fn synonym(kind: WordKind, text: &str, words: &[&'static str]) -> Option<Synonym> {
    let folded = fold(text);
    let has = |word: &str| words.contains(&word);
    let synonym = match kind {
        WordKind::Operator { numbers } => operator(&folded, numbers, &has),
        WordKind::Action => action(&folded),
        WordKind::Type => ty(&folded),
        WordKind::Namespace => namespace(&folded),
        WordKind::Other => None,
    }?;
    let allowed = synonym.word.is_none_or(has);
    allowed.then_some(synonym)
}

fn fold(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '_' | '-' | ' ' | '*')).map(|c| c.to_ascii_lowercase()).collect()
}

/// A synonym with its plain help, and a reason where there is one.
fn word(word: &'static str, reason: &str) -> Synonym {
    let reason = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    Synonym { word: Some(word), help: format!("did you mean `{word}`{reason}?") }
}

fn none(help: &str) -> Synonym {
    Synonym { word: None, help: help.to_owned() }
}

fn operator(folded: &str, numbers: bool, has: &dyn Fn(&str) -> bool) -> Option<Synonym> {
    // Of labels, of arguments, or of the calling process.
    let (labels, args) = (has(LabelOperator::DoesNotExist.name()), has(Operator::InMap.name()));
    let synonym = match folded {
        "in" | "oneof" | "anyof" if args && numbers => {
            word(Operator::InMap.name(), "one of several numbers; for strings it is `Equal`")
        }
        "in" | "oneof" | "anyof" if args => {
            word(Operator::Equal.name(), "one of several strings; for numbers it is `InMap`")
        }
        "notin" | "noneof" if args && numbers => {
            word(Operator::NotInMap.name(), "none of several numbers; for strings it is `NotEqual`")
        }
        "notin" | "noneof" if args => {
            word(Operator::NotEqual.name(), "none of several strings; for numbers it is `NotInMap`")
        }
        "eq" | "equal" | "equals" | "is" | "=" | "==" if args => word(Operator::Equal.name(), ""),
        "eq" | "equal" | "equals" | "is" | "=" | "==" | "inmap" => word(Operator::In.name(), ""),
        "ne" | "neq" | "notequal" | "notequals" | "isnot" | "!=" if args => {
            word(Operator::NotEqual.name(), "")
        }
        "ne" | "neq" | "notequal" | "notequals" | "isnot" | "!=" | "notinmap" => {
            word(Operator::NotIn.name(), "")
        }
        "notexists" | "notexist" | "doesnotexists" | "absent" | "missing" if labels => {
            word(LabelOperator::DoesNotExist.name(), "")
        }
        "startswith" | "beginswith" | "hasprefix" | "starts" | "begins" => word(Operator::Prefix.name(), ""),
        "notstartswith" | "doesnotstartwith" | "notbeginswith" | "nothasprefix" => {
            word(Operator::NotPrefix.name(), "")
        }
        "endswith" | "hassuffix" | "suffix" | "ends" => word(Operator::Postfix.name(), ""),
        "notendswith" | "doesnotendwith" | "notsuffix" | "nothassuffix" => {
            word(Operator::NotPostfix.name(), "")
        }
        "contains" | "includes" | "substr" | "has" if args => word(Operator::SubString.name(), ""),
        "icontains" | "containsignorecase" | "substringignorecase" if args => {
            word(Operator::SubStringIgnCase.name(), "")
        }
        "notcontains" | "doesnotcontain" | "notsubstring" if args => none(
            "no operator excludes a part of a string: write a selector with `SubString` and the action `NoPost` before this one",
        ),
        "contains" | "includes" | "substring" if has(Operator::Prefix.name()) => {
            none("write `Prefix` for the beginning of the path or `Postfix` for its end")
        }
        "regex" | "regexp" | "matches" | "match" | "like" | "glob" | "pattern" | "wildcard" | "=~"
            if args || has(Operator::Prefix.name()) =>
        {
            none(if args {
                "no operator takes patterns: write the fixed parts with `Prefix`, `Postfix` or `SubString`"
            } else {
                "no operator takes patterns: write the fixed parts with `Prefix` or `Postfix`"
            })
        }
        ">" | "greater" | "morethan" | "above" if args => word(Operator::Gt.name(), ""),
        "<" | "less" | "below" if args => word(Operator::Lt.name(), ""),
        ">=" | "gte" | "ge" | "greaterorequal" | "greaterthanorequal" | "atleast" if args => {
            none("write `GT` with the number before it, or `InRange` with `min:max`")
        }
        "<=" | "lte" | "le" | "lessorequal" | "lessthanorequal" | "atmost" if args => {
            none("write `LT` with the number after it, or `InRange` with `min:max`")
        }
        "between" | "range" if args => word(Operator::InRange.name(), "the value is `min:max`"),
        "notbetween" | "notrange" if args => word(Operator::NotInRange.name(), "the value is `min:max`"),
        "&" | "bitmask" | "bitand" | "hasbits" | "anybit" if args => word(Operator::Mask.name(), ""),
        "cidr" | "ip" | "addr" | "address" | "network" | "subnet" if args => {
            none("write `SAddr` for the source or `DAddr` for the destination")
        }
        "port" | "ports" if args => none("write `SPort` for the source or `DPort` for the destination"),
        _ => return None,
    };
    Some(synonym)
}

fn action(folded: &str) -> Option<Synonym> {
    let synonym = match folded {
        "kill" | "terminate" | "killprocess" => word(ActionKind::Sigkill.name(), ""),
        "sigterm" | "term" => word(ActionKind::Signal.name(), "with `argSig: 15`"),
        "sigstop" | "stop" | "pause" => word(ActionKind::Signal.name(), "with `argSig: 19`"),
        "block" | "deny" | "drop" | "reject" | "prevent" | "forbid" => word(
            ActionKind::Override.name(),
            "with `argError: -1`, the call fails with \"operation not permitted\"",
        ),
        "log" | "alert" | "audit" | "report" | "event" | "observe" | "count" => {
            word(ActionKind::Post.name(), "")
        }
        "ignore" | "skip" | "none" | "allow" | "nothing" | "silence" => {
            word(ActionKind::NoPost.name(), "a match isn't reported, and later selectors don't see it")
        }
        "notifykiller" => word(ActionKind::NotifyEnforcer.name(), "its name since Tetragon 1.1"),
        "followfd" | "unfollowfd" | "copyfd" => none(
            "Tetragon 1.8 removed it: declare the argument with `type: fd` instead, without hooks that follow descriptors",
        ),
        "url" | "http" | "webhook" => word(ActionKind::GetUrl.name(), ""),
        "dns" | "resolve" => word(ActionKind::DnsLookup.name(), ""),
        _ => return None,
    };
    Some(synonym)
}

fn ty(folded: &str) -> Option<Synonym> {
    let bare = folded.trim_start_matches("const").trim_start_matches("struct");
    let synonym = match bare {
        "integer" | "i32" | "s32" | "signed" | "signedint" | "pidt" | "number" | "int32t" => {
            word(ArgType::Int.name(), "")
        }
        "u32" | "uint" | "unsigned" | "unsignedint" | "uidt" | "gidt" | "uint32t" | "kuidt" | "kgidt" => {
            word(ArgType::Uint32.name(), "")
        }
        "u64" | "unsignedlong" | "unsignedlonglong" | "uint64t" => word(ArgType::Uint64.name(), ""),
        "i64" | "s64" | "longlong" | "int64t" | "loff" | "lofft" | "offt" | "ssizet" => {
            word(ArgType::Int64.name(), "")
        }
        "u16" | "unsignedshort" | "ushort" | "uint16t" | "umode" | "umodet" | "modet" => {
            word(ArgType::Uint16.name(), "")
        }
        "i16" | "s16" | "short" | "int16t" => word(ArgType::Int16.name(), ""),
        "u8" | "byte" | "uchar" | "unsignedchar" | "uint8t" | "bool" | "boolean" => {
            word(ArgType::Uint8.name(), "")
        }
        "i8" | "s8" | "int8t" => word(ArgType::Int8.name(), ""),
        "str" | "text" | "cstring" | "char" | "charptr" | "comm" => word(ArgType::String.name(), ""),
        "buf" | "buffer" | "bytes" | "void" | "charbuffer" => {
            word(ArgType::CharBuf.name(), "with `sizeArgIndex`, which says how long it is")
        }
        "skbuff" | "packet" => word(ArgType::Skb.name(), ""),
        "bprm" | "binprm" | "linuxbinprm" => word(ArgType::LinuxBinprm.name(), ""),
        "cap" | "caps" => word(ArgType::Capability.name(), ""),
        "userns" => word(ArgType::UserNamespace.name(), ""),
        "filedescriptor" => word(ArgType::Fd.name(), ""),
        "file" => word(ArgType::File.name(), ""),
        "path" => word(ArgType::Path.name(), ""),
        "dentry" => word(ArgType::Dentry.name(), ""),
        "sock" => word(ArgType::Sock.name(), ""),
        "socket" => word(ArgType::Socket.name(), ""),
        "sockaddr" => word(ArgType::Sockaddr.name(), ""),
        "cred" => word(ArgType::Cred.name(), ""),
        "module" => word(ArgType::Module.name(), ""),
        _ => return None,
    };
    Some(synonym)
}

fn namespace(folded: &str) -> Option<Synonym> {
    let synonym = match folded {
        "mount" | "mounts" | "fs" => word(NamespaceKind::Mnt.name(), ""),
        "network" => word(NamespaceKind::Net.name(), ""),
        "process" | "pidns" => word(NamespaceKind::Pid.name(), ""),
        "hostname" => word(NamespaceKind::Uts.name(), ""),
        "kube" | "k8s" | "kubernetes" | "namespace" | "pod" => none(&namespace_help("NAME")),
        _ => return None,
    };
    Some(synonym)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word_of(kind: WordKind, text: &str, words: &[&'static str]) -> Option<&'static str> {
        synonym(kind, text, words).and_then(|synonym| synonym.word)
    }

    #[test]
    fn operators_by_their_values() {
        let of = |text: &str, numbers| word_of(WordKind::Operator { numbers }, text, Operator::NAMES);
        assert_eq!(of("In", true), Some("InMap"));
        assert_eq!(of("In", false), Some("Equal"));
        assert_eq!(of("NotIn", true), Some("NotInMap"));
        assert_eq!(of("NotIn", false), Some("NotEqual"));
        for (text, expected) in [
            ("StartsWith", "Prefix"),
            ("endswith", "Postfix"),
            ("Suffix", "Postfix"),
            ("Contains", "SubString"),
            ("==", "Equal"),
            ("between", "InRange"),
        ] {
            assert_eq!(of(text, false), Some(expected), "{text}");
        }
        let regex = synonym(WordKind::Operator { numbers: false }, "Regex", Operator::NAMES).unwrap();
        assert!(regex.word.is_none() && regex.help.contains("`SubString`"), "{regex:?}");
        assert_eq!(synonym(WordKind::Operator { numbers: false }, "Whatever", Operator::NAMES), None);
    }

    #[test]
    fn only_words_that_are_allowed_there() {
        let (process, labels) = (["In", "NotIn"], LabelOperator::NAMES);
        let operator = WordKind::Operator { numbers: false };
        assert_eq!(word_of(operator, "Equal", &process), Some("In"));
        assert_eq!(synonym(operator, "StartsWith", &process), None);
        assert_eq!(word_of(operator, "NotEquals", labels), Some("NotIn"));
        assert_eq!(word_of(operator, "NotExists", labels), Some("DoesNotExist"));
    }

    #[test]
    fn other_words() {
        let actions = ["Post", "NoPost", "Sigkill", "Signal", "Override", "NotifyEnforcer"];
        assert_eq!(word_of(WordKind::Action, "kill", &actions), Some("Sigkill"));
        assert_eq!(word_of(WordKind::Action, "Deny", &actions), Some("Override"));
        assert_eq!(word_of(WordKind::Action, "NotifyKiller", &actions), Some("NotifyEnforcer"));
        for (text, expected) in
            [("struct file *", "file"), ("u32", "uint32"), ("const char *", "string"), ("sk_buff", "skb")]
        {
            assert_eq!(word_of(WordKind::Type, text, ArgType::NAMES), Some(expected), "{text}");
        }
        assert_eq!(word_of(WordKind::Namespace, "Mount", NamespaceKind::NAMES), Some("Mnt"));
        let kube = synonym(WordKind::Namespace, "Kube", NamespaceKind::NAMES).unwrap();
        assert!(kube.help.contains("TracingPolicyNamespaced"), "{kube:?}");
        assert!(kube.help.contains("k8s:io.kubernetes.pod.namespace"), "{kube:?}");
    }
}
