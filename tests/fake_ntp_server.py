#!/usr/bin/env python3
"""Run a fake NTP server on this computer, to try the lab without a network.

    fake_ntp_server.py [-h] [--host ADDRESS] [--port N] [--offset SECONDS] [--delay SECONDS]
                       [COMMAND ...]

By default, the server listens on 127.0.0.1, on a free port. It answers honestly, except that its
clock is ahead by --offset. It holds each reply back for --delay after writing the transmit
timestamp, as if the path back were slow. Given a COMMAND, it appends its own host and port, as
xargs would, runs the command and then stops; otherwise it serves until Ctrl-C.

    tests/fake_ntp_server.py --offset 3600 ./ntp_client.py
    tests/fake_ntp_server.py netcat -w 1 -u < packet.binary | xxd -g 4

With --host 0.0.0.0 and --port 11123, other computers reach it at this computer's address.

The command inherits this program's stdin; inside a "while read" loop, add < /dev/null. Exit status:
the command's, 126 if the command cannot start, 127 if it does not exist, 1 if the address or port
is not available, 2 on a usage error.

The tests use the server as a fixture. Its behaviour is one small function, which takes a Request
and returns, or yields, the datagrams to send back.
"""

import argparse
import collections
import contextlib
import functools
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

SECONDS_1900_TO_1970 = 2_208_988_800
HEADER = struct.Struct(">BBbbII4sQQQQ")

Request = collections.namedtuple("Request", "data client arrived")
Request.__doc__ = "Hold a request's bytes, its sender's address and its arrival (Unix time in ns)."


def timestamp(unix_ns):
    """Return a Unix time in ns as a 64-bit NTP timestamp (RFC 5905, section 6)."""
    return (((unix_ns + SECONDS_1900_TO_1970 * 10**9) << 32) // 10**9) % 2**64


def reply_to(request, offset=0, **changes):
    """Return an honest reply, with these changes, from a clock ahead by offset ns.

    Copy version and poll from the request, as real servers do (RFC 5905, figure 31). changes may
    hold any of the fields below, in wire format (timestamps as 64-bit integers).
    """
    first_byte, _, poll = struct.unpack_from(">BBb", request.data)
    fields = {  # in the order of the header
        "leap": 0,
        "version": first_byte >> 3 & 0b111,
        "mode": 4,
        "stratum": 2,
        "poll": poll,
        "precision": -20,
        "root_delay": 66,  # 1 ms and 2 ms, in units of 2**-16 s
        "root_dispersion": 131,
        "reference_id": bytes([127, 127, 1, 1]),
        "reference": timestamp(request.arrived + offset - 10 * 10**9),
        "originate": int.from_bytes(request.data[40:48], "big"),
        "receive": timestamp(request.arrived + offset),
        "transmit": timestamp(time.time_ns() + offset),
    }
    unknown = changes.keys() - fields.keys()
    if unknown:
        raise TypeError(f"no such header fields: {unknown}")
    fields.update(changes)
    leap, version, mode, *rest = fields.values()
    return HEADER.pack(leap << 6 | version << 3 | mode, *rest)


def honest(request, offset=0):
    """Answer as a real server would, from a clock ahead by offset ns."""
    return [reply_to(request, offset)]


def is_request(data):
    """Return whether data is a request (48 bytes or more, mode 3 and version 1 to 4)."""
    return len(data) >= HEADER.size and data[0] & 0b111 == 3 and 1 <= data[0] >> 3 & 0b111 <= 4


class FakeServer:
    """Run a UDP server in its own thread during a with block, and collect the requests.

    Each datagram is sent delay seconds after its creation, as if the path back were slow.
    """

    def __init__(self, behaviour=honest, host="127.0.0.1", port=0, delay=0, accepts=is_request):
        self.behaviour = behaviour
        self.delay = delay
        self.accepts = accepts  # decides which packets are requests
        self.requests = []
        self.ignored = []
        self.answered = threading.Event()  # set once the first request has been dealt with
        self.fault = None
        self.stopping = threading.Event()
        self.socket = socket.socket(
            socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
        )
        try:
            self.socket.bind((host, port))
        except OSError:
            self.socket.close()
            raise
        self.host, self.port = self.socket.getsockname()[:2]
        # The address at which programs on this computer reach the server.
        self.here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, traceback):
        self.stopping.set()
        self.socket.sendto(b"", (self.here, self.port))  # wakes the thread
        self.thread.join()
        self.socket.close()
        if self.fault and kind is None:
            raise self.fault

    def serve(self):
        """Pass each request to the behaviour and send the result, until the with block ends."""
        while True:
            try:
                data, client = self.socket.recvfrom(65536)
                request = Request(data, client, time.time_ns())
                if self.stopping.is_set():
                    return
                if not self.accepts(data):
                    self.ignored.append(data)
                    continue
                self.requests.append(request)
                for datagram in self.behaviour(request):
                    if self.stopping.wait(self.delay):
                        return
                    self.socket.sendto(datagram, client)
                self.answered.set()
            except ConnectionError:
                continue  # on Windows, a reply hit a closed port
            except BaseException as fault:  # a bug in a behaviour, or a failed assertion there
                self.fault = fault


def feed(pipe, answered):
    """Copy stdin to pipe, and close pipe once the server has answered or after 1 s.

    OpenBSD's netcat -q stops listening the moment its stdin ends, and would miss every reply.
    """
    with pipe, contextlib.suppress(OSError):  # the command may have exited
        for chunk in iter(lambda: os.read(0, 65536), b""):
            pipe.write(chunk)
        answered.wait(1)


def run(command, answered):
    """Run command with this program's stdin, and return its exit status as a shell would."""
    running, terminated = [], []

    def terminate(*_):
        terminated.append(True)
        for process in running:
            process.terminate()

    signal.signal(signal.SIGINT, lambda *_: None)  # the command decides what Ctrl-C does
    signal.signal(signal.SIGTERM, terminate)
    stdin = subprocess.PIPE if sys.stdin and not sys.stdin.isatty() else None
    try:
        process = subprocess.Popen(command, stdin=stdin, bufsize=0)
    except OSError as error:
        reason = f"cannot run {command[0]!a}: {error.strerror}"
        if isinstance(error, FileNotFoundError) and os.path.exists(command[0]):
            in_this_folder = f"./{command[0]}"
            reason += f"; did you mean {in_this_folder!a:.100}?"
        complain(f"error: {reason}")
        return 127 if isinstance(error, FileNotFoundError) else 126
    running.append(process)
    if terminated:  # SIGTERM came during the start
        process.terminate()
    if stdin:
        threading.Thread(target=feed, args=(process.stdin, answered), daemon=True).start()
    status = process.wait()
    return 128 - status if status < 0 else status


def complain(text):
    """Print a line to stderr."""
    print(f"fake_ntp_server.py: {text}", file=sys.stderr)


def seconds(text):
    """Convert a number of seconds (perhaps negative) to whole ns."""
    value = float(text)
    if not abs(value) <= 10**10:
        raise ValueError(text)
    return round(value * 10**9)


def read_command_line():
    """Return the arguments. Raise SystemExit after --help or a usage error."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [-h] [--host ADDRESS] [--port N] [--offset SECONDS]\n"
        "                          [--delay SECONDS] [COMMAND ...]",
        description="Run a fake NTP server, honest except for --offset, on this computer.",
        epilog="The command inherits this program's stdin. Exit status: the command's, 126 if the "
        "command cannot start, 127 if it does not exist, 1 if the address or port is not "
        "available, 2 on a usage error.",
    )
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="IP address to listen on (default: 127.0.0.1; use 0.0.0.0 for all addresses)",
    )
    add("--port", type=int, default=0, metavar="N", help="UDP port (default: a free one)")
    wait = {"type": seconds, "default": 0, "metavar": "SECONDS"}
    add("--offset", help="how far the clock is ahead (default: 0)", **wait)
    add("--delay", help="how long to hold each reply (default: 0)", **wait)
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND",
        help="a command to run, with host and port appended")  # fmt: skip
    arguments = parser.parse_args()
    if not 0 <= arguments.port <= 65535:
        parser.error("argument --port: must be from 1 to 65535")
    if not 0 <= arguments.delay <= 60 * 10**9:
        parser.error("argument --delay: must be from 0 to 60 s")
    return arguments


def main():
    """Serve until Ctrl-C, or while the command runs; return the exit status."""
    arguments = read_command_line()
    behaviour = functools.partial(honest, offset=arguments.offset)
    delay = arguments.delay / 10**9
    try:
        server = FakeServer(behaviour, arguments.host, arguments.port, delay)
    except OSError as error:
        where = f"{arguments.host!a} port {arguments.port}"
        complain(f"error: cannot use {where}: {error.strerror}")
        return 1
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    try:
        with server:
            if command:
                return run([*command, server.here, str(server.port)], server.answered)
            where = f"{server.host} port {server.port}"
            print(f"serving NTP on {where}; press Ctrl-C to stop", flush=True)
            while True:
                time.sleep(0.5)  # short sleeps, because Ctrl-C waits for them on Windows
    except OSError as error:
        complain(f"error: {error.strerror}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if server.ignored:
            start = server.ignored[0][:1].hex()
            complain(
                f"warning: packets ignored: {len(server.ignored)}, the first with 0x{start} in "
                "byte 0; a request has 48 bytes or more, mode 3 and a version from 1 to 4"
            )


if __name__ == "__main__":
    # Restore Ctrl-C, which is ignored in a program that a shell started in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
