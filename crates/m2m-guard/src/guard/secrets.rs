//! API keys and signed requests.

use m2m_secrets::{HttpSignatureScratch, KeyTable, verify_request};
use m2m_types::Timestamp;

use super::Guard;
use crate::presented::Credential;
use crate::refusal::{Refusal, RefusalReason};
use crate::secrets::{ApiKeyProof, Form, SignatureProof, Signed};

pub(super) fn check_api_key(
    key: &[u8],
    table: &KeyTable,
    now: Timestamp,
) -> Result<ApiKeyProof, Refusal> {
    let verified = table.check(key, now).map_err(RefusalReason::ApiKey)?;
    Ok(ApiKeyProof::new(&verified))
}

impl Guard {
    pub(super) fn check_signature(
        &self,
        signed: &Signed<'_>,
        now: Timestamp,
        scratch: &mut HttpSignatureScratch,
    ) -> Result<SignatureProof, Refusal> {
        let not_taken = || RefusalReason::NotTaken {
            credential: Credential::Signature,
        };
        match signed.form {
            Form::Compact(header, request) => {
                let (callers, memory) = self.secrets.compact.as_ref().ok_or_else(not_taken)?;
                let callers = callers.load();
                let sharer = callers
                    .claimed(header)
                    .ok_or(RefusalReason::SignatureUnknown)?;
                let verified = verify_request(&sharer.ring.load(), memory, header, &request, now)
                    .map_err(RefusalReason::Signature)?;
                Ok(SignatureProof {
                    owner: sharer.owner.clone(),
                    key_id: verified.key_id().into(),
                    version: Some(verified.version()),
                    signed_at: verified.time(),
                    coverage: None,
                })
            }
            Form::Http(request) => {
                let (callers, policy) = self.secrets.http.as_ref().ok_or_else(not_taken)?;
                let callers = callers.load();
                let verified = policy
                    .verify(request, &*callers, scratch, now)
                    .map_err(RefusalReason::HttpSignature)?;
                let owner = callers
                    .owner(verified.key_id())
                    .ok_or(RefusalReason::SignatureUnknown)?;
                Ok(SignatureProof {
                    owner: owner.clone(),
                    key_id: verified.key_id().into(),
                    version: None,
                    signed_at: verified.created(),
                    coverage: Some(verified.coverage()),
                })
            }
        }
    }
}
