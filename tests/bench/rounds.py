"""Whose turn it is: one round of everybody, and then the next."""

import time

FLOOR = "floor"
# Whoever takes longer for a round is asked once only.
TOO_LONG_S = 5


def count_of(sessions):
    return {1_000: "1k", 100_000: "100k", 1_000_000: "1M", 10_000_000: "10M"}.get(sessions, f"{sessions:,}")


def rounds_of(rounds, contenders, turn):
    """Everybody's turn, and then again; what was too slow only once."""
    slow = set()
    for _ in range(rounds):
        for contender in contenders:
            if contender not in slow:
                began = time.monotonic()
                turn(contender)
                if time.monotonic() - began > TOO_LONG_S and contender.name != "otpd":
                    slow.add(contender)
