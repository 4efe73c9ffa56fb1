"""The fake server as a command for people."""

import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from conftest import ENVIRONMENT, TOP, run

SERVER = "tests/fake_ntp_server.py"


def offset(result):
    """Return the offset that the client's report shows, in seconds."""
    return float(re.search(r"Offset: +([+-]\d+\.\d{9})", result.stdout)[1])


def test_it_runs_a_command_with_its_host_and_port_at_the_end():
    result = run(SERVER, "echo", "one", "two")
    assert re.fullmatch(r"one two 127\.0\.0\.1 \d+\n", result.stdout)
    assert result.returncode == 0


def test_the_client_reads_the_time_from_it():
    result = run(SERVER, sys.executable, "ntp_client.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(offset(result)) < 0.1


def test_its_clock_is_off_by_the_offset():
    result = run(SERVER, "--offset", "3600", sys.executable, "ntp_client.py")
    assert abs(offset(result) - 3600) < 0.1
    result = run(SERVER, "--offset", "-0.5", sys.executable, "ntp_client.py")
    assert abs(offset(result) + 0.5) < 0.1


def test_its_replies_are_late_by_the_delay_and_half_of_that_is_how_wrong_the_offset_gets():
    result = run(SERVER, "--delay", "0.2", sys.executable, "ntp_client.py")
    delay = float(re.search(r"Delay: +(\d+\.\d{9})", result.stdout)[1])
    assert delay > 0.2
    assert -delay / 2 <= offset(result) < -0.09


def test_it_ends_with_the_command_even_if_a_late_reply_is_still_to_be_sent():
    started = time.monotonic()
    result = run(SERVER, "--delay", "50", sys.executable, "ntp_client.py", "-t", "0.2")
    assert result.returncode == 1
    assert time.monotonic() - started < 25


def test_two_dashes_end_its_own_options():
    assert run(SERVER, "--", "echo", "hi").stdout.startswith("hi 127.0.0.1 ")


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_it_exits_with_the_status_of_the_command(script, status):
    assert run(SERVER, "sh", "-c", script).returncode == status


def test_a_command_that_does_not_exist_is_one_clear_line():
    result = run(SERVER, "no-such-command")
    assert result.returncode == 127
    assert (
        result.stderr
        == "fake_ntp_server.py: error: cannot run 'no-such-command': No such file or directory\n"
    )


def test_it_passes_stdin_through():
    assert run(SERVER, "sh", "-c", "cat", input="what was typed\n").stdout == "what was typed\n"


@pytest.mark.parametrize(
    "options", [["--offset", "nan"], ["--delay", "-1"], ["--port", "65536"], ["--port", "x"]]
)
def test_a_wrong_option_is_status_2(options):
    result = run(SERVER, *options, "true")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_without_a_command_it_tells_its_address_and_serves_until_ctrl_c():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, TOP / SERVER], env=ENVIRONMENT, **pipes) as server:
        port = re.search(r"127\.0\.0\.1 port (\d+)", server.stdout.readline())[1]
        assert run("ntp_client.py", "127.0.0.1", port).returncode == 0
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
