//! An authority issues certificates, revokes some, and publishes its CRL. Every certificate that was
//! handed out is on record, what was revoked stays so and is on every later CRL, and no CRL number comes
//! twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use m2m_crypto::{Algorithm, SigningKey, SystemRandom};
use m2m_pki::{
    Authority, Certificate, CertificateId, CrlIssuer, CrlPublisher, CrlSigner, CsrBuilder, Ledger,
    Operator, Profile, RevocationReason, Revoker, Serial, Subject,
};
use m2m_store::{Expected, Key, Space, StoreError};

use super::{Actor, Outcome, World};

const DAY: Duration = Duration::from_secs(86_400);
/// How long something is tried while the store is away.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Issuing;

/// The one authority of a store. Its key is in the store, which seals it.
struct Ca {
    authority: Authority,
    key: SigningKey,
    ledger: Ledger,
}

impl Actor for Issuing {
    fn name(&self) -> &'static str {
        "authority"
    }

    fn work(&self, world: &World, seed: u64) -> Outcome<()> {
        let ca = again(|| Ca::load(world))?;
        let mut publisher = again(|| ca.publisher(world))?;
        for nth in 0_u64.. {
            let path = format!("{seed:x}/{nth}");
            let leaf = again(|| ca.issue(world, &path))?;
            world.say(self, &format!("issued {}", name(&leaf)?))?;
            if nth % 3 == 0 {
                again(|| ca.revoke(world, &leaf))?;
                world.say(self, &format!("revoked {}", name(&leaf)?))?;
                let crl = again(|| {
                    let crl = publisher.publish(0, &ca.key, world.now, &SystemRandom);
                    Ok(world.wait(crl)?)
                })?;
                world.say(self, &format!("crl {}", crl.number()))?;
            }
        }
        Ok(())
    }

    fn check(&self, world: &World, told: &[String]) -> Outcome<()> {
        if told.is_empty() {
            return Ok(());
        }
        let ca = Ca::load(world)?;
        let mut publisher = ca.publisher(world)?;
        let crl = world.wait(publisher.publish(0, &ca.key, world.now, &SystemRandom))?;
        let next = crl.number().to_string();
        let mut numbers = BTreeSet::new();
        for line in told {
            let (what, of) = line.split_once(' ').ok_or("a malformed line")?;
            if what == "crl" {
                if !numbers.insert(of) {
                    return Err(format!("CRL number {of} was given out twice").into());
                }
                // Hexadecimal digits, two an octet: longer is greater.
                if (of.len(), of) >= (next.len(), &next) {
                    return Err(format!("CRL number {next} came after {of}").into());
                }
                continue;
            }
            let (serial, thumbprint) = of.split_once(' ').ok_or("a malformed line")?;
            let id = ca.id(serial)?;
            let entry = world.wait(ca.ledger.find(&id))?;
            let entry = entry.ok_or_else(|| format!("{serial} was handed out, not recorded"))?;
            if entry.certificate().x5t_s256() != thumbprint {
                return Err(format!("{serial} was handed out as another certificate").into());
            }
            let is_listed = publisher
                .list(0)
                .is_some_and(|list| list.contains(id.serial()));
            if what == "revoked" && (entry.revocation().is_none() || !is_listed) {
                return Err(format!("{serial} was revoked and is good again").into());
            }
        }
        Ok(())
    }
}

impl Ca {
    /// The authority of this store, made if there is none: another process may do the same.
    fn load(world: &World) -> Outcome<Self> {
        let place = Key::new(&Space::new("authority")?, b"ca")?;
        if let Some(record) = world.get(&place)? {
            return Self::decode(world, record.value().as_bytes());
        }
        let ledger = Ledger::new(Arc::clone(&world.store));
        let key = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let subject = Subject::new("Survivor")?;
        let profile = Profile::root("root", "example.org".parse()?, subject, 3650 * DAY)?;
        let holder = format!(
            "spiffe://example.org/ca/{}",
            key.verifying_key().thumbprint()
        );
        let issued = Authority::create_root(
            &profile,
            &holder.parse()?,
            &key,
            3650 * DAY,
            world.now,
            &SystemRandom,
        )?;
        let root = world.wait(ledger.record(issued))?;
        let pkcs8 = key.to_pkcs8_der();
        let length = u16::try_from(pkcs8.expose_secret().len())?;
        let value = [
            &length.to_be_bytes(),
            pkcs8.expose_secret(),
            root.der().as_ref(),
        ]
        .concat();
        let batch = world.batch()?.put(place, Expected::Absent, value);
        match world.commit(&batch) {
            // Somebody else made one: theirs it is.
            Ok(_) | Err(StoreError::Conflict { .. }) => Self::load(world),
            Err(error) => Err(error.into()),
        }
    }

    fn decode(world: &World, value: &[u8]) -> Outcome<Self> {
        let (length, rest) = value.split_first_chunk().ok_or("no authority")?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (pkcs8, der) = rest.split_at_checked(length).ok_or("no authority")?;
        let key = || SigningKey::from_pkcs8_der(Algorithm::Es256, pkcs8);
        Ok(Self {
            authority: Authority::load(Certificate::from_der(der)?, key()?)?,
            key: key()?,
            ledger: Ledger::new(Arc::clone(&world.store)),
        })
    }

    fn publisher(&self, world: &World) -> Outcome<CrlPublisher> {
        let issuer = CrlIssuer::from_certificate(self.authority.certificate())?;
        let signer = CrlSigner::new(issuer, self.key.verifying_key())?;
        let opened = CrlPublisher::open(self.ledger.clone(), signer, None, DAY);
        Ok(world.wait(opened)?)
    }

    fn issue(&self, world: &World, path: &str) -> Outcome<Certificate> {
        let own = SigningKey::generate(Algorithm::Es256, &SystemRandom)?;
        let csr = CsrBuilder::new().sign(&own)?.verify()?;
        let profile = Profile::workload("workload", "example.org".parse()?, DAY)?;
        let identity = format!("spiffe://example.org/{path}").parse()?;
        let approved = profile.approve(csr, &identity, DAY)?;
        let issued = self.authority.issue(approved, world.now, &SystemRandom)?;
        Ok(world.wait(self.ledger.record(issued))?)
    }

    fn revoke(&self, world: &World, leaf: &Certificate) -> Outcome<()> {
        let by = Operator::danger_vouched_for("survive")?;
        let id = leaf.id().ok_or("no name")?;
        let reason = RevocationReason::KeyCompromise;
        let revoked = self
            .ledger
            .revoke(&id, reason, Revoker::Operator(&by), world.now);
        world.wait(revoked)?;
        Ok(())
    }

    fn id(&self, serial: &str) -> Outcome<CertificateId> {
        let number = u128::from_str_radix(serial, 16)?;
        let serial = Serial::from_bytes(&number.to_be_bytes());
        let id = serial.and_then(|serial| CertificateId::new(self.authority.key_id(), serial));
        Ok(id.ok_or("no name")?)
    }
}

/// What is said of a certificate: its number and its thumbprint.
fn name(certificate: &Certificate) -> Outcome<String> {
    let serial = certificate.serial();
    Ok(format!("{serial} {}", certificate.x5t_s256()))
}

/// Tries while the store is away.
fn again<T>(mut attempt: impl FnMut() -> Outcome<T>) -> Outcome<T> {
    let begun = Instant::now();
    loop {
        match attempt() {
            Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            done => return done,
        }
    }
}
