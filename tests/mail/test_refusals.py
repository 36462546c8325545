"""What servers refuse, and what they leave open."""

import socket
import unittest

import world
from letters import Letter
from otpd import Otpd
from scripted import Scripted
from servers import REFUSALS, STARTTLS, free_ports
from world import KINDS


class Refusals(unittest.TestCase):
    def assert_failed(self, reply, temporary, smtp=None):
        facts = {name: reply.get(name) for name in ("ok", "error", "temporary", "smtp")}
        self.assertEqual(facts, dict(ok=False, error="delivery_failed", temporary=temporary, smtp=smtp))

    def test_a_refused_mail_has_failed_and_costs_nothing(self):
        for kind in KINDS:
            with self.subTest(kind.name), world.door(kind, STARTTLS, auth=True) as door:
                with Otpd(*door.flags(), "--delivery-timeout", "5", **door.environment()) as otpd:
                    for address, refusal in REFUSALS.items():
                        with self.subTest(f"{kind.name}: {address}"):
                            for _ in range(2):
                                self.assert_failed(otpd.issue(address), refusal.temporary, refusal.code)
                    # The connection, or a new one, still carries what is not refused.
                    otpd.send("after-refusals@example.org")
                door.server.mail_to("after-refusals@example.org")
                for address in REFUSALS:
                    self.assertEqual(door.server.mails_to(address), [])

    def test_a_mail_without_an_answer_is_uncertain_and_is_not_sent_twice(self):
        for address in ("stall@example.org", "drop@example.org"):
            with self.subTest(address), world.door(Scripted) as door:
                with Otpd(*door.flags(), "--delivery-timeout", "3") as otpd:
                    reply = otpd.issue(address)
                    self.assertEqual((reply["ok"], reply["delivery"]), (True, "uncertain"))
                    [mail] = door.server.mails_to(address)
                    self.assertTrue(otpd.verify(reply["session"], Letter(mail.raw).code)["ok"])
                self.assertEqual(len(door.server.mails_to(address)), 1)

    def test_a_connection_that_dies_before_the_mail_is_a_temporary_failure(self):
        with world.door(Scripted) as door, Otpd(*door.flags(), "--delivery-timeout", "3") as otpd:
            self.assert_failed(otpd.issue("drop-early@example.org"), temporary=True)
            otpd.send("ann@example.org")
            self.assertEqual(len(door.server.received), 1)

    def test_a_server_that_wants_a_log_in_where_none_is_set_refuses_for_good(self):
        with world.door(Scripted, auth=True) as door:
            with Otpd("--smtp", f"smtp://localhost:{door.port}") as otpd:
                self.assert_failed(otpd.issue("ann@example.org"), temporary=False, smtp=530)

    def test_nobody_there_is_a_temporary_failure(self):
        [port] = free_ports(1)
        with Otpd("--smtp", f"smtp://localhost:{port}", "--delivery-timeout", "3") as otpd:
            self.assert_failed(otpd.issue("ann@example.org"), temporary=True)

    def test_a_server_that_never_speaks_is_a_temporary_failure(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with Otpd("--smtp", f"smtp://localhost:{port}", "--delivery-timeout", "3") as otpd:
                self.assert_failed(otpd.issue("ann@example.org"), temporary=True)
