//! Parts of samples.

use gatewatch_events::{
    Value,
    argument::objects::{File, permission},
    bits::{CapabilitySet, SecureBits},
    process::{Capabilities, Credentials, Namespace, UserNamespace},
};

pub(crate) fn credentials() -> Credentials {
    Credentials {
        uid: Some(0),
        gid: Some(0),
        euid: Some(0),
        egid: Some(0),
        suid: Some(0),
        sgid: Some(0),
        fsuid: Some(0),
        fsgid: Some(0),
        securebits: SecureBits::new(0b1),
        caps: Some(capabilities()),
        user_ns: Some(user_namespace()),
    }
}

pub(crate) fn capabilities() -> Capabilities {
    Capabilities {
        permitted: CapabilitySet::new(0x1ff_ffff_ffff),
        effective: CapabilitySet::new(0b11),
        inheritable: CapabilitySet::new(0),
    }
}

pub(crate) fn user_namespace() -> UserNamespace {
    UserNamespace { level: Some(0), uid: Some(0), gid: Some(0), ns: Some(namespace()) }
}

pub(crate) fn namespace() -> Namespace {
    Namespace { inum: 4_026_531_837, is_host: true }
}

pub(crate) fn file(path: &str) -> File {
    File { path: path.to_owned(), permission: permission(0o100_644), ..File::default() }
}

pub(crate) fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}
