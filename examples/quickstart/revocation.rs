//! A service is taken over. Its session is ended and its certificate revoked, each with one event (CAEP),
//! and whatever it could go on with dies: its next call, its open connection, its ticket, its certificate.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use caep_set::{
    ChangeType, CredentialChange, CredentialType, SecurityEvent, SessionRevoked, SubjectId,
};
use http::StatusCode;
use m2m_pki::{Certificate, RevocationReason};

use crate::Outcome;
use crate::load::{answered, whole};
use crate::net::{Connection, PATIENCE};
use crate::service::{Line, Service};
use crate::signals::{publish, subscribe};
use crate::table::{Table, readable};
use crate::world::World;

pub(crate) async fn run(world: &World, table: &mut Table) -> Outcome<()> {
    println!("\n4. billing is taken over, and all that it could go on with is taken from it");
    let (orders, billing) = (&world.orders, &world.billing);
    for service in [orders, billing] {
        subscribe(service).await?;
        // From now on nobody asks the issuer before it is told to.
        service.rely_on_events().await?;
    }
    println!("   orders and billing have streams of events, pushed by the issuer");
    let mut line = billing.open_line().await?;
    answered(billing, &mut line, 1).await?;
    end_session(world, table, &mut line).await?;
    // A ticket for a session that was resumed a moment ago.
    let mut again = billing.open_line().await?;
    if !again.connection.is_resumed {
        return Err("there was a session, and it was not resumed".into());
    }
    answered(billing, &mut again, 2).await?;
    drop(again);
    let certificate = billing.machine.tls.material();
    let certificate = certificate.identity().certificate().clone();
    revoke_certificate(world, table, line, &certificate).await?;
    try_the_ticket(world, table).await?;
    try_the_certificate(world, table).await
}

/// `session-revoked`: the next call of the session is refused, over a connection that stays open.
async fn end_session(world: &World, table: &mut Table, line: &mut Line) -> Outcome<()> {
    let (issuer, orders, billing) = (&world.issuer, &world.orders, &world.billing);
    let session = issuer.session(&billing.machine.name)?;
    let subject = SubjectId::complex([
        ("application", SubjectId::uri(billing.place.name)?),
        ("session", SubjectId::opaque(&session)?),
    ])?;
    let event = SecurityEvent::new(subject, SessionRevoked::new()).with_transaction("takeover-1");
    let begun = Instant::now();
    acted_upon(orders, publish(issuer, &event)).await?;
    let response = billing.call(line, 3).await?;
    let took = begun.elapsed();
    println!(
        "   the next call: {}, {} after the event; orders reads: {}",
        response.status(),
        readable(took),
        orders.last_word()
    );
    if response.status() != StatusCode::UNAUTHORIZED {
        return Err("a call of a session that is over was not refused".into());
    }
    // Only the session is over: who signs in again goes on over the same connection.
    issuer.sign_in(&billing.machine.name);
    billing.refresh_token().await?;
    answered(billing, line, 4).await?;
    println!("   (in another session it goes on, over the same connection)");
    table.add(
        "session-revoked (CAEP) → its next call is refused",
        1,
        readable(took),
        "caep-set, caep-stream, m2m-revoke",
    );
    Ok(())
}

/// Publishes, and waits until `service` has acted upon it.
async fn acted_upon(
    service: &Service,
    publishing: impl Future<Output = Outcome<()>>,
) -> Outcome<()> {
    let mut acted = service.acted.subscribe();
    acted.mark_unchanged();
    publishing.await?;
    tokio::time::timeout(2 * PATIENCE, acted.changed()).await??;
    let acted = acted.borrow();
    let said = acted.as_ref().ok_or("nothing was voided")?;
    println!("   {}: {said}", service.place.short);
    Ok(())
}

/// `credential-change`: the open connection is closed.
async fn revoke_certificate(
    world: &World,
    table: &mut Table,
    line: Line,
    certificate: &Certificate,
) -> Outcome<()> {
    let issuer = &world.issuer;
    let mut change = CredentialChange::new(CredentialType::X509, ChangeType::Revoke);
    let by = issuer.authorities.lock().await.issuer_of(certificate)?;
    change.x509_issuer = Some(by.into());
    change.x509_serial = Some(format!("0x{}", certificate.serial()).into());
    let subject = SubjectId::uri(world.billing.place.name)?;
    let event = SecurityEvent::new(subject, change).with_transaction("takeover-2");
    issuer
        .revoke(certificate, RevocationReason::KeyCompromise)
        .await?;
    let begun = Instant::now();
    acted_upon(&world.orders, publish(issuer, &event)).await?;
    let closed = line.connection.closed().await?;
    let took = closed.duration_since(begun);
    println!(
        "   the open connection: closed by orders {} after the event",
        readable(took)
    );
    table.add(
        "credential-change (CAEP) → its open connection is closed",
        1,
        readable(took),
        "caep-stream, m2m-pki, m2m-tower",
    );
    Ok(())
}

/// What came of an attempt to get in: how long it took until it was refused.
async fn refused(
    what: &str,
    opening: impl Future<Output = Outcome<Connection>>,
    service: &Service,
    counter: &AtomicU64,
) -> Outcome<Duration> {
    let before = counter.load(Ordering::SeqCst);
    let begun = Instant::now();
    let attempt = async {
        let mut line = service.line(opening.await?)?;
        // In TLS 1.3 a client hears what became of its certificate when it reads.
        service.call(&mut line, 5).await
    };
    let error = match attempt.await {
        Ok(response) => {
            return Err(format!("{what} was good for an answer: {}", response.status()).into());
        }
        Err(error) => error,
    };
    let took = begun.elapsed();
    println!("   {what}: {}", whole(&*error));
    match counter.load(Ordering::SeqCst) > before {
        true => Ok(took),
        false => Err(format!("{what} was refused for another reason").into()),
    }
}

/// The ticket of a session: it is not resumed, and the full handshake that follows is refused.
async fn try_the_ticket(world: &World, table: &mut Table) -> Outcome<()> {
    let (orders, billing) = (&world.orders, &world.billing);
    let dial = billing.machine.dial(billing.place.other_host);
    let counter = &orders.machine.seen.not_resumed;
    let took = refused("its resumption ticket", dial, billing, counter).await?;
    println!("     orders resumed no session, and refused the full handshake that came of it");
    table.add(
        "  its resumption ticket resumes nothing",
        1,
        readable(took),
        "m2m-pki",
    );
    Ok(())
}

/// The certificate: refused in a full handshake, on both sides, and at the issuer.
async fn try_the_certificate(world: &World, table: &mut Table) -> Outcome<()> {
    let (orders, billing) = (&world.orders, &world.billing);
    let dial = billing.machine.dial_anew(billing.place.other_host);
    let counter = &orders.machine.seen.refused;
    let took = refused("its certificate", dial, billing, counter).await?;
    println!("     orders reads: {}", orders.machine.seen.why());
    let dial = orders.machine.dial_anew(orders.place.other_host);
    refused("orders does not call it either", dial, orders, counter).await?;
    let counter = &world.issuer.machine.seen.refused;
    let before = counter.load(Ordering::SeqCst);
    let renewed = billing.renew().await.err();
    let why = renewed.ok_or("a revoked certificate was renewed")?;
    println!("   its renewal: {}", whole(&*why));
    if counter.load(Ordering::SeqCst) == before {
        return Err("the issuer refused the renewal for another reason".into());
    }
    table.add(
        "  its certificate opens no connection, in no direction",
        3,
        readable(took),
        "m2m-pki",
    );
    Ok(())
}
