//! Protojson's encoding, as far as serde's own differs: 64-bit integers are strings, bytes are base64, and what has
//! its default is left out.

use std::fmt;

use serde::{Deserializer, Serializer, de};

/// Text of the kernel, which is bytes, as a record holds it: bytes that are not UTF-8 become U+FFFD, as in Tetragon's
/// records. JSON has no other way to hold them.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a field has its default, and is left out.
pub(crate) fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A 64-bit integer as a string of decimal digits. When reading, a number is accepted too, as protojson does.
pub(crate) mod decimal {
    use std::{fmt::Display, marker::PhantomData};

    use super::{Deserializer, Serializer, de, fmt};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: TryFrom<i128>,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_any(Decimal(PhantomData))
    }

    struct Decimal<T>(PhantomData<T>);

    impl<T: TryFrom<i128>> Decimal<T> {
        fn narrow<E: de::Error>(value: i128) -> Result<T, E> {
            T::try_from(value)
                .map_err(|_| E::custom(format_args!("integer {value} is out of range for this field")))
        }
    }

    impl<T: TryFrom<i128>> de::Visitor<'_> for Decimal<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("an integer, as a string or a number")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            let value = text
                .parse()
                .map_err(|_| E::custom(format_args!("invalid integer {text:?}: expected decimal digits")))?;
            Self::narrow(value)
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
            Self::narrow(value.into())
        }

        fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
            Self::narrow(value.into())
        }
    }
}

/// Bytes as standard base64 with padding. When reading, the alphabet of URLs and missing padding are accepted too, as
/// protojson does.
pub(crate) mod bytes {
    use base64::{
        Engine as _, alphabet,
        engine::{
            DecodePaddingMode,
            general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
        },
    };

    use super::{Deserializer, Serializer, de, fmt};

    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_str(Base64)
    }

    struct Base64;

    impl de::Visitor<'_> for Base64 {
        type Value = Vec<u8>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("bytes in base64")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<u8>, E> {
            let standard = text.replace('-', "+").replace('_', "/");
            LENIENT.decode(standard).map_err(|error| E::custom(format_args!("invalid base64: {error}")))
        }
    }
}

/// An enumeration of the proto file, which has the name of its value. A number without a name is written as the
/// number.
macro_rules! proto_enum {
    ($type:ident, $($number:literal => $name:ident = $text:literal;)*) => {
        impl $type {
            /// The name in records.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The value of a name.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$name),)* _ => None }
            }

            /// The value of a number of the proto file.
            pub fn numbered(number: u64) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = crate::json::Name::deserialize(deserializer)?;
                Ok(match name {
                    crate::json::Name::Text(text) => Self::named(&text),
                    crate::json::Name::Number(number) => Self::numbered(number),
                }
                .unwrap_or_default())
            }
        }
    };
}
pub(crate) use proto_enum;

/// What an enumeration has in JSON: a name, or the number of a value that the writer had no name for.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub(crate) enum Name {
    Text(String),
    Number(u64),
}
