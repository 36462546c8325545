"""An `otpd serve` as a subprocess, for many threads: tagged commands, matched replies, bounded waits."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading


class OtpdGone(Exception):
    """The daemon has ended, or gives no answer."""


class Otpd:
    """One daemon. `ask` may be called from any thread."""

    def __init__(self, command):
        # A session of its own, so that Ctrl-C in the terminal reaches only its parent, which ends it
        # by ending its input. If the parent is killed the input ends as well.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self._ids = itertools.count(1)
        self._lock = threading.Lock()  # over what is waited for
        self._writing = threading.Lock()
        self._waiting = {}
        self._gone = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def alive(self):
        return not self._gone

    def ask(self, cmd, *, timeout_s, **fields):
        """One command and its reply, as dictionaries. Fields that are None are left out."""
        id_ = next(self._ids)
        command = {"cmd": cmd, "id": id_}
        command.update((name, value) for name, value in fields.items() if value is not None)
        slot = {"done": threading.Event(), "reply": None}
        with self._lock:
            if self._gone:
                raise OtpdGone("otpd has ended")
            self._waiting[id_] = slot
        try:
            with self._writing:
                self.process.stdin.write(json.dumps(command).encode() + b"\n")
                self.process.stdin.flush()
            if not slot["done"].wait(timeout_s):
                raise OtpdGone("no answer from otpd in time")
        except (OSError, ValueError) as error:  # a broken pipe, or one that `close` has closed
            raise OtpdGone("otpd has ended") from error
        finally:
            with self._lock:
                self._waiting.pop(id_, None)
        if slot["reply"] is None:
            raise OtpdGone("otpd has ended")
        return slot["reply"]

    def _read(self):
        for line in self.process.stdout:
            try:
                reply = json.loads(line)
                id_ = reply.get("id")
            except (ValueError, AttributeError):
                break  # otpd writes nothing but replies: whoever speaks here is not otpd
            with self._lock:
                slot = self._waiting.pop(id_, None)
            if slot:
                slot["reply"] = reply
                slot["done"].set()
        with self._lock:
            self._gone = True
            left, self._waiting = list(self._waiting.values()), {}
        for slot in left:
            slot["done"].set()

    def close(self, timeout_s=10):
        """Ends the input, which ends the daemon; returns its exit status."""
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
