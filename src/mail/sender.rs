//! Who the messages are from.

use lettre::message::Mailbox;

use super::templates::Templates;
use crate::address::Address;

/// Longest name of a product, in bytes: it must fit a subject and read well.
pub const PRODUCT_MAX: usize = 100;

/// Who sends the messages, and in which words.
#[derive(Clone, Debug)]
pub struct Sender {
    pub(super) from: Mailbox,
    pub(super) product: String,
    pub(super) templates: Templates,
}

impl Sender {
    /// The sender `product <from>`, with the built-in words.
    ///
    /// # Errors
    /// A sentence, if the product's name can't stand in a header: empty, over [`PRODUCT_MAX`]
    /// bytes, with control characters or the beginning of an encoded word.
    pub fn new(from: &Address, product: &str) -> Result<Self, String> {
        let is_neat = product.split(' ').all(|word| !word.is_empty());
        let fits = product.len() <= PRODUCT_MAX && !product.chars().any(is_unseen);
        if !is_neat || !fits || product.contains("=?") {
            return Err(format!(
                "the product's name must be 1 to {PRODUCT_MAX} bytes, without control characters, \
                 `=?`, and blanks at its ends or beside each other"
            ));
        }
        let address = from.as_str().parse().map_err(|_| "`--from` is not an address".to_owned())?;
        Ok(Self {
            from: Mailbox::new(Some(product.to_owned()), address),
            product: product.to_owned(),
            templates: Templates::built_in(),
        })
    }

    /// The same sender with other words.
    #[must_use]
    pub fn with(self, templates: Templates) -> Self {
        Self { templates, ..self }
    }

    /// Who asks for the code.
    #[must_use]
    pub fn product(&self) -> &str {
        &self.product
    }
}

/// Characters that steer a line instead of standing in it: control characters, separators, and
/// marks that turn the direction of text.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_header_are_refused() {
        let from = Address::parse("a@x.org").expect("an address");
        let long = "x".repeat(PRODUCT_MAX + 1);
        for name in [
            "",
            " ",
            " a",
            "a ",
            "a  b",
            "a\r\nBcc: b@x.org",
            "a\0",
            "a\u{2028}b",
            "a\u{202e}b",
            "=?utf-8?q?a?=",
            &long,
        ] {
            assert!(Sender::new(&from, name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn the_mail_library_takes_every_address_that_we_take() {
        for text in
            ["a@example.org", "#$&'*+-/?=^_{|}~@a.b", "A+b@xn--bcher-kva.example", "a@ab--cd.de"]
        {
            assert!(Address::parse(text).is_ok());
            assert!(text.parse::<lettre::Address>().is_ok(), "{text}");
        }
    }
}
