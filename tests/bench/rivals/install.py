"""Gets the rivals that are not here yet: packages into target/, Debian's into the system if we are root."""

import os
import shutil
import subprocess
import sys

from rivals import redis
from rivals.scripts import BetterAuth, Django, Plain

# Others should get what was measured here.
BETTER_AUTH, DJANGO = "better-auth@1", ("django", "django-otp")
PATIENCE_S = 180


class Missing(Exception):
    """Why a rival isn't measured."""


def run(*argv):
    try:
        subprocess.run(argv, check=True, stdout=sys.stderr, stdin=subprocess.DEVNULL, timeout=PATIENCE_S)
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{os.path.basename(str(argv[0]))}: {error}") from error


def a_redis(_place, may_install):
    if not redis.find() and may_install and os.geteuid() == 0 and shutil.which("apt-get"):
        run("apt-get", "install", "-qq", "-y", "--no-install-recommends", "redis-server")
    if not (found := redis.find()):
        raise Missing("no redis-server and no valkey-server (apt-get install redis-server)")
    return [found]


def a_plain(_place, _may_install):
    return [Plain()]


def a_django(place, may_install):
    python = place / "venv" / "bin" / "python"
    if not (place / "venv" / "installed").exists():
        if not may_install:
            raise Missing("not installed in target/")
        run(sys.executable, "-m", "venv", place / "venv")
        run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *DJANGO)
        (place / "venv" / "installed").touch()
    return [Django(str(python))]


def a_better_auth(place, may_install):
    if not shutil.which("node"):
        raise Missing("no node")
    if not (place / "node_modules" / "better-auth" / "package.json").exists():
        if not may_install:
            raise Missing("not installed in target/")
        if not shutil.which("npm"):
            raise Missing("no npm")
        run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", place, BETTER_AUTH)
    return [BetterAuth(place, storage) for storage in ("memory", "map")]


RIVALS = {"redis": a_redis, "plain": a_plain, "django": a_django, "better-auth": a_better_auth}


def rivals(names, place, may_install):
    """Those that there are, and why the others are not."""
    place.mkdir(parents=True, exist_ok=True)
    found, skipped = [], []
    for name in names:
        try:
            found += RIVALS[name](place, may_install)
        except Missing as why:
            skipped.append(f"{name} was skipped: {why}")
    return found, skipped
