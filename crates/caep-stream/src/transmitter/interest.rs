//! `Interest`: the subjects that were added to a stream and removed from it, and whether an event is about
//! one of them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use caep_set::{Format, Matching, SubjectId};
use m2m_crypto::Sha256;
use m2m_store::Record;
use m2m_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::management::DefaultSubjects;

/// What a receiver said about a subject.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) subject: SubjectId,
    /// When it was removed; `None` if it was added.
    pub(crate) removed: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    subject: Box<serde_json::value::RawValue>,
    removed: Option<u64>,
}

impl Entry {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let subject = serde_json::value::to_raw_value(&self.subject);
        let written = subject.map(|subject| Written {
            subject,
            removed: self.removed,
        });
        // What was read as JSON can be written as JSON.
        let json = written.and_then(|written| serde_json::to_vec(&written));
        json.unwrap_or_default()
    }

    pub(crate) fn decode(record: &Record) -> Option<Self> {
        let written: Written = serde_json::from_slice(record.value().as_bytes()).ok()?;
        Some(Self {
            subject: SubjectId::from_json(written.subject.get()).ok()?,
            removed: written.removed,
        })
    }
}

/// How interest becomes events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) default: DefaultSubjects,
    pub(crate) matching: Matching,
    /// For how long a removal has no effect: whoever got hold of the receiver's credentials cannot
    /// make it deaf at once (SSF 1.0 §9.3).
    pub(crate) grace: Duration,
}

/// What a receiver said about subjects, in one stream.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    entries: HashMap<[u8; 32], Entry>,
    /// Complex subjects and aliases by the digests of what they are made of.
    by_part: HashMap<[u8; 32], HashSet<[u8; 32]>>,
}

impl Interest {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, digest: &[u8; 32]) -> Option<&Entry> {
        self.entries.get(digest)
    }

    pub(crate) fn put(&mut self, digest: [u8; 32], entry: Entry) {
        for part in parts(&entry.subject) {
            self.by_part.entry(part).or_default().insert(digest);
        }
        self.entries.insert(digest, entry);
    }

    pub(crate) fn forget(&mut self, digest: &[u8; 32]) {
        let Some(entry) = self.entries.remove(digest) else {
            return;
        };
        for part in parts(&entry.subject) {
            if let Some(set) = self.by_part.get_mut(&part) {
                set.remove(digest);
                if set.is_empty() {
                    self.by_part.remove(&part);
                }
            }
        }
    }

    /// Whether an event about `subject` is for this stream.
    pub(crate) fn includes(&self, subject: &SubjectId, rules: &Rules, now: Timestamp) -> bool {
        let is_out = |entry: &Entry| {
            let removed = entry.removed.map(Timestamp::from_unix_seconds);
            removed.is_some_and(|removed| {
                removed.is_ok_and(|removed| removed.saturating_add(rules.grace) <= now)
            })
        };
        match rules.default {
            DefaultSubjects::None => self
                .candidates(subject, rules.matching)
                .any(|entry| !is_out(entry) && rules.matching.matches(&entry.subject, subject)),
            DefaultSubjects::All => !self
                .candidates(subject, Matching::ssf())
                .any(|entry| is_out(entry) && covers(&entry.subject, subject)),
        }
    }

    /// The entries that may match: those that are equal, or have a part in common. All of them where
    /// the rules are not the ones that the index is made for.
    fn candidates<'i>(
        &'i self,
        subject: &SubjectId,
        matching: Matching,
    ) -> Box<dyn Iterator<Item = &'i Entry> + 'i> {
        if matching != Matching::ssf() {
            return Box::new(self.entries.values());
        }
        let mut found: HashSet<[u8; 32]> = HashSet::from([digest(subject)]);
        for part in parts(subject) {
            found.extend(self.by_part.get(&part).into_iter().flatten());
        }
        Box::new(
            found
                .into_iter()
                .filter_map(|digest| self.entries.get(&digest)),
        )
    }
}

/// Whether whoever removed `removed` wants to hear no more about `subject`: if it is the same, or all that
/// is said of `removed` is said of it too. More than that would take away events about others that have
/// a part in common with it.
fn covers(removed: &SubjectId, subject: &SubjectId) -> bool {
    match removed.format() {
        Format::Complex { parts } => parts
            .iter()
            .all(|(name, part)| subject.part(name) == Some(part)),
        _ => removed == subject,
    }
}

/// The digests of the parts of a complex subject, each with its name.
fn parts(subject: &SubjectId) -> Vec<[u8; 32]> {
    let Format::Complex { parts } = subject.format() else {
        return Vec::new();
    };
    let digest = |(name, part): &(Box<str>, SubjectId)| {
        let mut hash = Sha256::new();
        text(&mut hash, name);
        hash.update(&digest(part));
        hash.finish()
    };
    parts.iter().map(digest).collect()
}

/// A digest that equal subjects have in common.
pub(crate) fn digest(subject: &SubjectId) -> [u8; 32] {
    let mut hash = Sha256::new();
    text(&mut hash, subject.format_name());
    match subject.format() {
        Format::Account { uri } | Format::Uri { uri } | Format::Scim { uri } => {
            text(&mut hash, uri);
        }
        Format::Email { email } => text(&mut hash, email),
        Format::IssuerSubject { iss, sub } => {
            text(&mut hash, iss);
            text(&mut hash, sub);
        }
        Format::Opaque { id } => text(&mut hash, id),
        Format::PhoneNumber { phone_number } => text(&mut hash, phone_number),
        Format::Did { url } => text(&mut hash, url),
        Format::JwtId { iss, jti } => {
            text(&mut hash, iss);
            text(&mut hash, jti);
        }
        Format::SamlAssertionId {
            issuer,
            assertion_id,
        } => {
            text(&mut hash, issuer);
            text(&mut hash, assertion_id);
        }
        Format::IpAddresses { ip_addresses } => {
            // They are compared as sets of addresses, however those are written.
            let parsed = ip_addresses
                .iter()
                .map(|text| match text.parse::<std::net::IpAddr>() {
                    Ok(address) => address.to_string(),
                    Err(_) => text.to_string(),
                });
            let set: std::collections::BTreeSet<String> = parsed.collect();
            set.iter().for_each(|address| text(&mut hash, address));
        }
        Format::Aliases { identifiers } => {
            for identifier in identifiers {
                hash.update(&digest(identifier));
            }
        }
        Format::Complex { .. } => {
            let mut parts = parts(subject);
            parts.sort_unstable();
            parts.iter().for_each(|part| hash.update(part));
        }
        // Not known here, and so equal only if it is written alike.
        _ => {
            let json = serde_json::to_string(subject).unwrap_or_default();
            text(&mut hash, &json);
        }
    }
    hash.finish()
}

fn text(hash: &mut Sha256, text: &str) {
    // With its length in front, no text runs over into the next.
    hash.update(&(text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds).unwrap()
    }

    fn rules(default: DefaultSubjects) -> Rules {
        Rules {
            default,
            matching: Matching::ssf(),
            grace: DAY,
        }
    }

    fn of(subjects: &[(&SubjectId, Option<u64>)]) -> Interest {
        let mut interest = Interest::default();
        for (subject, removed) in subjects {
            let entry = Entry {
                subject: (*subject).clone(),
                removed: *removed,
            };
            interest.put(digest(subject), entry);
        }
        interest
    }

    fn complex(parts: &[(&str, &str)]) -> SubjectId {
        let parts = parts
            .iter()
            .map(|(name, id)| (*name, SubjectId::opaque(id).unwrap()));
        SubjectId::complex(parts).unwrap()
    }

    #[test]
    fn equal_subjects_have_one_digest_and_others_another() {
        let json = |json: &str| SubjectId::from_json(json).unwrap();
        let same = [
            (
                json(r#"{"format":"opaque","id":"a"}"#),
                json(r#"{"id":"a","format":"opaque","more":1}"#),
            ),
            (
                json(r#"{"format":"ip-addresses","ip-addresses":["10.0.0.1","::1"]}"#),
                json(r#"{"format":"ip-addresses","ip-addresses":["0:0::1","10.0.0.1"]}"#),
            ),
            (
                complex(&[("user", "a"), ("tenant", "b")]),
                complex(&[("tenant", "b"), ("user", "a")]),
            ),
        ];
        for (one, two) in &same {
            assert_eq!(one, two);
            assert_eq!(digest(one), digest(two));
        }
        assert_ne!(
            digest(&SubjectId::issuer_subject("ab", "c").unwrap()),
            digest(&SubjectId::issuer_subject("a", "bc").unwrap())
        );
        assert_ne!(
            digest(&complex(&[("user", "a")])),
            digest(&complex(&[("group", "a")]))
        );
    }

    #[test]
    fn who_starts_with_none_gets_what_was_added() {
        let tenant = complex(&[("tenant", "acme")]);
        let alice = SubjectId::email("alice@acme.example").unwrap();
        let interest = of(&[(&tenant, None), (&alice, None)]);
        let rules = rules(DefaultSubjects::None);
        let includes = |subject: &SubjectId| interest.includes(subject, &rules, at(0));
        assert!(includes(&alice));
        assert!(includes(&complex(&[("tenant", "acme"), ("user", "bob")])));
        assert!(!includes(&complex(&[("tenant", "other"), ("user", "bob")])));
        assert!(
            !includes(&complex(&[("group", "acme")])),
            "nothing in common"
        );
        assert!(!includes(&SubjectId::email("bob@acme.example").unwrap()));
    }

    #[test]
    fn a_removal_has_no_effect_until_its_grace_is_over() {
        let alice = SubjectId::email("alice@acme.example").unwrap();
        let interest = of(&[(&alice, Some(1000))]);
        for default in [DefaultSubjects::None, DefaultSubjects::All] {
            let rules = rules(default);
            assert!(interest.includes(&alice, &rules, at(1000 + 86_399)));
            assert!(!interest.includes(&alice, &rules, at(1000 + 86_400)));
        }
    }

    #[test]
    fn who_starts_with_all_loses_only_what_was_removed() {
        let removed = complex(&[("tenant", "acme"), ("user", "bob")]);
        let interest = of(&[(&removed, Some(0))]);
        let rules = rules(DefaultSubjects::All);
        let includes = |subject: &SubjectId| interest.includes(subject, &rules, at(100_000));
        assert!(!includes(&removed));
        let session = complex(&[("session", "1"), ("tenant", "acme"), ("user", "bob")]);
        assert!(!includes(&session));
        // They match by the letter, and are about others too.
        assert!(includes(&complex(&[("tenant", "acme")])));
        assert!(includes(&complex(&[("tenant", "acme"), ("session", "2")])));
    }

    #[test]
    fn what_was_forgotten_leaves_nothing_behind() {
        let tenant = complex(&[("tenant", "acme"), ("user", "bob")]);
        let mut interest = of(&[(&tenant, None)]);
        interest.forget(&digest(&tenant));
        assert_eq!((interest.len(), interest.by_part.len()), (0, 0));
    }

    #[test]
    fn the_index_finds_what_a_look_at_all_finds() {
        let names = ["user", "tenant", "session"];
        let mut all = Vec::new();
        for pattern in 1..27 {
            let digits = [pattern % 3, pattern / 3 % 3, pattern / 9];
            let chosen = names.iter().zip(digits).filter(|(_, digit)| *digit > 0);
            let parts: Vec<(&str, &str)> = chosen
                .map(|(name, digit)| (*name, if digit == 1 { "a" } else { "b" }))
                .collect();
            all.push(complex(&parts));
        }
        for added in &all {
            let interest = of(&[(added, None)]);
            for subject in &all {
                assert_eq!(
                    interest.includes(subject, &rules(DefaultSubjects::None), at(0)),
                    Matching::ssf().matches(added, subject),
                    "{added:?} {subject:?}"
                );
            }
        }
    }
}
