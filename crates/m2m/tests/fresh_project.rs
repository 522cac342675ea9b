//! A newcomer's first minutes: the program of the README in an empty directory outside of this workspace, built
//! without a network, started, called well and badly, and its log read.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use m2m::pki::tls::{Identity, LiveTls, Material};
use m2m::pki::{CrlSet, ExpectedPeer, RevocationRule, TrustBundle, TrustBundles};
use m2m::types::SystemClock;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const README: &str = include_str!("../README.md");
const LONG: Duration = Duration::from_secs(30);

/// The fenced block of the README behind `mark`.
fn block(mark: &str, fence: &str) -> String {
    let (_, rest) = README.split_once(mark).expect("the README has the mark");
    let (_, rest) = rest.split_once(fence).expect("a block is behind it");
    let (block, _) = rest.split_once("\n```").expect("which ends");
    block.trim_start_matches('\n').to_owned()
}

#[test]
fn the_program_of_the_readme_has_fifteen_lines_at_most() {
    let program = block("<!-- the program that", "```rust,no_run\n");
    let lines = program
        .lines()
        .filter(|line| !line.trim().is_empty())
        .count();
    assert!((10..=15).contains(&lines), "{lines} lines:\n{program}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_of_the_readme_works_as_the_readme_says() {
    let place = tempfile::tempdir().unwrap();
    let project = place.path().join("orders");
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    lay_out(&project, free);
    let built = build(&project);
    let errors = String::from_utf8_lossy(&built.stderr).into_owned();
    if !built.status.success() && is_missing(&errors) {
        // Written past the harness, which shows nothing of a test that passes.
        let said =
            format!("SKIPPED: fresh_project: a dependency is not on this machine:\n{errors}");
        let _ = std::fs::OpenOptions::new()
            .append(true)
            .open("/dev/stderr")
            .and_then(|mut stderr| stderr.write_all(said.as_bytes()));
        return;
    }
    assert!(built.status.success(), "{errors}");

    let mut service = Service::start(&project, free).await;
    let billing = Client::new(&project, "billing");
    let shop = Client::new(&project, "shop");
    let read = |text: &str| (200, text.to_owned());
    let good = billing.ask(free, "GET", None).await.unwrap();
    assert_eq!(good, read("for spiffe://example.org/billing\n"));
    assert_eq!(service.lines(), "", "a good call is not worth a line");

    // Each answer says one word, and each line says why.
    assert_eq!(billing.ask(free, "DELETE", None).await.unwrap().0, 403);
    let told = service.line();
    assert!(told.starts_with("refused (denied): "), "{told}");
    let refused = shop.ask(free, "GET", None).await.unwrap();
    assert_eq!(
        (refused.0, refused.1.as_str()),
        (403, "{\"error\":\"forbidden\"}\n")
    );
    let told = service.line();
    assert!(told.starts_with("refused (denied): "), "{told}");
    let refused = billing
        .ask(free, "GET", Some("Bearer a.b.c"))
        .await
        .unwrap();
    assert_eq!(
        (refused.0, refused.1.as_str()),
        (401, "{\"error\":\"invalid_token\"}\n")
    );
    let told = service.line();
    assert!(told.starts_with("refused (token): token: "), "{told}");

    // kill -9, and everything is as it was: the same certificate authority takes the same client.
    service.kill();
    let mut service = Service::start(&project, free).await;
    assert_eq!(billing.ask(free, "GET", None).await.unwrap().0, 200);
    service.kill();
}

/// An empty directory, a manifest and the program, word for word but for its port.
fn lay_out(project: &Path, free: SocketAddr) {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = crates.parent().unwrap().parent().unwrap();
    std::fs::create_dir_all(project.join("src")).unwrap();
    let program = block("<!-- the program that", "```rust,no_run\n");
    let with_port = program.replace("127.0.0.1:8443", &free.to_string());
    assert_ne!(program, with_port, "the port stands where it is looked for");
    std::fs::write(project.join("src/main.rs"), with_port).unwrap();
    let dependencies = block("## A service in fifteen lines", "```toml\n");
    let path = format!("path = {:?}", crates.display().to_string());
    let mut manifest = String::from(
        "[package]\nname = \"fresh-orders\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n",
    );
    let with_path = dependencies.replace("path = \"../m2m/crates/m2m\"", &path);
    assert_ne!(dependencies, with_path);
    // Dependencies as this workspace builds them, so that what is there is used. The directory may lie below
    // another workspace.
    write!(
        manifest,
        "{with_path}\n\n[workspace]\n\n[profile.dev.package.\"*\"]\nopt-level = 2\n"
    )
    .unwrap();
    std::fs::write(project.join("Cargo.toml"), manifest).unwrap();
    // The versions that there are. What is too many is dropped.
    std::fs::copy(workspace.join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
}

fn target() -> PathBuf {
    // target/debug/deps/this-test
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().to_owned()
}

fn build(project: &Path) -> Output {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--offline", "--target-dir"])
        .arg(target());
    // Of this test's own run.
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST") {
            command.env_remove(name);
        }
    }
    command.current_dir(project).output().unwrap()
}

/// Whether cargo could not even begin, for want of something to be fetched.
fn is_missing(errors: &str) -> bool {
    let wanted = ["no matching package", "failed to download"];
    errors.contains("--offline") && wanted.iter().any(|sign| errors.contains(sign))
}

struct Service {
    child: Child,
    told: mpsc::Receiver<String>,
}

impl Service {
    async fn start(project: &Path, address: SocketAddr) -> Self {
        let mut child = Command::new(target().join("debug/fresh-orders"))
            .current_dir(project)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let mut service = Self { child, told };
        let begun = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            let ended = service.child.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < LONG,
                "{}",
                service.lines()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // That connection said nothing and left.
        tokio::time::sleep(Duration::from_millis(200)).await;
        service.lines();
        service
    }

    /// The next line of its log.
    fn line(&self) -> String {
        self.told.recv_timeout(LONG).expect("a line in the log")
    }

    fn lines(&self) -> String {
        self.told.try_iter().collect::<Vec<_>>().join("\n")
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who has the files that the program wrote, as curl would use them.
struct Client {
    tls: LiveTls,
}

impl Client {
    fn new(project: &Path, name: &str) -> Self {
        let read = |file: &str| std::fs::read(project.join(name).join(file)).unwrap();
        let identity = Identity::from_pem(&read("cert.pem"), &read("key.pem")).unwrap();
        let domain: m2m::types::TrustDomain = "example.org".parse().unwrap();
        let bundle = TrustBundle::from_pem(domain, &read("ca.pem")).unwrap();
        let material = Material::new(identity, TrustBundles::new().with(bundle), CrlSet::new());
        // A tool that is run once has no CRL at hand.
        let rule = RevocationRule::danger_accept_unknown();
        let clock = std::sync::Arc::new(SystemClock::new());
        let tls = LiveTls::builder(material, rule, clock).build().unwrap();
        Self { tls }
    }

    async fn ask(
        &self,
        address: SocketAddr,
        method: &str,
        authorization: Option<&str>,
    ) -> std::io::Result<(u16, String)> {
        let orders = ExpectedPeer::service("spiffe://example.org/orders".parse().unwrap());
        let connector = self.tls.connector(orders).unwrap();
        let stream = TcpStream::connect(address).await?;
        let name = "127.0.0.1".try_into().unwrap();
        let stream = TlsConnector::from(connector.config())
            .connect(name, stream)
            .await?;
        let shake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut client, connection) = shake.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        let mut request = http::Request::builder()
            .method(method)
            .uri("/orders/17")
            .header("host", "orders");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let response = client
            .send_request(request)
            .await
            .map_err(std::io::Error::other)?;
        let status = response.status().as_u16();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(std::io::Error::other)?;
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        Ok((status, body))
    }
}
