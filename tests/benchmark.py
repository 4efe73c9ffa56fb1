#!/usr/bin/env python3
"""How accurate and how fast the scripts are, beside the NTP clients that are on this machine.

    tests/benchmark.py [-h] [--rounds N]

Starts a chronyd of its own on loopback, which never touches the clock. Server and clients read
the same clock there: the true offset is 0, and what a client prints is its error. All clients
take turns, so that what else the machine does falls on all of them, and every figure is also
shown as a ratio to that of ntp_client.py with one sample. Nothing is asserted: machines are noisy.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
SYSTEM_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]
)  # chronyd is root's


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
    user = (
        ["-u", "root"] if is_root else ["-U"]
    )  # -U: it need not be root; -x: it leaves the clock alone
    command = [shutil.which("chronyd", path=SYSTEM_PATH), "-x", "-d", *user, *lines]
    with (folder / "log").open("w") as log, subprocess.Popen(
        command, stdout=log, stderr=log
    ) as process:
        try:
            yield wait_until_it_answers(port, process)
        finally:
            process.terminate()


def output_of(command):
    """Return what the command printed, or "" when it failed."""
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    return result.stdout if result.returncode == 0 else ""


def clients(port, folder):
    """Return the clients that are on this machine: name to (command, how to find the offset in what it prints)."""
    ours = [sys.executable, str(TOP / "ntp_client.py"), "--json", "127.0.0.1", str(port)]
    in_json = re.compile(r'"offset": ?([-+.e\d]+)')
    found = {
        "ntp_client.py": (ours, in_json),
        "ntp_client.py -n 8": ([*ours, "-n", "8", "-i", "0"], in_json),
    }
    peers = {
        "chronyd -Q": (
            # A pidfile of its own: chronyd puts a new file in the place of whatever stands there.
            [
                "chronyd",
                "-Q",
                "-t",
                "20",
                f"server 127.0.0.1 port {port} iburst",
                "cmdport 0",
                f"pidfile {folder}/pid",
            ],
            re.compile(r"System clock wrong by ([-+.e\d]+) seconds"),
        ),
        "ntpdig": (["ntpdig", "-j", "127.0.0.1"], in_json),
        "rdate": (
            ["rdate", "-n", "-p", "-v", "-o", str(port), "127.0.0.1"],
            re.compile(r"by ([-+.e\d]+) seconds"),
        ),
    }
    for name, (command, pattern) in peers.items():
        program = shutil.which(command[0], path=SYSTEM_PATH)
        if name == "ntpdig" and port != 123:
            print(
                "ntpdig left out: it asks port 123 only, which is not free here, or not ours to take"
            )
        elif program:
            found[name] = ([program, *command[1:]], pattern)
        else:
            print(f"{command[0]} is not installed")
    return found


def measure_accuracy(port, rounds, folder):
    """Run all clients in turn; return each one's errors in us and wall times in ms."""
    found = clients(port, folder)
    errors, walls = ({name: [] for name in found} for _ in range(2))
    for _ in range(rounds):
        for name, (command, pattern) in found.items():
            started = time.perf_counter()
            offset = pattern.search(output_of(command))
            walls[name].append((time.perf_counter() - started) * 1e3)
            if offset:
                errors[name].append(abs(float(offset[1])) * 1e6)
    return errors, walls


def show_accuracy(errors, walls):
    """Print the table: median, 90th percentile and worst error, and wall time, each with its ratio to the first row."""
    print(
        f"\n{'error in us (ratio)':20}{'median':>14}{'90th pct':>16}{'worst':>16}{'wall ms':>18}   answers"
    )
    first = None
    for name in errors:
        if not errors[name]:
            print(f"{name:20}{'no answer':>14}")
            continue
        ranked = sorted(errors[name])
        row = [
            statistics.median(ranked),
            ranked[round(0.9 * (len(ranked) - 1))],
            ranked[-1],
            statistics.median(walls[name]),
        ]
        first = first or row
        cells = (f"{value:7.2f} ({value / max(one, 0.001):6.2f})" for value, one in zip(row, first))
        print(f"{name:20}{' '.join(cells)}   {len(ranked)}/{len(walls[name])}")


def measure_start_up(port, rounds, folder):
    """Run each script, and what it is compared with, in turn; return the wall times in ms."""
    count = 1_000_000_000
    with (folder / "sample_data_file.dat").open("wb") as file:
        file.write(struct.pack(">BxHIQ", 1, 1, 1, 1))
        file.seek(16 * (count - 1))  # 16 GB, of which nearly nothing is on the disk
        file.write(struct.pack(">BxHIQ", count % 2**8, count % 2**16, count, count))
    commands = {
        "pass": ["-c", "pass"],
        "goodbye.py": [TOP / "goodbye.py"],
        "basics.py x 1": [TOP / "basics.py", "x", "1"],
        "basics.py x 1000000000": [TOP / "basics.py", "x", str(count)],
        "import argparse, socket": ["-c", "import argparse, socket"],
        "ntp_client.py": [TOP / "ntp_client.py", "127.0.0.1", str(port)],
    }
    walls = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, *command], cwd=folder, stdout=subprocess.DEVNULL, check=True
            )
            walls[name].append((time.perf_counter() - started) * 1e3)
    return walls


def show_start_up(walls):
    """Print the medians of the scripts' run times as ratios to what they are compared with."""
    print(f"\nstart-up, Python {sys.version.split()[0]}: medians in ms, and the ratio")
    for name, base in (
        ("goodbye.py", "pass"),
        ("basics.py x 1", "pass"),
        ("basics.py x 1000000000", "basics.py x 1"),
        ("ntp_client.py", "import argparse, socket"),
    ):
        one, other = statistics.median(walls[name]), statistics.median(walls[base])
        print(f"{name:24}{one:7.2f}  to {other:7.2f} for {base:24}= {one / other:.3f}")


def main():
    """Measure, and print the tables; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Measure the scripts beside the NTP clients that are on this machine."
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=30,
        metavar="N",
        help="how often each client runs (%(default)s)",
    )
    rounds = parser.parse_args().rounds
    if rounds < 1:
        parser.error("argument --rounds: at least one")
    if not shutil.which("chronyd", path=SYSTEM_PATH):
        print(
            "benchmark.py: error: no chronyd here; on Debian and Ubuntu: apt-get install chrony",
            file=sys.stderr,
        )
        return 1

    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        for port in (123, free_port()):  # ntpdig can ask port 123 alone
            if stack.enter_context(real_chronyd(folder, port)):
                break
        else:
            print(
                "benchmark.py: error: chronyd does not answer:",
                (folder / "log").read_text(),
                file=sys.stderr,
            )
            return 1
        print(
            f"{rounds} rounds against {output_of([shutil.which('chronyd', path=SYSTEM_PATH), '--version']).strip()}"
        )
        show_accuracy(*measure_accuracy(port, rounds, folder))
        show_start_up(measure_start_up(port, rounds, folder))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
