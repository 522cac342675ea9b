//! `Namespace`: a set of subjects that one party may speak about.

use caep_set::{Format, SubjectId};
use m2m_types::ServiceIdRef;

/// A set of simple subjects, by whose names they are.
///
/// Everything is compared as it is written, but domains of e-mail addresses and hosts of accounts, whose
/// letters' case does not matter (RFC 5321 §2.4, RFC 7565 §4). There are no wildcards: `example.com` does
/// not hold `mail.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Issuer(Box<str>),
    Own,
    Email(Box<str>),
    Account(Box<str>),
    TrustDomain(Box<str>),
    Format(Box<str>),
    Any,
}

impl Namespace {
    /// Names that `issuer` gives: `iss_sub`, `jwt_id` and `saml_assertion_id` with it as their issuer.
    pub fn issuer(issuer: &str) -> Self {
        Self(Kind::Issuer(Box::from(issuer)))
    }

    /// `opaque` and `scim`: names between the transmitter and us, which nobody else has.
    pub const fn own() -> Self {
        Self(Kind::Own)
    }

    /// `email` addresses at `domain`.
    pub fn email_at(domain: &str) -> Self {
        Self(Kind::Email(Box::from(domain)))
    }

    /// `account`s at `host`: `acct:alice@host`.
    pub fn accounts_at(host: &str) -> Self {
        Self(Kind::Account(Box::from(host)))
    }

    /// Machines of the SPIFFE trust domain `name`: the format `uri` with `spiffe://name/...`.
    pub fn trust_domain(name: &str) -> Self {
        Self(Kind::TrustDomain(Box::from(name)))
    }

    /// All subjects of one format, whoever names them; `phone_number`, for example.
    pub fn format(name: &str) -> Self {
        Self(Kind::Format(Box::from(name)))
    }

    /// Everybody. Whoever is trusted with this can revoke what others have issued.
    pub const fn danger_any() -> Self {
        Self(Kind::Any)
    }

    /// Whether a simple subject is in it. One of an unknown format is in none but by that format's name,
    /// and in [`Namespace::danger_any`].
    pub fn has(&self, subject: &SubjectId) -> bool {
        if !subject.is_simple() {
            return false;
        }
        match (&self.0, subject.format()) {
            (Kind::Any, _) => true,
            (Kind::Format(name), _) => **name == *subject.format_name(),
            (
                Kind::Issuer(issuer),
                Format::IssuerSubject { iss, .. }
                | Format::JwtId { iss, .. }
                | Format::SamlAssertionId { issuer: iss, .. },
            ) => issuer == iss,
            (Kind::Own, Format::Opaque { .. } | Format::Scim { .. }) => true,
            (Kind::Email(domain), Format::Email { email }) => is_at(email, domain),
            (Kind::Account(host), Format::Account { uri }) => is_at(uri, host),
            (Kind::TrustDomain(name), Format::Uri { uri }) => {
                let id = ServiceIdRef::parse(uri).ok();
                let rest = id.and(uri.strip_prefix("spiffe://"));
                rest.and_then(|rest| rest.split('/').next()) == Some(name)
            }
            _ => false,
        }
    }
}

/// Whether what is behind the last `@` is `host`.
fn is_at(address: &str, host: &str) -> bool {
    let found = address.rsplit_once('@');
    found.is_some_and(|(_, found)| found.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn set_012_a_namespace_has_its_own_names_and_no_variants_of_them() {
        let email = |text: &str| SubjectId::email(text).unwrap();
        let acme = Namespace::email_at("acme.example");
        assert!(acme.has(&email("alice@acme.example")));
        assert!(acme.has(&email("alice@ACME.example")));
        for other in [
            "alice@mail.acme.example",
            "alice@acme.example.evil.example",
            "acme.example@evil.example",
        ] {
            assert!(!acme.has(&email(other)), "{other}");
        }
        let idp = Namespace::issuer("https://idp.example");
        let of = |iss: &str| SubjectId::issuer_subject(iss, "alice").unwrap();
        assert!(idp.has(&of("https://idp.example")));
        for other in [
            "https://idp.example/",
            "https://IDP.example",
            "https://idp.example.evil",
        ] {
            assert!(!idp.has(&of(other)), "{other}");
        }
        assert!(!idp.has(&SubjectId::opaque("alice").unwrap()));
        let ours = Namespace::trust_domain("example.org");
        let uri = |text: &str| SubjectId::uri(text).unwrap();
        assert!(ours.has(&uri("spiffe://example.org/billing")));
        assert!(!ours.has(&uri("spiffe://example.org.evil/billing")));
        assert!(!ours.has(&uri("spiffe://example.org@evil/billing")));
        assert!(!ours.has(&uri("https://example.org/billing")));
        let two = SubjectId::complex([("user", of("https://idp.example"))]).unwrap();
        assert!(!Namespace::danger_any().has(&two), "only simple ones");
        let unknown = SubjectId::from_json(r#"{"format":"x-badge","n":1}"#).unwrap();
        assert!(!Namespace::own().has(&unknown));
        assert!(Namespace::format("x-badge").has(&unknown));
    }
}
