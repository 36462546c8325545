"""SpamAssassin finds nothing wrong with the form of a message, whoever carried it.

Only its local rules are asked, without network and with a home of their own.
"""

import re
import shutil
import subprocess
import unittest

import letters
import world
from letters import Letter
from otpd import Otpd
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


# The program `spamassassin` makes a directory in the home of whoever runs it, whatever HOME says, and
# so does the module before it has heard of another: hence the method that is replaced.
ASK_SPAMASSASSIN = r"""
    my ($home, @files) = @ARGV;
    no warnings "redefine";
    *Mail::SpamAssassin::set_global_state_dir = sub { $_[0]{global_state_dir} = $home };
    my $judge = Mail::SpamAssassin->new({
        local_tests_only => 1, dont_copy_prefs => 1,
        userstate_dir => $home, userprefs_filename => "$home/none",
    });
    for my $file (@files) {
        open(my $mail, "<", $file) or die;
        my $verdict = $judge->check($judge->parse($mail));
        print $verdict->get_names_of_tests_hit(), "\n";
    }
"""


def rules_that_fire(mails):
    """The names of the rules that fire for each message, asked all at once: starting takes longer."""
    home = world.directory("spamassassin")
    files = [home / f"{number}.eml" for number in range(len(mails))]
    for file, mail in zip(files, mails):
        file.write_bytes(mail.replace(b"\r\n", b"\n"))
    done = subprocess.run(
        ["perl", "-MMail::SpamAssassin", "-e", ASK_SPAMASSASSIN, home, *files],
        stdout=subprocess.PIPE, check=True, text=True, timeout=3 * PATIENCE_S,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert len(lines) == len(mails), f"{len(lines)} of {len(mails)} judged"
    return [set(filter(None, line.split(","))) for line in lines]
