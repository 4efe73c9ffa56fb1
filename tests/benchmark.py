#!/usr/bin/env python3
"""How accurate and how fast the client is, beside the NTP clients that are on this machine.

    tests/benchmark.py [-h] [--rounds N]

Starts a chronyd of its own on loopback, which never touches the clock. Server and clients read the
same clock there: the true offset is 0, and what a client prints is its error. Then the same through
a network that delays each packet by 2 ms in the mean, distributed exponentially. The clients take
turns, in a new order each round, so that what else the machine does falls on all alike. The figures
are also shown as ratios to those of ntp_client.py. Nothing is asserted: machines are noisy.
"""

import argparse
import json
import pathlib
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from fake_ntp_server import FakeServer
from real_server import SYSTEM_PATH, TOP, free_port, real_chronyd


def jittery(server, mean):
    """Return the behaviour of a network, seen from the client, that has this server at its far end.

    It delays each packet by mean s on average, distributed exponentially, as a queue does.
    """

    def carry(request):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far_end:
            far_end.settimeout(2)
            far_end.connect(server)
            time.sleep(random.expovariate(1 / mean))
            far_end.send(request.data)
            reply = far_end.recv(65536)
            time.sleep(random.expovariate(1 / mean))
            return [reply]

    return carry


def output_of(command):
    """Return what the command printed, or "" when it failed."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    result = subprocess.run(command, timeout=120, **options)
    return result.stdout if result.returncode == 0 else ""


def ours(output):
    """Return the offset of the result, and that of the sample with the least delay, in s."""
    *samples, result = [json.loads(line) for line in output.splitlines() if line[0] == "{"]
    narrowest = min(samples or [result], key=lambda sample: sample["delay"])
    return [result["offset"], narrowest["offset"]]


def found_by(pattern):
    """Return a function that finds an offset, in s, in what a program printed."""
    return lambda output: [float(text) for text in re.findall(pattern, output)[:1]]


def clients(port, folder):
    """Return the clients that are on this machine: (names, command, how to find the offsets)."""
    client = [sys.executable, str(TOP / "ntp_client.py"), "--json", "127.0.0.1", str(port)]
    found = [
        (["ntp_client.py"], client, ours),
        (["ntp_client.py -n 8", "  narrowest sample"], [*client, "-n", "8", "-i", "0"], ours),
    ]
    # A pidfile of its own: chronyd puts a new file in the place of whatever stands there.
    chronyd = ["chronyd", "-Q", "-t", "20", "cmdport 0", f"pidfile {folder}/pid"]
    server = f"server 127.0.0.1 port {port} iburst"
    wrong_by = found_by(r"System clock wrong by ([-+.e\d]+) seconds")
    peers = {
        "chronyd -Q (us)": ([*chronyd, server], wrong_by),
        "chronyd -Q, 1 (us)": ([*chronyd, f"{server} maxsamples 1"], wrong_by),
        "rdate (us)": (
            ["rdate", "-n", "-p", "-v", "-o", str(port), "127.0.0.1"],
            found_by(r"by ([-+.e\d]+) seconds"),
        ),
    }
    for name, (command, find) in peers.items():
        program = shutil.which(command[0], path=SYSTEM_PATH)
        if program:
            found.append(([name], [program, *command[1:]], find))
        else:
            print(f"{command[0]} is not installed")
    return found


def measure(found, rounds):
    """Run all clients in turn; return each one's errors in us, with their sign, and wall times."""
    errors, walls = ({name: [] for names, *_ in found for name in names} for _ in range(2))
    for _ in range(rounds):
        for names, command, find in random.sample(found, len(found)):
            started = time.perf_counter()
            output = output_of(command)
            wall = (time.perf_counter() - started) * 1e3
            for name, offset in zip(names, find(output) if output else []):
                errors[name].append(offset * 1e6)
            for name in names:
                walls[name].append(wall)
    return errors, walls


def show(title, errors, walls):
    """Print a table, with ratios to the first row; the last but one column is the mean, signed."""
    print(f"\n{title}")
    head = f"{'error in us (ratio)':20}{'median':>17}{'90th pct':>18}{'worst':>18}"
    print(f"{head}{'bias':>9}{'wall ms':>18}   answers")
    first = None
    for name in errors:
        answers = f"{len(errors[name])}/{len(walls[name])}"
        if not errors[name]:
            print(f"{name:20}{'no answer':>17}   {answers}")
            continue
        ranked = sorted(map(abs, errors[name]))
        row = [
            statistics.median(ranked),
            ranked[round(0.9 * (len(ranked) - 1))],
            ranked[-1],
            statistics.median(walls[name]),
        ]
        first = first or row
        cells = [f"{value:8.2f} ({value / max(one, 0.001):6.2f})" for value, one in zip(row, first)]
        bias = f"{statistics.mean(errors[name]):+9.2f}"
        print(f"{name:20}{' '.join(cells[:3])} {bias} {cells[3]}   {answers}")


def main():
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(
        description="Measure the client beside the NTP clients that are on this machine."
    )
    text = "how often each client runs (default: 30)"
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help=text)
    rounds = parser.parse_args().rounds
    if rounds < 1:
        parser.error("argument --rounds: at least one")
    if not shutil.which("chronyd", path=SYSTEM_PATH):
        sys.exit("benchmark.py: error: chronyd is missing (Debian package chrony)")
    with tempfile.TemporaryDirectory() as name:
        folder, port = pathlib.Path(name), free_port()
        with real_chronyd(folder, port) as answers:
            if not answers:
                reason = (folder / "log").read_text()
                sys.exit(f"benchmark.py: error: chronyd does not answer: {reason}")
            print("(us): this one prints whole microseconds, or six decimals")
            show("loopback", *measure(clients(port, folder), rounds))
            with FakeServer(jittery(("127.0.0.1", port), 0.002)) as near_end:
                title = "a network with 2 ms of exponential jitter each way"
                show(title, *measure(clients(near_end.port, folder), rounds))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
