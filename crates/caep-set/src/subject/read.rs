//! Reads subject identifiers, and says what is wrong with them.

use std::net::IpAddr;

use crate::members::{Borrowed, Json};
use crate::subject::{Format, MAX_PARTS, SubjectId};
use crate::value::{self, Value as _};

/// Why something is no subject identifier. Says which member is at fault, never what it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the member `{member}` of a subject {problem} ({rule})")]
pub struct SubjectError {
    member: &'static str,
    problem: &'static str,
    rule: &'static str,
}

impl SubjectError {
    /// Which member.
    pub fn member(&self) -> &'static str {
        self.member
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &'static str {
        self.problem
    }

    /// The standard and its section.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

fn error(member: &'static str, problem: &'static str, rule: &'static str) -> SubjectError {
    SubjectError {
        member,
        problem,
        rule,
    }
}

/// In which forms subjects may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// RFC 9493 and SSF 1.0.
    Standard,
    /// Older ones as well: `subject_type` for `format`, `-` for `_`, complex ones that do not say so.
    Legacy,
}

/// Reads a subject in JSON.
pub(crate) fn read(json: Json<'_>, shape: Shape) -> Result<SubjectId, SubjectError> {
    let members = json.members().ok_or_else(not_an_object)?;
    let subject = of_members(members, shape, Depth::Outer)?;
    subject.check()?;
    Ok(subject)
}

pub(super) fn not_an_object() -> SubjectError {
    error("sub_id", "is not one object", "RFC 9493 §3")
}

/// How far inside a subject stands. There is one level inside `aliases` and complex ones.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Outer,
    Inner,
}

fn of_members(
    mut members: Borrowed<'_>,
    shape: Shape,
    depth: Depth,
) -> Result<SubjectId, SubjectError> {
    const RULE: &str = "RFC 9493 §3";
    let format = match (members.take("format"), shape) {
        (Some(format), _) => Some(format),
        (None, Shape::Legacy) => members.take("subject_type"),
        (None, Shape::Standard) => None,
    };
    let Some(format) = format else {
        let is_complex = shape == Shape::Legacy && depth == Depth::Outer && !members.is_empty();
        return match is_complex {
            true => complex(members, shape),
            false => Err(error("format", "is missing", RULE)),
        };
    };
    let name = value::text(format).map_err(|problem| error("format", problem, RULE))?;
    if name.is_empty() {
        return Err(error("format", "is empty", RULE));
    }
    let name = match shape {
        Shape::Standard => &*name,
        Shape::Legacy => modern(&name),
    };
    let mut text = |member| text(&mut members, member);
    let format = match name {
        "account" => Format::Account { uri: text("uri")? },
        "email" => Format::Email {
            email: text("email")?,
        },
        "iss_sub" => Format::IssuerSubject {
            iss: text("iss")?,
            sub: text("sub")?,
        },
        "opaque" => Format::Opaque { id: text("id")? },
        "phone_number" => Format::PhoneNumber {
            phone_number: text("phone_number")?,
        },
        "did" => Format::Did { url: text("url")? },
        "uri" => Format::Uri { uri: text("uri")? },
        "jwt_id" => Format::JwtId {
            iss: text("iss")?,
            jti: text("jti")?,
        },
        "saml_assertion_id" => Format::SamlAssertionId {
            issuer: text("issuer")?,
            assertion_id: text("assertion_id")?,
        },
        "scim" => Format::Scim { uri: text("uri")? },
        "ip-addresses" => Format::IpAddresses {
            ip_addresses: addresses(&mut members)?,
        },
        "aliases" | "complex" if depth == Depth::Inner => {
            let problem = "is `aliases` or `complex` inside another subject";
            return Err(error("format", problem, "RFC 9493 §3.2.8, SSF 1.0 §3.3"));
        }
        "aliases" => Format::Aliases {
            identifiers: identifiers(&mut members, shape)?,
        },
        "complex" => return complex(members, shape),
        "phone" => {
            let problem = "is `phone`; it is called `phone_number`";
            return Err(error("format", problem, "RFC 9493 §3.2.5"));
        }
        other => Format::Other {
            format: Box::from(other),
        },
    };
    Ok(SubjectId {
        format,
        others: members.to_members(),
    })
}

/// What a format was called before it was registered.
fn modern(name: &str) -> &str {
    match name {
        "iss-sub" | "iss_sub" => "iss_sub",
        "phone" | "phone-number" => "phone_number",
        "jwt-id" => "jwt_id",
        "saml-assertion-id" => "saml_assertion_id",
        "id_token_claims" | "id-token-claims" => "iss_sub",
        other => other,
    }
}

fn text(members: &mut Borrowed<'_>, name: &'static str) -> Result<Box<str>, SubjectError> {
    const RULE: &str = "RFC 9493 §3";
    let value = members
        .take(name)
        .ok_or_else(|| error(name, "is missing", RULE))?;
    Box::<str>::read(value).map_err(|problem| error(name, problem, RULE))
}

fn addresses(members: &mut Borrowed<'_>) -> Result<Vec<Box<str>>, SubjectError> {
    const NAME: &str = "ip-addresses";
    const RULE: &str = "SSF 1.0 §3.5.3";
    let value = members
        .take(NAME)
        .ok_or_else(|| error(NAME, "is missing", RULE))?;
    Vec::<Box<str>>::read(value).map_err(|problem| error(NAME, problem, RULE))
}

fn identifiers(members: &mut Borrowed<'_>, shape: Shape) -> Result<Vec<SubjectId>, SubjectError> {
    const NAME: &str = "identifiers";
    const RULE: &str = "RFC 9493 §3.2.8";
    let value = members
        .take(NAME)
        .ok_or_else(|| error(NAME, "is missing", RULE))?;
    let list = value.values().and_then(|list| {
        let members = list.into_iter().map(Json::members);
        members.collect::<Option<Vec<Borrowed<'_>>>>()
    });
    let list = list.ok_or_else(|| error(NAME, "is not an array of subjects", RULE))?;
    if list.len() > MAX_PARTS {
        return Err(error(NAME, "has more than 64 entries", RULE));
    }
    let read = list
        .into_iter()
        .map(|members| of_members(members, shape, Depth::Inner));
    read.collect()
}

/// Every member of a complex subject is a part, if it is an object that looks like one; others are kept
/// and mean nothing (SSF 1.0 §4.2.3).
fn complex(members: Borrowed<'_>, shape: Shape) -> Result<SubjectId, SubjectError> {
    let mut parts = Vec::new();
    let mut others = Borrowed::default();
    for (name, value) in members.into_list() {
        let Some(part) = value.members() else {
            // A part that SSF names cannot be anything else.
            if PARTS.contains(&&*name) {
                return Err(error("sub_id", "has a part that is no subject", COMPLEX));
            }
            others.push(name, value);
            continue;
        };
        if parts.len() == MAX_PARTS {
            return Err(error("sub_id", "has more than 64 parts", COMPLEX));
        }
        parts.push((name.into(), of_members(part, shape, Depth::Inner)?));
    }
    Ok(SubjectId {
        format: Format::Complex { parts },
        others: others.to_members(),
    })
}

const COMPLEX: &str = "SSF 1.0 §3.3";

/// The parts that SSF 1.0 §3.3 names.
const PARTS: [&str; 7] = [
    "user",
    "device",
    "session",
    "application",
    "tenant",
    "org_unit",
    "group",
];

impl SubjectId {
    /// The section that its format is defined in.
    pub(crate) fn rule(&self) -> &'static str {
        match &self.format {
            Format::Account { .. } => "RFC 9493 §3.2.1",
            Format::Email { .. } => "RFC 9493 §3.2.2",
            Format::IssuerSubject { .. } => "RFC 9493 §3.2.3",
            Format::Opaque { .. } => "RFC 9493 §3.2.4",
            Format::PhoneNumber { .. } => "RFC 9493 §3.2.5",
            Format::Did { .. } => "RFC 9493 §3.2.6",
            Format::Uri { .. } => "RFC 9493 §3.2.7",
            Format::Aliases { .. } => "RFC 9493 §3.2.8",
            Format::JwtId { .. } => "SSF 1.0 §3.5.1",
            Format::SamlAssertionId { .. } => "SSF 1.0 §3.5.2",
            Format::IpAddresses { .. } => "SSF 1.0 §3.5.3",
            Format::Scim { .. } => "RFC 9967 §2.1",
            Format::Complex { .. } => COMPLEX,
            Format::Other { .. } => "SSF 1.0 §3.4",
        }
    }

    /// Whether the values are ones that their format allows.
    pub(super) fn check(&self) -> Result<(), SubjectError> {
        match &self.format {
            Format::Account { uri } => {
                let account = uri
                    .get(.."acct:".len())
                    .filter(|scheme| scheme.eq_ignore_ascii_case("acct:"));
                let is_account = account.is_some() && uri.contains('@') && is_plain(uri);
                ensure(is_account, "uri", "is no `acct:` URI", "RFC 9493 §3.2.1")
            }
            Format::Email { email } => {
                ensure(is_email(email), "email", "is no address", "RFC 9493 §3.2.2")
            }
            Format::IssuerSubject { iss, sub } => {
                const RULE: &str = "RFC 9493 §3.2.3";
                ensure(!iss.is_empty(), "iss", "is empty", RULE)?;
                ensure(!sub.is_empty(), "sub", "is empty", RULE)
            }
            Format::Opaque { id } => ensure(!id.is_empty(), "id", "is empty", "RFC 9493 §3.2.4"),
            Format::PhoneNumber { phone_number } => {
                let problem = "is not in the form of E.164, like +12065550100";
                ensure(
                    is_e164(phone_number),
                    "phone_number",
                    problem,
                    "RFC 9493 §3.2.5",
                )
            }
            Format::Did { url } => {
                let mut parts = url.splitn(3, ':');
                let is_did = parts.next() == Some("did")
                    && parts.next().is_some_and(|method| !method.is_empty())
                    && parts.next().is_some_and(|name| !name.is_empty());
                ensure(
                    is_did && is_plain(url),
                    "url",
                    "is no DID",
                    "RFC 9493 §3.2.6",
                )
            }
            Format::Uri { uri } => ensure(has_scheme(uri), "uri", "is no URI", "RFC 9493 §3.2.7"),
            Format::JwtId { iss, jti } => {
                const RULE: &str = "SSF 1.0 §3.5.1";
                ensure(!iss.is_empty(), "iss", "is empty", RULE)?;
                ensure(!jti.is_empty(), "jti", "is empty", RULE)
            }
            Format::SamlAssertionId {
                issuer,
                assertion_id,
            } => {
                const RULE: &str = "SSF 1.0 §3.5.2";
                ensure(!issuer.is_empty(), "issuer", "is empty", RULE)?;
                ensure(!assertion_id.is_empty(), "assertion_id", "is empty", RULE)
            }
            Format::IpAddresses { ip_addresses } => {
                const NAME: &str = "ip-addresses";
                const RULE: &str = "SSF 1.0 §3.5.3";
                ensure(!ip_addresses.is_empty(), NAME, "is empty", RULE)?;
                let count = ip_addresses.len();
                ensure(count <= MAX_PARTS, NAME, "has more than 64 entries", RULE)?;
                let are_addresses = ip_addresses
                    .iter()
                    .all(|text| text.parse::<IpAddr>().is_ok());
                ensure(are_addresses, NAME, "has an entry that is no address", RULE)
            }
            Format::Scim { uri } => {
                let is_path = uri.starts_with('/') && uri.len() > 1 && is_plain(uri);
                ensure(is_path, "uri", "is no relative path", "RFC 9967 §2.1")
            }
            Format::Aliases { identifiers } => {
                const RULE: &str = "RFC 9493 §3.2.8";
                let count = identifiers.len();
                ensure(count > 0, "identifiers", "is empty", RULE)?;
                ensure(
                    count <= MAX_PARTS,
                    "identifiers",
                    "has more than 64 entries",
                    RULE,
                )?;
                identifiers.iter().try_for_each(|identifier| {
                    ensure(identifier.is_simple(), "identifiers", "is not simple", RULE)?;
                    identifier.check()
                })
            }
            Format::Complex { parts } => {
                ensure(!parts.is_empty(), "sub_id", "has no part", COMPLEX)?;
                ensure(
                    parts.len() <= MAX_PARTS,
                    "sub_id",
                    "has more than 64 parts",
                    COMPLEX,
                )?;
                parts.iter().enumerate().try_for_each(|(at, (name, part))| {
                    let earlier = parts.iter().take(at);
                    let is_new = earlier.clone().all(|(known, _)| known != name);
                    ensure(
                        is_new && &**name != "format",
                        "sub_id",
                        "has a part twice",
                        COMPLEX,
                    )?;
                    ensure(
                        part.is_simple(),
                        "sub_id",
                        "has a part that is not simple",
                        COMPLEX,
                    )?;
                    part.check()
                })
            }
            Format::Other { .. } => Ok(()),
        }
    }
}

fn ensure(
    holds: bool,
    member: &'static str,
    problem: &'static str,
    rule: &'static str,
) -> Result<(), SubjectError> {
    match holds {
        true => Ok(()),
        false => Err(error(member, problem, rule)),
    }
}

/// Without white space and control characters.
fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// Whether it can be an address: something, one `@`, a domain. What else RFC 5322 allows, comments and
/// folded lines, is not for identifiers.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let is_quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let local_holds = match is_quoted {
        true => !local.chars().any(char::is_control),
        false => !local.is_empty() && is_plain(local) && !local.contains('@'),
    };
    local_holds && !domain.is_empty() && is_plain(domain)
}

/// E.164: a plus, and up to fifteen digits of which the first is not zero.
fn is_e164(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (2..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 3986 §3.1.
fn has_scheme(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && is_plain(text)
}
