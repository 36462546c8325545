"""The servers that otpd is tried against, and the certificates they show.

Both listen on loopback only, on ports that were free a moment ago, and keep everything they need
in the directory they are given. `Postfix` is what people run; `Scripted` does what its recipients'
names say, and remembers what it was told.
"""

import asyncio
import contextlib
import logging
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import warnings
from collections import namedtuple
from pathlib import Path

try:
    from aiosmtpd.smtp import SMTP, AuthResult
except ImportError:  # run.py says so; what needs it is skipped
    SMTP = object

logging.getLogger("mail.log").setLevel(logging.CRITICAL)

USER, PASSWORD = "otpd", "correct-horse-battery-staple"
# Something servers say when they refuse, and otpd must not repeat.
WORDS = "Xyzzy-said-the-server"
# A server that takes longer to start or to deliver is broken.
PATIENCE_S = 10

# How a server may want to be talked to.
PLAIN, STARTTLS, TLS = "plain", "starttls", "tls"
SECURITIES = PLAIN, STARTTLS, TLS


Refusal = namedtuple("Refusal", "where code temporary reply")

# Recipients whom every server refuses, `where` it does and how.
REFUSALS = {
    f"{where}-{code}@example.org": Refusal(where, code, code < 500, f"{code} {code // 100}.7.1 {WORDS}")
    for where, code in (("rcpt", 450), ("rcpt", 550), ("dot", 451), ("dot", 554))
}


def eventually(condition, what, patience=PATIENCE_S):
    """Waits until `condition()` holds, and gives what it gave."""
    end = time.monotonic() + patience
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {patience} s")
        time.sleep(0.01)
    return value


def free_ports(count):
    """Ports that nobody listens on; they are held all at once, so that they differ."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def answers(port):
    """Whether somebody listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


# ---------------------------------------------------------------------------- certificates


OPENSSL_CONFIG = """
[req]
distinguished_name = any
prompt = no
x509_extensions = authority
[any]
commonName = otpd tests
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[ca]
default_ca = issue
[issue]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 2
policy = anything
copy_extensions = copy
[anything]
commonName = supplied
"""


class Authority:
    """A private authority, and one certificate for each way to be right or wrong."""

    missing = None if shutil.which("openssl") else "no openssl"
    GOOD = "good"
    WRONG = "wrong-name", "expired", "unknown-authority"

    def __init__(self, place):
        self.place = place
        (place / "openssl.cnf").write_text(OPENSSL_CONFIG)
        (place / "index").touch()
        self.certificate = self._root("authority")
        self.stranger = self._root("stranger")
        self._leaf("good", "authority")
        self._leaf("wrong-name", "authority", names="DNS:elsewhere.example")
        self._leaf("expired", "authority", "-startdate", "20200101000000Z", "-enddate", "20200201000000Z")
        self._leaf("unknown-authority", "stranger")

    def pair(self, name):
        """The files of a certificate and of its key."""
        return self.place / f"{name}.pem", self.place / f"{name}.key"

    def context(self, name):
        """What a server needs to show this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair(name))
        return context

    def _root(self, name):
        certificate, key = self.pair(name)
        self._openssl("req", "-x509", *self._new_key(key), "-days", "2", "-out", certificate)
        return certificate

    def _leaf(self, name, issuer, *validity, names="DNS:localhost, IP:127.0.0.1"):
        certificate, key = self.pair(name)
        issued_by = zip(("-cert", "-keyfile"), self.pair(issuer))
        request = self.place / "request"
        self._openssl("req", *self._new_key(key), "-addext", f"subjectAltName={names}", "-out", request)
        self._openssl(
            "ca", "-batch", "-notext", "-in", request, "-out", certificate, *validity, *(part for pair in issued_by for part in pair)
        )

    @staticmethod
    def _new_key(key):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key

    def _openssl(self, command, *arguments):
        argv = ["openssl", command, "-config", "openssl.cnf", *arguments]
        subprocess.run(argv, check=True, capture_output=True, timeout=PATIENCE_S, cwd=self.place)


# ---------------------------------------------------------------------------- Postfix

Received = namedtuple("Received", "sender recipients raw")

POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
maillog_file = {place}/log
maillog_file_prefixes = {place}
multi_instance_name = postfix-otpd-tests
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.org
mydestination =
mynetworks = 127.0.0.0/8
disable_dns_lookups = yes
smtpd_peername_lookup = no
alias_maps =
notify_classes =

# All mail stays here, in one directory; nothing ever leaves the machine.
default_transport = error:nothing leaves this machine
virtual_mailbox_domains = static:all
virtual_mailbox_base = {place}
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}

# Whoever is refused on purpose is neither slowed down nor sent away for it.
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000

smtpd_relay_restrictions = permit_sasl_authenticated, permit_mynetworks, reject
smtpd_end_of_data_restrictions = check_recipient_access inline:{{{refused_at_the_dot}}}
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_loglevel = 1
smtpd_sasl_local_domain = mx.example.org
cyrus_sasl_config_path = {place}/sasl
"""

POSTFIX_SERVICES = """
cleanup   unix       n - n - 0 cleanup
qmgr      unix       n - n - 1 qmgr
tlsmgr    unix       - - n 1000? 1 tlsmgr
rewrite   unix       - - n - - trivial-rewrite
bounce    unix       - - n - 0 bounce
defer     unix       - - n - 0 bounce
trace     unix       - - n - 0 bounce
proxymap  unix       - - n - - proxymap
error     unix       - - n - - error
retry     unix       - - n - - error
virtual   unix       - n n - - virtual
anvil     unix       - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""

SASL = """
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {place}/sasl/users
mech_list: PLAIN LOGIN
"""


class Postfix:
    """An instance of its own, with a port for each way to talk to it.

    Where AUTH is wanted no recipient is accepted without it, and where TLS is wanted nothing is
    accepted before it: what arrives proves that both were done.
    """

    name, line_end = "Postfix", b"\n"
    missing = next((f"no {each}" for each in ("postfix", "saslpasswd2") if not shutil.which(each)), None)
    if os.geteuid() != 0:
        missing = "Postfix starts as root only"

    def __init__(self, place, authority):
        self.place, self.inbox = place, place / "inbox"
        ways = [(security, auth) for security in SECURITIES for auth in (False, True)]
        self.ports = dict(zip(ways, free_ports(len(ways))))
        self._configure(authority)
        subprocess.run(["postfix", "-c", place, "check"], check=True, capture_output=True, timeout=PATIENCE_S)
        master = subprocess.check_output(["postconf", "-c", place, "-h", "daemon_directory"], text=True).strip() + "/master"
        # It makes itself the leader of the group of all that it starts, and ends them with itself.
        self.process = subprocess.Popen([master, "-c", place, "-s"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            for port in self.ports.values():
                eventually(lambda port=port: answers(port), f"Postfix on {port}")
        except BaseException:
            self.stop()
            raise

    def port(self, security, auth):
        return self.ports[security, auth]

    def mail_to(self, address):
        """The one mail that came for an address."""
        return eventually(lambda: self.mails_to(address), f"mail to {address}")[0]

    def mails_to(self, address):
        return [mail for mail in self.mails() if mail.recipients == [address]]

    def mails(self, to=""):
        """What came for addresses that begin so, without the lines that Postfix put on top."""
        found = []
        for file in (self.inbox / "new").glob("*"):
            trace, ours = file.read_bytes().split(b"\nFrom: ", 1)
            sender, recipient = (
                re.search(rb"^%s: <?([^>\n]*)" % name, trace, re.M)[1].decode() for name in (b"Return-Path", b"X-Original-To")
            )
            if recipient.startswith(to):
                found.append(Received(sender, [recipient], b"From: " + ours))
        return found

    def log(self):
        """The end of its log, for somebody who wonders what went wrong."""
        log = self.place / "log"
        return "\n".join(log.read_text().splitlines()[-20:]) if log.exists() else "no log"

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            pass  # killed below
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def _configure(self, authority):
        place, nobody, postfix = self.place, pwd.getpwnam("nobody"), pwd.getpwnam("postfix")
        for name in ("queue", "data", "sasl", "inbox"):
            (place / name).mkdir()
        os.chown(place / "data", postfix.pw_uid, postfix.pw_gid)
        os.chown(self.inbox, nobody.pw_uid, nobody.pw_gid)
        certificate, key = authority.pair(authority.GOOD)
        facts = dict(place=place, uid=nobody.pw_uid, gid=nobody.pw_gid, certificate=certificate, key=key)
        (place / "main.cf").write_text(POSTFIX_MAIN.format(refused_at_the_dot=self._refused("dot"), **facts))
        (place / "master.cf").write_text(POSTFIX_SERVICES + "".join(map(self._service, self.ports)))
        (place / "sasl" / "smtpd.conf").write_text(SASL.format(place=place))
        users = place / "sasl" / "users"
        subprocess.run(
            ["saslpasswd2", "-p", "-c", "-u", "mx.example.org", "-f", users, USER],
            input=PASSWORD.encode(), check=True, timeout=PATIENCE_S,
        )  # fmt: skip
        os.chown(users, postfix.pw_uid, postfix.pw_gid)

    def _service(self, way):
        security, auth = way
        settings = {
            "smtpd_tls_security_level": "none" if security == PLAIN else "encrypt",
            "smtpd_tls_wrappermode": "yes" if security == TLS else "no",
            "smtpd_sasl_auth_enable": "yes" if auth else "no",
            "smtpd_recipient_restrictions": f"check_recipient_access inline:{{{self._refused('rcpt')}}}, "
            + ("permit_sasl_authenticated, reject" if auth else "permit_mynetworks, reject"),
        }
        options = "".join(f"\n  -o {{ {name} = {value} }}" for name, value in settings.items())
        return f"127.0.0.1:{self.ports[way]} inet n - n - - smtpd{options}\n"

    @staticmethod
    def _refused(where):
        rows = (f"{{ {address} = {refusal.reply} }}" for address, refusal in REFUSALS.items() if refusal.where == where)
        return ", ".join(rows)


# ---------------------------------------------------------------------------- aiosmtpd


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
        made = self._loop.create_server(
            lambda: Conversation(self, settings, self._loop), "127.0.0.1", 0, ssl=context if security == TLS else None
        )
        self._listener = self._loop.run_until_complete(made)
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
