//! Messages on their way: on one connection there are as many as streams, so what they may be together is bounded by address, as
//! it is at the REST door, where a connection has one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request};

use crate::error::Result;
use crate::http::client_ip::ClientIp;
use crate::ratelimit::{Network, Share, Shares};

/// At once, of one client address: 64 MiB if all of them are as long as may be.
const MOST: usize = 1000;

/// Counts them. Clones count together.
#[derive(Clone)]
pub struct Arrivals(Shares<Network>);

impl Default for Arrivals {
    fn default() -> Self {
        Self(Shares::new(MOST))
    }
}

impl Arrivals {
    /// One more, until this is dropped.
    ///
    /// # Errors
    /// `TooManyRequests`.
    pub fn one(&self, request: &Request) -> Result<Share<Network>> {
        let client = request.extensions().get::<ClientIp>().map(|client| client.address);
        let peer = || request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        self.0.take(Network::of(client.or_else(peer).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}
