"""Part 3: what basics.py promises beyond the handout, and the data files of the lab."""

import os
import shutil
import struct
import subprocess
import sys

import pytest

from helpers import ENVIRONMENT, FULL, TOP, assert_one_error_line, needs_full, run

resource = pytest.importorskip("resource", reason="the tests are for Linux and macOS")

DATA = "sample_data_file.dat"


def basics(*arguments, **options):
    return run("basics.py", *arguments, **options)


def assert_error(result, *words):
    assert_one_error_line(result, 1, *words, script="basics.py")


@pytest.mark.parametrize("count", [5, 255, 256, 257, 65535, 65536])
def test_it_prints_the_arguments_one_at_a_time_then_joined_then_the_record(count):
    result = basics("arg1", count)
    widths = [f"{bits}: {count % 2**bits}" for bits in (8, 16, 32, 64)]
    lines = ["arg1", str(count), f"arg1{count}", *widths, "sanity check: passed"]
    assert (result.returncode, result.stdout.splitlines(), result.stderr) == (0, lines, "")


@pytest.mark.parametrize("text", [" 5 ", "+5", "0_5", "\N{ARABIC-INDIC DIGIT FIVE}"])
def test_an_integer_is_what_int_says_it_is(text):
    assert basics("x", text).stdout.splitlines()[3] == "8: 5"


@pytest.mark.parametrize("arguments", [(), ("one",), ("one", "2", "three")])
def test_other_than_two_arguments_brings_a_usage_line_and_nothing_on_stdout(arguments):
    result = basics(*arguments)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "usage: basics.py ARGUMENT1 ARGUMENT2\n"


@pytest.mark.parametrize("text", ["five", "5.0", "", "0x10", "\x1b[31m", "\udcff"], ids=ascii)
def test_what_is_not_an_integer_is_refused_after_both_arguments_were_printed(text):
    result = basics("one", text)
    assert_error(result, f"error: {text!r} is not an integer\n")
    assert result.stdout == f"one\n{text}\n".replace("\udcff", r"\udcff")


@pytest.mark.parametrize("count", ["0", "-1", "65537", str(2**63), "9" * 4000], ids=len)
def test_there_is_no_record_before_the_first_or_after_the_last(count):
    result = basics("x", count)
    assert_error(result, "sample_data_file.dat has records 1 to 65536\n")
    assert result.stdout == f"x\n{count}\nx{count}\n"


def test_a_data_file_that_is_missing_or_a_folder_is_named(tmp_path):
    assert_error(basics("x", "5", cwd=tmp_path), "in this folder: ", "No such file", f"'{DATA}'")
    (tmp_path / DATA).mkdir()
    assert_error(basics("x", "5", cwd=tmp_path), f"'{DATA}'", "directory")


def test_an_unreadable_data_file_is_an_error(tmp_path):
    (tmp_path / DATA).write_bytes(bytes(16))
    (tmp_path / DATA).chmod(0)
    shutil.copy(TOP / "basics.py", tmp_path)  # the clone itself may be in a folder that is closed
    command = [sys.executable, "basics.py", "x", "1"]
    if os.geteuid() == 0:  # root may read everything, unless it gives that up
        if not shutil.which("setpriv"):
            pytest.skip("root reads every file, and setpriv (Debian package util-linux) is missing")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    options = {"cwd": tmp_path, "env": ENVIRONMENT, "capture_output": True, "encoding": "utf-8"}
    assert_error(subprocess.run(command, **options), DATA, "Permission denied")


@pytest.mark.parametrize(("size", "records"), [(0, 0), (8, 0), (24, 1), (31, 1)])
def test_a_record_that_is_cut_off_is_not_there_and_does_not_hide_the_others(
    tmp_path, size, records
):
    (tmp_path / DATA).write_bytes((TOP / DATA).read_bytes()[:size])
    assert_error(basics("x", "2", cwd=tmp_path), f"records 1 to {records}\n")
    assert (basics("x", "1", cwd=tmp_path).returncode == 0) == bool(records)


def test_the_wrong_byte_order_fails_the_sanity_check_and_shows_the_record(tmp_path):
    (tmp_path / DATA).write_bytes(struct.pack("<BxHIQ", 1, 1, 1, 1))
    result = basics("x", "1", cwd=tmp_path)
    assert_error(result, "sanity check failed for record 1; is the byte order wrong?\n")
    values = "8: 1\n16: 256\n32: 16777216\n64: 72057594037927936\n"
    assert result.stdout == f"x\n1\nx1\n{values}"


def test_record_6442451201_of_a_96_gib_file_is_read_without_reading_the_rest(tmp_path):
    count = 2**32 + 2**31 + 257
    with (tmp_path / DATA).open("wb") as file:
        file.seek(16 * (count - 1))  # what is skipped takes no room on the disk
        file.write(struct.pack(">BxHIQ", count % 2**8, count % 2**16, count % 2**32, count))
    # To read the rest takes many seconds of work, however busy this computer is.
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_CPU, (2, 2))}
    result = basics("x", count, cwd=tmp_path, **limit)
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, "sanity check: passed")


C_LOCALE = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}


@pytest.mark.parametrize("locale", [{}, {"PYTHONIOENCODING": "ascii"}, C_LOCALE], ids=len)
def test_arguments_that_are_no_text_or_not_the_terminals_are_printed_somehow(locale):
    for argument in ("\xe9", "\udcff", "\x1b[0m"):
        result = basics(argument, "5", env={**ENVIRONMENT, **locale})
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.endswith("5\n8: 5\n16: 5\n32: 5\n64: 5\nsanity check: passed\n")


@needs_full
@pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}], ids=len)
def test_a_full_disk_or_a_closed_output_is_an_error_and_no_traceback(unbuffered):
    environment = {**ENVIRONMENT, **unbuffered}
    with FULL.open("w") as full:
        result = basics("x", "5", stdout=full, env=environment)
    assert "No space left" in result.stderr
    closed = basics("x", "5", stdout=None, env=environment, preexec_fn=lambda: os.close(1))
    for failed in (result, closed):
        assert failed.returncode != 0
        assert "Traceback" not in failed.stderr


def test_both_data_files_hold_what_the_lab_says_and_make_sample_data_writes(tmp_path):
    assert run("tests/make_sample_data.py", cwd=tmp_path).returncode == 0
    for name in (DATA, "packet.binary"):
        assert (tmp_path / name).read_bytes() == (TOP / name).read_bytes()
    data = (TOP / DATA).read_bytes()
    assert len(data) == 2**20
    assert data[:16] == bytes([1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1])
    assert data[-16:] == bytes([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0])
    assert (TOP / "packet.binary").read_bytes() == b"\x23" + bytes(47)
