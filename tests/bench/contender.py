"""What all who are measured have in common: sessions, guesses at them, and proof of the replies."""

import random

from driver import fail

# One under the five that each allows: the fifth would end the session.
GUESSES_PER_SESSION = 4
# A pass over the sessions draws no more of them than this; with more, it is a sample.
PASS = 1_000_000
# Codes are unknown to the driver where only a hash of them is kept. A wrong one is right by chance
# once in a million; more than this in one burst is a fault.
LUCKY_GUESSES = 10
# In a round, at the most; the first are also the codes that are known of a large table, by rounds.
RIGHT_ANSWERS = 10_000
ROUND_TRIPS = 20_000
# A second of work is written in so many pieces.
CHUNKS = 20


def address(n):
    """Addresses of 20 characters, all different."""
    return f"u{n:07d}@example.org"


def code(n):
    """The code of the n-th session of a rival that was filled by us."""
    return f"{n * 7919 % 1_000_000:06d}"


def wrong(digits):
    return f"{(int(digits) + 1) % 1_000_000:06d}"


class Contender:
    """One who issues and verifies codes. A rival says what it does and what it leaves out."""

    name = about = lacks = None
    # What the replies contain, of a wrong code and of a right one.
    wrong_word = right_word = None
    lucky = 0

    def __init__(self):
        self.child, self.sessions, self.guesses, self.rights, self.passes = None, 0, [], [], 0
        self.chance = random.Random(1)
        self.bytes_a_session = None

    # -- for each to say

    def start(self):
        """A new process, ready or not."""
        raise NotImplementedError

    def fill(self, sessions):
        """So many live sessions in a process that has none."""
        raise NotImplementedError

    def guess(self, n):
        """A wrong code for the n-th session, as bytes."""
        raise NotImplementedError

    def answer(self, n):
        """The right code for the n-th session, as bytes."""
        raise NotImplementedError

    def known(self):
        """The sessions whose code the driver knows."""
        return range(self.sessions)

    def burst(self, sessions):
        """How many commands are about a second of work, or none if it is hopeless."""
        raise NotImplementedError

    # -- the same for all

    def ready(self, sessions):
        """A fresh process with so many live sessions, and the memory that each took."""
        self.end()
        self.child = self.start()
        self.ping()
        before = self.child.memory()
        self.sessions = sessions
        self.fill(sessions)
        self.bytes_a_session = (self.child.memory() - before) / sessions
        self.aim()

    def aim(self):
        """Guesses at every session once, in random order, and again; right codes for half of them."""
        known = self.known()
        self.rights = self.chance.sample(known, min(len(known), self.sessions // 2))
        self.guesses, self.passes = [], GUESSES_PER_SESSION

    def wrong_bursts(self, count):
        """Yields commands until these are `count`, each at a session that it leaves live."""
        while count > 0:
            if not self.guesses and not self.passes:
                self.ready(self.sessions)
            if not self.guesses:
                self.guesses = self.chance.sample(range(self.sessions), min(self.sessions, PASS))
                self.passes -= 1
            size = min(count, self.chunk())
            burst = self.guesses[-size:]
            del self.guesses[-size:]
            count -= len(burst)
            yield [self.guess(n) for n in burst]

    def right_bursts(self, count):
        """The same with right codes, each of which ends its session; at most half of them end."""
        while count > 0:
            if not self.rights:
                self.ready(self.sessions)
            size = min(count, self.chunk())
            burst = self.rights[-size:]
            del self.rights[-size:]
            count -= len(burst)
            yield [self.answer(n) for n in burst]

    def chunk(self):
        """As many as are written at once: some 10 to 50 ms of work, so that some find the cores free."""
        return max(1, self.burst(self.sessions) // CHUNKS)

    def right_burst(self, sessions):
        """The same as `burst`, of right codes."""
        return min(self.burst(sessions), RIGHT_ANSWERS, 10 * sessions)

    def trips(self, sessions):
        """How many commands in lock-step are enough."""
        return min(self.burst(sessions) // 4, ROUND_TRIPS)

    def check(self, replies, count, word):
        """All replies are what was meant, but for wrong codes that were right by chance."""
        found = replies.count(word)
        if found != count and not (word == self.wrong_word and count - found <= self.lucky):
            fail(f"{self.name}: {found} of {count} replies have {word}; {replies[:300]}")

    def end(self):
        if self.child:
            self.child.end()
        self.child, self.guesses, self.rights, self.passes = None, [], [], 0
