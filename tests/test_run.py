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


@pytest.fixture
def tests_run(tmp_path):
    """Return a function that runs tests/run in a copy, with a python3 that makes venvs in no
    time.
    """
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("run", "requirements.txt"):
        shutil.copy(TOP / "tests" / name, tests)
    (tmp_path / "bin").mkdir()

    def tests_run(ensurepip=0, pip=0, **options):
        python = tmp_path / "bin" / "python3"
        python.write_text(FAKE_PYTHON.format(ensurepip=ensurepip, pip=pip, python=sys.executable))
        python.chmod(0o755)
        environment = {**ENVIRONMENT, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
        options = {"env": environment, "encoding": "utf-8", "timeout": 60, **options}
        return subprocess.run([tests / "run"], capture_output=True, **options)

    tests_run.folder = tests
    return tests_run


def test_it_makes_the_venv_once_and_leaves_nothing_else(tests_run):
    for _ in range(2):
        result = tests_run()
        assert (result.returncode, result.stdout, result.stderr) == (0, "pytest ran\n", "")
    names = sorted(path.name for path in tests_run.folder.iterdir())
    assert names == [".venv", "requirements.txt", "run"]


def test_it_makes_the_venv_again_when_its_python_is_gone_or_the_requirements_have_changed(
    tests_run,
):
    assert tests_run().returncode == 0
    (tests_run.folder / ".venv" / "bin" / "python").unlink()
    assert tests_run().stdout == "pytest ran\n"
    (tests_run.folder / "requirements.txt").write_text("pytest==1\n")
    assert tests_run().stdout == "pytest ran\n"
    assert (tests_run.folder / ".venv" / "requirements.txt").read_text() == "pytest==1\n"


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
def test_what_is_missing_is_said_in_a_line(tests_run, broken, words):
    result = tests_run(**broken)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("tests/run: error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert sorted(path.name for path in tests_run.folder.iterdir()) == ["requirements.txt", "run"]


def test_two_first_runs_at_once_do_not_break_each_other(tests_run):
    tests_run(pip=1)  # writes the python3
    environment = {**ENVIRONMENT, "PATH": f"{tests_run.folder.parent}/bin:{os.environ['PATH']}"}
    python = tests_run.folder.parent / "bin" / "python3"
    python.write_text(FAKE_PYTHON.format(ensurepip=0, pip=0, python=sys.executable))
    options = {"env": environment, "encoding": "utf-8", "stdout": subprocess.PIPE}
    runs = [subprocess.Popen([tests_run.folder / "run"], **options) for _ in range(4)]
    assert [run.communicate(timeout=60)[0] for run in runs] == ["pytest ran\n"] * 4
    assert [run.returncode for run in runs] == [0] * 4
    assert sorted(path.name for path in tests_run.folder.iterdir()) == [
        ".venv",
        "requirements.txt",
        "run",
    ]


def test_a_clone_that_cannot_be_written_to_is_said(tests_run):
    tests_run.folder.chmod(0o555)
    options = {}
    if os.geteuid() == 0:  # root may write everywhere, unless it gives that up
        if not shutil.which("setpriv"):
            pytest.skip("root can write to every folder, and setpriv (util-linux) is missing")
        options["executable"] = shutil.which("setpriv")
        command = ["setpriv", "--bounding-set=-dac_override", tests_run.folder / "run"]
        result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, encoding="utf-8")
    else:
        result = tests_run()
    tests_run.folder.chmod(0o755)
    assert result.returncode == 1
    assert result.stderr == "tests/run: error: cannot write to the folder tests\n"
