//! Types as text and as what they are.

use super::{
    KernelTypes,
    blob::{Tag, Type},
};
use crate::{CType, Kind, Pointee};

/// Maximum depth of nested declarators. Deeper ones, which no kernel has, are cut.
const DEPTH: u32 = 24;
/// Maximum bytes of text for one type, because types can refer to each other in cycles.
const LENGTH: usize = 2048;

/// GCC's names of the integer types, which BTF has, and the names that the kernel uses.
const INTEGERS: [(&str, &str); 10] = [
    ("_Bool", "bool"),
    ("short int", "short"),
    ("short unsigned int", "unsigned short"),
    ("long int", "long"),
    ("long unsigned int", "unsigned long"),
    ("long long int", "long long"),
    ("long long unsigned int", "unsigned long long"),
    ("__int128 unsigned", "unsigned __int128"),
    ("signed char", "signed char"),
    ("unsigned int", "unsigned int"),
];

impl KernelTypes {
    /// A type by its id.
    pub(crate) fn ctype(&self, id: u32) -> CType {
        CType { text: self.declare(id, String::new(), DEPTH), kind: self.kind(id) }
    }

    /// The kind of a type.
    fn kind(&self, id: u32) -> Kind {
        let Some((_, ty)) = self.blob.resolve(id) else { return Kind::Other };
        match ty.tag {
            Tag::Void => Kind::Void,
            Tag::Int => integer(ty),
            Tag::Enum | Tag::Enum64 => {
                Kind::Enum { name: ty.name.to_owned(), bits: bits(ty.size_or_type).unwrap_or(32) }
            }
            Tag::Ptr => Kind::Pointer(self.pointee(ty.size_or_type)),
            Tag::Struct => Kind::Struct { name: self.tag_or_typedef(id, ty), size: ty.size_or_type },
            Tag::Union => Kind::Union { name: self.tag_or_typedef(id, ty), size: ty.size_or_type },
            _ => Kind::Other,
        }
    }

    fn pointee(&self, id: u32) -> Pointee {
        let Some((_, ty)) = self.blob.resolve(id) else { return Pointee::Other };
        match ty.tag {
            Tag::Void => Pointee::Void,
            Tag::Int if ty.name == "char" => Pointee::Char,
            Tag::Int => match integer(ty) {
                Kind::Int { bits, signed } => Pointee::Int { bits, signed },
                _ => Pointee::Other,
            },
            Tag::Struct => Pointee::Struct(self.tag_or_typedef(id, ty)),
            Tag::Union => Pointee::Union(self.tag_or_typedef(id, ty)),
            Tag::Fwd if ty.flag => Pointee::Union(ty.name.to_owned()),
            Tag::Fwd => Pointee::Struct(ty.name.to_owned()),
            Tag::FuncProto => Pointee::Function,
            _ => Pointee::Other,
        }
    }

    /// The tag, or for a structure without one the name of the last typedef that resolves to it.
    fn tag_or_typedef(&self, mut id: u32, aggregate: Type<'_>) -> String {
        let mut name = aggregate.name;
        if name.is_empty() {
            for _ in 0..64 {
                let Some(ty) = self.blob.get(id) else { break };
                match ty.tag {
                    Tag::Typedef => name = ty.name,
                    Tag::Volatile | Tag::Const | Tag::Restrict | Tag::TypeTag => {}
                    _ => break,
                }
                id = ty.size_or_type;
            }
        }
        name.to_owned()
    }

    /// The C declaration of `inner` (a name, a declarator around one, or nothing) with this type, from the inside out.
    fn declare(&self, id: u32, inner: String, depth: u32) -> String {
        let (Some(ty), Some(depth)) = (self.blob.get(id), depth.checked_sub(1)) else {
            return format!("? {inner}");
        };
        if inner.len() > LENGTH {
            return inner;
        }
        let base = |text: &str| {
            if inner.is_empty() { text.to_owned() } else { format!("{text} {inner}") }
        };
        match ty.tag {
            Tag::Void => base("void"),
            Tag::Int => base(
                INTEGERS
                    .iter()
                    .find_map(|(gcc, kernel)| (*gcc == ty.name).then_some(*kernel))
                    .unwrap_or(ty.name),
            ),
            Tag::Struct => base(&tagged("struct", ty.name)),
            Tag::Union => base(&tagged("union", ty.name)),
            Tag::Enum | Tag::Enum64 => base(&tagged("enum", ty.name)),
            Tag::Fwd => base(&tagged(if ty.flag { "union" } else { "struct" }, ty.name)),
            Tag::Ptr => {
                let target = self.blob.get(ty.size_or_type).map(|ty| ty.tag);
                let inner = if matches!(target, Some(Tag::FuncProto | Tag::Array)) {
                    format!("(*{inner})")
                } else {
                    format!("*{inner}")
                };
                self.declare(ty.size_or_type, inner, depth)
            }
            Tag::Const => self.qualify("const", ty, inner, depth),
            Tag::Volatile => self.qualify("volatile", ty, inner, depth),
            // `__user`, `__rcu` and the like are type tags; the BTF of kernels that GCC built has none, so for all.
            Tag::Restrict | Tag::TypeTag => self.declare(ty.size_or_type, inner, depth),
            Tag::Array => {
                let (element, length) = (ty.word(0).unwrap_or(0), ty.word(2).unwrap_or(0));
                self.declare(element, format!("{inner}[{length}]"), depth)
            }
            Tag::FuncProto => {
                let mut params = String::new();
                for [_, param] in ty.groups::<2>() {
                    if params.len() > LENGTH {
                        break;
                    }
                    if !params.is_empty() {
                        params.push_str(", ");
                    }
                    let text =
                        if param == 0 { "...".to_owned() } else { self.declare(param, String::new(), depth) };
                    params.push_str(&text);
                }
                let params = if params.is_empty() { "void" } else { &params };
                self.declare(ty.size_or_type, format!("{inner}({params})"), depth)
            }
            Tag::Typedef | Tag::Float | Tag::Func | Tag::Var | Tag::Datasec | Tag::DeclTag => base(ty.name),
        }
    }

    fn qualify(&self, word: &str, ty: Type<'_>, inner: String, depth: u32) -> String {
        if self.blob.get(ty.size_or_type).is_some_and(|ty| ty.tag == Tag::Ptr) {
            // The pointer itself is constant: `char *const`.
            let inner = if inner.is_empty() { word.to_owned() } else { format!("{word} {inner}") };
            self.declare(ty.size_or_type, inner, depth)
        } else {
            format!("{word} {}", self.declare(ty.size_or_type, inner, depth))
        }
    }

    /// A type from the text that the tracing file system gives for a system call's parameters
    /// (`events/syscalls/*/format`): qualifiers, one name, stars.
    pub(crate) fn parse_ctype(&self, text: &str) -> CType {
        let stars = text.bytes().filter(|byte| *byte == b'*').count();
        let spaced = text.replace('*', " * ");
        let mut words: Vec<&str> = spaced.split_whitespace().collect();
        // `char * *` is written `char **`, `char *const *` stays.
        let written = words.join(" ").replace("* *", "**").replace("* const", "*const");
        words.retain(|word| !matches!(*word, "*" | "const" | "volatile"));
        let base = self.named(&words);
        let kind = match (stars, base) {
            (0, base) => base.map_or(Kind::Other, |id| self.kind(id)),
            (1, Some(id)) => Kind::Pointer(self.pointee(id)),
            // A structure that is not in this kernel's types, because it is only passed to a module.
            (1, None) => Kind::Pointer(match words.as_slice() {
                ["struct", name] => Pointee::Struct((*name).to_owned()),
                ["union", name] => Pointee::Union((*name).to_owned()),
                _ => Pointee::Other,
            }),
            _ => Kind::Pointer(Pointee::Other),
        };
        CType { text: written, kind }
    }

    /// The id of a type by the words of its name.
    fn named(&self, words: &[&str]) -> Option<u32> {
        let find = |tag, name: &str| self.names.find(&self.blob, tag, name);
        match words {
            ["void"] => Some(0),
            ["struct", name] => find(Tag::Struct, name).or_else(|| find(Tag::Fwd, name)),
            ["union", name] => find(Tag::Union, name).or_else(|| find(Tag::Fwd, name)),
            ["enum", name] => find(Tag::Enum, name).or_else(|| find(Tag::Enum64, name)),
            ["unsigned"] => find(Tag::Int, "unsigned int"),
            [name] => find(Tag::Typedef, name).or_else(|| find(Tag::Int, gcc_name(name))),
            words => find(Tag::Int, gcc_name(&words.join(" "))),
        }
    }
}

fn gcc_name(kernel: &str) -> &str {
    INTEGERS.iter().find_map(|(gcc, name)| (*name == kernel).then_some(*gcc)).unwrap_or(kernel)
}

fn tagged(keyword: &str, name: &str) -> String {
    if name.is_empty() { format!("{keyword} {{…}}") } else { format!("{keyword} {name}") }
}

/// An integer's size and sign (`BTF_INT_*`: encoding in bits 24 to 27: 1 signed, 4 bool).
fn integer(ty: Type<'_>) -> Kind {
    let encoding = (ty.word(0).unwrap_or(0) >> 24) & 0xf;
    match bits(ty.size_or_type) {
        _ if encoding & 4 != 0 || ty.name == "_Bool" => Kind::Bool,
        Some(bits) => Kind::Int { bits, signed: encoding & 1 != 0 },
        None => Kind::Other,
    }
}

fn bits(bytes: u32) -> Option<u8> {
    bytes.checked_mul(8).and_then(|bits| u8::try_from(bits).ok()).filter(|bits| *bits > 0)
}
