//! `PostgresConfig`: where the database is and how it is spoken to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use m2m_crypto::SecretBytes;
use m2m_store::Anchor;
use tokio_postgres::config::{Host, SslMode};

use crate::PostgresLimits;
use crate::connection_string::{ConnectionString, TlsWish};
use crate::schema::Schema;
use crate::tls::{Identity, Tls};

/// The schema where nothing else is said.
const DEFAULT_SCHEMA: &str = "m2m";

/// Where the database is and how it is spoken to.
///
/// Beyond this machine (127.0.0.0/8, `::1`, `localhost`, Unix sockets) the connection is TLS 1.2 or
/// 1.3, and the server must show a certificate for its name from one of the given roots; nothing
/// turns that off.
///
/// ```
/// use m2m_crypto::SecretBytes;
/// use m2m_store_postgres::PostgresConfig;
///
/// let config = PostgresConfig::new("host=127.0.0.1 user=m2m_app dbname=m2m")?
///     .with_password(SecretBytes::from(&b"from a file or a secret store"[..]))
///     .with_schema("m2m")?;
/// assert!(!format!("{config:?}").contains("secret store"));
///
/// // A connection string may hold the password; beyond this machine there must be roots, too.
/// let remote = PostgresConfig::new(
///     "postgresql://m2m_app:secret@db.example/m2m?sslmode=verify-full&sslrootcert=/etc/m2m/db-ca.pem",
/// )?;
/// assert!(PostgresConfig::new("postgresql://db.example/m2m?sslmode=prefer").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PostgresConfig {
    driver: tokio_postgres::Config,
    schema: Schema,
    limits: PostgresLimits,
    password: Option<Arc<SecretBytes>>,
    root_certificates: Roots,
    identity: Option<Arc<Identity>>,
    is_local: bool,
    wants_tls: bool,
    wakes: bool,
    anchor: Option<Arc<dyn Anchor>>,
}

#[derive(Clone)]
enum Roots {
    None,
    File(PathBuf),
    Pem(Arc<[u8]>),
}

/// Why something is no configuration.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The connection string cannot be read, or asks for what is not done. It is not repeated here,
    /// as it may hold a password.
    #[error("the connection string cannot be used{}", .option.map(|name| format!(": its option {name} is missing or not supported")).unwrap_or_default())]
    ConnectionString {
        /// Which option is missing or has a value that is not supported.
        option: Option<&'static str>,
    },
    /// The server is on another machine and the connection string asks for no TLS, or not always.
    #[error(
        "{host} is not this machine, and sslmode asks for a connection without TLS: write sslmode=verify-full and name the CA with sslrootcert=/path or with_root_certificates"
    )]
    TlsRequired {
        /// The host.
        host: Box<str>,
    },
    /// There is no certificate to verify the server with.
    #[error(
        "no root certificate to verify the server with: name the CA with sslrootcert=/path or with_root_certificates"
    )]
    NoRootCertificates,
    /// The root certificates cannot be read, or are none.
    #[error("the root certificates are not PEM certificates, or cannot be read")]
    RootCertificates,
    /// The certificate of ours or its key is no such thing.
    #[error("the client certificate or its key is not PEM, or the two do not belong together")]
    ClientCertificate,
    /// The name of the schema.
    #[error(
        "a schema is named by 1 to 63 of a-z 0-9 _, not beginning with a digit or pg_, and not by {length} bytes"
    )]
    Schema {
        /// How many bytes the refused one has.
        length: usize,
    },
}

impl PostgresConfig {
    /// Takes a connection string: `name=value` pairs or a URL, as
    /// [libpq](https://www.postgresql.org/docs/current/libpq-connect.html) has them.
    ///
    /// Several hosts may be named; the first that takes writes is used. Of TLS it knows `sslmode`
    /// (`require` and `verify-ca` verify in full, too) and `sslrootcert` (an absolute path, read
    /// when connecting). Reads neither environment nor password files.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ConnectionString`] and [`ConfigError::TlsRequired`].
    pub fn new(connection_string: &str) -> Result<Self, ConfigError> {
        let parsed = ConnectionString::parse(connection_string)?;
        let driver = pinned(parsed.driver);
        let remote = remote_host(&driver);
        if let (TlsWish::Without, Some(host)) = (parsed.tls, &remote) {
            let host = host.as_str().into();
            return Err(ConfigError::TlsRequired { host });
        }
        Ok(Self {
            schema: Schema::new(DEFAULT_SCHEMA).ok_or(ConfigError::Schema { length: 0 })?,
            limits: PostgresLimits::new(),
            password: None,
            root_certificates: parsed.root_certificates.map_or(Roots::None, Roots::File),
            identity: None,
            is_local: remote.is_none(),
            wants_tls: parsed.tls == TlsWish::With,
            wakes: false,
            anchor: None,
            driver,
        })
    }

    /// The password, instead of one in the connection string.
    #[must_use]
    pub fn with_password(mut self, password: SecretBytes) -> Self {
        self.password = Some(Arc::new(password));
        self
    }

    /// Verifies the server with these certificates (PEM), and no others.
    #[must_use]
    pub fn with_root_certificates(mut self, pem: &[u8]) -> Self {
        self.root_certificates = Roots::Pem(pem.into());
        self
    }

    /// Shows this certificate (PEM, with what lies between it and the root) to servers that ask.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientCertificate`].
    pub fn with_client_certificate(
        mut self,
        chain: &[u8],
        key: &SecretBytes,
    ) -> Result<Self, ConfigError> {
        self.identity = Some(Arc::new(Identity::from_pem(chain, key)?));
        Ok(self)
    }

    /// Keeps the tables in this schema instead of `m2m`. Schemas are separate stores.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Schema`].
    pub fn with_schema(mut self, name: &str) -> Result<Self, ConfigError> {
        let length = name.len();
        self.schema = Schema::new(name).ok_or(ConfigError::Schema { length })?;
        Ok(self)
    }

    /// Other limits than [`PostgresLimits::new`].
    #[must_use]
    pub fn with_limits(mut self, limits: PostgresLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Announces commits with NOTIFY and listens for those of others, so that they are seen before
    /// the next poll. Lost announcements cost nothing but that time. Not every engine that speaks
    /// PostgreSQL's protocol has it.
    #[must_use]
    pub fn with_wake_ups(mut self) -> Self {
        self.wakes = true;
        self
    }

    /// Remembers in `anchor`, outside of the database, how far the store had come when this process
    /// last wrote, and refuses to connect to an older copy. Each process has an anchor of its own.
    #[must_use]
    pub fn with_anchor(mut self, anchor: Arc<dyn Anchor>) -> Self {
        self.anchor = Some(anchor);
        self
    }

    /// The schema that the tables are in.
    pub fn schema_name(&self) -> &str {
        self.schema.name()
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn limits(&self) -> &PostgresLimits {
        &self.limits
    }

    pub(crate) fn anchor(&self) -> Option<Arc<dyn Anchor>> {
        self.anchor.clone()
    }

    pub(crate) fn wakes(&self) -> bool {
        self.wakes
    }

    /// TLS, unless all hosts are this machine and nobody asked for it. Reads `sslrootcert`.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        if self.is_local && !self.wants_tls {
            return Ok(None);
        }
        let roots = match &self.root_certificates {
            Roots::None => return Err(ConfigError::NoRootCertificates),
            Roots::Pem(pem) => Arc::clone(pem),
            Roots::File(path) => std::fs::read(path)
                .map_err(|_| ConfigError::RootCertificates)?
                .into(),
        };
        Tls::new(&roots, self.identity.as_deref()).map(Some)
    }

    /// For the driver, with the password.
    pub(crate) fn driver(&self, encrypted: bool) -> tokio_postgres::Config {
        let mut driver = self.driver.clone();
        driver.ssl_mode(match encrypted {
            true => SslMode::Require,
            false => SslMode::Disable,
        });
        if driver.get_application_name().is_none() {
            driver.application_name("m2m-store");
        }
        driver.connect_timeout(self.limits.connect);
        // A server that is gone without a word is noticed.
        driver.keepalives_idle(Duration::from_secs(5));
        driver.keepalives_interval(Duration::from_secs(5));
        driver.keepalives_retries(2);
        if let Some(password) = &self.password {
            driver.password(password.expose_secret());
        }
        driver
    }
}

/// `localhost` means 127.0.0.1 and is looked up nowhere.
fn pinned(mut driver: tokio_postgres::Config) -> tokio_postgres::Config {
    let local = |host: &Host| matches!(host, Host::Tcp(name) if name == "localhost");
    if driver.get_hostaddrs().is_empty() && driver.get_hosts().iter().all(local) {
        for _ in 0..driver.get_hosts().len() {
            driver.hostaddr(IpAddr::V4(Ipv4Addr::LOCALHOST));
        }
    }
    driver
}

/// The first host that may be another machine.
fn remote_host(driver: &tokio_postgres::Config) -> Option<String> {
    let addresses = driver.get_hostaddrs();
    if !addresses.is_empty() {
        let remote = addresses.iter().find(|address| !address.is_loopback());
        return remote.map(ToString::to_string);
    }
    driver.get_hosts().iter().find_map(|host| match host {
        Host::Tcp(name) => {
            let here = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            (!here).then(|| name.clone())
        }
        #[cfg(unix)]
        Host::Unix(_) => None,
    })
}

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
            .field("hosts", &self.driver.get_hosts())
            .field("ports", &self.driver.get_ports())
            .field("database", &self.driver.get_dbname())
            .field("user", &self.driver.get_user())
            .field("schema", &self.schema)
            .field("limits", &self.limits)
            .field("tls", &(!self.is_local || self.wants_tls))
            .field("wake_ups", &self.wakes)
            .field("anchor", &self.anchor.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_spoken_to_with_tls_or_not_at_all() {
        for host in ["db.example", "10.0.0.7", "2001:db8::1", "localhost.evil"] {
            for mode in ["disable", "allow", "prefer"] {
                let text = format!("host={host} user=m2m sslmode={mode}");
                let error = PostgresConfig::new(&text).unwrap_err();
                let expected = ConfigError::TlsRequired { host: host.into() };
                assert_eq!(error, expected);
                assert!(error.to_string().contains("sslmode=verify-full"));
            }
            let config = PostgresConfig::new(&format!("host={host} user=m2m")).unwrap();
            let error = config.tls().err();
            assert_eq!(error, Some(ConfigError::NoRootCertificates), "{host}");
        }
        // The name is this machine; the address is not.
        let text = "host=localhost hostaddr=192.0.2.1 sslmode=disable";
        assert!(PostgresConfig::new(text).is_err());
        // One of two is another machine.
        assert!(PostgresConfig::new("host=127.0.0.1,db.example sslmode=prefer").is_err());
    }

    #[test]
    fn this_machine_needs_no_tls() {
        let hosts = [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "localhost",
            "/run/postgresql",
        ];
        for host in hosts {
            let config = PostgresConfig::new(&format!("host={host} user=m2m")).unwrap();
            assert!(config.tls().is_ok_and(|tls| tls.is_none()), "{host}");
        }
        // But one can ask for it.
        let config = PostgresConfig::new("host=127.0.0.1 sslmode=verify-full").unwrap();
        assert_eq!(config.tls().err(), Some(ConfigError::NoRootCertificates));
    }

    #[test]
    fn no_password_is_shown() {
        let config = PostgresConfig::new("host=::1 user=u password=hunter2").unwrap();
        let config = config.with_password(SecretBytes::from(&b"hunter3"[..]));
        let shown = format!("{config:?} {config:#?}");
        assert!(!shown.contains("hunter"), "{shown}");
        assert_eq!(
            config.driver(false).get_password(),
            Some(b"hunter3".as_slice())
        );
    }
}
