"""What the tests share: running the scripts as a user does, and the servers that they ask."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from benchmark import SYSTEM_PATH, free_port, real_chronyd
from fake_ntp_server import FakeServer, honest, reply_to

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))  # for the laws, which import the client

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


# ---- What a run of the tests needs


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


def pytest_sessionstart(session):
    if not has_loopback(socket.AF_INET, "127.0.0.1"):
        pytest.exit(
            "no packet gets from 127.0.0.1 to itself: the tests need the loopback interface",
            returncode=1,
        )


def pytest_collection_modifyitems(items):
    if sys.platform == "win32":
        for item in items:
            item.add_marker(pytest.mark.skip(reason="the tests are for Linux and macOS"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI, count what is skipped as failed: all that the tests need can be installed there."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"


# ---- Running the scripts


def run(script, *arguments, python=sys.executable, **options):
    """Run a script to its end, and return what subprocess.run() does, its output as text."""
    options = {
        "env": ENVIRONMENT,
        "cwd": TOP,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        **options,
    }
    options.update(encoding="utf-8", errors="surrogateescape", timeout=60)
    return subprocess.run([python, TOP / script, *map(str, arguments)], **options)


def client(*arguments, **options):
    return run("ntp_client.py", *arguments, **options)


def patched_client(patch, *arguments, **options):
    """Run the client in a Python in which patch, a few lines of code, was run first."""
    program = f"""import os, runpy, socket, sys, time
{patch}
runpy.run_path(sys.argv[0], run_name='__main__')
"""
    loader = "import sys; program = sys.argv.pop(1); del sys.argv[0]; exec(program)"
    options = {"env": ENVIRONMENT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    command = [sys.executable, "-c", loader, program, TOP / "ntp_client.py", *map(str, arguments)]
    return subprocess.run(
        command, encoding="utf-8", errors="surrogateescape", timeout=60, **options
    )


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


# ---- Servers


def silent(request):
    """Never answer."""
    return []


def changed(**changes):
    """Return the behaviour of a server whose replies are honest but for these header fields."""
    return lambda request: [reply_to(request, **changes)]


def resolves_to(*addresses):
    """Return a patch for patched_client(): every name has these addresses, and nobody is asked."""
    return f"""
def found(name, port, *others, **more):
    families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in {addresses!r}]
    kind = socket.SOCK_DGRAM
    return [(f, kind, 17, "", (a, int(port))) for f, a in zip(families, {addresses!r})]
socket.getaddrinfo = found
"""


@pytest.fixture
def fake_server():
    """Return a function that starts a FakeServer which lasts as long as the test."""
    with contextlib.ExitStack() as servers:
        yield lambda *args, **options: servers.enter_context(FakeServer(*args, **options))


@pytest.fixture
def ask(fake_server):
    """Return a function that runs the client against a server that behaves as it is told."""

    def ask(behaviour=honest, *options):
        server = fake_server(behaviour)
        return client(*options, server.host, server.port)

    return ask


@pytest.fixture(scope="session")
def chronyd(tmp_path_factory):
    """Run a real chronyd at stratum 2, which never touches the clock; return its UDP port."""
    if not shutil.which("chronyd", path=SYSTEM_PATH):
        pytest.skip("chronyd is not installed (Debian package chrony)")
    folder, port = tmp_path_factory.mktemp("chronyd"), free_port()
    with real_chronyd(folder, port) as answers:
        if not answers:
            pytest.skip(f"chronyd does not answer here: {(folder / 'log').read_text()}")
        yield port
