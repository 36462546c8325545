"""Mails per second: all talk in clear to one `smtp-sink` (of Postfix), which takes everything and keeps nothing.

The floor is a loop over one connection that does what the protocol needs and no more: the envelope
pipelined in one write, the message and its dot in a second, and each answer waited for. It composes
nothing, and sends the bytes that otpd would send.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time

from contender import address
from driver import CPUS, Child, fail, pipelined
from rounds import FLOOR, rounds_of
from servers import answers, eventually, free_ports
from table import RATE, Row

FROM = "no-reply@acme.example"
# otpd lets 1,000 mails wait; more at once would be refused.
UNDER_WAY = 800
# Connections that the sink takes at a time.
BACKLOG = 200
MAILS = 6_000
SLOW_MAILS = {"plain Python": 2_000, "django-otp": 300}


class Otpd:
    """A daemon with so many connections to the sink."""

    name = "otpd"

    def __init__(self, binary, port, connections):
        flags = ["--from", FROM, "--smtp", f"smtp://127.0.0.1:{port}", "--smtp-connections", str(connections)]
        self.child, self.issued = Child([binary, "serve", *flags]), 0

    def issue(self, count):
        """Tagged issues to addresses of which each is new, as many under way as otpd lets wait."""
        replies, asked, answered = [], 0, 0
        while answered < count:
            more = min(UNDER_WAY - (asked - answered), count - asked)
            os.write(self.child.input, b"".join(self.line() for _ in range(more)))
            asked += more
            replies.append(os.read(self.child.output, 65_536))
            if not replies[-1]:
                fail("otpd stopped answering")
            answered += replies[-1].count(b"\n")
        replies = b"".join(replies)
        if replies.count(b'"delivery":"sent"') != count:
            fail(f"not all of {count} mails were sent; {replies[:300]}")

    def line(self):
        self.issued += 1
        return b'{"cmd":"issue","id":%d,"to":"%s"}\n' % (self.issued, address(self.issued).encode())

    def cpu_s(self):
        return self.child.cpu_ns() / 1e9

    def end(self):
        self.child.end()


class Script:
    """A rival, which mails one after another; all lines are written at once."""

    def __init__(self, rival, port, flags):
        self.rival, self.name, self.issued = rival, rival.name, 0
        self.child = rival.child = rival.start("--smtp", str(port), *flags)
        rival.ping()

    def issue(self, count):
        lines = [self.rival.issue(n) for n in range(self.issued, self.issued + count)]
        self.issued += count
        self.rival.check(pipelined(self.child, lines)[0], count, self.rival.right_word)

    def cpu_s(self):
        return self.child.cpu_ns() / 1e9

    def end(self):
        self.rival.end()


class Bare:
    """One connection, and nothing that a mail doesn't need."""

    name = FLOOR

    def __init__(self, port, letter):
        self.message = letter.replace(b"\r\n.", b"\r\n..") + b".\r\n"
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.expect(1, b"220")
        self.socket.sendall(b"EHLO localhost\r\n")
        self.socket.recv(65_536)
        self.issued = 0

    def issue(self, count):
        for _ in range(count):
            self.issued += 1
            to = address(self.issued)
            self.socket.sendall(f"MAIL FROM:<{FROM}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode())
            self.expect(3, b"354")
            self.socket.sendall(self.message)
            self.expect(1, b"250")

    def expect(self, lines, code):
        heard = b""
        while heard.count(b"\n") < lines:
            more = self.socket.recv(65_536)
            if not more:
                fail("the sink has gone")
            heard += more
        if not heard.splitlines()[-1].startswith(code):
            fail(f"{heard} instead of {code}")

    def cpu_s(self):
        return time.process_time()

    def end(self):
        self.socket.close()


@contextlib.contextmanager
def sink():
    """A port where everything is taken, or nothing if Postfix isn't here."""
    program = shutil.which("smtp-sink", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not program:
        yield None
        return
    [port] = free_ports(1)
    as_nobody = ["-u", "nobody"] if os.geteuid() == 0 else []
    server = subprocess.Popen([program, *as_nobody, f"127.0.0.1:{port}", str(BACKLOG)])
    try:
        eventually(lambda: answers(port), "smtp-sink")
        yield port
    finally:
        server.terminate()
        server.wait(30)


def mails(binary, rivals, rounds, quick, model, notes):
    """Mails a second and µs of CPU a mail, the client's own; nobody is pinned, since the sink works too."""
    row = Row("mails by SMTP, otpd over 4 connections", RATE, "mails by SMTP, 4 connections")
    single = Row("mails by SMTP, otpd over 1 connection", RATE, "mails by SMTP, 1 connection")
    with sink() as port:
        if not port:
            notes.append("mails were skipped: no smtp-sink (Debian's postfix)")
            return []
        with open(model, "rb") as file:
            letter = file.read().replace(b"@CODE@", b"123456")
        rows = {Otpd(binary, port, 1): [single], Otpd(binary, port, 4): [row], Bare(port, letter): [single, row]}
        for rival in rivals:
            # Both keep to one connection at a time.
            flags = ["--letter", model] if rival.name == "plain Python" else []
            rows[Script(rival, port, flags)] = [single]

        def turn(client):
            count = SLOW_MAILS.get(client.name, MAILS) // (4 if quick else 1)
            cpu, began = client.cpu_s(), time.perf_counter()
            client.issue(count)
            wall = time.perf_counter() - began
            for each in rows[client]:
                each.add(client.name, count / wall, cpu_us=(client.cpu_s() - cpu) / count * 1e6)

        for client in rows:
            # Connections are made here, and kept by those who keep any.
            client.issue(100)
            if isinstance(client, (Otpd, Script)):
                # Threads were started pinned, and each is unpinned by itself.
                for thread in os.listdir(f"/proc/{client.child.pid}/task"):
                    os.sched_setaffinity(int(thread), CPUS)
        rounds_of(rounds, list(rows), turn)
        for client in rows:
            client.end()
    notes.append("mails: the floor and plain Python keep one connection, django-otp makes one for each mail.")
    return [single, row]
