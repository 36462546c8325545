//! A server's words, as far as they may be told: the operator should know why a mail was refused,
//! and a log is no place for addresses, codes and passwords, however a server repeats them.

/// What stands for what is not told.
const LEFT_OUT: &str = "…";
/// Names and passwords that are shorter are only left out where they stand alone; inside of words
/// they are everywhere.
const INSIDE_MIN: usize = 4;
/// Words of this length may have been cut, in the middle of a secret.
const CUT_AT: usize = 190;

/// The words of a reply, without its secrets and without any word that could hold one: with a digit,
/// an `@`, an encoding. Left are its number, its enhanced status code (RFC 3463), plain words, and
/// names of pages and machines.
#[must_use]
pub fn told(words: &str, secrets: &[&str]) -> String {
    let is_secret = |word: &str| secrets.iter().any(|it| is_alone(word, it) || repeats(word, it));
    let mut told: Vec<&str> = Vec::new();
    for (place, word) in words.split_ascii_whitespace().enumerate() {
        let may_be_told = match place {
            0 => true,
            1 if is_status(word) => true,
            _ => is_plain(word) && !is_secret(word),
        };
        match may_be_told {
            true => told.push(word),
            false if told.last() != Some(&LEFT_OUT) => told.push(LEFT_OUT),
            false => {}
        }
    }
    // A secret may be spelled over several words.
    let rest = told.join(" ");
    let is_cut = words.len() >= CUT_AT;
    match secrets.iter().any(|it| repeats(&rest, it) || is_cut && ends_within(&rest, it)) {
        false => rest,
        true => {
            let kept = told.iter().take(2).enumerate();
            let kept = kept.filter(|(place, word)| *place == 0 || is_status(word));
            let kept: Vec<&str> = kept.map(|(_, word)| *word).chain([LEFT_OUT]).collect();
            kept.join(" ")
        }
    }
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

/// The words of a reply for whoever configures otpd: all of them, unless they repeat a secret.
#[must_use]
pub fn shown(words: &str, secrets: &[&str]) -> String {
    let is_cut = words.len() >= CUT_AT;
    match secrets.iter().any(|it| repeats(words, it) || is_cut && ends_within(words, it)) {
        false => words.to_owned(),
        true => format!("{} (withheld)", words.split(' ').next().unwrap_or_default()),
    }
}

/// Whether a word is a secret.
fn is_alone(word: &str, secret: &str) -> bool {
    let bare = squashed(word);
    !bare.is_empty() && bare == squashed(secret)
}

/// Whether a secret stands in the words, however it is spelled: in other case, over several lines,
/// with blanks in between.
fn repeats(words: &str, secret: &str) -> bool {
    let secret = squashed(secret);
    secret.len() >= INSIDE_MIN && squashed(words).contains(&secret)
}

/// Whether the words end in the middle of a secret.
fn ends_within(words: &str, secret: &str) -> bool {
    let (all, secret) = (squashed(words), squashed(secret));
    let ends = |size: usize| secret.get(..size).is_some_and(|start| all.ends_with(start));
    (INSIDE_MIN..secret.len()).any(ends)
}

/// Letters and digits, in small letters; all of it if there are none, as in some passwords.
fn squashed(text: &str) -> String {
    let letters = text.chars().filter(char::is_ascii_alphanumeric);
    let letters: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    if letters.is_empty() { text.to_owned() } else { letters }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: [&str; 4] = ["ann.longname", "user@relay.example", "sesame street", "x"];

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
            ("550 to reach, Ann. Longname, does not exist", "550 …"),
            ("550 A n n . L o n g n a m e no", "550 …"),
            ("550 5.1.1 A n n . L o n g n a m e no", "550 5.1.1 …"),
            ("550 unknown x y", "550 unknown … y"),
            ("550 m??nchen.example", "550 …"),
            ("554 code 048213", "554 code …"),
            ("554 code 048 213 or 048-213 or 0 4 8 2 1 3", "554 code … or … or …"),
            ("554 5.048.213", "554 …"),
            ("554 5.7.1 5.7.1", "554 5.7.1 …"),
            ("554 MDQ4MjEz bWl4 mixedCase", "554 …"),
            ("550 login sesame street wrong", "550 …"),
            ("550 is it SESAME-STREET", "550 is it …"),
            ("550 xsesame streetx", "550 …"),
            ("550 for user@relay.example", "550 for …"),
        ] {
            assert_eq!(told(words, &SECRETS), expected);
        }
        let cut = format!("550 {} passwo", "y ".repeat(95));
        assert_eq!(told(&cut, &["password"]), "550 …");
        assert_eq!(told("550 !?&! is wrong", &["!?&!"]), "550 … is wrong");
    }

    #[test]
    fn whoever_configures_is_shown_all_but_the_password() {
        let secrets = ["correct horse", "Y29ycmVjdCBob3JzZQ=="];
        let words = "220 mx1.example.org ESMTP 4f3a";
        assert_eq!(shown(words, &secrets), words);
        for words in
            ["535 Correct-Horse is wrong", "535 correct no horse", "235 Y29ycmVjdCBob3JzZQ=="]
        {
            let is_told = words.contains(" no ");
            let expected =
                if is_told { words.to_owned() } else { format!("{} (withheld)", &words[..3]) };
            assert_eq!(shown(words, &secrets), expected);
        }
    }
}
