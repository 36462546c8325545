"""The rivals that are programs of our own around what they use, and speak JSON lines."""

import shutil
import subprocess
import sys
from pathlib import Path

from contender import Contender, address, code, wrong
from driver import Child
from rivals import redis

HERE = Path(__file__).resolve().parent
ANYBODY = {"verify": b'{"cmd":"verify","session":"%s","code":"%s"}\n', "issue": b'{"cmd":"issue","to":"%s"}\n'}


class Script(Contender):
    """Filled by a command of the benchmark's own."""

    wrong_word, right_word = b'"error":', b'"ok":true'
    can_issue_to_smtp = False

    def session(self, n):
        raise NotImplementedError

    def ping(self):
        self.child.ask(ANYBODY["verify"] % (b"none", b"123456"))

    def fill(self, sessions):
        reply = self.child.ask(b'{"cmd":"fill","count":%d}\n' % sessions)
        self.check(reply, 1, self.right_word)

    def guess(self, n):
        return ANYBODY["verify"] % (self.session(n).encode(), wrong(code(n)).encode())

    def answer(self, n):
        return ANYBODY["verify"] % (self.session(n).encode(), code(n).encode())

    def issue(self, n):
        return ANYBODY["issue"] % address(n).encode()


class Plain(Script):
    name = "plain Python"
    wrong_word, right_word = b'"error": "wrong_code"', b'"ok": true'
    about = "secrets, a dict, hmac.compare_digest, a flush per reply"
    lacks = "validation, budgets per address, cool-down, purposes; what has expired goes all at once"
    version = sys.version.split()[0]
    can_issue_to_smtp = True

    def start(self, *flags):
        return Child([sys.executable, "-I", HERE / "plain.py", *flags])

    def mailing(self, outbox, letter):
        return self.start("--outbox", outbox, "--letter", letter)

    def session(self, n):
        return redis.key(n)[len("otp:") :]

    def burst(self, sessions):
        return 40_000


class Django(Script):
    name = "django-otp"
    wrong_word, right_word = b'"error": "wrong_code"', b'"ok": true'
    about = "EmailDevice, SQLite in memory, called without HTTP; its growing delay is off, or it would not look"
    lacks = "a bound of attempts other than that delay, budgets over re-sends, constant-time compare, hashed codes"
    can_issue_to_smtp = True

    def __init__(self, python):
        super().__init__()
        self.python = python
        said = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
        self.version = ", ".join(sorted(line for line in said.split() if line.lower().startswith("django")))

    def start(self, *flags):
        return Child([self.python, "-I", HERE / "django_device.py", *flags])

    def mailing(self, outbox, letter):
        return self.start("--outbox", outbox)

    def session(self, n):
        return str(n + 1)

    def burst(self, sessions):
        # Ten million rows would take it minutes to fill.
        return 1_000 if sessions <= 1_000_000 else 0


class BetterAuth(Script):
    wrong_word, right_word = b'"error":"INVALID_OTP"', b'"ok":true'
    lacks = "an attempt bound over re-sends, budgets per address, cool-down; codes are kept as they are"

    def __init__(self, place, storage):
        super().__init__()
        self.place, self.storage = place, storage
        self.name = f"better-auth, {storage}"
        kept = "in its memory adapter" if storage == "memory" else "in a Map as secondary storage, users in the adapter"
        self.about = f"emailOTP called without HTTP, codes {kept}"
        package = (place / "node_modules" / "better-auth" / "package.json").read_text()
        self.version = package.split('"version": "')[1].split('"')[0]

    def start(self, *words):
        # Beside its packages, where Node looks for them.
        script = shutil.copy(HERE / "better_auth.mjs", self.place)
        return Child([shutil.which("node"), "--max-old-space-size=8192", script, self.storage, *words], quiet=True)

    def mailing(self, outbox, letter):
        return self.start(outbox, letter)

    def session(self, n):
        return address(n)

    def burst(self, sessions):
        if self.storage == "map":
            return 4_000 if sessions <= 1_000_000 else 0
        # It looks through all codes, and copies them, at each check.
        return 60_000 // sessions if sessions < 100_000 else 1 if sessions == 100_000 else 0

    def right_burst(self, sessions):
        # Here both look through all users.
        return self.burst(sessions) if self.storage == "memory" else min(4_000, 4_000_000 // sessions)
