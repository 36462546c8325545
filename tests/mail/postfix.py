"""Postfix, an instance with a configuration and a queue of its own."""

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess

from servers import (
    PASSWORD, PATIENCE_S, PLAIN, REFUSALS, SECURITIES, TLS, USER, Received, answers, eventually, free_ports,
)  # fmt: skip

POSTFIX_MAIN = """
compatibility_level = 3.6
queue_directory = {place}/queue
data_directory = {place}/data
maillog_file = {place}/log
maillog_file_prefixes = {place}
multi_instance_name = postfix-otpd-tests
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.org
mydestination =
mynetworks = 127.0.0.0/8
disable_dns_lookups = yes
smtpd_peername_lookup = no
alias_maps =
notify_classes =

# All mail stays here, in one directory; nothing ever leaves the machine.
default_transport = error:nothing leaves this machine
virtual_mailbox_domains = static:all
virtual_mailbox_base = {place}
virtual_mailbox_maps = static:inbox/
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}

# Whoever is refused on purpose is neither slowed down nor sent away for it.
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000

smtpd_relay_restrictions = permit_sasl_authenticated, permit_mynetworks, reject
smtpd_end_of_data_restrictions = check_recipient_access inline:{{{refused_at_the_dot}}}
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_loglevel = 1
smtpd_sasl_local_domain = mx.example.org
cyrus_sasl_config_path = {place}/sasl
"""

POSTFIX_SERVICES = """
cleanup   unix       n - n - 0 cleanup
qmgr      unix       n - n - 1 qmgr
tlsmgr    unix       - - n 1000? 1 tlsmgr
rewrite   unix       - - n - - trivial-rewrite
bounce    unix       - - n - 0 bounce
defer     unix       - - n - 0 bounce
trace     unix       - - n - 0 bounce
proxymap  unix       - - n - - proxymap
error     unix       - - n - - error
retry     unix       - - n - - error
virtual   unix       - n n - - virtual
anvil     unix       - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""

SASL = """
pwcheck_method: auxprop
auxprop_plugin: sasldb
sasldb_path: {place}/sasl/users
mech_list: PLAIN LOGIN
"""


class Postfix:
    """An instance of its own, with a port for each way to talk to it.

    Where AUTH is wanted no recipient is accepted without it, and where TLS is wanted nothing is
    accepted before it: what arrives proves that both were done.
    """

    name, line_end = "Postfix", b"\n"
    missing = next((f"no {each}" for each in ("postfix", "saslpasswd2") if not shutil.which(each)), None)
    if os.geteuid() != 0:
        missing = "Postfix starts as root only"

    def __init__(self, place, authority):
        self.place, self.inbox = place, place / "inbox"
        ways = [(security, auth) for security in SECURITIES for auth in (False, True)]
        self.ports = dict(zip(ways, free_ports(len(ways))))
        self._configure(authority)
        subprocess.run(["postfix", "-c", place, "check"], check=True, capture_output=True, timeout=PATIENCE_S)
        programs = subprocess.check_output(["postconf", "-c", place, "-h", "daemon_directory"], text=True)
        # It makes itself the leader of the group of all that it starts, and ends them with itself.
        argv = [f"{programs.strip()}/master", "-c", place, "-s"]
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            for port in self.ports.values():
                eventually(lambda port=port: answers(port), f"Postfix on {port}")
        except BaseException:
            self.stop()
            raise

    def port(self, security, auth):
        return self.ports[security, auth]

    def mail_to(self, address):
        """The one mail that came for an address."""
        return eventually(lambda: self.mails_to(address), f"mail to {address}")[0]

    def mails_to(self, address):
        return [mail for mail in self.mails() if mail.recipients == [address]]

    def mails(self, to=""):
        """What came for addresses that begin so, without the lines that Postfix put on top."""
        found = []
        for file in (self.inbox / "new").glob("*"):
            trace, ours = file.read_bytes().split(b"\nFrom: ", 1)
            sender, recipient = (
                re.search(rb"^%s: <?([^>\n]*)" % name, trace, re.M)[1].decode()
                for name in (b"Return-Path", b"X-Original-To")
            )
            if recipient.startswith(to):
                found.append(Received(sender, [recipient], b"From: " + ours))
        return found

    def log(self):
        """The end of its log, for somebody who wonders what went wrong."""
        log = self.place / "log"
        return "\n".join(log.read_text().splitlines()[-20:]) if log.exists() else "no log"

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            pass  # killed below
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def _configure(self, authority):
        place, nobody, postfix = self.place, pwd.getpwnam("nobody"), pwd.getpwnam("postfix")
        for name in ("queue", "data", "sasl", "inbox"):
            (place / name).mkdir()
        os.chown(place / "data", postfix.pw_uid, postfix.pw_gid)
        os.chown(self.inbox, nobody.pw_uid, nobody.pw_gid)
        certificate, key = authority.pair(authority.GOOD)
        facts = dict(place=place, uid=nobody.pw_uid, gid=nobody.pw_gid, certificate=certificate, key=key)
        (place / "main.cf").write_text(POSTFIX_MAIN.format(refused_at_the_dot=self._refused("dot"), **facts))
        (place / "master.cf").write_text(POSTFIX_SERVICES + "".join(map(self._service, self.ports)))
        (place / "sasl" / "smtpd.conf").write_text(SASL.format(place=place))
        users = place / "sasl" / "users"
        subprocess.run(
            ["saslpasswd2", "-p", "-c", "-u", "mx.example.org", "-f", users, USER],
            input=PASSWORD.encode(), check=True, timeout=PATIENCE_S,
        )  # fmt: skip
        os.chown(users, postfix.pw_uid, postfix.pw_gid)

    def _service(self, way):
        security, auth = way
        settings = {
            "smtpd_tls_security_level": "none" if security == PLAIN else "encrypt",
            "smtpd_tls_wrappermode": "yes" if security == TLS else "no",
            "smtpd_sasl_auth_enable": "yes" if auth else "no",
            "smtpd_recipient_restrictions": f"check_recipient_access inline:{{{self._refused('rcpt')}}}, "
            + ("permit_sasl_authenticated, reject" if auth else "permit_mynetworks, reject"),
        }
        options = "".join(f"\n  -o {{ {name} = {value} }}" for name, value in settings.items())
        return f"127.0.0.1:{self.ports[way]} inet n - n - - smtpd{options}\n"

    @staticmethod
    def _refused(where):
        refused = {address: refusal for address, refusal in REFUSALS.items() if refusal.where == where}
        return ", ".join(f"{{ {address} = {refusal.reply} }}" for address, refusal in refused.items())
