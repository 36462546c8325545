"""What a message of otpd must look like, wherever it was carried."""

import email
import email.policy
import email.utils
import re
from datetime import datetime, timezone

import world
from otpd import FROM, Otpd

HEADERS = {
    "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
}  # fmt: skip
CODE_LINE = re.compile(r"^\d{6}$", re.M)
# Words that need no quotes, or something in quotes (RFC 5322, section 3.2.5; RFC 2047's words too).
NAMED_SENDER = re.compile(rb"""^From: ([\w!#$%&'*+/=?^`{|}~\s-]+|"([^"\\]|\\.)*") <""")
# RFC 5322, section 2.1.1, and what quoted-printable allows.
LINE_MAX = 76


class Letter:
    """A message as a mail program reads it."""

    def __init__(self, raw):
        self.raw = raw
        self.message = email.message_from_bytes(raw, policy=email.policy.default)
        self.parts = list(self.message.iter_parts())
        self.texts = [part.get_content().replace("\r\n", "\n") for part in self.parts]
        [self.code] = CODE_LINE.findall(self.texts[0])

    def shape(self):
        """Everything that does not change from one message to the next."""
        ours = re.compile(re.escape(self.message.get_boundary()) + "|" + re.escape(self.code))
        changing = "Date", "Message-ID"
        items = self.message.items()
        heads = [(name, ours.sub("*", value)) for name, value in items if name not in changing]
        parts = [(part.items(), ours.sub("*", text)) for part, text in zip(self.parts, self.texts)]
        return heads, parts


def assert_well_formed(test, letter, to, line_end=b"\r\n"):
    """Holds a letter against PROTOCOL.md, section 8."""
    raw, message = letter.raw, letter.message
    test.assertTrue(raw.isascii(), raw)
    test.assertNotRegex(raw.replace(line_end, b""), rb"[\r\n]", "another line end")
    head, body = raw.split(2 * line_end, 1)
    test.assertLessEqual(max(map(len, body.split(line_end))), LINE_MAX)
    test.assertNotIn(letter.code.encode(), head)
    test.assertRegex(raw.replace(line_end + b" ", b" "), NAMED_SENDER)

    test.assertEqual([part.defects for part in message.walk()], [[], [], []])
    test.assertEqual({name: message.get_all(name) for name in message.keys()}.keys(), HEADERS)
    test.assertEqual(len(message.items()), len(HEADERS), "a header stands there twice")
    test.assertEqual([str(header.defects) for header in message.values()], ["()"] * len(HEADERS))
    [sender], [recipient] = message["From"].addresses, message["To"].addresses
    test.assertEqual((sender.addr_spec, recipient.addr_spec), (FROM, to))
    age = datetime.now(timezone.utc) - message["Date"].datetime
    test.assertLess(abs(age.total_seconds()), 300)
    test.assertRegex(message["Message-ID"], r"^<\w{16,}@acme\.example>$")
    test.assertEqual(message["MIME-Version"], "1.0")
    test.assertEqual(message["Auto-Submitted"], "auto-generated")
    test.assertTrue(message["Subject"])

    test.assertEqual(message.get_content_type(), "multipart/alternative")
    test.assertEqual([part.get_content_type() for part in letter.parts], ["text/plain", "text/html"])
    for text in letter.texts:
        test.assertEqual(len(re.findall(rf"(?<!\d){letter.code}(?!\d)", text)), 1, text)
    test.assertNotRegex(letter.texts[1], r"(?i)<(a|img|script|link|iframe)\b|https?:")


def from_outbox(to, **settings):
    """What otpd writes for the same command when it carries nothing."""
    fields = {name: settings.pop(name) for name in ("locale", "purpose") if name in settings}
    outbox = world.directory("outbox") / "outbox"
    with Otpd("--outbox", str(outbox), **settings) as otpd:
        otpd.send(to, **fields)
    [file] = outbox.glob("*.eml")
    return Letter(file.read_bytes())
