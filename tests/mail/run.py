#!/usr/bin/env python3
"""Tries otpd against real mail servers, on loopback, and holds its messages against SpamAssassin.

    OTPD_BIN=target/debug/otpd tests/mail/run.py [test_check | test_check.Checks.test_… …]

Needs OpenSSL, Postfix (started as root, with a configuration of its own), aiosmtpd and SpamAssassin;
`scripts/test` brings them. What is missing is skipped by name, which is a failure where CI=true.
"""

import os
import signal
import sys
import unittest
from collections import Counter
from pathlib import Path

sys.dont_write_bytecode = True

import world  # noqa: E402

HERE = Path(__file__).resolve().parent
# The whole run is given up after this long.
LIMIT_S = 300


def give_up(number, _frame):
    # unittest takes any other exception for a failure of the test that runs, and goes on.
    raise KeyboardInterrupt(f"given up: {signal.Signals(number).name}")


def main():
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, give_up)
    signal.alarm(LIMIT_S)
    with world.END:
        loader, names = unittest.defaultTestLoader, sys.argv[1:]
        tests = loader.loadTestsFromNames(names) if names else loader.discover(str(HERE))
        result = unittest.TextTestRunner(verbosity=2).run(tests)
    for reason, times in Counter(reason for _, reason in result.skipped).items():
        print(f"skipped {times} times: {reason}", file=sys.stderr)
    return not result.wasSuccessful() or (os.environ.get("CI") == "true" and bool(result.skipped))


if __name__ == "__main__":
    sys.exit(main())
