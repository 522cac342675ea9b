//! A service: joins, answers calls of the other one, and calls it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use caep_stream::receiver::Receiver;
use http::{Request, Response, StatusCode};
use m2m_crypto::{CertificateThumbprint, SecretBytes, SystemRandom};
use m2m_guard::LastConfirmed;
use m2m_pki::TrustBundles;
use m2m_pki::tls::{Identity, Material};
use m2m_revoke::{StoredOptions, StoredRevocations};
use m2m_secrets::{REQUEST_SIGNATURE, RequestParts, Role, SecretName};
use m2m_store::{EmbeddedOptions, EmbeddedStore, LocalKey, Store};
use m2m_token::KeySet;
use m2m_types::{Clock, Live, SystemClock};
use tokio::sync::{Notify, watch};

use crate::authority::key_and_request;
use crate::follow::{self, BUSY, QUIET};
use crate::issuer::{Issuer, lock};
use crate::net::{Connection, Machine, Names, PATIENCE};
use crate::secret::MAX_AGE;
use crate::world::{ISSUER_HOST, Place};
use crate::{Outcome, service_http, sharer};

pub(crate) struct Service {
    pub(crate) place: Place,
    pub(crate) machine: Machine,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) store: Arc<dyn Store>,
    /// What tokens are verified with.
    pub(crate) keys: Arc<Live<KeySet>>,
    pub(crate) revocations: StoredRevocations,
    /// When all that the issuer offers was in place.
    pub(crate) confirmed: Arc<LastConfirmed>,
    pub(crate) sharer: sharer::Machine,
    /// There once it has subscribed to events.
    pub(crate) receiver: OnceLock<Receiver>,
    /// Asks the issuer at once what is new.
    pub(crate) woken: Notify,
    relies_on_events: AtomicBool,
    caught_up: watch::Sender<u64>,
    token: Live<Option<Token>>,
    /// What operators were told.
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) admitted: AtomicU64,
    pub(crate) signed: AtomicU64,
    /// What it voided last, because of an event.
    pub(crate) acted: watch::Sender<Option<String>>,
}

/// A token for calls to the other service, and the certificate that it is bound to.
struct Token {
    text: String,
    shown: CertificateThumbprint,
}

/// A call to the other service: over a connection, with a token for just that one.
pub(crate) struct Line {
    pub(crate) connection: Connection,
    token: String,
}

impl Service {
    /// Joins by an invitation and a request of its own, and answers from then on.
    pub(crate) async fn join(
        place: Place,
        issuer: &Issuer,
        clock: Arc<SystemClock>,
        names: Arc<Names>,
        directory: &Path,
    ) -> Outcome<Arc<Self>> {
        let invitation = issuer.invite(place.name)?;
        let (key, csr) = key_and_request()?;
        let welcome = issuer.join(&invitation, &csr).await?;
        let identity = Identity::new(vec![welcome.certificate], key)?;
        let bundles = TrustBundles::new().with(welcome.bundle);
        let material = Material::new(identity, bundles, welcome.crls);
        let machine = Machine::new(place.name.parse()?, material, Arc::clone(&clock), names)?;

        let directory = directory.join(place.short);
        std::fs::create_dir(&directory)?;
        let store = open_store(&directory)?;
        let now = clock.now()?;
        let options = StoredOptions::default();
        let revocations =
            StoredRevocations::open(Arc::clone(&store), now, &SystemRandom, options).await?;
        let role = match place.takes_orders {
            true => Role::Verifier,
            false => Role::Signer,
        };
        let secret = SecretName::new("orders-billing")?;
        let sharer = sharer::Machine::new(place.short, &secret, role, MAX_AGE, &directory)?;
        let key = Arc::clone(&sharer.key);
        issuer.share(&sharer.name, sharer.role, key).await?;
        let service = Arc::new(Self {
            place,
            machine,
            clock,
            store,
            keys: Arc::new(Live::new(KeySet::new())),
            revocations,
            confirmed: Arc::new(LastConfirmed::never()),
            sharer,
            receiver: OnceLock::new(),
            woken: Notify::new(),
            relies_on_events: AtomicBool::new(false),
            caught_up: watch::Sender::default(),
            token: Live::new(None),
            log: Mutex::default(),
            admitted: AtomicU64::new(0),
            signed: AtomicU64::new(0),
            acted: watch::Sender::default(),
        });
        let router = service_http::router(&service)?;
        service.machine.listen(place.host, router).await?;
        tokio::spawn(follow::follow(Arc::clone(&service)));
        Ok(service)
    }

    pub(crate) fn pace(&self) -> Duration {
        match self.relies_on_events.load(Ordering::SeqCst) {
            true => QUIET,
            false => BUSY,
        }
    }

    /// From now on the issuer is asked only when an event says that there is something new. Waits until it
    /// was asked for the last time.
    pub(crate) async fn rely_on_events(&self) -> Outcome<()> {
        self.relies_on_events.store(true, Ordering::SeqCst);
        let mut caught_up = self.caught_up.subscribe();
        caught_up.mark_unchanged();
        // A round that had begun may end first; the one that is woken here is the last.
        for _ in 0..2 {
            self.woken.notify_one();
            tokio::time::timeout(PATIENCE, caught_up.changed()).await??;
        }
        Ok(())
    }

    pub(crate) fn caught_up(&self) {
        self.caught_up.send_modify(|count| *count += 1);
    }

    /// A token from the issuer, bound to the certificate of the connection that it is asked for on.
    pub(crate) async fn refresh_token(&self) -> Outcome<()> {
        let connection = self.machine.dial(ISSUER_HOST).await?;
        self.take_token(connection).await
    }

    async fn take_token(&self, mut connection: Connection) -> Outcome<()> {
        let audience = self.place.other_name.as_bytes().to_vec();
        let response = connection
            .send(Request::post("/token").body(audience)?)
            .await?;
        let text = ok(response)?;
        let shown = connection.shown;
        self.token.store(Some(Token { text, shown }));
        Ok(())
    }

    /// Another key, and another certificate for it by the one before. A token that is bound to the new
    /// one is there before any connection shows it.
    pub(crate) async fn renew(&self) -> Outcome<()> {
        let (key, csr) = key_and_request()?;
        let mut connection = self.machine.dial(ISSUER_HOST).await?;
        let request = Request::post("/renew").body(csr.into_bytes())?;
        let pem = ok(connection.send(request).await?)?;
        let identity = Identity::new(vec![m2m_pki::Certificate::from_pem(pem.as_bytes())?], key)?;
        let then = async |connection| self.take_token(connection).await;
        self.machine
            .replace_identity(identity, ISSUER_HOST, then)
            .await
    }

    /// The token that goes with a certificate.
    pub(crate) fn token_for(&self, shown: &CertificateThumbprint) -> Option<String> {
        let token = self.token.load();
        let token = Option::as_ref(&token)?;
        (token.shown == *shown).then(|| token.text.clone())
    }

    /// A connection to the other service, and a token for it.
    pub(crate) async fn open_line(&self) -> Outcome<Line> {
        let connection = self.machine.dial(self.place.other_host).await?;
        self.line(connection)
    }

    pub(crate) fn line(&self, connection: Connection) -> Outcome<Line> {
        let token = self.token_for(&connection.shown);
        Ok(Line {
            token: token.ok_or("no token for this certificate")?,
            connection,
        })
    }

    /// What this service asks of the other one: billing places orders, which it signs; orders reads
    /// invoices.
    pub(crate) async fn call(&self, line: &mut Line, nth: u64) -> Outcome<Response<Vec<u8>>> {
        // The newest token, if it is for the certificate of this connection.
        if let Some(newest) = self.token_for(&line.connection.shown) {
            line.token = newest;
        }
        let authorization = format!("Bearer {}", line.token);
        let request = match self.place.takes_orders {
            true => Request::get(format!("/invoices/{}", nth % 1000)).body(Vec::new())?,
            false => {
                let body = format!("{{\"order\":{nth}}}").into_bytes();
                let signature = self.sharer.sign(&order(&body))?;
                Request::post("/orders")
                    .header(REQUEST_SIGNATURE, signature)
                    .body(body)?
            }
        };
        let (mut parts, body) = request.into_parts();
        let headers = &mut parts.headers;
        headers.insert("authorization", authorization.parse()?);
        line.connection.send(Request::from_parts(parts, body)).await
    }

    pub(crate) fn last_word(&self) -> String {
        lock(&self.log).last().cloned().unwrap_or_default()
    }
}

impl Line {
    pub(crate) fn token(&self) -> &str {
        &self.token
    }
}

/// What is signed of an order.
pub(crate) fn order(body: &[u8]) -> RequestParts<'_> {
    RequestParts::new(b"POST", b"orders.example", b"/orders").with_body(body)
}

/// A store in one sealed file. A program would have its key from where its secrets are.
pub(crate) fn open_store(directory: &Path) -> Outcome<Arc<dyn Store>> {
    let key = LocalKey::new(SecretBytes::random(LocalKey::BYTES, &SystemRandom)?)?;
    let options = EmbeddedOptions::new(Arc::new(key));
    let store = EmbeddedStore::create(directory.join("state.m2m"), &options)?;
    Ok(Arc::new(store))
}

fn ok(response: Response<Vec<u8>>) -> Outcome<String> {
    match response.status() {
        StatusCode::OK => Ok(String::from_utf8(response.into_body())?),
        other => Err(format!("the issuer answers {other}").into()),
    }
}
