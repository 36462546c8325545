"""The servers do what they should for another client: what fails elsewhere is otpd's."""

import smtplib
import ssl
import unittest

import world
from servers import PASSWORD, PATIENCE_S, REFUSALS, SECURITIES, STARTTLS, TLS, USER
from world import KINDS

MESSAGE = "From: <no-reply@acme.example>\r\n\r\n.one dot\r\n"


def connect(door):
    context = ssl.create_default_context(cafile=world.authority().certificate)
    if door.security == TLS:
        return smtplib.SMTP_SSL("localhost", door.port, timeout=PATIENCE_S, context=context)
    client = smtplib.SMTP("localhost", door.port, timeout=PATIENCE_S)
    if door.security == STARTTLS:
        client.starttls(context=context)
    return client


class Servers(unittest.TestCase):
    def test_they_take_mail_in_every_way_and_refuse_what_they_should(self):
        for kind in KINDS:
            for security in SECURITIES:
                for auth in (False, True):
                    with self.subTest(kind.name, security=security, auth=auth), world.door(kind, security, auth) as door:
                        with connect(door) as client:
                            self.use(door, client)

    def use(self, door, client):
        to = f"smtplib-{door.security}-{door.auth}@example.org".lower()
        if door.auth:
            with self.assertRaises(smtplib.SMTPResponseException) as wrong:
                client.login(USER, "wrong")
            self.assertEqual(wrong.exception.smtp_code, 535)
            with self.assertRaises(smtplib.SMTPException):
                client.sendmail("no-reply@acme.example", to, MESSAGE)
            client.login(USER, PASSWORD)
        client.sendmail("no-reply@acme.example", to, MESSAGE)
        self.assertIn(b"\n.one dot", door.server.mail_to(to).raw)
        for address, refusal in REFUSALS.items():
            with self.assertRaises(smtplib.SMTPException) as refused:
                client.sendmail("no-reply@acme.example", address, MESSAGE)
            self.assertIn(str(refusal.code), str(refused.exception))
