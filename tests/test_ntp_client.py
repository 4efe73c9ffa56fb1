"""Part 5: the client as a user sees it, run as a process against the fake server, and its arithmetic."""

import calendar
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from decimal import Decimal

import pytest

import ntp_client
from conftest import ENVIRONMENT, TOP, assert_one_error_line, run
from fake_ntp_server import FakeServer, Request, honest, reply_to, timestamp

SECOND = 10**9
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux: 127.0.0.2, /dev/full, SO_TIMESTAMPNS")


def client(*arguments, **options):
    return run("ntp_client.py", *arguments, **options)


def silent(request):
    """Never answer."""
    return []


def changed(**changes):
    """Return the behaviour of a server whose replies are honest but for these header fields."""
    return lambda request: [reply_to(request, **changes)]


def patched_client(patch, *arguments):
    """Run the client in a Python in which patch, a few lines of code, was run first."""
    program = f"import runpy, socket, sys, time\n{patch}\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    loader = "import sys; program = sys.argv.pop(1); del sys.argv[0]; exec(program)"
    command = [sys.executable, "-c", loader, program, TOP / "ntp_client.py", *map(str, arguments)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)


# ---------------------------------------------------------------- the report


def test_the_report_names_the_server_and_shows_both_clocks_and_how_far_apart_they_are(ask):
    result = ask(lambda request: honest(request, offset=3600 * SECOND))
    assert (result.returncode, result.stderr) == (0, "")
    port = re.search(r"port (\d+)", result.stdout)[1]
    assert f"127.0.0.1 (127.0.0.1 port {port}), stratum 2\n" in result.stdout
    clock = r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}) UTC"
    assert re.search(f"^Server's clock: {clock}, when the reply arrived$", result.stdout, re.MULTILINE)
    assert re.search(f"^This computer:  {clock}, at the same moment$", result.stdout, re.MULTILINE)
    offset = re.search(r"\nOffset: +\+(\d+\.\d{9}) s: this computer's clock is behind\n", result.stdout)
    assert abs(float(offset[1]) - 3600) < 1
    assert re.search(r"^Delay: +0\.\d{9} s", result.stdout, re.MULTILINE)
    assert re.search(r"^Root distance: +0\.\d{9} s: the most that the offset can be wrong by$", result.stdout, re.M)
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_a_server_that_is_behind_is_said_to_be(ask):
    result = ask(lambda request: honest(request, offset=-3600 * SECOND))
    assert re.search(r"Offset: +-3(600\.0|599\.9)\d+ s: this computer's clock is ahead", result.stdout)


def test_two_clocks_that_agree_are_said_to():
    header = ntp_client.unpack(reply_to(Request(bytes(48), None, time.time_ns())))
    sample = ntp_client.Sample(b"", b"", header, 0, 0, 0, 0, 0, 0, 0, 0)
    assert "Offset:         +0.000000000 s: the two clocks agree\n" in ntp_client.report("a", ("b", 123), sample)


def test_a_name_that_a_terminal_would_obey_is_escaped(fake_server):
    server = fake_server()
    patch = """
real = socket.getaddrinfo
socket.getaddrinfo = lambda name, *others: real(b"127.0.0.1", *others)
"""
    for options in ([], ["--json"]):
        text = patched_client(patch, *options, "\x1b[2J\x7f", server.port).stdout.replace("\n", "")
        assert r"\x1b[2J\x7f" in text.replace("\\\\", "\\")
        assert text.isprintable()


def test_even_if_all_random_bits_were_zero_there_is_a_timestamp(fake_server):
    server = fake_server()
    patch = "import os; os.urandom = bytes"
    assert patched_client(patch, server.host, server.port).returncode == 0
    assert server.requests[0].data[40:] == bytes(7) + b"\x01"


def test_the_way_out_is_warmed_up_by_a_packet_to_itself_and_by_no_other_to_the_server(fake_server):
    server = fake_server()
    patch = """
real = socket.socket.send
def send(self, data):
    print("itself" if self.getpeername() == self.getsockname() else "the server", file=sys.stderr, flush=True)
    return real(self, data)
socket.socket.send = send
"""
    assert patched_client(patch, server.host, server.port).stderr == "itself\nthe server\n"
    assert len(server.requests) == 1


def test_the_request_tells_nothing_but_version_mode_and_64_random_bits(fake_server):
    server = fake_server()
    for _ in range(3):
        assert client(server.host, server.port).returncode == 0
    requests = [request.data for request in server.requests]
    assert {request[:40] for request in requests} == {b"\x23" + bytes(39)}
    assert {len(request) for request in requests} == {48}
    assert len({request[40:] for request in requests}) == 3
    assert len({request[40:42] for request in requests}) > 1  # no clock: its first bits would not change
    assert bytes(8) not in {request[40:] for request in requests}


def test_ipv6_works_as_ipv4_does(fake_server):
    server = fake_server(host="::1")
    for options in ((), ("-6",)):
        result = client(*options, "::1", server.port)
        assert result.returncode == 0
        assert f"::1 (::1 port {server.port})" in result.stdout


def test_json_is_one_object_and_nothing_else(ask):
    result = ask(lambda request: honest(request, offset=3600 * SECOND), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert list(shown) == (
        "server address port stratum leap version reference_id offset delay root_distance samples".split()
    )
    assert (shown["server"], shown["address"], shown["stratum"]) == ("127.0.0.1", "127.0.0.1", 2)
    assert (shown["leap"], shown["version"], shown["reference_id"]) == (0, 4, "127.127.1.1")
    assert abs(shown["offset"] - 3600) < shown["root_distance"] < 1
    assert shown["samples"] == [{"offset": shown["offset"], "delay": shown["delay"]}]


def test_json_has_every_nanosecond_of_the_greatest_offset(fake_server):
    server = fake_server(lambda request: [reply_to(request, offset=2_000_000_000 * SECOND)])
    patch = "real = time.time_ns; time.time_ns = lambda: real() - 1_700_000_000 * 10**9"
    text = patched_client(patch, "--json", server.host, server.port).stdout
    shown = json.loads(text, parse_float=Decimal)
    for name in ("offset", "delay", "root_distance"):
        assert shown[name].as_tuple().exponent == -9
    assert abs(shown["offset"] - 3_700_000_000) < 1
    assert shown["samples"] == [{"offset": shown["offset"], "delay": shown["delay"]}]


def test_errors_of_a_json_run_are_on_stderr(ask):
    result = ask(changed(leap=3), "--json")
    assert_one_error_line(result, 1, "not synchronized")
    assert result.stdout == ""


# ---------------------------------------------------------------- servers that cannot be asked


def test_a_port_where_nothing_listens_is_said_at_once(fake_server):
    with FakeServer() as server:
        port = server.port
    started = time.monotonic()
    assert_one_error_line(client("-t", 50, "127.0.0.1", port), 1, f"127.0.0.1 port {port}", "nothing is listening")
    assert time.monotonic() - started < 25  # not after the timeout


def test_no_reply_is_said_after_the_timeout(ask):
    assert_one_error_line(ask(silent, "-t", "0.2"), 1, "no reply within 0.2 s", "firewall")


@pytest.mark.parametrize(
    "name", ["", " ", ".", "a..b", "no.such.host.invalid", "x" * 64, "x" * 70_000, "\xe9.example", "\udcff", "\x1b[31m"]
)
def test_a_name_that_is_no_host_is_one_clear_line(name):
    result = client(name)
    assert_one_error_line(result, 1, "cannot resolve '")
    assert len(result.stderr) < 400


def test_an_address_of_the_other_family_is_one_clear_line():
    assert_one_error_line(client("-6", "127.0.0.1"), 1, "127.0.0.1")
    assert_one_error_line(client("-4", "::1"), 1, "::1")


# A name with these two addresses, as getaddrinfo() tells them.
TWO_ADDRESSES = """
def two(name, port, family, kind):
    return [(socket.AF_INET, kind, 17, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]
socket.getaddrinfo = two
"""


@linux_only
def test_when_one_address_of_a_name_gives_no_time_the_next_is_asked(fake_server):
    good = fake_server()
    bad = fake_server(changed(stratum=16), host="127.0.0.2", port=good.port)
    result = patched_client(TWO_ADDRESSES, "two.example", good.port)
    assert result.returncode == 0
    assert_one_error_line(result, 0, f"127.0.0.2 port {good.port}: its clock is not synchronized (stratum 16)")
    assert f"two.example (127.0.0.1 port {good.port})" in result.stdout
    assert (len(bad.requests), len(good.requests)) == (1, 1)


@linux_only
def test_the_run_fails_with_a_line_for_each_address_when_all_have_failed(fake_server):
    first = fake_server(changed(leap=3))
    fake_server(changed(version=7), host="127.0.0.2", port=first.port)
    result = patched_client(TWO_ADDRESSES, "two.example", first.port)
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout, len(lines)) == (1, "", 2)
    assert "127.0.0.2" in lines[0]
    assert "version 7" in lines[0]
    assert "127.0.0.1" in lines[1]
    assert "not synchronized" in lines[1]


@linux_only
def test_all_samples_come_from_the_address_that_gave_the_first(fake_server):
    good = fake_server()
    bad = fake_server(changed(stratum=16), host="127.0.0.2", port=good.port)
    result = patched_client(TWO_ADDRESSES, "-n", 3, "-i", 0, "two.example", good.port)
    assert result.returncode == 0
    assert (len(bad.requests), len(good.requests)) == (1, 3)


@linux_only
def test_an_address_that_is_listed_twice_is_asked_once(fake_server):
    server = fake_server(changed(leap=3))
    result = patched_client(TWO_ADDRESSES.replace("127.0.0.2", "127.0.0.1"), "two.example", server.port)
    assert_one_error_line(result, 1, "not synchronized")
    assert len(server.requests) == 1


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    "arguments",
    [
        ["-n", "0"], ["-n", "-1"], ["-n", "1.5"], ["-n", "x"], ["-n", ""], ["-n", "9" * 5000],
        ["-t", "0"], ["-t", "-1"], ["-t", "nan"], ["-t", "inf"], ["-t", "1e400"], ["-t", "five"],
        ["-i", "-0.1"], ["-i", "nan"], ["-i", "inf"],
        ["host", "0"], ["host", "65536"], ["host", "-1"], ["host", "ntp"], ["host", "1.0"], ["host", "\x1b[31m\xe9"],
        ["host", "123", "more"], ["host", "123", "x" * 50_000], ["a", "1", "\x1b[31m\xe9\udcff"],
        ["--no-such-option"], ["--js"], ["-4", "-6"], ["-n"],
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_one_line_and_status_2(arguments):
    result = client(*arguments)
    assert_one_error_line(result, 2, "--help")
    assert result.stdout == ""
    assert len(result.stderr) < 400


def test_help_shows_every_option():
    result = client("--help")
    assert (result.returncode, result.stderr) == (0, "")
    for option in ("-4", "-6", "-n N", "-i SECONDS", "-t SECONDS", "-v", "--json", "--decode FILE", "[server] [port]"):
        assert option in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


# ---------------------------------------------------------------- interrupted, or with nowhere to write


def test_ctrl_c_ends_it_with_status_130_and_no_traceback(fake_server):
    asked = threading.Event()
    server = fake_server(lambda request: asked.set() or [])
    command = [sys.executable, TOP / "ntp_client.py", "-t", "50", server.host, str(server.port)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": ENVIRONMENT}
    options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    with subprocess.Popen(command, **options) as process:
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 130


@linux_only
@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}])
@pytest.mark.parametrize("options", [[], ["--json"], ["-n", "2", "-i", "0"], ["--help"]])
def test_a_full_disk_is_reported(fake_server, options, buffering):
    server = fake_server()
    with open("/dev/full", "w") as full:
        result = client(*options, server.host, server.port, stdout=full, env={**ENVIRONMENT, **buffering})
    assert_one_error_line(result, 1, "cannot write the result", "No space left")


def test_a_closed_pipe_is_reported(fake_server):
    server = fake_server()
    reader, writer = os.pipe()
    os.close(reader)
    result = client(server.host, server.port, stdout=writer)
    os.close(writer)
    assert_one_error_line(result, 1, "cannot write the result", "Broken pipe")


def test_a_closed_stdout_is_reported_before_anybody_is_asked(fake_server):
    server = fake_server()
    result = client(server.host, server.port, stdout=None, preexec_fn=lambda: os.close(1))
    assert_one_error_line(result, 1, "standard output is closed")
    assert server.requests == []


@linux_only
def test_a_closed_or_full_stderr_leaves_the_exit_status(fake_server):
    result = client("", stderr=None, preexec_fn=lambda: os.close(2))
    assert (result.returncode, result.stdout) == (1, "")
    with open("/dev/full", "w") as full:
        assert client("-n", "x", stderr=full).returncode == 2
        assert client("", stdout=full, stderr=full).returncode == 1
        assert client("", stderr=full, stdout=None, preexec_fn=lambda: os.close(1)).returncode == 1


# ---------------------------------------------------------------- what is ignored while it waits

NOT_THE_ANSWER = {
    "nothing at all": (lambda request: b"", "short: 0 bytes"),
    "half a reply": (lambda request: reply_to(request)[:47], "short: 47 bytes"),
    "its own request": (lambda request: request.data, "mode 3"),
    "a broadcast": (lambda request: reply_to(request, mode=5), "mode 5"),
    "a symmetric passive reply": (lambda request: reply_to(request, mode=2), "mode 2"),
    "a reply to nothing": (lambda request: reply_to(request, originate=0), "did not echo"),
    "a reply to another request": (
        lambda request: reply_to(request, originate=int.from_bytes(request.data[40:], "big") ^ 1),
        "did not echo",
    ),
    "a forged kiss-o'-death": (
        lambda request: reply_to(request, originate=1, stratum=0, reference_id=b"DENY"),
        "did not echo",
    ),
}


@pytest.mark.parametrize("what", NOT_THE_ANSWER)
def test_it_is_ignored_and_the_genuine_reply_after_it_is_taken(ask, what):
    forge, _ = NOT_THE_ANSWER[what]
    result = ask(lambda request: [forge(request), forge(request), reply_to(request)], "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(json.loads(result.stdout)["offset"]) < 1


@pytest.mark.parametrize("what", NOT_THE_ANSWER)
def test_when_nothing_else_comes_the_error_says_how_many_were_ignored_and_why(ask, what):
    forge, why = NOT_THE_ANSWER[what]
    result = ask(lambda request: [b"x", forge(request), forge(request)], "-t", "0.5")
    assert_one_error_line(result, 1, "no reply within 0.5 s", "packets ignored: 3", why)


def test_a_reply_from_another_port_never_counts(ask):
    def from_elsewhere(request):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(reply_to(request), request.client)
        return []

    assert_one_error_line(ask(from_elsewhere, "-t", "0.3"), 1, "no reply within 0.3 s")


def test_a_stream_of_forged_packets_does_not_prolong_the_wait(fake_server):
    over, gave_up = threading.Event(), threading.Event()

    def stream(request):
        end = time.monotonic() + 15
        while not over.wait(0.001) and not gave_up.is_set():
            yield reply_to(request, originate=1)
            if time.monotonic() > end:
                gave_up.set()

    server = fake_server(stream)
    result = client("-t", "0.5", server.host, server.port)
    over.set()
    assert not gave_up.is_set()  # the client ended first
    assert_one_error_line(result, 1, "no reply within 0.5 s", "packets ignored: ")


def test_a_flood_of_forged_packets_does_not_hide_the_genuine_reply(ask):
    def flood(request):
        for _ in range(2000):
            yield reply_to(request, originate=1)
        yield reply_to(request)

    assert ask(flood).returncode == 0


@linux_only
def test_forged_packets_that_queue_up_while_the_client_sleeps_do_not_crowd_out_the_genuine_reply(fake_server):
    started = threading.Event()

    def crowd(request):
        assert started.wait(30)
        process.send_signal(signal.SIGSTOP)
        for _ in range(400):  # the usual room is for 256 of them
            yield reply_to(request, originate=1)
        yield reply_to(request)
        process.send_signal(signal.SIGCONT)

    server = fake_server(crowd)
    command = [sys.executable, TOP / "ntp_client.py", "-t", "20", server.host, str(server.port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        started.set()
        assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0


# ---------------------------------------------------------------- what is refused

REFUSED = {
    "version 0": ({"version": 0}, "version 0"),
    "version 5": ({"version": 5}, "version 5"),
    "version 7": ({"version": 7}, "version 7"),
    "no stratum and no code": ({"stratum": 0, "reference_id": bytes(4)}, "kiss-o'-death without a code"),
    "a code of control bytes": ({"stratum": 0, "reference_id": b"\x1b[2J"}, r"kiss-o'-death \x1b[2J: "),
    "a code with a zero inside": ({"stratum": 0, "reference_id": b"\x00\xff\nA"}, r"kiss-o'-death \x00\xff\nA: "),
    "an experimental code": ({"stratum": 0, "reference_id": b"XABC"}, "kiss-o'-death XABC: "),
    "leap indicator 3": ({"leap": 3}, "not synchronized (leap indicator 3)"),
    "stratum 16": ({"stratum": 16}, "not synchronized (stratum 16)"),
    "stratum 17": ({"stratum": 17}, "its stratum, 17, is reserved"),
    "stratum 255": ({"stratum": 255}, "its stratum, 255, is reserved"),
    "no transmit timestamp": ({"transmit": 0}, "transmit timestamp is missing"),
    "no receive timestamp": ({"receive": 0}, "receive timestamp is missing"),
    "no reference timestamp": ({"reference": 0}, "reference timestamp is missing"),
    "a root delay of 32 s": ({"root_delay": 32 << 16}, "root distance"),
    "a negative root delay": ({"root_delay": -1 % 2**32}, "root distance"),
    "a root dispersion of 16 s": ({"root_dispersion": 16 << 16}, "root distance"),
    "a clock that ticks every 16 s": ({"precision": 4}, "root distance"),
    "a clock that ticks in aeons": ({"precision": 127}, "root distance"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_and_the_reason_given(ask, what):
    changes, words = REFUSED[what]
    result = ask(changed(**changes))
    assert_one_error_line(result, 1, words)
    assert result.stdout == ""


@pytest.mark.parametrize("code", sorted(ntp_client.KISS_CODES))
def test_every_kiss_code_is_named_and_explained(ask, code):
    result = ask(changed(stratum=0, reference_id=code.encode(), receive=0, transmit=0, leap=3))
    assert_one_error_line(result, 1, f"kiss-o'-death {code}: {ntp_client.KISS_CODES[code]}")


def test_the_kiss_codes_are_those_of_the_rfc():
    figure_13 = "ACST AUTH AUTO BCST CRYP DENY DROP RSTR INIT MCST NKEY RATE RMOT STEP"
    assert list(ntp_client.KISS_CODES) == figure_13.split()


def test_a_clock_that_runs_backwards_between_receive_and_transmit_is_refused(ask):
    result = ask(lambda request: [reply_to(request, transmit=timestamp(request.arrived - 1000))])
    assert_one_error_line(result, 1, "ran backwards")


def test_a_clock_that_was_set_in_the_future_is_refused(ask):
    result = ask(lambda request: [reply_to(request, reference=timestamp(request.arrived + SECOND))])
    assert_one_error_line(result, 1, "reference timestamp is later than its transmit timestamp")


def test_a_reply_that_took_longer_to_write_than_to_come_is_refused(ask):
    result = ask(lambda request: [reply_to(request, transmit=timestamp(request.arrived + SECOND))])
    assert_one_error_line(result, 1, "the delay -0.99")


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
}


@pytest.mark.parametrize("what", BELIEVED)
def test_it_is_believed(ask, what):
    result = ask(changed(**BELIEVED[what]), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(json.loads(result.stdout)["offset"]) < 1


@pytest.mark.parametrize("size", [4, 20, 24, 72, 1400, 9000])
def test_what_follows_the_header_is_not_read(ask, size):
    assert ask(lambda request: [reply_to(request) + b"\xff" * size]).returncode == 0


def test_a_delay_that_is_negative_by_less_than_the_servers_clock_can_tell_is_believed(ask):
    def coarse(request):  # a clock that ticks 64 times a second, and ticked in between
        return [reply_to(request, precision=-6, transmit=timestamp(request.arrived + 10**7))]

    shown = json.loads(ask(coarse, "--json").stdout)
    assert -0.0156 < shown["delay"] < 0
    assert abs(shown["offset"]) < shown["root_distance"]


@pytest.mark.parametrize("reference_id", [b"GPS\0", b"\x1b[2J", bytes(4), b"\xff\xfe\xfd\xfc"])
@pytest.mark.parametrize("stratum", [1, 2])
def test_the_reference_id_is_shown_safely(ask, stratum, reference_id):
    result = ask(changed(stratum=stratum, reference_id=reference_id), "--json")
    shown = json.loads(result.stdout)["reference_id"]
    assert shown.isprintable()
    assert shown.isascii()
    if stratum == 2:
        assert shown == socket.inet_ntoa(reference_id)
    elif reference_id == b"GPS\0":
        assert shown == "GPS"


def test_an_interface_with_a_hostile_name_does_not_reach_the_terminal(fake_server):
    server = fake_server(host="::1")
    scope = """
def scoped(name, port, family, kind):
    return [(socket.AF_INET6, kind, 17, "", ("::1%\\x1b[2J\\x9b", port, 0, 0))]
socket.getaddrinfo, real = scoped, socket.socket.connect
socket.socket.connect = lambda self, address: real(self, (address[0].split("%")[0], *address[1:]))
"""
    for options in ([], ["-n", "2", "-i", "0"], ["--json"], ["-t", "0.001"]):
        result = patched_client(scope, *options, "fe80.example", server.port)
        text = (result.stdout + result.stderr).replace("\n", "")
        assert r"::1%\x1b[2J\x9b" in text.replace("\\\\", "\\")
        assert text.isascii()
        assert text.isprintable()


# ---------------------------------------------------------------- samples

SAMPLE = re.compile(r"sample (\d+): 127\.0\.0\.1: offset ([+-]\d+\.\d{9}) s, delay (\d+\.\d{9}) s")


def test_every_sample_is_a_line_and_the_one_with_the_least_delay_is_the_result(fake_server):
    def slow_but_for_the_second(request):
        if len(server.requests) == 2:
            return [reply_to(request, root_dispersion=65536)]  # the least delay, although not the least root distance
        reply = reply_to(request)
        time.sleep(0.03)  # the reply lags behind the time in it: offset and delay are off
        return [reply]

    server = fake_server(slow_but_for_the_second)
    result = client("-n", 3, "-i", 0, server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    lines = [SAMPLE.fullmatch(line) for line in result.stdout.splitlines()[:3]]
    assert [line[1] for line in lines] == ["1", "2", "3"]
    assert f"Offset:         {lines[1][2]} s" in result.stdout
    assert f"Delay:          {lines[1][3]} s" in result.stdout


def test_a_lost_sample_is_a_line_too_and_does_not_spoil_the_rest(fake_server):
    server = fake_server(lambda request: silent(request) if len(server.requests) == 2 else honest(request))
    result = client("-n", 3, "-i", 0, "-t", "1.5", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert SAMPLE.fullmatch(lines[0])
    assert lines[1].startswith("sample 2: 127.0.0.1: lost: no reply within 1.5 s")
    assert SAMPLE.fullmatch(lines[2])


def test_when_all_samples_are_lost_the_run_fails(ask):
    result = ask(changed(leap=3), "-n", 3, "-i", 0)
    assert_one_error_line(result, 1, "no sample gave the time")
    assert result.stdout.count("lost: its clock is not synchronized") == 3


def test_json_holds_the_samples_and_a_lost_one_is_on_stderr(fake_server):
    server = fake_server(lambda request: honest(request) if len(server.requests) != 2 else changed(leap=3)(request))
    result = client("--json", "-n", 3, "-i", 0, server.host, server.port)
    assert result.returncode == 0
    assert result.stderr.count("\n") == 1
    assert "not synchronized" in result.stderr
    shown = json.loads(result.stdout)
    assert len(shown["samples"]) == 2
    least = min(shown["samples"], key=lambda sample: sample["delay"])
    assert least == {"offset": shown["offset"], "delay": shown["delay"]}


def test_each_sample_is_shown_when_it_comes(fake_server):
    shown, in_time = threading.Event(), []

    def first_only_until_it_was_shown(request):
        if len(server.requests) == 2:
            in_time.append(shown.wait(15))
        return [reply_to(request)]

    server = fake_server(first_only_until_it_was_shown)
    command = [sys.executable, TOP / "ntp_client.py", "-n2", "-i0", "-t50", server.host, str(server.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert SAMPLE.match(process.stdout.readline())
        shown.set()
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert in_time == [True]


def test_a_computer_with_very_many_open_files_can_ask_too(fake_server):
    server = fake_server()
    limit = "import os, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))"
    result = patched_client(f"{limit}; [os.dup(0) for _ in range(1100)]", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_interval_is_kept_between_samples(fake_server):
    server = fake_server()
    assert client("-n", 2, "-i", "0.5", server.host, server.port).returncode == 0
    first, second = server.requests
    assert second.arrived - first.arrived >= 0.5 * SECOND


def test_samples_that_contradict_each_other_give_no_result(fake_server):
    def leaping(request):  # ahead by 10 s more with every request
        return honest(request, offset=10 * SECOND * len(server.requests))

    server = fake_server(leaping)
    result = client("-n", 3, "-i", 0, server.host, server.port)
    assert_one_error_line(result, 1, "contradict")
    assert "Offset:" not in result.stdout


def test_a_server_whose_clock_stands_still_is_found_out_by_the_second_sample(fake_server):
    def frozen(request):
        when = timestamp(server.requests[0].arrived)
        return [reply_to(request, receive=when, transmit=when)]

    server = fake_server(frozen)
    assert_one_error_line(client("--json", "-n", 2, "-i", "0.2", server.host, server.port), 1, "contradict")


def test_a_clock_that_is_set_between_two_samples_gives_no_result(fake_server):
    server = fake_server()
    patch = "real, naps = time.time_ns, []; time.sleep = naps.append; time.time_ns = lambda: real() + len(naps) * 10**9"
    assert_one_error_line(patched_client(patch, "--json", "-n", 2, server.host, server.port), 1, "contradict")


@pytest.mark.parametrize("code", [b"DENY", b"RSTR", b"RATE", b"INIT", b"XYZ!", bytes(4)])
def test_a_server_that_says_stop_is_not_asked_again(fake_server, code):
    server = fake_server(
        lambda request: honest(request) if len(server.requests) < 3 else changed(stratum=0, reference_id=code)(request)
    )
    result = client("-n", 8, "-i", 0, server.host, server.port)
    assert result.returncode == 0  # two samples were had
    assert len(server.requests) == 3
    assert "sample 3: 127.0.0.1: lost: kiss-o'-death" in result.stdout


def test_nobody_waits_for_the_next_sample_of_a_server_that_said_stop(fake_server):
    server = fake_server(changed(stratum=0, reference_id=b"DENY", version=7))  # whatever else is wrong with it
    started = time.monotonic()
    result = client("-n", 2, "-i", 40, server.host, server.port)
    assert time.monotonic() - started < 20
    assert "lost: kiss-o'-death DENY: access denied by the server; it is not asked again\n" in result.stdout
    assert_one_error_line(result, 1, "no sample gave the time")
    assert len(server.requests) == 1


@linux_only
def test_when_one_address_says_stop_the_others_are_still_asked(fake_server):
    other = fake_server(changed(leap=3))
    stop = fake_server(changed(stratum=0, reference_id=b"RATE"), host="127.0.0.2", port=other.port)
    result = patched_client(TWO_ADDRESSES, "-n", 3, "-i", 0, "two.example", other.port)
    assert result.returncode == 1
    assert (len(stop.requests), len(other.requests)) == (1, 3)


# ---------------------------------------------------------------- clocks far off, or set meanwhile, or without a kernel


def years(number):
    """Return the Unix time of the first day of that year, in ns."""
    return round((number - 1970) * 365.2425 * 86400) * SECOND


@pytest.mark.parametrize("here", [1970, 2026, 2040])
@pytest.mark.parametrize("there", [1969, 2026, 2036, 2037, 2060, 2103])
def test_a_server_in_any_era_gives_the_right_offset_whatever_this_clock_says(fake_server, here, there):
    now = time.time_ns()
    server = fake_server(lambda request: honest(request, offset=years(there) - now))
    patch = f"real = time.time_ns; time.time_ns = lambda: real() + {years(here) - now}"
    result = patched_client(patch, "--json", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert abs(shown["offset"] - (years(there) - years(here)) / SECOND) < shown["root_distance"] + 1e-6


# The clock is set at the moment at which the request has been sent.
CLOCK_STEPS = """
real, sent = time.time_ns, []
class Socket(socket.socket):
    def send(self, data):
        if data != bytes(48):  # which only warms up
            sent.append(data)
        return super().send(data)
socket.socket = Socket
time.time_ns = lambda: real() + ({step} if sent else 0)
"""


@pytest.mark.parametrize("step", [3600 * SECOND, -3600 * SECOND, SECOND, -SECOND, 5_000_000, -5_000_000])
def test_a_clock_that_is_set_while_the_reply_is_on_its_way_gives_no_result(fake_server, step):
    server = fake_server()
    result = patched_client(CLOCK_STEPS.format(step=step), server.host, server.port)
    assert_one_error_line(result, 1, "clock was set")


@pytest.mark.parametrize("pause", [0, 1, 2])
def test_a_process_that_is_interrupted_while_it_reads_the_clocks_does_not_take_that_for_a_step(fake_server, pause):
    server = fake_server()
    patch = f"""
real, readings = time.time_ns, []
def interrupted():
    readings.append(real())
    if len(readings) % 3 == {pause}:
        time.sleep(0.003 * len(readings))
    return real()
time.time_ns = interrupted
"""
    assert patched_client(patch, server.host, server.port).stderr == ""


@pytest.mark.parametrize("step", [200_000, -200_000])
def test_a_step_too_small_to_tell_is_in_the_root_distance(fake_server, step):
    def exact_but_slow(request):  # so slow that a step back does not make the delay negative
        reply = reply_to(request, root_delay=0, root_dispersion=0, precision=-30)
        time.sleep(0.01)
        return [reply]

    server = fake_server(exact_but_slow)
    shown = json.loads(patched_client(CLOCK_STEPS.format(step=step), "--json", server.host, server.port).stdout)
    assert shown["root_distance"] > shown["delay"] / 2 + 190e-6


NO_TIMESTAMPS = {
    "a kernel that refuses": "def no(*_): raise OSError(92, 'Protocol not available')\nsocket.socket.setsockopt = no",
    "a kernel that gives none": "socket.socket.setsockopt = lambda *_: None",
    "another system": "sys.platform = 'win32'; socket.socket.recvmsg = None",
}
for when, seconds in (("the past", "0"), ("the future", "2**40")):
    NO_TIMESTAMPS[f"a kernel whose clock is in {when}"] = f"""
import struct
real = socket.socket.recvmsg
def recvmsg(self, *sizes):
    packet, notes, flags, address = real(self, *sizes)
    return packet, [(level, kind, struct.pack("@ll", {seconds}, 0)) for level, kind, _ in notes], flags, address
socket.socket.recvmsg = recvmsg
"""


@linux_only
@pytest.mark.parametrize("what", NO_TIMESTAMPS)
def test_without_the_kernels_receive_timestamp_it_reads_the_clock(fake_server, what):
    server = fake_server()
    result = patched_client(NO_TIMESTAMPS[what], "--json", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(json.loads(result.stdout)["offset"]) < json.loads(result.stdout)["root_distance"]


@linux_only
def test_the_kernels_receive_timestamp_is_the_one_that_counts(fake_server):
    server = fake_server()
    late = """
real = socket.socket.recvmsg
def recvmsg(self, *sizes):
    result = real(self, *sizes)
    time.sleep(0.2)  # as if this process had been kept waiting after the packet arrived
    return result
socket.socket.recvmsg = recvmsg
"""
    assert json.loads(patched_client(late, "--json", server.host, server.port).stdout)["delay"] < 0.2


# ---------------------------------------------------------------- the protocol, shown

# What a chronyd at stratum 3, which had its time from another one on 127.0.0.1, answered to this client, by xxd -g 4:
CAPTURED = bytes.fromhex("""
    240300e6 00000001 00000001 7f000001
    eeaee66e 80343b57 3c06a663 425c77ac
    eeaee66e f1c5c17b eeaee66e f1cdc470
""")
# The same, worked out by hand: 24 is 00 100 100 in bits, e6 is 230 - 256, 1 / 65536 is 0.0000153, 7f is 127;
# eeaee66e is 4004439662, 80343b57 / 2^32 is 0.500796994; 3c06a663 has its first bit clear: era 1; and so on.
BY_HAND = """\
Reply, 48 bytes:
 0  240300e6  leap indicator      00...... = 0: no warning
              version             ..100... = 4
              mode                .....100 = 4: server
              stratum             3: secondary server
              poll                0: 2^0 s = 1 s
              precision           -26: 2^-26 s = 1.49e-08 s
 4  00000001  root delay          1 * 2^-16 s = 0.000015 s
 8  00000001  root dispersion     1 * 2^-16 s = 0.000015 s
12  7f000001  reference ID        127.0.0.1: the address of its own server
                                  (IPv6: a hash of it; 127.127.x.x: a clock)
16  eeaee66e  reference timestamp 4004439662 s + 2150906711 * 2^-32 s
20  80343b57                      = 4004439662.500796994 s since the prime epoch
                                  = 2026-11-23 16:21:02.500796994 UTC
24  3c06a663  originate timestamp the request's transmit timestamp, sent back:
28  425c77ac                      (1007068771 + 2^32) s + 1113356204 * 2^-32 s
                                  = 5302036067.259223442 s since the prime epoch
                                  = 2068-01-06 03:47:47.259223442 UTC (era 1)
32  eeaee66e  receive timestamp   4004439662 s + 4056269179 * 2^-32 s
36  f1c5c17b                      = 4004439662.944423764 s since the prime epoch
                                  = 2026-11-23 16:21:02.944423764 UTC
40  eeaee66e  transmit timestamp  4004439662 s + 4056794224 * 2^-32 s
44  f1cdc470                      = 4004439662.944546010 s since the prime epoch
                                  = 2026-11-23 16:21:02.944546010 UTC
"""


def decode(tmp_path, packet):
    """Return what --decode does with these bytes in a file."""
    (tmp_path / "saved.bin").write_bytes(packet)
    return client("--decode", tmp_path / "saved.bin")


def test_decode_shows_a_captured_reply_as_it_was_worked_out_by_hand(tmp_path):
    result = decode(tmp_path, CAPTURED)
    assert (result.returncode, result.stdout, result.stderr) == (0, BY_HAND, "")


def test_decode_reads_stdin_too(tmp_path):
    (tmp_path / "saved.bin").write_bytes(CAPTURED)
    with open(tmp_path / "saved.bin", "rb") as saved:
        assert client("--decode", "-", stdin=saved).stdout == BY_HAND


def test_decode_agrees_with_tshark(tmp_path):
    for program in ("text2pcap", "tshark"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed (Debian package tshark)")
    dump = "0000 " + CAPTURED.hex(" ")
    subprocess.run(["text2pcap", "-q", "-u", "123,123", "-", tmp_path / "c.pcap"], input=dump, text=True, check=True)
    names = "flags.li flags.vn flags.mode stratum ppoll precision rootdelay rootdispersion".split()
    names += "refid reftime org rec xmt".split()
    fields = [option for name in names for option in ("-e", f"ntp.{name}")]
    command = ["tshark", "-r", tmp_path / "c.pcap", "-T", "fields", "-E", "separator=|", *fields]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT).stdout.strip()
    seen = dict(zip(names, told.split("|")))
    text = decode(tmp_path, CAPTURED).stdout
    shown = dict(re.findall(r"^.{14}(\w[\w ]*\w) +(?:[01.]{8} = )?(-?\d+)\b", text, re.MULTILINE))
    for name, ours in zip(names[:8], [*shown]):  # both in the order of the header
        assert int(seen[name], 0) % 256 == int(shown[ours]) % 256, name  # tshark's precision has lost its sign
    assert len(shown) >= 8
    assert socket.inet_ntoa(bytes.fromhex(seen["refid"].replace(":", ""))) in text
    for name, date in zip(names[9:], re.findall(r"= (\d{4}-.*) UTC", text)):
        when, ns = re.fullmatch(r"(.*)\.(\d{9}) UTC", seen[name]).groups()
        theirs = calendar.timegm(time.strptime(when, "%b %d, %Y %H:%M:%S")) * SECOND + int(ns)
        ours = calendar.timegm(time.strptime(date[:19], "%Y-%m-%d %H:%M:%S")) * SECOND + int(date[20:])
        assert abs(theirs - ours) <= 1, name  # tshark rounds down


def test_v_shows_the_same_lines_for_a_reply_as_decode_does(ask, tmp_path):
    sent = []

    def remember(request):
        sent.extend([request.data, reply_to(request, stratum=1, reference_id=b"GPS\0") + bytes(20)])
        return sent[1:]

    result = ask(remember, "-v")
    assert (result.returncode, result.stderr) == (0, "")
    parts = result.stdout.split("\n\n")
    assert parts[0].startswith("Server: ")
    assert parts[1] + "\n" == decode(tmp_path, sent[0]).stdout
    assert parts[2] + "\n" == decode(tmp_path, sent[1]).stdout
    assert parts[1].startswith("Request, 48 bytes:")
    assert parts[2].startswith("Reply, 68 bytes:")
    assert "GPS: its reference clock" in parts[2]
    assert "20 bytes more: extension fields or a MAC" in parts[2]


def test_v_shows_the_words_as_xxd_prints_them(ask):
    sent = []

    def remember(request):
        sent[:] = [request.data, reply_to(request)]
        return sent[1:]

    words = re.findall(r"^ ?\d+  ([0-9a-f]{8})", ask(remember, "-v").stdout, re.MULTILINE)
    assert "".join(words) == sent[0].hex() + sent[1].hex()


def test_v_puts_the_numbers_into_the_formulas(ask):
    text = ask(lambda request: honest(request, offset=-86400 * SECOND), "-v").stdout
    number = r"([+-]?\d+\.\d{9})"
    there, back, offset = re.search(
        rf"offset = .*\n +=  *\(\({number}\) \+ \({number}\)\) / 2 s\n +=  *{number} s", text
    ).groups()
    whole, server, delay = re.search(rf"delay  = .*\n +=  *{number} - {number} s\n +=  *{number} s", text).groups()
    assert f"Offset:         {offset} s" in text
    assert f"Delay:          {delay} s" in text
    there, back, offset, whole, server, delay = (
        int(shown.replace(".", "")) for shown in (there, back, offset, whole, server, delay)
    )
    assert offset == (there + back) // 2
    assert delay == whole - server

    terms, distance = re.search(r"root distance = .*\n +=  *(.*) s\n +=  *(.*) s", text).groups()
    assert f"Root distance:  {distance} s" in text
    assert sum(int(term.replace(".", "")) for term in terms.split(" + ")) == int(distance.replace(".", ""))
    assert all(len(line) <= 80 for line in text.splitlines())
    for name in ("T1", "T2", "T3", "T4"):
        assert re.search(rf"{name} = \d\d:\d\d:\d\d\.\d{{9}}", text)


def test_v_with_n_shows_the_chosen_sample(fake_server):
    server = fake_server()
    text = client("-v", "-n", 3, "-i", 0, server.host, server.port).stdout
    assert text.count("Request, 48 bytes:") == 1
    chosen = min((SAMPLE.match(line) for line in text.splitlines()[:3]), key=lambda match: match[3])
    assert f"\n       = {chosen[3]} s\n\nroot distance = " in text


def test_decode_says_that_a_request_is_one():
    lines = client("--decode", TOP / "packet.binary").stdout.splitlines()
    assert lines[0] == "Request, 48 bytes:"
    assert lines[3].endswith("mode                .....011 = 3: client")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (dict(stratum=0, reference_id=b"RATE"), ["RATE: a kiss code", ntp_client.KISS_CODES["RATE"]]),
        (dict(stratum=0, reference_id=b"\x1b[2J"), [r"\x1b[2J: a kiss code"]),
        (dict(stratum=1, reference_id=b"PPS\0"), ["1: primary server", "PPS: its reference clock"]),
        (dict(stratum=16), ["16: unsynchronized"]),
        (dict(stratum=200), ["200: reserved"]),
        (dict(mode=6), ["Packet, neither request nor reply", "6: NTP control message"]),
        (dict(leap=1), ["01...... = 1: the last minute has 61 seconds"]),
        (dict(leap=3), ["11...... = 3: unknown (clock unsynchronized)"]),
        (dict(poll=-128, precision=127), ["2^-128 s = 2.94e-39 s", "2^127 s = 1.7e+38 s"]),
        (dict(root_delay=2**32 - 1), ["4294967295 * 2^-16 s = 65535.999985 s"]),
        (dict(transmit=0), ["transmit timestamp  0: not set"]),
        (dict(transmit=1), ["(0 + 2^32) s + 1 * 2^-32 s", "2036-02-07 06:28:16.000000000 UTC (era 1)"]),
        (dict(transmit=2**64 - 1), ["4294967295 s + 4294967295 * 2^-32 s", "2036-02-07 06:28:16.000000000 UTC"]),
        (dict(transmit=2**63), ["1968-01-20 03:14:08.000000000 UTC"]),
        (dict(transmit=2**63 - 1), ["2104-02-26 09:42:24.000000000 UTC (era 1)"]),
    ],
)  # fmt: skip
def test_decode_names_every_value(tmp_path, reply, words):
    result = decode(tmp_path, reply_to(Request(bytes(48), None, time.time_ns()), **reply))
    assert (result.returncode, result.stderr) == (0, "")
    for word in words:
        assert word in result.stdout


def test_decode_shows_any_48_bytes_in_80_columns_of_printable_ascii(tmp_path):
    chance = random.Random(5905)
    packets = [bytes(48), b"\xff" * 48, *(bytes(chance.randrange(256) for _ in range(48)) for _ in range(500))]
    for code in ntp_client.KISS_CODES:
        packets.append(b"\x24\x00" + bytes(10) + code.encode() + bytes(32))
    for packet in packets:
        for line in ntp_client.dissect(packet):
            assert len(line) <= 80
            assert line.isascii()
            assert line.isprintable()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "it has 0 bytes"), (bytes(47), "it has 47 bytes"), (bytes(65_508), "more bytes than UDP can carry")],
    ids=["nothing", "47 bytes", "65508 bytes"],
)
def test_decode_of_what_is_no_packet_is_one_clear_line(tmp_path, content, words):
    result = decode(tmp_path, content)
    assert_one_error_line(result, 1, "saved.bin' holds no NTP packet", words)
    assert result.stdout == ""


def test_decode_of_the_text_that_xxd_prints_says_so(tmp_path):
    result = decode(tmp_path, b"00000000: 240206ec 00000042 00000083 7f7f0101  $......B........\n")
    assert_one_error_line(result, 1, "saved.bin' is what xxd prints")


def test_decode_of_what_cannot_be_read_is_one_clear_line(tmp_path):
    assert_one_error_line(client("--decode", tmp_path), 1, "Is a directory")
    assert_one_error_line(client("--decode", tmp_path / "none\x1b"), 1, "No such file", r"\x1b")
    assert_one_error_line(client("--decode", "-", preexec_fn=lambda: os.close(0)), 1, "standard input is closed")


@pytest.mark.parametrize("more", [["host"], ["-v"], ["--json"], ["host", "123"]])
def test_decode_goes_with_no_server_and_no_other_way_to_show_the_result(more):
    assert_one_error_line(client("--decode", TOP / "packet.binary", *more), 2, "--decode")


# ---------------------------------------------------------------- mutated replies


def test_mutated_replies_bring_no_traceback_no_hang_and_no_control_byte(fake_server):
    seed = int(os.environ.get("FUZZ_SEED", random.randrange(2**32)))
    print(f"FUZZ_SEED={seed}")
    chance = random.Random(seed)

    def mutate(request):
        reply = bytearray(reply_to(request, leap=chance.randrange(4), stratum=chance.choice([0, 1, 2, 16])))
        for _ in range(chance.randrange(1, 9)):
            reply[chance.choice([*range(24), *range(32, 48)])] = chance.choice([0, 0x1B, 0x7F, 0x80, 0xFF, 0x9B])
        if chance.random() < 0.1:
            reply[chance.randrange(24, 32)] ^= 1 << chance.randrange(8)
        if chance.random() < 0.2:
            reply = reply[: chance.randrange(60)] + bytes(chance.randrange(60))
        return [bytes(reply)]

    server = fake_server(mutate)
    statuses = set()
    for _ in range(120):
        options = chance.choice([[], ["--json"], ["-v"], ["-n", "2", "-i", "0"]])
        result = client("-t", "0.1", *options, server.host, server.port)
        text = (result.stdout + result.stderr).replace("\n", "")
        assert "Traceback" not in text
        assert text.isascii()
        assert text.isprintable()
        assert result.returncode in (0, 1)
        shown = "Offset" in result.stdout or '"offset"' in result.stdout
        assert shown == (result.returncode == 0)
        statuses.add(result.returncode)
    assert statuses == {0, 1}  # it mutates neither too little nor too much


# ---------------------------------------------------------------- the arithmetic


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        (0x83AA7E80_00000000, "1970-01-01 00:00:00.000000000 UTC"),
        (0x80000000_00000000, "1968-01-20 03:14:08.000000000 UTC"),
        (0xFFFFFFFF_FFFFFFFF, "2036-02-07 06:28:16.000000000 UTC"),  # rounded to the nearest ns
        (0xFFFFFFFF_00000000, "2036-02-07 06:28:15.000000000 UTC"),
        (0x00000000_80000000, "2036-02-07 06:28:16.500000000 UTC"),
        (0x7FFFFFFF_00000000, "2104-02-26 09:42:23.000000000 UTC"),
    ],
)
def test_timestamps_are_read_as_rfc_4330_says(stamp, text):
    assert ntp_client.utc(ntp_client.to_unix_ns(stamp)) == text


def test_short_times_and_powers_of_two_are_rounded_up():
    assert [ntp_client.short_to_ns(value) for value in (0, 1, 65536, 2**32 - 1)] == [0, 15259, SECOND, 65535999984742]
    assert [ntp_client.power_to_ns(exponent) for exponent in (-128, -30, -20, -1, 0, 4)] == [
        1, 1, 954, SECOND // 2, SECOND, 16 * SECOND,
    ]  # fmt: skip
    assert ntp_client.power_to_ns(127) == SECOND * 2**127


def test_seconds_are_shown_with_all_their_nanoseconds():
    assert [ntp_client.seconds(ns) for ns in (0, 1, -1, SECOND, -SECOND - 5)] == [
        "0.000000000", "0.000000001", "-0.000000001", "1.000000000", "-1.000000005",
    ]  # fmt: skip
    assert [ntp_client.seconds(ns, "+") for ns in (-1, 0, 1)] == ["-0.000000001", "+0.000000000", "+0.000000001"]


def test_the_scripts_import_nothing_that_is_not_in_the_standard_library_nor_what_the_lab_forbids():
    for script in ("goodbye.py", "basics.py", "ntp_client.py"):
        text = pathlib.Path(TOP / script).read_text()
        imported = set(re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE))
        assert imported <= {
            "argparse", "collections", "itertools", "json", "os", "socket", "struct", "sys", "time",
        }  # fmt: skip
