"""What the tests share: running the scripts as a user does, and the servers that they ask."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import pytest

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


def free_port():
    """Return a UDP port that is free on the loopback addresses, or was a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until_it_answers(port, process):
    """Return once an NTP server answers on this port of 127.0.0.1; fail when its process has ended."""
    request = (TOP / "packet.binary").read_bytes()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.05)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            sock.sendto(request, ("127.0.0.1", port))
            with contextlib.suppress(OSError):
                return sock.recv(1024)
    raise RuntimeError(f"the server on port {port} does not answer; status {process.poll()}")


@pytest.fixture(scope="session")
def chronyd(tmp_path_factory):
    """Run a real chronyd on loopback, which never touches the clock; its UDP port. It says it has stratum 2."""
    program = shutil.which("chronyd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if not program:
        pytest.skip("chronyd is not installed (Debian package chrony)")
    folder = tmp_path_factory.mktemp("chronyd")
    port = free_port()
    lines = f"""
        port {port}
        bindaddress 127.0.0.1
        bindaddress ::1
        allow
        local stratum 2
        cmdport 0
        bindcmdaddress /
        pidfile {folder}/chronyd.pid
    """
    (folder / "chrony.conf").write_text("\n".join(line.strip() for line in lines.splitlines()))
    command = [program, "-x", "-d", "-U", "-u", "root", "-f", str(folder / "chrony.conf")]
    if os.geteuid() != 0:
        command.remove("-u"), command.remove("root")
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_until_it_answers(port, process)
            yield port
        finally:
            process.terminate()
