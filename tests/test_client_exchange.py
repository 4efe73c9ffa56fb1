"""Part 5, one exchange: whom the client asks, when it asks again, what it ignores, refuses and
believes.
"""

import json
import os
import re
import signal
import socket
import threading
import time

import pytest

from fake_ntp_server import FakeServer, honest, reply_to, timestamp
from helpers import (
    SECOND,
    TWO_ADDRESSES,
    assert_one_error_line,
    changed,
    client,
    linux_only,
    needs_ipv6,
    patched_client,
    resolves_to,
    silent,
    started,
)

pty = pytest.importorskip("pty", reason="the tests are for Linux and macOS")

# ---- The request


def test_the_request_tells_nothing_but_version_mode_and_64_random_bits(fake_server):
    server = fake_server()
    for _ in range(3):
        assert client(server.host, server.port).returncode == 0
    requests = [request.data for request in server.requests]
    assert {request[:40] for request in requests} == {b"\x23" + bytes(39)}
    assert {len(request) for request in requests} == {48}
    assert len({request[40:] for request in requests}) == 3
    assert (
        len({request[40:42] for request in requests}) > 1
    )  # no clock: its first bits would not change


@needs_ipv6
@pytest.mark.parametrize("options", [(), ("-6",)])
def test_ipv6_works_as_ipv4_does(fake_server, options):
    server = fake_server(host="::1")
    result = client(*options, "::1", server.port)
    assert result.returncode == 0
    assert f"Address:        ::1 port {server.port}, stratum 2\n" in result.stdout


# ---- Servers that cannot be asked


def test_a_port_where_nothing_listens_is_said_at_once_and_not_asked_again():
    with FakeServer() as server:
        port = server.port
    before = time.monotonic()
    result = client("-t", 50, "127.0.0.1", port)
    assert time.monotonic() - before < 25  # not after the timeout
    assert_one_error_line(
        result,
        1,
        f"127.0.0.1 port {port}: nothing is listening on this UDP port",
        "firewall rejects",
    )


SEND = ["send", "sendto", "sendmsg"]
RECEIVE = ["recv", "recvfrom", "recvmsg"]
CANNOT_SEND = """
def fails(*args, **kw):
    raise {error}
for name in {names}:
    setattr(socket.socket, name, fails)
"""


@pytest.mark.parametrize(
    ("names", "error", "words"),
    [
        (
            ["connect"],
            "OSError(101, 'Network is unreachable')",
            "cannot reach it: Network is unreachable",
        ),
        (
            ["connect"],
            "OSError(99, 'Cannot assign requested address')",
            "cannot reach it: Cannot assign",
        ),
        (
            ["__init__"],
            "OSError(97, 'Address family not supported')",
            "cannot reach it: Address family not supported",
        ),
        (
            SEND,
            "PermissionError(1, 'Operation not permitted')",
            "cannot reach it: Operation not permitted; check the network and its firewalls\n",
        ),
        (
            RECEIVE,
            "ConnectionRefusedError(111, 'refused')",
            "nothing is listening",
        ),
        (
            RECEIVE,
            "ConnectionResetError(10054, 'reset')",
            "nothing is listening",
        ),
        (
            RECEIVE,
            "OSError(113, 'No route to host')",
            "cannot reach it: No route to host",
        ),
        (
            RECEIVE,
            "PermissionError(13, 'Permission denied')",
            "cannot reach it: Permission denied; check the network and its firewalls\n",
        ),
    ],
    ids=[
        "no network",
        "no address",
        "no ipv6",
        "own firewall",
        "refused",
        "reset on Windows",
        "no route",
        "a router's ICMPv6",
    ],
)
def test_what_keeps_a_packet_from_its_way_is_one_clear_line(names, error, words):
    result = patched_client(CANNOT_SEND.format(names=names, error=error), "127.0.0.1", 123)
    assert_one_error_line(result, 1, "127.0.0.1 port 123: ", words)
    assert result.stdout == ""


def test_no_reply_is_said_after_the_timeout(ask):
    before = time.monotonic()
    assert_one_error_line(
        ask(silent, "-t", "0.4"),
        1,
        "no reply within 0.4 s (does a firewall block UDP port ",
        "?)\n",
    )
    assert time.monotonic() - before >= 0.4


@linux_only
def test_when_one_address_of_a_name_gives_no_time_the_next_is_asked(fake_server):
    good = fake_server()
    bad = fake_server(changed(stratum=16), host="127.0.0.2", port=good.port)
    result = patched_client(TWO_ADDRESSES, "two.example", good.port)
    assert_one_error_line(
        result, 0, f"127.0.0.2 port {good.port}: its clock is not synchronized (stratum 16)"
    )
    assert (
        f"Server:         two.example\nAddress:        127.0.0.1 port {good.port}," in result.stdout
    )
    assert (len(bad.requests), len(good.requests)) == (1, 1)


@linux_only
def test_when_the_first_address_gives_the_time_no_other_is_asked(fake_server):
    other = fake_server()
    first = fake_server(host="127.0.0.2", port=other.port)
    result = patched_client(TWO_ADDRESSES, "--json", "-n", 2, "-i", 0, "two.example", other.port)
    assert (result.returncode, result.stderr) == (0, "")
    assert (len(first.requests), len(other.requests)) == (2, 0)


@linux_only
def test_the_run_fails_with_a_line_for_each_address_when_all_have_refused(fake_server):
    first = fake_server(changed(leap=3))
    fake_server(changed(version=7), host="127.0.0.2", port=first.port)
    result = patched_client(TWO_ADDRESSES, "two.example", first.port)
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout, len(lines)) == (1, "", 2)
    assert f"127.0.0.2 port {first.port}: it answers in NTP version 7" in lines[0]
    assert f"127.0.0.1 port {first.port}: its clock is not synchronized" in lines[1]
    assert len(first.requests) == 1


def test_an_address_that_is_listed_twice_is_asked_once(fake_server):
    server = fake_server(changed(leap=3))
    result = patched_client(resolves_to("127.0.0.1", "127.0.0.1"), "two.example", server.port)
    assert_one_error_line(result, 1, "not synchronized")
    assert len(server.requests) == 1


@pytest.mark.parametrize("addresses", [["0.0.0.0"], ["::"], ["::", "0.0.0.0"]], ids=" and ".join)
def test_a_name_that_the_network_blocks_is_not_this_computers_own_server(fake_server, addresses):
    server = fake_server()
    result = patched_client(resolves_to(*addresses), "two.example", server.port)
    assert_one_error_line(
        result, 1, "'two.example' has no address but 0.0.0.0 or ::; is it blocked?"
    )
    assert server.requests == []


def test_an_address_is_asked_even_if_another_one_of_the_name_is_blocked(fake_server):
    server = fake_server()
    result = patched_client(resolves_to("0.0.0.0", "127.0.0.1"), "two.example", server.port)
    assert (result.returncode, result.stderr) == (0, "")


# ---- Networks that lose packets

# A clock that jumps to the end of each wait, so that a long one takes no time; what happens is
# told on stdout.
NO_ANSWER_AND_NO_WAITING = """
clock, waits = [0], [None]
def connect(self, address):
    print("asks", address[0], end=" ")
def send(self, *args, **kw):
    print(f"at {clock[0]:.3f} s", flush=True)
def settimeout(self, value):
    waits[0] = value
def receive(self, *args, **kw):
    clock[0] += waits[0]
    if waits[0] > 0.5:
        print("waits for more than half a second at once", flush=True)
    raise socket.timeout
for name in ("send", "sendto", "sendmsg"):
    setattr(socket.socket, name, send)
for name in ("recv", "recvfrom", "recvmsg"):
    setattr(socket.socket, name, receive)
socket.socket.settimeout = settimeout
socket.socket.connect = connect
time.monotonic = lambda: clock[0]
time.sleep = lambda pause: clock.append(clock.pop() + pause)
really_exit = os._exit
def leave(status):
    print(f"gives up at {clock[0]:.3f} s", flush=True)
    really_exit(status)
os._exit = leave
"""


@pytest.mark.parametrize(
    ("options", "asks", "gives_up"),
    [
        ([], [0, 2, 4], 6),
        (["-t", "20"], [0, 20 / 3, 40 / 3], 20),
        (["-t", "0.7"], [0], 0.7),
        (["-t", "2"], [0], 2),
        (["-t", "3.5"], [0, 2], 3.5),
        (["-n", "100"], [0, 2, 4], 6),
    ],
    ids=["6 s by default", "20 s", "0.7 s", "2 s", "3.5 s", "many samples"],
)
def test_it_asks_again_after_2_s_or_a_third_of_the_timeout_and_gives_up_in_the_end(
    options, asks, gives_up
):
    result = patched_client(NO_ANSWER_AND_NO_WAITING, *options, "127.0.0.1", 123)
    expected = [f"asks 127.0.0.1 at {when:.3f} s" for when in asks]
    assert result.stdout.splitlines() == [*expected, f"gives up at {gives_up:.3f} s"]
    assert_one_error_line(result, 1, f": 127.0.0.1: no reply within {gives_up:g} s")


V4, V6 = [f"192.0.2.{n}" for n in range(1, 5)], [f"2001:db8::{n}" for n in range(1, 5)]


@pytest.mark.parametrize(
    ("addresses", "asked"),
    [
        (V4[:2], [V4[0], V4[1], V4[0]]),
        (V4, V4[:3]),
        (V6[:3] + V4[:3], [V6[0], V4[0], V6[1]]),
        (V4[:1] + V6[:3], [V4[0], V6[0], V6[1]]),
        (V6[:1] + V4[:2], [V6[0], V4[0], V4[1]]),
    ],
    ids=["two", "four", "IPv6 first", "one IPv4", "one IPv6"],
)
def test_silent_addresses_take_turns_and_so_do_ipv6_and_ipv4(addresses, asked):
    patch = NO_ANSWER_AND_NO_WAITING + resolves_to(*addresses)
    result = patched_client(patch, "many.example")
    assert re.findall(r"asks (\S+) at", result.stdout) == asked
    guess = "does a firewall block UDP port 123?"
    assert_one_error_line(result, 1, f": many.example: no reply within 6 s ({guess})\n")


@linux_only
def test_an_address_that_refuses_is_not_asked_again_when_the_turn_of_a_silent_one_comes(
    fake_server,
):
    def late(request):
        return honest(request) if len(silent_at_first.requests) > 1 else []

    silent_at_first = fake_server(late, host="127.0.0.2")
    bad = fake_server(changed(leap=3), port=silent_at_first.port)
    result = patched_client(TWO_ADDRESSES, "two.example", bad.port)
    assert_one_error_line(result, 0, f"127.0.0.1 port {bad.port}: its clock is not synchronized")
    assert "127.0.0.2" in result.stdout
    assert (len(silent_at_first.requests), len(bad.requests)) == (2, 1)


def test_a_lost_packet_costs_two_seconds_and_no_sample(fake_server):
    server = fake_server(
        lambda request: honest(request) if len(server.requests) > 1 else silent(request)
    )
    result = client("--json", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    first, second = server.requests
    assert first.data[40:] != second.data[40:]  # random bits of its own
    assert second.client != first.client  # and a port of its own
    assert second.arrived - first.arrived >= 1.9 * SECOND
    assert json.loads(result.stdout)["delay"] < 1.9  # a T1 of its own


def test_on_a_terminal_one_sees_that_it_waits(fake_server):
    def in_the_end(request):
        return honest(request) if len(server.requests) == 2 else []

    server = fake_server(in_the_end)
    ours, theirs = pty.openpty()
    result = client(server.host, server.port, stderr=theirs)
    os.close(theirs)
    shown = os.read(ours, 1000).decode()
    os.close(ours)
    assert result.returncode == 0
    where = f"127.0.0.1 port {server.port}"
    assert shown == f"ntp_client.py: no reply from {where} yet: still asking\r\n"


# ---- What is ignored while it waits

NOT_THE_ANSWER = {
    "nothing at all": lambda request: b"",
    "half a reply": lambda request: reply_to(request)[:47],
    "its own request": lambda request: request.data,
    "a broadcast": lambda request: reply_to(request, mode=5),
    "a symmetric passive reply": lambda request: reply_to(request, mode=2),
    "a reply to nothing": lambda request: reply_to(request, originate=0),
    "a reply to another request": lambda request: reply_to(
        request, originate=int.from_bytes(request.data[40:], "big") ^ 1
    ),
    "a forged kiss-o'-death": lambda request: reply_to(
        request, originate=1, stratum=0, reference_id=b"DENY"
    ),
}


@pytest.mark.parametrize("what", NOT_THE_ANSWER)
def test_it_is_ignored_and_the_genuine_reply_after_it_is_taken(ask, what):
    forge = NOT_THE_ANSWER[what]
    result = ask(lambda request: [forge(request), forge(request), reply_to(request)], "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(json.loads(result.stdout)["offset"]) < 1


def test_when_nothing_else_comes_the_error_says_so_and_does_not_suspect_a_firewall(ask):
    forge = NOT_THE_ANSWER["half a reply"]
    result = ask(lambda request: [b"x", forge(request), forge(request)], "-t", "0.9")
    assert_one_error_line(result, 1, "no reply within 0.9 s (packets that answer no request: 3)\n")


def test_a_reply_from_another_port_never_counts(ask):
    def from_elsewhere(request):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(reply_to(request), request.client)
        return []

    assert_one_error_line(
        ask(from_elsewhere, "-t", "0.2"),
        1,
        "no reply within 0.2 s (does a firewall block UDP port ",
        "?)\n",
    )


def test_a_stream_of_forged_packets_neither_prolongs_the_wait_nor_keeps_it_from_asking_again(
    fake_server,
):
    over = threading.Event()

    def stream(request):
        end = time.monotonic() + 30
        while not over.wait(0.001):
            yield reply_to(request, originate=1)
            if len(server.requests) > 1 or time.monotonic() > end:
                return

    server = fake_server(stream)
    result = client("-t", "2.2", server.host, server.port)
    over.set()
    assert_one_error_line(result, 1, "no reply within 2.2 s", "(packets that answer no request: ")


def test_a_flood_of_forged_packets_does_not_hide_the_genuine_reply(ask):
    def flood(request):
        for _ in range(2000):
            yield reply_to(request, originate=1)
        yield reply_to(request)

    assert ask(flood, "-t", 20).returncode == 0


@linux_only
def test_forged_packets_that_queue_up_while_the_client_sleeps_do_not_crowd_out_the_genuine_reply(
    fake_server,
):
    ready, processes = threading.Event(), []

    def crowd(request):
        assert ready.wait(30)
        processes[0].send_signal(signal.SIGSTOP)
        for _ in range(400):  # the usual room is for 256 of them
            yield reply_to(request, originate=1)
        yield reply_to(request)
        processes[0].send_signal(signal.SIGCONT)

    server = fake_server(crowd)
    with started("ntp_client.py", "-t", "20", server.host, server.port) as process:
        processes.append(process)
        ready.set()
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0
    assert len(server.requests) == 1


# ---- What is refused

REFUSED = {
    **{
        f"version {n}": (
            {"version": n},
            f"it answers in NTP version {n}, and this client knows 1 to 4",
        )
        for n in (0, 5, 7)
    },
    "leap indicator 3": ({"leap": 3}, "its clock is not synchronized (leap indicator 3)"),
    "chronyd without the time": (
        {"leap": 3, "stratum": 0, "reference_id": bytes(4)},
        "its clock is not synchronized (leap indicator 3)",
    ),
    "no stratum and no code": (
        {"stratum": 0, "reference_id": bytes(4)},
        "its clock is not synchronized (stratum 0)",
    ),
    "stratum 16": ({"stratum": 16}, "its clock is not synchronized (stratum 16)"),
    "stratum 17": ({"stratum": 17}, "its clock is not synchronized (stratum 17)"),
    "stratum 255": ({"stratum": 255}, "its clock is not synchronized (stratum 255)"),
    "no transmit timestamp": ({"transmit": 0}, "its transmit timestamp is missing"),
    "no receive timestamp": ({"receive": 0}, "its receive timestamp is missing"),
    "a root delay of 33 s": ({"root_delay": 33 << 16}, "the root distance, 16."),
    "a root delay of -32767 s": (
        {"root_delay": -(32767 << 16) % 2**32},
        "the root distance, 1638",
    ),
    "a root dispersion of 16 s": ({"root_dispersion": 16 << 16}, "the root distance, 16."),
    "a clock that ticks every 16 s": ({"precision": 4}, "the root distance, 16."),
    "a clock that ticks in aeons": ({"precision": 127}, "the root distance, 1701411834604692"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_and_the_reason_given(ask, what):
    changes, words = REFUSED[what]
    result = ask(changed(**changes))
    assert_one_error_line(result, 1, f": {words}", "; if this lasts, ask another server\n")
    assert result.stdout == ""


REFUSED_TIMES = {
    "T3 before T2": (
        lambda request: reply_to(request, transmit=timestamp(request.arrived - 2000)),
        "its clock ran backwards, by 0.00000",
    ),
    "T3 before T2 by more than the precision": (
        lambda request: reply_to(
            request, precision=-6, transmit=timestamp(request.arrived - SECOND // 50)
        ),
        "its clock ran backwards, by 0.0",
    ),
    "more time at the server than in all": (
        lambda request: reply_to(request, transmit=timestamp(request.arrived + 100 * SECOND)),
        "T2 to T3 took longer than T1 to T4 (or this computer's clock was set)",
    ),
}


@pytest.mark.parametrize("what", REFUSED_TIMES)
def test_times_that_cannot_be_are_refused(ask, what):
    reply, words = REFUSED_TIMES[what]
    result = ask(lambda request: [reply(request)], "-t", 50)
    assert_one_error_line(result, 1, words, "; if this lasts, ask another server\n")
    assert result.stdout == ""


KISSES = {
    "DENY": "kiss-o'-death DENY: access denied by the server",
    "RSTR": "kiss-o'-death RSTR: access denied by policy",
    "RATE": "kiss-o'-death RATE: asked too often",
    "INIT": "kiss-o'-death INIT: not yet synchronized",
    "STEP": "kiss-o'-death STEP: its clock was just set",
    "AUTH": "kiss-o'-death AUTH: not known here",
    "\x1b[2J": r"kiss-o'-death \x1b[2J: not known here",
    "A\xff\n\0": r"kiss-o'-death A\xff\n: not known here",
}


@pytest.mark.parametrize("code", KISSES, ids=ascii)
def test_a_kiss_of_death_is_named_and_explained_and_ends_the_asking(fake_server, code):
    reference_id = code.encode("latin-1")
    server = fake_server(
        changed(stratum=0, reference_id=reference_id, receive=0, transmit=0, leap=3, version=7)
    )
    result = client("-n", 3, "-i", 0, server.host, server.port)
    assert_one_error_line(result, 1, f"{KISSES[code]}; it is not asked again\n")
    assert len(server.requests) == 1


# ---- What is believed

BELIEVED = {
    "version 1": {"version": 1},
    "version 3": {"version": 3},
    "stratum 1": {"stratum": 1, "reference_id": b"GPS\0"},
    "stratum 15": {"stratum": 15},
    "a leap second to come": {"leap": 1},
    "a leap second to leave out": {"leap": 2},
    "a root distance just below 16 s": {"root_delay": 0, "root_dispersion": (16 << 16) - 6554},
    "the smallest precision": {"precision": -128},
    "the greatest poll": {"poll": 127},
    "the least poll": {"poll": -128},
    "no reference timestamp, from ntpd-rs or Pi-hole": {"reference": 0},
    "a reference timestamp in the future, from ntpd in orphan mode": {"reference": 2**64 - 1},
    "a reference timestamp in Unix seconds": {"reference": int(time.time()) << 32},
    "a negative root delay of version 3": {"root_delay": -66 % 2**32, "version": 3},
}


@pytest.mark.parametrize("what", BELIEVED)
def test_it_is_believed(ask, what):
    result = ask(changed(**BELIEVED[what]), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(json.loads(result.stdout)["offset"]) < 1


def test_the_size_of_a_negative_root_delay_counts(ask):
    result = ask(changed(root_delay=-(2 << 16) % 2**32, root_dispersion=0), "--json")
    assert 1 < json.loads(result.stdout)["root_distance"] < 2


def test_random_bits_below_the_servers_precision_are_believed(ask):
    def coarse(request):  # a clock that ticks 4 times a second
        earlier = request.arrived - SECOND // 10
        return [reply_to(request, precision=-2, transmit=timestamp(earlier))]

    result = ask(coarse, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert abs(shown["offset"]) < shown["root_distance"]


def test_a_delay_that_clocks_of_large_steps_make_negative_is_believed_and_reported_as_0(ask):
    def coarse(request):  # a clock that ticks once in 8 s, and ticked in between
        return [reply_to(request, precision=3, transmit=timestamp(request.arrived + 5 * SECOND))]

    shown = json.loads(ask(coarse, "--json").stdout)
    assert -5 <= shown["delay"] < 0
    assert abs(shown["offset"]) < shown["root_distance"]
    assert "\nDelay:          0.000000000 s: " in ask(coarse).stdout


@pytest.mark.parametrize("size", [4, 20, 72, 9000])
def test_what_follows_the_header_is_not_read(ask, size):
    assert ask(lambda request: [reply_to(request) + b"\xff" * size]).returncode == 0


# ---- Clocks that are far off, or set meanwhile


def years(number):
    """Return the Unix time of the first day of that year, in ns."""
    return round((number - 1970) * 365.2425 * 86400) * SECOND


@pytest.mark.parametrize(
    ("here", "there"),
    [(1970, 1969), (1970, 2103), (2026, 2036), (2026, 2103), (2040, 2026), (2040, 2037)],
)
def test_a_server_in_any_era_gives_the_right_offset_whatever_this_clock_says(
    fake_server, here, there
):
    now = time.time_ns()
    server = fake_server(lambda request: honest(request, offset=years(there) - now))
    patch = f"real = time.time_ns; time.time_ns = lambda: real() + {years(here) - now}"
    result = patched_client(patch, "--json", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert (
        abs(shown["offset"] - (years(there) - years(here)) / SECOND) < shown["root_distance"] + 1e-6
    )


# What happens when a request has been sent.
WHEN_SENT = """
sent = []
def sending(real):
    def send(self, *args, **kw):
        sent.append(args)
        return real(self, *args, **kw)
    return send
for name in ("send", "sendto", "sendmsg"):
    setattr(socket.socket, name, sending(getattr(socket.socket, name)))
"""
CLOCK_STEPS = (
    WHEN_SENT
    + "socket.socket.setsockopt = lambda *_: None  # so that the kernel's clock is not asked\n"
    "real = time.time_ns; time.time_ns = lambda: real() + ({step} if sent else 0)"
)


@pytest.mark.parametrize("step", [-3600 * SECOND, -SECOND])
def test_a_clock_that_is_set_back_while_the_reply_is_on_its_way_gives_no_result(fake_server, step):
    server = fake_server()
    result = patched_client(CLOCK_STEPS.format(step=step), server.host, server.port)
    assert_one_error_line(result, 1, "(or this computer's clock was set)")


def test_a_clock_that_is_set_forward_by_an_hour_meanwhile_gives_no_result(fake_server):
    server = fake_server()
    result = patched_client(CLOCK_STEPS.format(step=3600 * SECOND), server.host, server.port)
    assert_one_error_line(result, 1, "the root distance, 1", "is not below 16 s")


@pytest.mark.parametrize("step", [200_000, 5_000_000, SECOND])
def test_the_result_holds_for_a_clock_that_is_set_forward_a_little(fake_server, step):
    server = fake_server(changed(root_delay=0, root_dispersion=0))
    result = patched_client(CLOCK_STEPS.format(step=step), "--json", server.host, server.port)
    shown = json.loads(result.stdout)
    assert shown["delay"] > step / SECOND
    for truth in (0, -step / SECOND):  # before, and after
        assert abs(shown["offset"] - truth) <= shown["root_distance"]


def test_a_process_that_is_interrupted_while_it_reads_the_clock_only_sees_a_longer_delay(
    fake_server,
):
    server = fake_server()
    nap = "time.sleep(0.02)"
    patch = f"real = time.time_ns; time.time_ns = lambda: ({nap}, real(), {nap})[1]"
    assert patched_client(patch, server.host, server.port).stderr == ""


WINDOWS_CLOCKS = """
sys.platform = "win32"
real, ticks = time.time_ns, time.monotonic
time.time_ns = lambda: real() // 15_625_000 * 15_625_000
time.monotonic = lambda: ticks() // 0.015625 * 0.015625
time.get_clock_info = lambda name: type("Info", (), dict(resolution=0.015625))
"""


@pytest.mark.parametrize("delay", [0.002, 0.02, 0.05])
def test_the_slow_ticks_of_windows_are_in_the_root_distance(fake_server, delay):
    def slow(request):
        reply = reply_to(request)
        time.sleep(delay)
        return [reply]

    server = fake_server(slow)
    result = patched_client(WINDOWS_CLOCKS, "--json", "-n", 4, "-i", 0, server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(server.requests) == 4
    for shown in map(json.loads, result.stdout.splitlines()):
        assert abs(shown["offset"]) < shown["root_distance"]


# ---- The kernel's receive timestamp

NOTES = """
import struct
real = socket.socket.recvmsg
def recvmsg(self, *args, **kw):
    packet, notes, flags, address = real(self, *args, **kw)
    assert len(notes) == 1, notes
    note = struct.pack("@ll", {seconds}, 0)
    return packet, [(level, kind, note) for level, kind, _ in notes], flags, address
socket.socket.recvmsg = recvmsg
"""
NO_TIMESTAMPS = {
    "a kernel that refuses": "def no(*_): raise OSError(92, 'No such option')\n"
    "socket.socket.setsockopt = no",
    "a kernel that gives none": "socket.socket.setsockopt = lambda *_: None",
    "another system": "sys.platform = 'win32'; socket.socket.recvmsg = None",
    "a kernel whose clock is in the past": NOTES.format(seconds=0),
    "a kernel whose clock is in the future": NOTES.format(seconds=2**40),
}


@linux_only
@pytest.mark.parametrize("what", NO_TIMESTAMPS)
def test_without_the_kernels_receive_timestamp_it_reads_the_clock(fake_server, what):
    server = fake_server()
    result = patched_client(NO_TIMESTAMPS[what], "--json", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(json.loads(result.stdout)["offset"]) < json.loads(result.stdout)["root_distance"]


LATE = """
real = socket.socket.recvmsg
def recvmsg(self, *args, **kw):
    packet, [(level, kind, note)], flags, address = real(self, *args, **kw)
    time.sleep(0.3)  # as if this process had been kept waiting after the packet arrived
    return packet, [(level, kind, note[: len(note) - {cut_off}])], flags, address
socket.socket.recvmsg = recvmsg
"""


@linux_only
def test_the_kernels_receive_timestamp_is_the_one_that_counts_unless_it_is_cut_off(fake_server):
    server = fake_server()
    result = patched_client(LATE.format(cut_off=0), "--json", server.host, server.port)
    assert json.loads(result.stdout)["delay"] < 0.3
    result = patched_client(LATE.format(cut_off=1), "--json", server.host, server.port)
    assert json.loads(result.stdout)["delay"] > 0.3


@linux_only
def test_the_kernel_is_asked_by_number_for_two_longs_whatever_names_python_has(fake_server):
    server = fake_server()
    patch = "socket.SO_TIMESTAMPNS = 64" + LATE.format(cut_off=0)
    assert (
        json.loads(patched_client(patch, "--json", server.host, server.port).stdout)["delay"] < 0.3
    )
