"""Part 5: the command line, the help, interrupts, and nowhere to write."""

import os
import signal
import threading

import pytest

from fake_ntp_server import honest
from helpers import (
    ENVIRONMENT,
    FULL,
    TOP,
    assert_one_error_line,
    client,
    needs_full,
    patched_client,
    started,
)

# ---- What is asked by default

NOBODY = """
def nobody(*args, **kw):
    print(*(getattr(value, "name", value) for value in (*args, *kw.values())), flush=True)
    raise socket.gaierror(-2, "Name or service not known")
socket.getaddrinfo = nobody
"""


def test_without_arguments_it_asks_pool_ntp_org_at_port_123_over_either_family():
    result = patched_client(NOBODY)
    assert result.stdout.startswith("b'pool.ntp.org' 123 AF_UNSPEC ")
    assert_one_error_line(
        result,
        1,
        "cannot resolve 'pool.ntp.org': Name or service not known",
        "or try tests/fake_ntp_server.py ./ntp_client.py\n",
    )


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["time.example"], "b'time.example' 123 AF_UNSPEC "),
        (["time.example", "1123"], "b'time.example' 1123 AF_UNSPEC "),
        (["-4", "time.example"], "b'time.example' 123 AF_INET "),
        (["-6", "time.example"], "b'time.example' 123 AF_INET6 "),
        (["::1"], "b'::1' 123 AF_UNSPEC "),
        (["x" * 70_000], "b'xxx"),
        (["\x1b]2;"], r"b'\x1b]2;' 123 AF_UNSPEC "),
        (["\xe9.example"], r"b'\xc3\xa9.example' 123 AF_UNSPEC "),
        (["\udcff"], r"b'\xff' 123 AF_UNSPEC "),
        ([""], "b'' 123 AF_UNSPEC "),
    ],
    ids=[
        "name",
        "port",
        "-4",
        "-6",
        "IPv6 address",
        "long",
        "control characters",
        "not ASCII",
        "not UTF-8",
        "nothing",
    ],
)
def test_it_asks_for_the_server_that_is_named(arguments, asked):
    result = patched_client(NOBODY, *arguments)
    assert result.stdout.startswith(asked)
    assert_one_error_line(result, 1, "cannot resolve '")
    assert len(result.stderr) < 450


def test_an_address_of_the_other_family_is_one_clear_line():
    assert_one_error_line(client("-6", "127.0.0.1"), 1, "cannot resolve '127.0.0.1'")
    assert_one_error_line(client("-4", "::1"), 1, "cannot resolve '::1'")


# ---- Wrong command lines

WRONG = {
    "no samples": (["-n", "0"], "-n must be a number from 1 to 1000000"),
    "too many samples": (["-n", "1000001"], "-n must be a number from 1 to 1000000"),
    "half a sample": (["-n", "1.5"], "argument -n: invalid int value: '1.5'"),
    "samples in letters": (
        ["-n", "\x1b[31m\xe9"],
        r"argument -n: invalid int value: '\x1b[31m",
    ),
    "very many digits": (["-n", "9" * 5000], "-n"),
    "no timeout": (["-t", "0"], "-t must be a number from 0.001 to 86400"),
    "a timeout of more than a day": (["-t", "86400.1"], "-t must be a number from 0.001 to 86400"),
    "a timeout that is no number": (["-t", "nan"], "-t must be a number from 0.001 to 86400"),
    "a timeout for ever": (["-t", "1e400"], "-t must be a number from 0.001 to 86400"),
    "a timeout in letters": (["-t", "five"], "argument -t: invalid float value: 'five'"),
    "a negative pause": (["-i-0.1"], "-i must be a number from 0 to 86400"),
    "an endless pause": (["-i", "inf"], "-i must be a number from 0 to 86400"),
    "port 0": (["host", "0"], "the port must be a number from 1 to 65535"),
    "port 65536": (["host", "65536"], "the port must be a number from 1 to 65535"),
    "a negative port": (["host", "-1"], "-1"),
    "a port by name": (["host", "ntp"], "argument port: invalid int value: 'ntp'"),
    "a port with a point": (["host", "1.0"], "argument port: invalid int value: '1.0'"),
    "too many arguments": (["a", "1", "c"], "unrecognized arguments: c"),
    "no such option": (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    "an abbreviation": (["--js"], "unrecognized arguments: --js"),
    "both families": (["-4", "-6"], "argument -6: not allowed with argument -4"),
    "two ways to show it": (["-v", "--json"], "argument --json: not allowed with argument -v"),
    "an option without its value": (["-n"], "argument -n: expected one argument"),
    "a server to decode": (
        ["--decode", "packet.binary", "host"],
        "--decode reads a file and asks no server",
    ),
    "decode and -v": (
        ["--decode", "packet.binary", "-v"],
        "argument -v: not allowed with argument --decode",
    ),
    "decode and JSON": (
        ["--json", "--decode", "packet.binary"],
        "not allowed with argument --json",
    ),
    **{
        f"the server {server}": ([server], f"{server!r}: ")
        for server in (
            "time.example:123",
            "[::1]",
            "[::1]:123",
            "ntp://time.example",
            "ntp://time.example:123/",
            "ntp://[::1]",
            "time.example/",
        )
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
    if words.endswith(": "):  # a server
        assert "name the host alone" in error
        assert ", then the port" in error


@pytest.mark.parametrize(
    "edges",
    [["-n", "1", "-i", "0", "-t", "0.001"], ["-n", "1", "-i", "86400", "-t", "86400"]],
    ids=["least", "most"],
)
def test_the_edges_of_each_range_are_in_it(edges):
    result = patched_client(NOBODY, *edges, "host", "65535")
    assert result.returncode == 1
    assert "cannot resolve 'host'" in result.stderr
    assert "b'host' 1 " in patched_client(NOBODY, "host", "1").stdout


def test_help_shows_every_option_and_its_default():
    result = client("--help")
    assert (result.returncode, result.stderr) == (0, "")
    for text in (
        "-4 ", "-6 ", "-n N", "-i SECONDS", "-t SECONDS", "-v ", "--json ", "--decode FILE",
        "(default: pool.ntp.org)", "(default: 123)", "(default: 1)", "(default: 2)", "(default: 6)",
        "tests/fake_ntp_server.py ./ntp_client.py",
    ):  # fmt: skip
        assert text in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


@pytest.mark.parametrize(
    "order", [["-n", "1", "host", "9"], ["host", "-n", "1", "9"], ["host", "9", "-n", "1"]]
)
def test_options_may_stand_anywhere(order):
    assert patched_client(NOBODY, *order).stdout.startswith("b'host' 9 ")


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
    patch = "def found(*_): raise KeyboardInterrupt\nsocket.getaddrinfo = found"
    result = patched_client(patch, "time.example")
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@needs_full
@pytest.mark.parametrize(
    "buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"]
)
@pytest.mark.parametrize("options", [["--json"], ["-n", "2", "-i", "0"], ["-v"]], ids=" ".join)
def test_a_full_disk_is_reported_once(fake_server, options, buffering):
    server = fake_server()
    with FULL.open("w") as full:
        result = client(
            *options, server.host, server.port, stdout=full, env={**ENVIRONMENT, **buffering}
        )
    assert_one_error_line(result, 1, "cannot write the result: No space left")


@needs_full
def test_a_full_disk_for_stderr_costs_no_sample(fake_server):
    server = fake_server(lambda request: honest(request) if len(server.requests) != 2 else [])
    with FULL.open("w") as full:
        result = client("-n", 3, "-i", 0, "-t", 0.5, server.host, server.port, stderr=full)
    assert result.returncode == 0
    assert "\noverlap " in result.stdout


def test_a_closed_pipe_is_reported(fake_server):
    server = fake_server()
    reader, writer = os.pipe()
    os.close(reader)
    result = client(server.host, server.port, stdout=writer)
    os.close(writer)
    assert_one_error_line(result, 1, "cannot write the result: Broken pipe")


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


def test_decode_of_what_cannot_be_read_is_one_clear_line(tmp_path):
    assert_one_error_line(client("--decode", tmp_path), 1, "cannot read '", "Is a directory")
    assert_one_error_line(client("--decode", tmp_path / "none\x1b"), 1, "No such file", r"\x1b")
    assert client("--decode", TOP / "packet.binary").returncode == 0
