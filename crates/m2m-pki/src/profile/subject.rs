//! `Subject`: the distinguished name that a profile gives.

use crate::der::{OID, SEQUENCE, write};

/// A distinguished name: a common name, and an organisation if it is said.
///
/// Both are 1 to 64 characters (RFC 5280 appendix A.1, `ub-common-name`) and none of them a control
/// character. They come from whoever configures a profile, never from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    common_name: Box<str>,
    organization: Option<Box<str>>,
}

/// Why something is not part of a [`Subject`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a part of a name has 1 to 64 characters that are not control characters, not these {length}"
)]
pub struct SubjectError {
    length: usize,
}

impl Subject {
    /// Just a common name.
    ///
    /// # Errors
    ///
    /// [`SubjectError`].
    pub fn new(common_name: &str) -> Result<Self, SubjectError> {
        Ok(Self {
            common_name: part(common_name)?,
            organization: None,
        })
    }

    /// Also an organisation.
    ///
    /// # Errors
    ///
    /// [`SubjectError`].
    pub fn with_organization(mut self, organization: &str) -> Result<Self, SubjectError> {
        self.organization = Some(part(organization)?);
        Ok(self)
    }

    /// The common name.
    pub fn common_name(&self) -> &str {
        &self.common_name
    }

    /// The name in DER (RFC 5280 §4.1.2.4): the organisation first, both in UTF-8.
    pub(crate) fn to_der(&self) -> Vec<u8> {
        let organization = self.organization.as_deref();
        let parts = organization.map(|text| (ORGANIZATION, text)).into_iter();
        let parts = parts.chain([(COMMON_NAME, &*self.common_name)]);
        let relative = parts.flat_map(|(last, text)| {
            let name = write::around(OID, &[&[0x55, 4, last]]);
            let text = write::around(UTF8_STRING, &[text.as_bytes()]);
            write::around(SET, &[&write::around(SEQUENCE, &[&name, &text])])
        });
        write::around(SEQUENCE, &[&relative.collect::<Vec<u8>>()])
    }
}

/// `id-at-commonName` and `id-at-organizationName` end with these.
const COMMON_NAME: u8 = 3;
const ORGANIZATION: u8 = 10;
const UTF8_STRING: u8 = 0x0c;
const SET: u8 = 0x31;

fn part(text: &str) -> Result<Box<str>, SubjectError> {
    let length = text.chars().count();
    match (1..=64).contains(&length) && !text.contains(char::is_control) {
        true => Ok(text.into()),
        false => Err(SubjectError { length }),
    }
}
