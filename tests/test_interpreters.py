"""All three scripts under every Python from 3.8 on that this machine has."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from conftest import assert_one_error_line, run


def interpreters():
    """Return the Pythons from 3.8 on that are on the PATH or that pyenv keeps, one for each version."""
    folders = [pathlib.Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    folders += sorted(pyenv.glob("versions/*/bin"))
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for folder in folders:
        if folder.name == "shims":
            continue  # each of these stands for another that is found as well
        for path in folder.glob("python3*"):
            if re.fullmatch(r"python3(\.\d+)?", path.name) and os.access(path, os.X_OK):
                ask = [str(path), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
                version = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
                if version and tuple(map(int, version.split("."))) >= (3, 8):
                    found.setdefault(version, str(path))
    return sorted(found.items(), key=lambda item: int(item[0].split(".")[1]))


@pytest.fixture(params=interpreters(), ids=lambda item: item[0])
def python(request):
    return request.param[1]


def test_goodbye_runs(python):
    assert run("goodbye.py", python=python).stdout == "Goodbye World\n"


def test_basics_runs(python):
    assert run("basics.py", "arg1", "5", python=python).stdout.endswith("64: 5\nsanity check: passed\n")
    for wrong in ("five", "0", "99999999"):
        result = run("basics.py", "arg1", wrong, python=python)
        assert (result.returncode != 0, result.stderr.count("\n")) == (True, 1)


def test_the_client_runs(python, fake_server):
    server = fake_server()
    for options in ((), ("-v",), ("--json",), ("-n", "2", "-i", "0")):
        result = run("ntp_client.py", *options, server.host, server.port, python=python)
        assert (result.returncode, result.stderr) == (0, "")
        assert ("Offset:  " in result.stdout) == ("--json" not in options)
    assert "\nroot distance = " in run("ntp_client.py", "-v", server.host, server.port, python=python).stdout
    assert "3: client\n" in run("ntp_client.py", "--decode", "packet.binary", python=python).stdout
    assert run("ntp_client.py", "--help", python=python).returncode == 0
    result = run("ntp_client.py", "-n", "x", python=python)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("script", ["basics.py", "ntp_client.py"])
def test_a_full_disk_is_reported(python, script, fake_server):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    server = fake_server()
    arguments = (server.host, server.port) if script == "ntp_client.py" else ("arg1", "5")
    with open("/dev/full", "w") as full:
        result = run(script, *arguments, python=python, stdout=full)
    assert_one_error_line(result, 1, "cannot write", script=script)
