"""Kept connections: few, used again, and no reason to send anything twice."""

import unittest
from collections import Counter

import world
from letters import Letter
from otpd import Otpd
from postfix import Postfix
from scripted import Scripted
from servers import SECURITIES, STARTTLS, eventually

MAILS, CONNECTIONS = 200, 4


class Connections(unittest.TestCase):
    def commands(self):
        return [dict(cmd="issue", id=number, to=f"many-{number}@example.org") for number in range(MAILS)]

    def issue_many(self, door):
        with Otpd(*door.flags(), "--smtp-connections", str(CONNECTIONS), **door.environment()) as otpd:
            replies = otpd.ask_all(self.commands())
            outcomes = Counter(reply.get("delivery") or reply.get("error") for reply in replies)
            self.assertEqual(outcomes, {"sent": MAILS})
            self.assertEqual({reply["id"] for reply in replies}, set(range(MAILS)))

    def test_many_mails_take_few_connections_and_arrive_once(self):
        with world.door(Scripted, STARTTLS, auth=True) as door:
            self.issue_many(door)
            server = door.server
            arrived = Counter(mail.recipients[0] for mail in server.received)
            self.assertEqual(arrived, Counter(command["to"] for command in self.commands()))
            for mail in server.received:
                self.assertEqual([Letter(mail.raw).message["To"]], mail.recipients)
            self.assertLessEqual(server.most_open, CONNECTIONS)
            self.assertGreater(server.most_open, 1)
            self.assertLessEqual(server.accepted, CONNECTIONS)

    def test_many_mails_arrive_once_at_postfix(self):
        with world.door(Postfix, STARTTLS, auth=True) as door:
            self.issue_many(door)
            eventually(lambda: len(door.server.mails("many-")) >= MAILS, "all mails")
            arrived = Counter(mail.recipients[0] for mail in door.server.mails("many-"))
            self.assertEqual(arrived, Counter(command["to"] for command in self.commands()))

    def test_the_next_mail_takes_the_same_connection(self):
        for security in SECURITIES:
            with world.door(Scripted, security, auth=True) as door, self.subTest(str(door)):
                with Otpd(*door.flags(), **door.environment()) as otpd:
                    for name in ("ann", "bob", "eve"):
                        otpd.send(f"{name}@example.org")
                self.assertEqual((door.server.accepted, door.server.logins), (1, [True]))

    def test_a_connection_that_died_while_nobody_looked_costs_no_mail(self):
        for security in SECURITIES:
            for last_words in (b"", b"421 4.4.2 mx.example.org idle for too long\r\n"):
                with world.door(Scripted, security) as door, self.subTest(f"{door}: {last_words}"):
                    with Otpd(*door.flags()) as otpd:
                        for name in ("ann", "bob", "eve"):
                            otpd.send(f"{name}@example.org")
                            door.server.hang_up(last_words)
                    recipients = [mail.recipients for mail in door.server.received]
                    self.assertEqual(recipients, [[f"{name}@example.org"] for name in ("ann", "bob", "eve")])
