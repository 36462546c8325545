"""What all servers here have in common: what they know, whom they refuse, and patience with them."""

import contextlib
import socket
import time
from collections import namedtuple

USER, PASSWORD = "otpd", "correct-horse-battery-staple"
# Something servers say when they refuse, and otpd must not repeat.
WORDS = "Xyzzy-said-the-server"
# A server that takes longer to start or to deliver is broken.
PATIENCE_S = 10

# How a server may want to be talked to.
PLAIN, STARTTLS, TLS = "plain", "starttls", "tls"
SECURITIES = PLAIN, STARTTLS, TLS

Received = namedtuple("Received", "sender recipients raw")
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
