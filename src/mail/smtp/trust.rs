//! Whom a mail server's certificate must come from.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::stream::Identity;

/// An authority's own certificate.
pub type Authority = CertificateDer<'static>;

/// Trusts the authorities of this system and those in `more`; TLS 1.2 or newer. There is no way to
/// have a certificate accepted that they don't vouch for.
///
/// # Errors
/// A sentence: one of them can't be used, or `host` is no name that a certificate could have.
pub fn identity(host: &str, more: &[Authority]) -> Result<Identity, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for authority in more {
        roots.add(authority.clone()).map_err(|err| err.to_string())?;
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

/// The authorities in a text (PEM).
///
/// # Errors
/// A sentence: there are none, or one of them is damaged.
pub fn authorities(text: &[u8]) -> Result<Vec<Authority>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate in it".to_owned()),
        Ok(found) => Ok(found),
        Err(err) => Err(err.to_string()),
    }
}
