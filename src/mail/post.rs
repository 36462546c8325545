//! Carries messages in threads of their own, so that nobody waits for somebody else's mail server.
//!
//! A bounded queue in front of a few workers, each with a transport of its own. What became of a
//! message comes back as an event that can be polled for.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{DeliveryError, Leave, Message, Receipt, Transport};
use crate::clock::Moment;

/// Messages that may wait for a worker. At 1.5 KB each that is 1.5 MB; who comes later is told to.
const QUEUE_MAX: usize = 1_000;

/// How long a worker without work keeps what it holds for the next message. Servers close a silent
/// connection after about five minutes (RFC 5321 §4.5.3.2.7), and it holds a place there until then.
const REST_AFTER: Duration = Duration::from_secs(60);

/// How long the end waits for workers that have something to give back.
const PARTING: Duration = Duration::from_millis(100);

/// The number of a message that was handed to a [`Post`].
pub type Number = u64;

/// What became of a message.
pub type Outcome = Result<Receipt, DeliveryError>;

/// A queue and its workers.
pub struct Post {
    via: &'static str,
    queue: Arc<Queue>,
    outcomes: Receiver<(Number, Outcome)>,
    bell: UnixStream,
    patience: Duration,
    given: Number,
    /// Leave to hand over what has not come back, by number.
    under_way: HashMap<Number, Leave>,
}

/// What waits for a worker.
#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    arrived: Condvar,
    /// Whether no more will come. Set under the lock of `jobs`.
    is_closed: AtomicBool,
}

/// What a worker does next.
enum Next {
    Carry(Job),
    Rest,
    End,
}

struct Job {
    number: Number,
    message: Message,
    /// When it has waited too long.
    stale_at: Moment,
}

impl Queue {
    /// A worker that panicked ends the process, so no lock is ever poisoned; if it were, what it
    /// guards is whole all the same.
    fn jobs(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message, as soon as there is one.
    fn next(&self, may_rest: bool) -> Next {
        let mut jobs = self.jobs();
        loop {
            match jobs.pop_front() {
                _ if self.is_closed.load(Relaxed) => return Next::End,
                Some(job) => return Next::Carry(job),
                None if may_rest => {
                    let waited = self.arrived.wait_timeout(jobs, REST_AFTER);
                    let (guard, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                    if waited.timed_out() && guard.is_empty() {
                        return Next::Rest;
                    }
                    jobs = guard;
                }
                None => jobs = self.arrived.wait(jobs).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Post {
    /// Starts one worker for each transport. A message waits for one no longer than `patience`.
    ///
    /// # Errors
    /// What the system says when there is no thread to be had.
    pub fn start(
        transports: Vec<Box<dyn Transport + Send>>,
        patience: Duration,
    ) -> io::Result<Self> {
        let via = transports.first().map_or("", |transport| transport.via());
        let queue = Arc::new(Queue::default());
        let (sender, outcomes) = channel();
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        for transport in transports {
            let (queue, sender, ringer) = (Arc::clone(&queue), sender.clone(), ringer.try_clone()?);
            let work = move || work(transport, &queue, &sender, ringer);
            std::thread::Builder::new().name("otpd-mail".to_owned()).spawn(work)?;
        }
        Ok(Self { via, queue, outcomes, bell, patience, given: 0, under_way: HashMap::new() })
    }

    /// The name of its transports.
    #[must_use]
    pub const fn via(&self) -> &'static str {
        self.via
    }

    /// Hands a message over. Its outcome comes later, under the number that is given back.
    ///
    /// # Errors
    /// The queue is full.
    pub fn send(&mut self, message: Message, now: Moment) -> Result<Number, DeliveryError> {
        let mut jobs = self.queue.jobs();
        if jobs.len() >= QUEUE_MAX {
            return Err(DeliveryError::without_reply(true, "the queue is full"));
        }
        self.given += 1;
        self.under_way.insert(self.given, message.leave.clone());
        jobs.push_back(Job { number: self.given, message, stale_at: now + self.patience });
        drop(jobs);
        self.queue.arrived.notify_one();
        Ok(self.given)
    }

    /// An outcome that has come, or that of a message that has waited too long.
    pub fn take(&mut self, now: Moment) -> Option<(Number, Outcome)> {
        // What rang the bell is taken from the channel below; one byte may stand for many.
        let mut rung = [0; 64];
        while (&self.bell).read(&mut rung).is_ok_and(|count| count == rung.len()) {}
        let outcome = self.outcomes.try_recv().ok().or_else(|| self.stale(now));
        if let Some((number, _)) = &outcome {
            self.under_way.remove(number);
        }
        outcome
    }

    /// When the next message will have waited too long, if none is taken up before.
    #[must_use]
    pub fn next_stale(&self) -> Option<Moment> {
        self.queue.jobs().front().map(|job| job.stale_at)
    }

    /// Takes a message back that was not handed over. False if it may have been.
    pub fn withdraw(&mut self, number: Number) -> bool {
        self.queue.jobs().retain(|job| job.number != number);
        self.under_way.remove(&number).is_some_and(|leave| leave.withdraw())
    }

    /// Messages that wait for a worker.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.jobs().len()
    }

    /// Messages whose outcome has not come, those that wait included.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    fn stale(&self, now: Moment) -> Option<(Number, Outcome)> {
        let mut jobs = self.queue.jobs();
        jobs.front().filter(|job| now >= job.stale_at)?;
        let job = jobs.pop_front()?;
        Some((
            job.number,
            Err(DeliveryError::without_reply(true, "it waited too long for a connection")),
        ))
    }
}

/// Workers that are idle end now; one that still carries something ends with the process.
impl Drop for Post {
    fn drop(&mut self) {
        let jobs = self.queue.jobs();
        self.queue.is_closed.store(true, Relaxed);
        drop(jobs);
        self.queue.arrived.notify_all();
        // The last worker takes the other end of this channel with it.
        while self.outcomes.recv_timeout(PARTING).is_ok() {}
    }
}

/// Becomes readable when an outcome has come.
impl AsFd for Post {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("via", &self.via).finish_non_exhaustive()
    }
}

/// The life of a worker: as long as somebody listens.
fn work(
    mut transport: Box<dyn Transport + Send>,
    queue: &Queue,
    outcomes: &Sender<(Number, Outcome)>,
    mut ringer: UnixStream,
) {
    let mut has_worked = false;
    loop {
        match queue.next(has_worked) {
            Next::Carry(job) => {
                let outcome = transport.carry(&job.message);
                has_worked = true;
                if outcomes.send((job.number, outcome)).is_err() {
                    return;
                }
                // A bell that is full of rings is heard all the same.
                let _ = ringer.write(&[0]);
            }
            Next::Rest => {
                transport.rest(REST_AFTER);
                has_worked = false;
            }
            Next::End => return transport.rest(Duration::ZERO),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::SyncSender;

    use super::*;
    use crate::mail::Receipt;

    /// Says that it has begun, waits for a word, and says what became of its leave.
    #[derive(Debug)]
    struct Slow {
        takes_first: bool,
        begun: SyncSender<()>,
        word: Receiver<()>,
    }

    impl Transport for Slow {
        fn via(&self) -> &'static str {
            "slow"
        }

        fn carry(&mut self, message: &Message) -> Outcome {
            let first = self.takes_first && message.leave.take();
            self.begun.send(()).expect("somebody listens");
            let _ = self.word.recv();
            match first || message.leave.take() {
                true => Ok(Receipt::sent()),
                false => Err(DeliveryError::without_reply(true, "too late")),
            }
        }
    }

    fn post(takes_first: bool) -> (Post, Receiver<()>, Sender<()>) {
        let ((begun, has_begun), (go, word)) = (std::sync::mpsc::sync_channel(9), channel());
        let slow = Box::new(Slow { takes_first, begun, word });
        let post = Post::start(vec![slow], Duration::from_secs(30)).expect("a thread");
        (post, has_begun, go)
    }

    fn message() -> Message {
        Message::new("a@x.org", "token", Vec::new().into())
    }

    #[test]
    fn a_message_is_taken_back_until_it_is_handed_over() {
        for takes_first in [false, true] {
            let (mut post, has_begun, go) = post(takes_first);
            let begun = post.send(message(), Moment::START).expect("room");
            has_begun.recv().expect("it began");
            let waits = post.send(message(), Moment::START).expect("room");
            assert_eq!((post.queued(), post.under_way()), (1, 2));
            assert!(post.withdraw(waits));
            assert_eq!(post.withdraw(begun), !takes_first);
            assert_eq!((post.queued(), post.under_way()), (0, 0));
            drop(go);
        }
    }

    #[test]
    fn a_message_waits_no_longer_than_it_may_and_no_more_wait_than_there_is_room() {
        let (mut post, has_begun, go) = post(true);
        post.send(message(), Moment::START).expect("room");
        has_begun.recv().expect("it began");
        for _ in 0..QUEUE_MAX {
            post.send(message(), Moment::from_millis(1)).expect("room");
        }
        let full = post.send(message(), Moment::START).expect_err("no room");
        assert!(full.failure.temporary);
        assert_eq!(post.next_stale(), Some(Moment::from_millis(30_001)));
        assert!(post.take(Moment::from_millis(30_000)).is_none());
        let (number, outcome) = post.take(Moment::from_millis(30_001)).expect("it is stale");
        assert!(number == 2 && outcome.is_err_and(|err| err.failure.temporary));
        drop(go);
    }
}
