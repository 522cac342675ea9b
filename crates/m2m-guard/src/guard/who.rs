//! `Who`: whom the credentials of one call name, and that it is one machine.

use m2m_token::Verified;
use m2m_types::{ServiceId, ServiceIdRef};

use super::Several;
use crate::presented::Credential;
use crate::proven::Name;
use crate::refusal::{Disagreement, Refusal, RefusalReason};

/// Whom the credentials name so far.
pub(super) struct Who<'a> {
    several: Several,
    named: Option<(Credential, Name<'a>)>,
}

impl<'a> Who<'a> {
    pub(super) const fn new(several: Several) -> Self {
        Self {
            several,
            named: None,
        }
    }

    #[cfg(feature = "pki")]
    pub(super) fn is_peer(&mut self, service: Option<&'a ServiceId>) -> Result<(), Refusal> {
        let service = service.ok_or(RefusalReason::NotService {
            credential: Credential::Certificate,
            problem: m2m_types::ServiceIdError::PathMissing,
        })?;
        self.named = Some((Credential::Certificate, Name::Borrowed(service)));
        Ok(())
    }

    #[cfg(feature = "secrets")]
    pub(super) fn is(&mut self, credential: Credential, owner: &ServiceId) -> Result<(), Refusal> {
        self.agree(credential, owner.as_str(), || owner.clone())?;
        // The one that was there stays if they are the same: it costs nothing to keep.
        self.named = Some((credential, Name::Owned(owner.clone())));
        Ok(())
    }

    /// `sub` is a name, and the same as that of other credentials. Where there is one, comparing is
    /// enough: that one was checked.
    #[inline]
    pub(super) fn is_subject(&mut self, token: &Verified<'_>) -> Result<(), Refusal> {
        let subject = token.subject().unwrap_or_default();
        if self
            .named
            .as_ref()
            .is_some_and(|(_, name)| is(name, subject))
        {
            return Ok(());
        }
        let service =
            ServiceIdRef::parse(subject).map_err(|problem| RefusalReason::NotService {
                credential: Credential::Token,
                problem,
            })?;
        self.agree(Credential::Token, subject, || service.to_owned())?;
        self.named = Some((Credential::Token, Name::Token));
        Ok(())
    }

    fn agree(
        &self,
        credential: Credential,
        name: &str,
        owned: impl FnOnce() -> ServiceId,
    ) -> Result<(), Refusal> {
        let Some((other, named)) = &self.named else {
            return Ok(());
        };
        let other_names = match named {
            Name::Token => return Ok(()),
            Name::Borrowed(service) => *service,
            Name::Owned(service) => service,
        };
        if other_names.as_str() == name || self.several == Several::MayDisagree {
            return Ok(());
        }
        Err(RefusalReason::Disagree(Disagreement {
            first: credential,
            first_names: owned(),
            second: *other,
            second_names: other_names.clone(),
        })
        .into())
    }

    /// Whom all of them name. There was at least one.
    pub(super) fn name(self) -> Name<'a> {
        self.named.map_or(Name::Token, |(_, name)| name)
    }
}

fn is(name: &Name<'_>, text: &str) -> bool {
    match name {
        Name::Token => false,
        Name::Borrowed(service) => service.as_str() == text,
        Name::Owned(service) => service.as_str() == text,
    }
}
