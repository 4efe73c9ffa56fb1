"""What the tests share: running the scripts as a user does, and servers for them to ask."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from fake_ntp_server import reply_to

TOP = pathlib.Path(__file__).resolve().parent.parent
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


TWO_ADDRESSES = resolves_to("127.0.0.2", "127.0.0.1")


# ---- A real server

# chronyd is root's, and not on everybody's PATH.
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def free_port():
    """Return a UDP port that is free on the loopback addresses, or was a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until_it_answers(port, process):
    """Return once an NTP server answers on this port of 127.0.0.1, and whether it did."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.05)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and process.poll() is None:
            sock.sendto((TOP / "packet.binary").read_bytes(), ("127.0.0.1", port))
            with contextlib.suppress(OSError):
                return bool(sock.recv(1024))
    return False


@contextlib.contextmanager
def real_chronyd(folder, port, *directives):
    """Run a chronyd on this port of both loopback addresses; yield whether it answers.

    It never touches the clock. directives: what it does; without any, it is a server at stratum 2.
    """
    is_root = os.geteuid() == 0
    # Debian's AppArmor profile lets chronyd write to this folder, and only root may.
    pidfile = f"/run/chrony/lab-{port}.pid" if is_root else f"{folder}/chronyd.pid"
    if is_root:
        os.makedirs("/run/chrony", mode=0o750, exist_ok=True)
    lines = [
        f"port {port}",
        "bindaddress 127.0.0.1",
        "bindaddress ::1",
        "cmdport 0",
        "bindcmdaddress /",
    ]
    lines += [f"pidfile {pidfile}", *(directives or ["allow", "local stratum 2"])]
    # -U: it need not be root; -x: it leaves the clock alone
    user = ["-u", "root"] if is_root else ["-U"]
    command = [shutil.which("chronyd", path=SYSTEM_PATH), "-x", "-d", *user, *lines]
    with (folder / "log").open("w") as log, subprocess.Popen(
        command, stdout=log, stderr=log
    ) as process:
        try:
            yield wait_until_it_answers(port, process)
        finally:
            process.terminate()
