//! The words of a message.

use std::time::Duration;

/// What the words speak of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who asks.
    pub product: &'a str,
    /// What the code is for, if the caller said.
    pub purpose: Option<&'a str>,
    /// How long the code lives, in words.
    pub life: &'a str,
    /// The code, or what stands in for it.
    pub code: &'a str,
}

/// The subject. It never holds the code, which would then be read off a locked telephone.
#[must_use]
pub fn subject(product: &str) -> String {
    format!("Your verification code for {product}")
}

/// The plain text: lines of at most 76 characters as long as the product's name is not long, the
/// code on a line of its own.
#[must_use]
pub fn plain(facts: &Facts<'_>) -> String {
    let Facts { product, life, code, .. } = *facts;
    // The full stop keeps a purpose of digits from looking like a code, wherever a line is broken.
    let purpose =
        facts.purpose.map(|purpose| format!("What for: {purpose}.\n\n")).unwrap_or_default();
    format!(
        "{product} was asked to confirm that this address is yours.\n\
         \n\
         {purpose}\
         Your code is\n\
         \n\
         {code}\n\
         \n\
         It is valid for {life} and works once.\n\
         \n\
         Never share it, not even with somebody who says they are from\n\
         {product}.\n\
         \n\
         If you did not ask for it, ignore this message: without the code\n\
         nothing happens.\n"
    )
}

/// The same as a page: no links, no images, no scripts. The code begins a line, so that no
/// encoding breaks it in two.
#[must_use]
pub fn html(facts: &Facts<'_>) -> String {
    let (product, life, code) = (escape(facts.product), escape(facts.life), facts.code);
    let purpose = facts
        .purpose
        .map(|purpose| format!("<p>What for: {}.</p>\n", escape(purpose)))
        .unwrap_or_default();
    format!(
        "<!doctype html>\n\
         <html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Your verification code</title></head>\n\
         <body style=\"font-family:sans-serif;line-height:1.5;max-width:30em;\n\
         margin:0 auto;padding:1em\">\n\
         <p>{product} was asked to confirm that this address is yours.</p>\n\
         {purpose}\
         <p>Your code is</p>\n\
         <p style=\"font-family:monospace;font-size:2em;font-weight:bold;\n\
         letter-spacing:.15em;margin:.5em 0\">\n\
         {code}</p>\n\
         <p>It is valid for {life} and works once.</p>\n\
         <p>Never share it, not even with somebody who says they are from\n\
         {product}.</p>\n\
         <p>If you did not ask for it, ignore this message:\n\
         without the code nothing happens.</p>\n\
         </body></html>\n"
    )
}

/// A life in words, rounded down so that nobody is promised too much; but no less than a second.
#[must_use]
pub fn life(span: Duration) -> String {
    match span.as_secs() {
        0..2 => "1 second".to_owned(),
        secs @ 2..60 => format!("{secs} seconds"),
        60..120 => "1 minute".to_owned(),
        secs @ 120..7_200 => format!("{} minutes", secs / 60),
        secs => format!("{} hours", secs / 3_600),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_told_in_minutes_and_never_too_long() {
        let words = |secs| life(Duration::from_secs(secs));
        assert_eq!(words(600), "10 minutes");
        assert_eq!(words(599), "9 minutes");
        assert_eq!(words(60), "1 minute");
        assert_eq!(words(30), "30 seconds");
        assert_eq!((words(1), words(0)), ("1 second".into(), "1 second".into()));
        assert_eq!(words(86_400), "24 hours");
        assert_eq!(words(7_199), "119 minutes");
    }

    #[test]
    fn the_page_escapes_what_it_is_given() {
        let page = html(&Facts {
            product: "A & B <script>",
            purpose: Some("\"it's\""),
            life: "10 minutes",
            code: "000000",
        });
        assert!(page.contains("A &amp; B &lt;script&gt;"));
        assert!(page.contains("&quot;it&#39;s&quot;"));
        assert!(!page.contains("<script"));
    }
}
