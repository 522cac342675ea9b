//! What a receiver does about what it was told: whom it believes, what it voids, and when it stops.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use caep_set::{
    AccountDisabled, AccountEnabled, ChangeType, ComplianceStatus, CredentialChange,
    CredentialType, DeviceComplianceChange, Event, EventTime, IdentifierRecycled, Members,
    ProvDelete, SecurityEvent, SessionRevoked, SessionsRevoked, SubjectId, TokenClaimsChange,
};
use caep_stream::receiver::{
    ActError, Acted, Ceiling, EffectPolicy, Namespace, Outcome, Receiver, Release, ResolveSubject,
    Source, Trust, TrustMatrix, TrustRule, VoidTarget,
};
use common::{A, B, NOW, RECEIVER, Transmitter, at, memory, open, push, revocations};
use m2m_crypto::SystemRandom;
use m2m_revoke::{StoredRevocations, Target, TokenFacts};
use m2m_store::{Batch, Expected, Failure, Key, Space, Store};
use pollster::block_on;
use proptest::prelude::*;

fn bring(receiver: &Receiver, set: &str, now: u64) {
    let pushed = block_on(receiver.handle_push(&push(set, None), at(now), &SystemRandom));
    assert_eq!(pushed.response.status(), 202, "{pushed:?}");
}

fn act(receiver: &Receiver, revocations: &StoredRevocations, now: u64) -> Vec<Acted> {
    let report = block_on(receiver.act(revocations, 256, at(now), &SystemRandom));
    assert_eq!(report.problem, None);
    report.acted
}

struct World {
    a: Transmitter,
    store: Arc<dyn Store>,
    memory: Arc<m2m_store::MemoryStore>,
    revocations: StoredRevocations,
}

impl World {
    fn new() -> Self {
        let (memory, store) = memory();
        Self {
            a: Transmitter::new(A),
            revocations: revocations(&store),
            memory,
            store,
        }
    }

    fn source(&self) -> Source {
        self.a.source().danger_pushed_by_anybody()
    }

    fn receiver(&self) -> Receiver {
        open(&self.store, vec![self.source()])
    }

    /// What comes of one event.
    fn outcome(
        &self,
        receiver: &Receiver,
        jti: &str,
        subject: SubjectId,
        event: impl Into<Event>,
    ) -> Outcome {
        bring(receiver, &self.a.set(jti, subject, event), NOW);
        let acted = act(receiver, &self.revocations, NOW);
        assert_eq!(acted.len(), 1);
        acted[0].outcome().clone()
    }

    fn targets(
        &self,
        receiver: &Receiver,
        jti: &str,
        subject: SubjectId,
        event: impl Into<Event>,
    ) -> Vec<VoidTarget> {
        match self.outcome(receiver, jti, subject, event) {
            Outcome::Voided(all) => all.into_iter().map(|one| one.target).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn accepts(&self, facts: TokenFacts<'_>, now: u64) -> bool {
        self.revocations
            .revocations()
            .check_token(&facts, at(now))
            .is_ok()
    }
}

fn token(subject: &'static str, issued: u64) -> TokenFacts<'static> {
    TokenFacts {
        issuer: A,
        jti: Some("t"),
        subject: Some(subject),
        session: Some("s"),
        key: None,
        issued_at: Some(at(issued)),
    }
}

fn opaque(id: &str) -> SubjectId {
    SubjectId::opaque(id).unwrap()
}

fn user(sub: &str) -> SubjectId {
    SubjectId::issuer_subject(A, sub).unwrap()
}

fn complex<const N: usize>(parts: [(&str, SubjectId); N]) -> SubjectId {
    SubjectId::complex(parts).unwrap()
}

fn subject(sub: &str) -> VoidTarget {
    VoidTarget::Subject {
        issuer: A.into(),
        subject: sub.into(),
    }
}

fn session(sid: &str) -> VoidTarget {
    VoidTarget::Session {
        issuer: A.into(),
        sid: sid.into(),
    }
}

#[test]
fn each_event_voids_what_the_table_says() {
    let world = World::new();
    let receiver = world.receiver();
    let spiffe = "spiffe://example.org/billing";
    let jwt = SubjectId::jwt_id(A, "j-1").unwrap();
    let of =
        |credential: CredentialType, change: ChangeType| CredentialChange::new(credential, change);
    let cases: Vec<(SubjectId, Event, Vec<VoidTarget>)> = vec![
        (
            opaque("1"),
            SessionRevoked::new().into(),
            vec![session("1")],
        ),
        (
            complex([
                ("user", user("alice")),
                ("session", opaque("2")),
                ("tenant", opaque("t")),
            ]),
            SessionRevoked::new().into(),
            vec![session("2")],
        ),
        (
            complex([("session", user("3"))]),
            SessionRevoked::new().into(),
            vec![session("3")],
        ),
        (
            user("alice"),
            SessionRevoked::new().into(),
            vec![subject("alice")],
        ),
        (
            complex([("user", user("bob"))]),
            SessionRevoked::new().into(),
            vec![subject("bob")],
        ),
        (
            opaque("carol"),
            SessionsRevoked::new().into(),
            vec![session("carol")],
        ),
        (
            opaque("carol"),
            AccountDisabled::new().into(),
            vec![subject("carol")],
        ),
        (
            user("dave"),
            ProvDelete::new().into(),
            vec![subject("dave")],
        ),
        (
            user("erin"),
            of(CredentialType::Password, ChangeType::Update).into(),
            vec![subject("erin")],
        ),
        (
            SubjectId::uri(spiffe).unwrap(),
            SessionRevoked::new().into(),
            vec![VoidTarget::Service(spiffe.parse().unwrap())],
        ),
        (
            complex([("application", SubjectId::uri(spiffe).unwrap())]),
            SessionRevoked::new().into(),
            vec![VoidTarget::Service(spiffe.parse().unwrap())],
        ),
        (
            jwt,
            SessionRevoked::new().into(),
            vec![VoidTarget::Token {
                issuer: A.into(),
                jti: "j-1".into(),
            }],
        ),
        (
            SubjectId::aliases([user("f1"), user("f2")]).unwrap(),
            AccountDisabled::new().into(),
            vec![subject("f1"), subject("f2")],
        ),
    ];
    for (nth, (about, event, expected)) in cases.into_iter().enumerate() {
        let found = world.targets(&receiver, &nth.to_string(), about, event);
        assert_eq!(found, expected, "{nth}");
    }
    for (nth, event) in [
        Event::from(AccountEnabled::new()),
        TokenClaimsChange::new(Members::from_json(r#"{"role":"x"}"#).unwrap()).into(),
        of(CredentialType::Password, ChangeType::Create).into(),
        of(CredentialType::X509, ChangeType::Update).into(),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = world.outcome(&receiver, &format!("t{nth}"), user("x"), event);
        assert_eq!(outcome, Outcome::Told, "{nth}");
    }
}

#[test]
fn set_012_a_subject_is_never_widened() {
    let world = World::new();
    let receiver = world.receiver();
    for (nth, about) in [
        // Sessions of alice on one device, in one tenant, in one application: not all of hers.
        complex([("user", user("alice")), ("device", opaque("d"))]),
        complex([("user", user("alice")), ("tenant", opaque("t"))]),
        complex([("user", user("alice")), ("application", opaque("x"))]),
        // Many, and nobody knows whom.
        complex([("tenant", opaque("t"))]),
        complex([("group", opaque("g"))]),
        // A part that nobody understands narrows in a way that nobody knows.
        complex([("session", opaque("s")), ("x-zone", opaque("z"))]),
        complex([("user", user("alice")), ("x-zone", opaque("z"))]),
        SubjectId::scim("/Groups/1").unwrap(),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = world.outcome(&receiver, &nth.to_string(), about, SessionRevoked::new());
        assert_eq!(outcome, Outcome::NoMatch, "{nth}");
    }
    // Not in a namespace: of another issuer, in other letters, of an unknown format.
    let unknown = r#"{"format":"complex","user":{"format":"iss_sub","iss":"https://a.example","sub":"alice"},"device":{"format":"x-badge","n":1}}"#;
    for (nth, about) in [
        SubjectId::issuer_subject(B, "alice").unwrap(),
        SubjectId::issuer_subject("https://A.example", "alice").unwrap(),
        SubjectId::email("alice@a.example").unwrap(),
        SubjectId::from_json(unknown).unwrap(),
        SubjectId::aliases([user("alice"), SubjectId::email("a@a.example").unwrap()]).unwrap(),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = world.outcome(&receiver, &format!("n{nth}"), about, SessionRevoked::new());
        assert_eq!(outcome, Outcome::Ignored, "{nth}");
    }
    assert!(world.accepts(token("alice", NOW - 5), NOW));
    assert!(world.accepts(token("bob", NOW - 5), NOW));
}

#[test]
fn a_tenant_that_the_rule_is_for_narrows_nothing() {
    let world = World::new();
    let rule = TrustRule::new(A, Trust::Act)
        .about(Namespace::issuer(A))
        .in_tenant(opaque("acme"));
    let receiver = world.receiver().with_trust(TrustMatrix::new().with(rule));
    let of = |tenant: &str| complex([("user", user("alice")), ("tenant", opaque(tenant))]);
    let found = world.targets(&receiver, "1", of("acme"), SessionRevoked::new());
    assert_eq!(found, [subject("alice")]);
    let outcome = world.outcome(&receiver, "2", of("evil"), SessionRevoked::new());
    assert_eq!(outcome, Outcome::Ignored);
    let outcome = world.outcome(&receiver, "3", user("alice"), SessionRevoked::new());
    assert_eq!(
        outcome,
        Outcome::Ignored,
        "without a tenant it is not of that tenant"
    );
}

#[test]
fn nobody_is_believed_anything_by_default_and_the_first_rule_that_fits_decides() {
    let world = World::new();
    let nobody = world.receiver().with_trust(TrustMatrix::new());
    let outcome = world.outcome(&nobody, "1", opaque("s"), SessionRevoked::new());
    assert_eq!(outcome, Outcome::Ignored);
    let matrix = TrustMatrix::new()
        .with(
            TrustRule::new(A, Trust::Ignore)
                .for_events([AccountDisabled::URI])
                .about(Namespace::danger_any()),
        )
        .with(TrustRule::new(A, Trust::Advise).about(Namespace::own()))
        .with(TrustRule::new(A, Trust::Act).about(Namespace::danger_any()))
        .with(TrustRule::new(B, Trust::Act).about(Namespace::danger_any()));
    let receiver = world.receiver().with_trust(matrix);
    let outcome = world.outcome(&receiver, "2", opaque("s"), AccountDisabled::new());
    assert_eq!(outcome, Outcome::Ignored);
    let outcome = world.outcome(&receiver, "3", opaque("s"), SessionRevoked::new());
    assert_eq!(outcome, Outcome::Advised);
    let found = world.targets(&receiver, "4", user("s"), SessionRevoked::new());
    assert_eq!(found, [subject("s")]);
}

#[test]
fn set_010_what_is_void_stays_void_whatever_comes_late() {
    let world = World::new();
    let receiver = world.receiver();
    let timed = |event: AccountDisabled, toe: u64| {
        SecurityEvent::new(user("alice"), event).with_time_of_event(at(toe))
    };
    // Told of in the wrong order: the later one first.
    let later = world.a.sign(
        &timed(AccountDisabled::new(), NOW - 100),
        "1",
        RECEIVER,
        NOW,
    );
    let older = world.a.sign(
        &timed(AccountDisabled::new(), NOW - 900),
        "2",
        RECEIVER,
        NOW,
    );
    bring(&receiver, &later, NOW);
    bring(&receiver, &older, NOW + 1);
    assert_eq!(act(&receiver, &world.revocations, NOW + 1).len(), 2);
    assert!(!world.accepts(token("alice", NOW - 900), NOW));
    assert!(
        !world.accepts(token("alice", NOW - 100), NOW),
        "at that very second"
    );
    assert!(
        world.accepts(token("alice", NOW - 99), NOW),
        "a login after it is not meant"
    );
    // "Enabled again", from before it was disabled, and from after.
    let enabled = |toe: u64| {
        SecurityEvent::new(user("alice"), AccountEnabled::new()).with_time_of_event(at(toe))
    };
    for (jti, toe, expected) in [
        ("3", NOW - 200, Outcome::Superseded),
        ("4", NOW - 50, Outcome::Told),
        ("5", NOW - 60, Outcome::Superseded),
    ] {
        let set = world.a.sign(&enabled(toe), jti, RECEIVER, NOW);
        bring(&receiver, &set, NOW + 2);
        let acted = act(&receiver, &world.revocations, NOW + 2);
        assert_eq!(acted[0].outcome(), &expected, "{jti}");
    }
    assert!(!world.accepts(token("alice", NOW - 100), NOW + 2));
    // A state of a device: the latest counts, in whatever order they come.
    let state = |status: ComplianceStatus, when: u64| {
        let mut event = DeviceComplianceChange::new(ComplianceStatus::Compliant, status);
        event.common.event_timestamp = Some(EventTime::from(at(when)));
        event
    };
    for (jti, status, when, expected) in [
        ("6", ComplianceStatus::NotCompliant, NOW - 10, Outcome::Told),
        (
            "7",
            ComplianceStatus::Compliant,
            NOW - 20,
            Outcome::Superseded,
        ),
        ("8", ComplianceStatus::Compliant, NOW - 5, Outcome::Told),
    ] {
        let outcome = world.outcome(&receiver, jti, opaque("laptop"), state(status, when));
        assert_eq!(outcome, expected, "{jti}");
    }
}

fn revoked_at(time: &str) -> Event {
    let mut event = SessionRevoked::new();
    let json = format!(r#"{{"event_timestamp":{time}}}"#);
    // A transmitter may write any number.
    let members = Members::from_json(&json).unwrap();
    event.others = members;
    event.into()
}

#[test]
fn set_011_times_reach_no_further_than_the_set_itself() {
    let world = World::new();
    let receiver = world.receiver();
    let until =
        |jti: &str, time: String| match world.outcome(&receiver, jti, user(jti), revoked_at(&time))
        {
            Outcome::Voided(all) => all[0].issued_until.unwrap().unix_seconds(),
            Outcome::Moot => 0,
            other => panic!("{other:?}"),
        };
    assert_eq!(until("1", (NOW - 60).to_string()), NOW - 60);
    assert_eq!(
        until("2", ((NOW - 60) * 1000 + 7).to_string()),
        NOW - 60,
        "milliseconds"
    );
    assert_eq!(until("3", format!("{}.9", NOW - 60)), NOW - 60);
    assert_eq!(until("4", (NOW + 3600).to_string()), NOW, "not the future");
    assert_eq!(
        until("5", ((NOW + 3600) * 1000).to_string()),
        NOW,
        "nor in milliseconds"
    );
    assert_eq!(
        until("6", (NOW - 86_400 * 365).to_string()),
        0,
        "all of that has expired"
    );
    // Before 1970 there were no sessions: it breaks the rules.
    for (jti, time) in [("7", "-1"), ("8", "1e300"), ("9", "\"now\"")] {
        let set = world.a.set(jti, user(jti), revoked_at(time));
        let request = push(&set, None);
        let pushed = receiver.handle_push(&request, at(NOW), &SystemRandom);
        assert_eq!(block_on(pushed).response.status(), 400, "{time}");
    }
    // A SET of a year ago is history, and a session is over whenever that was said.
    let old = world.a.set_at(
        "10",
        opaque("old"),
        SessionRevoked::new(),
        NOW - 86_400 * 365,
    );
    bring(&receiver, &old, NOW);
    let acted = act(&receiver, &world.revocations, NOW);
    assert!(matches!(acted[0].outcome(), Outcome::Voided(_)));
    // The clock that issues tokens may be ahead.
    let margin = EffectPolicy::new().with_margin(Duration::from_secs(30));
    let receiver = open(&world.store, vec![world.source().with_effects(margin)]);
    world.targets(&receiver, "11", user("ahead"), SessionRevoked::new());
    assert!(!world.accepts(token("ahead", NOW + 30), NOW));
    assert!(world.accepts(token("ahead", NOW + 31), NOW));
}

const ISSUING: &[u8] = b"\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x02CA";

#[test]
fn a_certificate_is_void_however_its_issuer_and_serial_are_written() {
    let world = World::new();
    let policy = EffectPolicy::new()
        .with_certificate_issuer(ISSUING)
        .unwrap();
    assert!(
        EffectPolicy::new()
            .with_certificate_issuer(b"CN=CA")
            .is_err()
    );
    let receiver = open(&world.store, vec![world.source().with_effects(policy)]);
    let change = |issuer: Option<&str>, serial: Option<&str>| {
        let mut event = CredentialChange::new(CredentialType::X509, ChangeType::Revoke);
        event.x509_issuer = issuer.map(Box::from);
        event.x509_serial = serial.map(Box::from);
        event
    };
    for (nth, (issuer, serial)) in [("CN=CA", "0xab"), ("cn = ca", "00:AB"), ("/CN=CA", "171")]
        .into_iter()
        .enumerate()
    {
        let event = change(Some(issuer), Some(serial));
        let found = world.targets(&receiver, &nth.to_string(), opaque("x"), event);
        let expected = VoidTarget::Certificate {
            issuer: ISSUING.into(),
            serial: [0, 0xab].into(),
        };
        assert_eq!(found, [expected], "{issuer}");
    }
    let target = Target::Certificate {
        issuer: ISSUING,
        serial: &[0, 0xab],
    };
    assert!(
        world
            .revocations
            .revocations()
            .check(&target, None, at(NOW))
            .is_err()
    );
    // Half of the name, or another's: nothing, and never everything of the subject.
    for (nth, event) in [
        change(Some("CN=CA"), None),
        change(None, Some("0xab")),
        change(None, None),
        change(Some("CN=Other"), Some("0xab")),
        change(Some("CN=CA"), Some("not a number")),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = world.outcome(&receiver, &format!("n{nth}"), user("alice"), event);
        assert_eq!(outcome, Outcome::NoMatch, "{nth}");
    }
    assert!(world.accepts(token("alice", NOW - 5), NOW));
    // By thumbprint.
    let mut event = change(None, None);
    let thumbprint = "A".repeat(42) + "E";
    event.others.set("x5t#S256", &thumbprint).unwrap();
    let mut expected = [0; 32];
    expected[31] = 1;
    let found = world.targets(&receiver, "t", opaque("x"), event);
    assert_eq!(found, [VoidTarget::CertificateThumbprint(expected)]);
    for (nth, bad) in ["A".repeat(42) + "B", "A".repeat(42), "A".repeat(44)]
        .iter()
        .enumerate()
    {
        let mut event = change(None, None);
        event.others.set("x5t#S256", bad).unwrap();
        let outcome = world.outcome(&receiver, &format!("b{nth}"), opaque("x"), event);
        assert_eq!(outcome, Outcome::NoMatch, "{bad}");
    }
}

struct Directory;

impl ResolveSubject for Directory {
    fn resolve(&self, issuer: &str, subject: &SubjectId, _: &Event) -> Vec<VoidTarget> {
        assert_eq!(issuer, A);
        match subject == &SubjectId::email("alice@a.example").unwrap() {
            true => vec![VoidTarget::Subject {
                issuer: A.into(),
                subject: "alice".into(),
            }],
            false => Vec::new(),
        }
    }
}

#[test]
fn the_application_says_whom_an_address_means() {
    let world = World::new();
    let rule = TrustRule::new(A, Trust::Act).about(Namespace::email_at("a.example"));
    let receiver = world.receiver().with_trust(TrustMatrix::new().with(rule));
    let receiver = receiver.with_resolver(Arc::new(Directory));
    let email = |text: &str| SubjectId::email(text).unwrap();
    let found = world.targets(
        &receiver,
        "1",
        email("alice@a.example"),
        AccountDisabled::new(),
    );
    assert_eq!(found, [subject("alice")]);
    assert!(!world.accepts(token("alice", NOW - 1), NOW));
    let outcome = world.outcome(
        &receiver,
        "2",
        email("Alice@a.example"),
        AccountDisabled::new(),
    );
    assert_eq!(
        outcome,
        Outcome::NoMatch,
        "in other letters it is somebody else"
    );
    // What takes nothing away is not asked about.
    let outcome = world.outcome(
        &receiver,
        "3",
        email("alice@a.example"),
        IdentifierRecycled::new(),
    );
    assert_eq!(outcome, Outcome::Told);
}

/// An application that gets it wrong.
struct Wrong;

impl ResolveSubject for Wrong {
    fn resolve(&self, _: &str, _: &SubjectId, _: &Event) -> Vec<VoidTarget> {
        let subject = "x".repeat(70_000).into();
        let issuer = A.into();
        vec![VoidTarget::Subject { issuer, subject }]
    }
}

#[test]
fn a_set_that_cannot_be_acted_upon_stays_and_does_not_keep_the_others() {
    let world = World::new();
    let receiver = world.receiver().with_resolver(Arc::new(Wrong));
    let group = complex([("group", opaque("g"))]);
    bring(
        &receiver,
        &world.a.set("1", group, SessionRevoked::new()),
        NOW,
    );
    bring(
        &receiver,
        &world.a.set("2", opaque("s"), SessionRevoked::new()),
        NOW + 1,
    );
    let report = block_on(receiver.act(&world.revocations, 9, at(NOW), &SystemRandom));
    assert!(matches!(report.problem, Some(ActError::Revoke(_))));
    assert_eq!(report.acted.len(), 1);
    assert!(common::is_session_revoked(
        world.revocations.revocations(),
        A,
        "s"
    ));
    let pending = block_on(receiver.inbox().pending(9)).unwrap();
    assert_eq!(pending[0].token().token_id(), "1");
}

#[test]
fn set_021_beyond_its_ceiling_everything_is_held_also_after_a_restart() {
    let world = World::new();
    let source = || world.source().with_ceiling(Ceiling::per_minute(10, 10));
    let receiver = open(&world.store, vec![source()]);
    for nth in 0..25 {
        let jti = nth.to_string();
        bring(
            &receiver,
            &world.a.set(&jti, opaque(&jti), SessionRevoked::new()),
            NOW + nth / 20,
        );
    }
    let acted = act(&receiver, &world.revocations, NOW);
    let held = |acted: &[Acted]| {
        let held = acted.iter().filter(|one| one.outcome() == &Outcome::Held);
        held.count()
    };
    assert_eq!((acted.len(), held(&acted)), (25, 15));
    let since = || block_on(receiver.held_since(A)).unwrap();
    assert_eq!(since(), Some(at(NOW)));
    assert_eq!(block_on(receiver.held(100)).unwrap().len(), 15);
    let is_void = |sid: &str| common::is_session_revoked(world.revocations.revocations(), A, sid);
    assert!(is_void("9") && !is_void("10"));

    // A restart changes nothing, nor does time: somebody has to look.
    let receiver = open(&world.store, vec![source()]);
    let late = world.a.set("late", opaque("late"), SessionRevoked::new());
    bring(&receiver, &late, NOW + 9000);
    assert_eq!(held(&act(&receiver, &world.revocations, NOW + 9000)), 1);
    assert!(block_on(receiver.inbox().pending(9)).unwrap().is_empty());

    // It was right.
    let release = Release::Act {
        lifted_for: Duration::from_secs(60),
    };
    let count = block_on(receiver.release(A, release, at(NOW + 9001), &SystemRandom)).unwrap();
    assert_eq!(count, 16);
    let acted = act(&receiver, &world.revocations, NOW + 9002);
    assert_eq!((acted.len(), held(&acted)), (16, 0));
    assert!(is_void("24"));
    assert_eq!(block_on(receiver.held_since(A)).unwrap(), None);

    // Another time it is wrong.
    for nth in 100..130 {
        let jti = nth.to_string();
        bring(
            &receiver,
            &world.a.set(&jti, opaque(&jti), SessionRevoked::new()),
            NOW + 9100,
        );
    }
    let acted = act(&receiver, &world.revocations, NOW + 9100);
    assert_eq!(held(&acted), 20);
    let count = receiver.release(A, Release::Discard, at(NOW + 9100), &SystemRandom);
    assert_eq!(block_on(count).unwrap(), 20);
    assert!(block_on(receiver.held(9)).unwrap().is_empty());
    assert!(act(&receiver, &world.revocations, NOW + 9100).is_empty());
    assert!(!is_void("129"));
}

#[test]
fn what_is_held_of_one_does_not_hold_another_up() {
    let world = World::new();
    let b = Transmitter::new(B);
    let a = world.source().with_ceiling(Ceiling::per_minute(0, 0));
    let receiver = open(&world.store, vec![a, b.source().danger_pushed_by_anybody()]);
    for nth in 0..300_u64 {
        let jti = nth.to_string();
        bring(
            &receiver,
            &world.a.set(&jti, opaque(&jti), SessionRevoked::new()),
            NOW,
        );
    }
    bring(
        &receiver,
        &b.set("1", opaque("s"), SessionRevoked::new()),
        NOW + 1,
    );
    act(&receiver, &world.revocations, NOW);
    act(&receiver, &world.revocations, NOW);
    assert!(common::is_session_revoked(
        world.revocations.revocations(),
        B,
        "s"
    ));
    assert_eq!(block_on(receiver.held_since(B)).unwrap(), None);
}

fn counted(set: &caep_stream::PendingSet) -> Key {
    Key::new(&Space::new("counted").unwrap(), set.effect_key().as_bytes()).unwrap()
}

/// At each commit on the way, in each way that it can fail.
#[test]
fn set_016_whatever_fails_nothing_is_lost_and_nothing_is_done_twice() {
    for failure in [
        Failure::NotWritten,
        Failure::WrittenButUnknown,
        Failure::NotWrittenAndUnknown,
    ] {
        // Which commit fails: that of the revocation, or the one that finishes.
        for fails_at in [0, 1] {
            let world = World::new();
            let receiver = world.receiver();
            bring(
                &receiver,
                &world.a.set("1", opaque("s"), SessionRevoked::new()),
                NOW,
            );
            let mut applied = 0;
            for attempt in 0..4 {
                // A process that knows nothing of the one before.
                let receiver = world.receiver();
                let revocations = revocations(&world.store);
                let memory = Arc::clone(&world.memory);
                if attempt == 0 && fails_at == 0 {
                    memory.fail_next(failure);
                }
                let effects = |set: &caep_stream::PendingSet, _: &Outcome, batch: Batch| {
                    if attempt == 0 && fails_at == 1 {
                        memory.fail_next(failure);
                    }
                    batch.put(counted(set), Expected::Absent, b"once".as_slice())
                };
                let report =
                    block_on(receiver.act_with(&revocations, effects, 9, at(NOW), &SystemRandom));
                applied += report.acted.len();
            }
            assert_eq!(applied, 1, "{failure:?} {fails_at}");
            let revocations = revocations(&world.store);
            assert!(common::is_session_revoked(
                revocations.revocations(),
                A,
                "s"
            ));
            let space = Space::new("counted").unwrap();
            let page = block_on(world.store.scan(&m2m_store::Scan::new(space))).unwrap();
            assert_eq!(page.records().len(), 1);
        }
    }
}

#[test]
fn of_two_processes_that_act_upon_one_set_one_does() {
    let world = World::new();
    let receiver = world.receiver();
    bring(
        &receiver,
        &world.a.set("1", opaque("s"), SessionRevoked::new()),
        NOW,
    );
    let other = world.receiver();
    // The other one is done before this one finishes.
    let effects = |_: &caep_stream::PendingSet, _: &Outcome, batch: Batch| {
        act(&other, &world.revocations, NOW);
        batch
    };
    let report = receiver.act_with(&world.revocations, effects, 9, at(NOW), &SystemRandom);
    let report = block_on(report);
    assert_eq!(report.acted[0].outcome(), &Outcome::Before);
}

#[test]
fn set_024_what_is_logged_of_a_set_is_one_line() {
    let world = World::new();
    let receiver = world.receiver();
    let event = SecurityEvent::new(opaque("s"), SessionRevoked::new());
    let event = event.with_transaction("1\r\nINFO \u{1b}[2J\u{202e}all is well");
    let set = world.a.sign(&event, "j\u{2028}1", RECEIVER, NOW);
    bring(&receiver, &set, NOW);
    let acted = act(&receiver, &world.revocations, NOW);
    let line = acted[0].to_string();
    assert!(
        line.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
        "{line}"
    );
    assert!(
        line.starts_with("voided 1 iss=\"https://a.example\" jti=\"j\\u{2028}1\""),
        "{line}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever order they come in, however often, and whatever fails meanwhile: the same is void.
    #[test]
    fn set_010_order_repeats_and_failures_change_nothing_of_what_is_void(
        steps in proptest::collection::vec((0..12_usize, 0..8_u8, 0..4_u8), 1..60),
        rest in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let world = World::new();
        let receiver = world.receiver();
        // Twelve events: four users at three times each.
        let event = |nth: usize| {
            let when = NOW - 100 + 10 * (nth as u64 / 4);
            let event = SecurityEvent::new(user(&format!("u{}", nth % 4)), AccountDisabled::new());
            let event = event.with_time_of_event(at(when));
            world.a.sign(&event, &nth.to_string(), RECEIVER, NOW)
        };
        let sets: Vec<String> = (0..12).map(event).collect();
        let failures = [
            Failure::NotWritten,
            Failure::WrittenButUnknown,
            Failure::NotWrittenAndUnknown,
        ];
        let push_it = |nth: usize| {
            let request = push(&sets[nth], None);
            let pushed = receiver.handle_push(&request, at(NOW), &SystemRandom);
            block_on(pushed).response.status() == 202
        };
        let act_now = || block_on(receiver.act(&world.revocations, 5, at(NOW), &SystemRandom));
        for (nth, fails, then) in steps {
            if let Some(failure) = failures.get(usize::from(fails)) {
                world.memory.fail_next(*failure);
            }
            push_it(nth);
            if then > 0 {
                if let Some(failure) = failures.get(usize::from(then)) {
                    world.memory.fail_next(*failure);
                }
                act_now();
            }
        }
        // A transmitter goes on until all are acknowledged.
        for nth in rest {
            let mut tries = 0;
            while !push_it(nth) {
                tries += 1;
                prop_assert!(tries < 3);
            }
        }
        while !act_now().acted.is_empty() {}
        prop_assert!(block_on(receiver.inbox().pending(9)).unwrap().is_empty());
        for subject in ["u0", "u1", "u2", "u3"] {
            prop_assert!(!world.accepts(token(subject, NOW - 80), NOW));
            prop_assert!(world.accepts(token(subject, NOW - 79), NOW));
        }
        prop_assert!(world.accepts(token("u4", NOW - 100), NOW));
    }
}
