"""The daemon under its default policy, with an outbox of its own on tmpfs."""

import os
import re
import shutil
import tempfile

from contender import LUCKY_GUESSES, Contender, address
from driver import Child, fail, pipelined

# After so many issues their messages are removed, as by somebody who sends them on. A million files
# would take 5 GB, and the kernel's pauses while it finds them would hide the daemon's own.
PICK_UP = 10_000
# So many codes are read from messages, for right answers: more than are asked for.
KNOWN = 150_000
ID_BYTES = 32
CODE = re.compile(rb"^\d{6}(?=\r?\n)", re.M)


def issue(n):
    return b'{"cmd":"issue","to":"%s"}\n' % address(n).encode()


def blocks_of(count):
    """Numbers of as many issues, in blocks of messages that are picked up together."""
    for start in range(0, count, PICK_UP):
        yield range(start, min(start + PICK_UP, count))


def issued(replies, field, count):
    """A field of every reply to `issue`, all of which must have succeeded."""
    values = re.findall(rb'^(?={"ok":true,"session":).*?"%s":"([^"]+)"' % field, replies, re.M)
    if len(values) != count:
        fail(f"{len(values)} of {count} issues succeeded; {replies[:300]}")
    return values


class Daemon(Child):
    """A process, and the directory that its messages go to."""

    def __init__(self, binary, tmpfs, *flags):
        self.outbox = tempfile.mkdtemp(dir=tmpfs)
        super().__init__([binary, "serve", "--log", "error", "--outbox", self.outbox, *flags])

    def pick_up(self):
        """Removes all messages."""
        for file in os.scandir(self.outbox):
            os.unlink(file.path)

    def end(self):
        super().end()
        shutil.rmtree(self.outbox)


class Otpd(Contender):
    name = "otpd"
    wrong_word, right_word = b'"error":"wrong_code"', b'{"ok":true,"session":'
    lucky = LUCKY_GUESSES
    binary = tmpfs = None

    def start(self, *flags):
        # A run may take longer than the ten minutes of a code's default life.
        room = ("--ttl", "24h", "--capacity", str(max(1_000_000, self.sessions)))
        return Daemon(self.binary, self.tmpfs, *(flags or room))

    def ready(self, sessions):
        self.sessions = sessions
        super().ready(sessions)

    def ping(self):
        self.child.ask(b'{"cmd":"verify","session":"none","code":"123456"}\n')

    def fill(self, sessions):
        self.ids, self.codes = bytearray(), {}
        for block in blocks_of(sessions):
            replies = pipelined(self.child, [issue(n) for n in block])[0]
            self.take(replies, block)

    def take(self, replies, block):
        """Notes the sessions of these issues, and the codes of some, and removes the messages."""
        self.ids += b"".join(issued(replies, b"session", len(block)))
        if len(self.ids) != ID_BYTES * block.stop:
            fail(f"session ids are not of {ID_BYTES} bytes")
        files = issued(replies, b"file", len(block))
        some = -(-len(block) * min(KNOWN, self.sessions) // self.sessions)
        for n, file in list(zip(block, files))[:some]:
            with open(file, "rb") as letter:
                self.codes[n] = CODE.search(letter.read())[0]
        self.child.pick_up()

    def known(self):
        return list(self.codes)

    def verify(self, n, digits):
        session = self.ids[ID_BYTES * n : ID_BYTES * (n + 1)]
        return b'{"cmd":"verify","session":"%s","code":"%s"}\n' % (session, digits)

    def guess(self, n):
        return self.verify(n, b"%06d" % (n * 7919 % 1_000_000))

    def answer(self, n):
        return self.verify(n, self.codes[n])

    def burst(self, sessions):
        return 200_000
