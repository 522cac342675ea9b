//! The store's file, its outer key, and its anchor.

use std::path::Path;
use std::sync::Arc;

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::{EmbeddedOptions, EmbeddedStore, FileAnchor, LocalKey, OpenError};

use crate::state::Outcome;

/// A program would have the key from where its secrets are, and the anchor on another volume.
pub(crate) fn prepare(directory: &Path, anchored: bool) -> Outcome<()> {
    let key = SecretBytes::random(LocalKey::BYTES, &SystemRandom)?;
    std::fs::write(directory.join("outer.key"), key.expose_secret())?;
    if anchored {
        std::fs::write(directory.join("anchored"), [])?;
    }
    Ok(())
}

pub(crate) fn open_or_create(directory: &Path) -> Outcome<EmbeddedStore> {
    let (path, options) = (directory.join("state.m2m"), options(directory)?);
    Ok(EmbeddedStore::open_or_create(path, &options)?)
}

/// The store, if it was ever made.
pub(crate) fn open(directory: &Path) -> Outcome<Option<EmbeddedStore>> {
    match EmbeddedStore::open(directory.join("state.m2m"), &options(directory)?) {
        Err(OpenError::Missing { .. }) => Ok(None),
        opened => Ok(Some(opened?)),
    }
}

fn options(directory: &Path) -> Outcome<EmbeddedOptions> {
    let key = SecretBytes::new(std::fs::read(directory.join("outer.key"))?);
    let options = EmbeddedOptions::new(Arc::new(LocalKey::new(key)?));
    Ok(match directory.join("anchored").exists() {
        true => options.with_anchor(Arc::new(FileAnchor::new(directory.join("state.anchor")))),
        false => options,
    })
}
