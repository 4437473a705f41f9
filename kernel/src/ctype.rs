//! Types of the kernel's C, as far as a policy's argument types are checked against them.

use std::fmt;

/// The type of a parameter or a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CType {
    /// The type in the kernel's source, with its typedefs: `const struct path *`, `umode_t`.
    pub text: String,
    /// The kind without typedefs and qualifiers.
    pub kind: Kind,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name in the source.
    pub name: String,
    /// Its type.
    pub ty: CType,
}

/// A function's types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prototype {
    /// Its parameters.
    pub params: Vec<Param>,
    /// Its result.
    pub ret: CType,
    /// Whether the parameters end with `...`.
    pub variadic: bool,
}

/// The kind of a type without typedefs and qualifiers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// No value.
    Void,
    /// An integer. `char` is one of 8 bits.
    Int {
        /// 8 to 128.
        bits: u8,
        /// Whether it can be negative.
        signed: bool,
    },
    /// `bool`, one byte.
    Bool,
    /// An enumeration.
    Enum {
        /// Its tag, empty if it has none.
        name: String,
        /// 8 to 64.
        bits: u8,
    },
    /// A pointer.
    Pointer(Pointee),
    /// A structure that is passed by value.
    Struct {
        /// Its tag, or the name of the typedef if it has none.
        name: String,
        /// Bytes.
        size: u32,
    },
    /// A union that is passed by value.
    Union {
        /// Its tag, or the name of the typedef if it has none.
        name: String,
        /// Bytes.
        size: u32,
    },
    /// Anything else: an array, a float, or a type that BTF does not describe.
    Other,
}

/// The target of a pointer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pointee {
    /// `void *`.
    Void,
    /// `char *`, usually a string.
    Char,
    /// An integer other than `char`.
    Int {
        /// 8 to 128.
        bits: u8,
        /// Whether it can be negative.
        signed: bool,
    },
    /// A structure, by its tag or the name of its typedef.
    Struct(String),
    /// A union, by its tag or the name of its typedef.
    Union(String),
    /// A function.
    Function,
    /// Anything else, another pointer for instance.
    Other,
}

impl CType {
    /// `void`.
    pub fn void() -> Self {
        Self { text: "void".to_owned(), kind: Kind::Void }
    }

    /// The declaration of something of this type: `struct file *file`, `int (*open)(struct inode *)`.
    pub fn declare(&self, name: &str) -> String {
        let text = self.text.as_str();
        if name.is_empty() {
            text.to_owned()
        } else if let Some((before, after)) = text.split_once("(*)") {
            format!("{before}(*{name}){after}")
        } else if text.ends_with('*') {
            format!("{text}{name}")
        } else {
            format!("{text} {name}")
        }
    }
}

impl Kind {
    /// The number of argument registers of a value. 0 if it is not passed in registers (a structure of more than 16
    /// bytes, a float).
    pub(crate) const fn registers(&self) -> u8 {
        match self {
            Self::Int { bits, .. } if *bits > 64 => 2,
            Self::Int { .. } | Self::Bool | Self::Enum { .. } | Self::Pointer(_) => 1,
            Self::Struct { size, .. } | Self::Union { size, .. } => match *size {
                1..=8 => 1,
                9..=16 => 2,
                _ => 0,
            },
            Self::Void | Self::Other => 0,
        }
    }
}

impl fmt::Display for CType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_read_as_in_c() {
        for (text, name, expected) in [
            ("int", "mask", "int mask"),
            ("struct file *", "file", "struct file *file"),
            ("int (*)(struct inode *)", "open", "int (*open)(struct inode *)"),
            ("int", "", "int"),
        ] {
            let ty = CType { text: text.to_owned(), kind: Kind::Other };
            assert_eq!(ty.declare(name), expected);
        }
    }
}
