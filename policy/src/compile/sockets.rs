//! Filters on sockets, on packets and on the addresses of sockets.

use super::compiler::Compiler;
use crate::{
    codes,
    diagnostic::{Diagnostic, FieldPath},
    filter_rules,
    model::{ArgFilter, Operator},
    plan::{Field, Filter, Network, SocketPart, Test},
    values::{self, ValueError, address, constants},
};

impl Compiler<'_> {
    /// A filter on a `struct sock *`.
    pub(super) fn sock_filter(&mut self, index: u8, filter: &ArgFilter, path: &FieldPath) -> Option<Filter> {
        let (part, test) = self.socket_test(filter, path)?;
        let field = match part {
            SocketPart::SourceAddress => Field::SourceAddress(index),
            SocketPart::DestinationAddress => Field::DestinationAddress(index),
            SocketPart::SourcePort => Field::SourcePort(index),
            SocketPart::DestinationPort => Field::DestinationPort(index),
            SocketPart::Protocol => Field::Protocol(index),
            SocketPart::Family => Field::Family(index),
            SocketPart::State => Field::State(index),
        };
        Some(Filter { field, test })
    }

    /// A filter on a `struct socket *`.
    pub(super) fn socket_filter(
        &mut self,
        index: u8,
        filter: &ArgFilter,
        path: &FieldPath,
    ) -> Option<Filter> {
        let (part, test) = self.socket_test(filter, path)?;
        Some(Filter { field: Field::Socket { index, part }, test })
    }

    /// A filter on a `struct sockaddr *`, which has one end of a connection alone.
    pub(super) fn address_filter(
        &mut self,
        index: u8,
        filter: &ArgFilter,
        path: &FieldPath,
    ) -> Option<Filter> {
        use SocketPart::{Family, SourceAddress, SourcePort};
        if !matches!(SocketPart::of(filter.operator)?, SourceAddress | SourcePort | Family) {
            return None;
        }
        let (part, test) = self.socket_test(filter, path)?;
        Some(Filter { field: Field::Sockaddr { index, part }, test })
    }

    /// A filter on a `struct sockaddr_un *`.
    pub(super) fn unix_filter(
        &mut self,
        index: u8,
        length: Option<u8>,
        filter: &ArgFilter,
        path: &FieldPath,
    ) -> Option<Filter> {
        if filter.operator == Operator::Family {
            return self.address_filter(index, filter, path);
        }
        let test = self.text_test(filter, path)?;
        Some(Filter { field: Field::UnixName { index, length }, test })
    }

    /// A filter on the headers of a packet.
    pub(super) fn packet_filter(
        &mut self,
        index: u8,
        filter: &ArgFilter,
        path: &FieldPath,
    ) -> Option<Filter> {
        let (part, test) = self.socket_test(filter, path)?;
        let field = match part {
            SocketPart::SourceAddress => Field::PacketSource(index),
            SocketPart::DestinationAddress => Field::PacketDestination(index),
            SocketPart::Protocol => Field::PacketProtocol(index),
            SocketPart::Family => Field::PacketFamily(index),
            SocketPart::SourcePort => Field::PacketSourcePort(index),
            SocketPart::DestinationPort => Field::PacketDestinationPort(index),
            // A packet has no state.
            SocketPart::State => return None,
        };
        Some(Filter { field, test })
    }

    /// The part of a socket that an operator reads, and what must hold for it.
    fn socket_test(&mut self, filter: &ArgFilter, path: &FieldPath) -> Option<(SocketPart, Test)> {
        let operator = filter.operator;
        let part = SocketPart::of(operator)?;
        let number = |result: Result<u32, ValueError>| result.map(|v| (i128::from(v), i128::from(v)));
        let ranges = match operator {
            Operator::SAddr | Operator::NotSAddr | Operator::DAddr | Operator::NotDAddr => {
                let networks = self.networks(filter, path)?;
                return Some((part, Test::Address { negated: SocketPart::is_negated(operator), networks }));
            }
            Operator::SPort | Operator::NotSPort | Operator::DPort | Operator::NotDPort => {
                let ports = |text: &str| values::ports(text).map(|(a, b)| (i128::from(a), i128::from(b)));
                self.values(filter, path, &codes::BAD_NUMBER, ports)?
            }
            Operator::Protocol => {
                let read = |text: &str| number(constants::protocol(text));
                self.values(filter, path, &codes::UNKNOWN_CONSTANT, read)?
            }
            Operator::Family => {
                let read = |text: &str| number(constants::family(text));
                self.values(filter, path, &codes::UNKNOWN_CONSTANT, read)?
            }
            Operator::State => {
                let read = |text: &str| number(constants::tcp_state(text));
                self.values(filter, path, &codes::UNKNOWN_CONSTANT, read)?
            }
            _ if filter.values.is_empty() => vec![(0, 1023)],
            _ => {
                self.report(Diagnostic::new(
                    &codes::NO_VALUES,
                    path.field("values"),
                    format!("`{operator}` takes no values: it means ports 0 to 1023"),
                ));
                return None;
            }
        };
        Some((part, Test::Int { negated: SocketPart::is_negated(operator), ranges: values::merge(ranges) }))
    }

    fn networks(&mut self, filter: &ArgFilter, path: &FieldPath) -> Option<Vec<Network>> {
        let written = self.values(filter, path, &codes::BAD_ADDRESS, address::network)?;
        for (i, (written, text)) in written.iter().zip(&filter.values).enumerate() {
            if written.host_bits {
                self.report(filter_rules::host_bits(text, written, path.field("values").index(i)));
            }
        }
        Some(written.iter().flat_map(address::Written::networks).collect())
    }
}
