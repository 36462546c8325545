//! The flags that tell in which words messages are written.

use clap::Args;

use crate::mail::templates::{Templates, Terms};

/// The words of the messages.
#[derive(Debug, Args)]
#[command(next_help_heading = "Words")]
pub struct WordingFlags {
    /// Take templates from DIR, one directory for each language, beside the built-in languages
    ///
    /// `DIR/de` holds subject.txt, body.txt and body.html. They are read and checked at start, and
    /// replace the built-in messages in that language.
    #[arg(long, value_name = "DIR", env = "OTPD_TEMPLATES")]
    pub templates: Option<String>,
    /// The language of messages for which none was asked, or one that there isn't
    ///
    /// Built in are ar, de, en, es, fr, it, ja, nl, pl, pt, tr and zh (simplified).
    #[arg(long, value_name = "TAG", env = "OTPD_LOCALE", default_value = "en")]
    pub locale: String,
    /// Let templates write the code into the subject, which a locked telephone shows
    #[arg(long, env = "OTPD_CODE_IN_SUBJECT")]
    #[arg(value_parser = clap::builder::FalseyValueParser::new())]
    pub code_in_subject: bool,
}

impl WordingFlags {
    /// Reads and checks the templates.
    ///
    /// # Errors
    /// A sentence that tells where something is wrong.
    pub fn templates(&self, product: &str, digits: u8) -> Result<Templates, String> {
        let terms = Terms { product, digits, code_in_subject: self.code_in_subject };
        Templates::load(self.templates.as_deref(), &self.locale, &terms)
    }
}
