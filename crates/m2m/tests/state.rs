//! The state directory: private, of one process, and never begun anew by mistake. And what survives kill -9.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use m2m::Runtime;
use m2m::crypto::{CertificateThumbprint, SecretBytes, SystemRandom};
use m2m::pki::{Certificate, CrlNumber, Operator, RevocationReason};
use m2m::revoke::Target;
use m2m::runtime::{StartError, StateError};
use m2m::store::{LocalKey, Store};
use m2m::types::Timestamp;
use support::*;

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

async fn state_error(place: &Place) -> StateError {
    match orders(place).start().await {
        Err(StartError::State(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_directory_and_all_in_it_are_private() {
    let place = Place::new();
    let runtime = orders(&place).start().await.unwrap();
    let directory = place.of("orders");
    assert_eq!(mode_of(&directory), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode_of(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    names.sort();
    assert_eq!(names, ["outer.key", "state.anchor", "state.m2m"]);
    // Nothing that is secret is in the clear in the store.
    let store = std::fs::read(directory.join("state.m2m")).unwrap();
    let jwk = runtime.issuer().unwrap().signing_keys().jwk_set().to_json();
    assert!(
        jwk.len() > 50 && !contains(&store, b"\"kid\""),
        "records are sealed"
    );
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

#[tokio::test]
async fn what_others_can_read_is_refused_with_what_to_do_about_it() {
    let place = Place::new();
    drop(orders(&place).start().await.unwrap());
    let directory = place.of("orders");
    set_mode(&directory, 0o750);
    let refused = state_error(&place).await;
    assert!(
        matches!(&refused, StateError::NotPrivate { mode: 0o750, .. }),
        "{refused}"
    );
    let advice = format!("`chmod 700 {}`", directory.display());
    assert!(refused.to_string().contains(&advice), "{refused}");
    set_mode(&directory, 0o700);
    set_mode(&directory.join("outer.key"), 0o640);
    let refused = state_error(&place).await;
    assert!(refused.to_string().contains("`chmod 600 "), "{refused}");
    set_mode(&directory.join("outer.key"), 0o600);
    assert!(orders(&place).start().await.is_ok());
}

#[tokio::test]
async fn a_lost_part_is_never_made_anew() {
    let place = Place::new();
    drop(orders(&place).start().await.unwrap());
    let directory = place.of("orders");
    let (key, aside) = (directory.join("outer.key"), place.of("aside"));
    std::fs::rename(&key, &aside).unwrap();
    assert!(matches!(state_error(&place).await, StateError::KeyMissing { path } if path == key));
    std::fs::write(&key, [1; 31]).unwrap();
    set_mode(&key, 0o600);
    assert!(matches!(
        state_error(&place).await,
        StateError::NotAKey { .. }
    ));
    std::fs::write(&key, [1; 32]).unwrap();
    assert!(
        matches!(state_error(&place).await, StateError::Store(_)),
        "another key"
    );
    std::fs::rename(&aside, &key).unwrap();
    assert!(orders(&place).start().await.is_ok());

    let store = directory.join("state.m2m");
    std::fs::remove_file(&store).unwrap();
    assert!(
        matches!(state_error(&place).await, StateError::StoreMissing { path } if path == store)
    );
    std::fs::remove_file(directory.join("state.anchor")).unwrap();
    assert!(
        orders(&place).start().await.is_ok(),
        "an operator said that it begins anew"
    );
}

#[tokio::test]
async fn an_older_copy_of_the_store_is_noticed() {
    let place = Place::new();
    drop(orders(&place).start().await.unwrap());
    let store = place.of("orders").join("state.m2m");
    let older = std::fs::read(&store).unwrap();
    drop(orders(&place).start().await.unwrap());
    std::fs::write(&store, older).unwrap();
    let refused = state_error(&place).await;
    assert!(refused.to_string().contains("an older copy"), "{refused}");
}

#[tokio::test]
async fn an_outer_key_of_the_applications_own_leaves_no_key_in_the_directory() {
    let place = Place::new();
    let secret = SecretBytes::random(LocalKey::BYTES, &SystemRandom).unwrap();
    let key = Arc::new(LocalKey::new(secret).unwrap());
    let start = || {
        orders(&place)
            .with_outer_key(Arc::<LocalKey>::clone(&key))
            .start()
    };
    drop(start().await.unwrap());
    assert!(!place.of("orders").join("outer.key").exists());
    assert!(matches!(
        state_error(&place).await,
        StateError::KeyMissing { .. }
    ));
    assert!(start().await.is_ok());
}

#[tokio::test]
async fn a_file_is_no_directory() {
    let place = Place::new();
    std::fs::write(place.of("orders"), b"").unwrap();
    assert!(matches!(
        state_error(&place).await,
        StateError::NotADirectory { .. }
    ));
}

/// Another process with a runtime on the same directory; killed when it is dropped.
struct Other {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Other {
    fn start(place: &Place) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "the_other_process", "--nocapture"])
            .env("M2M_TEST_STATE", place.of("orders"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next thing that it says under this name.
    fn says(&mut self, name: &str) -> String {
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if let Some((_, text)) = line.split_once(&format!("said {name} ")) {
                return text.to_owned();
            }
        }
        panic!("it ended before it said {name}");
    }

    fn kill(mut self) {
        self.child.kill().unwrap(); // SIGKILL
        self.child.wait().unwrap();
    }
}

#[ignore = "run by the tests below, as another process"]
#[tokio::test]
async fn the_other_process() {
    let Some(state) = std::env::var_os("M2M_TEST_STATE") else {
        panic!("only the tests below run this");
    };
    let say = |name: &str, text: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "said {name} {text}").unwrap();
        out.flush().unwrap();
    };
    let runtime = Runtime::builder(ORDERS, state)
        .as_issuer(ISSUER)
        .allow(ORDERS, reading_orders())
        .start()
        .await
        .unwrap();
    let shown = runtime.tls().material().identity().certificate().to_pem();
    say("certificate", &shown.replace('\n', "|"));
    say(
        "root",
        &runtime
            .issuer()
            .unwrap()
            .authority()
            .certificate()
            .x5t_s256(),
    );
    say("crl", &crl_number(&runtime).to_string());
    for n in 0.. {
        // Each is said when it is done, and not before.
        let token = runtime.token_for(runtime.service_id()).await.unwrap();
        let jti = format!("revoked-{n}");
        let target = Target::Token {
            issuer: ISSUER,
            jti: &jti,
        };
        runtime
            .revocations()
            .revoke(target, Timestamp::MAX)
            .await
            .unwrap();
        say("token", &token);
        say("revoked", &jti);
        if n % 8 == 7 {
            runtime
                .issue_files(
                    "spiffe://example.org/curl",
                    Path::new(&std::env::var("M2M_TEST_STATE").unwrap()).with_extension("curl"),
                )
                .await
                .unwrap();
            let pem = std::fs::read(
                Path::new(&std::env::var("M2M_TEST_STATE").unwrap())
                    .with_extension("curl")
                    .join("cert.pem"),
            )
            .unwrap();
            let certificate = Certificate::from_pem(&pem).unwrap();
            let by = Operator::danger_vouched_for("test").unwrap();
            let reason = RevocationReason::KeyCompromise;
            runtime
                .revoke_certificate(&certificate.id().unwrap(), reason, &by)
                .await
                .unwrap();
            say("listed", &certificate.to_pem().replace('\n', "|"));
            say("crl", &crl_number(&runtime).to_string());
        }
    }
}

fn crl_number(runtime: &Runtime) -> CrlNumber {
    runtime
        .tls()
        .material()
        .crls()
        .crls()
        .next()
        .unwrap()
        .number()
}

/// A CRL's number, which is shown in hexadecimal digits.
fn number(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap()
}

fn certificate(text: &str) -> Certificate {
    Certificate::from_pem(text.replace('|', "\n").as_bytes()).unwrap()
}

#[tokio::test]
async fn what_was_said_to_be_done_survives_kill_9_and_a_second_process_is_refused_meanwhile() {
    let place = Place::new();
    let (mut root, mut last_crl) = (None, 0);
    let mut revoked = Vec::new();
    let mut listed = Vec::new();
    // Killed at another moment each time.
    for more in [1, 9, 10, 16, 3] {
        let mut other = Other::start(&place);
        let shown = certificate(&other.says("certificate"));
        let its_root = other.says("root");
        assert_eq!(
            *root.get_or_insert_with(|| its_root.clone()),
            its_root,
            "the same authority"
        );
        let crl = number(&other.says("crl"));
        assert!(crl > last_crl, "{crl} and {last_crl}: numbers only go up");
        last_crl = crl;
        assert!(matches!(
            state_error(&place).await,
            StateError::InUse { .. }
        ));
        let mut token = String::new();
        for n in 0..more {
            token = other.says("token");
            revoked.push(other.says("revoked"));
            if n % 8 == 7 {
                listed.push(certificate(&other.says("listed")));
                last_crl = number(&other.says("crl"));
            }
        }
        other.kill();

        let runtime = orders(&place)
            .allow(ORDERS, reading_orders())
            .start()
            .await
            .unwrap();
        assert_eq!(
            call(&runtime, &token, *shown.thumbprint()).unwrap(),
            ORDERS,
            "minted before it was killed"
        );
        assert_eq!(
            thumbprint(&runtime),
            *shown.thumbprint(),
            "our certificate is kept"
        );
        let now = runtime.clock().now().unwrap();
        for jti in &revoked {
            let target = Target::Token {
                issuer: ISSUER,
                jti,
            };
            let set = runtime.revocations().revocations();
            assert!(set.check(&target, None, now).is_err(), "{jti}");
        }
        let material = runtime.tls().material();
        let crl = material.crls().crls().next().unwrap();
        for certificate in &listed {
            assert!(crl.find(certificate.serial().as_bytes()).unwrap().is_some());
            let id = certificate.id().unwrap();
            let ledger = runtime.issuer().unwrap().authority().ledger().clone();
            let entry = ledger.find(&id);
            assert!(entry.await.unwrap().unwrap().revocation().is_some());
        }
        let crl = number(&crl_number(&runtime).to_string());
        assert!(crl > last_crl, "{crl} and {last_crl}");
        last_crl = crl;
        assert!(runtime.store().head().revision().number() > revoked.len() as u64);
    }
    assert!(listed.len() >= 3);
    let _: CertificateThumbprint = *listed[0].thumbprint();
}

#[tokio::test]
async fn a_second_runtime_of_this_process_is_refused_until_the_first_is_gone() {
    let place = Place::new();
    let first = orders(&place).start().await.unwrap();
    assert!(matches!(
        state_error(&place).await,
        StateError::InUse { .. }
    ));
    // Also while a task of it is somewhere.
    let tasks = first.tasks();
    drop(first);
    assert!(matches!(
        state_error(&place).await,
        StateError::InUse { .. }
    ));
    drop(tasks);
    let again = orders(&place).start().await.unwrap();
    assert!(
        again
            .store()
            .changed(m2m::store::Cursor::START)
            .await
            .is_ok()
    );
}
