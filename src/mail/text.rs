//! The built-in messages: one frame for the plain text and one for the page, filled with the words
//! of a language.

mod germanic;
mod others;
mod romance;
pub mod words;

use std::time::Duration;

use words::Words;

/// What a message speaks of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who asks.
    pub product: &'a str,
    /// What the code is for, if the caller said.
    pub purpose: Option<&'a str>,
    /// How long the code lives.
    pub life: Life,
    /// The code, or what stands in for it.
    pub code: &'a str,
}

/// How long a code lives, in the unit in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    /// How many.
    pub count: u64,
    /// Of what.
    pub unit: Unit,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// 1 to 59 of them.
    Seconds,
    /// 1 to 119 of them.
    Minutes,
    /// 2 of them or more.
    Hours,
}

impl Life {
    /// Rounded down so that nobody is promised too much; but no less than a second.
    #[must_use]
    pub const fn of(span: Duration) -> Self {
        match span.as_secs() {
            0..2 => Self { count: 1, unit: Unit::Seconds },
            secs @ 2..60 => Self { count: secs, unit: Unit::Seconds },
            secs @ 60..7_200 => Self { count: secs / 60, unit: Unit::Minutes },
            secs => Self { count: secs / 3_600, unit: Unit::Hours },
        }
    }

    /// In minutes, for templates that know no other unit: rounded down, but no less than one.
    #[must_use]
    pub const fn in_minutes(span: Duration) -> Self {
        let minutes = span.as_secs() / 60;
        Self { count: if minutes == 0 { 1 } else { minutes }, unit: Unit::Minutes }
    }
}

/// The subject.
#[must_use]
pub fn subject(words: &Words, product: &str) -> String {
    (words.subject)(product)
}

/// The plain text: the code on a line of its own, and the purpose on one, which is not broken.
#[must_use]
pub fn plain(words: &Words, facts: &Facts<'_>) -> String {
    let Facts { product, code, .. } = *facts;
    let asked = (words.asked)(product);
    let purpose = facts.purpose.map(|purpose| (words.purpose)(purpose) + "\n\n");
    let purpose = purpose.unwrap_or_default();
    let valid = (words.valid)(&(words.life)(facts.life));
    let secret = (words.secret)(product);
    let Words { code_is, ignore, .. } = words;
    format!("{asked}\n\n{purpose}{code_is}\n\n{code}\n\n{valid}\n\n{secret}\n\n{ignore}\n")
}

/// The same as a page: no links, no images, no scripts. The code begins a line, so that no
/// encoding breaks it in two. Colours are the reader's own, so that it is light by day and dark by
/// night; names are isolated, so that they don't turn the words around them in Arabic.
#[must_use]
pub fn html(words: &Words, facts: &Facts<'_>) -> String {
    let isolated = |text: &str| format!("<bdi>{}</bdi>", escape(text));
    let product = isolated(facts.product);
    let asked = (words.asked)(&product);
    let paragraph = |purpose| format!("<p>{}</p>\n", (words.purpose)(&isolated(purpose)));
    let purpose = facts.purpose.map(paragraph).unwrap_or_default();
    let valid = (words.valid)(&(words.life)(facts.life));
    let secret = (words.secret)(&product);
    let Words { tag, title, code_is, ignore, .. } = words;
    let direction = if words.is_rtl { " dir=\"rtl\"" } else { "" };
    let code = facts.code;
    format!(
        "<!doctype html>\n\
         <html lang=\"{tag}\"{direction} style=\"color-scheme:light dark\"><head>\n\
         <meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"supported-color-schemes\" content=\"light dark\">\n\
         <title>{title}</title></head>\n\
         <body style=\"font-family:system-ui,sans-serif;font-size:16px;\n\
         line-height:1.5;max-width:32em;margin:0 auto;padding:1.5em 1em;\n\
         overflow-wrap:break-word\">\n\
         <p>{asked}</p>\n\
         {purpose}\
         <p style=\"margin-bottom:.5em\">{code_is}</p>\n\
         <p dir=\"ltr\" style=\"font-family:ui-monospace,monospace;font-size:2em;\n\
         font-weight:bold;letter-spacing:.15em;line-height:1.2;text-align:center;\n\
         margin:0;padding:.6em .2em;border-radius:.3em;\n\
         background-color:rgba(128,128,128,.16);user-select:all\">\n\
         {code}</p>\n\
         <p>{valid}</p>\n\
         <p>{secret}</p>\n\
         <p>{ignore}</p>\n\
         </body></html>\n"
    )
}

/// A count in a language that tells one from more: of seconds, of minutes, of hours.
fn one_or_more(Life { count, unit }: Life, [secs, mins, hours]: [(&str, &str); 3]) -> String {
    let (one, more) = match unit {
        Unit::Seconds => secs,
        Unit::Minutes => mins,
        Unit::Hours => hours,
    };
    format!("{count} {}", if count == 1 { one } else { more })
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
    use super::words::LANGUAGES;
    use super::*;

    const FACTS: Facts<'_> = Facts {
        product: "A & B <script>",
        purpose: Some("\"it's\""),
        life: Life { count: 37, unit: Unit::Minutes },
        code: "000000",
    };

    fn told(tag: &str, secs: u64) -> String {
        let words = LANGUAGES.iter().find(|words| words.tag == tag).expect("a language");
        (words.life)(Life::of(Duration::from_secs(secs)))
    }

    #[test]
    fn a_life_is_told_in_minutes_and_never_too_long() {
        assert_eq!(told("en", 600), "10 minutes");
        assert_eq!(told("en", 599), "9 minutes");
        assert_eq!(told("en", 119), "1 minute");
        assert_eq!(told("en", 30), "30 seconds");
        assert_eq!((told("en", 1), told("en", 0)), ("1 second".into(), "1 second".into()));
        assert_eq!(told("en", 86_400), "24 hours");
        assert_eq!(told("en", 7_199), "119 minutes");
        let minutes = |secs| Life::in_minutes(Duration::from_secs(secs)).count;
        assert_eq!([minutes(0), minutes(59), minutes(119), minutes(86_400)], [1, 1, 1, 1440]);
    }

    #[test]
    fn one_few_and_many_have_their_words() {
        let cases: [(&str, &[(u64, &str)]); 12] = [
            ("en", &[(1, "1 second"), (60, "1 minute"), (7_200, "2 hours")]),
            ("de", &[(1, "1 Sekunde"), (60, "1 Minute"), (120, "2 Minuten"), (7_200, "2 Stunden")]),
            ("nl", &[(1, "1 seconde"), (59, "59 seconden"), (60, "1 minuut"), (7_200, "2 uur")]),
            ("fr", &[(1, "1 seconde"), (60, "1 minute"), (120, "2 minutes"), (7_200, "2 heures")]),
            ("es", &[(1, "1 segundo"), (60, "1 minuto"), (120, "2 minutos"), (7_200, "2 horas")]),
            ("it", &[(1, "1 secondo"), (60, "1 minuto"), (120, "2 minuti"), (7_200, "2 ore")]),
            ("pt", &[(1, "1 segundo"), (60, "1 minuto"), (120, "2 minutos"), (7_200, "2 horas")]),
            (
                "pl",
                &[
                    (1, "1 sekundę"),
                    (2, "2 sekundy"),
                    (5, "5 sekund"),
                    (12, "12 sekund"),
                    (21, "21 sekund"),
                    (22, "22 sekundy"),
                    (60, "1 minutę"),
                    (4 * 60, "4 minuty"),
                    (10 * 60, "10 minut"),
                    (14 * 60, "14 minut"),
                    (103 * 60, "103 minuty"),
                    (112 * 60, "112 minut"),
                    (7_200, "2 godziny"),
                    (5 * 3_600, "5 godzin"),
                    (24 * 3_600, "24 godziny"),
                ],
            ),
            ("tr", &[(1, "1 saniye"), (600, "10 dakika"), (86_400, "24 saat")]),
            ("ja", &[(1, "1秒間"), (600, "10分間"), (86_400, "24時間")]),
            ("zh", &[(1, "1 秒"), (600, "10 分钟"), (86_400, "24 小时")]),
            (
                "ar",
                &[
                    (1, "ثانية واحدة"),
                    (2, "ثانيتين"),
                    (3, "3 ثوانٍ"),
                    (10, "10 ثوانٍ"),
                    (11, "11 ثانية"),
                    (60, "دقيقة واحدة"),
                    (120, "دقيقتين"),
                    (600, "10 دقائق"),
                    (660, "11 دقيقة"),
                    (6_000, "100 دقيقة"),
                    (6_060, "101 دقيقة"),
                    (6_180, "103 دقائق"),
                    (7_200, "ساعتين"),
                    (3 * 3_600, "3 ساعات"),
                    (86_400, "24 ساعة"),
                ],
            ),
        ];
        assert_eq!(cases.len(), LANGUAGES.len());
        for (tag, lives) in cases {
            for (secs, words) in lives {
                assert_eq!(told(tag, *secs), *words);
            }
        }
    }

    #[test]
    fn every_language_tells_everything() {
        for words in LANGUAGES {
            let (text, page) = (plain(words, &FACTS), html(words, &FACTS));
            assert_eq!(text.matches(FACTS.product).count(), 2, "{text}");
            assert_eq!(page.matches("<bdi>A &amp; B &lt;script&gt;</bdi>").count(), 2, "{page}");
            assert_eq!(text.lines().filter(|line| *line == "000000").count(), 1, "{text}");
            assert_eq!(page.matches("\n000000</p>").count(), 1, "{page}");
            for part in ["37", "\"it's\""] {
                assert_eq!(text.matches(part).count(), 1, "{text}");
            }
            assert_eq!(page.matches("37").count(), 1, "{page}");
            assert!(subject(words, "Acme").contains("Acme"));
            // Six paragraphs, and the purpose.
            assert_eq!(text.matches("\n\n").count(), 6, "{text}");
            assert_eq!(page.matches("<p").count(), 7, "{page}");
        }
    }

    #[test]
    fn no_two_languages_share_their_words() {
        let all = |part: fn(&Words) -> String| {
            let mut parts: Vec<String> = LANGUAGES.iter().map(|words| part(words)).collect();
            parts.sort();
            parts.dedup();
            assert_eq!(parts.len(), LANGUAGES.len());
        };
        all(|words| words.tag.to_owned());
        all(|words| words.ignore.to_owned());
        all(|words| (words.asked)("x"));
        all(|words| (words.secret)("x"));
        all(|words| (words.valid)("x"));
    }

    #[test]
    fn a_purpose_of_digits_is_followed_by_its_full_stop() {
        for words in LANGUAGES {
            let line = (words.purpose)("123456");
            assert!(!line.contains('\n') && line.ends_with(['.', '。']), "{line}");
        }
    }

    #[test]
    fn the_page_escapes_what_it_is_given_and_knows_its_direction() {
        for words in LANGUAGES {
            let page = html(words, &FACTS);
            assert!(page.contains("<bdi>&quot;it&#39;s&quot;</bdi>"));
            for active in ["<script", "<img", "<a ", "href", "src=", "url("] {
                assert!(!page.contains(active), "{active}");
            }
            assert!(page.contains(&format!("<html lang=\"{}\"", words.tag)));
            assert_eq!(page.contains("dir=\"rtl\""), words.tag == "ar");
        }
    }
}
