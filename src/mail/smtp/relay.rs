//! Where mail is handed over, and on what terms.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::{Host, Url};
use zeroize::Zeroizing;

/// The port of submission over TLS (RFC 8314 §3.3).
const SUBMISSIONS: u16 = 465;
/// The port of submission (RFC 6409 §3.1).
const SUBMISSION: u16 = 587;

/// When a conversation goes on under TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// From the first byte.
    Implicit,
    /// After STARTTLS, which must be offered.
    StartTls,
    /// After STARTTLS, except with a server on this machine, to which it goes in clear.
    StartTlsUnlessLocal,
}

/// A mail server that takes messages for others.
#[derive(Clone, PartialEq, Eq)]
pub struct Relay {
    /// Its name, or its IP address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// When a conversation with it goes on under TLS.
    pub security: Security,
    /// Who logs in, if anybody does.
    pub user: Option<String>,
    /// With what.
    pub password: Option<Zeroizing<String>>,
}

impl Relay {
    /// Reads `smtps://user@host:465` or `smtp://user@host:587`, with `?tls=required` if a server on
    /// this machine is to be spoken to under TLS as well. User and password are percent-encoded.
    ///
    /// # Errors
    /// A sentence that repeats nothing of the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        const FORM: &str = "expected smtps://USER@HOST:PORT or smtp://USER@HOST:PORT";
        let url = Url::parse(url).map_err(|_| FORM)?;
        let is_required = match url.query() {
            None => false,
            Some("tls=required") => true,
            Some(_) => return Err("the only option of the URL is `?tls=required`".to_owned()),
        };
        let (security, port) = match (url.scheme(), is_required) {
            ("smtps", _) => (Security::Implicit, SUBMISSIONS),
            ("smtp", true) => (Security::StartTls, SUBMISSION),
            ("smtp", false) => (Security::StartTlsUnlessLocal, SUBMISSION),
            _ => return Err(FORM.to_owned()),
        };
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(format!("{FORM}, and nothing behind the port"));
        }
        let port = url.port().unwrap_or(port);
        if port == 0 {
            return Err("the port of the URL must not be 0".to_owned());
        }
        let user = decoded(url.username())?;
        let password = url.password().map(decoded).transpose()?.filter(|it| !it.is_empty());
        if user.is_empty() && password.is_some() {
            return Err("the URL has a password and no user".to_owned());
        }
        Ok(Self {
            host: host(&url).ok_or(FORM)?,
            port,
            security,
            user: Some(user.as_str().to_owned()).filter(|user| !user.is_empty()),
            password,
        })
    }
}

/// The host: a name of letters, digits, hyphens and dots, or an address.
fn host(url: &Url) -> Option<String> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.to_string()),
        Host::Ipv6(ip) => Some(ip.to_string()),
        Host::Domain(name) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            let name = name.strip_suffix('.').unwrap_or(name);
            let fits = !name.is_empty() && name.len() <= 253 && name.bytes().all(is_plain);
            fits.then(|| name.to_owned())
        }
    }
}

fn decoded(text: &str) -> Result<Zeroizing<String>, String> {
    let bytes = Zeroizing::new(percent_decode_str(text).collect::<Vec<u8>>());
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(Zeroizing::new(text.to_owned())),
        _ => Err("the user or the password of the URL is not text".to_owned()),
    }
}

/// As it was configured, without the password.
impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.security == Security::Implicit { "smtps" } else { "smtp" };
        let user = self.user.as_deref().map(|user| format!("{user}@")).unwrap_or_default();
        let query = if self.security == Security::StartTls { "?tls=required" } else { "" };
        let is_ipv6 = self.host.contains(':');
        let host = if is_ipv6 { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{user}{host}:{}{query}", self.port)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({self}, [redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, shown) in [
            ("smtps://relay.example", "smtps://relay.example:465"),
            ("smtp://relay.example", "smtp://relay.example:587"),
            ("smtp://relay.example/", "smtp://relay.example:587"),
            ("SMTP://relay.example.:25", "smtp://relay.example:25"),
            ("smtp://127.0.0.1:2525?tls=required", "smtp://127.0.0.1:2525?tls=required"),
            ("smtps://[::1]:465", "smtps://[::1]:465"),
            (
                "smtps://ann%40example.org@relay.example",
                "smtps://ann@example.org@relay.example:465",
            ),
            ("smtps://ann@example.org@relay.example", "smtps://ann@example.org@relay.example:465"),
            ("smtps://ann:@relay.example", "smtps://ann@relay.example:465"),
        ] {
            assert_eq!(Relay::parse(url).map(|relay| relay.to_string()), Ok(shown.into()), "{url}");
        }
        let relay = Relay::parse("smtps://a%3Ab:p%2F%40%25%20%C3%BC@h").expect("a relay");
        assert_eq!(relay.user.as_deref(), Some("a:b"));
        assert_eq!(relay.password.as_ref().map(|it| it.as_str()), Some("p/@% ü"));
        assert_eq!(relay.host, "h");
        assert!(!format!("{relay} {relay:?}").contains("p/@"));
    }

    #[test]
    fn what_is_no_such_url_is_refused_and_not_repeated() {
        for url in [
            "",
            "relay.example",
            "relay.example:587",
            "http://relay.example",
            "smtp://",
            "smtp:///",
            "smtp:relay.example",
            "smtp://:secret@relay.example",
            "smtp://user:secret@relay.example/mail",
            "smtp://user:secret@relay.example?tls=no",
            "smtp://user:secret@relay.example?tls=required&x",
            "smtp://user:secret@relay.example#x",
            "smtp://user:secret@relay.example:0",
            "smtp://user:secret@relay.example:99999",
            "smtp://user:secret%0d%0a@relay.example",
            "smtp://user:secret%ff@relay.example",
            "smtp://user:secret@relay example",
            "smtp://user:secret@bücher.example",
            "smtp://user:secret@a%20b",
        ] {
            let why = Relay::parse(url).expect_err(url);
            assert!(!why.contains("secret"), "{url}: {why}");
        }
    }
}
