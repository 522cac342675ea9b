//! `NamedSecret`: a secret with its name and version, as it is moved from one place to another.

mod json;

use crate::SharedSecret;
use crate::rotation::{SecretName, SecretVersion};
pub use json::{MAX_JSON_BYTES, SecretJsonError, SecretJsonFileError, read_json, read_json_file};

/// A secret, and which one it is. Shown without it.
#[derive(Debug)]
pub struct NamedSecret {
    name: SecretName,
    version: SecretVersion,
    secret: SharedSecret,
}

impl NamedSecret {
    /// Puts them together.
    pub const fn new(name: SecretName, version: SecretVersion, secret: SharedSecret) -> Self {
        Self {
            name,
            version,
            secret,
        }
    }

    /// Which secret.
    pub const fn name(&self) -> &SecretName {
        &self.name
    }

    /// Which version of it.
    pub const fn version(&self) -> SecretVersion {
        self.version
    }

    /// The secret itself.
    pub const fn secret(&self) -> &SharedSecret {
        &self.secret
    }

    /// Takes it apart.
    pub fn into_parts(self) -> (SecretName, SecretVersion, SharedSecret) {
        (self.name, self.version, self.secret)
    }
}
