"""The fake server as a command for people."""

import itertools
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from fake_ntp_server import FakeServer
from helpers import ENVIRONMENT, TOP, assert_one_error_line, client, read_report, run, started

SERVER = "tests/fake_ntp_server.py"
REQUEST = (TOP / "packet.binary").read_bytes()


def test_it_runs_a_command_with_its_host_and_port_at_the_end():
    result = run(SERVER, "echo", "one", "two")
    assert re.fullmatch(r"one two 127\.0\.0\.1 \d+\n", result.stdout)
    assert result.returncode == 0


def test_its_clock_is_off_by_the_offset():
    for offset in (3600, -7200.5):
        result = run(SERVER, "--offset", offset, "--", sys.executable, "ntp_client.py")
        assert abs(read_report(result.stdout).offset - offset) < 1


def test_its_replies_are_late_by_the_delay_and_half_of_that_is_how_wrong_the_offset_gets():
    report = read_report(run(SERVER, "--delay", "1", sys.executable, "ntp_client.py").stdout)
    assert 1 <= report.delay < 2.5
    # The way back took 1 s; the rest of the delay may have been on either way.
    assert -report.delay / 2 <= report.offset <= report.delay / 2 - 1


def test_the_help_says_what_each_option_does():
    text = " ".join(run(SERVER, "--help").stdout.split())
    for words in ("--host ADDRESS IP address", "--port N UDP port", "--offset SECONDS how far the"):
        assert words in text
    assert "--delay SECONDS how long to hold" in text


def test_it_ends_with_the_command_even_if_a_late_reply_is_still_to_be_sent():
    started = time.monotonic()
    result = run(SERVER, "--delay", "50", sys.executable, "ntp_client.py", "-t", "0.2")
    assert result.returncode == 1
    assert time.monotonic() - started < 25


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_it_exits_with_the_status_of_the_command(script, status):
    assert run(SERVER, "sh", "-c", script).returncode == status


@pytest.mark.parametrize(
    ("command", "status", "ending"),
    [
        ("no-such-command", 127, "cannot run 'no-such-command': No such file or directory\n"),
        ("ntp_client.py", 127, "; did you mean './ntp_client.py'?\n"),
        (TOP, 126, ": Permission denied\n"),
    ],
)
def test_a_command_that_cannot_be_run_is_one_clear_line(command, status, ending):
    result = run(SERVER, command)
    assert_one_error_line(result, status, ending, script="fake_ntp_server.py")


@pytest.mark.parametrize(
    ("signal_number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143)],
)
def test_a_signal_reaches_the_command_too_and_leaves_nothing_running(signal_number, status):
    with started(
        SERVER, "sh", "-c", "echo $$; exec sleep 60", "sh", start_new_session=True
    ) as server:
        command = int(server.stdout.readline())
        if signal_number == signal.SIGINT:
            os.killpg(server.pid, signal.SIGINT)  # a terminal sends it to both
        else:
            server.send_signal(signal.SIGTERM)
        server.communicate(timeout=30)
        assert server.returncode == status
    with pytest.raises(ProcessLookupError):
        os.kill(command, 0)


@pytest.mark.parametrize(
    "options", [["--offset", "nan"], ["--delay", "-1"], ["--delay", "60.5"], ["--port", "65536"]]
)
def test_a_wrong_option_is_status_2(options):
    result = run(SERVER, *options, "true")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_without_a_command_it_tells_its_address_and_serves_until_ctrl_c():
    with started(SERVER) as server:
        port = re.search(r"127\.0\.0\.1 port (\d+)", server.stdout.readline())[1]
        assert client("127.0.0.1", port).returncode == 0
        taken = run(SERVER, "--port", port, "true")
        assert (taken.returncode, taken.stderr.count("\n")) == (1, 1)
        server.send_signal(signal.SIGINT)
        assert server.communicate(timeout=30) == ("", "")
        assert server.returncode == 130


@pytest.mark.parametrize("netcat", ["nc.traditional", "nc.openbsd"])
def test_netcat_gets_a_reply_to_the_request_in_packet_binary(netcat):
    if not shutil.which(netcat):
        pytest.skip(f"{netcat} is not installed (Debian package netcat-{netcat.split('.')[1]})")
    with open(TOP / "packet.binary", "rb") as packet:
        command = [sys.executable, TOP / SERVER, netcat, "-q", "1", "-u"]
        reply = subprocess.run(
            command, stdin=packet, capture_output=True, timeout=60, env=ENVIRONMENT
        )
    assert (reply.returncode, reply.stderr) == (0, b"")
    assert len(reply.stdout) == 48
    assert reply.stdout[:2] == b"\x24\x02"


@pytest.mark.parametrize(("version", "poll"), [(4, 0), (3, 6), (1, -3)])
def test_it_repeats_the_requests_version_and_poll_as_real_servers_do(version, poll):
    with FakeServer() as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.connect((server.host, server.port))
        sock.send(bytes([version << 3 | 3, 0, poll % 256]) + bytes(45))
        reply = sock.recv(100)
    assert (reply[0], reply[2]) == (version << 3 | 4, poll % 256)
    reference, receive = struct.unpack_from(">Q8xQ", reply, 16)
    assert receive - reference == 10 << 32  # its clock was set 10 s ago


def test_it_answers_only_requests_as_real_servers_do_and_says_what_it_ignored(tmp_path):
    ignored = [b"\x24" + bytes(47), b"\x1e" + bytes(47), b"\x03" + bytes(47), b"\x2b" + bytes(47)]
    ignored.append(REQUEST[:47])  # before it: modes 4 and 6, versions 0 and 5
    program = f"""import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], int(sys.argv[2])))
for packet in {[*ignored, REQUEST]!r}:
    sock.send(packet)
print(len(sock.recv(100)))
sock.settimeout(0.2)
sock.recv(100)
"""
    (tmp_path / "program.py").write_text(program)
    result = run(SERVER, sys.executable, tmp_path / "program.py")
    assert result.stdout == "48\n"
    assert "timed out" in result.stderr  # one reply, and no other
    warning = "warning: packets ignored: 5, the first with 0x24 in byte 0; "
    assert warning in result.stderr.splitlines()[-1]


def test_it_listens_where_host_says_and_the_command_gets_an_address_that_it_can_reach():
    assert run(SERVER, "--host", "0.0.0.0", "echo").stdout.startswith("127.0.0.1 ")
    result = run(SERVER, "--host", "0.0.0.0", sys.executable, "ntp_client.py")
    assert (result.returncode, result.stderr) == (0, "")
    result = run(SERVER, "--host", "192.0.2.1", "echo")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)


# ---- As a fixture


def broken(request):
    raise KeyError("a mistake in a test")


def failing(request):
    pytest.fail("what a test says")


@pytest.mark.parametrize(
    ("behaviour", "kind"), [(broken, KeyError), (failing, pytest.fail.Exception)]
)
def test_what_goes_wrong_in_a_behaviour_is_raised_where_the_with_block_ends(behaviour, kind):
    called = threading.Event()

    def behave(request):
        called.set()
        return behaviour(request)

    def use():
        with FakeServer(behave) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(REQUEST, (server.host, server.port))
            assert called.wait(30)

    with pytest.raises(kind):
        use()


def test_an_endless_behaviour_ends_with_the_with_block():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sock, FakeServer(lambda request: itertools.repeat(b"again")) as server:
        sock.settimeout(30)
        sock.sendto(REQUEST, (server.host, server.port))
        assert sock.recv(100) == b"again"
    assert not server.thread.is_alive()
