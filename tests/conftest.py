"""What the tests share: running the scripts as a user does, and the servers that they ask."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from benchmark import SYSTEM_PATH, free_port, real_chronyd
from fake_ntp_server import FakeServer, honest

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))  # for the unit tests, which import the scripts

# What a user's shell has: UTF-8, and none of Python's own switches.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LC_", "LANG"))}
ENVIRONMENT["LC_ALL"] = "C.UTF-8"


def run(script, *arguments, python=sys.executable, **options):
    """Run one of the scripts to its end, and return what subprocess.run() does, its output as text."""
    options = {"env": ENVIRONMENT, "cwd": TOP, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    options.update(encoding="utf-8", errors="surrogateescape", timeout=60)
    return subprocess.run([python, TOP / script, *map(str, arguments)], **options)


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


@pytest.fixture
def fake_server():
    """Return a function that starts a FakeServer which lasts as long as the test."""
    with contextlib.ExitStack() as servers:
        yield lambda *args, **options: servers.enter_context(FakeServer(*args, **options))


@pytest.fixture
def ask(fake_server):
    """Return a function that runs the client, with these options, against a server that behaves like this."""

    def ask(behaviour=honest, *options):
        server = fake_server(behaviour)
        return run("ntp_client.py", *options, server.host, server.port)

    return ask


@pytest.fixture(scope="session")
def chronyd(tmp_path_factory):
    """Run a real chronyd on loopback, which never touches the clock; its UDP port. It says it has stratum 2."""
    if not shutil.which("chronyd", path=SYSTEM_PATH):
        pytest.skip("chronyd is not installed (Debian package chrony)")
    port, folder = free_port(), tmp_path_factory.mktemp("chronyd")
    with real_chronyd(folder, port) as answers:
        assert answers, (folder / "log").read_text()
        yield port
