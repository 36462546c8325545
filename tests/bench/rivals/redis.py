"""Redis or Valkey, as a team would build it: a hash per session, and a script that does the checking.

Driven without a client library, which is in Redis' favour: the commands are made before the clock
starts, and a reply is one line.
"""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time

from contender import Contender, code, wrong
from driver import Child, fail, pipelined

TTL_S = 86_400
BLOCK = 20_000
# Counts the attempt, compares, deletes on success and when attempts are used up.
VERIFY = """
local code = redis.call('HGET', KEYS[1], 'code')
if not code then return -1 end
local tries = redis.call('HINCRBY', KEYS[1], 'tries', 1)
if code == ARGV[1] then redis.call('DEL', KEYS[1]) return 1 end
if tries >= 5 then redis.call('DEL', KEYS[1]) end
return 0
"""

EXPIRE_ALL = """
for _, key in ipairs(redis.call('KEYS', 'otp:*')) do redis.call('PEXPIREAT', key, ARGV[1]) end
return 1
"""


def command(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def key(n):
    """128 random-looking bits, as a session id has, that need not be remembered."""
    return "otp:" + hashlib.blake2b(n.to_bytes(8, "big"), digest_size=16).hexdigest()


class Server(Child):
    """A process, with the socket as its input and output."""

    def __init__(self, binary):
        self.place = tempfile.mkdtemp()
        path = os.path.join(self.place, "socket")
        flags = ["--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--dir", self.place]
        super().__init__([binary, *flags, "--logfile", os.devnull])
        os.close(self.input)
        os.close(self.output)
        self.socket = socket.socket(socket.AF_UNIX)
        give_up = time.monotonic() + 10
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                self.socket.connect(path)
                break
            if time.monotonic() > give_up:
                fail(f"{binary} does not listen")
            time.sleep(0.0002)
        self.input = self.output = self.socket.fileno()

    def end(self):
        self.socket.close()
        self.kill()
        shutil.rmtree(self.place)


class Redis(Contender):
    wrong_word, right_word = b":0\r\n", b":1\r\n"
    about = "unix socket, EVALSHA of a Lua script, no client library, no persistence"
    lacks = "budgets per address over sessions, cool-down, purposes, constant-time compare, hashed codes, mail"
    pings = b"*1\r\n$4\r\nPING\r\n"

    def __init__(self, binary):
        super().__init__()
        self.binary = binary
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
        self.version = re.search(r"v=(\S+)", said)[1]
        self.name = ("Valkey" if "valkey" in said.lower() else "Redis") + " + Lua"

    def start(self):
        return Server(self.binary)

    def ping(self):
        if self.child.ask(self.pings) != b"+PONG\r\n":
            fail(f"{self.name}: no PONG")
        os.write(self.child.input, command("SCRIPT", "LOAD", VERIFY))
        self.script = os.read(self.child.output, 4096).split(b"\r\n")[1]

    def issue(self, n):
        """Two commands, and so two lines."""
        return command("HSET", key(n), "code", code(n)) + command("EXPIRE", key(n), TTL_S)

    def expire_all_at(self, time_s):
        self.child.ask(command("EVAL", EXPIRE_ALL, 0, int(time_s * 1000)))

    def fill(self, sessions):
        for start in range(0, sessions, BLOCK):
            block = range(start, min(start + BLOCK, sessions))
            replies = pipelined(self.child, [self.issue(n) for n in block], 2)[0]
            self.check(replies, 2 * len(block), b":1\r\n")

    def guess(self, n):
        return command("EVALSHA", self.script, 1, key(n), wrong(code(n)))

    def answer(self, n):
        return command("EVALSHA", self.script, 1, key(n), code(n))

    def burst(self, sessions):
        return 100_000

    def issue_with_mail(self, count, letter, write):
        """What an application in Python does around it, a request at a time."""
        for n in range(count):
            session, digits = secrets.token_hex(16), f"{secrets.randbelow(1_000_000):06d}"
            sent = command("HSET", "otp:" + session, "code", digits)
            os.write(self.child.input, sent + command("EXPIRE", "otp:" + session, TTL_S))
            heard = b""
            while heard.count(b"\n") < 2:
                heard += os.read(self.child.output, 4096)
            if heard != b":1\r\n:1\r\n":
                fail(f"{self.name}: {heard}")
            write(f"{n:08d}.eml", letter.replace(b"@CODE@", digits.encode()))


def find():
    """The server of Debian, or why there is none."""
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    return Redis(binary) if binary else None
