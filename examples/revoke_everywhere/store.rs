//! What each process has in its directory: a store and the key that opens it, and secrets that an operator
//! has put there.

use std::path::Path;
use std::sync::Arc;

use m2m_crypto::{Algorithm, SecretBytes, SigningKey, SystemRandom};
use m2m_store::{EmbeddedOptions, EmbeddedStore, LocalKey, Scan, Space, Store};
use m2m_token::{JwkSet, KeySet, SigningKeyRing};
use pollster::block_on;

use crate::Outcome;
use crate::network::{PROVIDER, SERVICES};

/// Longer than any token lives here.
const LIFE: std::time::Duration = std::time::Duration::from_secs(3600);

/// Makes the directories of all processes. A program would have its keys from where its secrets are.
pub(crate) fn prepare(directory: &Path) -> Outcome<()> {
    for name in [PROVIDER].into_iter().chain(SERVICES) {
        let own = directory.join(name);
        std::fs::create_dir_all(&own)?;
        let key = SecretBytes::random(LocalKey::BYTES, &SystemRandom)?;
        std::fs::write(own.join("outer.key"), key.expose_secret())?;
    }
    for service in SERVICES {
        for kind in ["manage", "push"] {
            let bytes = SecretBytes::random(24, &SystemRandom)?;
            let digits = bytes.expose_secret().iter();
            let text: String = digits.map(|byte| format!("{byte:02x}")).collect();
            std::fs::write(directory.join(format!("{service}.{kind}")), text)?;
        }
    }
    let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
    let pem = key.to_pkcs8_pem();
    let signing = directory.join(PROVIDER).join("signing.pem");
    std::fs::write(signing, pem.expose_secret())?;
    let public = signing_keys(directory)?.jwk_set().to_json();
    Ok(std::fs::write(directory.join("public.jwks"), public)?)
}

/// What an operator has told both sides: the token that a service manages its stream with (`manage`), and
/// what the provider shows when it pushes (`push`).
pub(crate) fn secret(directory: &Path, service: &str, kind: &str) -> Outcome<String> {
    Ok(std::fs::read_to_string(
        directory.join(format!("{service}.{kind}")),
    )?)
}

/// The provider's key, which signs both tokens and SETs. Their types keep them apart.
pub(crate) fn signing_keys(directory: &Path) -> Outcome<Arc<SigningKeyRing>> {
    let pem = std::fs::read(directory.join(PROVIDER).join("signing.pem"))?;
    let key = SigningKey::from_pem(Algorithm::Es256, &pem)?;
    Ok(Arc::new(SigningKeyRing::new(key, LIFE)?))
}

/// Its public half.
pub(crate) fn public_keys(directory: &Path) -> Outcome<KeySet> {
    let json = std::fs::read(directory.join("public.jwks"))?;
    Ok(JwkSet::parse(&json)?.into_keys())
}

/// The store of one process.
pub(crate) fn open(directory: &Path, name: &str) -> Outcome<Arc<EmbeddedStore>> {
    let own = directory.join(name);
    let key = SecretBytes::new(std::fs::read(own.join("outer.key"))?);
    let options = EmbeddedOptions::new(Arc::new(LocalKey::new(key)?));
    let store = EmbeddedStore::open_or_create(own.join("state.m2m"), &options)?;
    Ok(Arc::new(store))
}

/// Where a service writes that it acted, in the commit that finishes the SET.
pub(crate) fn acted() -> Outcome<Space> {
    Ok(Space::new("acted")?)
}

/// What a service acted upon: one entry for each time, by `txn`.
pub(crate) fn count_acted(directory: &Path, service: &str) -> Outcome<Vec<String>> {
    let store = open(directory, service)?;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let mut scan = Scan::new(acted()?);
        if let Some(after) = after {
            scan = scan.after(after);
        }
        let page = block_on(store.scan(&scan))?;
        for record in page.records() {
            found.push(String::from_utf8(record.value().as_bytes().to_vec())?);
        }
        after = page.next().cloned();
        if after.is_none() {
            return Ok(found);
        }
    }
}
