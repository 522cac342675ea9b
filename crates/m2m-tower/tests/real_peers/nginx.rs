//! nginx as the proxy that ends the TLS of clients, by the very configuration of
//! `docs/guides/behind-a-proxy.md`; and what comes of configurations that are wrong.

use std::cell::RefCell;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use m2m_pki::{ChainVerifier, ExpectedPeer, RevocationRule};
use m2m_tower::{ForwardedForm, TrustedProxies};
use m2m_types::Live;

use crate::curl::{Call, Curl, Expected, curl};
use crate::process::{Running, program, run, say};
use crate::server::{Server, ours};
use crate::world::{BILLING, PROXY, PROXY_NAME, SERVER_NAME, SHOP, World, domain, service};
use Expected::{Body, Good, Refused, Unheard};

const GUIDE: &str = include_str!("../../../../docs/guides/behind-a-proxy.md");
const ORDERS_CONF: &str = include_str!("../../../../docs/guides/behind-a-proxy/orders.conf");
const RFC9440_CONF: &str =
    include_str!("../../../../docs/guides/behind-a-proxy/orders-rfc9440.conf");
const CLIENT_CERT_JS: &str = include_str!("../../../../docs/guides/behind-a-proxy/client_cert.js");
/// Where Debian puts njs.
const NJS: &str = "/usr/lib/nginx/modules/ngx_http_js_module.so";

const INVALID: &str = "Bearer error=\"invalid_token\"";
const BAD: &str = "Bearer error=\"invalid_request\"";

/// All that a test is about.
struct Setting {
    world: World,
    server: Server,
    curl: PathBuf,
    nginx: PathBuf,
}

impl Setting {
    /// [`None`], and a loud line, where there is no nginx or no curl.
    async fn new(form: ForwardedForm) -> Option<Self> {
        let (nginx, (curl, _)) = (program("nginx")?, curl()?);
        let world = World::new();
        world.add_strangers();
        let expected = ExpectedPeer::member_of(domain());
        let verifier = ChainVerifier::new(expected, RevocationRule::strict());
        let bundles = Arc::new(Live::new(world.bundles()));
        let crls = Arc::new(Live::new(world.crls()));
        // nginx forwards leaves alone.
        let intermediates = Arc::new(Live::new(world.intermediates()));
        let proxies = TrustedProxies::new(form, verifier, bundles, crls)
            .with_intermediates(intermediates)
            .with_proxy(service(PROXY));
        let server = Server::start_with(&world, ours(&world), Some(proxies)).await;
        Some(Self {
            world,
            server,
            curl,
            nginx,
        })
    }

    fn nginx(&self, site: &str) -> Nginx {
        Nginx::start(&self.nginx, &self.world, &self.server, site)
    }

    /// Calls through `nginx`.
    fn through<'s>(&'s self, nginx: &Nginx) -> Curl<'s> {
        self.calling(PROXY_NAME, nginx.port)
    }

    /// Calls the service itself.
    fn direct(&self) -> Curl<'_> {
        self.calling(SERVER_NAME, self.server.address.port())
    }

    fn calling(&self, name: &'static str, port: u16) -> Curl<'_> {
        Curl {
            program: &self.curl,
            world: &self.world,
            log: &self.server.log,
            name,
            port,
            wrong: RefCell::default(),
        }
    }

    /// By billing, with its token.
    fn good(&self) -> Call<'_> {
        self.by("billing")
    }

    /// By whoever has that certificate, with billing's token.
    fn by<'s>(&'s self, file: &'s str) -> Call<'s> {
        Call {
            certificate: Some(file),
            tokens: vec![self.world.token("billing")],
            ..Call::default()
        }
    }

    /// The header that says that billing's certificate was shown, as a client writes it itself.
    fn claims(&self, form: ForwardedForm) -> String {
        let leaf = self.world.certificate("billing");
        match form {
            ForwardedForm::ClientCert => {
                format!("Client-Cert: :{}:", STANDARD.encode(leaf.der()))
            }
            _ => {
                let escape = |byte: u8| format!("%{byte:02X}");
                let pem: String = leaf.to_pem().bytes().map(escape).collect();
                format!("X-Forwarded-Client-Cert: Cert=\"{pem}\"")
            }
        }
    }
}

/// What a right configuration does, whatever the form.
fn expect_what_is_right(setting: &Setting, nginx: &Nginx, form: ForwardedForm) {
    let curl = setting.through(nginx);
    let claims = setting.claims(form);
    let claim = ["--header", claims.as_str()];
    let twice = [claim, claim].concat();
    let with = |tokens| Call {
        tokens,
        ..Call::default()
    };
    curl.expect(
        "a bound token and its certificate",
        setting.good(),
        Good(BILLING),
    );
    curl.expect(
        "no token",
        with(vec![]),
        Refused(401, "Bearer", "requires a token"),
    );
    let thief = || Refused(401, INVALID, "to somebody else than its presenter");
    curl.expect("a stolen token", setting.by("shop"), thief());
    let proxys = setting.world.token("proxy");
    curl.expect(
        "a token that is bound to the proxy",
        with(vec![proxys]),
        thief(),
    );

    // nginx writes the header itself, whatever the client sent.
    for more in [&claim[..], &twice] {
        let stolen = Call {
            more,
            ..setting.by("shop")
        };
        curl.expect("a stolen token and a claim", stolen, thief());
        let own = Call {
            more,
            ..setting.good()
        };
        curl.expect("a claim beside the certificate", own, Good(BILLING));
    }

    // The path is what the client wrote, and has one meaning.
    let dots = Call {
        more: &["--path-as-is"],
        target: "/orders/../customers",
        ..setting.good()
    };
    curl.expect("a path with dots", dots, Refused(400, BAD, "path"));
    let escaped = Call {
        target: "/orders/%2e%2e/customers",
        ..setting.good()
    };
    curl.expect(
        "a path with escaped dots",
        escaped,
        Refused(400, BAD, "path"),
    );

    // Clients share the proxy's connections, and nothing else.
    let before = setting.server.connections.load(Ordering::SeqCst);
    for _ in 0..3 {
        curl.expect("in turn", setting.good(), Good(BILLING));
        curl.expect("in turn, a thief", setting.by("shop"), thief());
    }
    let made = setting.server.connections.load(Ordering::SeqCst) - before;
    assert!(made < 6, "{made} connections for 6 requests: none was kept");

    // Whom nginx does not let in; the service hears nothing.
    let none = Call {
        certificate: None,
        ..setting.good()
    };
    curl.expect(
        "no certificate",
        none,
        Body(400, "No required SSL certificate"),
    );
    for file in ["stranger", "unknown", "expired", "revoked"] {
        curl.expect(
            file,
            setting.by(file),
            Body(400, "The SSL certificate error"),
        );
    }

    // Without the proxy: a client's word on itself, and the proxy as its own client.
    let direct = setting.direct();
    let stolen = Call {
        more: &claim,
        ..setting.by("shop")
    };
    direct.expect("a claim by a client itself", stolen, thief());
    let nobody = Refused(401, INVALID, "requires a certificate");
    direct.expect("the proxy for nobody", setting.by("proxy"), nobody);
    let both = Call {
        more: &twice,
        ..setting.by("proxy")
    };
    let refused = Refused(400, BAD, "the header stands more than once");
    direct.expect("two claims by the proxy", both, refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn net_004_nginx_forwards_whom_it_saw_and_nobody_else_can_claim_to_be_them() {
    let form = ForwardedForm::ForwardedClientCert;
    let Some(setting) = Setting::new(form).await else {
        return;
    };
    let version = run(Command::new(&setting.nginx).arg("-v")).stderr;
    say(&format!("real_peers: {}", version.trim()));
    let nginx = setting.nginx(ORDERS_CONF);
    expect_what_is_right(&setting, &nginx, form);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn net_004_nginx_forwards_by_rfc_9440_whom_it_saw() {
    let form = ForwardedForm::ClientCert;
    let Some(setting) = Setting::new(form).await else {
        return;
    };
    if !Path::new(NJS).is_file() {
        return say(
            "SKIPPED: nginx without njs: `bash .ci/run peers` installs libnginx-mod-http-js",
        );
    }
    let nginx = setting.nginx(RFC9440_CONF);
    expect_what_is_right(&setting, &nginx, form);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_verifies_by_itself_whom_the_proxy_let_through() {
    let Some(setting) = Setting::new(ForwardedForm::ForwardedClientCert).await else {
        return;
    };
    let lax = edited(
        ORDERS_CONF,
        &[
            (
                "ssl_verify_client      on;",
                "ssl_verify_client optional_no_ca;",
            ),
            ("    ssl_crl                crls.pem;\n", ""),
        ],
    );
    let nginx = setting.nginx(&lax);
    let curl = setting.through(&nginx);
    curl.expect("a good one", setting.good(), Good(BILLING));
    for (file, reason) in [
        ("stranger", "forwarded certificate: leaf: a key identifier"),
        ("unknown", "is its issuer"),
        (
            "revoked",
            "forwarded certificate: leaf: the certificate is revoked",
        ),
    ] {
        curl.expect(file, setting.by(file), Refused(401, INVALID, reason));
    }
    // Of what is wrong, nginx overlooks the issuer alone.
    let expired = Body(400, "The SSL certificate error");
    curl.expect("expired", setting.by("expired"), expired);
    let none = Call {
        certificate: None,
        ..setting.good()
    };
    let nobody = Refused(401, INVALID, "requires a certificate");
    curl.expect("no certificate", none, nobody);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_that_is_not_proven_forwards_nobody_and_one_that_is_asks_for_proof() {
    let Some(setting) = Setting::new(ForwardedForm::ForwardedClientCert).await else {
        return;
    };
    let own = "proxy_ssl_certificate         proxy.pem;";
    let key = "proxy_ssl_certificate_key     proxy.key;";
    // Another machine's certificate: it speaks for itself then, and that is not billing.
    let other = [
        (own, "proxy_ssl_certificate shop.pem;"),
        (key, "proxy_ssl_certificate_key shop.key;"),
    ];
    let nginx = setting.nginx(&edited(ORDERS_CONF, &other));
    let curl = setting.through(&nginx);
    let thief = Refused(401, INVALID, "to somebody else than its presenter");
    curl.expect("a proxy that is none", setting.good(), thief);

    let root = "proxy_ssl_trusted_certificate root.pem;";
    let name = "proxy_ssl_name                orders.internal;";
    for (what, edits) in [
        ("no certificate", vec![(own, ""), (key, "")]),
        (
            "a revoked certificate",
            vec![
                (own, "proxy_ssl_certificate revoked.pem;"),
                (key, "proxy_ssl_certificate_key revoked.key;"),
            ],
        ),
        (
            "another authority's certificate",
            vec![
                (own, "proxy_ssl_certificate stranger.pem;"),
                (key, "proxy_ssl_certificate_key stranger.key;"),
            ],
        ),
        (
            "a service of another authority",
            vec![(root, "proxy_ssl_trusted_certificate stranger-root.pem;")],
        ),
        (
            "a service of another name",
            vec![(name, "proxy_ssl_name customers.internal;")],
        ),
        (
            "TLS 1.2",
            vec![(
                "proxy_ssl_protocols           TLSv1.3;",
                "proxy_ssl_protocols TLSv1.2;",
            )],
        ),
    ] {
        let nginx = setting.nginx(&edited(ORDERS_CONF, &edits));
        let curl = setting.through(&nginx);
        curl.expect(what, setting.good(), Unheard(502));
    }
}

/// What goes wrong without anybody noticing is told in the guide, by these very configurations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_configurations_are_refused_but_for_those_that_pass_on_what_clients_say() {
    let form = ForwardedForm::ForwardedClientCert;
    let Some(setting) = Setting::new(form).await else {
        return;
    };
    let right = "proxy_set_header X-Forwarded-Client-Cert $forwarded_client;";
    let claims = setting.claims(form);
    let claim = ["--header", claims.as_str()];
    let thief = || Call {
        more: &claim,
        ..setting.by("shop")
    };

    // It appends to what came: two clients are named.
    let appends = "proxy_set_header X-Forwarded-Client-Cert \"$http_x_forwarded_client_cert,$forwarded_client\";";
    let nginx = setting.nginx(&edited(ORDERS_CONF, &[(right, appends)]));
    let refused = Refused(400, BAD, "more than one client");
    setting
        .through(&nginx)
        .expect("it appends", thief(), refused);

    // It adds a second header.
    let adds =
        format!("{right} proxy_set_header X-Forwarded-Client-Cert $http_x_forwarded_client_cert;");
    let nginx = setting.nginx(&edited(ORDERS_CONF, &[(right, &adds)]));
    let refused = Refused(400, BAD, "the header stands more than once");
    setting.through(&nginx).expect("it adds", thief(), refused);

    // It forwards what is no certificate, or none that can be read.
    for (value, reason) in [
        ("$ssl_client_escaped_cert", "not `key=value`"),
        (
            "\"Subject=\\\"$ssl_client_s_dn\\\"\"",
            "neither `Cert` nor `Chain`",
        ),
        (
            "\"Hash=$ssl_client_fingerprint\"",
            "neither `Cert` nor `Chain`",
        ),
        ("\"Cert=\\\"\\\"\"", "no certificate in PEM"),
    ] {
        let other = format!("proxy_set_header X-Forwarded-Client-Cert {value};");
        let nginx = setting.nginx(&edited(ORDERS_CONF, &[(right, &other)]));
        let refused = Refused(400, BAD, reason);
        setting
            .through(&nginx)
            .expect(value, setting.good(), refused);
    }
    // PEM as it is has line breaks, which end a header.
    let raw = "proxy_set_header X-Forwarded-Client-Cert $ssl_client_raw_cert;";
    let nginx = setting.nginx(&edited(ORDERS_CONF, &[(right, raw)]));
    let curl = setting.through(&nginx);
    curl.expect("PEM as it is", setting.good(), Unheard(400));

    // **It forgets the header.** What the client says is what the service hears, from a proxy that it
    // believes: who has billing's token needs nothing else but billing's certificate, which is no secret.
    // Nothing that arrives shows that it was not nginx who wrote it.
    let forgets = edited(ORDERS_CONF, &[(right, "")]);
    let nginx = setting.nginx(&forgets);
    let curl = setting.through(&nginx);
    curl.expect("DANGER: it forgets", thief(), Good(BILLING));
    let nobody = Refused(401, INVALID, "requires a certificate");
    curl.expect("it forgets, and nobody lies", setting.good(), nobody);

    // The usual way to forget: a `location` with one `proxy_set_header` of its own has none of those around
    // it.
    let location = "    location / {\n";
    let around = format!("    {right}\n{location}");
    let nginx = setting.nginx(&edited(&forgets, &[(location, &around)]));
    let curl = setting.through(&nginx);
    curl.expect("DANGER: set around the location", thief(), Good(BILLING));
    assert_ne!(SHOP, BILLING);
}

#[test]
fn the_guide_shows_what_is_tried() {
    let files = [ORDERS_CONF, RFC9440_CONF, CLIENT_CERT_JS];
    let code: Vec<String> = [include_str!("nginx.rs"), include_str!("server.rs")]
        .iter()
        .map(|file| file.split_whitespace().collect())
        .collect();
    let mut shown = 0;
    for part in GUIDE.split("\n```").skip(1).step_by(2) {
        let (language, text) = part.split_once('\n').unwrap();
        match language {
            "nginx" | "js" => {
                let is_there = files.iter().any(|file| file.contains(text));
                assert!(is_there, "not in a file:\n{text}");
                shown += 1;
            }
            "rust" => {
                for line in text.lines() {
                    let line: String = line.split_whitespace().collect();
                    let is_there = code.iter().any(|file| file.contains(&line));
                    assert!(is_there, "not in the tests: {line}");
                }
                shown += 1;
            }
            _ => {}
        }
    }
    assert_eq!(shown, 5);
}

/// The text with each of these replaced, once.
fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text.to_owned(), |text, (old, new)| {
        assert_eq!(text.matches(old).count(), 1, "{old}");
        text.replace(old, new)
    })
}

/// nginx in one process, in the world's directory.
struct Nginx {
    _running: Running,
    port: u16,
}

impl Nginx {
    /// With `site`, but on ports of loopback.
    fn start(program: &Path, world: &World, server: &Server, site: &str) -> Self {
        let version = run(Command::new(program).arg("-V")).stderr;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .filter(|name| !version.contains(&format!("--without-http_{name}_module")))
            .map(|name| format!("    {name}_temp_path {name}_temp;\n"))
            .collect();
        let module = match site.contains("js_import") {
            true => format!("load_module {NJS};\n"),
            false => String::new(),
        };
        let main = format!(
            "{module}daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\n\
             events {{ worker_connections 64; }}\nhttp {{\n    access_log off;\n{temporary}    \
             include site.conf;\n}}\n"
        );
        world.write("nginx.conf", main.as_bytes());
        world.write("client_cert.js", CLIENT_CERT_JS.as_bytes());
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let listen = format!("listen 127.0.0.1:{port} ssl;");
            let upstream = format!("server {};", server.address);
            let site = edited(
                site,
                &[
                    ("listen              443 ssl;", &listen),
                    ("server    orders.internal:8443;", &upstream),
                ],
            );
            world.write("site.conf", site.as_bytes());
            let mut command = Command::new(program);
            command
                .args(["-e", "stderr", "-c"])
                .arg(world.path("nginx.conf"));
            command.arg("-p").arg(world.directory());
            let mut running = Running::start(&mut command);
            let ends = Instant::now() + Duration::from_secs(30);
            while Instant::now() < ends && running.is_alive() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self {
                        _running: running,
                        port,
                    };
                }
                sleep(Duration::from_millis(5));
            }
            // Somebody may have taken the port meanwhile.
            let ended = running.end();
            assert!(
                ended.stderr.contains("Address already in use"),
                "{}",
                ended.stderr
            );
        }
        panic!("no port for nginx");
    }
}
