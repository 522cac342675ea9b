//! Who there is, and which port answers to which name.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use m2m_testkit::http::Loopback;

use crate::Outcome;
use crate::random::Random;

/// Issues access tokens and revokes sessions.
pub(crate) const PROVIDER: &str = "idp";
/// Services that take its tokens: two that are pushed to, and one that polls.
pub(crate) const SERVICES: [&str; 3] = ["orders", "billing", "reports"];

/// Name of the provider: `iss` of its tokens and of its SETs.
pub(crate) const ISSUER: &str = "https://idp.example";

/// Whether a service is pushed to.
pub(crate) fn is_pushed_to(service: &str) -> bool {
    service != "reports"
}

/// Name of a service: `aud` of its tokens and of its SETs.
pub(crate) fn audience(service: &str) -> String {
    format!("https://{service}.example")
}

/// The ports, in the order of the provider and its services.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    ports: Vec<u16>,
}

impl Network {
    /// Ports that are free, and that no client gets as its own while somebody is down: those come from
    /// 32768 on (`ip_local_port_range`).
    pub(crate) fn of_free_ports() -> Outcome<Self> {
        let mut ports: Vec<u16> = Vec::new();
        let mut random = Random::new(u64::from(std::process::id()));
        while ports.len() <= SERVICES.len() {
            let port = 10_000 + u16::try_from(random.below(20_000))?;
            if !ports.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                ports.push(port);
            }
        }
        Ok(Self { ports })
    }

    pub(crate) fn parse(text: &str) -> Outcome<Self> {
        let ports = text.split(',').map(str::parse);
        Ok(Self {
            ports: ports.collect::<Result<_, _>>()?,
        })
    }

    /// How it is told to a child.
    pub(crate) fn to_text(&self) -> String {
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        ports.join(",")
    }

    pub(crate) fn port_of(&self, name: &str) -> Outcome<u16> {
        let names = [PROVIDER].into_iter().chain(SERVICES);
        let mut both = names.zip(&self.ports);
        let found = both.find(|(known, _)| *known == name);
        Ok(found.map(|(_, port)| *port).ok_or("nobody has this name")?)
    }

    /// All names: `https://orders.example` leads to the port of `orders`.
    pub(crate) fn names(&self) -> Outcome<Loopback> {
        let names = Loopback::new();
        for name in [PROVIDER].into_iter().chain(SERVICES) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port_of(name)?));
            names.tell(&format!("{name}.example"), address);
        }
        Ok(names)
    }
}
