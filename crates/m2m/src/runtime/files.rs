//! A certificate, its key and whom to trust, in files for other tools.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use m2m_crypto::SecureRandom;
use m2m_pki::UnverifiedCsr;
use m2m_types::{ServiceId, Timestamp};

use super::authority::new_request;
use super::error::RuntimeError;
use super::issuer::Issuer;
use super::state::make_private;

pub(super) async fn issue(
    issuer: &Issuer,
    service: &str,
    directory: &Path,
    now: Timestamp,
    random: &dyn SecureRandom,
) -> Result<(), RuntimeError> {
    let service: ServiceId = service.parse().map_err(RuntimeError::files)?;
    make_private(directory).map_err(RuntimeError::files)?;
    let (key, csr) = new_request(random)?;
    let csr = UnverifiedCsr::from_der(&csr).and_then(UnverifiedCsr::verify);
    let csr = csr.map_err(RuntimeError::authority)?;
    let authority = issuer.authority();
    let certificate = authority.issue(csr, &service, now, random).await?;
    let write = |name: &str, mode: u32, bytes: &[u8]| replace(directory, name, mode, bytes);
    write("ca.pem", 0o644, authority.certificate().to_pem().as_bytes())?;
    write("key.pem", 0o600, key.to_pkcs8_pem().expose_secret())?;
    write("cert.pem", 0o644, certificate.to_pem().as_bytes())
}

/// The file is there whole, or as it was.
fn replace(directory: &Path, name: &str, mode: u32, bytes: &[u8]) -> Result<(), RuntimeError> {
    let (path, unfinished) = (directory.join(name), directory.join(format!("{name}.new")));
    let write = || -> std::io::Result<()> {
        // What an interrupted run left; in a directory that is ours alone nobody else makes one.
        let _ = std::fs::remove_file(&unfinished);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, &path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(RuntimeError::files)
}
