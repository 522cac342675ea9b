//! How a service keeps up with the issuer: it says what it goes by, is told what there is, fetches what is
//! newer, and says so again. The issuer takes no step before everybody is ready for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use m2m_pki::TrustBundle;
use m2m_secrets::LeaseGrant;
use m2m_token::JwkSet;
use m2m_types::Clock;
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::hex::from_hex;
use crate::issuer::read_crl;
use crate::net::Connection;
use crate::service::Service;
use crate::world::{ISSUER, ISSUER_HOST};

/// How often a service asks while much changes.
pub(crate) const BUSY: Duration = Duration::from_millis(40);
/// How often it asks when it relies on being told.
pub(crate) const QUIET: Duration = Duration::from_secs(3600);

/// What a service goes by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct InPlace {
    /// `kid`s of the keys that tokens are verified with.
    keys: Vec<String>,
    pub(crate) bundle: u64,
    /// Numbers of CRLs, by who signed them.
    crls: BTreeMap<String, String>,
    /// The acknowledgement of the ring of the shared secret.
    pub(crate) held: Option<String>,
}

/// What there is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Offered {
    pub(crate) keys: Vec<String>,
    pub(crate) bundle: u64,
    pub(crate) crls: BTreeMap<String, String>,
    /// A newer ring of the shared secret, sealed for this service.
    pub(crate) ring: Option<String>,
    /// A lease for the ring that it holds.
    pub(crate) grant: Option<String>,
}

impl InPlace {
    /// Whether all that is offered is in place.
    pub(crate) fn is(&self, offered: &Offered) -> bool {
        let has_key = |kid: &String| self.keys.contains(kid);
        offered.keys.iter().all(has_key)
            && self.bundle == offered.bundle
            && self.has_crls_of(offered)
    }

    fn has_crls_of(&self, offered: &Offered) -> bool {
        let mut crls = offered.crls.iter();
        crls.all(|(issuer, number)| self.crls.get(issuer) == Some(number))
    }
}

/// Follows the issuer until the program ends.
pub(crate) async fn follow(service: Arc<Service>) {
    let mut following = Following {
        service: Arc::clone(&service),
        connection: None,
        has: InPlace::default(),
    };
    loop {
        match following.catch_up().await {
            // Something changed: say so at once.
            Ok(true) => continue,
            Ok(false) => service.caught_up(),
            // The issuer, or we, have another certificate by now: connect again.
            Err(_) => following.connection = None,
        }
        let pause = match following.connection {
            Some(_) => service.pace(),
            None => BUSY,
        };
        let _ = tokio::time::timeout(pause, service.woken.notified()).await;
    }
}

struct Following {
    service: Arc<Service>,
    connection: Option<Connection>,
    has: InPlace,
}

impl Following {
    /// One round. Whether anything was newer.
    async fn catch_up(&mut self) -> Outcome<bool> {
        let begun = self.service.clock.now()?;
        self.has.held = self.service.sharer.acknowledgement().ok();
        let has = serde_json::to_vec(&self.has)?;
        let answer = self.ask(Request::post("/in-place").body(has)?).await?;
        let offered: Offered = serde_json::from_slice(&answer)?;
        let changed = self.take(&offered).await?;
        // What was offered when this began is in place.
        self.service.confirmed.confirm(begun);
        Ok(changed)
    }

    async fn take(&mut self, offered: &Offered) -> Outcome<bool> {
        let mut changed = false;
        if let Some(grant) = &offered.grant {
            let grant = from_hex(grant).as_deref().and_then(LeaseGrant::from_bytes);
            self.service.sharer.granted(&grant.ok_or("no lease")?)?;
        }
        if let Some(ring) = &offered.ring {
            let sealed = from_hex(ring).ok_or("no ring")?;
            self.service.sharer.receive(&sealed)?;
            changed = true;
        }
        if self.has.keys != offered.keys {
            let json = self.fetch("/jwks.json").await?;
            let keys = JwkSet::parse(&json)?.into_keys();
            let names = keys.public_keys().filter_map(|(kid, _)| kid);
            self.has.keys = names.map(str::to_owned).collect();
            self.has.keys.sort();
            self.service.keys.store(keys);
            changed = true;
        }
        if self.has.bundle != offered.bundle || !self.has.has_crls_of(offered) {
            self.take_trust(offered).await?;
            changed = true;
        }
        Ok(changed)
    }

    /// The bundle and the CRLs together: who is trusted, and what of theirs is void.
    async fn take_trust(&mut self, offered: &Offered) -> Outcome<()> {
        let json = self.fetch("/bundle.json").await?;
        let domain = self.service.machine.name.trust_domain();
        let bundle = TrustBundle::from_json(domain, &json)?;
        let mut crls = Vec::new();
        let mut numbers = BTreeMap::new();
        for issuer in offered.crls.keys() {
            let der = self.fetch(&format!("/crl/{issuer}")).await?;
            if let Some(crl) = read_crl(&der, &bundle)? {
                numbers.insert(issuer.clone(), crl.number().to_string());
                crls.push(crl);
            }
        }
        let sequence = bundle.sequence().unwrap_or_default();
        self.service.machine.update(|material| {
            material.set_bundle(bundle)?;
            crls.into_iter().try_for_each(|crl| material.set_crl(crl))
        })?;
        (self.has.bundle, self.has.crls) = (sequence, numbers);
        Ok(())
    }

    async fn fetch(&mut self, path: &str) -> Outcome<Vec<u8>> {
        self.ask(Request::get(path).body(Vec::new())?).await
    }

    /// Over one connection, as long as it shows the certificate that is in use.
    async fn ask(&mut self, request: Request<Vec<u8>>) -> Outcome<Vec<u8>> {
        let machine = &self.service.machine;
        let kept = self.connection.take();
        let mut connection = match kept.filter(|kept| kept.shown == machine.shown()) {
            Some(kept) => kept,
            None => machine.dial(ISSUER_HOST).await?,
        };
        let response = connection.send(request).await?;
        self.connection = Some(connection);
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            other => Err(format!("{ISSUER} answers {other}").into()),
        }
    }
}
