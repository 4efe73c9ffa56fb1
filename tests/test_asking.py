"""Part 5: whom the client asks and when, what it ignores, and what it says if nobody replies."""

import json
import re
import socket
import threading
import time

import pytest

from fake_ntp_server import honest, reply_to
from helpers import (
    NO_REPLY,
    NOT_SYNCHRONIZED,
    NOTHING_LISTENS,
    SECOND,
    TWO_ADDRESSES,
    assert_one_error_line,
    changed,
    client,
    linux_only,
    needs_ipv6,
    read_report,
    silent,
    started,
)
from patched import RECEIVE, SEND
from real_server import free_port

# ---- The request


def test_a_request_tells_nothing_but_version_mode_and_64_random_bits(fake_server):
    server = fake_server()
    assert client("-n", 3, "-i", 0, server.host, server.port).returncode == 0
    requests = [request.data for request in server.requests]
    assert {request[:40] for request in requests} == {b"\x23" + bytes(39)}
    assert {len(request) for request in requests} == {48}
    assert len({request[40:] for request in requests}) == 3
    # No clock either: its first bits would not change.
    assert len({request[40:42] for request in requests}) > 1


@needs_ipv6
def test_ipv6_works_as_ipv4_does(fake_server):
    server = fake_server(host="::1")
    result = client("-6", "::1", server.port)
    assert result.returncode == 0
    assert read_report(result.stdout).address == f"::1 port {server.port}, stratum 2"


@needs_ipv6
@linux_only
def test_the_zone_of_a_link_local_address_is_shown(fake_server):
    zone = socket.if_nametoindex("lo")
    server = fake_server(host="::1")
    patches = [("resolves_to_scoped", "fe80::1", zone, "::1")]
    result = client("fe80::1%lo", server.port, patches=patches)
    assert read_report(result.stdout).address.startswith(f"fe80::1%lo port {server.port}")
    result = client("--json", "fe80::1%lo", server.port, patches=patches)
    assert json.loads(result.stdout)["address"] == "fe80::1%lo"


# ---- Servers that cannot be asked


def test_a_port_where_nothing_listens_is_reported_at_once():
    port = free_port()
    before = time.monotonic()
    result = client("-t", 50, "127.0.0.1", port)
    assert time.monotonic() - before < 25  # not after the timeout
    assert_one_error_line(result, 1, f"127.0.0.1 port {port}: {NOTHING_LISTENS}")


NETWORK = "; check the address, the network and its firewalls\n"
FAULTS = {
    "no network": (["connect"], 101, "Network is unreachable" + NETWORK),
    "no address": (["connect"], 99, "Cannot assign requested address" + NETWORK),
    "a firewall here": (SEND, 1, "Operation not permitted" + NETWORK),
    "a router's ICMPv6": (RECEIVE, 13, "Permission denied" + NETWORK),
    "no route": (RECEIVE, 113, "No route to host" + NETWORK),
    "refused": (RECEIVE, 111, NOTHING_LISTENS),
    "no IPv6": (["__init__"], 97, "cannot open a socket: Address family not supported"),
    "too many files": (["__init__"], 24, "cannot open a socket: Too many open files\n"),
}


@linux_only
@pytest.mark.parametrize("what", FAULTS)
def test_a_request_that_cannot_travel_is_one_clear_line(fake_server, what):
    names, number, words = FAULTS[what]
    server = fake_server()
    result = client(server.host, server.port, patches=[("fails", names, number)])
    assert_one_error_line(result, 1, f"127.0.0.1 port {server.port}: ", words)
    assert result.stdout == ""


@linux_only
def test_a_second_request_that_cannot_be_sent_does_not_spoil_the_first(fake_server):
    server = fake_server(delay=2.5)
    result = client(server.host, server.port, patches=[("fails", SEND, 105, 2)])
    assert (result.returncode, result.stderr) == (0, "")


# ---- Several addresses


@linux_only
@pytest.mark.parametrize(
    "bad", [changed(stratum=16), changed(stratum=0, reference_id=b"RATE")], ids=["no time", "kiss"]
)
def test_an_address_that_gives_no_time_is_left_out_and_the_run_is_silent_about_it(fake_server, bad):
    good = fake_server()
    bad = fake_server(bad, host="127.0.0.2", port=good.port)
    options = ["-n", 3, "-i", 0, "two.example", good.port]
    result = client(*options, patches=[TWO_ADDRESSES])
    assert (result.returncode, result.stderr) == (0, "")
    report = read_report(result.stdout)
    assert report.server == "two.example"
    assert report.address.startswith(f"127.0.0.1 port {good.port},")
    assert (len(bad.requests), len(good.requests)) == (1, 3)


@linux_only
def test_when_all_addresses_fail_one_line_has_all_the_reasons(fake_server):
    first = fake_server(changed(leap=3))
    fake_server(changed(version=7), host="127.0.0.2", port=first.port)
    addresses = ("resolves_to", "127.0.0.2", "127.0.0.1", "127.0.0.3")
    result = client("-t", 1, "three.example", first.port, patches=[addresses])
    assert_one_error_line(result, 1, f"127.0.0.2 port {first.port}: ", "version 7")
    assert_one_error_line(result, 1, f"127.0.0.1 port {first.port}: ", NOT_SYNCHRONIZED)
    assert_one_error_line(result, 1, f"127.0.0.3 port {first.port}: {NOTHING_LISTENS}")
    assert len(first.requests) == 1


def test_an_address_that_is_listed_twice_is_asked_once(fake_server):
    server = fake_server(changed(leap=3))
    twice = ("resolves_to", "127.0.0.1", "127.0.0.1")
    result = client("two.example", server.port, patches=[twice])
    assert_one_error_line(result, 1, NOT_SYNCHRONIZED)
    assert result.stderr.count("127.0.0.1") == 1
    assert len(server.requests) == 1


@pytest.mark.parametrize("addresses", [["0.0.0.0"], ["::", "0.0.0.0"]], ids=" and ".join)
def test_a_name_that_the_network_blocks_is_not_this_computers_own_server(fake_server, addresses):
    server = fake_server()
    result = client("two.example", server.port, patches=[("resolves_to", *addresses)])
    assert_one_error_line(result, 1, "'two.example' resolves only to 0.0.0.0 or ::")
    assert server.requests == []
    patches = [("resolves_to", *addresses, "127.0.0.1")]
    assert client("two.example", server.port, patches=patches).returncode == 0


# ---- When it asks whom

V4, V6 = [f"192.0.2.{n}" for n in range(1, 12)], [f"2001:db8::{n}" for n in range(1, 5)]


def asked(result):
    """Return whom a run in a silent network asked, and when: (address, s)."""
    return [(one, float(at)) for one, at in re.findall(r"^(\S+) at (.*) s$", result.stdout, re.M)]


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ([], [0, 2, 4]),
        (["-t", "60"], list(range(0, 60, 2))),
        (["-t", "0.7"], [0]),
        (["-t", "3.5"], [0, 2]),
        (["-n", "100"], [0, 2, 4]),
    ],
    ids=["6 s by default", "60 s", "0.7 s", "3.5 s", "many samples"],
)
def test_a_silent_server_is_asked_again_after_2_s_until_the_time_is_up(options, times):
    result = client(*options, "192.0.2.1", 123, patches=[("silent_network",)])
    assert asked(result) == [("192.0.2.1", at) for at in times]
    limit = float(options[1]) if "-t" in options else 6
    assert result.stdout.splitlines()[-1] == f"gives up at {limit:.2f} s"
    assert_one_error_line(result, 1, f"{NO_REPLY}192.0.2.1 port 123 (")


@pytest.mark.parametrize("addresses", [V4[:2], V6 + V4[:4]], ids=["two", "eight"])
def test_the_next_address_is_asked_after_a_quarter_of_a_second_and_each_again_after_2_s(addresses):
    patches = [("silent_network",), ("resolves_to", *addresses)]
    result = client("many.example", patches=patches)
    round_ = [(address, 0.25 * at) for at, address in enumerate(addresses)]
    assert asked(result) == [(address, at + 2 * n) for n in range(3) for address, at in round_]
    names = ", ".join(f"{address} port 123" for address in addresses)
    assert_one_error_line(result, 1, f"{NO_REPLY}{names} (")


@pytest.mark.parametrize("options", [[], ["-t", "0.4"]], ids=["more than eight", "no time"])
def test_an_address_that_was_not_asked_is_named(options):
    result = client(*options, "x.example", patches=[("silent_network",), ("resolves_to", *V4)])
    names = {address for address, _ in asked(result)}
    assert names == set(V4[: 2 if options else 8])
    silent_ones, others = result.stderr.split(" | servers not asked: ")
    assert others.rstrip().split(", ")[-1] == f"{V4[-1]} port 123"
    for address in V4:
        assert f"{address} port 123" in (silent_ones if address in names else others)


@linux_only
@pytest.mark.parametrize("where", [0, 3])
def test_one_good_address_among_silent_ones_is_found(fake_server, where):
    good = fake_server(host=f"127.0.0.{where + 2}")
    silent_ones = [
        fake_server(silent, f"127.0.0.{n}", good.port) for n in range(2, 6) if n != where + 2
    ]
    addresses = [f"127.0.0.{n}" for n in range(2, 6)]
    before = time.monotonic()
    result = client("x.example", good.port, patches=[("resolves_to", *addresses)])
    assert (result.returncode, result.stderr) == (0, "")
    assert time.monotonic() - before >= 0.25 * where
    assert all(len(server.requests) <= 1 for server in silent_ones)


@linux_only
def test_a_server_that_refuses_is_not_asked_again_while_another_is_silent(fake_server):
    late = fake_server(
        lambda request: honest(request) if len(late.requests) > 1 else [], "127.0.0.2"
    )
    bad = fake_server(changed(leap=3), port=late.port)
    result = client("two.example", bad.port, patches=[TWO_ADDRESSES])
    assert (result.returncode, result.stderr) == (0, "")
    assert read_report(result.stdout).address.startswith("127.0.0.2 ")
    assert (len(late.requests), len(bad.requests)) == (2, 1)
    first, second = late.requests
    assert second.arrived - first.arrived >= 1.9 * SECOND


# ---- Slow networks, and networks that lose packets


@pytest.mark.parametrize("delay", [1, 2.5])
def test_a_reply_that_comes_late_is_taken(fake_server, delay):
    server = fake_server(delay=delay)
    result = client("--json", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert delay <= shown["delay"] < delay + 1
    assert abs(shown["offset"]) <= shown["root_distance"]


def test_a_lost_packet_costs_two_seconds_and_no_sample(fake_server):
    server = fake_server(lambda request: honest(request) if len(server.requests) > 1 else [])
    result = client("--json", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    first, second = server.requests
    assert first.data[40:] != second.data[40:]  # random bits of its own
    assert second.client != first.client  # and a port of its own
    assert second.arrived - first.arrived >= 1.9 * SECOND
    assert json.loads(result.stdout)["delay"] < 1.9  # a T1 of its own


def test_a_reply_that_comes_while_the_client_is_stopped_still_counts(fake_server):
    came, answer = threading.Event(), threading.Event()

    def wait(request):
        came.set()
        assert answer.wait(30)
        return honest(request)

    server = fake_server(wait)
    with started("ntp_client.py", "-t", "1", server.host, server.port) as process:
        assert came.wait(30)
        process.send_signal(19)  # SIGSTOP, as Ctrl-Z
        answer.set()
        time.sleep(1.5)  # the time limit passes meanwhile
        process.send_signal(18)  # SIGCONT, as fg
        assert process.communicate(timeout=30)[1] == ""
        assert process.returncode == 0


# ---- What is ignored while it waits

HOUR = 3600 * SECOND  # if such a packet counted, the offset would be wrong by that
NOT_THE_REPLY = {
    "nothing at all": lambda request: b"",
    "half a reply": lambda request: reply_to(request, HOUR)[:47],
    "its own request": lambda request: request.data,
    "a broadcast": lambda request: reply_to(request, HOUR, mode=5),
    "a symmetric passive reply": lambda request: reply_to(request, HOUR, mode=2),
    "a reply to nothing": lambda request: reply_to(request, HOUR, originate=0),
    "a reply to another request": lambda request: reply_to(
        request, HOUR, originate=int.from_bytes(request.data[40:], "big") ^ 1
    ),
    "a forged kiss-o'-death": lambda request: reply_to(
        request, HOUR, originate=1, stratum=0, reference_id=b"DENY"
    ),
}


def test_what_is_not_the_reply_is_ignored_and_the_genuine_reply_after_it_is_taken(ask):
    forged = NOT_THE_REPLY.values()
    result = ask(lambda request: [*(forge(request) for forge in forged), reply_to(request)])
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(read_report(result.stdout).offset) < 1


def test_packets_that_are_not_the_reply_are_counted_and_no_firewall_is_suspected(ask):
    forge = NOT_THE_REPLY["half a reply"]
    result = ask(lambda request: [b"x", forge(request), forge(request)], "-t", "0.9")
    assert_one_error_line(result, 1, NO_REPLY, "other packets ignored: 3;")
    assert "firewall" not in result.stderr


def test_a_reply_from_another_port_never_counts(ask):
    def from_elsewhere(request):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(reply_to(request), request.client)
        return []

    assert_one_error_line(ask(from_elsewhere, "-t", "0.2"), 1, NO_REPLY, "firewall")


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
    assert_one_error_line(result, 1, NO_REPLY)
