//! `RuntimeBuilder`: what a runtime is to be. What is not said is strict.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use caep_stream::TransmitterMetadata;
use caep_stream::receiver::{Receiver, Source, TrustMatrix};
use caep_stream::transmitter::{Transmitter, TransmitterOptions};
use m2m_crypto::SystemRandom;
use m2m_guard::{AllowList, Decide, Freshness, Grant, Guard};
use m2m_revoke::{StoredOptions, StoredRevocations};
use m2m_secrets::KeyFormat;
use m2m_store::{Anchor, KeyEncryption, Store};
use m2m_token::{Audience, Issuers, TokenType, Verifier};
use m2m_tower::HttpSender;
use m2m_tower::ssf::SignalReceiver;
use m2m_types::{Clock, ServiceId, SystemClock};

use super::api_keys::ApiKeys;
use super::error::{RuntimeError, StartError};
use super::invitation::Invitation;
use super::issuer::{Issuer, IssuerOptions};
use super::log::{Log, LogEvent};
use super::membership::{Link, Membership};
use super::records::Records;
use super::remote::RemoteIssuer;
use super::report::Board;
use super::state::{self, StateOptions};
use super::tasks::TaskName;
use super::{Inner, Runtime};

const HOUR: Duration = Duration::from_secs(3600);

/// Builds a [`Runtime`]; see [`Runtime::builder`].
#[must_use]
pub struct RuntimeBuilder {
    service: Result<ServiceId, StartError>,
    directory: PathBuf,
    state: StateOptions,
    clock: Arc<dyn Clock>,
    log: Log,
    issuing: Issuing,
    certificate_lifetime: Duration,
    token_lifetime: Duration,
    rotate_keys_every: Duration,
    allowed: AllowList,
    decide: Option<Box<dyn Decide>>,
    bearer_tokens: bool,
    api_keys: Option<(Box<str>, Box<str>)>,
    receiving: Option<(Vec<Source>, TrustMatrix)>,
    transmitting: Option<(Vec<Box<str>>, TransmitterOptions, HttpSender)>,
    problem: Option<StartError>,
}

enum Issuing {
    Unsaid,
    Own(Box<str>),
    Of(Arc<Issuer>),
    By(Option<Box<str>>),
}

impl RuntimeBuilder {
    pub(super) fn new(service: &str, directory: PathBuf) -> Self {
        Self {
            service: named(service),
            directory,
            state: StateOptions {
                outer: None,
                anchor: None,
            },
            clock: Arc::new(SystemClock::new()),
            log: Log::default(),
            issuing: Issuing::Unsaid,
            certificate_lifetime: 24 * HOUR,
            token_lifetime: Duration::from_secs(300),
            rotate_keys_every: 7 * 24 * HOUR,
            allowed: AllowList::new(),
            decide: None,
            bearer_tokens: false,
            api_keys: None,
            receiving: None,
            transmitting: None,
            problem: None,
        }
    }

    /// Issues: certificates for the machines of our trust domain, and tokens whose `iss` is `url`. Keys and
    /// records are kept in the state directory.
    pub fn as_issuer(mut self, url: &str) -> Self {
        self.issuing = Issuing::Own(url.into());
        self
    }

    /// Belongs to an issuer of this process ([`Runtime::issuer`]). **Whoever has it can issue to any
    /// name**: that this service is who it says is for the program that puts both together to know.
    pub fn joining(mut self, issuer: &Arc<Issuer>) -> Self {
        self.issuing = Issuing::Of(Arc::clone(issuer));
        self
    }

    /// Belongs to an issuer in another process, by an invitation of it ([`Issuer::invite`]). It is needed
    /// once: whoever has a certificate that is good stays a member, whatever is given here.
    ///
    /// ```no_run
    /// # fn example() {
    /// let invitation = std::env::var("INVITATION").ok();
    /// let builder = m2m::Runtime::builder("spiffe://example.org/billing", "state").joining_by(invitation);
    /// # let _ = builder;
    /// # }
    /// ```
    pub fn joining_by(mut self, invitation: Option<String>) -> Self {
        self.issuing = Issuing::By(invitation.map(String::into_boxed_str));
        self
    }

    /// `caller` may do this as well. Nobody may do anything that is not said.
    pub fn allow(mut self, caller: &str, grant: Grant) -> Self {
        match named(caller) {
            Ok(caller) => self.allowed = self.allowed.allow(&caller, grant),
            Err(error) => self.problem = self.problem.or(Some(error)),
        }
        self
    }

    /// Every machine of our trust domain may do this as well, also those that join later.
    pub fn allow_members(mut self, grant: Grant) -> Self {
        if let Ok(service) = &self.service {
            let domain = service.trust_domain();
            self.allowed = self.allowed.allow_members_of(&domain, grant);
        }
        self
    }

    /// Asks `decide` who may do what, in the place of what was said by [`RuntimeBuilder::allow`].
    pub fn deciding(mut self, decide: impl Decide + 'static) -> Self {
        self.decide = Some(Box::new(decide));
        self
    }

    /// Tells `log` why calls and peers were refused, and which background work failed. Nothing is told
    /// otherwise: `|event| eprintln!("{event}")` prints it. It should not block.
    pub fn with_log(mut self, log: impl Fn(&LogEvent<'_>) + Send + Sync + 'static) -> Self {
        self.log = Log::new(log);
        self
    }

    /// Takes API keys in the header `x-api-key`, in the form `prefix_environment_…`; see
    /// [`Runtime::api_keys`].
    pub fn with_api_keys(mut self, prefix: &str, environment: &str) -> Self {
        self.api_keys = Some((prefix.into(), environment.into()));
        self
    }

    /// Takes tokens that are bound to no certificate too, **from whoever has them**.
    pub fn with_bearer_tokens(mut self) -> Self {
        self.bearer_tokens = true;
        self
    }

    /// Takes events of these transmitters in, and revokes what they say, as far as `trust` believes them;
    /// see [`Runtime::signals`].
    pub fn receiving(mut self, sources: Vec<Source>, trust: TrustMatrix) -> Self {
        self.receiving = Some((sources, trust));
        self
    }

    /// Has events of these types, by URI, for others to receive; see [`Runtime::transmitter`]. For issuers:
    /// they are signed with its keys, and its endpoints are below its URL, which begins with `https`. Pushes
    /// go by `sender`.
    pub fn transmitting<'u>(
        mut self,
        events: impl IntoIterator<Item = &'u str>,
        options: TransmitterOptions,
        sender: HttpSender,
    ) -> Self {
        let events = events.into_iter().map(Box::from).collect();
        self.transmitting = Some((events, options, sender));
        self
    }

    /// Opens the store with this key of the application's own, in a KMS say, in the place of a key file.
    pub fn with_outer_key(mut self, key: Arc<dyn KeyEncryption>) -> Self {
        self.state.outer = Some(key);
        self
    }

    /// Remembers elsewhere how far the store has come, so that an older copy of the whole directory is
    /// noticed too. Without this, a file in the directory notices an older copy of the store alone.
    pub fn with_anchor(mut self, anchor: Arc<dyn Anchor>) -> Self {
        self.state.anchor = Some(anchor);
        self
    }

    /// Reads the time from `clock`.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long certificates live: a day, unless this is said. They are renewed when two thirds are over, at
    /// the latest.
    pub fn with_certificate_lifetime(mut self, lifetime: Duration) -> Self {
        self.certificate_lifetime = lifetime;
        self
    }

    /// How long tokens live: five minutes, unless this is said.
    pub fn with_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// How long a signing key signs: a week, unless this is said. It is accepted for as long as a token
    /// lives after that.
    pub fn with_signing_keys_for(mut self, period: Duration) -> Self {
        self.rotate_keys_every = period;
        self
    }

    /// Opens the state directory, loads what is in it, and is ready to answer. What is missing is made.
    ///
    /// Nothing runs in the background yet: see [`Runtime::run`] and [`Runtime::tasks`].
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn start(self) -> Result<Runtime, StartError> {
        if let Some(problem) = self.problem {
            return Err(problem);
        }
        let service = self.service?;
        let (clock, log, random) = (self.clock, self.log, &SystemRandom);
        let now = clock.now()?;
        if let Issuing::Unsaid = self.issuing {
            return Err(StartError::IssuerUnsaid);
        }
        let store = Arc::new(state::open(&self.directory, self.state, random)?);
        let any: Arc<dyn Store> = Arc::<m2m_store::EmbeddedStore>::clone(&store);
        let records = Records::new(Arc::clone(&any));

        // What is void is known before anything is answered.
        let options = StoredOptions::default();
        let revocations = StoredRevocations::open(Arc::clone(&any), now, random, options).await;
        let revocations = Arc::new(revocations.map_err(RuntimeError::revocations)?);

        let mut is_issuer = false;
        let link = match self.issuing {
            Issuing::Of(issuer) => Link::Here(issuer),
            Issuing::Own(url) => {
                is_issuer = true;
                let options = IssuerOptions {
                    url,
                    service: service.clone(),
                    certificate_lifetime: self.certificate_lifetime,
                    token_lifetime: self.token_lifetime,
                    rotate_keys_every: self.rotate_keys_every,
                };
                Link::Here(Arc::new(
                    Issuer::open(&records, options, now, random).await?,
                ))
            }
            Issuing::By(invitation) => {
                let invitation = invitation
                    .map(|text| Invitation::parse(&text))
                    .transpose()?;
                let joined = RemoteIssuer::open(&records).await?;
                let is_member = match &joined {
                    Some(issuer) => Membership::is_kept(&records, &service, issuer, now).await?,
                    None => false,
                };
                match (joined, invitation) {
                    (Some(issuer), invitation) if is_member || invitation.is_none() => {
                        Link::There(Box::new(issuer))
                    }
                    (_, Some(invitation)) => {
                        let places = (&records, &Membership::place()?);
                        let issuer =
                            RemoteIssuer::join(&invitation, &service, places, &*clock, random);
                        Link::There(Box::new(issuer.await?))
                    }
                    (_, None) => return Err(StartError::IssuerUnsaid),
                }
            }
            Issuing::Unsaid => return Err(StartError::IssuerUnsaid),
        };
        if link.service_id().trust_domain() != service.trust_domain() {
            return Err(StartError::Contradiction {
                what: "the issuer is of another trust domain than this service",
            });
        }
        let is_remote = matches!(link, Link::There(_));
        let membership = Membership::open(
            service.clone(),
            link,
            records.clone(),
            Arc::clone(&clock),
            log.clone(),
            random,
        )
        .await?;
        let link = membership.link();

        let api_keys = match self.api_keys {
            None => None,
            Some((prefix, environment)) => {
                let format = KeyFormat::new(&prefix, &environment);
                let format = format.map_err(RuntimeError::api_keys)?;
                Some(ApiKeys::open(&records, format, now, random).await?)
            }
        };
        let signals = match self.receiving {
            None => None,
            Some((sources, trust)) => {
                let receiver = Receiver::open(Arc::clone(&any), "main", sources, random).await;
                let receiver = receiver.map_err(RuntimeError::events)?.with_trust(trust);
                let revocations = Arc::clone(&revocations);
                let clock = Arc::clone(&clock);
                let log = log.clone();
                let signals = SignalReceiver::new(Arc::new(receiver), revocations, clock);
                Some(signals.with_observer(move |acted| log.tell(&LogEvent::Signal(acted))))
            }
        };
        let transmitting = match (self.transmitting, membership.issuer()) {
            (None, _) => None,
            (Some((events, options, sender)), Some(issuer)) if is_issuer => {
                let transmitter = transmitter(&any, issuer, &events, options)?;
                Some((Arc::new(transmitter), sender))
            }
            _ => {
                return Err(StartError::Contradiction {
                    what: "only an issuer transmits events: they are signed with its keys",
                });
            }
        };

        let tokens = Verifier::builder(
            Issuers::one(link.iss(), link.keys()),
            Audience::exactly(service.as_str()),
            TokenType::access_token(),
        )
        .with_trust_domain(service.trust_domain())
        .with_cache(16 << 20, random);
        let tokens = tokens.map_err(RuntimeError::tokens)?;
        let guard = match self.decide {
            Some(decide) => Guard::builder(Asked(decide)),
            None => Guard::builder(self.allowed),
        };
        let guard = match self.bearer_tokens {
            true => guard.with_bearer_tokens(tokens, link.keys_freshness()),
            false => guard.with_bound_tokens(tokens, link.keys_freshness()),
        };
        // Nobody else writes to our store.
        let set = Arc::clone(revocations.revocations());
        let guard = guard
            .with_peers(membership.tls().clone(), link.crl_freshness())
            .with_revocations(set, Freshness::in_process());
        let guard = match &api_keys {
            Some(keys) => guard.with_api_keys(keys.table()),
            None => guard,
        };
        let guard = guard.build().map_err(RuntimeError::guard)?;

        let has = |name: TaskName| match name {
            TaskName::SigningKeys => is_issuer,
            TaskName::IssuerKeys => is_remote,
            TaskName::EventsReceived => signals.is_some(),
            TaskName::EventsSent => transmitting.is_some(),
            _ => true,
        };
        let board = Board::new(ALL_TASKS.into_iter().filter(|name| has(*name)));
        Ok(Runtime {
            inner: Arc::new(Inner {
                service,
                store,
                clock,
                log,
                revocations,
                is_issuer,
                membership,
                guard: Arc::new(guard),
                api_keys,
                signals,
                transmitting,
                board,
                pruned: tokio::sync::Mutex::new(None),
            }),
        })
    }
}

const ALL_TASKS: [TaskName; 9] = [
    TaskName::SigningKeys,
    TaskName::Crl,
    TaskName::IssuerKeys,
    TaskName::Certificate,
    TaskName::Connections,
    TaskName::Revocations,
    TaskName::Store,
    TaskName::EventsReceived,
    TaskName::EventsSent,
];

fn named(name: &str) -> Result<ServiceId, StartError> {
    name.parse().map_err(|problem| StartError::Name {
        name: name.chars().take(64).collect::<String>().into(),
        problem,
    })
}

fn transmitter(
    store: &Arc<dyn Store>,
    issuer: &Issuer,
    events: &[Box<str>],
    options: TransmitterOptions,
) -> Result<Transmitter, RuntimeError> {
    let url = issuer.url().trim_end_matches('/');
    let at = |path: &str| format!("{url}{path}");
    let metadata = TransmitterMetadata::new(issuer.url(), &at("/.well-known/jwks.json"))
        .and_then(|metadata| {
            metadata.with_endpoints(
                &at("/ssf/streams"),
                &at("/ssf/status"),
                &at("/ssf/subjects:add"),
                &at("/ssf/subjects:remove"),
                &at("/ssf/verify"),
            )
        })
        .map_err(RuntimeError::events)?;
    Transmitter::new(
        Arc::clone(store),
        "main",
        metadata,
        &at("/ssf/poll"),
        Arc::clone(issuer.signing_keys()),
        events.iter().map(|event| &**event),
        options,
    )
    .map_err(RuntimeError::events)
}

/// A decision whose type is not known any more.
struct Asked(Box<dyn Decide>);

impl Decide for Asked {
    fn decide(
        &self,
        caller: &m2m_guard::Proven<'_>,
        call: &m2m_guard::Call<'_>,
    ) -> m2m_guard::Decision {
        self.0.decide(caller, call)
    }
}

impl fmt::Debug for RuntimeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeBuilder")
            .field("service", &self.service)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// What observes the layer.
    pub(super) fn observer(&self) -> impl Fn(&m2m_tower::Refused, u64) + Send + Sync + use<> {
        let log = self.log.clone();
        move |refused, unseen| log.tell(&LogEvent::Refused { refused, unseen })
    }
}
