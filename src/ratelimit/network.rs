//! What counts as one client: an IPv4 address, or an IPv6 network of /64, which one household or one rented server has
//! to itself. A key on the whole IPv6 address would give everybody 2^64 identities (docs/security.md row 11).

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use crate::origin::Origin;

/// A client's network: IPv4 /32, IPv6 /64. Whatever the spelling of an address, its network is one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNetwork);

impl Network {
    /// The network of a client's address; an IPv4-mapped one counts as IPv4.
    pub fn of(address: IpAddr) -> Self {
        Self(cut(address, 32, 64))
    }

    /// The network of a request's client. Those without an address are one client, which is the safe mistake.
    pub fn of_client(origin: &Origin) -> Self {
        Self::of(origin.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }

    /// For the store.
    pub fn as_inet(self) -> IpNetwork {
        self.0
    }

    /// The wider network that a provider hands out in pieces: IPv4 /16, IPv6 /32. Who has many networks has them here.
    pub(crate) fn neighbourhood(self) -> IpNetwork {
        cut(self.0.ip(), 16, 32)
    }
}

fn cut(address: IpAddr, v4: u8, v6: u8) -> IpNetwork {
    let masked = |network: IpNetwork| IpNetwork::new(network.network(), network.prefix());
    let whole = match address.to_canonical() {
        IpAddr::V4(address) => Ipv4Network::new(address, v4).map(IpNetwork::V4),
        IpAddr::V6(address) => Ipv6Network::new(address, v6).map(IpNetwork::V6),
    };
    whole.and_then(masked).expect("the prefixes are those above")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().expect("an address"))
    }

    #[test]
    fn a_network_is_one_client_whatever_the_spelling() {
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_eq!(network("::ffff:c000:201"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_eq!(network("2001:db8:0:1::1"), network("2001:DB8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(network("2001:db8:0:1::1"), network("2001:db8:0:2::1"));
        assert_eq!(network("2001:db8:0:1::1").as_inet().to_string(), "2001:db8:0:1::/64");
    }

    #[test]
    fn neighbours_share_a_wider_network() {
        assert_eq!(network("192.0.2.1").neighbourhood().to_string(), "192.0.0.0/16");
        assert_eq!(network("2001:db8:1:1::1").neighbourhood().to_string(), "2001:db8::/32");
    }
}
