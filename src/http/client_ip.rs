//! From which address a request really comes: the peer's, or what a trusted proxy says.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName};
use ipnetwork::IpNetwork;

use crate::error::{Code, Error, Problem, Result};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What else proxies add to the requests of others, besides `X-Forwarded-…`, and what does not tell for whom in a way that
/// we read.
const OTHER_TRACES: [&str; 6] = ["forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"];

fn is_other_trace(name: &HeaderName) -> bool {
    OTHER_TRACES.contains(&name.as_str()) || (name.as_str().starts_with("x-forwarded-") && name != FORWARDED_FOR)
}

/// The client's address.
#[derive(Clone, Copy, Debug)]
pub struct ClientIp {
    /// The address; the peer's own where the header of a proxy could not be read.
    pub address: IpAddr,
    /// Whether a trusted proxy said something that is no address.
    pub is_doubtful: bool,
    /// Whether it is this machine or a trusted proxy, and speaks for itself: behind a proxy of this machine that we do
    /// not know of, or a trusted one that does not say for whom it asks, every stranger would look like a neighbour.
    pub is_inside: bool,
}

/// Networks of reverse proxies whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<Trust>);

#[derive(Debug, Default)]
struct Trust {
    networks: Vec<IpNetwork>,
    /// Whether the log knows already that somebody else forwards.
    has_warned_of_stranger: AtomicBool,
    /// Whether it knows that one of them does not say for whom.
    has_warned_of_silence: AtomicBool,
}

impl TrustedProxies {
    /// These networks and nobody else.
    pub fn new(networks: &[IpNetwork]) -> Self {
        Self(Arc::new(Trust { networks: networks.to_vec(), ..Trust::default() }))
    }

    /// Whether this is one of them.
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.networks.iter().any(|network| network.contains(address))
    }

    /// Says once what is wrong with a proxy: more often, every stranger could fill the log with it.
    fn warn_of(&self, peer: IpAddr, is_trusted: bool) {
        let network = IpNetwork::from(peer);
        if !is_trusted && !self.0.has_warned_of_stranger.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %network,
                "X-Forwarded-For from a peer that is not trusted is ignored: if that is your reverse proxy, all its \
                 clients look like one; put its network into `server.trusted_proxies`",
            );
        } else if is_trusted && !self.0.has_warned_of_silence.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                %network,
                "a proxy of `server.trusted_proxies` forwards requests without X-Forwarded-For: all its clients look like \
                 one; make it add that header",
            );
        }
    }

    /// Notes on a request where it really comes from.
    pub fn find(&self, request: &mut Request) {
        if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
            let client = self.client(peer.ip().to_canonical(), request.headers());
            request.extensions_mut().insert(client);
        }
    }

    /// The rightmost hop that is not a trusted proxy: everything left of it may be invented.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientIp {
        let is_trusted = self.trusts(peer);
        let names_client = headers.contains_key(FORWARDED_FOR);
        let has_other_traces = headers.keys().any(is_other_trace);
        if (names_client && !is_trusted) || (has_other_traces && is_trusted && !names_client) {
            self.warn_of(peer, is_trusted);
        }
        // Where somebody forwards, only X-Forwarded-For from those we trust says for whom.
        let is_forwarded = has_other_traces || (names_client && !is_trusted);
        let known = |address: IpAddr| {
            let address = address.to_canonical();
            let is_near = address.is_loopback() || self.trusts(address);
            ClientIp { address, is_doubtful: false, is_inside: is_near && !is_forwarded }
        };
        if !is_trusted {
            return known(peer);
        }
        let mut client = peer;
        for value in headers.get_all(FORWARDED_FOR).iter().rev() {
            let hops = value.to_str().unwrap_or("?");
            for hop in hops.rsplit(',').map(str::trim) {
                let Some(hop) = address(hop) else {
                    return ClientIp { address: peer, is_doubtful: true, is_inside: false };
                };
                if !self.trusts(hop) {
                    return known(hop);
                }
                client = hop;
            }
        }
        known(client)
    }
}

/// An address as proxies write it: some put IPv6 in brackets, some add the port.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let parsed = bare.parse().or_else(|_| hop.parse::<SocketAddr>().map(|hop| hop.ip()));
    parsed.ok().map(|address: IpAddr| address.to_canonical())
}

/// Refuses a request whose origin a trusted proxy garbled. Guessing would let an attacker choose the address that limits and
/// records see (docs/security.md row 10). Not a probe: nothing depends on where it comes from, and nobody shall restart a
/// server because of a header.
pub fn require(request: &Request) -> Result<()> {
    let is_probe = request.uri().path().starts_with("/health/");
    match request.extensions().get::<ClientIp>() {
        Some(client) if client.is_doubtful && !is_probe => {
            let problem = Problem::new("X-Forwarded-For", "must be a list of IP addresses");
            Err(Error::invalid(Code::ValidationFailed, problem))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn proxies() -> TrustedProxies {
        TrustedProxies::new(&["10.0.0.0/8".parse().expect("a network")])
    }

    fn client(peer: &str, forwarded: &[&str]) -> Result<String, ()> {
        let proxies = proxies();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().expect("a header value"));
        }
        let client = proxies.client(peer.parse().expect("an address"), &headers);
        if client.is_doubtful { Err(()) } else { Ok(client.address.to_string()) }
    }

    #[test]
    fn a_stranger_cannot_choose_his_address() {
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), Ok("203.0.113.9".into()));
        assert_eq!(client("10.0.0.1", &["1.1.1.1, 203.0.113.9"]), Ok("203.0.113.9".into()));
        assert_eq!(client("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.9.9.9"]), Ok("203.0.113.9".into()));
        for spelling in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:443"] {
            assert_eq!(client("10.0.0.1", &[spelling]), Ok("2001:db8::1".into()));
        }
        assert_eq!(client("10.0.0.1", &["192.0.2.1:443"]), Ok("192.0.2.1".into()));
        assert_eq!(client("10.0.0.1", &[]), Ok("10.0.0.1".into()));
    }

    #[test]
    fn inside_is_who_speaks_for_itself() {
        let is_inside = |peer: &str, header: &str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::try_from(header).expect("a name"), value.parse().expect("a value"));
            proxies().client(peer.parse().expect("an address"), &headers).is_inside
        };
        for peer in ["127.0.0.1", "127.9.9.9", "::1", "10.0.0.1"] {
            assert!(is_inside(peer, "accept", "*/*"), "{peer}");
        }
        for peer in ["203.0.113.9", "192.168.0.1", "2001:db8::1"] {
            assert!(!is_inside(peer, "accept", "*/*"), "{peer}");
            assert!(!is_inside(peer, "x-forwarded-for", "127.0.0.1"), "{peer}");
        }
        // A proxy on this machine that nobody told us of.
        for trace in OTHER_TRACES.into_iter().chain(["x-forwarded-for", "x-forwarded-host", "x-forwarded-port"]) {
            assert!(!is_inside("127.0.0.1", trace, "127.0.0.1"), "{trace}");
        }
        // A trusted proxy, which says for whom it asks.
        assert!(is_inside("10.0.0.1", "x-forwarded-for", "10.0.0.7"));
        assert!(!is_inside("10.0.0.1", "x-forwarded-for", "203.0.113.9"));
        assert!(!is_inside("10.0.0.1", "x-forwarded-for", "127.0.0.1, 203.0.113.9"));
        assert!(!is_inside("10.0.0.1", "x-forwarded-for", "rubbish"));
        // One that does not, in a way that we read.
        for (trace, value) in [
            ("forwarded", "for=203.0.113.9"),
            ("x-forwarded-host", "accounts.example"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "203.0.113.9"),
            ("via", "1.1 proxy"),
        ] {
            assert!(!is_inside("10.0.0.1", trace, value), "{trace}");
        }
    }

    #[test]
    fn a_trusted_hop_that_did_not_name_its_client_is_not_taken_for_it() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, "10.0.0.7".parse().expect("a value"));
        headers.insert("via", "1.1 balancer".parse().expect("a value"));
        assert!(!proxies().client([10, 0, 0, 1].into(), &headers).is_inside);
    }

    #[test]
    fn what_a_proxy_garbled_is_not_guessed() {
        assert_eq!(client("10.0.0.1", &["203.0.113.9, unknown"]), Err(()));
        assert_eq!(client("10.0.0.1", &[""]), Err(()));
    }

    proptest! {
        #![proptest_config(crate::http::tests::config())]

        #[test]
        fn whatever_a_stranger_writes_is_not_his_address(forwarded in "\\PC{0,40}") {
            prop_assume!(forwarded.parse::<axum::http::HeaderValue>().is_ok());
            prop_assert_eq!(client("203.0.113.9", &[&forwarded]), Ok("203.0.113.9".to_owned()));
        }

        #[test]
        fn behind_a_proxy_the_last_hop_that_is_not_ours_is_the_client(
            invented in "[0-9a-z.:, ]{0,40}",
            client_address in any::<std::net::Ipv4Addr>(),
            hops in 0usize..4,
        ) {
            prop_assume!(!std::net::IpAddr::from(client_address).to_string().starts_with("10."));
            let mut forwarded = format!("{invented}, {client_address}");
            for hop in 0..hops {
                forwarded.push_str(&format!(", 10.0.0.{hop}"));
            }
            prop_assert_eq!(client("10.9.9.9", &[&forwarded]), Ok(client_address.to_string()));
        }

        #[test]
        fn what_a_proxy_writes_is_an_address_or_a_doubt(forwarded in "\\PC{0,60}") {
            prop_assume!(forwarded.parse::<axum::http::HeaderValue>().is_ok());
            if let Ok(address) = client("10.0.0.1", &[&forwarded]) {
                prop_assert!(address.parse::<std::net::IpAddr>().is_ok());
            }
        }
    }
}
