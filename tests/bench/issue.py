"""Starting, and `issue` to an outbox."""

import os
import resource
import tempfile
import time
from pathlib import Path

from contender import address
from driver import DRIVER_CPU, OTHER_CPU, Spent, fail, now, pipelined
from floors import cat, same_files, write_file
from otpd import CODE, Daemon, Otpd, issue, issued
from rounds import FLOOR, rounds_of
from table import RATE, Row

# Issues of a round, about a second of work; of Redis, which isn't here, as of a fast script.
COUNTS = {
    "otpd": 20_000,
    "plain Python": 8_000,
    "django-otp": 400,
    "better-auth, memory": 300,
    "better-auth, map": 2_000,
}
OTHERWISE = 5_000

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


def issue_to_outbox(contenders, rounds, quick, tmpfs, model, notes):
    """`issue`, pipelined where it can be, each round in a fresh process, to a directory on tmpfs."""
    rate = Row("issue to an outbox", RATE, "`issue` to an outbox")
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
        cpu, own, began = rival.child.cpu_ns(), time.process_time_ns(), now()
        rival.issue_with_mail(count, letter, lambda name, text: write_file(place, f".{name}.tmp", name, text))
        wall, own, cpu = now() - began, time.process_time_ns() - own, rival.child.cpu_ns() - cpu
        os.close(place)
        rival.end()
        # On one core they wait for each other, which says nothing of anybody else.
        rate.note(rival.name, count, Spent(wall, cpu, own))

    def by_script(rival, outbox, count):
        child = rival.child = rival.mailing(outbox, model)
        rival.ping()
        replies, spent = pipelined(child, [rival.issue(n) for n in range(count)])
        rival.check(replies, count, rival.right_word)
        rival.end()
        rate.note(rival.name, count, spent)

    def turn(contender):
        count = COUNTS.get(contender.name, OTHERWISE) // shrink
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
        f"issue: otpd pipelined, {COUNTS['otpd'] // shrink:,} a round, each to another address; files of "
        f"{len(letter):,} bytes. The floor is a loop in the driver, in Python, that writes the same files: "
        f"{loop['user'] / loop['all']:.0%} of its CPU is user time. Redis is driven by such a loop, a request at a "
        "time, on one core with it; rivals write the same message, but django-otp a shorter one of its own."
    )
    return [rate]
