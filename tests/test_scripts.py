"""What holds of all three scripts: what they import, and with which Pythons."""

import ast
import subprocess
import sys

import pytest

from helpers import ENVIRONMENT, TOP

STANDARD = {"argparse", "collections", "datetime", "errno", "itertools", "json", "math", "os"}
STANDARD |= {"re", "select", "socket", "struct", "sys", "time"}


@pytest.mark.parametrize("script", ["goodbye.py", "basics.py", "ntp_client.py"])
def test_it_imports_only_what_comes_with_python(script):
    imported = set()
    for node in ast.walk(ast.parse((TOP / script).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported <= STANDARD


@pytest.mark.parametrize("command", ["fake_ntp_server.py", "benchmark.py"])
def test_the_commands_in_tests_need_no_package(command):
    arguments = [sys.executable, "-S", TOP / "tests" / command, "--help"]  # -S: no site-packages
    result = subprocess.run(arguments, capture_output=True, encoding="utf-8", env=ENVIRONMENT)
    assert (result.returncode, result.stderr) == (0, "")
