//! Classes of argument types: the types on which the same operators work.

use crate::model::{ArgType, Operator};

/// Types on which the same operators work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// An integer.
    Int {
        /// 8 to 64.
        bits: u8,
        /// Whether it is signed.
        signed: bool,
    },
    /// A string.
    Text,
    /// A file: its path and its type.
    Path,
    /// A socket or packet: both ends.
    Socket,
    /// A `struct sockaddr`: one end.
    Address,
    /// A `struct sockaddr_un`.
    UnixSocket,
    /// Credentials and sets of capabilities.
    Capabilities,
    /// The number of a system call.
    Syscall,
    /// Types that are shown and can't be filtered, and those for which Tetragon's BPF programs have no filter.
    Opaque,
    /// Not known: nothing is reported.
    Any,
}

/// The class of a type.
pub(crate) const fn class(ty: ArgType) -> Class {
    match ty {
        ArgType::Int | ArgType::BpfCmd => Class::Int { bits: 32, signed: true },
        ArgType::Int8 => Class::Int { bits: 8, signed: true },
        ArgType::Uint8 => Class::Int { bits: 8, signed: false },
        ArgType::Int16 => Class::Int { bits: 16, signed: true },
        ArgType::Uint16 => Class::Int { bits: 16, signed: false },
        ArgType::Uint32 => Class::Int { bits: 32, signed: false },
        ArgType::Int64 => Class::Int { bits: 64, signed: true },
        ArgType::Uint64 | ArgType::SizeT => Class::Int { bits: 64, signed: false },
        ArgType::String | ArgType::CharBuf | ArgType::DataLoc | ArgType::NetDevice => Class::Text,
        ArgType::File | ArgType::Path | ArgType::Dentry | ArgType::Fd | ArgType::LinuxBinprm => Class::Path,
        ArgType::Sock | ArgType::Socket | ArgType::Skb => Class::Socket,
        ArgType::Sockaddr => Class::Address,
        ArgType::SockaddrUn => Class::UnixSocket,
        ArgType::Cred
        | ArgType::KernelCapT
        | ArgType::CapInheritable
        | ArgType::CapPermitted
        | ArgType::CapEffective => Class::Capabilities,
        ArgType::Syscall64 => Class::Syscall,
        ArgType::Auto | ArgType::Nop | ArgType::ConstBuf => Class::Any,
        ArgType::Filename
        | ArgType::Kiocb
        | ArgType::CharIovec
        | ArgType::Capability
        | ArgType::UserNamespace
        | ArgType::BpfAttr
        | ArgType::BpfProg
        | ArgType::BpfMap
        | ArgType::PerfEvent
        | ArgType::IovIter
        | ArgType::LoadInfo
        | ArgType::Module => Class::Opaque,
    }
}

impl Class {
    /// Whether an operator works on it.
    pub(crate) const fn takes(self, operator: Operator) -> bool {
        use Operator as O;
        match self {
            Self::Any => true,
            Self::Opaque => false,
            Self::Int { .. } => matches!(
                operator,
                O::Equal
                    | O::NotEqual
                    | O::Gt
                    | O::Lt
                    | O::Mask
                    | O::InMap
                    | O::NotInMap
                    | O::InRange
                    | O::NotInRange
                    | O::CelExpr
            ),
            Self::Text => is_text(operator),
            Self::Path => is_text(operator) || matches!(operator, O::FileType | O::NotFileType),
            Self::Socket => {
                is_source(operator)
                    || matches!(
                        operator,
                        O::DAddr
                            | O::NotDAddr
                            | O::DPort
                            | O::NotDPort
                            | O::DPortPriv
                            | O::NotDPortPriv
                            | O::Protocol
                            | O::Family
                            | O::State
                    )
            }
            Self::Address => is_source(operator) || matches!(operator, O::Family),
            Self::UnixSocket => {
                matches!(operator, O::Equal | O::NotEqual | O::Prefix | O::NotPrefix | O::Family)
            }
            Self::Capabilities => {
                matches!(operator, O::Equal | O::NotEqual | O::Gt | O::Lt | O::Mask | O::CapabilitiesGained)
            }
            Self::Syscall => matches!(operator, O::Equal | O::NotEqual | O::InMap | O::NotInMap),
        }
    }

    /// Whether Tetragon's BPF programs pass every call for this combination, since they have no case for it.
    pub(crate) const fn always_matches(self, operator: Operator) -> bool {
        // `Equal` is rejected on types that aren't known to be strings.
        let part = is_text(operator) && !matches!(operator, Operator::Equal | Operator::NotEqual);
        matches!(self, Self::Opaque | Self::Capabilities) && part
            || matches!(self, Self::Int { .. })
                && matches!(operator, Operator::NotPrefix | Operator::NotPostfix)
    }

    /// What works instead.
    pub(crate) const fn help(self) -> &'static str {
        match self {
            Self::Int { .. } => {
                "use one of Equal, NotEqual, GT, LT, Mask, InMap, NotInMap, InRange, NotInRange, CelExpr"
            }
            Self::Text => "use one of Equal, NotEqual, Prefix, NotPrefix, Postfix, NotPostfix, SubString",
            Self::Path => {
                "use one of Equal, NotEqual, Prefix, NotPrefix, Postfix, NotPostfix, SubString, FileType, NotFileType"
            }
            Self::Socket => {
                "use one of SAddr, DAddr, SPort, DPort and their Not forms, SPortPriv, DPortPriv and their Not forms, \
                 Protocol, Family, State"
            }
            Self::Address => "use one of SAddr, NotSAddr, SPort, NotSPort, SPortPriv, NotSportPriv, Family",
            Self::UnixSocket => "use one of Equal, NotEqual, Prefix, NotPrefix, Family",
            Self::Capabilities => "use one of Equal, NotEqual, GT, LT, Mask, CapabilitiesGained",
            Self::Syscall => "use InMap or NotInMap with `list:NAME`",
            Self::Opaque | Self::Any => {
                "no filter works on this type: filter on another argument or on `data`"
            }
        }
    }
}

const fn is_text(operator: Operator) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::Equal
            | O::NotEqual
            | O::Prefix
            | O::NotPrefix
            | O::Postfix
            | O::NotPostfix
            | O::SubString
            | O::SubStringIgnCase
    )
}

const fn is_source(operator: Operator) -> bool {
    use Operator as O;
    matches!(operator, O::SAddr | O::NotSAddr | O::SPort | O::NotSPort | O::SPortPriv | O::NotSPortPriv)
}
