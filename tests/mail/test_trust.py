"""Certificates and passwords: nothing is said to the wrong server, and nothing twice."""

import unittest

import world
from authority import Authority
from otpd import FROM, Otpd, run
from scripted import Scripted
from servers import PASSWORD, PLAIN, SECURITIES, STARTTLS, TLS
from world import KINDS

TO = "ann@example.org"
WRONG = "wrong-" + PASSWORD


class Certificates(unittest.TestCase):
    def assert_nothing_was_said(self, door, flags):
        with Otpd(*flags, **door.environment()) as otpd:
            reply = otpd.issue(TO)
        self.assertEqual((reply.get("error"), reply.get("temporary")), ("delivery_failed", False), reply)
        self.assertNotIn("smtp", reply)
        self.assertEqual((door.server.received, door.server.logins), ([], []))

    def test_a_server_with_a_wrong_certificate_is_told_nothing(self):
        for security in (STARTTLS, TLS):
            for certificate in Authority.WRONG:
                with world.door(Scripted, security, auth=True, certificate=certificate) as door:
                    with self.subTest(f"{door}: {certificate}"):
                        self.assert_nothing_was_said(door, door.flags())

    def test_a_private_authority_is_unknown_until_it_is_named(self):
        for security in (STARTTLS, TLS):
            with world.door(Scripted, security, auth=True) as door, self.subTest(str(door)):
                self.assert_nothing_was_said(door, ("--smtp", door.url()))
                self.assert_nothing_was_said(door, door.flags(ca=world.authority().stranger))

    def test_a_server_that_offers_no_tls_where_it_is_required_is_told_nothing(self):
        with world.door(Scripted, PLAIN, auth=True) as door:
            self.assert_nothing_was_said(door, ("--smtp", door.url() + "?tls=required"))


class Passwords(unittest.TestCase):
    def test_a_refused_log_in_is_a_permanent_failure_and_no_storm(self):
        for kind in KINDS:
            for security in SECURITIES:
                with self.subTest(kind.name, security=security), world.door(kind, security, auth=True) as door:
                    with Otpd(*door.flags(), **door.environment(WRONG)) as otpd:
                        otpd.secrets.add(WRONG)
                        reply = otpd.issue(TO)
                    facts = reply.get("error"), reply.get("temporary"), reply.get("smtp")
                    self.assertEqual(facts, ("delivery_failed", False, 535), reply)
                    if kind is Scripted:
                        self.assertEqual((door.server.logins, door.server.received), ([False], []))

    def test_many_mails_do_not_try_a_refused_password_over_and_over(self):
        connections = 4
        with world.door(Scripted, TLS, auth=True) as door:
            flags = *door.flags(), "--smtp-connections", str(connections)
            with Otpd(*flags, **door.environment(WRONG)) as otpd:
                issues = [dict(cmd="issue", id=number, to=f"u{number}@example.org") for number in range(50)]
                replies = otpd.ask_all(issues)
            self.assertEqual({reply.get("smtp") for reply in replies}, {535})
            self.assertLessEqual(len(door.server.logins), connections)

    def test_either_way_to_log_in_will_do(self):
        for unknown in ("PLAIN", "LOGIN"):
            with world.door(Scripted, TLS, auth=True, without=(unknown,)) as door:
                with self.subTest(f"without {unknown}"):
                    with Otpd(*door.flags(), **door.environment()) as otpd:
                        otpd.send(TO)
                    self.assertEqual(door.server.logins, [True])

    def test_a_password_comes_from_the_environment_or_a_private_file(self):
        file = world.directory("password") / "password"
        file.touch(mode=0o600)
        file.write_text(PASSWORD + "\n")
        with world.door(Scripted, TLS, auth=True) as door:
            ca = "--smtp-ca", str(world.authority().certificate)
            for how, flags, settings in (
                ("a file", ("--smtp", door.url(), "--smtp-password-file", str(file)), {}),
                ("the URL in the environment", (), {"OTPD_SMTP_URL": door.url(PASSWORD)}),
                ("a variable", (), {"OTPD_SMTP_URL": door.url(), "OTPD_SMTP_PASSWORD": PASSWORD}),
            ):
                with self.subTest(how), Otpd(*flags, *ca, **settings) as otpd:
                    otpd.send(TO)

    def test_a_password_that_others_could_read_is_refused(self):
        file = world.directory("password") / "password"
        file.write_text(PASSWORD)
        file.chmod(0o644)
        with world.door(Scripted, TLS, auth=True) as door:
            for how, flags in (
                ("a file of everybody's", ("--smtp", door.url(), "--smtp-password-file", str(file))),
                ("a flag", ("--smtp", door.url(PASSWORD))),
                ("none", ("--smtp", door.url())),
            ):
                with self.subTest(how):
                    self.assertEqual(run("serve", "--from", FROM, *flags).returncode, 2)
            self.assertEqual(door.server.accepted, 0)
