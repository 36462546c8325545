//! What is told of the daemon itself: how it stands, what it counted, by which policy.

use std::time::Duration;

use super::Word;
use super::help::ERRORS;
use super::json::Object;
use crate::engine::policy::Policy;

/// What `status` tells of the daemon.
#[derive(Debug)]
pub struct Daemon<'a> {
    /// Whether its world is simulated.
    pub simulated: bool,
    /// Its transport.
    pub via: &'a str,
    /// How long it has run.
    pub uptime: Duration,
    /// Live sessions.
    pub live: u32,
    /// Messages that wait.
    pub queued: u64,
    /// Messages on their way.
    pub in_flight: u64,
    /// Bytes of replies that may wait for the reader.
    pub replies_max: u64,
    /// Replies counted.
    pub tally: &'a Tally,
    /// The policy in force.
    pub policy: &'a Policy,
}

impl Daemon<'_> {
    /// Writes what is told.
    pub(super) fn write(&self, object: &mut Object<'_>) {
        object.text("version", env!("CARGO_PKG_VERSION"));
        object.number("protocol", super::PROTOCOL.into());
        if self.simulated {
            object.flag("simulated", true);
        }
        object.text("via", self.via);
        object.secs("uptime_s", self.uptime);
        object.group("sessions", |group| {
            group.number("live", self.live.into());
            group.number("capacity", self.policy.capacity.into());
        });
        object.group("mail", |group| {
            group.number("queued", self.queued);
            group.number("in_flight", self.in_flight);
        });
        object.group("counters", |group| self.tally.write(group));
        object.group("limits", |group| {
            group.number("line_bytes", super::LINE_MAX as u64);
            group.number("replies_bytes", self.replies_max);
            group.number("id_bytes", super::ID_MAX as u64);
            group.number("purpose_bytes", super::PURPOSE_MAX as u64);
            group.number("locale_bytes", super::LOCALE_MAX as u64);
            group.number("client_bytes", super::CLIENT_MAX as u64);
            group.number("data_bytes", super::DATA_MAX as u64);
            group.number("data_levels", super::DATA_DEPTH_MAX as u64);
            group.number("vars", super::VARS_MAX as u64);
            group.number("var_bytes", super::VAR_MAX as u64);
        });
        object.group("policy", |group| policy_fields(self.policy, group));
    }
}

/// Replies, counted by what they say.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// `ok` replies to `issue`.
    pub issued: u64,
    /// `ok` replies to `resend`.
    pub resent: u64,
    /// `ok` replies to `verify`.
    pub verified: u64,
    /// `ok` replies to `cancel`.
    pub cancelled: u64,
    errors: [u64; ERRORS.len()],
}

impl Tally {
    /// Counts an error reply.
    pub const fn count(&mut self, word: Word) {
        self.errors[word as usize] += 1;
    }

    /// A session that was cancelled, and a question about one, have the same word and so share a
    /// counter's name; they are one counter, of replies that say `cancelled`.
    fn write(&self, group: &mut Object<'_>) {
        group.number("issued", self.issued);
        group.number("resent", self.resent);
        group.number("verified", self.verified);
        for error in &ERRORS {
            let mut count = self.errors[error.word as usize];
            if error.word == Word::Cancelled {
                count += self.cancelled;
            }
            group.number(error.name, count);
        }
    }
}

/// The policy as JSON, for `otpd policy --json`.
#[must_use]
pub fn policy_line(policy: &Policy) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = Object::begin(&mut out);
    policy_fields(policy, &mut object);
    let figures = policy.figures();
    object.group("figures", |group| {
        for (name, chance) in [
            ("per_code", figures.per_code),
            ("per_address_and_day", figures.per_day),
            ("per_address_and_year", figures.per_year),
            ("per_address_until_unlock", figures.before_lock),
        ] {
            group.group(name, |group| {
                group.number("guesses", chance.guesses);
                group.number("one_in", chance.one_in());
            });
        }
    });
    object.end();
    out
}

fn policy_fields(policy: &Policy, object: &mut Object<'_>) {
    object.number("digits", policy.digits.into());
    object.secs("ttl_s", policy.ttl);
    object.number("attempts", policy.attempts.into());
    object.number("failures_per_day", policy.failures_per_day.into());
    object.number("consecutive_failures", policy.consecutive_failures.into());
    object.secs("cool_down_s", policy.cool_down);
    object.number("mails_per_hour", policy.mails_per_hour.into());
    object.number("mails_per_day", policy.mails_per_day.into());
    object.number("live_sessions", policy.live_sessions.into());
    object.number("client_per_hour", policy.client_per_hour.into());
    object.number("capacity", policy.capacity.into());
    object.number("remembered", policy.remembered.into());
}
