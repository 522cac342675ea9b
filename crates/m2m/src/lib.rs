#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "runtime")]
pub mod runtime;

#[cfg(feature = "set")]
pub use caep_set as set;
#[cfg(feature = "stream")]
pub use caep_stream as stream;
pub use m2m_crypto as crypto;
#[cfg(feature = "guard")]
pub use m2m_guard as guard;
#[cfg(feature = "pki")]
pub use m2m_pki as pki;
#[cfg(feature = "revoke")]
pub use m2m_revoke as revoke;
#[cfg(feature = "secrets")]
pub use m2m_secrets as secrets;
#[cfg(feature = "store")]
pub use m2m_store as store;
#[cfg(feature = "postgres")]
pub use m2m_store_postgres as postgres;
#[cfg(feature = "token")]
pub use m2m_token as token;
#[cfg(feature = "tower")]
pub use m2m_tower as tower;
pub use m2m_types as types;

#[cfg(feature = "runtime")]
pub use runtime::Runtime;
