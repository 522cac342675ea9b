//! `Reading`: what a SET says, and which rules it bends or breaks by saying so.

use m2m_token::Claims;
use m2m_types::Timestamp;

use crate::event::{Event, StreamUpdated, Verification};
use crate::finding::{Finding, Findings, Severity};
use crate::members::{Borrowed, Json};
use crate::profile::{Dialect, Profile};
use crate::subject::{Format, Shape, SubjectId};
use crate::token::SecurityEventToken;
use crate::value::{EventTime, Value as _};

/// The most events in one SET. One is usual, and SSF 1.0 §4.2.1 says so.
const MAX_EVENTS: usize = 16;

/// The longest claims that are read, in bytes. A token has at most 8 KiB; this is for what was decoded
/// elsewhere.
const MAX_CLAIMS: usize = 64 << 10;

/// What a SET says, and which rules it bends or breaks.
///
/// ```
/// use caep_set::{Profile, Reading, Verdict};
/// use m2m_types::Timestamp;
///
/// let claims = r#"{
///     "iss": "https://tr.example", "jti": "1", "iat": 1790000000, "aud": "https://rc.example",
///     "sub_id": {"format": "opaque", "id": "7f3a"},
///     "events": {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}}
/// }"#;
/// let now = Timestamp::from_unix_seconds(1_790_000_010)?;
/// let reading = Reading::of_claims(claims, &Profile::ssf(), now);
/// assert_eq!(reading.verdict(), Verdict::Conforming);
/// assert_eq!(reading.findings()[0].to_string(), "`txn` is missing (SSF 1.0 §4.1.8)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reading {
    token: Option<SecurityEventToken>,
    findings: Vec<Finding>,
    checked: Vec<&'static str>,
    must_discard: bool,
}

/// What is to be done with a SET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "receivers must say what they do with each"
)]
pub enum Verdict {
    /// It keeps the rules: it may be acted upon.
    Conforming,
    /// It keeps the rules, but a part of its subject that is critical is not understood: it is to be
    /// acknowledged and not acted upon (SSF 1.0 §3.6).
    Discard,
    /// It breaks a rule: `invalid_request` (RFC 8935 §2.4).
    Violating,
}

impl Reading {
    /// Reads claims that anybody may have written: for tools and diagnosis. What is to be acted upon
    /// comes from a [`crate::SetVerifier`].
    pub fn of_claims(json: &str, profile: &Profile, now: Timestamp) -> Self {
        let read = match json.len() {
            0..=MAX_CLAIMS => Json::new(json).ok().and_then(Json::members),
            _ => None,
        };
        Self::of_members(read, profile, now)
    }

    /// Reads the claims of a token that was verified: whether they are an object is no question.
    pub(crate) fn of_verified(claims: &Claims<'_>, profile: &Profile, now: Timestamp) -> Self {
        Self::of_members(Some(Borrowed::of_claims(claims)), profile, now)
    }

    fn of_members(read: Option<Borrowed<'_>>, profile: &Profile, now: Timestamp) -> Self {
        let mut reader = Reader {
            findings: Findings::default(),
            profile,
            now,
        };
        let (token, must_discard) = match read {
            Some(members) => {
                let token = reader.token(members);
                let must_discard = token
                    .as_ref()
                    .is_some_and(|token| reader.must_discard(token));
                (token, must_discard)
            }
            None => {
                let problem = "is not one JSON object of at most 64 KiB without repeated names";
                reader.findings.violation("RFC 8417 §2", "", problem);
                (None, false)
            }
        };
        let (findings, checked) = reader.findings.into_parts();
        Self {
            token,
            findings,
            checked,
            must_discard,
        }
    }

    /// What it says; `None` if a claim is missing or malformed without which it says nothing.
    pub fn token(&self) -> Option<&SecurityEventToken> {
        self.token.as_ref()
    }

    /// Takes what it says.
    pub fn into_token(self) -> Option<SecurityEventToken> {
        self.token
    }

    pub(crate) fn into_parts(self) -> (Option<SecurityEventToken>, Vec<Finding>) {
        (self.token, self.findings)
    }

    /// The rules that it bends or breaks; at most 64.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The rules that it was held against, standard and section of each, in the order in which that was
    /// done. One that no finding names is kept.
    pub fn rules(&self) -> &[&'static str] {
        &self.checked
    }

    /// What is to be done with it.
    pub fn verdict(&self) -> Verdict {
        let is_broken = |finding: &Finding| finding.severity() == Severity::Violation;
        if self.token.is_none() || self.findings.iter().any(is_broken) {
            return Verdict::Violating;
        }
        match self.must_discard {
            true => Verdict::Discard,
            false => Verdict::Conforming,
        }
    }
}

struct Reader<'p> {
    findings: Findings,
    profile: &'p Profile,
    now: Timestamp,
}

const CLAIMS: &str = "RFC 8417 §2.2";

impl Reader<'_> {
    fn token(&mut self, mut members: Borrowed<'_>) -> Option<SecurityEventToken> {
        let dialect = self.profile.dialect;
        self.findings.check("RFC 8417 §2");
        self.findings.check(CLAIMS);
        let issuer = self.name(&mut members, "iss");
        let token_id = self.name(&mut members, "jti");
        let issued_at = self.issued_at(&mut members);
        let audience = self.audience(&mut members);
        let transaction = self.transaction(&mut members);
        let time_of_event = self.time_of_event(&mut members);
        if dialect.forbids_sub() {
            for (name, rule) in [("sub", "SSF 1.0 §4.1.2"), ("exp", "SSF 1.0 §4.1.7")] {
                self.findings.check(rule);
                if members.contains(name) {
                    self.findings.violation(rule, name, "must not be there");
                }
            }
        }
        let subject = self.subject(&mut members);
        let (events, payload_subject) = self.events(&mut members)?;
        let subject = subject.or(payload_subject);
        if dialect.requires_subject_id() {
            self.findings.check("SSF 1.0 §3.1");
        }
        if subject.is_none() && dialect.requires_subject_id() {
            // Malformed was said before.
            self.findings
                .violation("SSF 1.0 §3.1", "sub_id", "names no subject");
        }
        self.subject_of_event(&events, subject.as_ref());
        self.scim(&events, transaction.as_deref());
        let audience = audience?;
        Some(SecurityEventToken {
            issuer: issuer?,
            token_id: token_id?,
            issued_at: issued_at?,
            audience,
            transaction,
            time_of_event,
            subject,
            events,
            others: members.to_members(),
        })
    }

    /// A claim that must be there and be a text.
    fn name(&mut self, members: &mut Borrowed<'_>, name: &'static str) -> Option<Box<str>> {
        let Some(value) = members.take(name) else {
            self.findings.violation(CLAIMS, name, "is missing");
            return None;
        };
        let problem = match Box::<str>::read(value) {
            Ok(text) if !text.is_empty() => return Some(text),
            Ok(_) => "is empty",
            Err(problem) => problem,
        };
        self.findings.violation(CLAIMS, name, problem);
        None
    }

    fn issued_at(&mut self, members: &mut Borrowed<'_>) -> Option<Timestamp> {
        self.findings.check("RFC 7519 §4.1.6");
        let Some(value) = members.take("iat") else {
            self.findings.violation(CLAIMS, "iat", "is missing");
            return None;
        };
        let seconds: Option<u64> = serde_json::from_str(value.get()).ok();
        let time = seconds.and_then(|seconds| Timestamp::from_unix_seconds(seconds).ok());
        match time {
            None => {
                self.findings
                    .violation("RFC 7519 §4.1.6", "iat", "is no time in whole seconds")
            }
            Some(time) if time > self.now.saturating_add(self.profile.leeway) => self
                .findings
                .violation("RFC 7519 §4.1.6", "iat", "is in the future"),
            Some(_) => {}
        }
        time
    }

    /// Empty without `aud`, which only who verifies the SET can miss.
    fn audience(&mut self, members: &mut Borrowed<'_>) -> Option<Vec<Box<str>>> {
        let Some(value) = members.take("aud") else {
            self.findings.advice(CLAIMS, "aud", "is missing");
            return Some(Vec::new());
        };
        self.findings.check("RFC 7519 §4.1.3");
        let one = Box::<str>::read(value).map(|name| vec![name]);
        let names = one.or_else(|_| Vec::<Box<str>>::read(value));
        match names {
            Ok(names) if !names.is_empty() && names.iter().all(|name| !name.is_empty()) => {
                Some(names)
            }
            _ => {
                let problem = "is neither a name nor an array of names";
                self.findings.violation("RFC 7519 §4.1.3", "aud", problem);
                None
            }
        }
    }

    fn transaction(&mut self, members: &mut Borrowed<'_>) -> Option<Box<str>> {
        if self.profile.dialect == Dialect::Ssf {
            self.findings.check("SSF 1.0 §4.1.8");
        }
        let Some(value) = members.take("txn") else {
            if self.profile.dialect == Dialect::Ssf {
                self.findings.advice("SSF 1.0 §4.1.8", "txn", "is missing");
            }
            return None;
        };
        match Box::<str>::read(value) {
            Ok(text) => Some(text),
            Err(problem) => {
                self.findings.violation(CLAIMS, "txn", problem);
                None
            }
        }
    }

    fn time_of_event(&mut self, members: &mut Borrowed<'_>) -> Option<EventTime> {
        let value = members.take("toe")?;
        match EventTime::read(value) {
            Ok(time) => Some(time),
            Err(problem) => {
                self.findings.violation(CLAIMS, "toe", problem);
                None
            }
        }
    }

    fn subject(&mut self, members: &mut Borrowed<'_>) -> Option<SubjectId> {
        let value = members.take("sub_id")?;
        let shape = match self.profile.dialect.is_legacy() {
            true => Shape::Legacy,
            false => Shape::Standard,
        };
        self.read_subject("sub_id", value, shape)
    }

    fn read_subject(&mut self, name: &str, json: Json<'_>, shape: Shape) -> Option<SubjectId> {
        self.findings.check("RFC 9493 §3");
        match crate::subject::read(json, shape) {
            Ok(subject) => {
                self.findings.check(subject.rule());
                if self.profile.only_known_members
                    && subject.is_known()
                    && !subject.others().is_empty()
                    && !matches!(subject.format(), Format::Scim { .. })
                {
                    let problem = "has a member that its format does not name";
                    self.findings.violation("RFC 9493 §3", name, problem);
                }
                Some(subject)
            }
            Err(error) => {
                let member = match error.member() {
                    "sub_id" => "",
                    member => member,
                };
                let outer = self.findings.enter(name);
                self.findings
                    .violation(error.rule(), member, error.problem());
                self.findings.leave(outer);
                None
            }
        }
    }

    /// The events, and the subject that one of them names in its payload.
    fn events(&mut self, members: &mut Borrowed<'_>) -> Option<(Vec<Event>, Option<SubjectId>)> {
        let Some(value) = members.take("events") else {
            self.findings.violation(CLAIMS, "events", "is missing");
            return None;
        };
        let Some(payloads) = value.members() else {
            let problem = "is no object of URIs and payloads";
            self.findings.violation(CLAIMS, "events", problem);
            return None;
        };
        if payloads.is_empty() {
            self.findings.violation(CLAIMS, "events", "is empty");
            return None;
        }
        if payloads.len() > MAX_EVENTS {
            self.findings
                .violation(CLAIMS, "events", "has more than 16 events");
            return None;
        }
        let mut events = Vec::with_capacity(payloads.len());
        let mut subject = None;
        for (uri, payload) in payloads.into_list() {
            let Some(payload) = payload.members() else {
                self.inside_event(&uri, |reader| {
                    reader.findings.violation(CLAIMS, "", "is no object");
                });
                continue;
            };
            if self.takes_payload_subject() {
                if let Some(json) = payload.get("subject") {
                    let shape = Shape::Legacy;
                    let read = self
                        .inside_event(&uri, |reader| reader.read_subject("subject", json, shape));
                    subject = subject.or(read);
                }
            }
            events.push(self.event(&uri, payload));
        }
        self.count_events(&events);
        (!events.is_empty()).then_some((events, subject))
    }

    fn event(&mut self, uri: &str, payload: Borrowed<'_>) -> Event {
        let known = match self.profile.dialect.is_legacy() {
            true => current(uri),
            false => uri,
        };
        let now = self.now.saturating_add(self.profile.leeway);
        self.inside_event(uri, |reader| {
            let event = Event::read(known, payload, &mut reader.findings);
            let time = event
                .common()
                .and_then(|common| common.event_timestamp.as_ref());
            if time
                .and_then(EventTime::timestamp)
                .is_some_and(|time| time > now)
            {
                let problem = "is in the future";
                reader
                    .findings
                    .advice("CAEP 1.0 §2", "event_timestamp", problem);
            }
            event
        })
    }

    fn inside_event<R>(&mut self, uri: &str, work: impl FnOnce(&mut Self) -> R) -> R {
        let name = uri.rsplit_once('/').map_or(uri, |(_, name)| name);
        let outer = self.findings.enter("events");
        self.findings.enter(name);
        let result = work(self);
        self.findings.leave(outer);
        result
    }

    fn takes_payload_subject(&self) -> bool {
        !self.profile.dialect.requires_subject_id()
    }

    fn count_events(&mut self, events: &[Event]) {
        if self.profile.dialect.allows_several_events() {
            return;
        }
        self.findings.check("SSF 1.0 §4.2.1");
        let Some((first, others)) = events.split_first() else {
            return;
        };
        let same = |other: &Event| self.profile.are_aliases(first.uri(), other.uri());
        if !others.iter().all(same) {
            let problem = "has several events that are not known to be the same";
            self.findings.violation("SSF 1.0 §4.2.1", "events", problem);
        }
    }

    /// What some types of event ask of their subject.
    fn subject_of_event(&mut self, events: &[Event], subject: Option<&SubjectId>) {
        let Some(subject) = subject else {
            return;
        };
        for event in events {
            let format = subject.format();
            match event {
                Event::IdentifierChanged(_) | Event::IdentifierRecycled(_) => {
                    self.findings.check("RISC 1.0 §2.5, §2.6");
                }
                Event::Verification(_) | Event::StreamUpdated(_) => {
                    self.findings.check("SSF 1.0 §8.1.4.1, §8.1.5");
                }
                _ => {}
            }
            match event {
                Event::IdentifierChanged(_) | Event::IdentifierRecycled(_)
                    if !matches!(format, Format::Email { .. } | Format::PhoneNumber { .. }) =>
                {
                    let problem = "is neither an e-mail address nor a telephone number";
                    self.findings
                        .advice("RISC 1.0 §2.5, §2.6", "sub_id", problem);
                }
                Event::Verification(_) | Event::StreamUpdated(_)
                    if !matches!(format, Format::Opaque { .. }) =>
                {
                    let problem = "is not the opaque name of the stream";
                    self.findings
                        .violation("SSF 1.0 §8.1.4.1, §8.1.5", "sub_id", problem);
                }
                _ => {}
            }
        }
    }

    /// What RFC 9967 asks beyond the payload.
    fn scim(&mut self, events: &[Event], transaction: Option<&str>) {
        for event in events {
            let Event::AsyncResponse(response) = event else {
                continue;
            };
            const RULE: &str = "RFC 9967 §2.5.1";
            self.findings.check(RULE);
            if transaction.is_none() {
                self.findings
                    .violation(RULE, "txn", "is missing from an answer to a request");
            }
            if !response.status.starts_with('2') && response.response.is_none() {
                let problem = "is missing, though the request failed";
                self.findings.violation(RULE, "response", problem);
            }
        }
    }

    /// Whether a critical part of the subject is not understood.
    fn must_discard(&self, token: &SecurityEventToken) -> bool {
        let Some(Format::Complex { parts }) = token.subject().map(SubjectId::format) else {
            return false;
        };
        parts.iter().any(|(name, part)| {
            let mut critical = self.profile.critical.iter();
            critical.any(|critical| critical == name) && !part.is_known()
        })
    }
}

/// The URI that takes the place of one from before the standards were final.
fn current(uri: &str) -> &str {
    match uri {
        "https://schemas.openid.net/secevent/sse/event-type/verification"
        | "https://schemas.openid.net/secevent/risc/event-type/verification" => Verification::URI,
        "https://schemas.openid.net/secevent/sse/event-type/stream-updated" => StreamUpdated::URI,
        other => other,
    }
}
