"""What holds of all three scripts: how they start, what they import, and on which Pythons they
run.
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from conftest import ENVIRONMENT, FULL, TOP, assert_one_error_line, client, needs_full, run

SCRIPTS = ["goodbye.py", "basics.py", "ntp_client.py"]


def test_goodbye_says_goodbye_to_the_world():
    result = run("goodbye.py")
    assert (result.returncode, result.stdout, result.stderr) == (0, "Goodbye World\n", "")
    assert (TOP / "goodbye.py").read_text() == '#!/usr/bin/env python3\nprint("Goodbye World")\n'


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_starts_from_a_shell(script):
    assert (TOP / script).read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
    assert (TOP / script).stat().st_mode & 0o111, f"{script} has no run bit"


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_imports_only_what_comes_with_python_and_nothing_that_the_lab_forbids(script):
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", code, TOP / script], stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert "ntplib" not in loaded.stdout
    text = (TOP / script).read_text(encoding="utf-8")
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", text, re.MULTILINE))
    allowed = "argparse collections datetime json math os re socket struct sys time"
    assert imported <= set(allowed.split())


def test_the_scripts_are_as_short_as_they_promise():
    for script, lines in (("basics.py", 52), ("ntp_client.py", 732)):
        assert len((TOP / script).read_text(encoding="utf-8").splitlines()) <= lines


# ---- Every Python that this machine has


def interpreters():
    """Return the Pythons from 3.8 on that are on the PATH or that pyenv keeps, one for each
    version.
    """
    folders = [pathlib.Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv")))
    folders += sorted(pyenv.glob("versions/*/bin"))
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for folder in folders:
        if folder.name == "shims":
            continue  # each of these stands for another that is found as well
        try:
            paths = [path for path in folder.glob("python3*") if os.access(path, os.X_OK)]
        except OSError:
            continue  # a folder that is not for our eyes
        for path in paths:
            if re.fullmatch(r"python3(\.\d+)?", path.name):
                version = version_of(path)
                if version and tuple(map(int, version.split("."))) >= (3, 8):
                    found.setdefault(version, str(path))
    return sorted(found.items(), key=lambda item: int(item[0].split(".")[1]))


def version_of(path):
    """Return the version of this Python, as in 3.8, or "" if it does not run."""
    ask = [str(path), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(ask, capture_output=True, encoding="utf-8", timeout=30).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


@pytest.fixture(params=interpreters(), ids=lambda item: item[0])
def python(request):
    return request.param[1]


def test_goodbye_and_basics_run(python):
    assert run("goodbye.py", python=python).stdout == "Goodbye World\n"
    assert run("basics.py", "arg1", "5", python=python).stdout.endswith(
        "64: 5\nsanity check: passed\n"
    )
    for wrong in ("five", "0", "99999999", "9" * 5000):
        result = run("basics.py", "arg1", wrong, python=python)
        assert (result.returncode, result.stderr.count("\n")) == (1, 1)


def test_the_client_runs(python, fake_server):
    server = fake_server()
    for options in ((), ("-v",), ("--json",), ("-n", "2", "-i", "0")):
        result = client(*options, server.host, server.port, python=python)
        assert (result.returncode, result.stderr) == (0, "")
        assert ("Offset:  " in result.stdout) == ("--json" not in options)
    assert "Request, 48 bytes:\n" in client("--decode", "packet.binary", python=python).stdout
    assert "--decode FILE" in client("--help", python=python).stdout
    wrong = client("-n", "x", python=python)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "\nntp_client.py: error: argument -n: invalid int value: 'x'\n" in wrong.stderr


@needs_full
@pytest.mark.parametrize(
    "buffering", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["buffered", "unbuffered"]
)
def test_a_full_disk_is_reported(python, buffering, fake_server):
    server = fake_server()
    environment = {**ENVIRONMENT, **buffering}
    with FULL.open("w") as full:
        result = client(server.host, server.port, python=python, stdout=full, env=environment)
    assert_one_error_line(result, 1, "cannot write the result: No space left")
    with FULL.open("w") as full:
        result = run("basics.py", "x", "5", python=python, stdout=full, env=environment)
    assert result.returncode != 0
    assert "No space left" in result.stderr
    assert "Traceback" not in result.stderr
