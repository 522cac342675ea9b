//! `SubjectId`: whom an event is about, typed, and never flattened to a text.

mod matching;
mod read;

pub use matching::Matching;
pub use read::SubjectError;
pub(crate) use read::{Shape, read};

use std::fmt;
use std::net::IpAddr;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::members::{Json, Members};
use crate::value::Value;

/// The most identifiers in `aliases`, addresses in `ip-addresses`, and parts of a complex subject.
/// Each is compared with each.
pub const MAX_PARTS: usize = 64;

/// A subject identifier (RFC 9493, SSF 1.0 §3): whom an event is about.
///
/// Two are equal if they have the same format and the same values, byte by byte; members that their
/// format does not name are kept and written out again, but say nothing about whom it names
/// (SSF 1.0 §4.2.3). Whether an event is for whoever asked about a subject is [`Matching`]'s to say.
///
/// ```
/// use caep_set::SubjectId;
///
/// let user = SubjectId::issuer_subject("https://idp.example", "alice")?;
/// let session = SubjectId::opaque("7f3a")?;
/// let subject = SubjectId::complex([("user", user), ("session", session)])?;
/// assert_eq!(
///     serde_json::to_string(&subject)?,
///     r#"{"format":"complex","user":{"format":"iss_sub","iss":"https://idp.example","sub":"alice"},"session":{"format":"opaque","id":"7f3a"}}"#,
/// );
/// assert!(SubjectId::email("alice").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SubjectId {
    format: Format,
    others: Members,
}

/// What a subject identifier says, by its `format`.
#[non_exhaustive]
#[derive(Clone, PartialEq)]
pub enum Format {
    /// `account`: an account at a service (RFC 9493 §3.2.1).
    Account {
        /// An `acct:` URI (RFC 7565).
        uri: Box<str>,
    },
    /// `email` (RFC 9493 §3.2.2). Compared byte by byte: only its own domain knows what is the same.
    Email {
        /// The address.
        email: Box<str>,
    },
    /// `iss_sub`: as in a JWT (RFC 9493 §3.2.3).
    IssuerSubject {
        /// Whose name it is.
        iss: Box<str>,
        /// The name.
        sub: Box<str>,
    },
    /// `opaque`: a name that means something to both sides (RFC 9493 §3.2.4).
    Opaque {
        /// The name.
        id: Box<str>,
    },
    /// `phone_number` (RFC 9493 §3.2.5).
    PhoneNumber {
        /// In the form of E.164: `+12065550100`.
        phone_number: Box<str>,
    },
    /// `did`: a decentralised identifier (RFC 9493 §3.2.6).
    Did {
        /// A DID URL.
        url: Box<str>,
    },
    /// `uri`: whatever has a URI (RFC 9493 §3.2.7).
    Uri {
        /// The URI.
        uri: Box<str>,
    },
    /// `jwt_id`: a JWT (SSF 1.0 §3.5.1).
    JwtId {
        /// Its `iss`.
        iss: Box<str>,
        /// Its `jti`.
        jti: Box<str>,
    },
    /// `saml_assertion_id`: a SAML assertion (SSF 1.0 §3.5.2).
    SamlAssertionId {
        /// Its issuer.
        issuer: Box<str>,
        /// Its ID.
        assertion_id: Box<str>,
    },
    /// `ip-addresses`: what has these addresses (SSF 1.0 §3.5.3). Compared as sets.
    IpAddresses {
        /// The addresses, as they were written.
        ip_addresses: Vec<Box<str>>,
    },
    /// `scim`: a SCIM resource (RFC 9967 §2.1). Its `externalId` and `id` are among the other members.
    Scim {
        /// The path of the resource at its service.
        uri: Box<str>,
    },
    /// `aliases`: several names of one subject (RFC 9493 §3.2.8), none of them aliases or complex.
    Aliases {
        /// The names.
        identifiers: Vec<SubjectId>,
    },
    /// `complex`: one subject, named by all of its parts together (SSF 1.0 §3.3).
    Complex {
        /// Names of parts, like `user` and `session`, and a simple subject for each.
        parts: Vec<(Box<str>, SubjectId)>,
    },
    /// A format that is not known here. What it says is among the other members.
    Other {
        /// Its name.
        format: Box<str>,
    },
}

impl SubjectId {
    /// `account`: `uri` is an `acct:` URI.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if it is not.
    pub fn account(uri: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::Account { uri: uri.into() })
    }

    /// `email`.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if this is no address.
    pub fn email(email: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::Email {
            email: email.into(),
        })
    }

    /// `iss_sub`.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if one of them is empty.
    pub fn issuer_subject(iss: &str, sub: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::IssuerSubject {
            iss: iss.into(),
            sub: sub.into(),
        })
    }

    /// `opaque`.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if it is empty.
    pub fn opaque(id: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::Opaque { id: id.into() })
    }

    /// `phone_number`.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if it is not in the form of E.164.
    pub fn phone_number(phone_number: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::PhoneNumber {
            phone_number: phone_number.into(),
        })
    }

    /// `did`.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if it does not begin like a DID.
    pub fn did(url: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::Did { url: url.into() })
    }

    /// `uri`: for machines, their SPIFFE ID.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if it has no scheme.
    pub fn uri(uri: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::Uri { uri: uri.into() })
    }

    /// `jwt_id`.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if one of them is empty.
    pub fn jwt_id(iss: &str, jti: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::JwtId {
            iss: iss.into(),
            jti: jti.into(),
        })
    }

    /// `saml_assertion_id`.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if one of them is empty.
    pub fn saml_assertion_id(issuer: &str, assertion_id: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::SamlAssertionId {
            issuer: issuer.into(),
            assertion_id: assertion_id.into(),
        })
    }

    /// `ip-addresses`.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if there is none, or more than [`MAX_PARTS`].
    pub fn ip_addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Result<Self, SubjectError> {
        let texts = addresses
            .into_iter()
            .map(|address| address.to_string().into_boxed_str());
        Self::checked(Format::IpAddresses {
            ip_addresses: texts.collect(),
        })
    }

    /// `scim`: `uri` is the path of a resource at its service.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if it is not relative.
    pub fn scim(uri: &str) -> Result<Self, SubjectError> {
        Self::checked(Format::Scim { uri: uri.into() })
    }

    /// `aliases`: several names of one subject.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if there is none, more than [`MAX_PARTS`], or one of them is not simple.
    pub fn aliases(identifiers: impl IntoIterator<Item = Self>) -> Result<Self, SubjectError> {
        Self::checked(Format::Aliases {
            identifiers: identifiers.into_iter().collect(),
        })
    }

    /// `complex`: a subject named by all its parts together. SSF names `user`, `device`, `session`,
    /// `application`, `tenant`, `org_unit` and `group`.
    ///
    /// # Errors
    ///
    /// [`SubjectError`] if there is no part, more than [`MAX_PARTS`], a name comes twice or is
    /// `format`, or a part is not simple.
    pub fn complex<'n>(
        parts: impl IntoIterator<Item = (&'n str, Self)>,
    ) -> Result<Self, SubjectError> {
        let parts = parts
            .into_iter()
            .map(|(name, part)| (Box::from(name), part));
        Self::checked(Format::Complex {
            parts: parts.collect(),
        })
    }

    /// Reads one, and nothing behind it, as SSF 1.0 has them.
    ///
    /// # Errors
    ///
    /// [`SubjectError`], which says which member is at fault.
    pub fn from_json(json: &str) -> Result<Self, SubjectError> {
        let json = Json::new(json).map_err(|_| read::not_an_object())?;
        read(json, Shape::Standard)
    }

    /// What it says.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The `format` as it is written.
    pub fn format_name(&self) -> &str {
        match &self.format {
            Format::Account { .. } => "account",
            Format::Email { .. } => "email",
            Format::IssuerSubject { .. } => "iss_sub",
            Format::Opaque { .. } => "opaque",
            Format::PhoneNumber { .. } => "phone_number",
            Format::Did { .. } => "did",
            Format::Uri { .. } => "uri",
            Format::JwtId { .. } => "jwt_id",
            Format::SamlAssertionId { .. } => "saml_assertion_id",
            Format::IpAddresses { .. } => "ip-addresses",
            Format::Scim { .. } => "scim",
            Format::Aliases { .. } => "aliases",
            Format::Complex { .. } => "complex",
            Format::Other { format } => format,
        }
    }

    /// Members that its format does not name; all of them, if the format is not known.
    pub fn others(&self) -> &Members {
        &self.others
    }

    /// Whether it is one name of one thing: neither complex nor aliases.
    pub fn is_simple(&self) -> bool {
        !matches!(self.format, Format::Complex { .. } | Format::Aliases { .. })
    }

    /// Whether its format is known here.
    pub fn is_known(&self) -> bool {
        !matches!(self.format, Format::Other { .. })
    }

    /// The part called `name` of a complex subject.
    pub fn part(&self, name: &str) -> Option<&Self> {
        let Format::Complex { parts } = &self.format else {
            return None;
        };
        let found = parts.iter().find(|(known, _)| &**known == name);
        found.map(|(_, part)| part)
    }

    fn checked(format: Format) -> Result<Self, SubjectError> {
        let subject = Self {
            format,
            others: Members::new(),
        };
        subject.check()?;
        Ok(subject)
    }
}

impl PartialEq for SubjectId {
    fn eq(&self, other: &Self) -> bool {
        match (&self.format, &other.format) {
            (
                Format::IpAddresses { ip_addresses: one },
                Format::IpAddresses { ip_addresses: two },
            ) => matching::same_addresses(one, two),
            (Format::Complex { parts: one }, Format::Complex { parts: two }) => {
                one.len() == two.len()
                    && one
                        .iter()
                        .all(|(name, part)| other.part(name) == Some(part))
            }
            (Format::Other { format: one }, Format::Other { format: two }) => {
                one == two && self.others == other.others
            }
            (one, two) => one == two,
        }
    }
}

impl Serialize for SubjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("format", self.format_name())?;
        match &self.format {
            Format::Account { uri } | Format::Uri { uri } | Format::Scim { uri } => {
                map.serialize_entry("uri", uri)?;
            }
            Format::Email { email } => map.serialize_entry("email", email)?,
            Format::IssuerSubject { iss, sub } => {
                map.serialize_entry("iss", iss)?;
                map.serialize_entry("sub", sub)?;
            }
            Format::Opaque { id } => map.serialize_entry("id", id)?,
            Format::PhoneNumber { phone_number } => {
                map.serialize_entry("phone_number", phone_number)?;
            }
            Format::Did { url } => map.serialize_entry("url", url)?,
            Format::JwtId { iss, jti } => {
                map.serialize_entry("iss", iss)?;
                map.serialize_entry("jti", jti)?;
            }
            Format::SamlAssertionId {
                issuer,
                assertion_id,
            } => {
                map.serialize_entry("issuer", issuer)?;
                map.serialize_entry("assertion_id", assertion_id)?;
            }
            Format::IpAddresses { ip_addresses } => {
                map.serialize_entry("ip-addresses", ip_addresses)?;
            }
            Format::Aliases { identifiers } => map.serialize_entry("identifiers", identifiers)?,
            Format::Complex { parts } => {
                for (name, part) in parts {
                    map.serialize_entry(name, part)?;
                }
            }
            Format::Other { .. } => {}
        }
        self.others.write(&mut map)?;
        map.end()
    }
}

impl Value for SubjectId {
    fn read(json: Json<'_>) -> Result<Self, &'static str> {
        // Where a payload repeats the subject, older forms are what is to be expected.
        read(json, Shape::Legacy).map_err(|error| error.problem())
    }
}

/// Shows the format, never whom it names.
impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.format {
            Format::Complex { parts } => {
                let names = parts.iter().map(|(name, part)| (name, part));
                f.debug_map().entries(names).finish()
            }
            Format::Aliases { identifiers } => f.debug_list().entries(identifiers).finish(),
            _ => write!(f, "SubjectId({:?})", self.format_name()),
        }
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Format(..)")
    }
}
