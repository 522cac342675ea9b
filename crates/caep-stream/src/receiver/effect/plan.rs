//! `Plan`: what one SET is to do, worked out from what it says and nothing else.

use std::time::Duration;

use caep_set::{
    ChangeType, CredentialChange, CredentialType, Event, Format, SecurityEventToken, SubjectId,
};
use m2m_crypto::sha256;
use m2m_types::{ServiceIdRef, Timestamp};

use super::target::{VoidTarget, Voided};
use super::{EffectPolicy, ResolveSubject, serial};

/// What one SET is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// These are void.
    Void(Vec<Voided>),
    /// It takes nothing away.
    Tell,
    /// It takes something away, and all of that has expired.
    Moot,
    /// It takes something away from somebody of whom nothing is known.
    NoMatch,
}

/// The parts that a complex subject may have (SSF 1.0 §3.3). One with another part is not understood.
const PARTS: [&str; 7] = [
    "user",
    "device",
    "session",
    "application",
    "tenant",
    "org_unit",
    "group",
];

/// How something is named, and how its end is counted.
enum Found {
    Session(VoidTarget),
    Issued(VoidTarget),
    Token(VoidTarget),
    Certificate(VoidTarget),
}

/// What an event does to its subject.
enum Taken<'e> {
    Nothing,
    Sessions,
    Credentials,
    Certificate(&'e CredentialChange),
}

impl EffectPolicy {
    /// What `events` of `token` do. With `is_tenant_settled`, a `tenant` in the subject narrows nothing.
    pub(crate) fn plan(
        &self,
        token: &SecurityEventToken,
        events: &[&Event],
        is_tenant_settled: bool,
        resolver: Option<&dyn ResolveSubject>,
        now: Timestamp,
    ) -> Plan {
        let Some(subject) = token.subject() else {
            return Plan::NoMatch;
        };
        let mut found = Vec::new();
        let mut takes_something = false;
        for event in events {
            let taken = taken(event);
            takes_something |= !matches!(taken, Taken::Nothing);
            let mut named = match &taken {
                Taken::Nothing => continue,
                Taken::Sessions => self.sessions(token.issuer(), subject, is_tenant_settled),
                Taken::Credentials => self.issued(token.issuer(), subject, is_tenant_settled),
                Taken::Certificate(change) => self.certificate(change).into_iter().collect(),
            };
            if let Some(resolver) = resolver.filter(|_| named.is_empty()) {
                let known = resolver.resolve(token.issuer(), subject, event);
                named.extend(known.into_iter().map(of_application));
            }
            found.extend(named);
        }
        if !takes_something {
            return Plan::Tell;
        }
        if found.is_empty() {
            return Plan::NoMatch;
        }
        let happened = token.happened_at().min(now).saturating_add(self.margin);
        let mut voided: Vec<Voided> = Vec::new();
        for one in found {
            let one = self.term(one, happened, now);
            if one.expires > now && !voided.contains(&one) {
                voided.push(one);
            }
        }
        match voided.is_empty() {
            true => Plan::Moot,
            false => Plan::Void(voided),
        }
    }

    fn term(&self, found: Found, happened: Timestamp, now: Timestamp) -> Voided {
        let until = |life: Duration, target| Voided {
            target,
            issued_until: None,
            expires: now.saturating_add(life),
        };
        match found {
            Found::Session(target) => until(self.session_life, target),
            Found::Token(target) => until(self.credential_life, target),
            Found::Certificate(target) => until(self.certificate_life, target),
            Found::Issued(target) => Voided {
                target,
                issued_until: Some(happened),
                expires: happened.saturating_add(self.credential_life),
            },
        }
    }

    /// The sessions that a subject names.
    fn sessions(&self, issuer: &str, subject: &SubjectId, is_tenant_settled: bool) -> Vec<Found> {
        match subject.format() {
            Format::Complex { parts } => match subject.part("session") {
                // It is one session, whatever else is said of it.
                Some(session) if parts.iter().all(|(name, _)| is_part(name)) => {
                    self.session(issuer, session).into_iter().collect()
                }
                Some(_) => Vec::new(),
                None => self.issued(issuer, subject, is_tenant_settled),
            },
            Format::Opaque { .. } => self.session(issuer, subject).into_iter().collect(),
            Format::Aliases { identifiers } => identifiers
                .iter()
                .flat_map(|one| self.sessions(issuer, one, is_tenant_settled))
                .collect(),
            _ => self.issued(issuer, subject, is_tenant_settled),
        }
    }

    fn session(&self, issuer: &str, session: &SubjectId) -> Option<Found> {
        let target = match session.format() {
            Format::Opaque { id } => VoidTarget::Session {
                issuer: self.token_issuer(issuer),
                sid: id.clone(),
            },
            Format::IssuerSubject { iss, sub } => VoidTarget::Session {
                issuer: iss.clone(),
                sid: sub.clone(),
            },
            _ => return simple(session),
        };
        Some(Found::Session(target))
    }

    /// What a subject was issued.
    fn issued(&self, issuer: &str, subject: &SubjectId, is_tenant_settled: bool) -> Vec<Found> {
        match subject.format() {
            Format::Complex { parts } => {
                let narrows = |name: &str| !(name == "tenant" && is_tenant_settled);
                let mut narrowing = parts.iter().filter(|(name, _)| narrows(name));
                match (narrowing.next(), narrowing.next()) {
                    (Some((name, only)), None) if is_machine_or_person(name) => {
                        self.issued(issuer, only, is_tenant_settled)
                    }
                    // Two parts name what matches both, which is less than either.
                    _ => Vec::new(),
                }
            }
            // Several names of one subject: whatever has one of them is its.
            Format::Aliases { identifiers } => identifiers
                .iter()
                .flat_map(|one| self.issued(issuer, one, is_tenant_settled))
                .collect(),
            Format::Opaque { id } => vec![Found::Issued(VoidTarget::Subject {
                issuer: self.token_issuer(issuer),
                subject: id.clone(),
            })],
            _ => simple(subject).into_iter().collect(),
        }
    }

    fn certificate(&self, change: &CredentialChange) -> Option<Found> {
        let thumbprint: Option<Box<str>> = change.others.read("x5t#S256").ok().flatten();
        if let Some(thumbprint) = thumbprint.and_then(|text| thumbprint_of(&text)) {
            let target = VoidTarget::CertificateThumbprint(thumbprint);
            return Some(Found::Certificate(target));
        }
        let (issuer, number) = (change.x509_issuer.as_ref()?, change.x509_serial.as_ref()?);
        let mut known = self.certificate_issuers.iter();
        let (_, issuer) = known.find(|(name, _)| name.is_written(issuer))?;
        Some(Found::Certificate(VoidTarget::Certificate {
            issuer: issuer.clone(),
            serial: serial::der_content(number, self.digits)?,
        }))
    }

    fn token_issuer(&self, issuer: &str) -> Box<str> {
        self.token_issuer.clone().unwrap_or_else(|| issuer.into())
    }
}

fn taken(event: &Event) -> Taken<'_> {
    match event {
        Event::SessionRevoked(_) | Event::SessionsRevoked(_) => Taken::Sessions,
        Event::AccountDisabled(_)
        | Event::AccountPurged(_)
        | Event::CredentialCompromise(_)
        | Event::ProvDeactivate(_)
        | Event::ProvDelete(_) => Taken::Credentials,
        Event::CredentialChange(change) => match (&change.credential_type, &change.change_type) {
            (CredentialType::X509, ChangeType::Revoke | ChangeType::Delete) => {
                Taken::Certificate(change)
            }
            // A certificate that was renewed is not void.
            (CredentialType::X509, _) => Taken::Nothing,
            (_, ChangeType::Revoke | ChangeType::Delete | ChangeType::Update) => Taken::Credentials,
            _ => Taken::Nothing,
        },
        _ => Taken::Nothing,
    }
}

/// What a simple subject names by itself.
fn simple(subject: &SubjectId) -> Option<Found> {
    Some(match subject.format() {
        Format::IssuerSubject { iss, sub } => Found::Issued(VoidTarget::Subject {
            issuer: iss.clone(),
            subject: sub.clone(),
        }),
        Format::JwtId { iss, jti } => Found::Token(VoidTarget::Token {
            issuer: iss.clone(),
            jti: jti.clone(),
        }),
        Format::Uri { uri } => {
            let id = ServiceIdRef::parse(uri).ok()?;
            Found::Issued(VoidTarget::Service(id.to_owned()))
        }
        _ => return None,
    })
}

fn of_application(target: VoidTarget) -> Found {
    match target {
        VoidTarget::Session { .. } => Found::Session(target),
        VoidTarget::Subject { .. } | VoidTarget::Service(_) => Found::Issued(target),
        VoidTarget::Token { .. } => Found::Token(target),
        VoidTarget::Certificate { .. } | VoidTarget::CertificateThumbprint(_) => {
            Found::Certificate(target)
        }
    }
}

fn is_part(name: &str) -> bool {
    PARTS.contains(&name)
}

fn is_machine_or_person(part: &str) -> bool {
    matches!(part, "user" | "application" | "device")
}

/// 32 bytes in base64url without padding (RFC 7515 §2).
fn thumbprint_of(text: &str) -> Option<[u8; 32]> {
    let mut bits = 0_u32;
    let mut count = 0;
    let mut bytes = Vec::with_capacity(32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    let is_canonical = text.len() == 43 && bits & ((1 << count) - 1) == 0;
    bytes.try_into().ok().filter(|_| is_canonical)
}

/// What an event says something about that a later one may say otherwise, as a hash: the same for two
/// events if the later of them is what counts. `None` if each stands for itself.
pub(crate) fn family_of(issuer: &str, subject: &SubjectId, event: &Event) -> Option<[u8; 32]> {
    let (family, about): (u8, String) = match event {
        Event::AccountDisabled(_) | Event::AccountEnabled(_) => (1, String::new()),
        Event::ProvActivate(_) | Event::ProvDeactivate(_) => (2, String::new()),
        Event::DeviceComplianceChange(_) => (3, String::new()),
        Event::AssuranceLevelChange(change) => (4, change.namespace.as_str().to_owned()),
        Event::RiskLevelChange(change) => (5, change.principal.as_str().to_owned()),
        Event::TokenClaimsChange(change) => {
            let mut names: Vec<&str> = change.claims.iter().map(|(name, _)| name).collect();
            names.sort_unstable();
            (6, serde_json::to_string(&names).ok()?)
        }
        _ => return None,
    };
    let subject = canonical(subject)?;
    let parts = [issuer.as_bytes(), about.as_bytes(), subject.as_bytes()];
    let mut text = vec![family];
    for part in parts {
        text.extend((part.len() as u64).to_be_bytes());
        text.extend(part);
    }
    Some(sha256(&text))
}

/// A subject as a text that is the same for equal ones, in whatever order its parts came.
fn canonical(subject: &SubjectId) -> Option<String> {
    let Format::Complex { parts } = subject.format() else {
        return serde_json::to_string(subject).ok();
    };
    let mut texts = Vec::with_capacity(parts.len());
    for (name, part) in parts {
        texts.push((&**name, serde_json::to_string(part).ok()?));
    }
    texts.sort_unstable();
    serde_json::to_string(&texts).ok()
}
