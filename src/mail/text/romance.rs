//! French, Spanish, Italian and Portuguese, all in the polite form.

use super::one_or_more;
use super::words::Words;

/// French. A blank that must not break stands before its colons.
pub static FRENCH: Words = Words {
    tag: "fr",
    is_rtl: false,
    subject: |product| format!("Votre code de vérification pour {product}"),
    title: "Votre code de vérification",
    asked: |product| {
        format!("Il a été demandé à {product}\nde confirmer que cette adresse est bien la vôtre.")
    },
    purpose: |purpose| format!("Motif\u{a0}: {purpose}."),
    code_is: "Votre code est",
    valid: |life| format!("Il est valable {life} et ne peut être utilisé qu’une seule fois."),
    secret: |product| {
        format!(
            "Ne le communiquez à personne, pas même à quelqu’un qui prétend\n\
             représenter {product}."
        )
    },
    ignore: "Si vous ne l’avez pas demandé, ignorez ce message\u{a0}: sans le code,\n\
             rien ne se passera.",
    life: |life| {
        one_or_more(life, [("seconde", "secondes"), ("minute", "minutes"), ("heure", "heures")])
    },
};

/// Spanish.
pub static SPANISH: Words = Words {
    tag: "es",
    is_rtl: false,
    subject: |product| format!("Su código de verificación para {product}"),
    title: "Su código de verificación",
    asked: |product| format!("Se ha pedido a {product}\nque confirme que esta dirección es suya."),
    purpose: |purpose| format!("Motivo: {purpose}."),
    code_is: "Su código es",
    valid: |life| format!("Es válido durante {life} y solo puede usarse una vez."),
    secret: |product| {
        format!("No lo comparta nunca, ni siquiera con alguien que diga ser de\n{product}.")
    },
    ignore: "Si usted no lo ha solicitado, ignore este mensaje: sin el código\n\
             no ocurrirá nada.",
    life: |life| {
        one_or_more(life, [("segundo", "segundos"), ("minuto", "minutos"), ("hora", "horas")])
    },
};

/// Italian.
pub static ITALIAN: Words = Words {
    tag: "it",
    is_rtl: false,
    subject: |product| format!("Il Suo codice di verifica per {product}"),
    title: "Il Suo codice di verifica",
    asked: |product| {
        format!("È stato chiesto a {product}\ndi confermare che questo indirizzo è Suo.")
    },
    purpose: |purpose| format!("Motivo: {purpose}."),
    code_is: "Il Suo codice è",
    valid: |life| format!("È valido per {life} e può essere usato una sola volta."),
    secret: |product| {
        format!(
            "Non lo comunichi mai a nessuno, nemmeno a chi dice di agire per conto di\n{product}."
        )
    },
    ignore: "Se non lo ha richiesto, ignori questo messaggio: senza il codice\n\
             non succederà nulla.",
    life: |life| one_or_more(life, [("secondo", "secondi"), ("minuto", "minuti"), ("ora", "ore")]),
};

/// Portuguese, in words that are at home on both sides of the Atlantic.
pub static PORTUGUESE: Words = Words {
    tag: "pt",
    is_rtl: false,
    subject: |product| format!("Código de verificação para {product}"),
    title: "Código de verificação",
    asked: |product| {
        format!("Foi feito um pedido a {product}\npara confirmar que este endereço é seu.")
    },
    purpose: |purpose| format!("Motivo: {purpose}."),
    code_is: "O seu código é",
    valid: |life| format!("É válido por {life} e só pode ser usado uma vez."),
    secret: |product| format!("Nunca o revele a ninguém, nem mesmo a quem diga ser de\n{product}."),
    ignore: "Se não pediu este código, ignore esta mensagem: sem ele,\nnada acontece.",
    life: |life| {
        one_or_more(life, [("segundo", "segundos"), ("minuto", "minutos"), ("hora", "horas")])
    },
};
