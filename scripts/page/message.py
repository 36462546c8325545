"""A message of the outbox, taken apart as a mail program would."""

from email import policy
from email.parser import BytesParser
from email.utils import parsedate_to_datetime


def read(path):
    """Its headers and its two parts, or None if somebody has taken the file away."""
    try:
        with open(path, "rb") as file:
            message = BytesParser(policy=policy.default).parse(file)
    except OSError:
        return None

    def part(kind):
        body = message.get_body((kind,))
        return body.get_content() if body else None

    sender = message["from"].addresses[0]
    return {
        "from_name": sender.display_name or sender.addr_spec,
        "from_address": sender.addr_spec,
        "to": str(message["to"]),
        "subject": str(message["subject"]),
        "date": parsedate_to_datetime(str(message["date"])).isoformat(),
        "text": part("plain"),
        "html": part("html"),
    }
