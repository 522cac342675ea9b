//! Python: PyJWT for tokens, `requests` on OpenSSL for TLS.

use std::process::Command;

use crate::foreign::{Script, converse};
use crate::process::installed;
use crate::world::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_verifies_our_tokens_calls_us_and_issues_tokens_that_we_take_when_they_are_right() {
    let Some(python) = installed("python/bin/python") else {
        return;
    };
    let mut command = Command::new(python);
    command.arg("-I").arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/real_peers/peer.py"
    ));
    let script = Script {
        command,
        packages: None,
        told: &[],
        // PyJWT knows the older name alone (RFC 8037, not RFC 9864).
        expected: &[("ours: by the name of Ed25519", "refused")],
    };
    converse(&World::new(), script).await;
}
