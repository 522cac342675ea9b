//! Two services call two others over HTTP, signing with a shared secret, without a pause. Meanwhile the
//! secret is rotated three times and swapped once in an emergency. No call is refused.
//!
//! ```text
//! cargo run --release -p m2m-examples --example rotate_secret
//! ```
//!
//! Prints each step with the reason why it is safe, and at the end how many calls were refused. That must
//! be none, and is the exit code.

#![expect(clippy::print_stdout, reason = "a program for people")]

mod hex;
mod machine;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};
use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_secrets::{
    Acknowledgement, Command, CommandId, FencingToken, Order, Overlap, Policy, REQUEST_SIGNATURE,
    Reach, RequestParts, Role, Rotation, SecretName, StoredRotation,
};
use m2m_store::{EmbeddedOptions, EmbeddedStore, LocalKey, Store};
use m2m_testkit::http::{Server, call};
use m2m_types::{Clock, SystemClock};

use hex::from_hex;
use machine::Machine;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How old a request may be; so short that the example ends soon.
const MAX_MESSAGE_AGE: Duration = Duration::from_secs(3);
/// How long a call may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Outcome<()> {
    let directory = tempfile::tempdir()?;
    let secret = SecretName::new("orders")?;
    let machine = |name, role| {
        Machine::new(name, &secret, role, MAX_MESSAGE_AGE, directory.path()).map(Arc::new)
    };
    let machines = vec![
        machine("prod/web-1", Role::Signer)?,
        machine("prod/web-2", Role::Signer)?,
        machine("prod/orders-1", Role::Verifier)?,
        machine("prod/orders-2", Role::Verifier)?,
    ];
    let (inbox, acknowledgements) = channel();
    let mut issuer = Issuer::begin(&secret, directory.path(), machines, acknowledgements)?;
    let calls = Arc::new(Calls::default());
    let mut servers = Vec::new();
    for verifier in issuer.with_role(Role::Verifier) {
        let inbox = inbox.clone();
        servers.push(Server::start(move |request| {
            answer(&verifier, &request, &inbox)
        })?);
    }
    let addresses: Vec<SocketAddr> = servers.iter().map(Server::address).collect();
    let mut callers = Vec::new();
    for signer in issuer.with_role(Role::Signer) {
        let (calls, inbox, addresses) = (calls.clone(), inbox.clone(), addresses.clone());
        let caller = move || keep_calling(&signer, &addresses, &calls, &inbox);
        callers.push(std::thread::spawn(caller));
    }

    for _ in 0..3 {
        issuer.rotate()?;
    }
    issuer.emergency()?;

    calls.stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().map_err(|_| "a caller panicked")?;
    }
    let [made, refused] = [&calls.made, &calls.refused].map(|count| count.load(Ordering::Relaxed));
    println!("\n{made} calls, {refused} refused");
    match (made, refused) {
        (1.., 0) => Ok(()),
        _ => Err("calls were refused, or none was made".into()),
    }
}

#[derive(Default)]
struct Calls {
    made: AtomicU64,
    refused: AtomicU64,
    stop: AtomicBool,
}

/// A caller: each request carries its proof of the ring it holds.
fn keep_calling(
    signer: &Machine,
    addresses: &[SocketAddr],
    calls: &Calls,
    inbox: &Sender<Vec<u8>>,
) {
    let one = |to: SocketAddr, body: &[u8]| -> Outcome<bool> {
        let held = signer.acknowledgement()?;
        let request = Request::post("/orders")
            .header(REQUEST_SIGNATURE, signer.sign(&parts(body))?)
            .header("held", held)
            .body(body.to_vec())?;
        let answer = call(to, &request, PATIENCE)?;
        pass_on(field(answer.headers(), "held"), inbox);
        Ok(answer.status() == StatusCode::OK)
    };
    for (nth, to) in addresses.iter().cycle().enumerate() {
        if calls.stop.load(Ordering::Relaxed) {
            return;
        }
        let body = format!("{{\"order\":{nth}}}");
        let accepted = one(*to, body.as_bytes());
        calls.made.fetch_add(1, Ordering::Relaxed);
        if !matches!(accepted, Ok(true)) {
            println!("{} was refused: {accepted:?}", signer.name);
            calls.refused.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A verifier: each answer carries its proof.
fn answer(
    verifier: &Machine,
    request: &Request<Vec<u8>>,
    inbox: &Sender<Vec<u8>>,
) -> Response<Vec<u8>> {
    pass_on(field(request.headers(), "held"), inbox);
    let signature = field(request.headers(), REQUEST_SIGNATURE).unwrap_or_default();
    let status = match verifier.verify(signature.as_bytes(), &parts(request.body())) {
        Ok(_) => StatusCode::OK,
        Err(why) => {
            println!("{} refuses: {why}", verifier.name);
            StatusCode::UNAUTHORIZED
        }
    };
    let mut response = Response::builder().status(status);
    match verifier.acknowledgement() {
        Ok(held) => response = response.header("held", held),
        Err(error) => println!("{}: {error}", verifier.name),
    }
    response.body(Vec::new()).unwrap_or_default()
}

/// What is signed of a request.
fn parts(body: &[u8]) -> RequestParts<'_> {
    RequestParts::new(b"POST", b"orders.example", b"/orders").with_body(body)
}

fn field<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// What was seen in traffic goes to the issuer: it proves itself, whoever carries it.
fn pass_on(held: Option<&str>, inbox: &Sender<Vec<u8>>) {
    if let Some(bytes) = held.and_then(from_hex) {
        // The issuer may have ended.
        let _ = inbox.send(bytes);
    }
}

struct Issuer {
    rotation: StoredRotation,
    machines: Vec<Arc<Machine>>,
    acknowledgements: Receiver<Vec<u8>>,
    clock: SystemClock,
    orders: u128,
}

impl Issuer {
    fn begin(
        secret: &SecretName,
        directory: &Path,
        machines: Vec<Arc<Machine>>,
        acknowledgements: Receiver<Vec<u8>>,
    ) -> Outcome<Self> {
        let key = LocalKey::new(SecretBytes::random(LocalKey::BYTES, &SystemRandom)?)?;
        let options = EmbeddedOptions::new(Arc::new(key));
        let store = EmbeddedStore::create(directory.join("issuer"), &options)?;
        let store: Arc<dyn Store> = Arc::new(store);
        let minute = Duration::from_secs(60);
        let policy = Policy::builder()
            .with_max_message_age(MAX_MESSAGE_AGE)
            .with_skew(Duration::ZERO) // one machine, one clock
            .with_lease(minute)
            .with_emergency(2 * minute);
        let policy = policy.build()?;
        println!("{policy}");
        let clock = SystemClock::new();
        let (id, now) = (CommandId::from_bytes([0; 16]), clock.now()?);
        let rotation = StoredRotation::begin(store, secret, policy, id, now, &SystemRandom);
        let mut issuer = Self {
            rotation: pollster::block_on(rotation)?,
            machines,
            acknowledgements,
            clock,
            orders: 0,
        };
        for machine in issuer.machines.clone() {
            issuer.order(Command::Register {
                member: machine.name.clone(),
                role: machine.role,
                reach: Reach::Acknowledges,
            })?;
            issuer.send_to(&machine)?;
            let held = from_hex(&machine.acknowledgement()?).ok_or("no bytes")?;
            issuer.hear(&held)?;
        }
        Ok(issuer)
    }

    fn with_role(&self, role: Role) -> Vec<Arc<Machine>> {
        let machines = self.machines.iter();
        machines
            .filter(|machine| machine.role == role)
            .cloned()
            .collect()
    }

    fn state(&self) -> &Rotation {
        self.rotation.rotation()
    }

    /// Gives an order, which is recorded when this returns.
    fn order(&mut self, command: Command) -> Outcome<()> {
        self.orders += 1;
        let order = Order {
            id: CommandId::from_bytes(self.orders.to_be_bytes()),
            token: FencingToken::FIRST,
            now: self.clock.now()?,
        };
        let applied = pollster::block_on(self.rotation.order(&order, command, &SystemRandom))?;
        for event in applied.events() {
            println!("{event}");
        }
        Ok(())
    }

    /// Orders, and sends the new ring: to each machine at its own moment, in no order that matters.
    fn publish(&mut self, command: Command) -> Outcome<()> {
        self.order(command)?;
        for machine in self.machines.clone() {
            self.send_to(&machine)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn send_to(&self, machine: &Machine) -> Outcome<()> {
        let delivery = self
            .rotation
            .delivery(machine.role)
            .ok_or("a secret is missing")?;
        machine.receive(&delivery.seal(&machine.name, &machine.key, &SystemRandom)?)
    }

    fn hear(&mut self, bytes: &[u8]) -> Outcome<()> {
        let acknowledgement = Acknowledgement::from_bytes(bytes).ok_or("no acknowledgement")?;
        let now = self.clock.now()?;
        let heard = self.rotation.hear(&acknowledgement, now, &SystemRandom);
        // One of an older ring may no longer be checked; its sender is heard again.
        let Ok(heard) = pollster::block_on(heard) else {
            return Ok(());
        };
        let machine = self
            .machines
            .iter()
            .find(|one| one.name == *acknowledgement.member());
        match (machine, heard.grant()) {
            (Some(machine), Some(grant)) => machine.granted(grant),
            _ => Ok(()),
        }
    }

    /// Listens until what is waited for is there.
    fn wait<T>(&mut self, ready: impl Fn(&Rotation, &SystemClock) -> Option<T>) -> Outcome<T> {
        loop {
            let bytes = self
                .acknowledgements
                .recv_timeout(Duration::from_secs(60))?;
            self.hear(&bytes)?;
            if let Some(found) = ready(self.rotation.rotation(), &self.clock) {
                return Ok(found);
            }
        }
    }

    /// A version that every verifier has proved to accept.
    fn standby(&mut self) -> Outcome<m2m_secrets::SecretVersion> {
        if let Some(version) = self.state().standby(self.clock.now()?) {
            return Ok(version);
        }
        self.order(Command::Draft)?;
        let version = self.state().draft().ok_or("nothing was drafted")?;
        self.publish(Command::Stage { version })?;
        self.wait(|state, clock| state.standby(clock.now().ok()?))
    }

    fn rotate(&mut self) -> Outcome<()> {
        println!();
        let version = self.standby()?;
        let old = self.state().ring().sign();
        let overlap = Overlap::Refuse;
        self.publish(Command::Activate { version, overlap })?;
        for blocker in self
            .state()
            .can_retire(old, self.clock.now()?)
            .err()
            .iter()
            .flatten()
        {
            println!("  version {old} stays: {blocker}");
        }
        let certificate =
            self.wait(|state, clock| state.can_retire(old, clock.now().ok()?).ok())?;
        println!("{certificate}");
        self.publish(Command::Retire(certificate))
    }

    fn emergency(&mut self) -> Outcome<()> {
        println!();
        self.standby()?;
        let leaked = self.state().ring().sign();
        let plan = self.state().plan_emergency(leaked, self.clock.now()?)?;
        println!("version {leaked} leaked. If you confirm: {plan}");
        self.publish(Command::Emergency(plan))?;
        self.wait(|state, clock| {
            let advice = state.advice(clock.now().ok()?);
            advice.contains(&m2m_secrets::Advice::Settle).then_some(())
        })?;
        self.publish(Command::Settle)?;
        self.wait(|state, clock| {
            let status = state.revocation(leaked, clock.now().ok()?);
            status.is_complete().then_some(())
        })?;
        println!("every verifier proved that it refuses version {leaked}");
        Ok(())
    }
}
