//! IP addresses and networks.

use std::net::{IpAddr, Ipv6Addr};

use super::ValueError;
use crate::plan::Network;

/// An address or a network, as written in `SAddr` and `DAddr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// With the bits after the prefix cleared; IPv4 as `::ffff:0:0/96` and more.
    pub network: Network,
    /// Whether bits after the prefix were set, as in `10.1.2.3/8`: the author may intend the one address.
    pub host_bits: bool,
    /// Whether it was written as IPv4.
    pub v4: bool,
}

/// Reads an IPv4 or IPv6 address, or a network in CIDR notation.
pub fn network(text: &str) -> Result<Written, ValueError> {
    let not = |reason| ValueError::NotNetwork { text: text.to_owned(), reason };
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr =
        address.parse().map_err(|_| not("expected, for example, 10.0.0.0/8 or 2001:db8::/32"))?;
    let (bytes, width) = match address {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), 32_u8),
        IpAddr::V6(v6) => (v6.octets(), 128),
    };
    let length = match length {
        None => width,
        Some(digits) => parse_length(digits, width).ok_or_else(|| {
            not(if width == 32 {
                "the prefix length must be 0 to 32"
            } else {
                "the prefix length must be 0 to 128"
            })
        })?,
    };
    let prefix = 128 - width + length;
    let kept = u128::from_be_bytes(bytes) & mask(prefix);
    let network = Network { address: kept.to_be_bytes(), prefix };
    Ok(Written { network, host_bits: kept.to_be_bytes() != bytes, v4: width == 32 })
}

fn parse_length(digits: &str, width: u8) -> Option<u8> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    // As Go reads it: no sign, and no zero in front.
    let plain = plain && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|n| plain && *n <= width)
}

/// The first `prefix` bits set.
fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(u32::from(128 - prefix.min(128))).unwrap_or(0)
}

/// `::ffff:0:0/96`, where plans keep IPv4.
const V4_BITS: u128 = 0xffff << 32;

impl Written {
    /// The networks of exactly the intended addresses. This is [`Written::network`] but for an IPv6 network
    /// as wide as `::/0`: it means IPv6 alone, and must not take in the part where plans keep IPv4, so it is split
    /// into the (at most 96) networks around that part.
    pub fn networks(&self) -> Vec<Network> {
        let whole = self.network;
        let around_v4 = u128::from_be_bytes(whole.address) == V4_BITS & mask(whole.prefix);
        if self.v4 || whole.prefix >= 96 || !around_v4 {
            return vec![whole];
        }
        (whole.prefix + 1..=96)
            .map(|prefix| {
                // The sibling of the path to ::ffff:0:0/96 at this depth.
                let sibling = (V4_BITS & mask(prefix)) ^ (1 << (128 - prefix));
                Network { address: sibling.to_be_bytes(), prefix }
            })
            .collect()
    }
}

impl std::fmt::Display for Network {
    /// As it is usually written: `10.0.0.0/8`, `2001:db8::/32`; an address of full length without the length.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = Ipv6Addr::from(self.address);
        match address.to_ipv4_mapped().filter(|_| self.prefix >= 96) {
            Some(v4) if self.prefix == 128 => write!(f, "{v4}"),
            Some(v4) => write!(f, "{v4}/{}", self.prefix - 96),
            None if self.prefix == 128 => write!(f, "{address}"),
            None => write!(f, "{address}/{}", self.prefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contains(network: &Network, address: IpAddr) -> bool {
        let bytes = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        u128::from_be_bytes(bytes) & mask(network.prefix) == u128::from_be_bytes(network.address)
    }

    #[test]
    fn reads_and_shows() {
        for (text, shown, host_bits) in [
            ("10.0.0.0/8", "10.0.0.0/8", false),
            ("10.1.2.3/8", "10.0.0.0/8", true),
            ("127.0.0.1", "127.0.0.1", false),
            ("0.0.0.0/0", "0.0.0.0/0", false),
            ("2001:db8::/32", "2001:db8::/32", false),
            ("::1", "::1", false),
            ("fe80::1/10", "fe80::/10", true),
            ("::/0", "::/0", false),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", false),
        ] {
            let written = network(text).unwrap();
            assert_eq!(
                (written.network.to_string().as_str(), written.host_bits),
                (shown, host_bits),
                "{text}"
            );
        }
        for bad in [
            "",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.0/33",
            "::/129",
            "1.2.3.4/",
            "/8",
            "1.2.3.4/+8",
            "1.2.3.4/08",
            "a.b",
        ] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wide_v6_networks_leave_v4_out() {
        let any_v6 = network("::/0").unwrap().networks();
        assert_eq!(any_v6.len(), 96);
        assert!(any_v6.iter().all(|n| !contains(n, "10.0.0.1".parse().unwrap())));
        for address in ["::1", "2001:db8::1", "::fffe:0:1", "::1:0:0:0", "ffff::"] {
            assert_eq!(
                any_v6.iter().filter(|n| contains(n, address.parse().unwrap())).count(),
                1,
                "{address}"
            );
        }
        assert_eq!(network("2001:db8::/32").unwrap().networks().len(), 1);
    }

    proptest! {
        #[test]
        fn split_covers_exactly_the_v6_part(prefix in 0_u8..96, address in any::<u128>()) {
            let written = network(&format!("::/{prefix}")).unwrap();
            let address = Ipv6Addr::from(address & !mask(prefix) | address & 0xffff_ffff);
            let inside = written.networks().iter().filter(|n| contains(n, address.into())).count();
            let expected = contains(&written.network, address.into()) && address.to_ipv4_mapped().is_none();
            prop_assert_eq!(inside, usize::from(expected));
        }

        #[test]
        fn shown_networks_are_read_back(address in any::<u128>(), prefix in 0_u8..=128) {
            let network = Network { address: (address & mask(prefix)).to_be_bytes(), prefix };
            prop_assert_eq!(super::network(&network.to_string()).unwrap().network, network);
        }
    }
}
