"""The README: every command that it shows is run, and must print what is shown, but for the
numbers.
"""

import json
import re
import shutil
import subprocess

import pytest

from helpers import ENVIRONMENT, TOP, client

README = (TOP / "README.md").read_text(encoding="utf-8")
REAL_SERVER = "127.0.0.1 11123"  # the README's chronyd; the one of the tests is at another port

# Commands that are shown and not run here, each with the reason.
NOT_RUN = {
    "tests/run": "it runs this very test",
    "./ntp_client.py": "needs the Internet",
    "netcat -w 1 -u pool.ntp.org 123 < packet.binary | xxd -g 4": "needs the Internet",
    "sudo chronyd -x 'port 11123' 'allow 127.0.0.1' 'local stratum 2' 'cmdport 0'"
    " 'bindcmdaddress /' \\\n    'pidfile /run/chrony/lab.pid'": "starts a daemon as root",
    "sudo sh -c 'kill $(cat /run/chrony/lab.pid) && rm /run/chrony/lab.pid'": "stops that daemon",
}


def sessions():
    """Return the README's console blocks, each a list of (command, the output shown under it)."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", README, re.DOTALL | re.MULTILINE):
        parts = re.split(r"^\$ ((?:.*\\\n)*.*)\n", block, flags=re.MULTILINE)
        assert parts[0] == "", "output before the first command"
        found.append(list(zip(parts[1::2], parts[2::2])))
    return found


def shape(line):
    """Return the line without what differs from run to run: numbers, words in hex, verdicts."""
    # xxd's column of characters, and the picture of a sample
    line = re.sub(r"^([0-9a-f]{8}: (?:[0-9a-f]{8} ){4}) .*", r"\1", line)
    line = re.sub(r"^(sample \d+|overlap) +[<|>-][ <|>-]* ([+-])", r"\1 PICTURE \2", line)
    line = re.sub(
        r"this clock is (behind|ahead of) the server's|within the possible error", "VERDICT", line
    )
    line = re.sub(r"(?<![\w.])[0-9a-f]{8}\b", "N", line)
    return re.sub(r" *[+-]?\d[\d.e-]*", " N", line)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A fresh copy of the project, to which the commands may add files."""
    folder = tmp_path_factory.mktemp("readme") / "copy"
    shutil.copytree(TOP, folder, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    return folder


@pytest.mark.parametrize("session", sessions(), ids=lambda session: session[0][0])
def test_the_commands_print_what_is_shown(session, copy, request):
    for command, shown in session:
        if command in NOT_RUN:
            assert shown == ""
            continue
        for program, package in (("netcat", "netcat-openbsd"), ("xxd", "xxd"), ("jq", "jq")):
            if re.search(rf"\b{program} ", command) and not shutil.which(program):
                pytest.skip(f"{program} is not installed (Debian package {package})")
        if REAL_SERVER in command:
            command = command.replace(
                REAL_SERVER, f"127.0.0.1 {request.getfixturevalue('chronyd')}"
            )
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=copy,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=60,
        )
        assert list(map(shape, result.stdout.splitlines())) == list(
            map(shape, shown.splitlines())
        ), command


def test_the_receive_timestamp_is_worked_out_by_hand_as_the_client_does():
    dump = re.search(r"tee reply.bin.*\n((?:[0-9a-f]{8}: .*\n)+)", README)[1]
    decoded = subprocess.run(
        [TOP / "ntp_client.py", "--decode", "-"],
        input=dump,
        env=ENVIRONMENT,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    by_hand = re.search(r"together: (\d+\.\d{9} s since the prime epoch)", README)[1]
    assert re.search(rf"receive timestamp +{by_hand}", decoded.stdout)


def test_the_list_of_json_keys_is_complete(fake_server):
    server = fake_server()
    printed = json.loads(client("--json", server.host, server.port).stdout)
    section = README.split("## JSON")[1].split("```")[0]
    rows = re.findall(r"^- (.*?): ", section, re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(rows))) == sorted(printed)
