"""otpd as a program drives it: lines in, lines out, and an ear for what it must never say."""

import base64
import contextlib
import json
import os
import queue
import re
import subprocess
import threading
from pathlib import Path

from servers import PASSWORD, PATIENCE_S, USER, WORDS

BINARY = os.environ.get("OTPD_BIN") or str(Path(__file__).resolve().parents[2] / "target" / "debug" / "otpd")
FROM, PRODUCT = "no-reply@acme.example", "Acme"
# As it goes over the wire in AUTH PLAIN and AUTH LOGIN.
ENCODED = [base64.b64encode(words.encode()).decode() for words in (f"\0{USER}\0{PASSWORD}", PASSWORD)]


def environment(**settings):
    """Ours without any setting of otpd, and with these."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("OTPD_")}, **settings}


def check(*flags, **settings):
    """What `otpd check` says, and its exit status."""
    return run("check", "--from", FROM, *flags, **settings)


def run(*arguments, **settings):
    done = subprocess.run(
        [BINARY, *arguments], env=environment(**settings), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    for secret in (PASSWORD, *ENCODED):
        assert secret not in done.stdout, f"the password in {done.stdout}"
    return done


class Otpd:
    """A daemon for the time of a `with`. At its end it must end well and have told no secret."""

    def __init__(self, *flags, product=PRODUCT, **settings):
        argv = [BINARY, "serve", "--log", "debug", "--from", FROM, "--product", product, *flags]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            argv, env=environment(**settings), stdin=pipe, stdout=pipe, stderr=pipe, text=True, bufsize=1
        )
        self.replies, self.said, self.logged = queue.Queue(), [], []
        # In no line of either kind, and in no line of the log.
        self.secrets, self.private = {PASSWORD, *ENCODED}, set()
        self.threads = [threading.Thread(target=each, daemon=True) for each in (self._hear, self._read_log)]
        for thread in self.threads:
            thread.start()

    def ask(self, **command):
        """One command, one reply."""
        [reply] = self.ask_all([command])
        return reply

    def ask_all(self, commands):
        """Writes all commands before it reads the replies, which come in any order if they have an `id`."""
        self.private.update(command.get("to") for command in commands)
        try:
            self.process.stdin.write("".join(json.dumps(command) + "\n" for command in commands))
        except BrokenPipeError:
            raise AssertionError(f"otpd has ended: {self.logged}") from None
        replies = [self._reply() for _ in commands]
        self.private.update(reply.get("session") for reply in replies)
        return replies

    def issue(self, to, **fields):
        return self.ask(cmd="issue", to=to, **fields)

    def send(self, to, **fields):
        """An `issue` that must succeed."""
        reply = self.issue(to, **fields)
        assert reply.get("delivery") == "sent", f"{reply}; {self.logged}"
        return reply

    def verify(self, session, code):
        self.secrets.add(code)
        return self.ask(cmd="verify", session=session, code=code)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            command_line = " ".join(self.process.args)
            if self.process.poll() is None:
                command_line = Path(f"/proc/{self.process.pid}/cmdline").read_text()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            status = self.process.wait(PATIENCE_S)
            for thread in self.threads:
                thread.join(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdout, self.process.stderr):
                stream.close()
        if kind is None:
            assert status == 0, f"exit status {status}; {self.logged}"
            self._has_told_nothing(command_line)

    def _has_told_nothing(self, command_line):
        said, logged = "".join(self.said), "".join(self.logged)
        for secret in self.secrets:
            whole_word = re.compile(rf"(?<!\w){re.escape(secret)}(?!\w)")
            for place, text in (("replies", said), ("log", logged), ("command line", command_line)):
                assert not whole_word.search(text), f"{secret!r} in the {place}: {text}"
        for private in self.private - {None}:
            assert private not in logged, f"{private!r} in the log: {logged}"
        assert WORDS not in said, f"the server's words in a reply: {said}"

    def _reply(self):
        try:
            return json.loads(self.replies.get(timeout=3 * PATIENCE_S))
        except queue.Empty:
            raise TimeoutError(f"no reply; {self.logged}") from None

    def _hear(self):
        for line in self.process.stdout:
            self.said.append(line)
            self.replies.put(line)

    def _read_log(self):
        self.logged.extend(self.process.stderr)
