//! The rules against a plain model, under any schedule of commands and time.

use std::collections::HashMap;
use std::time::Duration;

use otpd::address::Address;
use otpd::clock::Moment;
use otpd::engine::policy::Policy;
use otpd::engine::{Delivery, Engine, Failure, Guess, Issue, Limit, Refusal};
use otpd::simulate::Seeded;
use proptest::prelude::*;

const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// One step of a schedule. Addresses and sessions are named by number.
#[derive(Clone, Debug)]
enum Step {
    Issue { address: usize, client: Option<u8>, ttl: Option<u64>, arrives: bool },
    Resend { session: usize, arrives: bool },
    Guess { session: usize, right: bool, purpose: bool },
    Cancel { session: usize },
    Unlock { address: usize },
    Wait { seconds: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let arrives = prop::bool::weighted(0.9);
    let ttl = prop_oneof![3 => Just(None), 1 => (30_u64..=600).prop_map(Some)];
    let client = prop_oneof![Just(None), (0..2_u8).prop_map(Some)];
    let wait = prop_oneof![
        4 => 1..90_u64,
        2 => 500..1_300_u64,
        1 => 3_500..3_700_u64,
        1 => 80_000..90_000_u64,
        1 => Just(400 * DAY),
    ];
    let step = prop_oneof![
        4 => (0..3_usize, client, ttl, arrives)
            .prop_map(|(address, client, ttl, arrives)| Step::Issue { address, client, ttl, arrives }),
        2 => (0..8_usize, arrives).prop_map(|(session, arrives)| Step::Resend { session, arrives }),
        8 => (0..8_usize, prop::bool::weighted(0.15), prop::bool::weighted(0.05))
            .prop_map(|(session, right, purpose)| Step::Guess { session, right, purpose }),
        1 => (0..8_usize).prop_map(|session| Step::Cancel { session }),
        1 => prop::bool::weighted(0.2).prop_flat_map(|often| (0..3_usize).prop_map(move |address| {
            if often { Step::Unlock { address } } else { Step::Wait { seconds: 61 } }
        })),
        4 => wait.prop_map(|seconds| Step::Wait { seconds }),
    ];
    prop::collection::vec(step, 1..150)
}

fn policies() -> impl Strategy<Value = Policy> {
    (1..=5_u8, 1..=10_u8, 3..=12_u8, 1..=4_u8, 1..=4_u32, prop_oneof![Just(1_u64), Just(60)])
        .prop_map(|(attempts, failures, consecutive, live, capacity, cool_down)| Policy {
            attempts: attempts.min(failures),
            failures_per_day: failures,
            consecutive_failures: consecutive,
            live_sessions: live,
            capacity: capacity * 2,
            client_per_hour: 6,
            cool_down: Duration::from_secs(cool_down),
            ..Policy::default()
        })
}

/// What the rules say, written down as plainly as can be.
#[derive(Default)]
struct Model {
    mails: HashMap<usize, Vec<u64>>,
    refunds: HashMap<usize, Vec<u64>>,
    failures: HashMap<usize, Vec<u64>>,
    consecutive: HashMap<usize, u64>,
    clients: HashMap<u8, Vec<u64>>,
    sessions: Vec<ModelSession>,
}

#[derive(Clone)]
struct ModelSession {
    address: usize,
    deadline: u64,
    attempts_left: u8,
    ended: Option<Refusal>,
}

fn younger(times: Option<&Vec<u64>>, now: u64, window: u64) -> Vec<u64> {
    times.into_iter().flatten().copied().filter(|time| now < time + window).collect()
}

/// The wait until fewer than `limit` of `times` are younger than `window`.
fn wait(times: Option<&Vec<u64>>, now: u64, window: u64, limit: usize) -> u64 {
    let times = younger(times, now, window);
    if times.len() < limit { 0 } else { times[times.len() - limit] + window - now }
}

impl Model {
    fn locked(&self, address: usize, now: u64, policy: &Policy) -> Option<Refusal> {
        if self.consecutive.get(&address).copied().unwrap_or(0)
            >= policy.consecutive_failures.into()
        {
            return Some(Refusal::Locked { retry_in: None });
        }
        let limit = policy.failures_per_day.into();
        let wait = wait(self.failures.get(&address), now, DAY, limit);
        (wait > 0).then_some(Refusal::Locked { retry_in: Some(Duration::from_secs(wait)) })
    }

    fn mail_waits(&self, address: usize, now: u64, policy: &Policy) -> Vec<(u64, Limit)> {
        let mails = self.mails.get(&address);
        vec![
            (wait(mails, now, policy.cool_down.as_secs(), 1), Limit::Cooldown),
            (wait(mails, now, HOUR, policy.mails_per_hour as usize), Limit::AddressHour),
            (wait(mails, now, DAY, policy.mails_per_day as usize), Limit::AddressDay),
        ]
    }

    fn live(&self, now: u64) -> impl Iterator<Item = &ModelSession> {
        self.sessions
            .iter()
            .filter(move |session| session.ended.is_none() && now < session.deadline)
    }

    fn issue_refusal(
        &self,
        address: usize,
        client: Option<u8>,
        now: u64,
        policy: &Policy,
    ) -> Option<Refusal> {
        if let Some(locked) = self.locked(address, now, policy) {
            return Some(locked);
        }
        let mut waits = self.mail_waits(address, now, policy);
        let mut lives: Vec<u64> =
            self.live(now).filter(|s| s.address == address).map(|s| s.deadline - now).collect();
        lives.sort_unstable();
        if lives.len() >= policy.live_sessions.into() {
            waits.push((
                lives[lives.len() - usize::from(policy.live_sessions)],
                Limit::LiveSessions,
            ));
        }
        if let Some(client) = client {
            let issues = self.clients.get(&client);
            waits.push((
                wait(issues, now, HOUR, policy.client_per_hour as usize),
                Limit::ClientHour,
            ));
        }
        rate_limited(waits).or_else(|| {
            (self.live(now).count() >= policy.capacity as usize).then_some(Refusal::AtCapacity)
        })
    }

    fn ended(&self, session: usize, now: u64) -> Option<Refusal> {
        match self.sessions.get(session) {
            None => Some(Refusal::NoSession),
            Some(session) if now >= session.deadline + 600 => Some(Refusal::NoSession),
            Some(ModelSession { ended: Some(ended), .. }) => Some(*ended),
            Some(session) => (now >= session.deadline).then_some(Refusal::Expired),
        }
    }

    fn spend(&mut self, address: usize, now: u64) {
        self.mails.entry(address).or_default().push(now);
    }

    /// Gives a mail back, if there were not three in a day already. Says whether it did.
    fn give_back(&mut self, address: usize, now: u64) -> bool {
        let refunds = self.refunds.entry(address).or_default();
        let given = younger(Some(refunds), now, DAY).len() < 3;
        if given {
            refunds.push(now);
            self.mails.entry(address).or_default().pop();
        }
        given
    }
}

/// The longest wait, and the limit that says so; of equal ones, either.
fn rate_limited(waits: Vec<(u64, Limit)>) -> Option<Refusal> {
    let (wait, limit) = waits.into_iter().max_by_key(|(wait, _)| *wait)?;
    let retry_in = Duration::from_secs(wait);
    (wait > 0).then_some(Refusal::RateLimited { limit, retry_in })
}

fn same(ours: &Refusal, model: &Refusal) -> bool {
    match (ours, model) {
        (Refusal::RateLimited { retry_in: a, .. }, Refusal::RateLimited { retry_in: b, .. }) => {
            a == b
        }
        (ours, model) => ours == model,
    }
}

/// The engine, and the model beside it.
struct Pair {
    engine: Engine,
    random: Seeded,
    model: Model,
    policy: Policy,
    now: u64,
    ids: Vec<String>,
    codes: Vec<String>,
    compared: Vec<(usize, usize, u64)>,
    successes: HashMap<usize, u32>,
    unlocked: bool,
}

const FAILED: Failure = Failure { temporary: true, smtp: None };

impl Pair {
    fn new(policy: Policy) -> Self {
        let mut random = Seeded::new(1);
        Self {
            engine: Engine::new(policy.clone(), &mut random).expect("an engine"),
            random,
            model: Model::default(),
            policy,
            now: 0,
            ids: Vec::new(),
            codes: Vec::new(),
            compared: Vec::new(),
            successes: HashMap::new(),
            unlocked: false,
        }
    }

    fn moment(&self) -> Moment {
        Moment::from_millis(self.now * 1_000)
    }

    fn id(&self, session: usize) -> String {
        self.ids.get(session).cloned().unwrap_or_default()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Issue { address, client, ttl, arrives } => {
                self.issue(address, client, ttl, arrives);
            }
            Step::Resend { session, arrives } => self.resend(session, arrives),
            Step::Guess { session, right, purpose } => self.guess(session, right, purpose),
            Step::Cancel { session } => self.cancel(session),
            Step::Unlock { address } => {
                self.engine.unlock(&spelling(address, self.ids.len()));
                self.model.mails.remove(&address);
                self.model.refunds.remove(&address);
                self.model.failures.remove(&address);
                self.model.consecutive.remove(&address);
                self.unlocked = true;
            }
            Step::Wait { seconds } => self.now += seconds,
        }
        let live = self.model.live(self.now).count();
        assert_eq!(self.engine.live(self.moment()) as usize, live);
        assert!(live <= self.policy.capacity as usize);
    }

    fn issue(&mut self, address: usize, client: Option<u8>, ttl: Option<u64>, arrives: bool) {
        let expected = self.model.issue_refusal(address, client, self.now, &self.policy);
        let now = self.moment();
        let name = client.map(|client| client.to_string());
        let request = Issue {
            to: spelling(address, self.ids.len()),
            ttl: ttl.map(Duration::from_secs),
            client: name.as_deref(),
            extras: None,
        };
        let letter = match self.engine.issue(request, now, &mut self.random) {
            Ok(letter) => letter,
            Err(refusal) => {
                assert!(
                    expected.is_some_and(|model| same(&refusal, &model)),
                    "{refusal:?} {expected:?}"
                );
                return;
            }
        };
        assert_eq!(expected, None);
        let mut code = Vec::new();
        letter.code.write(&mut code);
        let code = String::from_utf8(code).expect("digits");
        let ticket = letter.ticket;
        self.model.spend(address, self.now);
        if let Some(client) = client {
            self.model.clients.entry(client).or_default().push(self.now);
        }
        if !arrives {
            let told = self.engine.delivered(&ticket, Err(FAILED), now);
            assert_eq!(told.err(), Some(Refusal::DeliveryFailed(FAILED)));
            if self.model.give_back(address, self.now)
                && let Some(client) = client
            {
                self.model.clients.entry(client).or_default().pop();
            }
            return;
        }
        let mailed = self.engine.delivered(&ticket, Ok(Delivery::Sent), now).expect("mailed");
        self.ids.push(mailed.session.as_str().to_owned());
        assert_eq!(mailed.attempts_left, self.policy.attempts);
        self.codes.push(code);
        self.model.sessions.push(ModelSession {
            address,
            deadline: self.now + ttl.unwrap_or(600),
            attempts_left: self.policy.attempts,
            ended: None,
        });
    }

    fn resend(&mut self, session: usize, arrives: bool) {
        let address = self.model.sessions.get(session).map(|session| session.address);
        let expected = self.model.ended(session, self.now).or_else(|| {
            let address = address?;
            self.model
                .locked(address, self.now, &self.policy)
                .or_else(|| rate_limited(self.model.mail_waits(address, self.now, &self.policy)))
        });
        let (id, now) = (self.id(session), self.moment());
        let letter = match self.engine.resend(&id, now) {
            Ok(letter) => letter,
            Err(refusal) => {
                assert!(
                    expected.is_some_and(|model| same(&refusal, &model)),
                    "{refusal:?} {expected:?}"
                );
                return;
            }
        };
        assert_eq!(expected, None);
        let mut code = Vec::new();
        letter.code.write(&mut code);
        assert_eq!(code, self.codes[session].as_bytes(), "not the same code");
        let ticket = letter.ticket;
        let address = address.expect("a session");
        self.model.spend(address, self.now);
        let outcome = if arrives { Ok(Delivery::Sent) } else { Err(FAILED) };
        assert_eq!(self.engine.delivered(&ticket, outcome, now).is_ok(), arrives);
        if !arrives {
            self.model.give_back(address, self.now);
        }
    }

    fn guess(&mut self, session: usize, right: bool, purpose: bool) {
        let ended = self.model.ended(session, self.now);
        let address = self.model.sessions.get(session).map(|session| session.address);
        let locked = address.and_then(|a| self.model.locked(a, self.now, &self.policy));
        let refused = ended.or(locked).or_else(|| purpose.then_some(Refusal::WrongPurpose));
        let code = match self.codes.get(session) {
            Some(code) if right => code.clone(),
            Some(code) => crate::harness::other_code(code, 1),
            None => "123456".to_owned(),
        };
        let guess = Guess { code: &code, purpose: purpose.then_some("p") };
        let (id, now) = (self.id(session), self.moment());
        let told = self.engine.verify(&id, &guess, now).map(|_| ()).err();
        let Some(session_record) =
            self.model.sessions.get_mut(session).filter(|_| refused.is_none())
        else {
            assert_eq!(told, refused);
            return;
        };
        let address = session_record.address;
        session_record.attempts_left -= 1;
        if right {
            assert_eq!(told, None);
            session_record.ended = Some(Refusal::AlreadyUsed);
            self.model.consecutive.remove(&address);
            *self.successes.entry(session).or_default() += 1;
            return;
        }
        let attempts_left = session_record.attempts_left;
        if attempts_left == 0 {
            session_record.ended = Some(Refusal::AttemptsUsed);
        }
        assert_eq!(told, Some(Refusal::WrongCode { attempts_left }));
        self.model.failures.entry(address).or_default().push(self.now);
        *self.model.consecutive.entry(address).or_default() += 1;
        self.compared.push((address, session, self.now));
    }

    fn cancel(&mut self, session: usize) {
        let expected = self.model.ended(session, self.now);
        let (id, now) = (self.id(session), self.moment());
        assert_eq!(self.engine.cancel(&id, now).err(), expected);
        if expected.is_none() {
            self.model.sessions[session].ended = Some(Refusal::Cancelled);
        }
    }

    /// The promises themselves, counted from what was compared and nothing else.
    fn promises(&self) {
        for session in 0..self.codes.len() {
            let guesses = self.compared.iter().filter(|(_, s, _)| *s == session).count();
            assert!(guesses <= self.policy.attempts.into(), "{guesses} guesses at one code");
            assert!(self.successes.get(&session).is_none_or(|count| *count == 1));
        }
        if self.unlocked {
            return;
        }
        for (address, _, from) in &self.compared {
            let within = |(a, _, at): &&(usize, usize, u64)| {
                a == address && (*from..from + DAY).contains(at)
            };
            let guesses = self.compared.iter().filter(within).count();
            assert!(guesses <= self.policy.failures_per_day.into(), "{guesses} guesses in a day");
        }
    }
}

/// The same mailbox, written differently each time.
fn spelling(address: usize, turn: usize) -> Address {
    let text = match turn % 3 {
        0 => format!("user{address}@example.org"),
        1 => format!("User{address}+tag{turn}@Example.ORG"),
        _ => format!("USER{address}+@example.org"),
    };
    Address::parse(&text).expect("an address")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_says(policy in policies(), steps in steps()) {
        let mut pair = Pair::new(policy);
        for step in &steps {
            pair.step(step);
        }
        pair.promises();
    }
}

/// The headline: whoever does nothing but guess gets ten guesses in any 24 hours, and a hundred
/// until an operator looks.
#[test]
fn an_attack_gets_ten_guesses_a_day_and_a_hundred_in_all() {
    let mut pair = Pair::new(Policy::default());
    for _ in 0..3 * DAY / 60 {
        pair.issue(0, None, None, true);
        for session in pair.codes.len().saturating_sub(4)..pair.codes.len() {
            for _ in 0..6 {
                pair.guess(session, false, false);
            }
            pair.resend(session, true);
        }
        pair.now += 60;
    }
    pair.promises();
    let in_a_day = |day: u64| pair.compared.iter().filter(|(.., at)| at / DAY == day).count();
    assert_eq!(
        (in_a_day(0), pair.compared.len()),
        (10, 30),
        "the attack was not stopped, or did not attack"
    );
    for _ in 0..20 * DAY / HOUR {
        pair.issue(0, None, None, true);
        for _ in 0..6 {
            pair.guess(pair.codes.len() - 1, false, false);
        }
        pair.now += HOUR;
    }
    pair.promises();
    assert_eq!(pair.compared.len(), 100);
}

/// Two million strangers' addresses push nobody's counters out.
#[test]
fn nobodys_counters_are_pushed_out() {
    let mut pair =
        Pair::new(Policy { remembered: 20_000, capacity: 1_000_000, ..Policy::default() });
    pair.issue(0, None, None, true);
    for _ in 0..5 {
        pair.guess(0, false, false);
    }
    let mut refused = 0;
    for stranger in 0..100_000 {
        let to = Address::parse(&format!("stranger{stranger}@example.org")).expect("an address");
        let request = Issue { to, ttl: None, client: None, extras: None };
        let now = pair.moment();
        match pair.engine.issue(request, now, &mut pair.random) {
            Ok(_) => {}
            Err(refusal) => {
                assert_eq!(refusal, Refusal::AtCapacity);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 80_001);
    pair.now += 700;
    let request = Issue { to: spelling(0, 1), ttl: None, client: None, extras: None };
    let now = pair.moment();
    let ticket =
        pair.engine.issue(request, now, &mut pair.random).expect("known addresses go on").ticket;
    let mailed = pair.engine.delivered(&ticket, Ok(Delivery::Sent), now).expect("mailed");
    let id = mailed.session.as_str().to_owned();
    let wrong = Guess { code: "000000", purpose: None };
    let answers: Vec<_> = (0..6)
        .map(|_| pair.engine.verify(&id, &wrong, now).map(|_| ()).expect_err("wrong"))
        .collect();
    assert_eq!(answers[4], Refusal::WrongCode { attempts_left: 0 });
    let request = Issue { to: spelling(0, 2), ttl: None, client: None, extras: None };
    let later = Moment::from_millis((pair.now + 100) * 1_000);
    let refusal = pair.engine.issue(request, later, &mut pair.random).expect_err("ten were wrong");
    assert!(matches!(refusal, Refusal::Locked { retry_in: Some(_) }), "{refusal:?}");
}
