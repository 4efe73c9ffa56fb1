"""Run a script in a Python that was patched first, so that a test decides what happens around it.

    patched.py PATCHES SCRIPT [ARGUMENT ...]

PATCHES is JSON: a list of patches, each the name of a function below and its arguments.
"""

import builtins
import json
import os
import runpy
import select
import socket
import struct
import sys
import time
import types

SEND = ["send", "sendto", "sendmsg"]
RECEIVE = ["recv", "recvfrom", "recvmsg"]


def replace(owner, names, make):
    """Replace each of these attributes of owner by what make returns for it."""
    for name in names:
        setattr(owner, name, make(getattr(owner, name)))


# ---- Names


def resolves_to(*addresses):
    """Make every name stand for these addresses, and ask nobody."""

    def found(name, port, *_, **__):
        families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in addresses]
        kind = socket.SOCK_DGRAM
        return [(f, kind, 17, "", (a, int(port))) for f, a in zip(families, addresses)]

    socket.getaddrinfo = found


def resolves_to_scoped(address, zone, behind):
    """Make every name stand for a link-local IPv6 address in a zone; packets go to behind."""

    def found(name, port, *_, **__):
        return [(socket.AF_INET6, socket.SOCK_DGRAM, 17, "", (address, int(port), 0, zone))]

    socket.getaddrinfo = found
    replace(
        socket.socket, ["connect"], lambda real: lambda self, to: real(self, (behind, *to[1:2]))
    )


def resolves_nothing():
    """Print for what a name is looked up, and find nothing."""

    def nobody(*args, **options):
        values = (*args, *options.values())
        print(*(getattr(value, "name", value) for value in values), flush=True)
        raise socket.gaierror(-2, "Name or service not known")

    socket.getaddrinfo = nobody


def interrupted(module, name):
    """Interrupt the script, as Ctrl-C does, when it calls this function."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    setattr(sys.modules[module], name, interrupt)


def interrupted_while_printing(text):
    """Interrupt the script when it has printed something that begins with this text."""
    really_print = print

    def interrupt(*args, **options):
        really_print(*args, **options)
        if args and args[0].startswith(text):
            raise KeyboardInterrupt

    builtins.print = interrupt


# ---- The network


def fails(names, number, first=1):
    """Make these functions of a socket raise OSError with this errno, from the first-th call on."""
    calls = []

    def make(real):
        def fail(self, *args, **options):
            calls.append(args)
            if len(calls) >= first:
                raise OSError(number, os.strerror(number))
            return real(self, *args, **options)

        return fail

    replace(socket.socket, names, make)


def silent_network():
    """Print when each address is asked. Nobody replies, and each wait is over at once."""
    clock = [0.0]

    def connect(self, address):
        self.asked = address[0]

    def send(self, *_, **__):
        print(f"{self.asked} at {clock[0]:.2f} s", flush=True)

    def wait(readers, writers, errors, timeout):
        clock[0] += timeout
        return [], [], []

    class Socket(socket.socket):
        pass

    Socket.connect = connect
    for name in SEND:
        setattr(Socket, name, send)
    socket.socket = Socket
    select.select = wait
    time.monotonic = lambda: clock[0]
    really_exit = os._exit

    def leave(status):
        print(f"gives up at {clock[0]:.2f} s", flush=True)
        really_exit(status)

    os._exit = leave


# ---- Clocks


def clock_off_by(ns):
    """Set the clock off by so many ns."""
    replace(time, ["time_ns"], lambda real: lambda: real() + ns)


def note_requests():
    """Return a list that gets an item for each request that the script sends."""
    sent = []

    def make(real):
        def send(self, *args, **options):
            sent.append(args)
            return real(self, *args, **options)

        return send

    replace(socket.socket, SEND, make)
    return sent


def clock_set_when_sent(ns):
    """Set the clock forward by so many ns (or back), once a request was sent."""
    sent = note_requests()
    no_socket_option()  # the kernel's own clock is not asked
    replace(time, ["time_ns"], lambda real: lambda: real() + (ns if sent else 0))


def slow_to_read_the_clock():
    """Interrupt the process before and after each reading of the clock."""

    def make(real):
        def reading():
            time.sleep(0.02)
            now = real()
            time.sleep(0.02)
            return now

        return reading

    replace(time, ["time_ns"], make)


def resolution(seconds):
    """Say that the clock counts in steps of so many seconds."""
    time.get_clock_info = lambda name: types.SimpleNamespace(resolution=seconds)


def windows_clocks():
    """Make both clocks count in steps of 15.625 ms, and be another system than Linux."""
    sys.platform = "win32"
    replace(time, ["time_ns"], lambda real: lambda: real() // 15_625_000 * 15_625_000)
    replace(time, ["monotonic"], lambda real: lambda: real() // 0.015625 * 0.015625)
    resolution(0.015625)


def pauses_take_no_time(seconds=0):
    """Print each pause, and let the clock go on by so many seconds instead of it."""
    pauses = []

    def sleep(pause):
        print(f"pauses {pause:g} s", flush=True)
        pauses.append(pause)

    time.sleep = sleep
    replace(time, ["time_ns"], lambda real: lambda: real() + len(pauses) * seconds * 10**9)


# ---- The kernel's receive timestamp


def system(name):
    """Be another system, which cannot receive ancillary data."""
    sys.platform = name
    socket.socket.recvmsg = None


def no_socket_option():
    """Have a kernel that ignores every option of a socket."""
    socket.socket.setsockopt = lambda *_: None


def kernel_timestamp(ns, cut_off=0, late=0):
    """Have the kernel say that each packet arrived at ns (None: when it says), with bytes missing.

    late is for how many seconds the script is kept waiting after the packet has arrived.
    """

    def make(real):
        def recvmsg(self, *args, **options):
            packet, [(level, kind, data)], flags, address = real(self, *args, **options)
            time.sleep(late)
            if ns is not None:
                data = struct.pack("@ll", ns // 10**9, ns % 10**9)
            return packet, [(level, kind, data[: len(data) - cut_off])], flags, address

        return recvmsg

    replace(socket.socket, ["recvmsg"], make)


def known_times(t1, t4, step=1e-9):
    """Fix T1 and T4: the clock stands still until a request is sent, and the kernel says T4."""
    sent = note_requests()
    time.time_ns = lambda: t4 + 1000 if sent else t1
    kernel_timestamp(t4)
    resolution(step)
    sys.platform = "linux"


if __name__ == "__main__":
    patches = json.loads(sys.argv[1])
    del sys.argv[:2]
    sys.path[0] = os.path.dirname(sys.argv[0])
    for name, *arguments in patches:
        globals()[name](*arguments)
    runpy.run_path(sys.argv[0], run_name="__main__")
