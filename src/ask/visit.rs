//! One person, one code: what they are asked, what they did, and how it ended. Knows nothing of
//! terminals.

use std::time::Duration;

use crate::address::Address;
use crate::clock::{Moment, secs_up};
use crate::engine::{Delivery, Extras, Guess, Issue, Limit, Mailed, Refusal, Standing, State};
use crate::mail::post::Post;
use crate::protocol::reply::Reply;
use crate::service::{Fared, Mail, News, Service};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The code was right.
    Verified,
    /// It was not: wrong codes used up, expired, locked, too many mails, end of input.
    Denied,
    /// The mail could not be sent.
    Unsent,
    /// A signal of this number ended it.
    Interrupted(i32),
}

/// Where a visit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The mail is under way: there is nothing to type yet.
    Mailing,
    /// A code can be typed.
    Asking,
    /// It is over.
    Over(End),
}

/// A sentence for the person, and whether it is good news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// The sentence; empty for none.
    pub text: String,
    /// What it is.
    pub tone: Tone,
}

/// See [`Notice`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Neither good nor bad.
    #[default]
    Plain,
    /// Good.
    Good,
    /// Bad.
    Bad,
}

/// What is asked of whom.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whom to mail.
    pub to: Address,
    /// How the address is shown.
    pub shown_to: String,
    /// What for.
    pub purpose: Option<Box<str>>,
}

/// A visit.
#[derive(Debug)]
pub struct Visit {
    service: Service,
    question: Question,
    session: String,
    stage: Stage,
    /// What was said where about the mail.
    heading: Vec<String>,
    notice: Notice,
    /// The reply of the last `verify`, or the error that ended it.
    last: Vec<u8>,
}

impl Visit {
    /// Has the code mailed.
    #[must_use]
    pub fn begin(service: Service, question: Question) -> Self {
        let mut visit = Self {
            service,
            question,
            session: String::new(),
            stage: Stage::Mailing,
            heading: Vec::new(),
            notice: Notice::default(),
            last: Vec::new(),
        };
        visit.heading = vec![format!("Sending a code to {} …", visit.question.shown_to)];
        let purpose = visit.question.purpose.clone();
        let extras = purpose.map(|it| Extras { purpose: Some(it), ..Extras::default() });
        let to = visit.question.to.clone();
        let issue = Issue { to, ttl: None, client: None, extras: extras.map(Box::new) };
        let asked = visit.service.issue(issue);
        visit.asked(asked);
        visit
    }

    /// Where it stands.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// What was mailed where, a line each.
    #[must_use]
    pub fn heading(&self) -> &[String] {
        &self.heading
    }

    /// The newest sentence.
    #[must_use]
    pub const fn notice(&self) -> &Notice {
        &self.notice
    }

    /// Says something else.
    pub fn say(&mut self, text: impl Into<String>, tone: Tone) {
        self.notice = Notice { text: text.into(), tone };
    }

    /// How the session stands; none before there is one.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.service.engine.standing(&self.session, self.service.now()).ok()
    }

    /// Digits of the code.
    #[must_use]
    pub fn digits(&self) -> usize {
        self.service.engine.policy().digits.into()
    }

    /// Whether a mail is under way.
    #[must_use]
    pub fn is_mailing(&self) -> bool {
        !self.service.is_idle()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.service.now()
    }

    /// The threads that carry mail, if there are any.
    #[must_use]
    pub const fn post(&self) -> Option<&Post> {
        self.service.post()
    }

    /// The line for machines that tells how it ended: the reply of the last `verify`, or the error
    /// that ended it. Never the reply to `issue`.
    #[must_use]
    pub fn last_reply(&self) -> &[u8] {
        &self.last
    }

    /// Looks whether the mail has fared somehow, and whether the code has become too old.
    pub fn look(&mut self) {
        while let Some((_, fared)) = self.service.arrived() {
            self.fared(fared);
        }
        let is_old = self.standing().is_some_and(|standing| standing.state == State::Expired);
        if self.stage == Stage::Asking && is_old {
            self.refuse(&Refusal::Expired, End::Denied);
        }
    }

    /// Checks a code, however it is written.
    pub fn submit(&mut self, code: &str) {
        let guess = Guess { code, purpose: self.question.purpose.as_deref() };
        self.last.clear();
        let now = self.service.now();
        match self.service.engine.verify(&self.session, &guess, now) {
            Ok(verified) => {
                Reply::to(None, &mut self.last).verified(&self.session, &verified);
                self.say(format!("{} is verified.", self.question.shown_to), Tone::Good);
                self.stage = Stage::Over(End::Verified);
            }
            Err(refusal @ Refusal::WrongCode { attempts_left: 1.. }) => {
                Reply::to(None, &mut self.last).refused(&refusal);
                self.say(sentence(&refusal), Tone::Bad);
            }
            Err(refusal @ Refusal::BadCode { .. }) => {
                Reply::to(None, &mut self.last).refused(&refusal);
                self.say(format!("A code is {} digits.", self.digits()), Tone::Bad);
            }
            Err(refusal) => self.refuse(&refusal, End::Denied),
        }
    }

    /// Has the same code mailed again, if it is time for that.
    pub fn resend(&mut self) {
        if !self.is_mailing() {
            let asked = self.service.resend(&self.session);
            self.say("Sending it again …", Tone::Plain);
            self.asked(asked);
        }
    }

    /// The person has left.
    pub fn leave(&mut self, end: End) {
        let now = self.service.now();
        let _ = self.service.engine.cancel(&self.session, now);
        if self.last.is_empty() {
            Reply::to(None, &mut self.last).refused(&Refusal::Cancelled);
        }
        self.say("Not verified.", Tone::Plain);
        self.stage = Stage::Over(end);
    }

    fn asked(&mut self, asked: Result<Mail, Refusal>) {
        match asked {
            Ok(Mail::UnderWay(_)) => {}
            Ok(Mail::Fared(fared)) => self.fared(fared),
            Err(refusal) if self.stage == Stage::Mailing => {
                let end = match refusal {
                    Refusal::AtCapacity | Refusal::Internal => End::Unsent,
                    _ => End::Denied,
                };
                self.refuse(&refusal, end);
            }
            Err(refusal @ Refusal::RateLimited { .. }) => self.say(sentence(&refusal), Tone::Plain),
            Err(refusal) => self.refuse(&refusal, End::Denied),
        }
    }

    fn fared(&mut self, fared: Fared) {
        let why = match fared.news() {
            Some(News::Failed { reason, .. }) => format!(" ({reason})"),
            _ => String::new(),
        };
        let is_first = fared.is_first();
        let digits = self.digits();
        match self.service.settle(fared) {
            Ok((mailed, file)) => {
                self.heading = heading(&mailed, digits, &self.question.shown_to, file.as_deref());
                mailed.session.as_str().clone_into(&mut self.session);
                match is_first {
                    true => self.stage = Stage::Asking,
                    false => self.say("It was sent again: the same code.", Tone::Plain),
                }
            }
            Err(refusal) if is_first => {
                self.refuse(&refusal, End::Unsent);
                self.notice.text += &why;
            }
            Err(refusal) => self.say(format!("{}{why}", sentence(&refusal)), Tone::Bad),
        }
    }

    fn refuse(&mut self, refusal: &Refusal, end: End) {
        self.last.clear();
        Reply::to(None, &mut self.last).refused(refusal);
        self.say(sentence(refusal), Tone::Bad);
        self.stage = Stage::Over(end);
    }
}

fn heading(mailed: &Mailed<'_>, digits: usize, to: &str, file: Option<&str>) -> Vec<String> {
    let first = match mailed.delivery {
        Delivery::Sent => format!("A code of {digits} digits was sent to {to}."),
        Delivery::Uncertain => {
            format!("A code of {digits} digits should be on its way to {to}.")
        }
    };
    let file = file.map(|file| format!("The message is the file {file}"));
    std::iter::once(first).chain(file).collect()
}

/// A refusal, for people.
fn sentence(refusal: &Refusal) -> String {
    let mails = |retry_in: &Duration| format!("It can be sent again in {}.", words(*retry_in));
    match refusal {
        Refusal::WrongCode { attempts_left: 0 } | Refusal::AttemptsUsed => {
            "That is not the code, and there are no attempts left.".to_owned()
        }
        Refusal::WrongCode { attempts_left: 1 } => {
            "That is not the code. 1 attempt left.".to_owned()
        }
        Refusal::WrongCode { attempts_left } => {
            format!("That is not the code. {attempts_left} attempts left.")
        }
        Refusal::Expired => "The code has expired.".to_owned(),
        Refusal::Locked { retry_in: Some(retry_in) } => {
            let wait = words(*retry_in);
            format!("Too many wrong codes for this address. Try again in {wait}.")
        }
        Refusal::Locked { retry_in: None } => {
            "Too many wrong codes for this address. Only an operator can unlock it.".to_owned()
        }
        Refusal::RateLimited { limit: Limit::Cooldown, retry_in } => mails(retry_in),
        Refusal::RateLimited { retry_in, .. } => {
            format!("Too many codes were asked for. {}", mails(retry_in))
        }
        Refusal::DeliveryFailed(failure) if failure.temporary => {
            "The mail could not be sent; trying later may help.".to_owned()
        }
        Refusal::DeliveryFailed(_) => "The mail could not be sent.".to_owned(),
        Refusal::AtCapacity => "There are too many codes under way.".to_owned(),
        Refusal::Internal => "The operating system gives no random bytes.".to_owned(),
        _ => "The code is of no use any more.".to_owned(),
    }
}

/// A time in words, rounded up.
#[must_use]
pub fn words(span: Duration) -> String {
    let (number, unit) = match secs_up(span) {
        secs @ 0..120 => (secs, "second"),
        secs @ 120..7_200 => (secs.div_ceil(60), "minute"),
        secs => (secs.div_ceil(3_600), "hour"),
    };
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{s}")
}
