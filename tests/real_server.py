"""A real NTP server, chronyd, on this computer: for the tests and for benchmark.py."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time

TOP = pathlib.Path(__file__).resolve().parent.parent

# chronyd is root's, and not on everybody's PATH.
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


def free_port():
    """Return a UDP port that is free on the loopback addresses, or was a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until_it_answers(port, process=None):
    """Return once an NTP server answers on this port of 127.0.0.1, and whether it did."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.05)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and (process is None or process.poll() is None):
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
