"""Test a solution to parts 2, 3 and 5, ours or a student's, against the handout.

    tests/run tests/test_lab.py                                our own three scripts
    tests/run tests/test_lab.py --lab ../submissions/team7     the scripts in a student's folder

Nothing runs in the folder itself; each test has a copy. Part 5 may be called as the student likes
(see CALLS), and may print the offset in any words (see offsets.py). Test names and messages are
for a teacher, who may change them.
"""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import pytest

from fake_ntp_server import honest, reply_to, timestamp
from helpers import ENVIRONMENT, SECOND, TOP
from offsets import find_offset

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests are for Linux and macOS")
DATA = "sample_data_file.dat"
NOT_HANDED_IN = (".*", "__pycache__", "venv", "tests")


@pytest.fixture
def folder(pytestconfig, tmp_path):
    """Return a copy of the solution's folder, with our data file."""
    lab = pytestconfig.getoption("--lab") or TOP
    copy = tmp_path / "lab"
    shutil.copytree(lab, copy, symlinks=True, ignore=shutil.ignore_patterns(*NOT_HANDED_IN))
    shutil.copy(TOP / DATA, copy)
    return copy


Result = namedtuple("Result", "text status traceback")  # traceback: whether there is one


def run(folder, script, *arguments, seconds=30, **environment):
    """Run a script of the solution, and return a Result; fail if there is no such script."""
    if not (folder / script).is_file():
        pytest.fail(f"there is no {script} in this folder", pytrace=False)
    process = subprocess.Popen(
        [sys.executable, f"./{script}", *map(str, arguments)],
        cwd=folder,
        env={**ENVIRONMENT, "TZ": "UTC0", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"{script} did not end in {seconds} s. It printed: {out}{err}", False)
    return Result(out + err, process.returncode, "Traceback (most recent call last)" in err)


def require(condition, text, result=None):
    """Fail with this text, and what the script has printed, unless the condition holds."""
    if not condition:
        printed = f"\nIt printed:\n{result.text or '(nothing)'}" if result else ""
        pytest.fail(f"{text}{printed}", pytrace=False)


@pytest.mark.parametrize("script", ["goodbye.py", "basics.py", "ntp_client.py"])
def test_mark_the_file_as_executable_so_that_you_can_run_it_as_a_program(folder, script):
    path = folder / script
    require(path.is_file(), f"there is no {script} in this folder")
    first_line = path.read_bytes().split(b"\n")[0]
    require(first_line.startswith(b"#!"), f"the first line of {script} does not start with #!")
    require(b"python" in first_line, f"the first line of {script} does not name python")
    require(b"\r" not in first_line, f"{script} has Windows line endings (CR LF)")
    require(path.stat().st_mode & 0o100, f"{script} is not marked as executable (chmod +x)")


# ---- Part 2


def test_part_2_prints_goodbye_world(folder):
    result = run(folder, "goodbye.py")
    require(result.text.strip() == "Goodbye World", "goodbye.py must print Goodbye World", result)


# ---- Part 3


def basics(folder, *arguments):
    """Run basics.py; fail if it ends with a traceback."""
    result = run(folder, "basics.py", *arguments)
    require(not result.traceback, f"basics.py {' '.join(arguments)} ends with a traceback", result)
    return result


def shape(result):
    """Return the status and the text without numbers, the same for any two good records."""
    numbers = r"b'[^']*'|b\"[^\"]*\"|(?:0x[0-9a-f]+|\b[0-9a-f]+\b|\d[\d,]*)(?:st|nd|rd|th)?"
    text = re.sub(r"N(?:,N)+", "N", re.sub(numbers, "N", result.text.lower()))
    return result.status, text.split()


def damaged(folder, record, byte):
    """Flip a bit in this byte of this record of the data file."""
    data = bytearray((TOP / DATA).read_bytes())
    data[16 * (record - 1) + byte] ^= 0x40
    (folder / DATA).write_bytes(data)


def test_part_3_prints_the_two_arguments_one_at_a_time(folder):
    result = basics(folder, "hello", "13")
    lines = result.text.split("hello13")[0].splitlines()  # before onestring
    firsts = {at for at, line in enumerate(lines) if re.search(r"\bhello\b", line)}
    seconds = {at for at, line in enumerate(lines) if re.search(r"\b13\b", line)}
    require(firsts and seconds, "the two arguments, hello and 13, are not printed", result)
    one_at_a_time = firsts - seconds and seconds - firsts
    require(one_at_a_time, "hello and 13 are not printed one at a time", result)


def test_part_3_concatenates_the_two_arguments_and_prints_onestring(folder):
    result = basics(folder, "hello", "13")
    require("hello13" in result.text, "hello and 13 are not concatenated as hello13", result)


@pytest.mark.parametrize("arguments", [[], ["7"], ["7", "7", "omega"]], ids=len)
def test_part_3_exits_immediately_without_two_arguments(folder, arguments):
    result = basics(folder, *arguments)
    went_on = "77" in result.text or shape(basics(folder, "7", "7")) == shape(result)
    require(not went_on, f"basics.py must exit (arguments: {len(arguments)})", result)


@pytest.mark.parametrize("text", ["five", "5.7"])
def test_part_3_prints_an_error_message_if_the_second_argument_is_not_an_integer(folder, text):
    result = basics(folder, "alpha", text)
    require(f"alpha{text}" not in result.text, f"basics.py takes {text} as an integer", result)
    echo = basics(folder, "alpha", "5").text.replace("5", text).splitlines()
    message = [line for line in result.text.splitlines() if line.strip() and line not in echo]
    require(message, f"there is no error message for the non-integer {text}", result)


@pytest.mark.parametrize("count", ["1", "13", "256", "3338", "65536"])
def test_part_3_reads_the_target_record_in_binary_mode(folder, count):
    expected, result = basics(folder, "arg", "5"), basics(folder, "arg", count)
    hint = "is the file read in binary mode and as big-endian?"
    require(
        shape(result) == shape(expected),
        f"the output for record {count} differs in form from record 5's; {hint}"
        f"\nFor record 5, it printed:\n{expected.text}",
        result,
    )


@pytest.mark.parametrize(("width", "byte"), [(8, 0), (16, 3), (32, 4), (64, 15)])
def test_part_3_does_a_sanity_check_as_in_lab_9(folder, width, byte):
    right = basics(folder, "arg", "258")
    damaged(folder, 258, byte)
    result = run(folder, "basics.py", "arg", "258")  # a traceback of assert is a check, too
    require(
        shape(result) != shape(right),
        f"the {width}-bit value of record 258 was damaged, and the output says the same as before: "
        "either the value is not checked, or good records are rejected, too",
        result,
    )


@pytest.mark.parametrize("record", [257, 259])
def test_part_3_skips_over_count_minus_1_records(folder, record):
    right = basics(folder, "arg", "258")
    for byte in (0, 15):
        damaged(folder, record, byte)
        result = basics(folder, "arg", "258")
        require(
            result.text == right.text,
            f"record {record} was damaged, and basics.py says so when it is asked for record 258",
            result,
        )


# ---- Part 5

# How the client may be called. The first is the handout's own; redirect/sitecustomize.py replaces a
# hard-coded server, such as pool.ntp.org on port 123, with the fake one.
CALLS = {
    "without arguments": lambda host, port: [],
    "with host and port": lambda host, port: [host, port],
    "with a host": lambda host, port: [host],
    "with --server and --port": lambda host, port: ["--server", host, "--port", port],
}
TOLERANCE = 0.1  # s, since this computer may be busy


@pytest.fixture
def client(folder, fake_server, worker_calls):
    """Return a function that runs the client against a server with this behaviour."""

    def start(call, server, seconds=30, **environment):
        arguments = CALLS[call](server.host, server.port)
        path = str(TOP / "tests/redirect")
        options = {"PYTHONPATH": path, "LAB_PORT": str(server.port), **environment}
        return run(folder, "ntp_client.py", *arguments, seconds=seconds, **options)

    def find_call():
        for call in CALLS:
            server = fake_server(lambda request: honest(request, 7777 * SECOND))
            result = start(call, server)
            if server.requests:
                return call, find_offset(result.text)
            for packet in server.ignored:
                first = f"its first byte is 0x{packet[0]:02x}" if packet else "it is empty"
                rule = "a request has 48 bytes, mode 3 (client) and a version from 1 to 4"
                pytest.fail(f"no NTP server answers this client's packet: {first}; {rule}", False)
        ways = ", ".join(CALLS)
        require(False, f"ntp_client.py asks no server when called {ways}", result)

    def client(behaviour, **options):
        if "call" not in worker_calls:
            worker_calls["call"], worker_calls["first"] = find_call()
        client.first = worker_calls["first"]
        server = fake_server(behaviour)
        return start(worker_calls["call"], server, **options), server

    return client


@pytest.fixture(scope="module")
def worker_calls():
    """Return a dict that remembers how to call the client."""
    return {}


def guess(found, expected, behaviour, zone):
    """Return a possible reason for a wrong offset, or nothing."""
    error = found - expected
    if abs(found + expected) < TOLERANCE < abs(expected):
        return " (is the sign RFC 5905's, server minus client?)"
    if zone and abs(error - round(error / 1800) * 1800) < 1:
        return " (is local time taken for UTC?)"
    for unit, factor in (("milliseconds", 1000), ("microseconds", 10**6)):
        if abs(expected) > 0.2 and abs(found * factor - expected) < TOLERANCE:
            return f" (the number is in seconds, but is called {unit})"
    if abs(error) > 2e9:
        return " (are seconds since 1900 taken for seconds since 1970?)"
    if abs(error) < 1.1 and behaviour == "prompt":
        return " (is the fraction used?)"
    if abs(error) < 1.1:
        return " (are all four times used, T1 to T4?)"
    return ""


def check_offset(client, behaviour, expected, kind="prompt", zone=False, must=True, **environment):
    """Run the client once, and fail unless the offset that it prints is the expected one.

    If must is False, no offset is needed, but any that is printed must be right.
    """
    result, _ = client(behaviour, **environment)
    require(not result.traceback, "ntp_client.py ends with a traceback", result)
    found = find_offset(result.text)
    if not found and not must:
        return
    require(
        found,
        "no offset was found; print it before, after or below the word offset, discrepancy or "
        "difference, or alone on the last line",
        result,
    )
    seconds = found.seconds
    if found.kind == "words":  # the words are the sign
        seconds, expected = abs(seconds), abs(expected)
    elif found.kind == "own" and client.first and client.first.seconds < -7000:
        seconds = -seconds  # client minus server, throughout
    require(
        abs(seconds - expected) <= TOLERANCE,
        f"the offset is {seconds:.6g} s; it should be {expected:g} s"
        + guess(seconds, expected, kind, zone),
        result,
    )


@pytest.mark.parametrize("offset", [0, 3600, -1800, 0.25])
def test_part_5_determines_the_discrepancy_between_your_computer_and_the_server(client, offset):
    for _ in range(3):  # a forgotten fraction may be small by chance
        check_offset(client, lambda request: honest(request, round(offset * SECOND)), offset)


WAIT = 0.8  # s, less than any time limit that a student may set


def slow_way_back(request):
    reply = reply_to(request)
    time.sleep(WAIT)
    return [reply]


def slow_way_there(request):
    time.sleep(WAIT)
    now = timestamp(time.time_ns())
    return [reply_to(request, receive=now, transmit=now)]


def slow_server(request):
    time.sleep(WAIT)
    return [reply_to(request)]


@pytest.mark.parametrize(
    ("behaviour", "offset"),
    [(slow_way_back, -WAIT / 2), (slow_way_there, WAIT / 2), (slow_server, 0)],
    ids=["slow way back", "slow way there", "slow server"],
)
def test_part_5_uses_all_four_times_as_the_ntp_protocol_does(client, behaviour, offset):
    check_offset(client, behaviour, offset, kind="slow")


def test_part_5_is_right_in_another_time_zone(client):
    new_york = "EST5EDT,M3.2.0,M11.1.0"  # America/New_York, even without a time zone database
    check_offset(client, honest, 0, zone=True, TZ=new_york)


def test_part_5_sends_a_request_that_any_server_accepts(client):
    _, server = client(honest)
    for packet in [request.data for request in server.requests] + server.ignored:
        version, mode = packet[0] >> 3 & 7, packet[0] & 7
        require(mode == 3, f"the request has mode {mode}; it should be 3 (client)")
        require(version in (3, 4), f"the request has version {version}; it should be 3 or 4")
        require(len(packet) == 48, f"the request has {len(packet)} bytes; it should have 48")


def test_part_5_reads_or_refuses_a_reply_that_is_longer_than_48_bytes(client):
    def longer(request):
        return [reply_to(request) + bytes(20)]

    check_offset(client, longer, 0, must=False)  # the handout says that there is no such reply


@pytest.mark.parametrize("size", [None, 20, 0], ids=["silence", "20 bytes", "0 bytes"])
def test_part_5_ends_without_a_traceback_if_there_is_no_proper_reply(client, size):
    result, _ = client(
        lambda request: [] if size is None else [reply_to(request)[:size]], seconds=10
    )
    require(not result.traceback, "ntp_client.py ends with a traceback", result)


def imports(folder):
    """Return the names of all modules that the solution's scripts import."""
    names = set()
    for path in folder.rglob("*.py"):
        try:
            tree = ast.parse(path.read_bytes(), path.name)
        except SyntaxError:  # an old draft, perhaps
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.Call) and "import" in ast.dump(node.func):
                names |= {one.value for one in node.args if isinstance(one, ast.Constant)}
    return names


def test_part_5_does_not_use_ntplib_but_the_lower_level_socket_module(folder):
    require((folder / "ntp_client.py").is_file(), "there is no ntp_client.py in this folder")
    imported = imports(folder)
    require("ntplib" not in imported, "ntplib is imported: zero points will be awarded")
    require("socket" in imported, "the socket module is not imported")


# ---- Beyond the handout: what a careful client also does (not graded)


@pytest.mark.beyond
def test_part_5_beyond_takes_no_time_from_a_kiss_of_death(client):
    result, _ = client(
        lambda request: [reply_to(request, stratum=0, leap=3, reference_id=b"RATE", receive=0)]
    )
    require(not result.traceback, "ntp_client.py ends with a traceback", result)
    require(not find_offset(result.text), "an offset is printed", result)


@pytest.mark.beyond
def test_part_5_beyond_ignores_a_reply_to_another_request(client):
    def foreign(request):
        forged = reply_to(request, 9999 * SECOND, originate=1)
        return [forged, reply_to(request)]

    check_offset(client, foreign, 0)


@pytest.mark.beyond
def test_part_5_beyond_works_after_the_seconds_wrap_around_in_2036(client):
    years = 15 * 365 * 86400
    check_offset(client, lambda request: honest(request, years * SECOND), years)
