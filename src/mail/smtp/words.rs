//! A server's words, as far as they may be told: the operator should know why a mail was refused,
//! and a log is no place for addresses, codes and passwords, however a server repeats them.

/// What stands for what is not told.
const LEFT_OUT: &str = "…";
/// Names and passwords that are shorter are only left out where they stand alone; inside of words
/// they are everywhere.
const INSIDE_MIN: usize = 4;

/// The words of a reply, without its secrets and without any word that could hold one: with a digit,
/// an `@`, an encoding. Left are its number, its enhanced status code (RFC 3463), plain words, and
/// names of pages and machines.
#[must_use]
pub fn told(words: &str, secrets: &[&str]) -> String {
    let mut words = words.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= INSIDE_MIN) {
        words = words.replace(secret, "@");
    }
    let mut told: Vec<&str> = Vec::new();
    for (place, word) in words.split_ascii_whitespace().enumerate() {
        let may_be_told = match place {
            0 => true,
            1 if is_status(word) => true,
            _ => is_plain(word) && !secrets.iter().any(|secret| names(word, secret)),
        };
        match may_be_told {
            true => told.push(word),
            false if told.last() != Some(&LEFT_OUT) => told.push(LEFT_OUT),
            false => {}
        }
    }
    told.join(" ")
}

/// `5.7.1`, `4.4.2`, `5.7.509`.
fn is_status(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let are_short =
        parts.iter().zip([1, 1, 3]).all(|(part, most)| (1..=most).contains(&part.len()));
    parts.len() == 3 && are_short && word.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Letters, as words and names are written: not mixed as in base64, with nothing between them that
/// an address or an encoding could need.
fn is_plain(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphabetic() || ".,:;!/_-()'\"".contains(c);
    let is_natural = |part: &str| {
        let rest = part.get(1..).unwrap_or_default();
        rest.bytes().all(|b| b.is_ascii_lowercase()) || part.bytes().all(|b| b.is_ascii_uppercase())
    };
    word.chars().all(is_part) && word.split(|c: char| !c.is_ascii_alphabetic()).all(is_natural)
}

/// Whether a word is a secret, or has one in it, whatever the case of its letters.
fn names(word: &str, secret: &str) -> bool {
    let (word, secret) = (word.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    !secret.is_empty() && (bare == secret || secret.len() >= INSIDE_MIN && word.contains(&secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [&str; 3] = ["ann.longname", "user@relay.example", "pass word"];

    #[test]
    fn reasons_are_told() {
        for words in [
            "550 5.1.1 Recipient rejected: mailbox unavailable",
            "451 4.7.1 Greylisted, please try again later",
            "535 5.7.8 Username and Password not accepted. See https://support.example.com/mail/",
            "554 Service unavailable; client blocked using zen.spamhaus.org",
            "421 4.3.2 Too many connections (slow down!)",
            "550",
        ] {
            assert_eq!(told(words, &SECRETS), words);
        }
    }

    #[test]
    fn whatever_could_be_an_address_a_code_or_a_password_is_not() {
        for (words, expected) in [
            ("550 5.1.1 <Ann.Longname@Example.ORG>: unknown", "550 5.1.1 … unknown"),
            ("550 no other.person@example.org here", "550 no … here"),
            ("550 ann.longname\\@example.org", "550 …"),
            ("550 ann.longname=40example.org", "550 …"),
            ("550 account ANN.LONGNAME unknown", "550 account … unknown"),
            ("550 account 'ann.longname' unknown", "550 account … unknown"),
            ("550 m??nchen.example", "550 …"),
            ("554 code 048213", "554 code …"),
            ("554 code 048 213 or 048-213 or 0 4 8 2 1 3", "554 code … or … or …"),
            ("554 5.048.213", "554 …"),
            ("554 5.7.1 5.7.1", "554 5.7.1 …"),
            ("554 MDQ4MjEz bWl4 mixedCase", "554 …"),
            ("550 login pass word wrong", "550 login … wrong"),
            ("550 xpass wordx", "550 …"),
            ("550 for user@relay.example", "550 for …"),
        ] {
            assert_eq!(told(words, &SECRETS), expected);
        }
        assert_eq!(told("550 a is not at a", &["a"]), "550 … is not at …");
    }
}
