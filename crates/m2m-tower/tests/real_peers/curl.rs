//! curl with client certificates: OpenSSL's TLS, and PEM files of ours in its hands.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Ended, program, run, say};
use crate::server::{Log, Server};
use crate::world::{BILLING, SERVER_NAME, World};

/// What must come of a call.
#[derive(Debug)]
pub(crate) enum Expected {
    /// The service answers, for this caller.
    Good(&'static str),
    /// A status, what `WWW-Authenticate` says, and a part of what operators read.
    Refused(u16, &'static str, &'static str),
    /// A status, and a part of the body, of which the service and its operators hear nothing.
    Body(u16, &'static str),
    /// A status by whoever is in between: the service heard no request.
    Unheard(u16),
    /// An alert ends the handshake, and operators read this; nothing of the service is reached.
    Alert(&'static str, &'static str),
    /// curl itself refuses the server, or cannot agree with it.
    Exit(i32),
}
use Expected::{Alert, Body, Exit, Good, Refused, Unheard};

const INVALID: &str = "Bearer error=\"invalid_token\"";

/// curl, and where it calls.
pub(crate) struct Curl<'w> {
    pub(crate) program: &'w Path,
    pub(crate) world: &'w World,
    /// What the service's operators hear.
    pub(crate) log: &'w Log,
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    /// What went wrong: told, and the test failed, when it is dropped.
    pub(crate) wrong: RefCell<Vec<String>>,
}

/// A call of it, with the machine's files that are shown.
pub(crate) struct Call<'c> {
    pub(crate) certificate: Option<&'c str>,
    pub(crate) tokens: Vec<String>,
    pub(crate) target: &'c str,
    pub(crate) more: &'c [&'c str],
}

impl Default for Call<'_> {
    fn default() -> Self {
        Self {
            certificate: Some("billing"),
            tokens: Vec::new(),
            target: "/orders/17",
            more: &[],
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_is_let_in_when_it_is_right_and_refused_in_each_way_that_is_wrong() {
    let Some((program, version)) = curl() else {
        return;
    };
    let world = World::new();
    let stranger = world.add_strangers();
    let other_root = world.path("stranger-root.pem");
    let other_root = ["--cacert", other_root.to_str().unwrap()];
    let crls = world.path("crls.pem");
    let crls = crls.to_str().unwrap();
    let server = Server::start(&world).await;
    let curl = Curl {
        program: &program,
        world: &world,
        log: &server.log,
        name: SERVER_NAME,
        port: server.address.port(),
        wrong: RefCell::default(),
    };
    let good = || vec![world.token("billing")];
    let with = |tokens| Call {
        tokens,
        ..Call::default()
    };
    let showing = |certificate| Call {
        certificate,
        ..with(good())
    };
    let asking = |target| Call {
        target,
        ..with(good())
    };
    let options = |more| Call {
        more,
        ..with(good())
    };

    curl.expect(
        "a bound token and its certificate",
        with(good()),
        Good(BILLING),
    );
    let crls = ["--crlfile", crls];
    curl.expect("CRLs of ours", options(&crls), Good(BILLING));
    curl.expect("TLS 1.3 alone", options(&["--tlsv1.3"]), Good(BILLING));
    curl.expect("HTTP/1.0", options(&["--http1.0"]), Good(BILLING));

    // Certificates.
    let required = Alert("certificate required", "");
    curl.expect("no certificate", showing(None), required);
    let expired = Alert("certificate expired", "leaf: valid from");
    curl.expect("an expired one", showing(Some("expired")), expired);
    let revoked = Alert("certificate revoked", "revoked");
    curl.expect("a revoked one", showing(Some("revoked")), revoked);
    let unknown = Alert("unknown ca", "is its issuer");
    curl.expect("another authority's", showing(Some("unknown")), unknown);
    let forged = Alert("decrypt error", "not that of the issuer's key");
    curl.expect("one of the same name", showing(Some("stranger")), forged);
    let not_billing = Refused(401, INVALID, "to somebody else than its presenter");
    curl.expect("another machine's", showing(Some("shop")), not_billing);
    let not_this = Refused(401, INVALID, "to somebody else than its presenter");
    curl.expect("the same machine's next", showing(Some("again")), not_this);

    // Tokens.
    let none = Refused(401, "Bearer", "requires a token");
    curl.expect("no token", with(vec![]), none);
    let audience = world.token_of("spiffe://example.org/customers", "billing", world.now());
    let refused = Refused(401, INVALID, "does not name this service");
    curl.expect("another audience's", with(vec![audience]), refused);
    let refused = Refused(401, INVALID, "token expired at");
    curl.expect("an expired one", with(vec![world.expired_token()]), refused);
    let others = vec![world.token("shop")];
    let refused = Refused(401, INVALID, "to somebody else than its presenter");
    curl.expect("one bound to another", with(others), refused);
    let refused = Refused(401, INVALID, "not bound to its presenter");
    curl.expect(
        "one bound to nothing",
        with(vec![world.unbound_token()]),
        refused,
    );
    let refused = Refused(401, INVALID, "signature does not verify");
    let strangers = stranger.token("billing");
    let strangers = strangers.rsplit_once('.').unwrap().1;
    let good_one = world.token("billing");
    let forged = format!("{}.{strangers}", good_one.rsplit_once('.').unwrap().0);
    curl.expect("another signature", with(vec![forged]), refused);

    // Requests that are none.
    let bad = "Bearer error=\"invalid_request\"";
    let refused = Refused(400, bad, "authorization_repeated");
    curl.expect("a token twice", with([good(), good()].concat()), refused);
    let query = format!("/orders/17?access_token={}", world.token("billing"));
    let refused = Refused(400, bad, "token_in_query");
    let in_query = Call {
        target: &query,
        ..with(vec![])
    };
    curl.expect("a token in the query", in_query, refused);
    let basic = Call {
        more: &["--user", "billing:secret"],
        ..with(vec![])
    };
    let refused = Refused(400, bad, "authorization_scheme");
    curl.expect("Basic", basic, refused);
    let refused = Refused(400, bad, "path");
    let dots = Call {
        more: &["--path-as-is"],
        ..asking("/orders/../customers")
    };
    curl.expect("a path with dots", dots, refused);
    let refused = Refused(400, bad, "path");
    curl.expect(
        "a path with escaped dots",
        asking("/orders/%2e%2e/customers"),
        refused,
    );

    // What is not allowed, to whom is known.
    let refused = Refused(403, "", "denied: ");
    curl.expect("what it may not", asking("/customers"), refused);
    let refused = Refused(403, "", "denied: ");
    let deleting = options(&["--request", "DELETE"]);
    curl.expect("how it may not", deleting, refused);

    // Headers in which clients say who they are, and what they meant, are nobody's word.
    let claims = [
        "--header",
        "X-Original-URL: /customers",
        "--header",
        "X-Forwarded-Client-Cert: Hash=00",
    ];
    curl.expect("claims that are dropped", options(&claims), Good(BILLING));

    // The server is refused too, where it is wrong: curl's codes 35 (handshake) and 60 (certificate).
    curl.expect("TLS 1.2", options(&["--tls-max", "1.2"]), Exit(35));
    curl.expect("not the root it trusts", options(&other_root), Exit(60));
    let port = server.address.port();
    let to = format!("::127.0.0.1:{port}");
    let elsewhere = ["--connect-to", &to];
    let misnamed = Call {
        target: "https://customers.internal/orders/17",
        more: &elsewhere,
        ..with(good())
    };
    curl.expect("another name than the server's", misnamed, Exit(60));
    say(&format!("real_peers: {version}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_leaves_a_server_that_our_crl_lists_and_one_that_no_crl_is_about() {
    let Some((program, _)) = curl() else {
        return;
    };
    let mut world = World::new();
    let stranger = world.add_strangers();
    let server = Server::start(&world).await;
    let expect = |world: &World, what: &str, crls: &str, expected| {
        let crls = world.path(crls);
        let curl = Curl {
            program: &program,
            world,
            log: &server.log,
            name: SERVER_NAME,
            port: server.address.port(),
            wrong: RefCell::default(),
        };
        let call = Call {
            tokens: vec![world.token("billing")],
            more: &["--crlfile", crls.to_str().unwrap()],
            ..Call::default()
        };
        curl.expect(what, call, expected);
    };
    expect(&world, "not listed", "crls.pem", Good(BILLING));
    expect(&world, "the CRLs of others", "stranger-crls.pem", Exit(60));
    // The server has not heard of it yet.
    world.revoke("orders");
    expect(&world, "listed", "crls.pem", Exit(60));
    drop(stranger);
}

/// curl, if it is there and speaks TLS by OpenSSL, and what it calls itself.
pub(crate) fn curl() -> Option<(PathBuf, String)> {
    let program = program("curl")?;
    let version = run(Command::new(&program).args(["-q", "--version"])).stdout;
    let version = version.lines().next().unwrap_or_default().to_owned();
    if !version.contains("OpenSSL/") {
        say(&format!("SKIPPED: curl without OpenSSL: {version}"));
        return None;
    }
    Some((program, version))
}

impl Curl<'_> {
    fn call(&self, call: &Call<'_>) -> Ended {
        let Self {
            world, name, port, ..
        } = self;
        let mut command = Command::new(self.program);
        // No file of the user's, no proxy, and all of the answer.
        command.args(["-q", "-sS", "-i", "--max-time", "30", "--noproxy", "*"]);
        command.arg("--cacert").arg(world.path("root.pem"));
        command.args(["--resolve", &format!("{name}:{port}:127.0.0.1")]);
        if let Some(file) = call.certificate {
            command
                .arg("--cert")
                .arg(world.path(&format!("{file}.pem")));
            command.arg("--key").arg(world.path(&format!("{file}.key")));
        }
        for token in &call.tokens {
            command.args(["--header", &format!("Authorization: Bearer {token}")]);
        }
        command.args(call.more);
        match call.target.starts_with('/') {
            true => command.arg(format!("https://{name}:{port}{}", call.target)),
            false => command.arg(call.target),
        };
        run(&mut command)
    }

    /// Calls, and notes what does not come of it as it should.
    pub(crate) fn expect(&self, what: &str, call: Call<'_>, expected: Expected) {
        self.log.take();
        if let Alert(alert, reason) = expected {
            return self.expect_alert(what, &call, (alert, reason));
        }
        let ended = self.call(&call);
        let log = self.log.take();
        let code = status(&ended);
        let right = match expected {
            Good(caller) => {
                let body = format!("for {caller}\n");
                code == Some(200) && ended.stdout.ends_with(&body) && log.is_empty()
            }
            Refused(expected, challenge, reason) => {
                code == Some(expected)
                    && header(&ended, "www-authenticate") == challenge
                    && matches!(&log[..], [line] if line.contains(reason))
                    && !ended.stdout.contains("for spiffe")
            }
            Body(expected, part) => {
                code == Some(expected) && ended.stdout.contains(part) && log.is_empty()
            }
            // Whoever is in between could not reach the service, which only heard a handshake.
            Unheard(expected) => {
                code == Some(expected) && log.iter().all(|line| line.starts_with("tls: "))
            }
            Exit(expected) => ended.code == Some(expected) && ended.stdout.is_empty(),
            Alert(..) => false,
        };
        if !right {
            self.note(what, &expected, &ended, &log);
        }
    }

    /// In TLS 1.3 a client sends its request before it hears whether its certificate was taken. If the
    /// server has closed by then, the alert may be lost to the reset, so it is looked for more than once.
    fn expect_alert(
        &self,
        what: &str,
        call: &Call<'_>,
        (alert, reason): (&'static str, &'static str),
    ) {
        for _ in 0..20 {
            let ended = self.call(call);
            let log = self.log.take();
            let is_heard = reason.is_empty() || log.iter().any(|line| line.contains(reason));
            let is_told = ended.stderr.contains("alert");
            let is_refused = matches!(ended.code, Some(35 | 55 | 56)) && ended.stdout.is_empty();
            let is_right = !is_told || ended.stderr.contains(&format!("alert {alert}"));
            if !(is_heard && is_refused && is_right) {
                return self.note(what, &Alert(alert, reason), &ended, &log);
            }
            if is_told {
                return;
            }
        }
        let line = format!("{what}: the alert never came through");
        self.wrong.borrow_mut().push(line);
    }

    fn note(&self, what: &str, expected: &Expected, ended: &Ended, log: &[String]) {
        let Ended {
            code,
            stdout,
            stderr,
        } = ended;
        self.wrong.borrow_mut().push(format!(
            "{what}: not {expected:?}, but {code:?}\n{stdout}{stderr}{log:?}"
        ));
    }
}

impl Drop for Curl<'_> {
    fn drop(&mut self) {
        let wrong = self.wrong.borrow().join("\n\n");
        match std::thread::panicking() {
            true => say(&wrong),
            false => assert!(wrong.is_empty(), "{wrong}"),
        }
    }
}

fn status(ended: &Ended) -> Option<u16> {
    let (_, rest) = ended.stdout.split_once(' ')?;
    rest.get(..3)?.parse().ok()
}

/// The one header of that name; empty if there is none.
fn header<'e>(ended: &'e Ended, name: &str) -> &'e str {
    let head = ended
        .stdout
        .lines()
        .take_while(|line| !line.trim().is_empty());
    let mut found = head.filter_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    });
    let first = found.next().unwrap_or_default();
    assert!(
        found.next().is_none(),
        "{name} stands twice: {}",
        ended.stdout
    );
    first
}
