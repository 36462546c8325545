//! An address, parsed once, that cannot carry what hurts.
//!
//! The grammar is a dot-atom at a domain name and nothing else of RFC 5322: quoted local parts,
//! comments, routes and literals have sent other systems' codes to other people, and nobody
//! misses them on a sign-up form.

use compact_str::CompactString;
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// Longest local part, in bytes (RFC 5321 §4.5.3.1.1).
const LOCAL_MAX: usize = 64;
/// Longest address, in bytes (RFC 5321 §4.5.3.1.3, less the angle brackets).
const ADDRESS_MAX: usize = 254;
/// Longest text that is looked at, in bytes. Every character of a domain costs four bytes at the
/// most and becomes one at the least, so nothing valid is longer.
const TEXT_MAX: usize = 4 * ADDRESS_MAX;

/// One mailbox that mail can be sent to.
///
/// Printing it with `{:?}` shows the masked form: addresses are secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    text: CompactString,
    at: usize,
}

/// The text is not an address that mail can be sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress;

impl Address {
    /// Reads one address, turning an international domain into its A-label.
    ///
    /// # Errors
    /// [`BadAddress`], without the reason: whoever typed it knows what they meant.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        if text.len() > TEXT_MAX {
            return Err(BadAddress);
        }
        let (local, domain) = text.split_once('@').ok_or(BadAddress)?;
        if !is_local_part(local) {
            return Err(BadAddress);
        }
        let ascii = to_ascii(domain).ok_or(BadAddress)?;
        // A domain that is ASCII already stays as it was typed, capitals included.
        let domain = if domain.is_ascii() { domain } else { &ascii };
        if local.len() + 1 + domain.len() > ADDRESS_MAX {
            return Err(BadAddress);
        }
        let mut text = CompactString::with_capacity(local.len() + 1 + domain.len());
        text.push_str(local);
        text.push('@');
        text.push_str(domain);
        Ok(Self { text, at: local.len() })
    }

    /// The address as mail is sent to it: ASCII, the local part as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The coarser spelling that budgets are counted on, so that all spellings of a mailbox share
    /// them: ASCII lower case, the `+tag` cut.
    ///
    /// Only ASCII is folded; folding Unicode has made two people's addresses one (CVE-2019-19844).
    #[must_use]
    pub fn budget_key(&self) -> CompactString {
        let (local, domain) = self.text.split_at(self.at);
        let user = local.split('+').next().unwrap_or_default();
        let mut key = CompactString::with_capacity(user.len() + domain.len());
        key.push_str(user);
        key.push_str(domain);
        key.make_ascii_lowercase();
        key
    }

    /// Takes the text out, to be kept in a session's record.
    #[must_use]
    pub fn into_text(self) -> CompactString {
        self.text
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Address({})", mask(&self.text))
    }
}

/// A form for logs: the first letter, and the domain. `a…@example.org`
#[must_use]
pub fn mask(address: &str) -> String {
    let (local, domain) = address.split_once('@').unwrap_or_default();
    format!("{}…@{domain}", local.get(..1).unwrap_or_default())
}

/// A dot-atom of ASCII, less what relays and shells have been tricked with.
fn is_local_part(local: &str) -> bool {
    let encoded_word = local.contains("=?") && local.contains("?=");
    let risky = local.starts_with(['-', '|']) || encoded_word;
    !local.is_empty() && local.len() <= LOCAL_MAX && !risky && local.split('.').all(is_atom)
}

fn is_atom(atom: &str) -> bool {
    // RFC 5322 atext without `%` and `!` (source routes) and the backtick (shells).
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"#$&'*+-/=?^_{|}~".contains(&b);
    !atom.is_empty() && atom.bytes().all(fits)
}

/// The A-label form of a host name of two labels or more, in lower case.
fn to_ascii(domain: &str) -> Option<String> {
    let (uts46, list, hyphens) = (Uts46::new(), AsciiDenyList::STD3, Hyphens::CheckFirstLast);
    let ascii = uts46.to_ascii(domain.as_bytes(), list, hyphens, DnsLength::Verify).ok()?;
    let (shown, _) = uts46.to_unicode(ascii.as_bytes(), list, hyphens);
    if domain.chars().chain(shown.chars()).any(is_unseen) {
        return None;
    }
    let (_, top) = ascii.rsplit_once('.')?;
    // A numeric top label would be an IPv4 address to somebody's resolver, in decimal or in hex.
    let numeric = top.bytes().all(|b| b.is_ascii_digit());
    let hex =
        top.strip_prefix("0x").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
    (!top.is_empty() && !numeric && !hex).then(|| ascii.into_owned())
}

/// Characters that show nothing, or that turn the direction of text: two addresses that look alike
/// must not both be accepted. (Unicode 17, `Default_Ignorable_Code_Point` and `Bidi_Control`, and
/// the blanks among symbols.)
const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}'
        | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{1D159}' | '\u{13441}'..='\u{13442}' | '\u{16FE4}' | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}'
        | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_to(text: &str) -> Option<String> {
        Address::parse(text).ok().map(|a| a.as_str().to_owned())
    }

    fn key(text: &str) -> String {
        Address::parse(text).expect("an address").budget_key().into()
    }

    #[test]
    fn ordinary_addresses_are_kept_as_typed() {
        for text in [
            "ann@example.org",
            "Ann.Smith+news@Example.ORG",
            "o'neil@x-y.example",
            "#$&'*+-/?=^_{|}~@a.b",
            "a@3com.example",
            "a@xn--bcher-kva.example",
            "a@1.2.3.co",
            "a@ab--cd.example",
            "a=?b@x.org",
        ] {
            assert_eq!(sent_to(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn an_international_domain_becomes_its_a_label() {
        for text in ["a@bücher.example", "a@BÜCHER.example", "a@bu\u{308}cher.example"] {
            assert_eq!(sent_to(text).as_deref(), Some("a@xn--bcher-kva.example"));
        }
        assert_eq!(sent_to("a@gm\u{430}il.com").as_deref(), Some("a@xn--gmil-63d.com"));
        assert_eq!(sent_to("a@例え。jp").as_deref(), Some("a@xn--r8jz45g.jp"));
    }

    #[test]
    fn what_mail_cannot_or_must_not_be_sent_to_is_refused() {
        let long_label = "a".repeat(64);
        let long_domain = format!("a@{}org", "abcdefg.".repeat(32));
        let long_local = format!("{}@x.org", "a".repeat(65));
        for text in [
            "",
            "@",
            "a",
            "a@",
            "@x.org",
            "a@b@x.org",
            "a@localhost",
            "a@org",
            " a@x.org",
            "a@x.org ",
            "a b@x.org",
            "a@x.org.",
            "a@.x.org",
            "a@x..org",
            ".a@x.org",
            "a.@x.org",
            "a..b@x.org",
            "a@x_y.org",
            "a@-x.org",
            "a@x-.org",
            "a@127.0.0.1",
            "a@[127.0.0.1]",
            "a@1.2.3.4",
            "a@0x7f.0x1",
            "a@ex\u{2800}ample.org",
            "a@xn--11b2ezcw70k.example",
            "a@x.123",
            "a@xn--example-.org",
            "a@xn--a.org",
            "a@x.xn--",
            "\"a\"@x.org",
            "\"a@b\"@x.org",
            "<a@x.org>",
            "Ann <a@x.org>",
            "a@x.org,b@y.org",
            "a@x.org;b@y.org",
            "a@x.org b@y.org",
            "@a,@b:c@d.org",
            "a%evil@x.org",
            "evil!a@x.org",
            "a`id`@x.org",
            "=?utf-8?q?a=40b?=@x.org",
            "-a@x.org",
            "|a@x.org",
            "(c)a@x.org",
            "a@x.org(c)",
            "m\u{131}ke@x.org",
            "ä@x.org",
            "a@ex\u{ad}ample.org",
            "a@ex\u{200b}ample.org",
            "a@\u{202e}gro.elpmaxe",
            "a\u{200d}@x.org",
            "a@x.org\u{feff}",
            "a@x\u{e0001}.org",
            "a@x.org\u{a0}",
            "a@\u{85}x.org",
            "a@x.org\n",
            "a@x.org\r\nBcc: e@e.org",
            "a\\@x.org",
            "a@ex ample.org",
            "a@x/y.org",
            "a@*.org",
            "a@x.org:25",
            &long_domain,
            &long_local,
            &format!("a@{long_label}.org"),
            &"@".repeat(10_000),
        ] {
            assert_eq!(sent_to(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_bounds_themselves_are_inside() {
        let local = "a".repeat(64);
        let label = "b".repeat(63);
        assert!(sent_to(&format!("{local}@{label}.org")).is_some());
        let domain = format!("{label}.{label}.{}.org", "c".repeat(57));
        let longest = format!("{local}@{domain}");
        assert_eq!((longest.len(), sent_to(&longest).is_some()), (254, true));
        assert_eq!(sent_to(&format!("{local}@c{domain}")), None);
    }

    #[test]
    fn all_spellings_of_a_mailbox_share_a_key() {
        assert_eq!(key("User@X.ORG"), "user@x.org");
        assert_eq!(key("user+tag+more@x.org"), "user@x.org");
        assert_eq!(key("a@Bücher.example"), key("A+1@XN--BCHER-KVA.example"));
        assert_ne!(key("u.ser@x.org"), key("user@x.org"));
    }

    #[test]
    fn the_debug_form_is_masked() {
        let address = Address::parse("ann.secret@example.org").expect("an address");
        assert_eq!(format!("{address:?}"), "Address(a…@example.org)");
    }
}
