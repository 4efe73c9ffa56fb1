"""The README: every command that it shows is run, and must print what is shown, but for the
numbers.
"""

import functools
import os
import re
import shutil
import subprocess

import pytest

from helpers import ENVIRONMENT, TOP, client
from real_server import SYSTEM_PATH, wait_until_it_answers

README = (TOP / "README.md").read_text(encoding="utf-8")
REAL_SERVER = "127.0.0.1 11123"  # the README's chronyd; the one of the tests is at another port

# Commands that are shown and not run here, each with the reason.
NOT_RUN = {
    "tests/run": "it runs this very test",
    "tests/run tests/test_lab.py --lab ../submissions/team7": "there is no such folder here",
    "netcat -w 1 -u pool.ntp.org 123 < packet.binary | xxd -g 4": "needs the Internet",
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
        r"so this clock is (behind|ahead of) the server's|within the margin of error",
        "VERDICT",
        line,
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
        if command in NOT_RUN or command.startswith("sudo "):
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


def test_the_commands_with_sudo_start_and_stop_a_server(copy):
    commands = [command for session in sessions() for command, _ in session if "sudo" in command]
    assert len(commands) == 3
    if os.geteuid() != 0 or not shutil.which("chronyd", path=SYSTEM_PATH):
        pytest.skip("only root can run them, and chronyd is needed (Debian package chrony)")
    run = functools.partial(subprocess.run, shell=True, check=True, cwd=copy, timeout=60)
    environment = {**ENVIRONMENT, "PATH": SYSTEM_PATH}
    make_folder, start, stop = (command.replace("sudo ", "") for command in commands)
    run(make_folder, env=environment)
    run(start, env=environment)
    try:
        assert wait_until_it_answers(11123)
    finally:
        run(stop, env=environment)


def test_the_receive_timestamp_is_worked_out_by_hand_as_the_client_does(tmp_path):
    dump = re.search(r"tee reply.bin.*\n((?:[0-9a-f]{8}: .*\n)+)", README)[1]
    words = [line.split()[1:5] for line in dump.splitlines()]
    (tmp_path / "reply.bin").write_bytes(bytes.fromhex("".join(map("".join, words))))
    decoded = client("--decode", tmp_path / "reply.bin").stdout
    by_hand = re.search(r"together: (\d+\.\d{9} s since the prime epoch)", README)[1]
    assert f"receive timestamp   {by_hand}:" in decoded
    whole, fraction = words[2][:2]
    assert repr(int(whole, 16) + int(fraction, 16) / 2**32) in README  # as a float
