//! Tables of addresses: a trie of networks. The longest network that fits answers for the wider ones too.

use gatewatch_abi::{
    AddrSlot,
    consts::{
        ADDR_SKB_DESTINATION, ADDR_SKB_SOURCE, ADDR_SOCK_DESTINATION, ADDR_SOCK_SOURCE, ADDR_SOCKADDR,
        ADDR_SOCKET_DESTINATION, ADDR_SOCKET_SOURCE,
    },
};

use super::{
    builder::{Builder, negated},
    excess::Excess,
};
use crate::plan::{Field, Network, SocketPart, Test};

/// Whether a test holds for an address of which `found` is the narrowest network that fits.
fn holds(test: &Test, found: Option<&Network>) -> bool {
    let Test::Address { networks, .. } = test else { return true };
    found.is_some_and(|found| networks.iter().any(|network| network.covers(found))) != negated(test)
}

impl Builder<'_> {
    /// The table of one address.
    pub(super) fn address(&mut self, field: Field) -> Result<(), Excess> {
        let mut networks: Vec<Network> = Vec::new();
        for selector in self.selectors {
            for test in Self::tests(selector, field) {
                if let Test::Address { networks: more, .. } = test {
                    networks.extend(more);
                }
            }
        }
        networks.sort_unstable();
        networks.dedup();
        let number = u32::try_from(self.tables.addr_fields.len()).map_err(|_| Excess::Addresses)?;
        let (source, arg) = match field {
            Field::SourceAddress(arg) => (ADDR_SOCK_SOURCE, arg),
            Field::DestinationAddress(arg) => (ADDR_SOCK_DESTINATION, arg),
            Field::PacketSource(arg) => (ADDR_SKB_SOURCE, arg),
            Field::PacketDestination(arg) => (ADDR_SKB_DESTINATION, arg),
            Field::Socket { index, part: SocketPart::SourceAddress } => (ADDR_SOCKET_SOURCE, index),
            Field::Socket { index, part: SocketPart::DestinationAddress } => (ADDR_SOCKET_DESTINATION, index),
            Field::Sockaddr { index, part: SocketPart::SourceAddress } => (ADDR_SOCKADDR, index),
            _ => return Ok(()),
        };
        let default_row = self.intern(|s| Self::tests(s, field).all(|test| holds(test, None)));
        *self.tables.config.addrs.get_mut(self.tables.addr_fields.len()).ok_or(Excess::Addresses)? =
            AddrSlot { source, arg: u32::from(arg), default_row, pad: 0 };
        self.tables.addr_fields.push(field);
        for network in networks {
            let row = self.intern(|s| Self::tests(s, field).all(|test| holds(test, Some(&network))));
            self.tables.addresses.push((number, network, row));
        }
        Ok(())
    }
}
