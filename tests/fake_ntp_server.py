#!/usr/bin/env python3
"""A fake NTP server on this computer, to try the lab without a network.

    fake_ntp_server.py [-h] [--port N] [--offset SECONDS] [--delay SECONDS] [COMMAND ...]

It answers honestly, on a free port of 127.0.0.1 unless --port names one, with a clock that is off
by --offset. Each reply leaves --delay after the time written in it, as if the way back were slow.
With a COMMAND it runs it with its host and port added at the end, as xargs would; without one it
serves until Ctrl-C.

    tests/fake_ntp_server.py --offset 3600 ./ntp_client.py
    tests/fake_ntp_server.py netcat -w 1 -u < packet.binary | xxd -g 4

The command gets this program's stdin (in a "while read" loop, say < /dev/null). Exit status: the
command's; 126 it could not be started, 127 there is no such command; 1 the port could not be had.

In the tests it is a fixture, and how it answers is one small function: it is handed a Request and
returns, or yields, the datagrams to send back.
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
Request.__doc__ = (
    "The bytes of a request, its sender's address, and when it arrived (Unix time, ns)."
)


def timestamp(unix_ns):
    """Return a Unix time in ns as a 64-bit NTP timestamp (RFC 5905, section 6)."""
    return (((unix_ns + SECONDS_1900_TO_1970 * 10**9) << 32) // 10**9) % 2**64


def reply_to(request, offset=0, **changes):
    """Return the 48 bytes of an honest reply, but for these changes; its clock is offset ns ahead.

    It repeats the request's version and poll, as real servers do (RFC 5905, figure 31). changes:
    any of the fields below, as they go on the wire (timestamps as 64-bit integers).
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
    """Answer as a real server does, from a clock that is offset ns ahead."""
    return [reply_to(request, offset)]


class FakeServer:
    """A UDP server on its own thread while a with block lasts; what it was sent is in requests.

    Every datagram leaves delay s after the behaviour made it, as over a slow way back.
    """

    def __init__(self, behaviour=honest, host="127.0.0.1", port=0, delay=0):
        self.behaviour = behaviour
        self.delay = delay
        self.requests = []
        self.answered = threading.Event()  # set when the first request has got what it gets
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
        self.thread = threading.Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, error, traceback):
        self.stopping.set()
        self.socket.sendto(b"", (self.host, self.port))  # wakes the thread
        self.thread.join()
        self.socket.close()
        if self.fault and kind is None:
            raise self.fault

    def serve(self):
        """Hand each request to the behaviour, and send what it gives, while the block lasts."""
        while True:
            try:
                data, client = self.socket.recvfrom(65536)
                request = Request(data, client, time.time_ns())
                if self.stopping.is_set():
                    return
                if len(data) < HEADER.size:
                    continue
                self.requests.append(request)
                for datagram in self.behaviour(request):
                    if self.stopping.wait(self.delay):
                        return
                    self.socket.sendto(datagram, client)
                self.answered.set()
            except ConnectionError:
                continue  # Windows says here that an earlier reply found nobody there
            except BaseException as fault:  # a behaviour's mistake, or a test that fails in it
                self.fault = fault


def feed(pipe, answered):
    """Copy stdin to a command's pipe; hold its end back until the server has answered, 1 s at most.

    OpenBSD's netcat -q stops listening the moment its stdin ends: it would miss every reply.
    """
    with pipe, contextlib.suppress(OSError):  # the command may have gone
        for chunk in iter(lambda: os.read(0, 65536), b""):
            pipe.write(chunk)
        answered.wait(1)


def run(command, answered):
    """Run command, with this one's stdin, and return its exit status as a shell reports it."""
    running, terminated = [], []

    def terminate(*_):
        terminated.append(True)
        for process in running:
            process.terminate()

    signal.signal(signal.SIGINT, lambda *_: None)  # the command gets Ctrl-C too, and decides
    signal.signal(signal.SIGTERM, terminate)
    stdin = subprocess.PIPE if sys.stdin and not sys.stdin.isatty() else None
    try:
        process = subprocess.Popen(command, stdin=stdin, bufsize=0)
    except OSError as error:
        reason = f"cannot run {command[0]!a}: {error.strerror}"
        if isinstance(error, FileNotFoundError) and os.path.exists(command[0]):
            in_this_folder = f"./{command[0]}"
            reason += f"; a program in this folder is called {in_this_folder!a:.100}"
        print(f"fake_ntp_server.py: error: {reason}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    running.append(process)
    if terminated:  # before it was running
        process.terminate()
    if stdin:
        threading.Thread(target=feed, args=(process.stdin, answered), daemon=True).start()
    status = process.wait()
    return 128 - status if status < 0 else status


def seconds(text):
    """Return a number of seconds, which may be negative, as whole ns."""
    value = float(text)
    if not abs(value) <= 10**10:
        raise ValueError(text)
    return round(value * 10**9)


def main():
    """Serve until Ctrl-C, or while the command runs; return the exit status."""
    parser = argparse.ArgumentParser(
        description="A fake NTP server on this computer: an honest one, but for --offset.",
        epilog="The command gets this program's stdin. Exit status: the command's; 126 it could "
        "not be started, 127 there is no such command; 1 the port could not be had; 2 the command "
        "line was wrong.",
    )
    parser.add_argument("--port", type=int, default=0, help="the UDP port (default: a free one)")
    parser.add_argument(
        "--offset", type=seconds, default=0, metavar="SECONDS", help="how far its clock is ahead"
    )
    parser.add_argument(
        "--delay", type=seconds, default=0, metavar="SECONDS", help="how late its replies leave"
    )
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="a command to run, with host and port added"
    )
    arguments = parser.parse_args()
    if not 0 <= arguments.port <= 65535:
        parser.error("argument --port: ports go from 1 to 65535")
    if not 0 <= arguments.delay <= 60 * 10**9:
        parser.error("argument --delay: from 0 to 60 s")

    behaviour = functools.partial(honest, offset=arguments.offset)
    try:
        server = FakeServer(behaviour, port=arguments.port, delay=arguments.delay / 10**9)
    except OSError as error:
        print(
            f"fake_ntp_server.py: error: port {arguments.port}: {error.strerror}", file=sys.stderr
        )
        return 1
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    try:
        with server:
            if command:
                return run([*command, server.host, str(server.port)], server.answered)
            print(f"serving NTP on {server.host} port {server.port}; Ctrl-C stops it", flush=True)
            while True:
                time.sleep(0.5)  # in slices: on Windows, Ctrl-C has to wait for the end of one
    except OSError as error:
        print(f"fake_ntp_server.py: error: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    # Also when a shell has started it in the background, where Ctrl-C is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
