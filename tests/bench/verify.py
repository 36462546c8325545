"""Checking codes, with few live sessions and with many, and what those cost in memory."""

import array
import time

from driver import TRIES, Spent, lock_step, percentile, pipelined, quiet, quietest
from floors import cat, check_echo
from rounds import FLOOR, TOO_LONG_S, count_of, rounds_of
from table import RATE, Row

SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
# A round needs at least such a part of its bursts to be quiet; with fewer, all are taken.
FEW = 10
# A percentile is told if at least so many commands took longer.
SLOWER = 4
# Of smaller tables the README doesn't tell everything.
LARGE = 1_000_000


class Verify:
    """Everybody with so many live sessions."""

    def __init__(self, contenders, sessions, rounds, shrink, notes):
        self.sessions, self.rounds, self.shrink, self.notes = sessions, rounds, shrink, notes
        self.contenders = [each for each in contenders if each.burst(sessions)]
        self.echo = cat()
        for contender in self.contenders:
            if contender.sessions != sessions or not contender.child:
                contender.ready(sessions)

    def rows(self):
        yield self.memory()
        yield from self.pipelined("wrong", self.contenders)
        yield from self.lock_step()
        yield from self.pipelined("right", self.contenders)
        for contender in self.contenders:
            contender.end()
        self.echo.end()

    def memory(self):
        row = Row(f"resident bytes per live session, {self.sessions:,}", "B")
        if self.sessions >= LARGE:
            row.readme = f"resident bytes per live session, {count_of(self.sessions)}"
        for contender in self.contenders:
            row.add(contender.name, contender.bytes_a_session)
        return row

    def pipelined(self, kind, contenders):
        """The echo gets what otpd got, burst by burst, since each burst's beginning (some 0.1 ms) counts."""
        name = f"verify, {kind} codes, pipelined, {self.sessions:,} live"
        title = f"`verify`, {kind} codes, pipelined, {count_of(self.sessions)} live"
        row, cost = Row(name, RATE, title), Row("  its CPU", "µs", "— CPU of one")

        def turn(contender):
            burst = contender.burst if kind == "wrong" else contender.right_burst
            count, calm, others = max(1, burst(self.sessions) // self.shrink), [], []
            began, calm_count, all_count = time.monotonic(), 0, 0
            for commands in getattr(contender, f"{kind}_bursts")(TRIES * count):
                replies, spent = pipelined(contender.child, commands)
                contender.check(replies, len(commands), getattr(contender, f"{kind}_word"))
                (calm if quiet(spent) else others).append((commands, spent))
                all_count += len(commands)
                calm_count += len(commands) if quiet(spent) else 0
                if calm_count >= count or (all_count >= count and time.monotonic() - began > TOO_LONG_S):
                    break
            if calm_count < max(1, count // FEW):
                calm, calm_count = calm + others, all_count
            total = sum((spent for _, spent in calm), Spent())
            aside = (all_count - calm_count) / all_count * 100
            row.note(contender.name, calm_count, total, aside=aside)
            cost.add(contender.name, total.cpu / calm_count / 1e3)
            if contender.name == "otpd":
                echo([commands for commands, _ in calm], calm_count)

        def echo(sent, count):
            def ask():
                replies, spent = pipelined(self.echo, lines)
                check_echo(replies, lines)
                return spent

            total = Spent()
            for lines in sent:
                total += quietest(ask)
            row.note(FLOOR, count, total)
            cost.add(FLOOR, total.cpu / count / 1e3)

        rounds_of(self.rounds, contenders, turn)
        return [row, cost]

    def lock_step(self):
        """Wrong codes, one at a time, driver and child on one core."""
        live = f"{self.sessions:,} live"
        rows = {p: Row(f"verify in lock-step, {live}, {p}", "µs") for p in SHARES}
        for p, row in rows.items():
            if self.sessions >= LARGE:
                row.readme = f"`verify` in lock-step, {count_of(self.sessions)} live, {p}"

        def turn(contender):
            trips, sent = array.array("d"), []
            for commands in contender.wrong_bursts(max(1, contender.trips(self.sessions) // self.shrink)):
                replies, times = lock_step(contender.child, commands)
                contender.check(replies, len(commands), contender.wrong_word)
                trips.extend(times)
                sent += commands
            add(contender.name, trips)
            if contender.name == "otpd":
                replies, times = lock_step(self.echo, sent)
                check_echo(replies, sent)
                add(FLOOR, times)

        def add(who, trips):
            ordered = sorted(trips)
            for p, row in rows.items():
                if len(ordered) * (1 - SHARES[p]) >= SLOWER or p == "p50":
                    row.add(who, percentile(ordered, SHARES[p]))

        rounds_of(self.rounds, [each for each in self.contenders if each.trips(self.sessions) // self.shrink], turn)
        return list(rows.values())
