//! Whom a mail server's certificate must come from.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::stream::Identity;

/// The authorities of this system, and those in the file `ca`; TLS 1.2 or newer. There is no way to
/// have a certificate accepted that they don't vouch for.
///
/// # Errors
/// A sentence: the file can't be read or holds no certificate, or `host` is none a certificate
/// could name.
pub fn identity(host: &str, ca: Option<&str>) -> Result<Identity, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca {
        add(&mut roots, file).map_err(|why| format!("`--smtp-ca {file}`: {why}"))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|err| err.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| "the host of the mail server is not a name".to_owned())?;
    Ok(Identity { config: Arc::new(config), name })
}

fn add(roots: &mut RootCertStore, file: &str) -> Result<(), String> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(|err| err.to_string())?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|err| err.to_string())?;
        roots.add(certificate).map_err(|err| err.to_string())?;
        count += 1;
    }
    match count {
        0 => Err("no certificate in it".to_owned()),
        _ => Ok(()),
    }
}
