//! `Guard`: the one admission call. One direction, each step by what the one before found.
//!
//! ```text
//! Presented ─ taken? required? ─ fresh? ─ certificate ─ token ─ signature ─ API key ─ one name? ─ revoked?
//!                                                                                          │
//! Admitted ◀────────────────────────── decision ◀──────────────────────────────── Proven ◀─┘
//! ```

pub(crate) mod hook;
#[cfg(feature = "pki")]
mod peers;
mod revoked;
#[cfg(feature = "secrets")]
mod secrets;
mod who;

use std::fmt;
use std::sync::Arc;

use m2m_crypto::CertificateThumbprint;
use m2m_revoke::{Revocations, Target};
use m2m_token::{Confirmation, Presenter, Verified, Verifier};
use m2m_types::Timestamp;

use self::hook::catching;
use self::revoked::Checked;
use self::who::Who;
use crate::builder::GuardBuilder;
use crate::call::Call;
use crate::decision::{Decide, Decision};
use crate::freshness::{Age, Ages, Basis, Freshness};
use crate::presented::{Credential, Kinds, Presented};
use crate::proven::{Admitted, Proven};
use crate::refusal::{Refusal, RefusalReason};
use crate::scratch::GuardScratch;

/// Decides whether a call is admitted: who calls, by every credential that it shows, and whether it may.
///
/// Built once and shared by all threads. It holds no lock and does no I/O; what changes (keys, CRLs,
/// revocations, API keys, secrets) are snapshots that others swap. See the [crate's front page](crate).
pub struct Guard {
    pub(crate) decide: Box<dyn Decide>,
    pub(crate) tokens: Option<(Verifier, Freshness)>,
    pub(crate) revocations: Option<(Arc<Revocations>, Freshness)>,
    pub(crate) taken: Kinds,
    pub(crate) required: Kinds,
    pub(crate) several: Several,
    #[cfg(feature = "pki")]
    pub(crate) peers: Option<Peers>,
    #[cfg(feature = "secrets")]
    pub(crate) secrets: Secrets,
}

/// Whether several credentials must name one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Several {
    MustAgree,
    MayDisagree,
}

#[cfg(feature = "pki")]
pub(crate) struct Peers {
    pub(crate) trust: Box<dyn crate::PeerTrust>,
    pub(crate) crls: Freshness,
}

#[cfg(feature = "secrets")]
#[derive(Default)]
pub(crate) struct Secrets {
    pub(crate) keys: Option<Arc<m2m_types::Live<m2m_secrets::KeyTable>>>,
    pub(crate) compact: Option<(
        Arc<m2m_types::Live<crate::CallerSecrets>>,
        Arc<m2m_secrets::ReplayMemory>,
    )>,
    pub(crate) http: Option<(
        Arc<m2m_types::Live<crate::HttpCallers>>,
        m2m_secrets::HttpSignaturePolicy,
    )>,
}

impl Guard {
    /// Starts a guard that asks `decide` last. It takes no credential until it is told which.
    pub fn builder(decide: impl Decide + 'static) -> GuardBuilder {
        GuardBuilder::new(decide)
    }

    /// Whether it takes this kind of credential.
    pub const fn takes(&self, credential: Credential) -> bool {
        self.taken.has(credential)
    }

    /// Whether every call must come with this kind of credential.
    pub const fn requires(&self, credential: Credential) -> bool {
        self.required.has(credential)
    }

    /// Lets go of remembered tokens that have expired; see [`Verifier::purge_cache`].
    pub fn purge_cache(&self, now: Timestamp) {
        if let Some((verifier, _)) = &self.tokens {
            verifier.purge_cache(now);
        }
    }

    /// Admits a call, or says why not.
    ///
    /// The first check that fails ends it, so that a stranger's call costs at most the signature checks
    /// of one credential. `presented` is everything that came: what this guard does not take is a
    /// refusal.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; the caller learns [`Refusal::rejection`].
    pub fn admit<'a>(
        &'a self,
        presented: &Presented<'a>,
        call: &Call<'_>,
        now: Timestamp,
        scratch: &'a mut GuardScratch,
    ) -> Result<Admitted<'a>, Refusal> {
        let mut ages = Ages::default();
        let proven = match self.prove(presented, now, scratch, &mut ages) {
            Ok(proven) => proven,
            Err(refusal) => return Err(told(refusal, presented, ages)),
        };
        let refusal = match catching(hook::DECISION, || self.decide.decide(&proven, call)) {
            Ok(Decision::Allow) => return Ok(Admitted { proven }),
            Ok(Decision::Deny(denial)) => RefusalReason::Denied(denial).into(),
            Err(panicked) => panicked,
        };
        Err(told(of(&proven, refusal), presented, ages))
    }

    /// How old what it goes by is at `now`, whoever calls: for metrics.
    pub fn ages(&self, now: Timestamp) -> Ages {
        let mut ages = Ages::default();
        let mut look = |basis, freshness: &Freshness| {
            // A source that panics knows nothing.
            let age = freshness.look(now).map_or(Age::Never, |(age, _)| age);
            ages.set(basis, age);
        };
        if let Some((_, freshness)) = &self.revocations {
            look(Basis::Revocations, freshness);
        }
        if let Some((_, freshness)) = &self.tokens {
            look(Basis::Keys, freshness);
        }
        #[cfg(feature = "pki")]
        if let Some(peers) = &self.peers {
            look(Basis::Crls, &peers.crls);
        }
        ages
    }

    /// How full the cache of verified tokens is, for metrics; [`None`] without one. Looks at every place.
    pub fn cache_figures(&self) -> Option<m2m_token::CacheFigures> {
        self.tokens
            .as_ref()
            .and_then(|(verifier, _)| verifier.cache_figures())
    }

    fn prove<'a>(
        &'a self,
        presented: &Presented<'a>,
        now: Timestamp,
        scratch: &'a mut GuardScratch,
        ages: &mut Ages,
    ) -> Result<Proven<'a>, Refusal> {
        let kinds = Kinds(presented.kinds());
        self.check_kinds(kinds)?;
        self.check_ages(kinds, now, ages)?;

        let certificate = presented.thumbprint();
        let mut who = Who::new(self.several);
        #[cfg(feature = "pki")]
        if let Some(peer) = presented.peer {
            self.check_peer(peer, now)?;
        }

        let token = match presented.token.zip(self.tokens.as_ref()) {
            Some((text, (verifier, _))) => {
                let mut presenter = Presenter::unknown();
                if let Some(certificate) = certificate {
                    presenter = presenter.with_certificate(certificate);
                }
                if let Some(key) = presented.key {
                    presenter = presenter.with_key(key);
                }
                Some(verifier.verify_presented(text, &presenter, now, &mut scratch.token)?)
            }
            None => None,
        };

        #[cfg(feature = "secrets")]
        let signature = match presented.signed {
            Some(signed) => Some(self.check_signature(&signed, now, &mut scratch.signature)?),
            None => None,
        };
        #[cfg(feature = "secrets")]
        let api_key = match presented.api_key.zip(self.secrets.keys.as_ref()) {
            Some((key, table)) => Some(secrets::check_api_key(key, &table.load(), now)?),
            None => None,
        };

        #[cfg(feature = "pki")]
        if let Some(peer) = presented.peer {
            who.is_peer(peer.service_id())?;
        }
        #[cfg(feature = "secrets")]
        {
            if let Some(proof) = &api_key {
                who.is(Credential::ApiKey, &proof.owner)?;
            }
            if let Some(proof) = &signature {
                who.is(Credential::Signature, &proof.owner)?;
            }
        }
        if let Some(token) = &token {
            who.is_subject(token)?;
        }

        if let Some((set, _)) = &self.revocations {
            let reader = &mut Checked {
                reader: scratch.reader.of(set),
                now,
            };
            if let Some(thumbprint) = certificate.as_ref().filter(|it| !is_bound_to(&token, it)) {
                let target = Target::CertificateThumbprint(thumbprint.as_bytes());
                // One that is not known better counts as old.
                let checked = reader.check(Credential::Certificate, &target, None);
                checked.map_err(|refusal| match &token {
                    Some(token) => of_subject(token, refusal),
                    None => refusal,
                })?;
            }
            #[cfg(feature = "pki")]
            if let Some(peer) = presented.peer {
                reader.check_peer(peer)?;
            }
            #[cfg(feature = "secrets")]
            {
                if let Some(proof) = &api_key {
                    reader.check_api_key(proof)?;
                }
                if let Some(proof) = &signature {
                    reader.check_signature(proof)?;
                }
            }
        }
        Ok(Proven {
            name: who.name(),
            kinds,
            token,
            certificate,
            #[cfg(feature = "pki")]
            peer: presented.peer,
            #[cfg(feature = "secrets")]
            api_key,
            #[cfg(feature = "secrets")]
            signature,
            ages: *ages,
            now,
        })
    }

    /// Whether what came is what may and must come.
    #[inline]
    fn check_kinds(&self, kinds: Kinds) -> Result<(), Refusal> {
        let excess = kinds.without(self.taken);
        let lacking = self.required.without(kinds);
        match excess == NONE && lacking == NONE && kinds != NONE {
            true => Ok(()),
            false => Err(wrong_kinds(kinds, excess, lacking)),
        }
    }

    /// Whether what the checks will go by is fresh. Before any of them, so that the answer is the same
    /// whoever asks.
    #[inline]
    fn check_ages(&self, kinds: Kinds, now: Timestamp, ages: &mut Ages) -> Result<(), Refusal> {
        let mut look = |basis, freshness: &Freshness| {
            let (age, exceeded) = freshness.look(now)?;
            ages.set(basis, age);
            match exceeded {
                None => Ok(()),
                Some(limit) => Err(stale(basis, age, limit)),
            }
        };
        if let Some((_, freshness)) = &self.revocations {
            look(Basis::Revocations, freshness)?;
        }
        if let Some((_, keys)) = self
            .tokens
            .as_ref()
            .filter(|_| kinds.has(Credential::Token))
        {
            look(Basis::Keys, keys)?;
        }
        #[cfg(feature = "pki")]
        if let Some(peers) = self
            .peers
            .as_ref()
            .filter(|_| kinds.has(Credential::Certificate))
        {
            look(Basis::Crls, &peers.crls)?;
        }
        Ok(())
    }
}

/// Whether the token is bound to this certificate, which was then looked up together with it.
#[inline]
fn is_bound_to(token: &Option<Verified<'_>>, certificate: &CertificateThumbprint) -> bool {
    let confirmation = token
        .as_ref()
        .and_then(|token| token.claims().confirmation());
    confirmation == Some(Confirmation::Certificate(*certificate))
}

/// The refusal, with what else is known.
#[cold]
#[inline(never)]
fn told(refusal: Refusal, presented: &Presented<'_>, ages: Ages) -> Refusal {
    #[cfg(feature = "pki")]
    if let Some(peer) = presented.peer.filter(|_| refusal.reason().is_past_peers()) {
        return refusal
            .of_caller(peer.service_id().cloned())
            .with_ages(ages);
    }
    #[cfg(not(feature = "pki"))]
    let _ = presented;
    refusal.with_ages(ages)
}

#[cold]
#[inline(never)]
fn of(proven: &Proven<'_>, refusal: Refusal) -> Refusal {
    refusal.of_caller(proven.service_id().ok().map(|caller| caller.to_owned()))
}

#[cold]
#[inline(never)]
fn of_subject(token: &Verified<'_>, refusal: Refusal) -> Refusal {
    let subject = token.subject().and_then(|subject| subject.parse().ok());
    refusal.of_caller(subject)
}

const NONE: Kinds = Kinds(0);

#[cold]
#[inline(never)]
fn wrong_kinds(kinds: Kinds, excess: Kinds, lacking: Kinds) -> Refusal {
    let excess = excess.iter().next();
    let lacking = lacking.iter().next().filter(|_| kinds != NONE);
    match (excess, lacking) {
        (Some(credential), _) => RefusalReason::NotTaken { credential },
        (None, Some(credential)) => RefusalReason::Required { credential },
        (None, None) => RefusalReason::NothingPresented,
    }
    .into()
}

#[cold]
#[inline(never)]
fn stale(basis: Basis, age: Age, limit: std::time::Duration) -> Refusal {
    RefusalReason::Stale { basis, age, limit }.into()
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("taken", &self.taken)
            .field("required", &self.required)
            .field("several", &self.several)
            .finish_non_exhaustive()
    }
}
