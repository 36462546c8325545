"""SpamAssassin finds nothing wrong with the form of a message, whoever carried it.

Only its local rules are asked, without network and with a home of its own.
"""

import re
import shutil
import subprocess
import unittest

import letters
import world
from letters import Letter
from otpd import Otpd, environment
from servers import PATIENCE_S, SECURITIES
from world import KINDS

# Rules that may fire, because they speak of how a message came here and not of its form.
ALLOWED = {
    "NO_RELAYS": "no server put a Received line on top: these are messages before their journey",
    "NO_RECEIVED": "the same",
    "HTML_MESSAGE": "there is an HTML part, as there should be",
}


@unittest.skipUnless(shutil.which("spamassassin"), "no spamassassin")
class Spam(unittest.TestCase):
    def test_no_rule_about_the_form_of_a_message_fires(self):
        names, mails = zip(*self.messages())
        for name, fired in zip(names, rules_that_fire(mails)):
            with self.subTest(name):
                self.assertEqual(fired - ALLOWED.keys(), set())

    def test_no_message_id_shouts(self):
        """One of capitals alone is a mark of spam; among so many there would be some by chance."""
        outbox = world.directory("outbox") / "outbox"
        with Otpd("--outbox", str(outbox)) as otpd:
            otpd.ask_all([dict(cmd="issue", to=f"user-{number}@example.org") for number in range(200)])
        ids = [Letter(file.read_bytes()).message["Message-ID"] for file in outbox.glob("*.eml")]
        self.assertEqual([each for each in ids if re.match(r"<[A-Z]+@", each)], [])

    def messages(self):
        to = "ann@example.org"
        for product in ("Acme", ".dot", "Bücher & Söhne", "宇宙", "x" * 100):
            yield f"outbox, product {product}", letters.from_outbox(to, product=product).raw
        for locale in ("de-AT", "fr", "ar", "zh-Hant"):
            yield f"outbox, {locale}", letters.from_outbox(to, locale=locale).raw
        yield "sendmail", self.through_sendmail(to)
        for kind in KINDS:
            if kind.missing:
                continue  # another test says so
            for security in SECURITIES:
                for auth in (False, True):
                    with world.door(kind, security, auth) as door:
                        to = f"spam-{security}-{auth}@example.org".lower()
                        with Otpd(*door.flags(), **door.environment()) as otpd:
                            otpd.send(to)
                        yield str(door), door.server.mail_to(to).raw

    def through_sendmail(self, to):
        place = world.directory("sendmail")
        program = place / "sendmail"
        program.write_text(f"#!/bin/sh\ncat >'{place}/mail'\n")
        program.chmod(0o755)
        with Otpd("--sendmail", str(program)) as otpd:
            reply = otpd.send(to)
            letter = Letter((place / "mail").read_bytes())
            letters.assert_well_formed(self, letter, to, b"\n")
            self.assertTrue(otpd.verify(reply["session"], letter.code)["ok"])
        return letter.raw


def rules_that_fire(mails):
    """The names of the rules that fire for each message, asked all at once: starting takes longer."""
    home = world.directory("spamassassin")
    mails = [mail.replace(b"\r\n", b"\n") for mail in mails]
    box = b"".join(b"From MAILER-DAEMON Thu Jan  1 00:00:00 2026\n" + mail + b"\n" for mail in mails)
    at_home = environment(HOME=str(home), TMPDIR=str(home))
    done = subprocess.run(
        ["spamassassin", "--local", "--test-mode", "--mbox", f"--prefspath={home}/user_prefs"],
        input=box, env=at_home, capture_output=True, check=True, timeout=3 * PATIENCE_S,
    )  # fmt: skip
    told = done.stdout.decode("utf-8", "replace")
    found = re.findall(r"^X-Spam-Status: .*?tests=(.*?)\s(?=autolearn|version)", told, re.M | re.S)
    assert len(found) == len(mails), f"{len(found)} of {len(mails)} judged: {told[:2000]} {done.stderr!r}"
    return [set(re.split(r"[,\s]+", names)) - {"none", ""} for names in found]
