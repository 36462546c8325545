"""What the tests share: a place for files, certificates, one Postfix, and doors to servers.

Everything is made when it is first asked for, and is gone when `END` is closed.
"""

import contextlib
import functools
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path

from authority import Authority
from postfix import Postfix
from scripted import Scripted
from servers import PASSWORD, PLAIN, STARTTLS, TLS, USER

END = contextlib.ExitStack()
KINDS = Postfix, Scripted


def need(missing):
    """Skips what this machine can't do; `run.py` makes that a failure where CI=true."""
    if missing:
        raise unittest.SkipTest(missing)


def directory(name):
    """A new directory, which goes with everything else."""
    made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=_place()))
    made.chmod(0o755)
    return made


@functools.cache
def authority():
    need(Authority.missing)
    return Authority(directory("authority"))


@contextlib.contextmanager
def door(kind, security=PLAIN, auth=False, **settings):
    """A server of this kind that must be talked to in this way, for the time of a `with`."""
    need(kind.missing)
    if kind is Postfix:
        yield Door(_postfix(), security, auth)
    else:
        with Scripted(authority(), security, auth, **settings) as server:
            yield Door(server, security, auth)


@dataclass
class Door:
    """One way into a server."""

    server: object
    security: str
    auth: bool

    def __str__(self):
        return f"{self.server.name}, {self.security}, {'with' if self.auth else 'without'} AUTH"

    @property
    def port(self):
        return self.server.port(self.security, self.auth)

    def url(self, password="", host="localhost"):
        scheme = "smtps" if self.security == TLS else "smtp"
        user = f"{USER}{password and ':'}{password}@" if self.auth else ""
        return f"{scheme}://{user}{host}:{self.port}" + ("?tls=required" if self.security == STARTTLS else "")

    def flags(self, host="localhost", ca=None):
        return "--smtp", self.url(host=host), "--smtp-ca", str(ca or authority().certificate)

    def environment(self, password=PASSWORD):
        return {"OTPD_SMTP_PASSWORD": password} if self.auth else {}


@functools.cache
def _place():
    place = Path(END.enter_context(tempfile.TemporaryDirectory(prefix="otpd-mail-")))
    place.chmod(0o755)  # Postfix comes here under other names than root
    return place


@functools.cache
def _postfix():
    server = Postfix(directory("postfix"), authority())
    END.callback(server.stop)
    return server
