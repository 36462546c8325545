"""`otpd check` goes all the way but sends nothing."""

import unittest

import world
from otpd import check
from scripted import Scripted
from servers import PLAIN, SECURITIES, STARTTLS, TLS, free_ports
from world import KINDS

WELL, CAN_NOT_SEND = 0, 3


class Checks(unittest.TestCase):
    def test_it_is_content_with_a_server_that_would_take_mail(self):
        for kind in KINDS:
            for security in SECURITIES:
                for auth in (False, True):
                    with self.subTest(kind.name, security=security, auth=auth), world.door(kind, security, auth) as door:
                        done = check(*door.flags(), **door.environment())
                        self.assertEqual(done.returncode, WELL, done.stdout)
                        steps = done.stdout.splitlines()
                        self.assertGreaterEqual(len(steps), 4 + auth, "each step with its outcome")
                        if kind is Scripted:
                            self.assertEqual((door.server.received, door.server.logins), ([], [True] * auth))

    def test_it_says_that_a_password_is_wrong(self):
        for kind in KINDS:
            for security in SECURITIES:
                with self.subTest(kind.name, security=security), world.door(kind, security, auth=True) as door:
                    done = check(*door.flags(), **door.environment("wrong-password"))
                    self.assertEqual(done.returncode, CAN_NOT_SEND, done.stdout)
                    self.assertNotIn("wrong-password", done.stdout)

    def test_it_says_that_a_certificate_is_wrong(self):
        for kind in KINDS:
            for security in (STARTTLS, TLS):
                with self.subTest(kind.name, security=security), world.door(kind, security, auth=True) as door:
                    done = check(*door.flags(ca=world.authority().stranger), **door.environment())
                    self.assertEqual(done.returncode, CAN_NOT_SEND, done.stdout)
                    if kind is Scripted:
                        self.assertEqual(door.server.logins, [])

    def test_it_says_that_nobody_is_there_or_that_tls_is_not(self):
        [port] = free_ports(1)
        done = check("--smtp", f"smtp://localhost:{port}")
        self.assertEqual(done.returncode, CAN_NOT_SEND, done.stdout)
        with world.door(Scripted, PLAIN) as door:
            done = check("--smtp", door.url() + "?tls=required")
            self.assertEqual(done.returncode, CAN_NOT_SEND, done.stdout)
