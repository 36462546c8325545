"""django-otp's EmailDevice with SQLite in memory, over the same pipe; no web server around it.

It runs by itself; `fill` is for the benchmark and sends no mail.
"""

import argparse
import json
import sys
from datetime import timedelta

import django
from django.conf import settings

parser = argparse.ArgumentParser()
parser.add_argument("--outbox", default="")
parser.add_argument("--smtp", type=int)
options = parser.parse_args()
settings.configure(
    SECRET_KEY="bench",
    USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_otp", "django_otp.plugins.otp_email"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    EMAIL_BACKEND=f"django.core.mail.backends.{'smtp' if options.smtp else 'filebased'}.EmailBackend",
    EMAIL_FILE_PATH=options.outbox,
    EMAIL_HOST="127.0.0.1",
    EMAIL_PORT=options.smtp,
    OTP_EMAIL_BODY_TEMPLATE="Your code is\n\n{{ token }}\n",
    OTP_EMAIL_TOKEN_VALIDITY=86_400,
    # Without this a second wrong code within a second would not even be looked at.
    OTP_EMAIL_THROTTLE_FACTOR=0,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402
from django_otp.plugins.otp_email.models import EmailDevice  # noqa: E402

call_command("migrate", verbosity=0)


def copies(model, first, count, changed):
    """Rows like the first one, past the ORM, which would take minutes."""
    table, columns = model._meta.db_table, [field.column for field in model._meta.concrete_fields]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)} FROM {table} WHERE id = %s", [first.pk])
        row = dict(zip(columns, cursor.fetchone()))
        rows = ([{**row, **changed(n)}[name] for name in columns] for n in range(1, count))
        marks = ", ".join(["%s"] * len(columns))
        cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


def fill(count):
    with transaction.atomic():
        user = User.objects.create(id=1, username="u0000000@example.org", email="u0000000@example.org", password="!")
        late = timezone.now() + timedelta(days=1)
        device = EmailDevice.objects.create(id=1, user=user, name="mail", token="000000", valid_until=late)

        def a_user(n):
            return {"id": n + 1, "username": f"u{n:07d}@example.org", "email": f"u{n:07d}@example.org"}

        def a_device(n):
            return {"id": n + 1, "user_id": n + 1, "token": f"{n * 7919 % 1_000_000:06d}"}

        copies(User, user, count, a_user)
        copies(EmailDevice, device, count, a_device)


def issue(to):
    user, _ = User.objects.get_or_create(username=to, defaults={"email": to})
    device, _ = EmailDevice.objects.get_or_create(user=user, name="mail")
    device.generate_challenge()
    return {"ok": True, "session": str(device.pk)}


def verify(session, code):
    with transaction.atomic():
        device = EmailDevice.objects.select_for_update().get(pk=session)
        return {"ok": True} if device.verify_token(code) else {"ok": False, "error": "wrong_code"}


for line in sys.stdin:
    asked = json.loads(line)
    if asked["cmd"] == "verify":
        reply = verify(asked["session"], asked["code"]) if asked["session"] != "none" else {"ok": False}
    elif asked["cmd"] == "issue":
        reply = issue(asked["to"])
    elif asked["cmd"] == "fill":
        fill(asked["count"])
        reply = {"ok": True}
    print(json.dumps(reply), flush=True)
