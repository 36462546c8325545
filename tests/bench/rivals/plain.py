"""A script as many a team has one: `secrets`, a dict and a file, over the same pipe as otpd.

It runs by itself; `fill` is for the benchmark and sends no mail.
"""

import argparse
import hashlib
import hmac
import json
import os
import secrets
import smtplib
import sys
import time

ATTEMPTS = 5


def fill(sessions, count, ttl):
    expires = time.monotonic() + ttl
    for n in range(count):
        session = hashlib.blake2b(n.to_bytes(8, "big"), digest_size=16).hexdigest()
        sessions[session] = [f"{n * 7919 % 1_000_000:06d}", expires, 0]


def verify(sessions, session, code):
    entry = sessions.get(session)
    if entry is None or entry[1] <= time.monotonic():
        sessions.pop(session, None)
        return {"ok": False, "error": "no_session"}
    entry[2] += 1
    if hmac.compare_digest(entry[0], code):
        del sessions[session]
        return {"ok": True}
    if entry[2] >= ATTEMPTS:
        del sessions[session]
    return {"ok": False, "error": "wrong_code", "attempts_left": ATTEMPTS - entry[2]}


def forget(sessions):
    """Sessions are as old as their place in the dict, so what has expired stands first."""
    old, now = [], time.monotonic()
    for session, entry in sessions.items():
        if entry[1] > now:
            break
        old.append(session)
    for session in old:
        del sessions[session]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--outbox")
    parser.add_argument("--letter")
    parser.add_argument("--smtp", type=int)
    parser.add_argument("--ttl", type=float, default=86_400)
    options = parser.parse_args()
    sessions = {}
    letter = open(options.letter, encoding="utf-8", newline="").read() if options.letter else ""
    server = smtplib.SMTP("127.0.0.1", options.smtp) if options.smtp else None

    def issue(to):
        forget(sessions)
        session, code = secrets.token_hex(16), f"{secrets.randbelow(1_000_000):06d}"
        text = letter.replace("@TO@", to).replace("@CODE@", code)
        if server:
            server.sendmail("no-reply@acme.example", [to], text)
        elif options.outbox:
            file = os.path.join(options.outbox, session + ".eml")
            with open(file + ".tmp", "w", encoding="utf-8", newline="") as draft:
                draft.write(text)
            os.rename(file + ".tmp", file)
        sessions[session] = [code, time.monotonic() + options.ttl, 0]
        return {"ok": True, "session": session}

    for line in sys.stdin:
        asked = json.loads(line)
        if asked["cmd"] == "verify":
            reply = verify(sessions, asked["session"], asked["code"])
        elif asked["cmd"] == "issue":
            reply = issue(asked["to"])
        elif asked["cmd"] == "fill":
            fill(sessions, asked["count"], options.ttl)
            reply = {"ok": True}
        print(json.dumps(reply), flush=True)


main()
