"""Part 5: the command line, the help, interrupts, and nowhere to write."""

import os
import signal
import threading

import pytest

from fake_ntp_server import honest
from helpers import (
    ENVIRONMENT,
    FULL,
    assert_one_error_line,
    client,
    needs_full,
    read_report,
    started,
)

# ---- What is asked

NOBODY = [("resolves_nothing",)]
ASKED = {
    "nothing": ([], "b'pool.ntp.org' 123 AF_UNSPEC "),
    "name": (["time.example"], "b'time.example' 123 AF_UNSPEC "),
    "port": (["time.example", "1123"], "b'time.example' 1123 AF_UNSPEC "),
    "options behind": (["time.example", "1123", "-4"], "b'time.example' 1123 AF_INET "),
    "-4": (["-4", "time.example"], "b'time.example' 123 AF_INET "),
    "-6": (["-6", "time.example"], "b'time.example' 123 AF_INET6 "),
    "IPv6 address": (["::1"], "b'::1' 123 AF_UNSPEC "),
    "long": (["x" * 70_000], "b'xxx"),
    "control characters": (["\x1b]2;"], r"b'\x1b]2;' 123 AF_UNSPEC "),
    "not ASCII": (["\xe9.example"], r"b'\xc3\xa9.example' 123 AF_UNSPEC "),
    "not UTF-8": (["\udcff"], r"b'\xff' 123 AF_UNSPEC "),
    "empty": ([""], "b'' 123 AF_UNSPEC "),
    "least": (["-n", "1", "-i", "0", "-t", "0.001", "h", "1"], "b'h' 1 AF_UNSPEC "),
    "most": (["-n", "1000000", "-i", "86400", "-t", "60", "h", "65535"], "b'h' 65535 AF_UNSPEC "),
}


@pytest.mark.parametrize("what", ASKED)
def test_the_server_that_is_named_is_looked_up_or_else_the_pool(what):
    arguments, asked = ASKED[what]
    result = client(*arguments, patches=NOBODY)
    assert result.stdout.startswith(asked)
    reason = "': Name or service not known; check the name and the network\n"
    assert_one_error_line(result, 1, "error: cannot resolve '", reason)


@pytest.mark.parametrize(("option", "address"), [("-6", "127.0.0.1"), ("-4", "::1")])
def test_an_address_of_the_other_family_is_one_clear_line(option, address):
    assert_one_error_line(client(option, address), 1, f"cannot resolve '{address}'")


# ---- Wrong command lines

N, I, T, PORT = (  # noqa: E741
    f"{name} must be a number from {least} to {most}"
    for name, least, most in [
        ("-n", 1, 10**6),
        ("-i", 0, 86400),
        ("-t", 0.001, 60),
        ("the port", 1, 65535),
    ]
)
DECODE = ["--decode", "packet.binary"]
ALONE = "--decode cannot be combined with a server or with -n"
WRONG = {
    "no samples": (["-n", "0"], N),
    "too many samples": (["-n", "1000001"], N),
    "half a sample": (["-n", "1.5"], "argument -n: invalid int value: '1.5'"),
    "samples in letters": (["-n", "\x1b[31m"], r"argument -n: invalid int value: '\x1b[31m"),
    "no time limit": (["-t", "0"], T),
    "a time limit of more than a minute": (["-t", "60.1"], T),
    "a time limit that is no number": (["-t", "nan"], T),
    "a time limit for ever": (["-t", "1e400"], T),
    "a time limit in letters": (["-t", "five"], "argument -t: invalid float value: 'five'"),
    "a negative pause": (["-i-0.1"], I),
    "an endless pause": (["-i", "inf"], I),
    "port 0": (["host", "0"], PORT),
    "port 65536": (["host", "65536"], PORT),
    "a port by name": (["host", "ntp"], PORT),
    "a port with a point": (["host", "1.0"], PORT),
    "a port in other digits": (["host", "\N{ARABIC-INDIC DIGIT FIVE}"], PORT),
    "a negative port": (["host", "-1"], "-1"),
    "-p": (["-p", "11123", "127.0.0.1"], "unrecognized arguments: -p"),
    "-c": (["-c", "4", "127.0.0.1"], "unrecognized arguments: -c"),
    "--timeout": (["--timeout", "2", "127.0.0.1"], "unrecognized arguments: --timeout"),
    "too many arguments": (["a", "1", "c"], "unrecognized arguments: c"),
    "an abbreviation": (["--js"], "unrecognized arguments: --js"),
    "both families": (["-4", "-6"], "argument -6: not allowed with argument -4"),
    "two ways to show it": (["-v", "--json"], "argument --json: not allowed with argument -v"),
    "an option without its value": (["-n"], "argument -n: expected one argument"),
    "a server to decode": ([*DECODE, "host"], ALONE),
    "the pool to decode": ([*DECODE, "pool.ntp.org"], ALONE),
    "samples to decode": ([*DECODE, "-n", "3"], ALONE),
    "decode and -v": ([*DECODE, "-v"], "argument -v: not allowed with argument --decode"),
    **{
        f"the server {server}": ([server], f"{server!r}: give the host and the port as two arg")
        for server in ("host:123", "[::1]", "[::1]:123", "ntp://host", "ntp://[::1]:1/", "host/")
    },
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_command_line_is_a_usage_line_an_error_line_and_status_2(what):
    arguments, words = WRONG[what]
    result = client(*arguments)
    assert (result.returncode, result.stdout) == (2, "")
    *usage, error = result.stderr.splitlines()
    assert usage[0].startswith("usage: ntp_client.py [-h] [-4 | -6] [-n N] ")
    assert error.startswith("ntp_client.py: error: ")
    assert words in error


def test_help_shows_every_option_and_its_default():
    result = client("--help")
    assert (result.returncode, result.stderr) == (0, "")
    for text in (
        "use IPv4 only", "use IPv6 only", "-n N", "-i SECONDS", "-t SECONDS", "-v ", "--json ",
        "--decode FILE",
        "(default: pool.ntp.org)", "(default: 123)", "(default: 1)", "(default: 2)", "(default: 6)",
        "tests/fake_ntp_server.py ./ntp_client.py",
    ):  # fmt: skip
        assert text in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


# ---- Interrupted, or with nowhere to write


def test_ctrl_c_ends_it_with_status_130_and_no_traceback(fake_server):
    asked = threading.Event()
    server = fake_server(lambda request: asked.set() or [])
    with started("ntp_client.py", "-t", "50", server.host, server.port) as process:
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 130


def test_ctrl_c_while_the_name_is_looked_up_ends_it_too():
    result = client("time.example", patches=[("interrupted", "socket", "getaddrinfo")])
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_ctrl_c_while_the_report_is_printed_ends_it_too(fake_server):
    server = fake_server()
    patches = [("interrupted_while_printing", "Server: ")]
    result = client(server.host, server.port, patches=patches)
    assert (result.returncode, result.stderr) == (130, "")


@needs_full
@pytest.mark.parametrize("buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=len)
@pytest.mark.parametrize("options", [["--json"], ["-n", "2", "-i", "0"], ["-v"]], ids=" ".join)
def test_a_full_disk_is_reported_once(fake_server, options, buffering):
    server = fake_server()
    environment = {**ENVIRONMENT, **buffering}
    with FULL.open("w") as full:
        result = client(*options, server.host, server.port, stdout=full, env=environment)
    assert_one_error_line(result, 1, "cannot write the result: No space left")


@needs_full
def test_a_full_disk_for_stderr_costs_no_sample(fake_server):
    server = fake_server(lambda request: honest(request) if len(server.requests) != 2 else [])
    with FULL.open("w") as full:
        result = client("-n", 3, "-i", 0, "-t", 0.5, server.host, server.port, stderr=full)
    assert result.returncode == 0
    assert read_report(result.stdout)


@pytest.mark.parametrize("options", [[], ["-n2", "-i0"], ["-v"], ["--json"]], ids=" ".join)
def test_a_reader_that_closes_the_pipe_ends_it_quietly(fake_server, options):
    server = fake_server()
    reader, writer = os.pipe()
    os.close(reader)
    result = client(*options, server.host, server.port, stdout=writer)
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")


def test_a_closed_stdout_is_reported_before_anybody_is_asked(fake_server):
    server = fake_server()
    result = client(server.host, server.port, stdout=None, preexec_fn=lambda: os.close(1))
    assert_one_error_line(result, 1, "standard output is closed")
    assert server.requests == []


@needs_full
def test_a_closed_or_full_stderr_leaves_the_exit_status():
    result = client("", stderr=None, preexec_fn=lambda: os.close(2))
    assert (result.returncode, result.stdout) == (1, "")
    with FULL.open("w") as full:
        assert client("-n", "x", stderr=full).returncode != 0
        assert client("", stdout=full, stderr=full).returncode == 1
        assert client("", stderr=full, stdout=None, preexec_fn=lambda: os.close(1)).returncode == 1


def test_a_closed_stdin_is_an_error_only_where_it_is_read(fake_server):
    server = fake_server()
    assert client(server.host, server.port, preexec_fn=lambda: os.close(0)).returncode == 0
    result = client("--decode", "-", preexec_fn=lambda: os.close(0))
    assert_one_error_line(result, 1, "cannot read '-': Bad file descriptor")
