//! TLS: a server is spoken to when its certificate and its name are right, and not otherwise.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use m2m_crypto::{SecretBytes, SystemRandom};
use m2m_store::{Expected, Store};
use m2m_store_postgres::{ConnectError, PostgresConfig, PostgresStore};
use m2m_testkit::postgres::{Options, Server};

mod common;

struct Pair {
    certificate: String,
    key: String,
}

/// Throw-away certificates: a root, one for `localhost` and 127.0.0.1, and one for a client.
struct Certificates {
    root: String,
    server: Pair,
    client: Pair,
    other_root: String,
}

impl Certificates {
    /// None, and a loud line, where there is no `openssl`.
    fn make() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("m2m-tls-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).expect("a directory");
        let script = r#"
            set -e
            root() {
                openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
                    -subj "/CN=$1" -keyout "$1.key" -out "$1.pem" \
                    -addext "basicConstraints=critical,CA:TRUE"
            }
            leaf() {
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" \
                    -keyout "$1.key" -out "$1.csr"
                printf 'basicConstraints=CA:FALSE\nsubjectAltName=%s\n' "$2" >"$1.ext"
                openssl x509 -req -in "$1.csr" -CA root.pem -CAkey root.key -days 2 \
                    -CAcreateserial -extfile "$1.ext" -out "$1.pem"
            }
            root root
            root other
            leaf server "DNS:localhost,IP:127.0.0.1"
            leaf postgres "DNS:postgres"
        "#;
        let made = Command::new("sh")
            .args(["-c", script])
            .current_dir(&directory)
            .output();
        let made = made.is_ok_and(|output| output.status.success());
        let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        let pair = |name: &str| Pair {
            certificate: read(&format!("{name}.pem")),
            key: read(&format!("{name}.key")),
        };
        let certificates = made.then(|| Self {
            root: read("root.pem"),
            other_root: read("other.pem"),
            server: pair("server"),
            client: pair("postgres"),
        });
        std::fs::remove_dir_all(&directory).expect("it was there");
        if certificates.is_none() {
            common::say("SKIPPED: no certificates: openssl is not installed");
        }
        certificates
    }
}

async fn connect(config: &PostgresConfig) -> Result<PostgresStore, ConnectError> {
    let (outer, random) = (common::outer(), Arc::new(SystemRandom));
    PostgresStore::connect(config.clone(), &outer, random).await
}

fn unreachable(result: Result<PostgresStore, ConnectError>, why: &str) {
    match result {
        Err(ConnectError::Unreachable { reason }) => {
            assert!(reason.to_string().contains(why), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_is_verified_by_root_and_by_name() {
    let Some(certificates) = Certificates::make() else {
        return;
    };
    let Pair { certificate, key } = &certificates.server;
    let options = Options {
        tls: Some((certificate, key)),
        ..Options::default()
    };
    let Some(server) = Server::start(options) else {
        return;
    };
    common::run(async {
        let plain = common::on(&server.connection_string());
        PostgresStore::migrate(plain.clone()).await.expect("tables");
        let host = |host: &str| {
            let text = server.connection_string().replace("host=127.0.0.1", host);
            let config = PostgresConfig::new(&format!("{text} sslmode=verify-full"));
            config
                .expect("a connection string")
                .with_schema(plain.schema_name())
                .expect("a name")
        };
        let root = certificates.root.as_bytes();

        let right = host("host=localhost").with_root_certificates(root);
        let store = connect(&right).await.expect("verified");
        let batch = common::batch().put(common::key("a"), Expected::Absent, vec![1]);
        store.commit(batch).await.expect("committed");
        // It is TLS, says the server.
        let client = common::client(&server.connection_string()).await;
        let asked = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
                     WHERE s.ssl AND s.version = 'TLSv1.3' AND a.application_name = 'm2m-store'";
        let found = client.query_one(asked, &[]).await.expect("a count");
        assert!(found.get::<_, i64>(0) >= 2);

        let by_address = host("host=127.0.0.1").with_root_certificates(root);
        connect(&by_address).await.expect("verified by its address");

        let other = certificates.other_root.as_bytes();
        let other = host("host=localhost").with_root_certificates(other);
        unreachable(connect(&other).await, "UnknownIssuer");
        // The name is what is verified, whatever the address.
        let name = host("host=db.example hostaddr=127.0.0.1").with_root_certificates(root);
        unreachable(connect(&name).await, "not valid for");
        let garbage = host("host=localhost").with_root_certificates(b"no certificate");
        assert!(matches!(
            connect(&garbage).await,
            Err(ConnectError::Config(_))
        ));
    });
}

#[test]
fn a_server_without_tls_is_not_spoken_to_where_tls_is_asked_for() {
    let (Some(certificates), Some(server)) =
        (Certificates::make(), Server::start(Options::default()))
    else {
        return;
    };
    common::run(async {
        let text = format!("{} sslmode=require", server.connection_string());
        let config = PostgresConfig::new(&text).expect("a connection string");
        let config = config.with_root_certificates(certificates.root.as_bytes());
        unreachable(connect(&config).await, "server does not support TLS");
    });
}

#[test]
fn a_client_certificate_stands_in_for_a_password() {
    let Some(certificates) = Certificates::make() else {
        return;
    };
    let options = Options {
        tls: Some((&certificates.server.certificate, &certificates.server.key)),
        settings: "ssl_ca_file = '../root.pem'",
        files: &[
            ("root.pem", &certificates.root),
            (
                "data/pg_hba.conf",
                "hostssl all all 127.0.0.1/32 cert\nhostnossl all all 127.0.0.1/32 scram-sha-256\n",
            ),
        ],
    };
    let Some(server) = Server::start(options) else {
        return;
    };
    common::run(async {
        let text = format!(
            "host=localhost port={} user=postgres dbname=postgres",
            server.port()
        );
        let config = PostgresConfig::new(&format!("{text} sslmode=verify-full"))
            .expect("a connection string")
            .with_root_certificates(certificates.root.as_bytes());
        let refused = PostgresStore::migrate(config.clone()).await;
        assert!(refused.is_err(), "{refused:?}");
        let Pair { certificate, key } = &certificates.client;
        let key = SecretBytes::from(key.as_bytes());
        let config = config
            .with_client_certificate(certificate.as_bytes(), &key)
            .expect("a certificate and its key");
        PostgresStore::migrate(config.clone()).await.expect("known");
        connect(&config).await.expect("known");
    });
}
