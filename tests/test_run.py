"""tests/run: that it says in a line what keeps it from running, and mends what is broken."""

import os
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from conftest import ENVIRONMENT, TOP

FAKE_PYTHON = """#!/bin/sh
case "$*" in
*"import ensurepip"*) exit {ensurepip} ;;
*"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && exit 0 ;;
*"-m pip"*) printf '%s\\n' {says}; exit {pip} ;;
*"fcntl"* | *"sys.implementation"*) exec {python} "$@" ;;
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
        values = {"ensurepip": 0, "pip": 0, "says": "", **broken}
        self.python.write_text(FAKE_PYTHON.format(python=shlex.quote(sys.executable), **values))
        self.python.chmod(0o755)

    def run(self, *before, path="tests/run", **more):
        options = {**self.options, "cwd": self.tests.parent, **more}
        command = [*before, self.tests.parent / path]
        return subprocess.run(command, capture_output=True, timeout=60, **options)

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
    ],
    ids=["no venv"],
)
def test_what_is_missing_is_said_in_a_line(copy, broken, words):
    copy.break_python(**broken)
    result = copy.run()
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("tests/run: error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert copy.names() == ["requirements.txt", "run"]


WARNING = "WARNING: Retrying after: Network is unreachable"
CAUSE = "Could not fetch URL (Caused by SSLError(self-signed certificate))"
NO_MATCH = "ERROR: No matching distribution found for pytest"
NO_SPACE = "ERROR: Could not install packages due to an OSError: No space left on device"


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ([WARNING, WARNING, NO_MATCH], [WARNING, NO_MATCH]),
        ([WARNING, CAUSE, "ERROR: Could not find a version", NO_MATCH, ""], [CAUSE, NO_MATCH]),
        ([NO_SPACE, "", ""], [NO_SPACE]),
        (["Looking in indexes: x", NO_MATCH], [NO_MATCH]),
        ([WARNING], [WARNING]),
        ([], []),
    ],
    ids=["no network", "a proxy", "a full disk", "a wrong index", "a warning", "nothing"],
)
def test_the_reason_that_pip_gives_is_said(copy, log, shown):
    copy.break_python(pip=1, says=" ".join(map(shlex.quote, log)))
    result = copy.run()
    assert (result.returncode, result.stdout) == (1, "")
    first, *others = result.stderr.splitlines()
    assert first == (
        "tests/run: error: pip cannot install tests/requirements.txt;"
        " this once, it needs the network. It says:"
    )
    assert [line.strip() for line in others if line.strip()] == shown
    assert copy.names() == ["requirements.txt", "run"]


def test_it_finds_its_way_with_cdpath_through_a_link_and_from_anywhere(copy, tmp_path):
    elsewhere = tmp_path / "else where"
    (elsewhere / "tests").mkdir(parents=True)
    (elsewhere / "link").symlink_to(copy.tests / "run")
    environment = {**copy.options["env"], "CDPATH": str(elsewhere)}
    for cwd, path in (
        (copy.tests.parent, "tests/run"),
        (elsewhere, "./link"),
        (copy.tests, "./run"),
    ):
        options = {**copy.options, "env": environment, "cwd": cwd, "timeout": 60}
        result = subprocess.run([path], capture_output=True, **options)
        assert (result.returncode, result.stdout, result.stderr) == (0, "pytest ran\n", "")
    assert copy.names() == [".venv", "requirements.txt", "run"]


def test_what_an_interrupted_first_run_left_is_swept_up(copy):
    (copy.tests / ".venv.new" / "lib").mkdir(parents=True)
    assert copy.run().returncode == 0
    assert copy.names() == [".venv", "requirements.txt", "run"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_a_first_run_that_is_interrupted_leaves_nothing(copy, tmp_path, number):
    os.mkfifo(tmp_path / "started")
    copy.break_python(says=f"x > {tmp_path / 'started'}; kill -{number} $PPID; printf ''")
    # A shell's background jobs ignore Ctrl-C; this must not, wherever the tests run.
    heard = {"preexec_fn": lambda: signal.signal(number, signal.SIG_DFL), **copy.options}
    with subprocess.Popen([copy.tests / "run"], stdout=subprocess.PIPE, **heard) as run:
        (tmp_path / "started").read_text()
        assert run.communicate(timeout=60)[0] == ""
    assert run.returncode == 130
    assert copy.names() == ["requirements.txt", "run"]


def test_another_user_may_use_the_venv_that_the_first_one_made(copy):
    assert copy.run("sh", "-c", 'umask 022; exec "$0"').returncode == 0
    assert (copy.tests / ".venv").stat().st_mode & 0o777 == 0o755


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
    assert result.stderr.startswith("tests/run: error: cannot write to the folder tests,")
    assert result.stderr.count("\n") == 1
