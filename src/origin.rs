//! Where a request came from, for whoever is told of it: in a mail, in a list of log-ins.

use std::net::IpAddr;

/// The client of a request; empty for what an operator does on the command line.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's program as it names itself, at most 256 bytes. Anybody may write anything here.
    pub agent: Option<String>,
}

impl Origin {
    /// The address as text.
    pub fn from(&self) -> Option<String> {
        self.address.map(|address| address.to_string())
    }
}
