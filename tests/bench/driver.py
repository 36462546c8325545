"""What drives a child: its pipes, its core, its clock, its memory. The same for whoever is measured."""

import array
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

CPUS = sorted(os.sched_getaffinity(0))
# The driver's core, which a child shares in lock-step, and the child's when both are busy at once.
DRIVER_CPU, OTHER_CPU = CPUS[0], CPUS[-1]
# As large as a pipe holds by default.
CHUNK = 65_536
# A burst that waited for its cores longer than this share of its time isn't counted, if enough of
# so many times as much are quieter.
WAITED, TRIES = 0.1, 3
now = time.perf_counter_ns


def fail(why):
    sys.exit(f"bench: {why}")


class Child:
    """A process that gives so many lines for each command."""

    running = set()

    def __init__(self, argv, lines=1, env=None, quiet=False):
        self.lines, self.argv = lines, argv
        (stdin, self.input), (self.output, stdout) = os.pipe(), os.pipe()
        files = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, stdout, 1)]
        if quiet:
            files.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
        plain = {name: value for name, value in os.environ.items() if not name.startswith("OTPD_")}
        # Its helper threads are to go where they like, and not where the driver is.
        os.sched_setaffinity(0, CPUS)
        self.began = now()
        self.pid = os.posix_spawn(argv[0], [str(word) for word in argv], {**plain, **(env or {})}, file_actions=files)
        os.sched_setaffinity(0, {DRIVER_CPU})
        os.close(stdin)
        os.close(stdout)
        self.running.add(self)

    def run_on(self, cpu):
        """Its main thread; helpers, where a runtime has them, go where they like."""
        os.sched_setaffinity(self.pid, {cpu})

    def account(self):
        """What all its threads ran, and what its main thread waited for a core, so far, in ns."""
        ran = sum(int(file.read_text().split()[0]) for file in Path(f"/proc/{self.pid}/task").glob("*/schedstat"))
        return ran, int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[1])

    def cpu_ns(self):
        """User and system time."""
        return self.account()[0]

    def memory(self, field="VmRSS"):
        """VmRSS or VmHWM in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB$", status, re.M)[1]) * 1024

    def ask(self, line):
        """One command, and all of its reply."""
        os.write(self.input, line)
        reply = os.read(self.output, CHUNK)
        while reply.count(b"\n") < self.lines:
            if not reply:
                fail(f"{self.argv[0]} stopped answering")
            reply += os.read(self.output, CHUNK)
        return reply

    def end(self):
        """Ends the input; the child must then end well."""
        os.close(self.input)
        _, status = os.waitpid(self.pid, 0)
        self.running.discard(self)
        os.close(self.output)
        if status != 0:
            fail(f"{self.argv[0]} ended with wait status {status}")

    def kill(self):
        self.running.discard(self)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Spent:
    """What commands took, in ns: by the clock, of CPU, of the driver's CPU, and in waiting for a core
    that somebody else had, child and driver together."""

    def __init__(self, wall=0, cpu=0, own=0, waited=0):
        self.wall, self.cpu, self.own, self.waited = wall, cpu, own, waited

    def __add__(self, other):
        return Spent(*(mine + more for mine, more in zip(vars(self).values(), vars(other).values())))

    def per_second(self, count):
        return count / (self.wall / 1e9)

    def shares(self, count):
        """What is told beside a rate."""
        per_cent = 100 / self.wall
        return {
            "cpu_us": self.cpu / count / 1e3,
            "child_busy": self.cpu * per_cent,
            "driver_busy": self.own * per_cent,
            "waited": self.waited * per_cent,
        }


def quiet(spent):
    """Whether nobody else had our cores for long; with one core we have it from each other."""
    return spent.waited < WAITED * spent.wall or DRIVER_CPU == OTHER_CPU


def quietest(measure):
    """Again, if somebody else had the cores meanwhile; of a few tries the one that waited least."""
    tries = []
    while len(tries) < TRIES:
        tries.append(measure())
        if quiet(tries[-1]):
            break
    return min(tries, key=lambda spent: spent.waited / spent.wall)


def write_all(file, data):
    """A pipe takes everything at once from a blocking writer; a socket may not."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def pipelined(child, commands, lines=None):
    """Writes all commands as fast as they are taken, without waiting for a reply.

    Gives the replies and what was spent.
    """
    sent, chunks, left = b"".join(commands), [], len(commands) * (lines or child.lines)
    child.run_on(OTHER_CPU)
    writer = threading.Thread(target=write_all, args=(child.input, sent), daemon=True)
    (cpu, waited), own_waited = child.account(), waited_ns()
    own, start = time.process_time_ns(), now()
    writer.start()
    while left > 0:
        chunk = os.read(child.output, CHUNK)
        if not chunk:
            fail(f"{child.argv[0]} stopped answering")
        chunks.append(chunk)
        left -= chunk.count(b"\n")
    wall = now() - start
    own, after = time.process_time_ns() - own, child.account()
    # That our two threads wait for each other, for as long as they run at the most, is no disturbance.
    waited = after[1] - waited + max(0, waited_ns() - own_waited - own)
    writer.join()
    return b"".join(chunks), Spent(wall, after[0] - cpu, own, waited)


def waited_ns():
    """How long this thread waited for a core so far."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1])


def lock_step(child, commands):
    """Waits for the reply to each command before the next, on one core. Replies, and µs of each trip."""
    child.run_on(DRIVER_CPU)
    replies, trips = [], array.array("d")
    for command in commands:
        start = now()
        reply = child.ask(command)
        trips.append((now() - start) / 1e3)
        replies.append(reply)
    return b"".join(replies), trips


def percentile(sorted_values, share):
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]
