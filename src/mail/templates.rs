//! Languages: the built-in ones, and those of the operator (`--templates`), and which of them a
//! message is written in.

mod check;
mod directory;
mod own;

use std::borrow::Cow;
use std::time::Duration;

use super::text::words::LANGUAGES;
use super::text::{self, Facts, Life};
use directory::Source;
use own::Own;

/// Every language that messages can be written in.
#[derive(Clone, Debug)]
pub struct Templates {
    own: Vec<Own>,
    default: Language,
}

/// One of the languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Language(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    BuiltIn(usize),
    Own(usize),
}

/// English.
const ENGLISH: Language = Language(Place::BuiltIn(0));

/// What a message is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line, not encoded yet.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The page.
    pub html: String,
}

/// What a template speaks of.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// Who asks.
    pub product: &'a str,
    /// What the code is for, if the caller said.
    pub purpose: Option<&'a str>,
    /// How long the code lives.
    pub life: Life,
    /// The code, or what stands in for it.
    pub code: &'a str,
    /// The caller's own values, by name.
    pub vars: &'a [(&'a str, Cow<'a, str>)],
}

/// What own templates are checked against.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Who asks.
    pub product: &'a str,
    /// Digits of a code.
    pub digits: u8,
    /// Whether the code may stand in the subject.
    pub code_in_subject: bool,
}

/// Compiles and checks, with room for whatever 64 KiB can make the engine's parser do, which goes
/// one call deeper for each sign before a number.
fn compiled(sources: Vec<Source>, terms: &Terms<'_>) -> Result<Vec<Own>, String> {
    const ROOM: usize = 256 << 20;
    let one = |(name, files): Source| {
        let own = Own::compile(&name, files, terms.code_in_subject)?;
        check::check(&own, terms).map(|()| own)
    };
    std::thread::scope(|scope| {
        let work = || sources.into_iter().map(one).collect();
        let thread = std::thread::Builder::new().stack_size(ROOM).spawn_scoped(scope, work);
        let thread = thread.map_err(|err| err.to_string())?;
        thread.join().map_err(|_| "they can't be compiled".to_owned())?
    })
}

impl Templates {
    /// The built-in languages; English is the default.
    #[must_use]
    pub const fn built_in() -> Self {
        Self { own: Vec::new(), default: ENGLISH }
    }

    /// The built-in languages and those of a directory, all read and checked, with a default for
    /// messages that ask for none or for one that there isn't.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn load(directory: Option<&str>, default: &str, terms: &Terms<'_>) -> Result<Self, String> {
        let sources = directory.map(directory::read).transpose()?.unwrap_or_default();
        let own = match sources.is_empty() {
            true => Vec::new(),
            false => compiled(sources, terms).map_err(|why| format!("templates: {why}"))?,
        };
        let templates = Self { own, default: ENGLISH };
        if oxilangtag::LanguageTag::parse(default).is_err() {
            return Err(format!("`--locale {default}` is not a language tag such as de or pt-BR"));
        }
        let none = || format!("`--locale {default}`: there is no template for this language");
        let default = templates.find(default).ok_or_else(none)?;
        Ok(Self { default, ..templates })
    }

    /// The language of a message that asks for `locale`.
    #[must_use]
    pub fn choose(&self, locale: Option<&str>) -> Language {
        locale.and_then(|tag| self.find(tag)).unwrap_or(self.default)
    }

    /// Whether `vars` make a difference.
    #[must_use]
    pub fn uses_vars(&self, Language(place): Language) -> bool {
        match place {
            Place::BuiltIn(_) => false,
            Place::Own(at) => self.own[at].uses_vars,
        }
    }

    /// A life in the unit in which the language tells it.
    #[must_use]
    pub const fn life(&self, Language(place): Language, span: Duration) -> Life {
        match place {
            Place::BuiltIn(_) => Life::of(span),
            Place::Own(_) => Life::in_minutes(span),
        }
    }

    /// Writes the words of a message.
    ///
    /// # Errors
    /// A sentence for the operator, without any of the values, if an own template can't be used
    /// with them.
    pub fn render(
        &self,
        Language(place): Language,
        values: &Values<'_>,
    ) -> Result<Rendered, String> {
        let Values { product, purpose, life, code, .. } = *values;
        match place {
            Place::BuiltIn(at) => {
                let (words, facts) = (LANGUAGES[at], Facts { product, purpose, life, code });
                Ok(Rendered {
                    subject: text::subject(words, product),
                    text: text::plain(words, &facts),
                    html: text::html(words, &facts),
                })
            }
            Place::Own(at) => self.own[at].render(values),
        }
    }

    /// The nearest language that there is (RFC 4647 §3.4: the tag is shortened from its end until
    /// there is one). Own templates come before built-in ones of the same tag.
    fn find(&self, tag: &str) -> Option<Language> {
        let tag = tag.to_ascii_lowercase();
        let chinese = Chinese::of(&tag);
        let matching = |range: &str| {
            let own = self.own.iter().position(|own| own.tag == range).map(Place::Own);
            // Nobody who asked for traditional characters is given simplified ones of ours.
            let is_ours = !(range == "zh" && chinese == Some(Chinese::Traditional));
            let ours = || LANGUAGES.iter().position(|words| is_ours && words.tag == range);
            own.or_else(|| ours().map(Place::BuiltIn)).map(Language)
        };
        let mut range = tag.as_str();
        loop {
            let script = match (range, chinese) {
                ("zh", Some(chinese)) => matching(chinese.tag()),
                _ => None,
            };
            if let Some(found) = script.or_else(|| matching(range)) {
                return Some(found);
            }
            range = range.rsplit_once('-')?.0;
            // A single letter announces what followed it, and means nothing at an end.
            while let Some((shorter, last)) = range.rsplit_once('-')
                && last.len() == 1
            {
                range = shorter;
            }
        }
    }
}

/// The two ways to write Chinese, which tags often tell by the region only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chinese {
    Simplified,
    Traditional,
}

impl Chinese {
    fn of(tag: &str) -> Option<Self> {
        let mut parts = tag.split('-');
        (parts.next() == Some("zh")).then_some(())?;
        let mut chinese = Self::Simplified;
        for part in parts.take_while(|part| part.len() > 1) {
            match part {
                "hans" => return Some(Self::Simplified),
                "hant" => return Some(Self::Traditional),
                "tw" | "hk" | "mo" => chinese = Self::Traditional,
                _ => {}
            }
        }
        Some(chinese)
    }

    const fn tag(self) -> &'static str {
        match self {
            Self::Simplified => "zh-hans",
            Self::Traditional => "zh-hant",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms<'_> = Terms { product: "Acme", digits: 6, code_in_subject: false };

    /// What is chosen where there are own templates of these tags; those are told in capitals.
    fn chosen(own: &[&str], locale: &str) -> String {
        let own = own.iter().map(|tag| {
            let files = ["S", "{{ code }}", "{{ code }}"].map(str::to_owned);
            Own::compile(tag, files, false).expect("a template")
        });
        let templates = Templates { own: own.collect(), default: ENGLISH };
        match templates.choose(Some(locale)).0 {
            Place::BuiltIn(at) => LANGUAGES[at].tag.to_owned(),
            Place::Own(at) => templates.own[at].tag.to_uppercase(),
        }
    }

    #[test]
    fn the_nearest_language_is_chosen() {
        for (locale, expected) in [
            ("de", "de"),
            ("DE-at", "de"),
            ("de-Latn-AT-1996-x-home", "de"),
            ("pt-BR", "pt"),
            ("zh", "zh"),
            ("zh-CN", "zh"),
            ("zh-Hans-TW", "zh"),
            ("zh-SG", "zh"),
            ("zh-TW", "en"),
            ("zh-Hant", "en"),
            ("zh-hant-CN", "en"),
            ("zh-HK", "en"),
            ("zh-x-tw", "zh"),
            ("eo", "en"),
            ("x-klingon", "en"),
            ("dea", "en"),
            ("ar-EG", "ar"),
        ] {
            assert_eq!(chosen(&[], locale), expected, "{locale}");
        }
    }

    #[test]
    fn own_languages_come_first_and_only_for_their_tag() {
        for (own, locale, expected) in [
            (&["de"][..], "de-AT", "DE"),
            (&["de-AT"], "de-at", "DE-AT"),
            (&["de-AT"], "de-CH", "de"),
            (&["de-AT"], "de", "de"),
            (&["eo"], "eo-x-a-b", "EO"),
            (&["zh-Hant"], "zh-Hant-TW", "ZH-HANT"),
            (&["zh-Hant"], "zh-TW", "ZH-HANT"),
            (&["zh-Hant"], "zh-CN", "zh"),
            (&["zh-Hans"], "zh", "ZH-HANS"),
            (&["zh"], "zh-TW", "ZH"),
            (&["zh", "zh-Hant"], "zh-TW", "ZH-HANT"),
        ] {
            assert_eq!(chosen(own, locale), expected, "{own:?} {locale}");
        }
    }

    #[test]
    fn a_default_must_be_one_that_there_is() {
        for default in ["en", "de-AT", "zh-Hans"] {
            assert!(Templates::load(None, default, &TERMS).is_ok(), "{default}");
        }
        for default in ["eo", "zh-TW", "", "de_AT"] {
            assert!(Templates::load(None, default, &TERMS).is_err(), "{default}");
        }
        let templates = Templates::load(None, "ja", &TERMS).expect("templates");
        let japanese = templates.choose(Some("ja-JP"));
        assert_eq!([templates.choose(None), templates.choose(Some("eo"))], [japanese, japanese]);
    }
}
