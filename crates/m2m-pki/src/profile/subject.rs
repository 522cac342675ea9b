//! `Subject`: the distinguished name that a profile gives.

use rcgen::{DistinguishedName, DnType};

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

    pub(crate) fn distinguished_name(&self) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        if let Some(organization) = &self.organization {
            name.push(DnType::OrganizationName, organization.to_string());
        }
        name.push(DnType::CommonName, self.common_name.to_string());
        name
    }
}

fn part(text: &str) -> Result<Box<str>, SubjectError> {
    let length = text.chars().count();
    match (1..=64).contains(&length) && !text.contains(char::is_control) {
        true => Ok(text.into()),
        false => Err(SubjectError { length }),
    }
}
