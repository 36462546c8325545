//! What every language has words for.

use super::Life;
use super::{germanic, others, romance};

/// The words of one language. Values are put where the language wants them, so most words are
/// functions; a `\n` is where the plain text breaks a line, which is before the product's name if
/// that may be long. None of them holds a line of digits or `=_`.
#[derive(Debug)]
pub struct Words {
    /// The language, as a BCP 47 tag in lower case.
    pub tag: &'static str,
    /// Whether it is written from right to left.
    pub is_rtl: bool,
    /// The subject. It never holds the code, which would then be read off a locked telephone.
    pub subject: fn(product: &str) -> String,
    /// The title of the page.
    pub title: &'static str,
    /// Who asks.
    pub asked: fn(product: &str) -> String,
    /// What for. It ends with a full stop, so that a purpose of digits can't look like a code,
    /// wherever a line is broken.
    pub purpose: fn(purpose: &str) -> String,
    /// Stands before the code.
    pub code_is: &'static str,
    /// How long the code lives, and how often it works.
    pub valid: fn(life: &str) -> String,
    /// That nobody else must know it.
    pub secret: fn(product: &str) -> String,
    /// What to do if one did not ask.
    pub ignore: &'static str,
    /// A life, in the case that `valid` wants.
    pub life: fn(Life) -> String,
}

/// Every language there is, English first.
pub static LANGUAGES: [&Words; 12] = [
    &germanic::ENGLISH,
    &germanic::GERMAN,
    &romance::FRENCH,
    &romance::SPANISH,
    &romance::ITALIAN,
    &romance::PORTUGUESE,
    &germanic::DUTCH,
    &others::POLISH,
    &others::TURKISH,
    &others::JAPANESE,
    &others::CHINESE,
    &others::ARABIC,
];
