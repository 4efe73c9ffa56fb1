"""The client, and packet.binary, against a real chronyd on loopback."""

import json
import shutil
import socket
import subprocess

import pytest

from conftest import ENVIRONMENT, TOP, run


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost"])
def test_the_client_reads_the_time_from_it(chronyd, address):
    result = run("ntp_client.py", "--json", address, chronyd)
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    assert (shown["stratum"], shown["version"], shown["leap"], shown["port"]) == (2, 4, 0, chronyd)
    assert shown["reference_id"] == "127.127.1.1"  # chronyd's own clock
    # Both read the same clock, so the true offset is 0, and what is shown must bear its own bound out.
    assert abs(shown["offset"]) <= shown["root_distance"]


def test_of_eight_samples_the_one_with_the_least_delay_is_the_result(chronyd):
    result = run("ntp_client.py", "--json", "-n", 8, "-i", 0, "127.0.0.1", chronyd)
    shown = json.loads(result.stdout)
    assert len(shown["samples"]) == 8
    assert shown["delay"] == min(sample["delay"] for sample in shown["samples"])
    assert abs(shown["offset"]) <= shown["root_distance"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_it_answers_packet_binary_with_the_bytes_that_the_handout_promises(chronyd, family):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect(("127.0.0.1" if family == socket.AF_INET else "::1", chronyd))
        sock.send((TOP / "packet.binary").read_bytes())
        reply = sock.recv(1024)
    assert len(reply) == 48
    assert reply[:2] == b"\x24\x02"


@pytest.mark.parametrize(
    "netcat", ["nc.traditional -q 1 -u", "nc.traditional -w 1 -u", "nc.openbsd -w 1 -u"]
)
def test_netcat_and_xxd_show_its_reply_as_twelve_words(chronyd, netcat):
    for program in (netcat.split()[0], "xxd"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    command = f"{netcat} 127.0.0.1 {chronyd} < packet.binary | xxd -g 4"
    shown = subprocess.run(
        command, shell=True, cwd=TOP, capture_output=True, text=True, timeout=60, env=ENVIRONMENT
    )
    words = [word for line in shown.stdout.splitlines() for word in line.split()[1:5]]
    assert len(words) == 12
    assert words[0].startswith("2402")
