//! `ConnectionString`: takes out what the driver does not know (`sslmode`, `sslrootcert`).

use std::path::PathBuf;
use std::str::FromStr;

use tokio_postgres::config::{ChannelBinding, SslMode, TargetSessionAttrs};

use crate::ConfigError;

/// What a connection string says of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsWish {
    /// Nothing: TLS, except to this machine.
    #[default]
    Unsaid,
    /// `disable`, `allow` or `prefer`.
    Without,
    /// `require`, `verify-ca` or `verify-full`. The server is verified in full each time.
    With,
}

#[derive(Debug)]
pub(crate) struct ConnectionString {
    pub(crate) driver: tokio_postgres::Config,
    pub(crate) tls: TlsWish,
    pub(crate) root_certificates: Option<PathBuf>,
}

impl ConnectionString {
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let is_url = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        let (rest, options) = match is_url {
            true => from_url(text),
            false => from_pairs(text),
        };
        // What the driver says of it may quote a password that was written in the wrong place.
        let mut driver = tokio_postgres::Config::from_str(&rest)
            .map_err(|_| ConfigError::ConnectionString { option: None })?;
        check(&driver)?;
        driver.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let mut parsed = Self {
            driver,
            tls: TlsWish::Unsaid,
            root_certificates: None,
        };
        for (name, value) in options {
            parsed.take(name, &value)?;
        }
        Ok(parsed)
    }

    fn take(&mut self, name: &'static str, value: &str) -> Result<(), ConfigError> {
        let refused = || ConfigError::ConnectionString { option: Some(name) };
        match (name, value) {
            ("sslmode", "disable" | "allow" | "prefer") => self.tls = TlsWish::Without,
            ("sslmode", "require" | "verify-ca" | "verify-full") => self.tls = TlsWish::With,
            ("sslrootcert", path) if path.starts_with('/') => {
                self.root_certificates = Some(path.into());
            }
            _ => return Err(refused()),
        }
        Ok(())
    }
}

/// What the driver would do and this crate does not.
fn check(driver: &tokio_postgres::Config) -> Result<(), ConfigError> {
    let refused = |name| Err(ConfigError::ConnectionString { option: Some(name) });
    // The server is authenticated by its certificate instead.
    if driver.get_channel_binding() == ChannelBinding::Require {
        return refused("channel_binding");
    }
    // Session settings are set here, and an option could undo them.
    if driver.get_options().is_some() {
        return refused("options");
    }
    if driver.get_hosts().is_empty() && driver.get_hostaddrs().is_empty() {
        return refused("host");
    }
    if driver.get_ssl_mode() != SslMode::Prefer {
        return refused("sslmode");
    }
    Ok(())
}

const OURS: [&str; 2] = ["sslmode", "sslrootcert"];

type Options = Vec<(&'static str, String)>;

fn ours(name: &str) -> Option<&'static str> {
    OURS.into_iter().find(|ours| *ours == name)
}

fn from_url(text: &str) -> (String, Options) {
    let Some((base, query)) = text.rsplit_once('?') else {
        return (text.to_owned(), Options::new());
    };
    let (mut kept, mut options) = (Vec::new(), Options::new());
    for part in query.split('&') {
        match part
            .split_once('=')
            .and_then(|(name, value)| Some((ours(name)?, value)))
        {
            Some((name, value)) => options.push((name, percent_decoded(value))),
            None => kept.push(part),
        }
    }
    match kept.is_empty() {
        true => (base.to_owned(), options),
        false => (format!("{base}?{}", kept.join("&")), options),
    }
}

fn percent_decoded(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        (decoded, rest) = match (byte, hex_pair(after)) {
            (b'%', Some((value, after))) => (pushed(decoded, value), after),
            _ => (pushed(decoded, *byte), after),
        };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn pushed(mut bytes: Vec<u8>, byte: u8) -> Vec<u8> {
    bytes.push(byte);
    bytes
}

/// The value of two hexadecimal digits, and what follows them.
fn hex_pair(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], rest) = text.split_first_chunk::<2>()?;
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let value = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    Some((value, rest))
}

/// `name = value` pairs; values may stand in single quotes, with `\` before `'` and `\`
/// (PostgreSQL 34.1.1.1).
fn from_pairs(text: &str) -> (String, Options) {
    let (mut kept, mut options) = (String::new(), Options::new());
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = pair_end(rest);
        let (pair, after) = rest.split_at(end);
        let parts = pair.split_once('=');
        match parts.and_then(|(name, value)| Some((ours(name.trim())?, value.trim()))) {
            Some((name, value)) => options.push((name, unquoted(value))),
            None => {
                kept.push_str(pair);
                kept.push(' ');
            }
        }
        rest = after.trim_start();
    }
    (kept, options)
}

/// Where the first pair of `text` ends: behind its value, with spaces allowed around `=`.
fn pair_end(text: &str) -> usize {
    let Some(equals) = text.find('=') else {
        return text.len();
    };
    let value = text.get(equals + 1..).unwrap_or_default();
    let spaces = value.len() - value.trim_start().len();
    let value = value.trim_start();
    let quoted = value.starts_with('\'');
    let mut escaped = false;
    let length = value
        .char_indices()
        .skip(usize::from(quoted))
        .find(|(_, c)| {
            let ends = !escaped
                && if quoted {
                    *c == '\''
                } else {
                    c.is_whitespace()
                };
            escaped = !escaped && *c == '\\';
            ends
        });
    let length = length.map_or(value.len(), |(at, _)| at + usize::from(quoted));
    equals + 1 + spaces + length
}

fn unquoted(value: &str) -> String {
    let inner = value
        .strip_prefix('\'')
        .and_then(|value| value.strip_suffix('\''))
        .unwrap_or(value);
    let mut escaped = false;
    let plain = inner.chars().filter(|c| {
        escaped = !escaped && *c == '\\';
        !escaped
    });
    plain.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_options_are_taken_out_and_the_rest_is_left_to_the_driver() {
        let texts = [
            "postgres://u:p%3Fw@db:5433/m2m?sslmode=verify-full&connect_timeout=3&sslrootcert=%2Fetc%2Fca.pem",
            "host=db port=5433 user=u password='p?w' dbname=m2m sslmode = verify-full connect_timeout=3 sslrootcert='/etc/ca.pem'",
        ];
        for text in texts {
            let parsed = ConnectionString::parse(text).unwrap();
            assert_eq!(parsed.tls, TlsWish::With);
            assert_eq!(parsed.root_certificates, Some("/etc/ca.pem".into()));
            assert_eq!(parsed.driver.get_password(), Some(b"p?w".as_slice()));
            assert_eq!(parsed.driver.get_ports(), [5433]);
            assert_eq!(parsed.driver.get_dbname(), Some("m2m"));
            assert!(parsed.driver.get_connect_timeout().is_some());
        }
        let quoted = r"host=db password='it\'s = sslmode=disable \\' user=u";
        let parsed = ConnectionString::parse(quoted).unwrap();
        assert_eq!(parsed.tls, TlsWish::Unsaid);
        let expected = br"it's = sslmode=disable \".as_slice();
        assert_eq!(parsed.driver.get_password(), Some(expected));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_and_no_password_is_repeated() {
        for (text, option) in [
            ("host=db sslmode=maybe", Some("sslmode")),
            ("host=db sslrootcert=system", Some("sslrootcert")),
            ("host=db channel_binding=require", Some("channel_binding")),
            ("host=db options='-c statement_timeout=0'", Some("options")),
            ("user=m2m", Some("host")),
            ("host=db hunter2=x", None),
            ("host", None),
            ("postgres://db/m2m?hunter2", None),
        ] {
            let error = ConnectionString::parse(text).unwrap_err();
            assert_eq!(error, ConfigError::ConnectionString { option }, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
