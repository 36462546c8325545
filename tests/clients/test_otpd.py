"""scripts/clients/otpd.py against the program, and against one that breaks every rule."""
import asyncio, contextlib, os, signal, sys, tempfile, threading, time, unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here.parents[1] / "scripts" / "clients"))
import otpd
from otpd import AsyncOtpd, Otpd

PROGRAM = os.environ.get("OTPD_BIN", "otpd")
FAKE = str(here / "fake-otpd")


def code_in(issued):
    return next(line for line in Path(issued.file).read_text().splitlines() if line.isdigit() and len(line) == 6)


def another(code):
    return f"{(int(code) + 1) % 1_000_000:06}"


class WithOutbox(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.flags = ["--outbox", os.path.join(directory.name, "outbox")]

    def start(self, *flags, kind=Otpd, **options):
        client = kind([*self.flags, *flags], program=PROGRAM, **options)
        self.addCleanup(client.end, 1)
        return client

    def fake(self, mode, kind=Otpd, **options):
        client = kind([mode], program=FAKE, **options)
        self.addCleanup(client.end, 0)
        return client


class Sync(WithOutbox):
    def test_the_right_code_once_and_wrong_ones_as_values(self):
        client = self.start()
        issued = client.issue("ann@example.org", purpose="sign-up", data={"user": 7})
        self.assertEqual((issued.to, issued.delivery, issued.attempts_left, issued.expires_in_s), ("ann@example.org", "sent", 5, 600))
        code = code_in(issued)
        wrong = client.verify(issued.session, another(code), purpose="sign-up")
        self.assertEqual((wrong.ok, bool(wrong), wrong.error, wrong.attempts_left), (False, False, "wrong_code", 4))
        for typed, purpose, error in (("1", "sign-up", "bad_code"), (code, None, "wrong_purpose")):
            self.assertEqual(client.verify(issued.session, typed, purpose=purpose).error, error)
        right = client.verify(issued.session, f"{code[:3]} {code[3:]}", purpose="sign-up")
        self.assertEqual((bool(right), right.error, right.to, right.purpose, right.data), (True, None, "ann@example.org", "sign-up", {"user": 7}))
        self.assertEqual(client.verify(issued.session, code, purpose="sign-up").error, "already_used")
        self.assertEqual(client.verify("nobody", code).error, "no_session")
        self.assertEqual(client.status(issued.session)["state"], "verified")
        self.assertEqual(client.status()["counters"]["verified"], 1)
        self.assertIn("verify", client.help("verify")["commands"])

    def test_sessions_end(self):
        client = self.start("--failures-per-day", "5", "--attempts", "3", "--cool-down", "1")
        issued = client.issue("ann@example.org")
        code = code_in(issued)
        self.assertEqual([client.verify(issued.session, another(code)).attempts_left for _ in range(3)], [2, 1, 0])
        self.assertEqual(client.verify(issued.session, code).error, "attempts_used")
        with self.assertRaises(otpd.SessionOver) as over:
            client.resend(issued.session)
        self.assertEqual(over.exception.error, "attempts_used")
        client = self.start("--failures-per-day", "1")
        issued = client.issue("bob@example.org")
        code = code_in(issued)
        client.verify(issued.session, another(code))
        second = client.ask("issue", to="bob@example.org")
        self.assertEqual(second["error"], "locked")  # and `ask` doesn't raise
        with self.assertRaises(otpd.Locked) as locked:
            client.issue("bob@example.org")
        self.assertGreater(locked.exception.retry_in_s, 86_000)
        client.unlock("bob@example.org")
        third = client.ask("issue", to="bob@example.org")
        self.assertTrue(client.cancel(third["session"])["ok"])
        self.assertEqual(client.verify(third["session"], code).error, "cancelled")

    def test_refusals_are_exceptions_with_fields(self):
        client = self.start()
        session = client.issue("ann@example.org").session
        with self.assertRaises(otpd.RateLimited) as limited:
            client.issue("Ann+x@example.org")
        self.assertEqual((limited.exception.limit, limited.exception.retry_in_s), ("cooldown", 60))
        with self.assertRaises(otpd.RateLimited):
            client.resend(session)
        with self.assertRaises(otpd.BadAddress):
            client.issue("ann")
        with self.assertRaises(otpd.BadField) as bad:
            client.issue("bob@example.org", ttl_s=1)
        self.assertEqual(bad.exception.field, "ttl_s")
        with self.assertRaises(ValueError):  # BadField is one
            client.issue("bob@example.org", purpose="two\nlines")
        with self.assertRaises(otpd.BadField):
            client.issue("bob@example.org", data="x" * 70_000)
        with self.assertRaises(ValueError):
            client.issue("bob@example.org", data=float("nan"))
        with self.assertRaises(ValueError):
            client.issue("bob\ud800@example.org")
        self.assertEqual(client.ask("nonsense")["error"], "unknown_command")
        os.rename(self.flags[1], self.flags[1] + ".away")
        with self.assertRaises(otpd.DeliveryFailed) as failed:
            client.issue("eve@example.org")
        self.assertIs(failed.exception.temporary, True)
        self.assertTrue(client.status()["ok"])

    def test_a_full_table_is_unavailable(self):
        client = self.start("--capacity", "1")
        client.issue("ann@example.org")
        with self.assertRaises(otpd.Unavailable):
            client.issue("bob@example.org")

    def test_special_characters_come_back(self):
        client = self.start()
        data, purpose = {"q": '"\\/\n\u2028\u00e9😀', "a": [None, True, 1.5]}, 'a "purpose" \\ of é😀'
        issued = client.issue("ann@example.org", purpose=purpose, data=data, vars={"name": '"Ann" \\ 😀'}, locale="de-AT", client="::1")
        verdict = client.verify(issued.session, code_in(issued), purpose=purpose)
        self.assertEqual((verdict.data, verdict.purpose), (data, purpose))

    def test_nothing_secret_is_shown(self):
        client = self.start()
        issued = client.issue("ann@example.org", data="hidden")
        code = code_in(issued)
        shown = [repr(issued), repr(client.verify(issued.session, another(code))), repr(client.verify(issued.session, code))]
        for mistake in (lambda: client.resend(issued.session), lambda: client.issue("ann@example.org")):
            try:
                mistake()
            except otpd.Refused as err:
                shown += [repr(err), str(err)]
        self.assertEqual(len(shown), 7)
        for secret in (issued.session, code, "ann@", "hidden"):
            self.assertNotIn(secret, " ".join(shown))

    def test_a_thousand_verifications_from_many_threads(self):
        client = self.start()
        issue = lambda n: client.issue(f"user{n}@example.org", data=n)
        def verify(n):
            code = code_in(issued[n])
            return client.verify(issued[n].session, code if n % 2 else another(code))
        with ThreadPoolExecutor(100) as pool:
            issued = list(pool.map(issue, range(1000)))
            verdicts = list(pool.map(verify, range(1000)))
        for n, verdict in enumerate(verdicts):
            if n % 2:
                self.assertEqual((verdict.ok, verdict.data, verdict.to), (True, n, f"user{n}@example.org"))
            else:
                self.assertEqual((verdict.error, verdict.attempts_left), ("wrong_code", 4))

    def test_a_killed_otpd_is_noticed_at_once_and_started_again_if_wanted(self):
        client = self.start()
        client.status()
        os.kill(client.daemon.process.pid, signal.SIGKILL)
        for _ in range(2):
            began = time.monotonic()
            with self.assertRaisesRegex(otpd.DaemonGone, "signal 9"):
                client.status()
            self.assertLess(time.monotonic() - began, 1)
        client = self.start(restart=True)
        session = client.issue("ann@example.org").session
        client.daemon.process.kill()
        with contextlib.suppress(otpd.DaemonGone):  # as long as the death was not noticed
            client.status()
        self.assertEqual(client.verify(session, "123456").error, "no_session")

    def test_who_waits_is_told_of_the_death(self):
        client = self.fake("silent")
        told = []
        def wait():
            try:
                client.status()
            except otpd.DaemonGone as err:
                told.append((str(err), time.monotonic()))
        threads = [threading.Thread(target=wait) for _ in range(20)]
        for thread in threads:
            thread.start()
        while len(client.daemon.waiting) < 20:
            time.sleep(0.001)
        died = time.monotonic()
        client.daemon.process.kill()
        for thread in threads:
            thread.join(5)
        self.assertEqual({why for why, _ in told}, {"otpd was ended by signal 9"})
        self.assertEqual(len(told), 20)
        self.assertLess(max(at for _, at in told) - died, 1)

    def test_waits_are_bounded(self):
        for mode in ("silent", "deaf"):
            client = self.fake(mode, timeout=0.05)
            began = time.monotonic()
            for size in (1, 60_000, 60_000, 60_000):  # more than a pipe holds
                with self.assertRaisesRegex(otpd.NoAnswer, "0.05 s"):
                    client.ask("status", x="x" * size)
            self.assertLess(time.monotonic() - began, 2)
            self.assertEqual(client.daemon.waiting, {})

    def test_a_late_answer_belongs_to_nobody(self):
        client = self.fake("pairs", timeout=0.1)
        with self.assertRaises(otpd.NoAnswer):
            client.ask("one")
        self.assertEqual(client.ask("two")["id"], 2)  # the answer to the first comes behind it
        with ThreadPoolExecutor(2) as pool:
            first, second = (pool.submit(client.ask, "x") for _ in range(2))
            self.assertEqual({first.result()["id"], second.result()["id"]}, {3, 4})

    def test_strays_and_doubles_are_dropped(self):
        client = self.fake("strays", timeout=5)
        self.assertEqual([client.ask("x")["id"] for _ in range(20)], list(range(1, 21)))

    def test_what_is_not_otpd_is_ended(self):
        for mode, why in (("garbage", "broke its output"), ("mute", "broke its output"), ("fails", "status 7")):
            client = self.fake(mode, timeout=30)
            with self.assertRaisesRegex(otpd.DaemonGone, why) as gone:
                client.status()
            self.assertNotIsInstance(gone.exception, otpd.NoAnswer)
            self.assertIsNotNone(client.daemon.process.wait(5))
        with self.assertRaisesRegex(otpd.DaemonGone, "could not be started"):
            Otpd(program="/nowhere/otpd")

    def test_it_is_closed_properly(self):
        with self.start() as client:
            answers = [client.send("verify", {"session": "x", "code": "123456"}) for _ in range(100)]
        self.assertEqual(client.daemon.process.returncode, 0)
        self.assertEqual({answer.result(1)["error"] for answer in answers}, {"no_session"})  # all that was asked is answered
        with self.assertRaisesRegex(otpd.DaemonGone, "was closed"):
            client.status()
        client.close()
        client = self.fake("stubborn")
        client.ask("x")
        client.close(grace=0.05)
        self.assertEqual(client.daemon.process.wait(5), -signal.SIGKILL)

    def test_a_fork_does_not_use_it(self):
        client = self.start()
        child = os.fork()
        if not child:
            try:
                client.end()
                client.status()
            except otpd.DaemonGone:
                os._exit(0)
            os._exit(1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertTrue(client.status()["ok"])


class Async(WithOutbox):
    def run_with(self, client, work):
        async def run():
            async with client:
                return await asyncio.wait_for(work(client), 30)
        return asyncio.run(run())

    def test_codes(self):
        async def work(client):
            issued = await client.issue("ann@example.org", data=[1])
            self.assertEqual((await client.verify(issued.session, "1")).error, "bad_code")
            self.assertEqual((await client.verify(issued.session, code_in(issued))).data, [1])
            with self.assertRaises(otpd.BadAddress):
                await client.issue("ann")
            with self.assertRaises(otpd.SessionOver):
                await client.resend(issued.session)
            self.assertEqual((await client.ask("status"))["protocol"], 1)
        client = self.start(kind=AsyncOtpd)
        self.run_with(client, work)
        self.assertEqual(client.daemon.process.returncode, 0)

    def test_a_thousand_verifications_side_by_side(self):
        async def work(client):
            issued = await asyncio.gather(*(client.issue(f"user{n}@example.org", data=n) for n in range(1000)))
            verdicts = await asyncio.gather(*(client.verify(i.session, code_in(i)) for i in issued))
            self.assertEqual([(v.ok, v.data) for v in verdicts], [(True, n) for n in range(1000)])
        self.run_with(self.start(kind=AsyncOtpd), work)

    def test_death_and_restart(self):
        async def work(client):
            waiting = [asyncio.ensure_future(client.ask("x")) for _ in range(20)]
            await asyncio.sleep(0)
            began = time.monotonic()
            client.daemon.process.kill()
            for answer in await asyncio.gather(*waiting, return_exceptions=True):
                self.assertIsInstance(answer, otpd.DaemonGone)
            self.assertLess(time.monotonic() - began, 1)
            with self.assertRaises(otpd.DaemonGone):
                await client.status()
            client.restart, client.command = True, [PROGRAM, "serve", *self.flags]
            self.assertTrue((await client.status())["ok"])
        self.run_with(self.fake("silent", kind=AsyncOtpd), work)

    def test_waits_are_bounded_and_can_be_cancelled(self):
        async def work(client):
            with self.assertRaises(otpd.NoAnswer):
                await client.ask("x")
            client.timeout = 60
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(client.ask("x"), 0.05)
            self.assertEqual(client.daemon.waiting, {})
            client.daemon.process.kill()
        self.run_with(self.fake("deaf", kind=AsyncOtpd, timeout=0.05), work)


if __name__ == "__main__":
    unittest.main()
