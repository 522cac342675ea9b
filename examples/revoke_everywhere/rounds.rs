//! One session after the other is revoked. Somebody else dies each time, or nobody.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::Outcome;
use crate::family::{Family, everybody};
use crate::network::{PROVIDER, SERVICES};

/// Who is killed, and when.
#[derive(Clone, Copy)]
enum Death {
    Nobody,
    /// Is down when the session is revoked, and comes back a little later.
    Before(&'static str),
    /// As soon as the provider has said that it is revoked.
    Behind(&'static str),
    Everybody,
}

/// In turn.
const DEATHS: [Death; 6] = [
    Death::Nobody,
    Death::Before("orders"),
    Death::Before("reports"),
    Death::Behind(PROVIDER),
    Death::Behind("billing"),
    Death::Everybody,
];
/// How long somebody is down.
const DOWN: Duration = Duration::from_millis(100);

pub(crate) fn run(count: usize) -> Outcome<()> {
    let mut family = Family::start()?;
    println!("{PROVIDER} and {SERVICES:?} are there, each in a process of its own");
    let mut sessions = Vec::new();
    for (nth, death) in (1..=count).zip(DEATHS.iter().cycle()) {
        let session = format!("session-{nth}");
        let line = revoke(&mut family, &session, *death)?;
        println!("{session:>10}: {line}");
        sessions.push(session);
    }
    for service in SERVICES {
        let clients = family.clients();
        let token = clients.token(service, "another-session")?;
        if clients.call(service, &token) != Some(StatusCode::OK) {
            return Err(format!("{service} refuses a session that was never revoked").into());
        }
    }
    family.count(&sessions)?;
    println!("Everybody refuses what was revoked, and nothing else.");
    Ok(())
}

/// Revokes a session while somebody dies, and says how long it took.
fn revoke(family: &mut Family, session: &str, death: Death) -> Outcome<String> {
    let clients = family.clients();
    let mut tokens = Vec::new();
    for service in SERVICES {
        let token = clients.token(service, session)?;
        if clients.call(service, &token) != Some(StatusCode::OK) {
            return Err(format!("{service} refuses {session} before it is revoked").into());
        }
        tokens.push((service, token));
    }
    let (words, dead): (String, Vec<&'static str>) = match death {
        Death::Nobody => ("nobody is killed".into(), Vec::new()),
        Death::Before(name) => (format!("{name} is down"), vec![name]),
        Death::Behind(name) => (format!("{name} is killed at once"), vec![name]),
        Death::Everybody => ("everybody is killed at once".into(), everybody().collect()),
    };
    if let Death::Before(name) = death {
        family.kill(name)?;
    }
    let begun = Instant::now();
    clients.revoke(session)?;
    let published = begun.elapsed();
    // Each clock stops when its service refuses.
    let waiting: Vec<_> = tokens
        .into_iter()
        .map(|(service, token)| {
            let clients = clients.clone();
            let wait = move || {
                let waited = clients.wait_until_refused(service, &token);
                waited
                    .map(|()| begun.elapsed())
                    .map_err(|error| error.to_string())
            };
            (service, std::thread::spawn(wait))
        })
        .collect();
    for name in &dead {
        family.kill(name)?;
    }
    if !dead.is_empty() {
        std::thread::sleep(DOWN);
    }
    for name in dead {
        family.revive(name)?;
    }
    let mut line = format!("{words:<27} durable after {}", milliseconds(published));
    for (service, waiting) in waiting {
        let refused = waiting.join().map_err(|_| "somebody panicked")??;
        line.push_str(&format!(
            ", {service} refuses after {}",
            milliseconds(refused)
        ));
    }
    Ok(line)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
