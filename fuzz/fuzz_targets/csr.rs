#![no_main]
//! Any bytes as a certification request, in DER and in PEM, all the way to a certificate.

use std::sync::LazyLock;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use m2m_crypto::SystemRandom;
use m2m_fuzz::{BILLING, check_message, pki};
use m2m_pki::{Authority, Profile, UnverifiedCsr};

static ROOT: LazyLock<Authority> = LazyLock::new(pki::root);

fuzz_target!(|data: &[u8]| {
    if let Err(error) = UnverifiedCsr::from_pem(data) {
        check_message(&error);
    }
    let request = match UnverifiedCsr::from_der(data) {
        Ok(request) => request,
        Err(error) => return check_message(&error),
    };
    assert_eq!(request.der(), data);
    let again = UnverifiedCsr::from_pem(request.to_pem().as_bytes()).expect("it is one");
    assert_eq!(again.der(), data);
    // The same bytes, cut or continued, are no request.
    assert!(UnverifiedCsr::from_der(&data[..data.len() - 1]).is_err());
    assert!(UnverifiedCsr::from_der(&[data, &[0]].concat()).is_err());
    let request = match request.verify() {
        Ok(request) => request,
        Err(error) => return check_message(&error),
    };
    let spki = request.public_key().spki_der().to_vec();
    let hour = Duration::from_secs(3600);
    let profile = Profile::workload("workload", pki::domain(), hour).expect("a profile");
    // The most generous there is: any subject is ignored, any name allowed.
    let profile = profile.with_requested_subject_ignored();
    let profile = profile
        .with_requested_names(|_, _| true)
        .expect("a profile");
    let identity = BILLING.parse().expect("a service");
    match profile.approve(request, &identity, hour) {
        Ok(approved) => {
            let issued = ROOT.prepare(approved, pki::issued_at(), &SystemRandom);
            let prepared = match issued {
                Ok(prepared) => prepared,
                // A request with the authority's own key.
                Err(error) => return check_message(&error),
            };
            let input = prepared.signing_input();
            assert!(input.windows(spki.len()).any(|window| window == spki));
            assert!(
                input
                    .windows(BILLING.len())
                    .any(|window| window == BILLING.as_bytes())
            );
        }
        Err(error) => check_message(&error),
    }
});
