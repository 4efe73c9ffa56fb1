"""Part 3: basics.py, and the data files that the lab comes with."""

import os
import shutil
import struct
import subprocess
import sys

import pytest

from helpers import ENVIRONMENT, TOP, assert_one_error_line, run

resource = pytest.importorskip("resource", reason="the tests are for Linux and macOS")

DATA = "sample_data_file.dat"


def basics(*arguments, **options):
    return run("basics.py", *arguments, **options)


def assert_error(result, *words):
    assert_one_error_line(result, 1, *words, script="basics.py")


def test_it_prints_the_arguments_one_at_a_time_then_joined_then_the_record():
    result = basics("arg1", "5")
    assert result.stdout == "arg1\n5\narg15\n8: 5\n16: 5\n32: 5\n64: 5\nsanity check: passed\n"
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("count", [1, 255, 256, 257, 65535, 65536])
def test_each_width_wraps_where_it_must(count):
    lines = basics("x", count).stdout.splitlines()
    assert lines[3:] == [
        f"8: {count % 256}",
        f"16: {count % 65536}",
        f"32: {count}",
        f"64: {count}",
        "sanity check: passed",
    ]


@pytest.mark.parametrize("text", [" 5 ", "+5", "0_5", "\N{ARABIC-INDIC DIGIT FIVE}"])
def test_an_integer_is_what_int_says_it_is(text):
    assert basics("x", text).stdout.splitlines()[3] == "8: 5"


@pytest.mark.parametrize("arguments", [(), ("one",), ("one", "2", "three")])
def test_other_than_two_arguments_brings_a_usage_line_and_nothing_on_stdout(arguments):
    result = basics(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "usage: basics.py ARGUMENT1 ARGUMENT2\n"


@pytest.mark.parametrize(
    "text",
    ["five", "5.0", "", "0x10", "\x1b[31m", "\udcff", "\xe9" * 5000, "9" * 100_000],
    ids=lambda text: ascii(text)[:20],
)
def test_what_is_not_an_integer_is_refused_after_both_arguments_were_printed(text):
    result = basics("one", text)
    if text.startswith("9") and "not an integer" not in result.stderr:
        assert_error(result, "records 1 to 65536")  # a Python without a limit of 4,300 digits
        return
    assert_error(result, f"not an integer: {ascii(text)[:50]}")
    assert len(result.stderr) < 200
    assert result.stdout.startswith("one\n")
    assert len(result.stdout.splitlines()) == 2


COUNTS = ["0", "-1", "-" + "9" * 4000, "65537", str(2**58), str(2**63), "9" * 4000]


@pytest.mark.parametrize("count", COUNTS, ids=lambda count: count[:20])
def test_there_is_no_record_before_the_first_or_after_the_last(count):
    result = basics("x", count)
    assert_error(result, "sample_data_file.dat has records 1 to 65536")
    assert result.stdout == f"x\n{count}\nx{count}\n"


def test_a_missing_data_file_is_named(tmp_path):
    result = basics("x", "5", cwd=tmp_path)
    assert_error(result, "cannot read the records in this folder: ", "No such file", f"'{DATA}'")
    assert result.stdout == "x\n5\nx5\n"


def test_a_folder_in_its_place_is_an_error(tmp_path):
    (tmp_path / DATA).mkdir()
    assert_error(basics("x", "5", cwd=tmp_path), DATA, "directory")


def test_an_unreadable_data_file_is_an_error(tmp_path):
    (tmp_path / DATA).write_bytes(bytes(16))
    (tmp_path / DATA).chmod(0)
    shutil.copy(TOP / "basics.py", tmp_path)  # the clone itself may be in a folder that is closed
    command = [sys.executable, "basics.py", "x", "1"]
    if os.geteuid() == 0:  # root may read everything, unless it gives that up
        if not shutil.which("setpriv"):
            pytest.skip(
                "root can read every file, and setpriv (Debian package util-linux) is missing"
            )
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    result = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, encoding="utf-8"
    )
    assert_error(result, DATA, "Permission denied")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "records 1 to 0\n"), (bytes(8), "records 1 to 0\n"), (bytes(24), "records 1 to 1\n")],
    ids=["empty", "half a record", "one and a half"],
)
def test_a_record_that_is_cut_off_is_not_there(tmp_path, content, words):
    (tmp_path / DATA).write_bytes(content)
    assert_error(basics("x", "2", cwd=tmp_path), words)


def test_half_a_record_at_the_end_does_not_hide_those_before_it(tmp_path):
    (tmp_path / DATA).write_bytes((TOP / DATA).read_bytes()[:24])
    assert basics("x", "1", cwd=tmp_path).returncode == 0


def test_the_wrong_byte_order_fails_the_sanity_check_and_shows_the_record(tmp_path):
    (tmp_path / DATA).write_bytes(struct.pack("<BxHIQ", 1, 1, 1, 1))
    result = basics("x", "1", cwd=tmp_path)
    assert_error(result, "sanity check failed for record 1: the wrong byte order?")
    assert result.stdout.splitlines()[3:] == [
        "8: 1",
        "16: 256",
        "32: 16777216",
        "64: 72057594037927936",
    ]


@pytest.mark.parametrize("byte", [0, 2, 3, 4, 7, 8, 15])
def test_one_damaged_byte_in_any_value_fails_the_sanity_check(tmp_path, byte):
    record = bytearray((TOP / DATA).read_bytes()[:16])
    record[byte] ^= 0x40
    (tmp_path / DATA).write_bytes(record)
    assert_error(basics("x", "1", cwd=tmp_path), "sanity check failed")


def test_a_record_of_a_64_gib_file_that_wraps_32_bits_is_read_without_reading_the_rest(tmp_path):
    count = 2**32 + 2**31 + 257
    with (tmp_path / DATA).open("wb") as file:
        file.seek(16 * (count - 1))  # what is skipped takes no room on the disk
        file.write(struct.pack(">BxHIQ", count % 2**8, count % 2**16, count % 2**32, count))
    # To read the rest takes many seconds of work, however busy this computer is.
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_CPU, (2, 2))}
    result = basics("x", count, cwd=tmp_path, **limit)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "sanity check: passed")


@pytest.mark.parametrize(
    "locale",
    [
        {},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"},
    ],
    ids=["UTF-8", "ASCII output", "C"],
)
def test_arguments_that_are_no_text_or_not_the_terminals_are_printed_somehow(locale):
    for argument in ("\xe9", "\udcff", "\x1b[0m"):
        result = basics(argument, "5", env={**ENVIRONMENT, **locale})
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.endswith("5\n8: 5\n16: 5\n32: 5\n64: 5\nsanity check: passed\n")


def test_both_data_files_are_what_make_sample_data_writes(tmp_path):
    assert run("tests/make_sample_data.py", cwd=tmp_path).returncode == 0
    for name, size in ((DATA, 2**20), ("packet.binary", 48)):
        assert (tmp_path / name).read_bytes() == (TOP / name).read_bytes()
        assert (TOP / name).stat().st_size == size


def test_the_data_files_hold_what_the_lab_says():
    data = (TOP / DATA).read_bytes()
    assert data[:16] == bytes([1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1])
    assert data[-16:] == bytes([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0])
    assert (TOP / "packet.binary").read_bytes() == b"\x23" + bytes(47)
