//! The operators of filters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The operators on an argument, a datum or a returned value. The policy engine, not the schema, checks which
/// operators fit which argument types.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ArgumentOperator {
    /// Equal to one of the values.
    Equal,
    /// Equal to none of the values.
    NotEqual,
    /// Begins with one of the values.
    Prefix,
    /// Begins with none of the values.
    NotPrefix,
    /// Ends with one of the values.
    Postfix,
    /// Ends with none of the values.
    NotPostfix,
    /// Greater than the value.
    GreaterThan,
    /// Less than the value.
    LessThan,
    /// Greater than the value.
    GT,
    /// Less than the value.
    LT,
    /// Has a bit in common with one of the values.
    Mask,
    /// The source port is one of the values.
    SPort,
    /// The source port is none of the values.
    NotSPort,
    /// The source port is privileged (below 1024).
    SPortPriv,
    /// The source port is not privileged.
    NotSportPriv,
    /// The destination port is one of the values.
    DPort,
    /// The destination port is none of the values.
    NotDPort,
    /// The destination port is privileged (below 1024).
    DPortPriv,
    /// The destination port is not privileged.
    NotDPortPriv,
    /// The source address is in one of the networks.
    SAddr,
    /// The source address is in none of the networks.
    NotSAddr,
    /// The destination address is in one of the networks.
    DAddr,
    /// The destination address is in none of the networks.
    NotDAddr,
    /// The protocol is one of the values.
    Protocol,
    /// The address family is one of the values.
    Family,
    /// The TCP state is one of the values.
    State,
    /// One of many numbers.
    InMap,
    /// None of many numbers.
    NotInMap,
    /// The second capability set has capabilities that the first does not have.
    CapabilitiesGained,
    /// In one of the ranges.
    InRange,
    /// In none of the ranges.
    NotInRange,
    /// Contains one of the values.
    SubString,
    /// Contains one of the values, ignoring case.
    SubStringIgnCase,
    /// An expression over the arguments is true.
    CelExpr,
    /// The file is of one of the types.
    FileType,
    /// The file is of none of the types.
    NotFileType,
}

/// The operators on a binary.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum BinaryOperator {
    /// Is one of the paths.
    In,
    /// Is none of the paths.
    NotIn,
    /// Begins with one of the values.
    Prefix,
    /// Begins with none of the values.
    NotPrefix,
    /// Ends with one of the values.
    Postfix,
    /// Ends with none of the values.
    NotPostfix,
}

/// Whether a set must contain a value.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum SetOperator {
    /// One of the values.
    In,
    /// None of the values.
    NotIn,
}
