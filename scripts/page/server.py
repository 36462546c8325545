"""The page's server: HTTP on loopback in front of an `otpd serve`. Start it by `scripts/web`."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
from http import cookies
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

sys.path.append(str(Path(__file__).parent.parent / "clients"))  # a copy beside this file does as well

from otpd import DaemonGone  # noqa: E402
from visits import Visits  # noqa: E402

USAGE = """\
Usage: scripts/web [--port N] [flags of `otpd serve`]

Serves a page on 127.0.0.1 (port 8037; 0 for any that is free) in front of an `otpd serve`. Unless told
where mail goes (--smtp, --sendmail, --outbox, or their variables), messages are written to an outbox
that is removed at the end, and shown beside the form."""

LANGUAGES = ("en", "de")
COOKIE = "otpd_visit"
MOST_BYTES = 4096  # of a request's body: an address and a language
MOST_CONNECTIONS = 128
IDLE_S = 30

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    **{f"/{name}": (name, kind + "; charset=utf-8") for name, kind in (
        ("style.css", "text/css"), ("icon.svg", "image/svg+xml"), ("page.js", "text/javascript"),
        ("boxes.js", "text/javascript"), ("inbox.js", "text/javascript"),
        ("words.js", "text/javascript"))},
}

HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'")
# A message brings its own styles. It gets nothing else: no script, no form, no origin, no request.
MESSAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox")


class Refused(Exception):
    """A request that no page of ours makes."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


class Handler(BaseHTTPRequestHandler):
    # The status of HTTP speaks of HTTP alone. Whether a code was right is in the body, since browsers
    # report every other status as an error of the page.
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        self.answer(self.get)

    def do_POST(self):
        self.answer(self.post)

    def answer(self, method):
        try:
            self.check_host()
            method()
        except Refused as refused:
            self.close_connection = True  # what is left of the request is not read
            self.reply_json({"ok": False, "error": str(refused)}, refused.status)

    def get(self):
        """No effects: whoever can make a browser load something can make it send a GET."""
        if self.path == "/":
            page = (self.server.static / "index.html").read_text("utf-8")
            language = preferred(self.headers.get("Accept-Language", ""))
            page = page.replace('<html lang="en">', f'<html lang="{language}">')
            return self.reply(page.encode(), FILES["/"][1])
        # Only our own page asks for the rest, not another server on this machine.
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            raise Refused(403, "from another site")
        if self.path in FILES:
            name, kind = FILES[self.path]
            return self.reply((self.server.static / name).read_bytes(), kind)
        if self.path == "/state":
            return self.reply_json(self.visits.state(self.key()))
        if self.path in ("/mail", "/mail/html"):
            mail = self.visits.mail(self.key())
            if self.path == "/mail":
                return self.reply_json(mail and {k: v for k, v in mail.items() if k != "html"})
            html = (mail and mail["html"]) or ""
            return self.reply(html.encode(), "text/html; charset=utf-8", policy=MESSAGE_POLICY)
        raise Refused(404, "not found")

    def post(self):
        fields = {"/issue": ("to", "locale"), "/verify": ("code",), "/resend": (), "/leave": ()}
        if self.path not in fields:
            raise Refused(404, "not found")
        self.check_origin()
        body = self.body(fields[self.path])
        key, new_key = self.key(), None
        if self.path == "/issue":
            client = self.client_address[0]
            answer, new_key = self.visits.issue(key, body["to"], body["locale"], client)
        elif self.path == "/verify":
            answer, new_key = self.visits.verify(key, body["code"])
        elif self.path == "/resend":
            answer = self.visits.resend(key)
        else:
            answer = self.visits.leave(key)
        self.reply_json(answer, new_key=new_key)

    @property
    def visits(self):
        return self.server.visits

    def check_host(self):
        """A name of somebody else's that leads to this machine (DNS rebinding) is not ours."""
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            raise Refused(421, "not a name of this server")

    def check_origin(self):
        """Only our own page may have effects; every browser says who is asking."""
        if self.headers.get("Origin") != "http://" + self.headers["Host"]:
            raise Refused(403, "from another origin")
        if self.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise Refused(403, "from another site")
        # A form can't send this type, and a script elsewhere would have to ask first.
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "not application/json")

    def body(self, names):
        """An object of strings with just these names."""
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            raise Refused(411, "no length")
        if len(length) > 9 or int(length) > MOST_BYTES:
            raise Refused(413, "too long")
        try:
            body = json.loads(self.rfile.read(int(length)))
            if not isinstance(body, dict) or set(body) != set(names):
                raise ValueError
            for value in body.values():
                value.encode("utf-8")  # a string, and without half a character
        except (ValueError, AttributeError, RecursionError):
            raise Refused(400, "not what was expected") from None
        return body

    def key(self):
        try:
            morsel = cookies.SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except cookies.CookieError:
            return None
        return morsel.value if morsel else None

    def reply_json(self, answer, status=200, new_key=None):
        self.reply(json.dumps(answer).encode(), "application/json", status, new_key=new_key)

    def reply(self, body, kind, status=200, policy=PAGE_POLICY, new_key=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", policy)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        if new_key:
            # Behind TLS, add `Secure` and call it `__Host-…`; here it goes over loopback in clear.
            self.send_header("Set-Cookie", f"{COOKIE}={new_key}; HttpOnly; SameSite=Strict; Path=/")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code, message=None, explain=None):
        """What the library refuses by itself, said with our headers."""
        self.close_connection = True
        self.reply_json({"ok": False, "error": message or "refused"}, code)

    def version_string(self):
        return "otpd-page"

    def log_message(self, *_):
        """Nothing: who asked for a code when is nobody's business."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port, visits):
        super().__init__(("127.0.0.1", port), Handler)
        self.visits = visits
        self.static = Path(__file__).parent / "static"
        self.port = self.server_address[1]
        self.hosts = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        if self.port == 80:
            self.hosts |= {"127.0.0.1", "localhost"}
        self._connections = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def server_bind(self):
        """As the library does it, but without asking the network for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def process_request(self, request, client_address):
        if not self._connections.acquire(blocking=False):
            return self.shutdown_request(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request, client_address):
        """A browser that goes away in the middle is no news; anything else is a fault of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def preferred(accepted):
    """The language that a browser likes best among those there are."""
    best, best_q = LANGUAGES[0], 0.0
    for item in accepted.split(",")[:32]:
        tag, _, q = item.strip().partition(";q=")
        language = tag.split("-")[0].lower()
        try:
            weight = float(q or 1)
        except ValueError:
            continue
        if language in LANGUAGES and weight > best_q:
            best, best_q = language, weight
    return best


def arguments(argv):
    """Our own port, and what is otpd's."""
    port, rest, args = "8037", [], iter(argv)
    for arg in args:
        if arg in ("-h", "--help"):
            print(USAGE)
            sys.exit(0)
        if arg == "--port":
            port = next(args, "")
        elif arg.startswith("--port="):
            port = arg.removeprefix("--port=")
        else:
            rest.append(arg)
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        sys.exit("scripts/web: --port wants a number up to 65535")
    return int(port), rest


def says_where_mail_goes(flags):
    named = any(flag.split("=")[0] in ("--outbox", "--smtp", "--sendmail") for flag in flags)
    return named or any(os.environ.get(name)
                        for name in ("OTPD_OUTBOX", "OTPD_SMTP_URL", "OTPD_SENDMAIL"))


def stop(*_):
    raise KeyboardInterrupt


def main():
    port, flags = arguments(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with tempfile.TemporaryDirectory(prefix="otpd-page-") as directory:
        if not says_where_mail_goes(flags):
            flags += ["--outbox", os.path.join(directory, "outbox")]
        return serve(port, os.environ.get("OTPD_BIN") or "otpd", flags)


def serve(port, program, flags):
    visits = None
    try:
        visits = Visits(program, flags)
        server = Server(port, visits)
        print(f"http://127.0.0.1:{server.port}/   (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    except DaemonGone:
        print("scripts/web: otpd did not start; what it said is above", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"scripts/web: {error}", file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # the end is bounded, and the outbox is removed
        if visits:
            visits.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
