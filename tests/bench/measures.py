"""What is measured, each in alternating rounds: one of everybody, and then again."""

import array
import os

import resource
import tempfile
import time
from pathlib import Path

from contender import address
from driver import DRIVER_CPU, OTHER_CPU, TRIES, Spent, fail, lock_step, now, percentile, pipelined, quiet, quietest, waited_ns
from floors import cat, check_echo, same_files, write_file
from otpd import CODE, Daemon, Otpd, blocks_of, issue, issued
from table import RATE, Row

FLOOR = "floor"
SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
# A round needs at least such a part of its bursts to be quiet; with fewer, all are taken.
FEW = 10
# A percentile is told if at least so many commands took longer.
SLOWER = 4
# Whoever takes longer for a round is asked once only.
TOO_LONG_S = 3
# So many of the slowest commands are told.
SLOWEST = 5
# Of smaller tables the README doesn't tell everything.
LARGE = 1_000_000
# Ended by `advance`, after the ten minutes of the default policy.
LIFE_S = 600


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


def letter_of_otpd(tmpfs):
    """A file with a message, marks where the address and the code were: rivals write the same."""
    daemon = Daemon(Otpd.binary, tmpfs)
    [file] = issued(daemon.ask(issue(0)), b"file", 1)
    letter = Path(os.fsdecode(file)).read_bytes()
    daemon.end()
    code = CODE.search(letter)[0]
    if letter.count(code) != 2:
        fail("a message has its code not twice")
    model = Path(tmpfs, "letter.eml")
    model.write_bytes(letter.replace(code, b"@CODE@").replace(address(0).encode(), b"@TO@"))
    return str(model)


# ---------------------------------------------------------------------------- start


def start(contenders, quick):
    """From the spawn to the first reply, warm; the memory then. The driver's spawn is in it."""
    first = Row("start to first reply", "ms", "start to first reply")
    peak = Row("peak memory of a start", "KiB", "peak memory of a start")

    def note(name, child, ping):
        ping()
        took = (now() - child.began) / 1e6
        first.add(name, took)
        peak.add(name, child.memory("VmHWM") / 1024)
        child.end()

    def turn(contender):
        contender.child = contender.start()
        note(contender.name, contender.child, contender.ping)
        contender.child = None

    for n in range(10 if quick else 20):
        for contender in contenders:
            # The first ones warm the page cache; who takes a second to start is asked a few times.
            if n < 3 or contender.name == "otpd" or first.median(contender.name) < 100:
                turn(contender)
        echo = cat()
        note(FLOOR, echo, lambda: echo.ask(b'{"cmd":"verify"}\n'))
    return [first, peak]


# ---------------------------------------------------------------------------- issue


def issue_to_outbox(contenders, rounds, quick, tmpfs, model, notes):
    """`issue`, pipelined where it can be, each round in a fresh process, to a directory on tmpfs."""
    rate = Row("issue to an outbox", RATE, "`issue` to an outbox")
    counts = {"otpd": 20_000, "plain Python": 8_000, "django-otp": 400, "better-auth, memory": 300, "better-auth, map": 2_000}
    shrink = 4 if quick else 1
    loop, letter = {"user": 0, "all": 0}, Path(model).read_bytes()

    def by_otpd(daemon, count):
        replies, spent = pipelined(daemon, [issue(n) for n in range(count)])
        with same_files(issued(replies, b"file", count), tmpfs) as (letters, place):
            daemon.end()
            os.sched_setaffinity(0, {OTHER_CPU})
            before, began = resource.getrusage(resource.RUSAGE_THREAD), now()
            for each in letters:
                write_file(place, *each)
            floor, after = (now() - began) / 1e9, resource.getrusage(resource.RUSAGE_THREAD)
            os.sched_setaffinity(0, {DRIVER_CPU})
        loop["user"] += after.ru_utime - before.ru_utime
        loop["all"] += after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        rate.note("otpd", count, spent)
        rate.add(FLOOR, count / floor)

    def by_redis(rival, outbox, count):
        rival.child = rival.start()
        rival.ping()
        place = os.open(outbox, os.O_RDONLY)
        rival.child.run_on(DRIVER_CPU)
        (cpu, waited), own_waited = rival.child.account(), waited_ns()
        own, began = time.process_time_ns(), now()
        rival.issue_with_mail(count, letter, lambda name, text: write_file(place, f".{name}.tmp", name, text))
        wall, own, after = now() - began, time.process_time_ns() - own, rival.child.account()
        # On one core they wait for each other, which is in this too.
        waited = after[1] - waited + waited_ns() - own_waited
        os.close(place)
        rival.end()
        rate.note(rival.name, count, Spent(wall, after[0] - cpu, own, waited))

    def by_script(rival, outbox, count):
        child = rival.child = rival.mailing(outbox, model)
        rival.ping()
        replies, spent = pipelined(child, [rival.issue(n) for n in range(count)])
        rival.check(replies, count, rival.right_word)
        rival.end()
        rate.note(rival.name, count, spent)

    def turn(contender):
        count = counts.get(contender.name, 5_000) // shrink
        if contender.name == "otpd":
            by_otpd(contender.start("--ttl", "10m"), count)
            return
        with tempfile.TemporaryDirectory(dir=tmpfs) as outbox:
            (by_redis if hasattr(contender, "issue_with_mail") else by_script)(contender, outbox, count)
            # Django appends to a file when it finds one of the same second.
            written = sum(file.read_bytes().count(b"\nTo: ") for file in Path(outbox).iterdir())
            if written != count:
                fail(f"{contender.name}: {written} messages of {count}")

    rounds_of(rounds, contenders, turn)
    notes.append(
        f"issue: otpd pipelined, {counts['otpd'] // shrink:,} a round, each to another address; files of "
        f"{len(letter):,} bytes. The floor is a loop in the driver, in Python, that writes the same files: "
        f"{loop['user'] / loop['all']:.0%} of its CPU is user time. Redis is driven by such a loop, a request at a "
        "time, so its driver sets the rate; rivals write the same message, but django-otp a shorter one of its own."
    )
    return [rate]


# ---------------------------------------------------------------------------- pauses


def growth(otpd, rivals, sessions, tmpfs, notes):
    """`issue` in lock-step while the table grows from nothing: the longest command of each.

    The floor is what every `issue` must do at the least: the line through the echo, and the same
    file written (by the driver), block by block beside the issues, so that whatever else happens on
    the machine shows in both. Redis gets no messages to write. Leaves otpd with its sessions.
    """
    echo, trips, floors, costs = cat(), array.array("d"), array.array("d"), array.array("d")
    otpd.end()
    otpd.sessions, otpd.ids, otpd.codes = sessions, bytearray(), {}
    daemon = otpd.child = otpd.start()
    otpd.ping()
    before = daemon.memory()
    for child in (daemon, echo):
        child.run_on(DRIVER_CPU)
    account = os.open(f"/proc/{daemon.pid}/schedstat", os.O_RDONLY)
    for block in blocks_of(sessions):
        lines, replies = [issue(n) for n in block], []
        used = int(os.pread(account, 64, 0).split()[0])
        for line in lines:
            began = now()
            reply = daemon.ask(line)
            trips.append((now() - began) / 1e3)
            used, last = int(os.pread(account, 64, 0).split()[0]), used
            costs.append((used - last) / 1e3)
            replies.append(reply)
        replies = b"".join(replies)
        with same_files(issued(replies, b"file", len(block)), tmpfs) as (letters, place):
            otpd.take(replies, block)
            for line, letter in zip(lines, letters):
                began = now()
                echo.ask(line)
                write_file(place, *letter)
                floors.append((now() - began) / 1e3)
    os.close(account)
    echo.end()
    otpd.bytes_a_session = (daemon.memory() - before) / sessions
    otpd.aim()

    times = {"otpd": trips, FLOOR: floors}
    for rival in rivals:
        times[rival.name] = grow_rival(rival, sessions)
    rows = []
    for name, share in (("p50", 0.5), ("p99.9", 0.999), ("longest", 1)):
        title = f"`issue` in lock-step, {name} up to {count_of(sessions)} sessions"
        rows.append(Row(f"issue in lock-step while {sessions:,} come, {name}", "µs", title if share == 1 else None))
        for who, each in times.items():
            rows[-1].add(who, percentile(sorted(each), share))
    for who, each in times.items():
        slowest = sorted(range(sessions), key=each.__getitem__)[: -SLOWEST - 1 : -1]
        told = [f"{each[n]:,.0f} (no. {n + 1:,}" + (f", CPU {costs[n]:,.0f})" if each is trips else ")") for n in slowest]
        notes.append(f"slowest issues of {sessions:,}, µs, {who}: " + "; ".join(told))
    return rows


def grow_rival(rival, sessions):
    """Their tables alone: no messages are written."""
    times = array.array("d")
    is_redis = hasattr(rival, "issue_with_mail")
    rival.child = child = rival.start()
    rival.ping()
    child.lines = 2 if is_redis else 1
    word, words = (b":1\r\n", 2) if is_redis else (rival.right_word, 1)
    for block in blocks_of(sessions):
        replies, trips = lock_step(child, [rival.issue(n) for n in block])
        rival.check(replies, words * len(block), word)
        times.extend(trips)
    rival.end()
    return times


def expiry(otpd, rivals, sessions, notes):
    """All sessions end at one instant; the longest command from there on until they are gone.

    otpd's time is moved by `advance`, which is a command too, and counts.
    """
    row = Row(f"longest command while {sessions:,} expire at once", "µs", f"longest command, {count_of(sessions)} expire at once")
    daemon = otpd.start("--simulate", "7", "--capacity", str(max(sessions, 1_000_000)))
    for block in blocks_of(sessions):
        replies = pipelined(daemon, [issue(n) for n in block])[0]
        last = issued(replies, b"session", len(block))[-1]
        daemon.pick_up()
    gone = b'{"cmd":"verify","session":"%s","code":"123456"}\n' % last
    replies, moved = lock_step(daemon, [b'{"cmd":"advance","seconds":%d}\n' % LIFE_S])
    if b'"ok":true' not in replies:
        fail(f"advance: {replies}")
    replies, trips = lock_step(daemon, [gone] * min(sessions, 100_000))
    status = daemon.ask(b'{"cmd":"status"}\n')
    if b'"ok":true' in replies or b"wrong_code" in replies or b'"live":0,' not in status:
        fail(f"sessions did not expire: {replies[:200]}; {status[:200]}")
    daemon.end()
    row.add("otpd", max(max(moved), max(trips)))
    notes.append(f"expiry: otpd's advance took {moved[0]:,.0f} µs, the longest verify after it {max(trips):,.0f} µs.")
    for rival in rivals:
        expire = expire_redis if hasattr(rival, "issue_with_mail") else expire_script
        row.add(rival.name, expire(rival, sessions, notes))
    return [row]


def expire_redis(rival, sessions, notes):
    """Keys with one time of expiry, and checks of an unknown one for some seconds around it."""
    rival.child = child = rival.start()
    rival.ping()
    rival.fill(sessions)
    # Setting them takes a second or two itself.
    end_s = time.time() + 2 + sessions * 8e-6
    rival.expire_all_at(end_s)
    if time.time() > end_s - 0.2:
        fail(f"{rival.name}: expired before all was there")
    time.sleep(end_s - time.time() - 0.2)
    left = lambda: int(child.ask(b"*1\r\n$6\r\nDBSIZE\r\n")[1:])  # noqa: E731
    if left() != sessions:
        fail(f"{rival.name}: {left()} keys of {sessions}")
    longest, guess, give_up = 0, rival.guess(sessions), end_s + 30
    while left() and time.time() < give_up:
        replies, trips = lock_step(child, [guess] * 1_000)
        rival.check(replies, len(trips), b":-1\r\n")
        longest = max(longest, max(trips))
    notes.append(f"expiry: {rival.name} had all keys gone {time.time() - end_s:.1f} s after their time.")
    rival.end()
    return longest


def expire_script(rival, sessions, _notes):
    ttl = 1 + sessions * 15e-6
    rival.child = child = rival.start("--ttl", str(ttl))
    rival.ping()
    began = time.monotonic()
    rival.fill(sessions)
    time.sleep(max(0, began + ttl + 0.1 - time.monotonic()))
    replies, trips = lock_step(child, [rival.issue(n) for n in range(1_000)])
    rival.check(replies, len(trips), rival.right_word)
    rival.end()
    return max(trips)


# ---------------------------------------------------------------------------- verify


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


