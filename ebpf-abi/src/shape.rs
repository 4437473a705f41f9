//! The fields that a matcher's code can read. The kernel keeps a program as it was loaded, with all code that its
//! [`MatcherConfig`] does not use. So there are smaller variants, and each function gets the smallest that supports its
//! policies.

use crate::{
    IntSlot, MatcherConfig, TextSlot,
    consts::{
        ADDR_NONE, ADDR_SLOTS, FROM_NOWHERE, INT_ARG, INT_CAPS_ARG, INT_CAPS_GAINED, INT_DESCENDS,
        INT_FILE_TYPE, INT_NONE, INT_RETURN, INT_SKB, INT_SLOTS, INT_SOCKADDR, INT_SOCKET, INT_SYSCALL,
        INT_WAY, TABLE_DIRECT, TABLE_HASH, TABLE_INLINE, TEXT_DESCRIPTOR, TEXT_HAS_POSTFIX, TEXT_NONE,
        TEXT_SLOTS,
    },
    is_path,
};

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Integer slots.
    pub ints: usize,
    /// Whether integers are arguments and results that are looked up value by value.
    pub plain: bool,
    /// Whether integers are supported that few policies match: types of files, ancestors, parts of packets, sets of
    /// capabilities that are arguments, sockets behind a `struct socket`, addresses in a `struct sockaddr`, numbers of system calls, and ways.
    pub rare: bool,
    /// String slots.
    pub texts: usize,
    /// Address slots.
    pub addrs: usize,
    /// Whether strings are paths of which only the beginning is compared.
    pub beginnings: bool,
}

impl Shape {
    /// A few integers.
    pub const INTEGERS: Self =
        Self { ints: 3, plain: false, rare: false, texts: 0, addrs: 0, beginnings: true };
    /// Beginnings of one or two paths, and a plain integer.
    pub const PATHS: Self = Self { ints: 1, plain: true, rare: false, texts: 2, addrs: 0, beginnings: true };
    /// All that a configuration can hold.
    pub const EVERYTHING: Self = Self {
        ints: INT_SLOTS,
        plain: false,
        rare: true,
        texts: TEXT_SLOTS,
        addrs: ADDR_SLOTS,
        beginnings: false,
    };

    /// Whether a matcher of this shape can read all fields of a configuration. Slots are used in their order.
    pub fn can_do(&self, config: &MatcherConfig) -> bool {
        let ints = || config.ints.iter().filter(|slot| slot.source != INT_NONE);
        let addrs = config.addrs.iter().filter(|slot| slot.source != ADDR_NONE).count();
        let texts = || config.texts.iter().filter(|slot| slot.source != TEXT_NONE);
        let is_plain = |slot: &IntSlot| {
            matches!(slot.source, INT_ARG | INT_RETURN)
                && matches!(slot.table, TABLE_INLINE | TABLE_HASH | TABLE_DIRECT)
        };
        let is_beginning = |slot: &TextSlot| {
            is_path(slot.source)
                && slot.source != TEXT_DESCRIPTOR
                && slot.way_from == FROM_NOWHERE
                && slot.tables & TEXT_HAS_POSTFIX == 0
        };
        let rare = [
            INT_FILE_TYPE,
            INT_DESCENDS,
            INT_SKB,
            INT_CAPS_ARG,
            INT_CAPS_GAINED,
            INT_SOCKET,
            INT_SOCKADDR,
            INT_SYSCALL,
            INT_WAY,
        ];
        let is_rare = |slot: &IntSlot| rare.contains(&slot.source);
        ints().count() <= self.ints
            && (self.rare || !ints().any(is_rare))
            && (!self.plain || ints().all(is_plain))
            && addrs <= self.addrs
            && texts().count() <= self.texts
            && (!self.beginnings || texts().all(is_beginning))
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;
    use crate::{
        IntSlot, MatcherConfig, TextSlot,
        consts::{
            INT_ARG, INT_CAPS_ARG, INT_CAPS_GAINED, INT_FILE_TYPE, INT_NAMESPACE, INT_SOCKADDR, INT_SOCKET,
            TABLE_HASH, TABLE_MASK, TABLE_RANGE, TEXT_DESCRIPTOR, TEXT_FILE, TEXT_HAS_POSTFIX,
            TEXT_HAS_PREFIX, TEXT_KERNEL,
        },
    };

    fn ints(count: usize) -> MatcherConfig {
        let mut config = MatcherConfig::default();
        config.ints.iter_mut().take(count).for_each(|slot| slot.source = INT_ARG);
        config
    }

    fn text(source: u32, tables: u32) -> MatcherConfig {
        let mut config = ints(1);
        config.texts[0] = TextSlot { source, tables, ..TextSlot::default() };
        config
    }

    fn int(source: u32, table: u32) -> MatcherConfig {
        let mut config = MatcherConfig::default();
        config.ints[0] = IntSlot { source, table, ..IntSlot::default() };
        config
    }

    #[test]
    fn what_is_wanted_must_be_there() {
        let expected: Vec<(MatcherConfig, bool, bool)> = vec![
            (ints(0), true, true),
            (ints(1), true, true),
            (ints(3), true, false),
            (ints(4), false, false),
            (int(INT_ARG, TABLE_HASH), true, true),
            (int(INT_ARG, TABLE_MASK), true, false),
            (int(INT_ARG, TABLE_RANGE), true, false),
            (int(INT_NAMESPACE, TABLE_HASH), true, false),
            (int(INT_FILE_TYPE, TABLE_HASH), false, false),
            (int(INT_CAPS_ARG, TABLE_MASK), false, false),
            (int(INT_SOCKET, TABLE_HASH), false, false),
            (int(INT_SOCKADDR, TABLE_HASH), false, false),
            (int(INT_CAPS_GAINED, TABLE_HASH), false, false),
            (text(TEXT_FILE, TEXT_HAS_PREFIX), false, true),
            (text(TEXT_FILE, TEXT_HAS_PREFIX | TEXT_HAS_POSTFIX), false, false),
            (text(TEXT_KERNEL, TEXT_HAS_PREFIX), false, false),
            (text(TEXT_DESCRIPTOR, TEXT_HAS_PREFIX), false, false),
        ];
        for (config, integers, paths) in expected {
            assert_eq!(Shape::INTEGERS.can_do(&config), integers, "{config:?}");
            assert_eq!(Shape::PATHS.can_do(&config), paths, "{config:?}");
            assert!(Shape::EVERYTHING.can_do(&config));
        }
    }
}
