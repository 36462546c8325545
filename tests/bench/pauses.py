"""The longest command while very many sessions come, and while they go at once."""

import array
import os
import time

from driver import DRIVER_CPU, fail, lock_step, now, percentile, pipelined
from floors import cat, same_files, write_file
from otpd import blocks_of, issue, issued
from rounds import FLOOR, count_of
from table import Row

# So many of the slowest commands are told.
SLOWEST = 5
# Ended by `advance`, after the ten minutes of the default policy.
LIFE_S = 600


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
        told = [f"{each[n]:,.0f} (no. {n + 1:,})" for n in slowest]
        if each is trips:
            told = [f"{text}, CPU {costs[n]:,.0f}" for text, n in zip(told, slowest)]
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
    title = f"longest command, {count_of(sessions)} expire at once"
    row = Row(f"longest command while {sessions:,} expire at once", "µs", title)
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
