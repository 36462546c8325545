//! The policy, and the way that mail goes, for people.

use std::fmt::Write;
use std::time::Duration;

use crate::engine::policy::Policy;

/// One step of the way that mail goes: done, with what is worth knowing of it, or failed, and why.
#[must_use]
pub fn step(step: &str, done: Result<&str, &str>) -> String {
    let line = match done {
        Ok(about) => format!("{step:<10} ok      {about}"),
        Err(why) => format!("{step:<10} FAILED  {why}"),
    };
    format!("{}\n", line.trim_end())
}

/// The policy in force and what follows from it.
#[must_use]
pub fn policy_text(policy: &Policy) -> String {
    let secs = |span: Duration| format!("{} s", grouped(span.as_secs()));
    let count = |number: u64| grouped(number);
    let rows = [
        ("digits of a code", count(policy.digits.into()), "--digits"),
        ("life of a code", secs(policy.ttl), "--ttl"),
        ("wrong attempts per code", count(policy.attempts.into()), "--attempts"),
        (
            "wrong attempts per address in 24 h",
            count(policy.failures_per_day.into()),
            "--failures-per-day",
        ),
        (
            "consecutive wrong attempts per address",
            count(policy.consecutive_failures.into()),
            "--consecutive-failures",
        ),
        ("time between two mails to an address", secs(policy.cool_down), "--cool-down"),
        ("mails to an address in an hour", count(policy.mails_per_hour.into()), "--mails-per-hour"),
        ("mails to an address in 24 h", count(policy.mails_per_day.into()), "--mails-per-day"),
        ("live sessions of an address", count(policy.live_sessions.into()), "--live-sessions"),
        (
            "issues of a client in an hour",
            count(policy.client_per_hour.into()),
            "--client-per-hour",
        ),
        ("live sessions in all", count(policy.capacity.into()), "--capacity"),
        (
            "addresses, clients, ended sessions kept",
            count(policy.remembered.into()),
            "--remembered",
        ),
    ];
    let mut text = String::from("Policy\n");
    for (name, value, flag) in rows {
        let _ = writeln!(text, "  {name:<40} {value:>12}  {flag}");
    }
    let figures = policy.figures();
    text.push_str("\nWhat a guesser can reach\n");
    for (name, chance) in [
        ("against one code", figures.per_code),
        ("against one address in any 24 h", figures.per_day),
        ("the same in a year, its owner verifying", figures.per_year),
        ("the same until locked, its owner away", figures.before_lock),
    ] {
        let (guesses, one_in) = (grouped(chance.guesses), grouped(chance.one_in()));
        let _ = writeln!(text, "  {name:<40} {guesses:>12} guesses, 1 in {one_in}");
    }
    text
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headline_is_told() {
        let text = policy_text(&Policy::default());
        let headline =
            "  against one address in any 24 h                    10 guesses, 1 in 100,000\n";
        assert!(text.contains(headline), "{text}");
        assert!(text.contains("  life of a code                                  600 s  --ttl\n"));
    }
}
