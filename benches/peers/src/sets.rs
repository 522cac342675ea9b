//! Security Event Tokens: received, made, and made for one audience more, beside jsonwebtoken with serde_json
//! and beside the bare signature over the same bytes.

use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use caep_set::{
    EventTime, InitiatingEntity, Profile, Reasons, SecurityEvent, SessionRevoked, SetMinter,
    SetVerifier, SubjectId,
};
use m2m_crypto::{MAX_SIGNATURE_BYTES, SecureRandom, SigningKey, SystemRandom};
use m2m_token::{Audience, Issuers, Scratch, SigningKeyRing};
use m2m_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::contender::{Contender, Recipe};
use crate::fixture::{Algorithm, Fixture, Parts};
use crate::ours::token::now;
use crate::peers::jsonwebtoken::{Backend, decoding_key, encoding_key, jose};
use crate::peers::raw::{ring_sign, ring_verify};

const ISSUER: &str = "https://idp.example.com/123456789/";
const AUDIENCE: &str = "https://sp.example.com/caep";
/// What a transmitter has recorded before it signs.
const TOKEN_ID: &str = "24c63fb56e5a2d77a6b512616ca9fa24";
const TYPE: &str = "secevent+jwt";

/// The algorithms that SETs are measured with.
pub const ALGORITHMS: [Algorithm; 2] = [Algorithm::Es256, Algorithm::EdDsa];

/// Each group begins with ring.
pub fn recipes() -> Vec<Recipe> {
    let receive = |algorithm: Algorithm, library, prepare: Receiver| {
        let id = format!("set/receive/{}/{library}", algorithm.id());
        Recipe::new(id, move |id, fixture| {
            Contender::verifying(id, set(algorithm, fixture), |set| {
                prepare(algorithm, set, fixture)
            })
        })
    };
    let mint = |algorithm: Algorithm, library, prepare: Transmitter| {
        let id = format!("set/mint/{}/{library}", algorithm.id());
        Recipe::new(id, move |id, fixture| {
            let receiver = receiver(algorithm, fixture);
            Contender::minting(id, prepare(algorithm, fixture), move |set| receiver(set))
        })
    };
    let sign = |algorithm: Algorithm| {
        let id = format!("set/mint/{}/ring", algorithm.id());
        Recipe::new(id, move |id, fixture| {
            let input = Parts::of(set(algorithm, fixture)).signed;
            Contender::new(id, ring_sign(algorithm, input))
        })
    };
    // The same with the memory wiped that it went through, as each of our signatures is made.
    let sign_only = |algorithm: Algorithm| {
        let id = format!("set/mint/{}/m2m-sign", algorithm.id());
        Recipe::new(id, move |id, fixture| {
            let input = Parts::of(set(algorithm, fixture)).signed;
            let key = signing_key(algorithm);
            let mut signature = [0; MAX_SIGNATURE_BYTES];
            Contender::new(id, move || {
                key.sign(black_box(&input), &mut signature).is_ok()
            })
        })
    };
    let received = ALGORITHMS.into_iter().flat_map(|algorithm| {
        [
            receive(algorithm, "ring", |algorithm, set, _| {
                ring_verify(algorithm, Parts::of(set))
            }),
            receive(algorithm, "jsonwebtoken-aws-lc", receive_peer),
            receive(algorithm, "m2m", receive_ours),
        ]
    });
    let minted = ALGORITHMS.into_iter().flat_map(|algorithm| {
        [
            sign(algorithm),
            sign_only(algorithm),
            mint(algorithm, "jsonwebtoken-aws-lc", mint_peer),
            mint(algorithm, "m2m", mint_ours),
            mint(algorithm, "m2m-aws-lc", mint_on_aws_lc),
            mint(algorithm, "m2m-audience-more", mint_for_one_more),
        ]
    });
    received.chain(minted).collect()
}

type Receiver = fn(Algorithm, &str, &Fixture) -> Box<dyn FnMut() -> bool>;
type Transmitter = fn(Algorithm, &Fixture) -> Box<dyn FnMut() -> String>;

/// The one SET that all contenders receive.
fn set(algorithm: Algorithm, fixture: &Fixture) -> &'static str {
    static SETS: [OnceLock<String>; 4] = [const { OnceLock::new() }; 4];
    SETS[algorithm as usize].get_or_init(|| {
        let template = minter(algorithm)
            .template(&event(now(fixture)), now(fixture))
            .expect("it can be written");
        minter(algorithm)
            .mint_named(&template, AUDIENCE, TOKEN_ID)
            .expect("it signs")
    })
}

/// The example of CAEP 1.0 §3.1 with a complex subject and all optional members.
fn event(at: Timestamp) -> SecurityEvent {
    let same = |sub| SubjectId::issuer_subject(ISSUER, sub).expect("a subject");
    let subject = SubjectId::complex([
        ("user", same("jane.smith@example.com")),
        ("device", same("e9297990-14d2-42ec-a4a9-4036db86509a")),
        ("tenant", SubjectId::opaque("123456789").expect("a subject")),
    ]);
    let mut event = SessionRevoked::new();
    event.common.initiating_entity = Some(InitiatingEntity::Policy);
    event.common.reason_admin = Some(Reasons::in_language("en", "Policy Violation: C076E822"));
    event.common.reason_user = Some(
        Reasons::in_language("en", "This device is no longer compliant.")
            .and("it", "Questo dispositivo non è più conforme."),
    );
    event.common.event_timestamp = Some(EventTime::from(at));
    SecurityEvent::new(subject.expect("a subject"), event).with_transaction("8675309")
}

fn signing_key(algorithm: Algorithm) -> SigningKey {
    let name = m2m_crypto::Algorithm::from_name(algorithm.name()).expect("both know it");
    let key = SigningKey::from_pem(name, algorithm.private_pem().as_bytes());
    key.expect("the fixture's key parses")
}

fn ring_of(algorithm: Algorithm) -> Arc<SigningKeyRing> {
    let ring = SigningKeyRing::new(signing_key(algorithm), Duration::from_secs(3600));
    Arc::new(ring.expect("a sound ring"))
}

fn minter(algorithm: Algorithm) -> SetMinter {
    SetMinter::new(ISSUER, ring_of(algorithm)).expect("a name")
}

fn verifier(algorithm: Algorithm) -> SetVerifier {
    let issuers = Issuers::one(ISSUER, ring_of(algorithm).verifying_keys());
    SetVerifier::new(issuers, Audience::exactly(AUDIENCE), Profile::ssf()).expect("a sound policy")
}

fn receiver(algorithm: Algorithm, fixture: &Fixture) -> impl Fn(&str) -> bool + use<> {
    let now = now(fixture);
    let verifier = verifier(algorithm);
    move |set| {
        let received = verifier.verify(set, now, &mut Scratch::new());
        received.is_ok_and(|set| set.conforming().is_ok())
    }
}

/// Authentic, and held against every rule of SSF 1.0; the event and its subject come out typed.
fn receive_ours(algorithm: Algorithm, set: &str, fixture: &Fixture) -> Box<dyn FnMut() -> bool> {
    let now = now(fixture);
    let (verifier, set) = (verifier(algorithm), set.to_owned());
    let mut scratch = Scratch::new();
    Box::new(move || {
        let received = verifier.verify(black_box(&set), now, &mut scratch);
        received.is_ok_and(|set| black_box(set.conforming()).is_ok())
    })
}

fn mint_ours(algorithm: Algorithm, fixture: &Fixture) -> Box<dyn FnMut() -> String> {
    minting(minter(algorithm), fixture)
}

fn mint_on_aws_lc(algorithm: Algorithm, fixture: &Fixture) -> Box<dyn FnMut() -> String> {
    let key = signing_key(algorithm).with_backend(m2m_crypto::Backend::AwsLcRs);
    let key = key.expect("aws-lc-rs knows it");
    let ring = SigningKeyRing::new(key, Duration::from_secs(3600)).expect("a sound ring");
    minting(
        SetMinter::new(ISSUER, Arc::new(ring)).expect("a name"),
        fixture,
    )
}

fn minting(minter: SetMinter, fixture: &Fixture) -> Box<dyn FnMut() -> String> {
    let now = now(fixture);
    let event = event(now);
    Box::new(move || {
        let set = minter.mint(black_box(&event), AUDIENCE, now, &SystemRandom);
        set.expect("it signs").into_token()
    })
}

/// What each further audience of the same event costs.
fn mint_for_one_more(algorithm: Algorithm, fixture: &Fixture) -> Box<dyn FnMut() -> String> {
    let now = now(fixture);
    let minter = minter(algorithm);
    let template = minter
        .template(&event(now), now)
        .expect("it can be written");
    Box::new(move || {
        let set = minter.mint_named(black_box(&template), AUDIENCE, TOKEN_ID);
        set.expect("it signs")
    })
}

/// What a user of jsonwebtoken declares for this one type of event. Nothing is checked but issuer and
/// audience: it knows no rules of SSF.
#[derive(Clone, Serialize, Deserialize)]
struct Claims {
    iss: String,
    iat: u64,
    aud: String,
    jti: String,
    txn: String,
    sub_id: Subject,
    events: Events,
}

#[derive(Clone, Serialize, Deserialize)]
struct Subject {
    format: String,
    user: IssuerSubject,
    device: IssuerSubject,
    tenant: Opaque,
}

#[derive(Clone, Serialize, Deserialize)]
struct IssuerSubject {
    format: String,
    iss: String,
    sub: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Opaque {
    format: String,
    id: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Events {
    #[serde(rename = "https://schemas.openid.net/secevent/caep/event-type/session-revoked")]
    session_revoked: serde_json::Map<String, serde_json::Value>,
}

fn receive_peer(algorithm: Algorithm, set: &str, _: &Fixture) -> Box<dyn FnMut() -> bool> {
    let mut validation = jsonwebtoken::Validation::new(jose(algorithm));
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["iss", "aud"]);
    let (key, set) = (decoding_key(algorithm), set.to_owned());
    Box::new(move || {
        Backend::AwsLc.select();
        jsonwebtoken::decode::<Claims>(black_box(&set), &key, &validation).is_ok()
    })
}

/// The event is there as it is; only `jti` is drawn, as ours is.
fn mint_peer(algorithm: Algorithm, fixture: &Fixture) -> Box<dyn FnMut() -> String> {
    let mut header = jsonwebtoken::Header::new(jose(algorithm));
    header.typ = Some(TYPE.into());
    header.kid = ring_of(algorithm).states().pop().map(|(kid, _)| kid.into());
    let key = encoding_key(algorithm);
    let mut claims = claims_of(set(algorithm, fixture));
    Box::new(move || {
        Backend::AwsLc.select();
        let mut name = [0; 16];
        SystemRandom
            .fill(&mut name)
            .expect("the system has randomness");
        claims.jti = format!("{:032x}", u128::from_be_bytes(name));
        jsonwebtoken::encode(&header, black_box(&claims), &key).expect("it signs")
    })
}

fn claims_of(set: &str) -> Claims {
    let payload = set.split('.').nth(1).expect("a token has dots");
    serde_json::from_slice(&crate::fixture::decoded(payload)).expect("it has these claims")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

    #[test]
    fn the_peer_reads_the_whole_event() {
        let fixture = Fixture::new();
        let claims = claims_of(set(Algorithm::Es256, &fixture));
        assert_eq!(claims.events.session_revoked.len(), 4);
        let written = serde_json::to_value(&claims).expect("it is plain JSON");
        assert_eq!(written["events"][EVENT]["initiating_entity"], "policy");
    }
}
