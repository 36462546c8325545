"""Certificates: a private authority, and one for each way to be right or wrong."""

import shutil
import ssl
import subprocess

from servers import PATIENCE_S

OPENSSL_CONFIG = """
[req]
distinguished_name = any
prompt = no
x509_extensions = authority
[any]
commonName = a certificate
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[ca]
default_ca = issue
[issue]
database = index
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
default_days = 2
policy = anything
copy_extensions = copy
[anything]
commonName = supplied
"""


class Authority:
    """A private authority, and one certificate for each way to be right or wrong."""

    missing = None if shutil.which("openssl") else "no openssl"
    GOOD = "good"
    WRONG = "wrong-name", "expired", "unknown-authority"

    def __init__(self, place):
        self.place = place
        (place / "openssl.cnf").write_text(OPENSSL_CONFIG)
        (place / "index").touch()
        self.certificate = self._root("authority")
        self.stranger = self._root("stranger")
        self._leaf("good", "authority")
        self._leaf("wrong-name", "authority", names="DNS:elsewhere.example")
        past = "-startdate", "20200101000000Z", "-enddate", "20200201000000Z"
        self._leaf("expired", "authority", *past)
        self._leaf("unknown-authority", "stranger")

    def pair(self, name):
        """The files of a certificate and of its key."""
        return self.place / f"{name}.pem", self.place / f"{name}.key"

    def context(self, name):
        """What a server needs to show this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair(name))
        return context

    def _root(self, name):
        certificate, key = self.pair(name)
        subject = "-subj", f"/CN={name}"
        self._openssl("req", "-x509", *self._new_key(key), *subject, "-days", "2", "-out", certificate)
        return certificate

    def _leaf(self, name, issuer, *validity, names="DNS:localhost, IP:127.0.0.1"):
        (certificate, key), (ca, ca_key) = self.pair(name), self.pair(issuer)
        names, request = f"subjectAltName={names}", self.place / "request"
        issuing = "-cert", ca, "-keyfile", ca_key
        self._openssl("req", *self._new_key(key), "-addext", names, "-out", request)
        self._openssl("ca", "-batch", "-notext", *issuing, *validity, "-in", request, "-out", certificate)

    @staticmethod
    def _new_key(key):
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key

    def _openssl(self, command, *arguments):
        argv = ["openssl", command, "-config", "openssl.cnf", *arguments]
        subprocess.run(argv, check=True, capture_output=True, timeout=PATIENCE_S, cwd=self.place)
