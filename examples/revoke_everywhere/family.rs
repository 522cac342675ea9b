//! All processes, as their parent sees them: it starts and kills them, and calls them as their clients do.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use m2m_crypto::SystemRandom;
use m2m_testkit::http::Loopback;
use m2m_token::{Minter, TokenRequest, TokenType};
use m2m_types::{Clock, SystemClock};

use crate::Outcome;
use crate::network::{ISSUER, Network, PROVIDER, SERVICES, audience};
use crate::store;

/// How long one call may take.
const A_CALL: Duration = Duration::from_secs(5);
/// How long anything may take. What is killed is tried again after a second or two.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) struct Family {
    directory: tempfile::TempDir,
    network: Network,
    children: BTreeMap<&'static str, Child>,
    clients: Clients,
}

/// Whoever calls them: clients of the services with their tokens, and the console that ends sessions.
#[derive(Clone)]
pub(crate) struct Clients {
    names: Loopback,
    tokens: Arc<Minter>,
    clock: Arc<SystemClock>,
}

impl Family {
    /// Starts all of them, and waits until each service has its stream.
    pub(crate) fn start() -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        store::prepare(directory.path())?;
        let network = Network::of_free_ports()?;
        let keys = store::signing_keys(directory.path())?;
        let tokens = Minter::new(ISSUER, TokenType::access_token(), keys)?;
        let mut family = Self {
            clients: Clients {
                names: network.names()?,
                tokens: Arc::new(tokens),
                clock: Arc::new(SystemClock::new()),
            },
            children: BTreeMap::new(),
            directory,
            network,
        };
        for name in everybody() {
            family.revive(name)?;
        }
        for service in SERVICES {
            let ready = || family.clients.get(service, "/ready", "") == Some(StatusCode::OK);
            wait_until(ready).ok_or_else(|| format!("{service} does not get ready"))?;
        }
        Ok(family)
    }

    /// Starts somebody, with what lies in its store.
    pub(crate) fn revive(&mut self, name: &'static str) -> Outcome<()> {
        let child = Command::new(std::env::current_exe()?)
            .args(["child", name])
            .arg(self.directory.path())
            .arg(self.network.to_text())
            .spawn()?;
        self.children.insert(name, child);
        Ok(())
    }

    /// SIGKILL: nothing can be done about it, nor before it. That somebody had ended by itself is an error.
    pub(crate) fn kill(&mut self, name: &str) -> Outcome<()> {
        let Some(mut child) = self.children.remove(name) else {
            return Ok(());
        };
        let ended = child.try_wait()?;
        child.kill()?;
        child.wait()?;
        match ended {
            Some(status) => Err(format!("{name} ended by itself: {status}").into()),
            None => Ok(()),
        }
    }

    pub(crate) fn clients(&self) -> Clients {
        self.clients.clone()
    }

    /// Kills all of them, opens what they left behind, and counts what each service acted upon: each of
    /// `sessions` once, and nothing else.
    pub(crate) fn count(&mut self, sessions: &[String]) -> Outcome<()> {
        for name in everybody() {
            self.kill(name)?;
        }
        for service in SERVICES {
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for transaction in store::count_acted(self.directory.path(), service)? {
                *counts.entry(transaction).or_default() += 1;
            }
            let lost = sessions.iter().filter(|one| !counts.contains_key(*one));
            let (lost, twice) = (lost.count(), counts.values().filter(|n| **n > 1).count());
            println!(
                "{service:>8}: {} revocations acted upon, {lost} lost, {twice} done twice",
                counts.len()
            );
            if (lost, twice, counts.len()) != (0, 0, sessions.len()) {
                return Err(format!("{service} should have acted upon {}", sessions.len()).into());
            }
        }
        Ok(())
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            // Whoever has ended cannot be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn everybody() -> impl Iterator<Item = &'static str> {
    [PROVIDER].into_iter().chain(SERVICES)
}

impl Clients {
    /// A client of `service` gets a token, in `session`.
    pub(crate) fn token(&self, service: &str, session: &str) -> Outcome<String> {
        let audience = audience(service);
        let request = TokenRequest::new("alice", &audience, Duration::from_secs(600))
            .with_session_id(session);
        Ok(self
            .tokens
            .mint(&request, self.clock.now()?, &SystemRandom)?)
    }

    /// What `service` says to a call with this token, if it says anything.
    pub(crate) fn call(&self, service: &str, token: &str) -> Option<StatusCode> {
        self.get(service, "/things", token)
    }

    /// Waits until `service` refuses a token.
    pub(crate) fn wait_until_refused(&self, service: &str, token: &str) -> Outcome<()> {
        let refuses = || self.call(service, token) == Some(StatusCode::UNAUTHORIZED);
        let waited = wait_until(refuses);
        Ok(waited.ok_or_else(|| format!("{service} goes on to accept a token"))?)
    }

    fn get(&self, service: &str, path: &str, token: &str) -> Option<StatusCode> {
        let request = Request::get(format!("{}{path}", audience(service)))
            .header("authorization", format!("Bearer {token}"))
            .body(Vec::new())
            .ok()?;
        let response = self.names.call(&request, A_CALL).ok()?;
        Some(response.status())
    }

    /// Ends `session`. Asked again until it is known to be done; the provider does it once.
    pub(crate) fn revoke(&self, session: &str) -> Outcome<()> {
        let request = Request::post(format!("{ISSUER}/sessions/revoke"));
        let request = request.body(session.as_bytes().to_vec())?;
        let said_yes = |response: Response<Vec<u8>>| response.status().is_success();
        let revoked = || self.names.call(&request, A_CALL).is_ok_and(said_yes);
        Ok(wait_until(revoked).ok_or("the provider does not revoke")?)
    }
}

/// `None` if it does not happen.
fn wait_until(is: impl Fn() -> bool) -> Option<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if is() {
            return Some(());
        }
        std::thread::sleep(PAUSE);
    }
    None
}
