"""A code comes through each server in each way, in a letter that is as it should be."""

import unittest

import letters
import world
from letters import Letter
from otpd import FROM, Otpd
from scripted import Scripted
from servers import PLAIN, SECURITIES, STARTTLS, TLS
from world import KINDS


class Deliveries(unittest.TestCase):
    def test_a_code_comes_through_every_server_in_every_way(self):
        for kind in KINDS:
            for security in SECURITIES:
                for auth in (False, True):
                    with self.subTest(kind.name, security=security, auth=auth), world.door(kind, security, auth) as door:
                        to = f"ann+{security}-{auth}@example.org".lower()
                        expected = letters.from_outbox(to).shape()
                        with Otpd(*door.flags(), **door.environment()) as otpd:
                            reply = otpd.send(to)
                            self.assertEqual(reply["via"], "smtp")
                            mail = door.server.mail_to(to)
                            letter = Letter(mail.raw)
                            self.assertEqual((mail.sender, mail.recipients), (FROM, [to]))
                            letters.assert_well_formed(self, letter, to, door.server.line_end)
                            self.assertEqual(letter.shape(), expected)
                            self.assertTrue(otpd.verify(reply["session"], letter.code)["ok"])
                        self.assertEqual(len(door.server.mails_to(to)), 1)

    def test_letters_arrive_as_they_would_be_written(self):
        to = "ann@example.org"
        products = ".dot", "..", "Bücher & Söhne", "宇" * 33, "x" * 100, "=_From >From", 'a " b, c <d>'
        for product in products:
            with self.subTest(product), world.door(Scripted) as door:
                purpose = f"{product[:20]}."
                with Otpd(*door.flags(), product=product) as otpd:
                    otpd.send(to, purpose=purpose)
                letter = Letter(door.server.mail_to(to).raw)
                letters.assert_well_formed(self, letter, to)
                written = letters.from_outbox(to, product=product, purpose=purpose)
                self.assertEqual(letter.shape(), written.shape())

    def test_a_line_that_begins_with_a_dot_keeps_its_one_dot(self):
        for kind in KINDS:
            with self.subTest(kind.name), world.door(kind) as door:
                to = "dots@example.org"
                with Otpd(*door.flags(), product=".dot") as otpd:
                    otpd.send(to)
                letter = Letter(door.server.mail_to(to).raw)
                self.assertRegex(letter.texts[0], r"(?m)^\.dot ")
                self.assertNotIn("..dot", "".join(letter.texts))

    def test_a_code_that_is_sent_again_is_the_same_code(self):
        with world.door(Scripted) as door, Otpd(*door.flags(), "--cool-down", "1") as otpd:
            to = "ann@example.org"
            session = otpd.send(to)["session"]
            again = {"error": "rate_limited"}
            while again.get("error") == "rate_limited":  # for a second
                again = otpd.ask(cmd="resend", session=session)
            self.assertEqual((again["ok"], again["delivery"], again["via"]), (True, "sent", "smtp"))
            first, second = (Letter(mail.raw) for mail in door.server.mails_to(to))
            self.assertEqual(first.code, second.code)
            self.assertNotEqual(first.message["Message-ID"], second.message["Message-ID"])
            self.assertTrue(otpd.verify(session, second.code)["ok"])

    def test_a_server_is_found_by_its_number_too(self):
        for security in (PLAIN, STARTTLS, TLS):
            with world.door(Scripted, security) as door, self.subTest(str(door)):
                with Otpd(*door.flags(host="127.0.0.1")) as otpd:
                    otpd.send("ann@example.org")
