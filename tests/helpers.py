"""What the tests share: running the scripts as a user does, and servers for them to ask."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
from collections import namedtuple

import pytest

from fake_ntp_server import reply_to
from real_server import TOP

SECOND = 10**9
FULL = pathlib.Path("/dev/full")

# What a user's shell has: UTF-8, and none of Python's own switches.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "LC_", "LANG", "PYTEST", "FORCE_COLOR", "CDPATH"))
}
ENVIRONMENT["LC_ALL"] = "C.UTF-8"

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="needs Linux: 127.0.0.2, or SO_TIMESTAMPNS"
)
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


def has_loopback(family, address):
    """Return whether a packet can go from this address to itself."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
            sock.settimeout(5)
            sock.sendto(b"x", sock.getsockname())
            return sock.recv(1) == b"x"
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(
    not has_loopback(socket.AF_INET6, "::1"), reason="this computer has no ::1"
)


# ---- Running the scripts


def run(script, *arguments, patches=(), **options):
    """Run a script to its end, and return what subprocess.run() does, its output as text.

    patches: what patched.py does before, each a tuple of a function's name and its arguments.
    """
    loader = [TOP / "tests/patched.py", json.dumps(patches)] if patches else []
    options = {
        "env": ENVIRONMENT,
        "cwd": TOP,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        **options,
    }
    options.update(encoding="utf-8", errors="surrogateescape", timeout=60)
    command = [sys.executable, *loader, TOP / script, *map(str, arguments)]
    return subprocess.run(command, **options)


def client(*arguments, **options):
    """Run the client to its end."""
    return run("ntp_client.py", *arguments, **options)


@contextlib.contextmanager
def started(script, *arguments, **options):
    """Start one of the scripts, and end it with the with block, whatever happens."""
    options = {"env": ENVIRONMENT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    # A shell's background jobs ignore Ctrl-C; these must not, wherever the tests run.
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = [sys.executable, TOP / script, *map(str, arguments)]
    process = subprocess.Popen(command, encoding="utf-8", **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def assert_one_error_line(result, status, *words, script="ntp_client.py"):
    """Check that a run ended with this status and one line on stderr that has these words in it."""
    assert result.stderr.startswith(f"{script}: error: "), result
    assert result.stderr.count("\n") == 1
    assert result.stderr.endswith("\n")
    assert result.stderr[:-1].isascii()
    assert result.stderr[:-1].isprintable()
    assert result.returncode == status, result
    for word in words:
        assert word in result.stderr


# ---- Reading what the client says: the one place that knows its wording

# What several tests need to find in an error line.
NO_REPLY = "no reply in time from "
NOT_SYNCHRONIZED = "clock is not synchronized"
NOTHING_LISTENS = "nothing is listening on this UDP port"
NOT_ASKED_AGAIN = "so the client will not ask again"
CONTRADICTION = "the samples contradict each other"
CLOCK_SET = "this computer's clock was set"

Report = namedtuple("Report", "server address offset verdict delay margin samples narrowest")
Row = namedtuple("Row", "label left right middle half_width")
ROW = re.compile(r"(sample \d+|overlap) +([<|>](?:-*[|>])?) +([+-]\d+\.\d{9}) \+- (\d+\.\d{9}) s")


def read_report(text):
    """Return the Report in what the client printed, its durations in s; None if there is none."""
    fields = dict(re.findall(r"^([A-Z][\w' ]*): +(.*)$", text, re.MULTILINE))
    if "Offset" not in fields:
        return None
    offset, verdict = fields["Offset"].split(" s, ")
    delay, margin = fields["Delay"].split()[0], fields["Margin of error"].split()[0]
    figures = [float(offset), verdict, float(delay), float(margin)]
    return Report(
        fields["Server"], fields["Address"], *figures, *map(fields.get, ("Samples", "Narrowest"))
    )


def read_rows(text):
    """Return a Row for each sample and for the overlap: the columns of both ends, figures in s."""
    return [
        Row(found[1], *found.span(2), float(found[3]), float(found[4]))
        for found in map(ROW.fullmatch, text.splitlines())
        if found
    ]


def read_json(text):
    """Return the objects that the client printed."""
    return [json.loads(line) for line in text.splitlines()]


# ---- Servers


def silent(request):
    """Never answer."""
    return []


def changed(**changes):
    """Return the behaviour of a server whose replies are honest but for these header fields."""
    return lambda request: [reply_to(request, **changes)]


TWO_ADDRESSES = ("resolves_to", "127.0.0.2", "127.0.0.1")
