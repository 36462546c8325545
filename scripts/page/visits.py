"""Visitors and their otpd sessions. A browser holds a random key; the session's id stays here."""

from __future__ import annotations

import secrets
import sys
import threading
import time
from dataclasses import dataclass, replace

import message
from otpd import DaemonGone, Otpd

ANSWER_S = 605  # for a mail: --delivery-timeout is 300 s at most, and the same once more in the queue
KEPT_S = 600  # how long otpd remembers a session after its code's life
MOST_VISITS = 1000  # nobody is put out for somebody else: further ones are refused
RESTART_S = 2  # a daemon that ends as soon as it starts is not started in a circle

# What of a reply is for the browser. Not among it: the session's id and the message's path.
TOLD = ("ok", "error", "field", "to", "delivery", "expires_in_s", "resend_in_s", "attempts_left",
        "retry_in_s", "limit", "temporary", "state")


@dataclass(frozen=True)
class Visit:
    session: str
    to: str
    file: str | None  # the newest message, if it is in an outbox
    daemon: int  # which start of the daemon knows the session
    forgotten: float  # when no daemon knows it any more


class Visits:
    """Every answer is a dictionary for the browser. What can't be asked is `interrupted`."""

    def __init__(self, program, flags):
        self._program, self._flags = program, flags
        self._lock = threading.Lock()  # over the visits
        self._starting = threading.Lock()
        self._visits = {}
        self._starts = 0
        self._started = 0.0
        self._start()

    def _start(self):
        self._started = time.monotonic()
        self._starts += 1  # before anybody can ask the new one about an old session
        self.otpd = Otpd(self._flags, program=self._program, timeout=ANSWER_S)
        try:
            status = self.otpd.status()
        except DaemonGone:
            self.otpd.close()
            raise
        self._ttl_s = status["policy"]["ttl_s"]
        self.facts = {
            "digits": status["policy"]["digits"],
            "attempts": status["policy"]["attempts"],
            "shows_mail": status["via"] == "outbox",
        }

    def _revive(self):
        """Starts the daemon again if it has ended. Its sessions and budgets went with the old one."""
        with self._starting:
            if not self.otpd.daemon.gone:
                return
            if time.monotonic() < self._started + RESTART_S:
                raise DaemonGone("otpd ended just after its start")
            print(f"{self.otpd.daemon.gone}; starting it again", file=sys.stderr)
            self.otpd.close()
            self._start()

    def issue(self, old_key, to, locale, client):
        """Mails a code. Gives the answer and, if that is yes, the visitor's new key."""
        self._forget()
        if len(self._visits) >= MOST_VISITS:
            return {"ok": False, "error": "at_capacity"}, None
        try:
            self._revive()
            daemon = self._starts
            reply = self.otpd.ask("issue", to=to, locale=locale, client=client)
        except DaemonGone:
            return interrupted(), None
        if not reply["ok"]:
            return told(reply), None
        self.leave(old_key)
        forgotten = time.monotonic() + self._ttl_s + KEPT_S
        visit = Visit(reply["session"], reply["to"], reply.get("file"), daemon, forgotten)
        return told(reply), self._keep(visit)

    def verify(self, key, code):
        """Checks a code. Gives the answer and, if that is yes, a new key, as rights have changed."""
        visit, reply = self._ask(key, "verify", code=code)
        if not reply["ok"]:
            return told(reply), None
        # Here your own program would note that this visitor reads mail at `visit.to`.
        with self._lock:
            self._visits.pop(key, None)
        return told(reply), self._keep(visit)

    def resend(self, key):
        _, reply = self._ask(key, "resend")
        if reply["ok"] and "file" in reply:
            with self._lock:
                if key in self._visits:
                    self._visits[key] = replace(self._visits[key], file=reply["file"])
        return told(reply)

    def leave(self, key):
        """Ends a visit, and its code, which nobody is going to type."""
        if self._visit(key):
            self._ask(key, "cancel")
            with self._lock:
                self._visits.pop(key, None)
        return {"ok": True}

    def state(self, key):
        """What a page that was loaded just now has to show. Changes nothing."""
        visit, reply = self._ask(key, "status")
        return {**self.facts, "visit": visit and {**told(reply), "to": visit.to}}

    def mail(self, key):
        """The visitor's own message, taken apart."""
        visit = self._visit(key)
        return message.read(visit.file) if visit and visit.file else None

    def close(self):
        self.otpd.close()

    def _visit(self, key):
        with self._lock:
            return self._visits.get(key)

    def _keep(self, visit):
        key = secrets.token_urlsafe(32)
        with self._lock:
            self._visits[key] = visit
        return key

    def _forget(self):
        now = time.monotonic()
        with self._lock:
            for key in [key for key, visit in self._visits.items() if visit.forgotten <= now]:
                del self._visits[key]

    def _ask(self, key, cmd, **fields):
        visit = self._visit(key)
        if not visit:
            return None, {"ok": False, "error": "no_session"}
        if visit.daemon != self._starts:
            return visit, interrupted()
        try:
            return visit, self.otpd.ask(cmd, session=visit.session, **fields)
        except DaemonGone:
            return visit, interrupted()


def interrupted():
    return {"ok": False, "error": "interrupted"}


def told(reply):
    return {name: reply[name] for name in TOLD if name in reply}
