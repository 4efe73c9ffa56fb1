"""tests/run: that it says in a line what keeps it from running, and mends what is broken."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import ENVIRONMENT, TOP

FAKE_PYTHON = """#!/bin/sh
case "$*" in
*"import ensurepip"*) exit {ensurepip} ;;
*"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && exit 0 ;;
*"-m pip"*) echo "ERROR: no network here"; exit {pip} ;;
*"fcntl"*) exec {python} "$@" ;;
*"-m pytest"*) echo "pytest ran" ;;
esac
"""


class Copy:
    """A copy of tests/run, with a python3 that makes venvs in no time, or fails as it is told."""

    def __init__(self, top):
        self.tests = top / "tests"
        self.python = top / "bin" / "python3"
        for folder in (self.tests, self.python.parent):
            folder.mkdir()
        for name in ("run", "requirements.txt"):
            shutil.copy(TOP / "tests" / name, self.tests)
        environment = {**ENVIRONMENT, "PATH": f"{self.python.parent}:{os.environ['PATH']}"}
        self.options = {"env": environment, "encoding": "utf-8"}
        self.break_python()

    def break_python(self, **broken):
        """Say with which status making a venv (ensurepip) or installing (pip) fails."""
        statuses = {"ensurepip": 0, "pip": 0, **broken}
        self.python.write_text(FAKE_PYTHON.format(python=sys.executable, **statuses))
        self.python.chmod(0o755)

    def run(self, *before):
        command = [*before, self.tests / "run"]
        return subprocess.run(command, capture_output=True, timeout=60, **self.options)

    def names(self):
        return sorted(path.name for path in self.tests.iterdir())


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


def test_it_makes_the_venv_once_and_leaves_nothing_else(copy):
    for _ in range(2):
        result = copy.run()
        assert (result.returncode, result.stdout, result.stderr) == (0, "pytest ran\n", "")
    assert copy.names() == [".venv", "requirements.txt", "run"]


def test_it_makes_the_venv_again_when_its_python_is_gone_or_the_requirements_have_changed(copy):
    assert copy.run().returncode == 0
    (copy.tests / ".venv" / "bin" / "python").unlink()
    assert copy.run().stdout == "pytest ran\n"
    (copy.tests / "requirements.txt").write_text("pytest==1\n")
    assert copy.run().stdout == "pytest ran\n"
    assert (copy.tests / ".venv" / "requirements.txt").read_text() == "pytest==1\n"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (
            {"ensurepip": 1},
            "python3 has no venv; on Debian and Ubuntu: apt-get install python3-venv",
        ),
        ({"pip": 1}, "it needs the network: ERROR: no network here"),
    ],
    ids=["no venv", "no network"],
)
def test_what_is_missing_is_said_in_a_line(copy, broken, words):
    copy.break_python(**broken)
    result = copy.run()
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("tests/run: error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert copy.names() == ["requirements.txt", "run"]


def test_two_first_runs_at_once_do_not_break_each_other(copy):
    command = [copy.tests / "run"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, **copy.options) for _ in range(4)]
    assert [run.communicate(timeout=60)[0] for run in runs] == ["pytest ran\n"] * 4
    assert [run.returncode for run in runs] == [0] * 4
    assert copy.names() == [".venv", "requirements.txt", "run"]


def test_a_clone_that_cannot_be_written_to_is_said(copy):
    before = []
    if os.geteuid() == 0:  # root may write everywhere, unless it gives that up
        if not shutil.which("setpriv"):
            pytest.skip("root can write to every folder, and setpriv (util-linux) is missing")
        before = ["setpriv", "--bounding-set=-dac_override"]
    copy.tests.chmod(0o555)
    result = copy.run(*before)
    copy.tests.chmod(0o755)
    assert result.returncode == 1
    assert result.stderr == "tests/run: error: cannot write to the folder tests\n"
