//! English, German and Dutch.

use super::one_or_more;
use super::words::Words;

/// English.
pub static ENGLISH: Words = Words {
    tag: "en",
    is_rtl: false,
    subject: |product| format!("Your verification code for {product}"),
    title: "Your verification code",
    asked: |product| format!("{product} was asked to confirm that this address is yours."),
    purpose: |purpose| format!("What for: {purpose}."),
    code_is: "Your code is",
    valid: |life| format!("It is valid for {life} and works once."),
    secret: |product| {
        format!("Never share it, not even with somebody who says they are from\n{product}.")
    },
    ignore: "If you did not ask for it, ignore this message: without the code\nnothing happens.",
    life: |life| {
        one_or_more(life, [("second", "seconds"), ("minute", "minutes"), ("hour", "hours")])
    },
};

/// German, in the polite form.
pub static GERMAN: Words = Words {
    tag: "de",
    is_rtl: false,
    subject: |product| format!("Ihr Bestätigungscode für {product}"),
    title: "Ihr Bestätigungscode",
    asked: |product| {
        format!("Bei {product} soll bestätigt werden,\ndass diese E-Mail-Adresse Ihnen gehört.")
    },
    purpose: |purpose| format!("Zweck: {purpose}."),
    code_is: "Ihr Code lautet",
    valid: |life| format!("Er ist {life} gültig und kann nur einmal verwendet werden."),
    secret: |product| {
        format!(
            "Geben Sie ihn niemals weiter, auch nicht an jemanden, der behauptet,\n\
             von {product} zu sein."
        )
    },
    ignore: "Wenn Sie ihn nicht angefordert haben, ignorieren Sie diese Nachricht:\n\
             Ohne den Code geschieht nichts.",
    life: |life| {
        one_or_more(life, [("Sekunde", "Sekunden"), ("Minute", "Minuten"), ("Stunde", "Stunden")])
    },
};

/// Dutch, in the polite form.
pub static DUTCH: Words = Words {
    tag: "nl",
    is_rtl: false,
    subject: |product| format!("Uw verificatiecode voor {product}"),
    title: "Uw verificatiecode",
    asked: |product| format!("{product} is gevraagd te bevestigen\ndat dit e-mailadres van u is."),
    purpose: |purpose| format!("Waarvoor: {purpose}."),
    code_is: "Uw code is",
    valid: |life| format!("De code is {life} geldig en werkt maar één keer."),
    secret: |product| {
        format!("Deel de code met niemand, ook niet met iemand die zegt van\n{product} te zijn.")
    },
    ignore: "Hebt u er niet om gevraagd? Negeer dan dit bericht: zonder de code\n\
             gebeurt er niets.",
    life: |life| {
        one_or_more(life, [("seconde", "seconden"), ("minuut", "minuten"), ("uur", "uur")])
    },
};
