//! Checks own templates by rendering them, so that what is wrong with one is told at start and not
//! found in somebody's mail.

use minijinja::Value;

use super::directory::FILES;
use super::own::{Own, context};
use super::{Rendered, Terms, Values};
use crate::mail::text::{Life, Unit};

/// Longest line, in bytes (RFC 5322 §2.1.1). Encoded it would be shorter; nobody writes one on
/// purpose.
const LINE_BYTES_MAX: usize = 998;
/// Largest part of a message, in bytes.
const PART_MAX: usize = 128 << 10;
/// Stands in for a code. Letters, so that no number in a template is taken for it.
const STAND_IN: &str = "GJQXZKWVYH";
/// Begins the values of a sample that must come out escaped.
const HOSTILE: &str = "<otpd-check a=\"'&";
/// Digits that are no code.
const DIGITS: &str = "9081726354";

/// What is wrong with what came out.
#[derive(Debug)]
pub struct Fault {
    /// In which file: its place in [`FILES`].
    pub file: usize,
    /// In which byte of what came out.
    pub at: usize,
    /// What it is.
    pub what: &'static str,
}

/// Values that templates are tried with.
struct Sample<'a> {
    about: &'static str,
    product: &'a str,
    purpose: Option<&'a str>,
    minutes: u64,
    /// The value of every var.
    var: &'a str,
}

/// Checks a language with values of all kinds.
///
/// # Errors
/// Where something is wrong, and what it is.
pub fn check(own: &Own, terms: &Terms<'_>) -> Result<(), String> {
    let code = &STAND_IN[..usize::from(terms.digits)];
    let digits = &DIGITS[..usize::from(terms.digits)];
    let product = terms.product;
    let samples = [
        Sample { about: "", product, purpose: Some("sign-in"), minutes: 10, var: "Ann" },
        Sample { about: " (without vars)", product, purpose: Some("sign-in"), minutes: 1, var: "" },
        Sample { about: " (without a purpose)", product, purpose: None, minutes: 2, var: "Ann" },
        Sample {
            about: " (without a purpose and vars)",
            product,
            purpose: None,
            minutes: 5,
            var: "",
        },
        Sample { about: "", product: HOSTILE, purpose: Some(HOSTILE), minutes: 90, var: HOSTILE },
        Sample { about: "", product, purpose: Some(digits), minutes: 1440, var: digits },
    ];
    for sample in samples {
        let life = Life { count: sample.minutes, unit: Unit::Minutes };
        let Sample { product, purpose, .. } = sample;
        let context = context(&Values { product, purpose, life, code, vars: &[] }, sample.var);
        let rendered = own.outputs(&context).map_err(|err| own.fault(&err))?;
        let fault = shape(&rendered, code, terms.code_in_subject)
            .and_then(|()| lines_are_short(&rendered))
            .and_then(|()| is_escaped(&rendered))
            .and_then(|()| nothing_passes_for_a_code(&rendered, digits));
        fault.map_err(|fault| told(own, &context, &fault) + sample.about)?;
    }
    Ok(())
}

fn told(own: &Own, context: &Value, Fault { file, at, what }: &Fault) -> String {
    own.at(FILES[*file], own.line_of(*file, context, *at), what)
}

/// Whether a message has the form that it must have, whatever the values are.
///
/// # Errors
/// The first fault.
pub fn shape(rendered: &Rendered, code: &str, code_in_subject: bool) -> Result<(), Fault> {
    let Rendered { subject, text, html } = rendered;
    let fault = |file, at, what| Err(Fault { file, at, what });
    if let Some((file, _)) = outputs(rendered).find(|(_, output)| output.len() > PART_MAX) {
        return fault(file, PART_MAX, "what comes out is larger than 128 KiB");
    }
    if subject.is_empty() {
        return fault(0, 0, "the subject is empty");
    }
    if let Some(at) = subject.find(char::is_control) {
        // The line end belongs to the line before it.
        return fault(0, at + 1, "the subject must be one line, without control characters");
    }
    if let Some(at) = subject.find(code) {
        let around = (subject[..at].chars().last(), subject[at + code.len()..].chars().next());
        if !code_in_subject {
            let what = "the code is in the subject, which a locked telephone shows \
                        (`--code-in-subject` allows it)";
            return fault(0, at, what);
        } else if subject.matches(code).count() > 1 {
            return fault(0, at, "the code is in the subject more than once");
        } else if around.0.is_some_and(|c| c != ' ') || around.1.is_some_and(|c| c != ' ') {
            return fault(0, at, "the code in the subject must stand between blanks");
        }
    }
    for (file, output) in [(1, text), (2, html)] {
        let mut places = output.match_indices(code).map(|(at, _)| at);
        match (places.next(), places.next()) {
            (None, _) => return fault(file, output.len(), "there is no {{ code }}"),
            (_, Some(at)) => return fault(file, at, "the code stands here once more"),
            (Some(at), None) if file == 1 && !output.lines().any(|line| line == code) => {
                return fault(file, at, "the code must be alone on its line, without blanks");
            }
            (Some(_), None) => {}
        }
    }
    Ok(())
}

fn lines_are_short(rendered: &Rendered) -> Result<(), Fault> {
    outputs(rendered).try_for_each(|(file, output)| {
        let long = output.lines().find(|line| line.len() > LINE_BYTES_MAX);
        let what = "a line is longer than 998 bytes";
        long.map_or(Ok(()), |line| Err(Fault { file, at: end_of(line, output), what }))
    })
}

fn is_escaped(rendered: &Rendered) -> Result<(), Fault> {
    let what = "a value is not escaped in HTML";
    rendered.html.find("<otpd-check").map_or(Ok(()), |at| Err(Fault { file: 2, at, what }))
}

/// Scripts and people take a line of digits for the code.
fn nothing_passes_for_a_code(rendered: &Rendered, digits: &str) -> Result<(), Fault> {
    let passes = |line: &str| {
        let line = line.trim();
        line.len() >= digits.len() && line.bytes().all(|b| b.is_ascii_digit())
    };
    outputs(rendered).skip(1).try_for_each(|(file, output)| {
        let what = "digits alone on a line could pass for the code";
        let line = output.lines().find(|line| passes(line));
        line.map_or(Ok(()), |line| Err(Fault { file, at: end_of(line, output), what }))
    })
}

/// The place of a line's last byte in the output that it is a part of. Its end and not its
/// beginning, since what makes a line wrong may be what comes last.
fn end_of(line: &str, output: &str) -> usize {
    line.as_ptr().addr() - output.as_ptr().addr() + line.len().saturating_sub(1)
}

fn outputs(rendered: &Rendered) -> impl Iterator<Item = (usize, &str)> {
    [&rendered.subject, &rendered.text, &rendered.html].map(String::as_str).into_iter().enumerate()
}
