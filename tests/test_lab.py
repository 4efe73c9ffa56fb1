"""Test a solution to parts 2, 3 and 5, ours or a student's, against the handout.

    tests/run tests/test_lab.py                                our own three scripts
    tests/run tests/test_lab.py --lab ../submissions/team7     the scripts in a student's folder

The tests run copies, and change nothing in the folder itself. The client may be called in any way
listed in CALLS, and may print the offset in any form that offsets.py knows. Teachers may reword
test names and messages.
"""

import ast
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest

from fake_ntp_server import SECONDS_1900_TO_1970, FakeServer, honest, reply_to
from helpers import ENVIRONMENT, SECOND, TOP
from offsets import find_offset

DATA, REQUEST = "sample_data_file.dat", "packet.binary"
IGNORED = shutil.ignore_patterns(".*", "__pycache__", "venv", "tests", DATA, REQUEST)


def copy_of_lab(config, path):
    """Copy the solution's folder, with our data files, to a new folder in path; return that."""
    lab = config.getoption("--lab") or TOP
    folder = shutil.copytree(lab, path / "lab", symlinks=True, ignore=IGNORED)
    folder.chmod(0o755)
    for name in (DATA, REQUEST):  # never the student's own: some tests damage records of ours
        shutil.copyfile(TOP / name, folder / name)
    return folder


@pytest.fixture
def folder(pytestconfig, tmp_path):
    """Return a copy of the solution's folder, with our data files."""
    return copy_of_lab(pytestconfig, tmp_path)


Result = namedtuple("Result", "text status problem")  # problem: how the script ended badly, or None


def run(folder, script, *arguments, seconds=30, **environment):
    """Run a script of the solution, and return a Result; fail if there is no such script."""
    require((folder / script).is_file(), f"there is no {script} in this folder")
    process = subprocess.Popen(
        [sys.executable, f"./{script}", *map(str, arguments)],
        cwd=folder,
        env={**ENVIRONMENT, "TZ": "UTC0", "PYTHONWARNINGS": "ignore", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    problem = None
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        problem = f"had to be stopped, because it did not end within {seconds} s"
    if re.search('^(Traceback|  File ")', err, re.MULTILINE):
        problem = "ended with a traceback"
    return Result(out + err, process.returncode, problem)


def require(condition, text, result=None):
    """Fail the test with this text and the script's output unless the condition holds."""
    if not condition:
        printed = f"\nIt printed:\n{result.text or '(nothing)'}" if result else ""
        pytest.fail(f"{text}{printed}", pytrace=False)


@pytest.mark.parametrize("script", ["goodbye.py", "basics.py", "ntp_client.py"])
def test_the_script_can_be_run_as_a_program(folder, script):
    path = folder / script
    require(path.is_file(), f"there is no {script} in this folder")
    first_line = path.read_bytes().split(b"\n")[0]
    require(first_line.startswith(b"#!"), f"the first line of {script} does not start with #!")
    require(b"\r" not in first_line, f"{script} has Windows line endings (CR LF)")
    python = rb"#!\s*/\S*(/env\s+(-S\s+)?|/)python3[\d.]*(\s+-.*)?\s*"
    require(re.fullmatch(python, first_line), f"the first line of {script} does not name python3")
    require(path.stat().st_mode & 0o100, f"{script} is not marked as executable (chmod +x)")


# ---- Part 2


def test_part_2_prints_goodbye_world(folder):
    result = run(folder, "goodbye.py")
    require(result.text.strip() == "Goodbye World", "goodbye.py must print Goodbye World", result)


# ---- Part 3


def basics(folder, *arguments):
    """Run basics.py, and return a Result without times of day, which a log may have."""
    result = run(folder, "basics.py", *arguments)
    return result._replace(text=re.sub(r"\d\d:\d\d:\d\d([.,]\d+)?", "", result.text))


def shape(result):
    """Return the status, and the text with N for each number: the same for any two good records."""
    # Bytes, hexadecimal, decimal with commas and ordinals; "0,256,256" and "65,536" both become N.
    numbers = r"b'[^']*'|b\"[^\"]*\"|(?:0x[0-9a-f]+|\b[0-9a-f]+\b|\d[\d,]*)(?:st|nd|rd|th)?"
    text = re.sub(r"N(?:,N)+", "N", re.sub(numbers, "N", result.text.lower()))
    return result.status, text.split()


def damage(folder, record, *places):
    """Flip a bit in these bytes of this record of the data file."""
    data = bytearray((TOP / DATA).read_bytes())
    for place in places:
        data[16 * (record - 1) + place] ^= 0x40
    (folder / DATA).write_bytes(data)


def one_at_a_time(text, first, second):
    """Return whether one line of text has only the first word, and another only the second."""
    lines = [re.findall(rf"\b(?:{first}|{second})\b", line) for line in text.splitlines()]
    return [first] in lines and [second] in lines


def test_part_3_prints_the_two_arguments_one_at_a_time(folder):
    result = basics(folder, "hello", "13")
    before_onestring = result.text.split("hello13")[0]
    printed = one_at_a_time(before_onestring, "hello", "13")
    require(printed, "the arguments hello and 13 are not printed one at a time", result)


def test_part_3_concatenates_the_two_arguments_and_prints_onestring(folder):
    result = basics(folder, "hello", "13")
    require(
        "hello13" in result.text, "hello13, both arguments concatenated, is not printed", result
    )


@pytest.mark.parametrize("arguments", [[], ["8128"], ["8128", "8128", "omega"]], ids=len)
def test_part_3_exits_immediately_unless_there_are_two_arguments(folder, arguments):
    result = basics(folder, *arguments)
    require(not result.problem, f"basics.py {result.problem}", result)
    went_on = "81288128" in result.text or one_at_a_time(result.text, "8128", "omega")
    went_on = went_on or shape(result) == shape(basics(folder, "8128", "8128"))
    text = f"basics.py did not exit immediately; number of arguments: {len(arguments)}"
    require(not went_on, text, result)


@pytest.mark.parametrize("text", ["five", "5.7"])
def test_part_3_prints_an_error_message_if_the_second_argument_is_not_an_integer(folder, text):
    good, result = basics(folder, "alpha", "5"), basics(folder, "alpha", text)
    require(not result.problem, f"basics.py {result.problem}", result)
    as_five = result._replace(text=result.text.replace(text, "5"))
    require(shape(as_five) != shape(good), f"basics.py takes {text} as an integer", result)
    lines = as_five.text.splitlines()
    messages = [at for at, line in enumerate(lines) if line not in ["", *good.text.splitlines()]]
    require(messages, f"no error message is printed for {text}, which is not an integer", result)
    went_on = "alpha5" in "\n".join(lines[messages[0] + 1 :])
    require(not went_on, f"basics.py did not exit, although {text} is not an integer", result)


@pytest.mark.parametrize("count", ["1", "13", "256", "3338", "65535", "65536"])
def test_part_3_reads_the_target_record_in_binary_mode(folder, count):
    expected, result = basics(folder, "arg", "5"), basics(folder, "arg", count)
    hint = "is the file opened in binary mode, and are the values big-endian and unsigned?"
    require(not result.problem, f"basics.py {result.problem}; {hint}", result)
    require(
        shape(result) == shape(expected),
        f"records 5 and {count} are good, but the outputs differ in more than numbers; {hint}"
        f"\nFor record 5, it printed:\n{expected.text}",
        result,
    )


@pytest.fixture
def record_258(folder):
    """Return the Result for record 258; skip the test if the script ended badly."""
    result = basics(folder, "arg", "258")
    if result.problem:
        pytest.skip("no record is read: see test_part_3_reads_the_target_record...")
    return result


# In the last, all values are 322 (the 8-bit one is 322 - 256): they agree, but not with 258.
DAMAGED = {"8-bit": [0], "16-bit": [3], "32-bit": [4], "64-bit": [15], "every": [0, 3, 7, 15]}


def test_part_3_does_a_sanity_check_as_in_lab_9(folder, record_258):
    unseen = []
    for value, places in DAMAGED.items():
        damage(folder, 258, *places)
        result = basics(folder, "arg", "258")  # a failed assert also counts as a check
        if shape(result) == shape(record_258):
            unseen.append(value)
    require(
        not unseen,
        f"damage to record 258 is not noticed in these values: {', '.join(unseen)}; is each "
        "compared with count, is the record the right one, and do good records pass?",
        result,
    )


@pytest.mark.parametrize("record", [257, 259])
def test_part_3_skips_over_count_minus_1_records(folder, record_258, record):
    damage(folder, record, 0, 15)
    result = basics(folder, "arg", "258")
    require(
        result.text == record_258.text,
        f"damage to record {record} changes the output for record 258; "
        "are exactly count - 1 records skipped?",
        result,
    )


# ---- Part 5

# How the client may be called. The first is the handout's own; redirect/sitecustomize.py replaces a
# hard-coded server, such as pool.ntp.org on port 123, with the fake one.
CALLS = ["", "HOST", "HOST PORT", "--server HOST", "--server HOST --port PORT"]
TOLERANCE = 0.1  # s, since this computer may be busy
WAIT = 0.5  # s, shorter than the usual time limits of 1 s or more


def ask(folder, call, behaviour, seconds=30, **environment):
    """Call the client so that it asks a server; return a Result and the packets that it sent."""
    path = str(TOP / "tests/redirect")
    # Accept whatever reply_to() can read, so that a wrong request fails the test of the request.
    with FakeServer(behaviour, accepts=lambda data: len(data) >= 3) as server:
        port = str(server.port)
        arguments = call.replace("HOST", server.host).replace("PORT", port).split()
        options = {"PYTHONPATH": path, "LAB_PORT": port, "seconds": seconds, **environment}
        result = run(folder, "ntp_client.py", *arguments, **options)
    return result, [request.data for request in server.requests] + server.ignored


# call: the first of CALLS with which the client asks its server, or None. result: of that call, or
# else of the first. offset: the Offset found when the server is ahead by 7777 s, or None.
FirstRun = namedtuple("FirstRun", "call result offset")


@pytest.fixture(scope="module")
def first_run(pytestconfig, tmp_path_factory):
    """Find out how to call the client, and return a FirstRun."""
    folder = copy_of_lab(pytestconfig, tmp_path_factory.mktemp("first"))
    results = []
    for call in CALLS if (folder / "ntp_client.py").is_file() else []:
        result, packets = ask(folder, call, lambda request: honest(request, 7777 * SECOND))
        if packets:
            return FirstRun(call, result, find_offset(result.text))
        results.append(result)
    return FirstRun(None, results[0] if results else None, None)


@pytest.fixture
def client(folder, first_run):
    """Return a function that runs the client against a server with a given behaviour."""
    if first_run.call is None:
        pytest.skip("the client asks no server: see test_part_5_queries_the_current_time...")
    return functools.partial(ask, folder, first_run.call)


def guess(found, expected, scene):
    """Return a possible reason for a wrong offset, in parentheses, or nothing."""
    error, years = abs(found - expected), SECONDS_1900_TO_1970
    half_hours = round(error / 1800)
    zone = scene == "zone" and 0 < half_hours <= 28 and abs(error - half_hours * 1800) < 1
    unit = any(abs(found * factor - expected) < TOLERANCE for factor in (1000, 10**6))
    waited = min(abs(error - WAIT), abs(error - WAIT / 2)) < TOLERANCE
    reasons = [  # the most certain first
        (abs(found - 2 * expected) < 0.05 < abs(expected), "is the sum divided by 2?"),
        (abs(found + expected) < 0.02 < abs(expected), "is the sign wrong or missing?"),
        (zone, "is local time taken for UTC?"),
        (abs(expected) > 0.2 and unit, "is the number in the unit that is printed?"),
        (min(abs(error - years), abs(error - years / 2)) < 86400, "is 1900 taken for 1970?"),
        (error > 10**7, "are the right words read, as unsigned and big-endian?"),
        (error > 80000, f"are 1900 and 1970 {years} s apart?"),
        (min(abs(error - 5), abs(error - 10)) < 0.05, "is the right timestamp read?"),
        (scene == "slow" and waited, "are all four times used, T1 to T4?"),
        (scene == "prompt" and error < 4.4, "is the fraction used, in units of 1/2^32 s?"),
    ]
    return next((f" ({reason})" for likely, reason in reasons if likely), "")


@pytest.fixture
def check_offset(client, first_run):
    """Return a function that runs the client, and fails unless it prints the expected offset."""

    def check_offset(behaviour, expected, scene="prompt", **environment):
        if not first_run.offset:
            pytest.skip("no offset is found: see test_part_5_queries_the_current_time...")
        if scene != "prompt" and abs(abs(first_run.offset.seconds) - 7777) > 1:
            pytest.skip("the offset is always wrong: see test_part_5_determines_the_discrepancy...")
        result, _ = client(behaviour, **environment)
        require(not result.problem, f"ntp_client.py {result.problem}", result)
        found = find_offset(result.text)
        require(found, "no offset is found", result)
        seconds = found.seconds
        if found.kind == "own" and first_run.offset.seconds < 0:
            seconds = -seconds  # the student's sign is client minus server, throughout
        require(
            abs(seconds - expected) <= TOLERANCE,
            f"the offset was read as {seconds:.6g} s (server minus client); it should be "
            f"{expected:g} s" + guess(seconds, expected, scene),
            result,
        )

    return check_offset


def test_part_5_queries_the_current_time_and_prints_the_discrepancy(folder, first_run):
    call, result, offset = first_run
    require((folder / "ntp_client.py").is_file(), "there is no ntp_client.py in this folder")
    tried = ", ".join(f"./ntp_client.py {call}".strip() for call in CALLS)
    require(call is not None, f"no server is asked by any of: {tried}; see the first", result)
    require(not result.problem, f"ntp_client.py {result.problem}", result)
    require(
        offset,
        "no offset is found; print it before, after or below the word offset, discrepancy or "
        "difference, or alone on a line",
        result,
    )


@pytest.mark.parametrize("offset", [0, 3600, -1800, 0.25])
def test_part_5_determines_the_discrepancy_between_your_computer_and_the_server(
    check_offset, offset
):
    check_offset(lambda request: honest(request, round(offset * SECOND)), offset)


def slow_way_there(request):
    time.sleep(WAIT)
    return honest(request._replace(arrived=time.time_ns()))


def slow_server(request):
    time.sleep(WAIT)
    return honest(request)


def slow_way_back(request):
    reply = honest(request)
    time.sleep(WAIT)
    return reply


@pytest.mark.parametrize(
    ("behaviour", "offset"),
    [(slow_way_back, -WAIT / 2), (slow_way_there, WAIT / 2), (slow_server, 0)],
    ids=["slow way back", "slow way there", "slow server"],
)
def test_part_5_uses_all_four_times_as_the_ntp_protocol_does(check_offset, behaviour, offset):
    check_offset(behaviour, offset, scene="slow")


def test_part_5_is_right_in_another_time_zone(check_offset):
    new_york = "EST5EDT,M3.2.0,M11.1.0"  # America/New_York, even without a time zone database
    check_offset(honest, 0, scene="zone", TZ=new_york)


def test_part_5_sends_a_request_that_any_server_accepts(client):
    _, packets = client(honest)
    for packet in packets:
        require(len(packet) == 48, f"the request has {len(packet)} bytes; it should have 48")
        version, mode = packet[0] >> 3 & 7, packet[0] & 7
        require(mode == 3, f"the request has mode {mode}; it should be 3 (client)")
        require(version in (3, 4), f"the request has version {version}; it should be 3 or 4")


def imports(path):
    """Return the names of the modules that this file imports."""
    names = set()
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # an old draft, perhaps
        return names
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Call) and "import" in ast.dump(node.func):
            # __import__("x") or import_module("x")
            names |= {str(one.value) for one in node.args if isinstance(one, ast.Constant)}
    return {name.split(".")[0] for name in names}


@pytest.mark.filterwarnings("ignore")  # those of ast.parse(), such as about the backslash in "\-"
def test_part_5_does_not_use_ntplib_but_the_lower_level_socket_module(folder):
    where = {name: path.name for path in folder.rglob("*.py") for name in imports(path)}
    text = f"{where.get('ntplib')} imports ntplib: zero points will be awarded"
    require("ntplib" not in where, text)
    require("socket" in where, "the socket module is not imported")


# ---- Beyond the handout: what a careful client also does (not graded)


@pytest.mark.beyond
def test_part_5_beyond_reads_a_reply_that_is_longer_than_48_bytes(check_offset):
    check_offset(lambda request: [reply_to(request) + bytes(20)], 0)


NO_PROPER_REPLY = {
    "there is no reply": lambda request: [],
    "the reply has 20 bytes": lambda request: [reply_to(request)[:20]],
    "the reply has 0 bytes": lambda request: [b""],
}


@pytest.mark.beyond
def test_part_5_beyond_ends_without_a_traceback_if_there_is_no_proper_reply(client):
    with ThreadPoolExecutor() as pool:  # all at once, because the client may wait for seconds
        runs = pool.map(lambda behaviour: client(behaviour, seconds=10), NO_PROPER_REPLY.values())
        for what, (result, _) in zip(NO_PROPER_REPLY, runs):
            require(not result.problem, f"if {what}, ntp_client.py {result.problem}", result)


@pytest.mark.beyond
def test_part_5_beyond_takes_no_time_from_a_kiss_o_death(client):
    result, _ = client(
        lambda request: [reply_to(request, stratum=0, leap=3, reference_id=b"RATE", receive=0)]
    )
    require(not result.problem, f"ntp_client.py {result.problem}", result)
    require(
        not find_offset(result.text),
        "an offset is printed, but the server sent no time",
        result,
    )


@pytest.mark.beyond
def test_part_5_beyond_ignores_a_reply_to_another_request(check_offset):
    def foreign(request):
        forged = reply_to(request, 9999 * SECOND, originate=1)
        return [forged, reply_to(request)]

    check_offset(foreign, 0)


@pytest.mark.beyond
def test_part_5_beyond_works_after_the_seconds_wrap_around_in_2036(check_offset):
    years = 15 * 365 * 86400  # to about 2041
    check_offset(lambda request: honest(request, years * SECOND), years)
