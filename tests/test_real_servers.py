"""The client, and packet.binary, against a real chronyd on loopback."""

import json
import shutil
import socket

import pytest

from helpers import (
    NOT_SYNCHRONIZED,
    TOP,
    assert_one_error_line,
    has_loopback,
    run,
)
from real_server import SYSTEM_PATH, free_port, real_chronyd


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_the_client_reads_the_time_from_it(chronyd, address):
    if address == "::1" and not has_loopback(socket.AF_INET6, "::1"):
        pytest.skip("this computer has no ::1")
    result = run("ntp_client.py", "--json", address, chronyd)
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert (shown["stratum"], shown["leap"], shown["port"]) == (2, 0, chronyd)
    # Both read the same clock, so the true offset is 0, and what is shown must bear its own bound
    # out.
    assert abs(shown["offset"]) <= shown["root_distance"]


def test_eight_samples_overlap_in_an_interval_that_holds_the_truth(chronyd):
    result = run("ntp_client.py", "--json", "-n", 8, "-i", 0, "127.0.0.1", chronyd)
    *samples, overlap = map(json.loads, result.stdout.splitlines())
    assert len(samples) == overlap["samples"] == 8
    assert overlap["root_distance"] <= min(sample["root_distance"] for sample in samples)
    assert abs(overlap["offset"]) <= overlap["root_distance"]


def test_a_real_server_that_has_no_time_yet_is_not_synchronized(tmp_path):
    if not shutil.which("chronyd", path=SYSTEM_PATH):
        pytest.skip("chronyd is not installed (Debian package chrony)")
    port = free_port()
    with real_chronyd(tmp_path, port, "allow") as answers:
        if not answers:
            pytest.skip(f"chronyd does not answer here: {(tmp_path / 'log').read_text()}")
        result = run("ntp_client.py", "-n", 2, "-i", 0, "127.0.0.1", port)
    assert_one_error_line(result, 1, NOT_SYNCHRONIZED)
    assert result.stdout == ""


def test_it_answers_packet_binary_with_the_bytes_that_the_handout_promises(chronyd):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1", chronyd))
        sock.send((TOP / "packet.binary").read_bytes())
        reply = sock.recv(1024)
    assert len(reply) == 48
    assert reply[:2] == b"\x24\x02"
