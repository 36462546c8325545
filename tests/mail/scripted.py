"""aiosmtpd with a script: it does what its recipients' names say, and remembers what it was told."""

import asyncio
import logging
import threading
import warnings

from authority import Authority
from servers import (
    PASSWORD, PATIENCE_S, PLAIN, REFUSALS, STARTTLS, TLS, USER, WORDS, Received, eventually,
)  # fmt: skip

try:
    from aiosmtpd.smtp import SMTP, AuthResult
except ImportError:  # what needs it is skipped
    SMTP = object

logging.getLogger("mail.log").setLevel(logging.CRITICAL)


class Scripted:
    """A server that remembers what it took, and treats recipients as their local parts say.

    Beside `REFUSALS` there are `stall@` (the message is taken, and never answered), `drop@` (it is
    taken, and the connection dies) and `drop-early@` (the connection dies at RCPT).
    """

    name, line_end = "aiosmtpd", b"\r\n"
    missing = "no aiosmtpd" if SMTP is object else None

    def __init__(self, authority, security=PLAIN, auth=False, certificate=Authority.GOOD, without=()):
        self.received, self.logins = [], []
        self.most_open, self.accepted = 0, 0
        self._open = set()
        context = None if security == PLAIN else authority.context(certificate)
        settings = dict(
            hostname="mx.example.org",
            tls_context=context if security == STARTTLS else None,
            require_starttls=security == STARTTLS,
            auth_required=auth,
            auth_require_tls=security == STARTTLS,
            auth_exclude_mechanism=without if auth else ("PLAIN", "LOGIN"),
            authenticator=self._authenticate,
        )
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda *_: None)  # clients that go away are what is tried here
        listening = self._loop.create_server(
            lambda: Conversation(self, settings, self._loop),
            "127.0.0.1", 0, ssl=context if security == TLS else None,
        )  # fmt: skip
        self._listener = self._loop.run_until_complete(listening)
        self._port = self._listener.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def port(self, *_way):
        return self._port

    def mail_to(self, address):
        """The one mail that came for an address."""
        return eventually(lambda: self.mails_to(address), f"mail to {address}")[0]

    def mails_to(self, address):
        return [mail for mail in self.received if mail.recipients == [address]]

    def hang_up(self, last_words=b""):
        """Ends all connections, as a server does that is restarted or tired of waiting."""

        def end():
            for conversation in list(self._open):
                transport = conversation.transport
                if last_words:
                    transport.write(last_words)
                    transport.close()
                # Under TLS a close waits for the client's good-bye; servers don't.
                self._loop.call_later(0.05 if last_words else 0, transport.abort)

        self._loop.call_soon_threadsafe(end)
        eventually(lambda: not self._open, "the end of all connections")

    def stop(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._listener.close()
        for conversation in list(self._open):
            conversation.transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def opened(self, conversation):
        if conversation not in self._open:
            self.accepted += 1
        self._open.add(conversation)
        self.most_open = max(self.most_open, len(self._open))

    def closed(self, conversation):
        self._open.discard(conversation)

    def _authenticate(self, _server, _session, _envelope, _mechanism, data):
        right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        self.logins.append(right)
        return AuthResult(success=right, handled=False, message=None if right else f"535 5.7.8 {WORDS}")

    async def handle_RCPT(self, server, _session, envelope, address, _options):
        if address.startswith("drop-early@"):
            server.transport.abort()
        refusal = REFUSALS.get(address)
        if refusal and refusal.where == "rcpt":
            return refusal.reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server, _session, envelope):
        [address] = envelope.rcpt_tos
        refusal = REFUSALS.get(address)
        if refusal:
            return refusal.reply
        self.received.append(Received(envelope.mail_from, [address], envelope.original_content))
        if address.startswith("stall@"):
            await asyncio.Event().wait()
        if address.startswith("drop@"):
            server.transport.abort()
        return "250 2.0.0 taken"


class Conversation(SMTP):
    """One connection, known to its server for as long as it is open."""

    def __init__(self, scripted, settings, loop):
        self.scripted = scripted
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a log-in without TLS is what is tried here
            super().__init__(scripted, loop=loop, **settings)

    def connection_made(self, transport):
        self.scripted.opened(self)
        super().connection_made(transport)

    def connection_lost(self, error):
        self.scripted.closed(self)
        super().connection_lost(error)
