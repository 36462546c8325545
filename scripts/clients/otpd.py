"""otpd from Python 3.9 or newer, with threads or asyncio. Copy this file; it needs nothing else.

    with Otpd(["--outbox", "outbox"]) as otpd:                  # the flags of `otpd serve`
        issued = otpd.issue("ann@example.org", purpose="sign-up")
        verdict = otpd.verify(issued.session, input("Code: "), purpose="sign-up")
        print("welcome" if verdict else verdict.message)        # a wrong code is a value

`AsyncOtpd` is the same with `async with` and `await`. One object serves any number of threads or tasks.
Have one for all of your service, since sessions live in otpd's memory: a restart forgets them, and a forked
process can't use them. otpd gets your environment and your stderr.
"""
from __future__ import annotations

import asyncio, atexit, itertools, json, os, queue, subprocess, threading
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import IO, Any, Awaitable, Callable, Dict, Generic, Mapping, Sequence, Tuple, TypeVar, cast

Reply = Dict[str, Any]
I = TypeVar("I"); V = TypeVar("V"); R = TypeVar("R")  # what issue, verify and the rest give, now or awaited

class Said:
    """A reply as attributes, whole in `reply`. Its `repr` shows no session, no address and no data."""
    reply: Reply
    ok: bool
    error: str | None = None
    message: str | None = None
    attempts_left: int | None = None
    retry_in_s: int | None = None
    def __init__(self, reply: Reply) -> None:
        vars(self).update(reply, reply=reply)
    def __repr__(self) -> str: return f"<{type(self).__name__} {self.error or 'ok'}>"

class Issued(Said):
    """A code that is under way. Keep its session as you would keep a password."""
    session: str
    to: str
    delivery: str  # "sent", or "uncertain": it may have arrived
    via: str
    file: str | None = None  # the message, if it went to an outbox
    expires_in_s: int
    resend_in_s: int

class Verdict(Said):
    """What became of a code: true for the right one and nothing else, or `error` says why not."""
    to: str | None = None
    purpose: str | None = None
    data: Any = None
    def __bool__(self) -> bool: return self.ok

class OtpdError(Exception): """What is raised here, besides what `json` raises for what it can't write."""
class DaemonGone(OtpdError): """otpd ended or didn't start. Nobody knows if what was asked for is done."""
class NoAnswer(DaemonGone): """otpd gave no answer in time. If one comes later, it is dropped."""
class Refused(Said, OtpdError):
    """otpd said no. `error` is its word for why; of the rest there is what goes with that word."""
    limit: str | None = None
    temporary: bool | None = None
    smtp: int | None = None
    field: str | None = None
    def __str__(self) -> str: return f"{self.error}: {self.message}"
class RateLimited(Refused): """Too many mails were asked for; see `limit` and `retry_in_s`."""
class Locked(Refused): """Too many wrong codes for the address; without `retry_in_s` until `unlock`."""
class DeliveryFailed(Refused): """The mail certainly failed; see `temporary` and `smtp`."""
class BadAddress(Refused, ValueError): """Not an address that mail can be sent to."""
class BadField(Refused, ValueError): """A mistake of the program that asks; see `field`."""
class SessionOver(Refused): """The session has ended or never was; `error` says how."""
class Unavailable(Refused): """otpd can't, whatever is asked."""

OVER = ("no_session", "expired", "already_used", "attempts_used", "cancelled")
VERDICTS = (*OVER, "wrong_code", "bad_code", "wrong_purpose", "locked")  # values, and not exceptions
KINDS = {"rate_limited": RateLimited, "locked": Locked, "delivery_failed": DeliveryFailed,
         "bad_address": BadAddress, **dict.fromkeys(OVER, SessionOver),
         **dict.fromkeys(("bad_field", "bad_json", "line_too_long", "unknown_command"), BadField),
         **dict.fromkeys(("at_capacity", "shutting_down", "internal"), Unavailable)}

def granted(reply: Reply) -> Reply:
    if not reply["ok"]: raise KINDS.get(str(reply.get("error")), Refused)(reply)
    return reply
def judged(reply: Reply) -> Verdict:
    return Verdict(reply if reply.get("error") in VERDICTS else granted(reply))

class Daemon:
    """One otpd, a thread that writes to it, so that no caller waits at a full pipe, and one that reads."""
    def __init__(self, command: Sequence[str]) -> None:
        try:  # In a session of its own, since the Ctrl-C of a terminal is for us, and we end otpd.
            self.process = subprocess.Popen(command, stdin=-1, stdout=-1, start_new_session=True)
        except OSError as err:
            raise DaemonGone(f"otpd could not be started: {err}") from None
        self.gone = ""  # why nothing can be asked any more
        self.numbers, self.waiting = itertools.count(1), cast(Dict[int, "Future[Reply]"], {})
        self.lines: queue.SimpleQueue[Tuple[int, bytes] | None] = queue.SimpleQueue()
        for work in (self.write, self.read):
            threading.Thread(target=work, name=f"otpd {work.__name__}", daemon=True).start()

    def send(self, command: Reply) -> Future[Reply]:
        number = next(self.numbers)
        answer: Future[Reply] = Future()
        text = json.dumps({**command, "id": number}, ensure_ascii=False, allow_nan=False)
        if len(line := text.encode() + b"\n") > 65_536:  # otpd would not read its id
            raise BadField({"ok": False, "error": "line_too_long", "message": "over 65,536 bytes"})
        self.waiting[number] = answer
        if self.gone: raise DaemonGone(self.gone)  # looked at now, since it is set before they are told
        answer.add_done_callback(lambda _: self.waiting.pop(number, None))  # answered, or given up
        self.lines.put((number, line))
        return answer

    def write(self) -> None:
        with suppress(OSError), cast(IO[bytes], self.process.stdin) as stdin:  # if it is gone, `read` sees why
            for number, line in iter(self.lines.get, None):
                if number in self.waiting:  # What was given up meanwhile is not even asked.
                    stdin.write(line)
                    stdin.flush()

    def read(self) -> None:
        try:
            with cast(IO[bytes], self.process.stdout) as stdout:
                for line in stdout:
                    reply = json.loads(line)
                    answer = self.waiting.get(reply.get("id")) if isinstance(reply["ok"], bool) else None
                    if answer and answer.set_running_or_notify_cancel(): answer.set_result(reply)
            status = self.process.wait(0.5)
            why = f"otpd ended with status {status}" if status >= 0 else f"otpd was ended by signal {-status}"
        except Exception as err:  # Whatever it is, nobody may be left waiting.
            self.process.kill()
            why = f"otpd broke its output ({type(err).__name__}) and was killed"
        self.gone = self.gone or why
        for answer in list(self.waiting.values()):
            if answer.set_running_or_notify_cancel(): answer.set_exception(DaemonGone(why))
        self.lines.put(None)

class Client(Generic[I, V, R]):
    """What both kinds share. `timeout`, in seconds, bounds every wait; the default is more than a mail
    may take by otpd's own. With `restart`, the next command after a death starts a new otpd. What died
    with the old one is never asked for again by itself, since that could double a mail."""
    do: Callable[..., Any]
    def __init__(self, argv: Sequence[str] = (), *, program: str = "otpd", timeout: float = 65,
                 restart: bool = False) -> None:
        self.command, self.timeout, self.restart = [program, "serve", *argv], timeout, restart
        self.lock, self.owner, self.daemon = threading.Lock(), os.getpid(), Daemon(self.command)
        self._issue: Callable[..., I] = partial(self.do, lambda reply: Issued(granted(reply)))
        self._judge: Callable[..., V] = partial(self.do, judged)
        self._grant: Callable[..., R] = partial(self.do, granted)
        self.ask: Callable[..., R] = partial(self.do, dict)  # as ask("cancel", session=…); raises no refusal
        atexit.register(self.end)

    def issue(self, to: str, *, purpose: str | None = None, locale: str | None = None, ttl_s: int | None = None,
              data: Any = None, client: str | None = None, vars: Mapping[str, str] | None = None) -> I:
        return self._issue("issue", to=to, purpose=purpose, locale=locale, ttl_s=ttl_s, data=data,
                           client=client, vars=vars)
    def verify(self, session: str, code: str, *, purpose: str | None = None) -> V:
        return self._judge("verify", session=session, code=code, purpose=purpose)
    def resend(self, session: str) -> I: return self._issue("resend", session=session)
    def cancel(self, session: str) -> R: return self._grant("cancel", session=session)
    def status(self, session: str | None = None) -> R: return self._grant("status", session=session)
    def unlock(self, to: str) -> R: return self._grant("unlock", to=to)
    def help(self, about: str | None = None) -> R: return self._grant("help", about=about)

    def send(self, cmd: str, values: Reply) -> Future[Reply]:
        if os.getpid() != self.owner: raise DaemonGone("otpd belongs to the process that started it")
        with self.lock:
            if self.daemon.gone and self.restart: self.daemon = Daemon(self.command)
            return self.daemon.send({"cmd": cmd, **{k: v for k, v in values.items() if v is not None}})

    def end(self, grace: float = 6) -> None:
        """Lets otpd finish what it was asked, then sends SIGTERM, then SIGKILL, `grace` seconds apart."""
        if os.getpid() != self.owner: return
        with self.lock:
            self.restart, self.daemon.gone = False, self.daemon.gone or "otpd was closed"
        self.daemon.lines.put(None)  # the end of the input, behind all that was asked
        for push in (self.daemon.process.poll, self.daemon.process.terminate, self.daemon.process.kill):
            with suppress(subprocess.TimeoutExpired):
                push()
                self.daemon.process.wait(grace)
                break
        atexit.unregister(self.end)

class Otpd(Client[Issued, Verdict, Reply]):
    """otpd for threads."""
    def do(self, then: Callable[[Reply], Any], cmd: str, **values: Any) -> Any:
        answer = self.send(cmd, values)
        if not wait([answer], self.timeout).done and answer.cancel():
            raise NoAnswer(f"otpd gave no answer within {self.timeout} s")
        return then(answer.result())
    def close(self, grace: float = 6) -> None: self.end(grace)
    def __enter__(self) -> Otpd: return self
    def __exit__(self, *_: Any) -> None: self.end()

class AsyncOtpd(Client[Awaitable[Issued], Awaitable[Verdict], Awaitable[Reply]]):
    """otpd for asyncio."""
    async def do(self, then: Callable[[Reply], Any], cmd: str, **values: Any) -> Any:
        try:
            return then(await asyncio.wait_for(asyncio.wrap_future(self.send(cmd, values)), self.timeout))
        except asyncio.TimeoutError:
            raise NoAnswer(f"otpd gave no answer within {self.timeout} s") from None
    async def close(self, grace: float = 6) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.end, grace)
    async def __aenter__(self) -> AsyncOtpd: return self
    async def __aexit__(self, *_: Any) -> None: await self.close()
