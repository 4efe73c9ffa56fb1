"""What holds of all three scripts: how they start, what they import, and on which Pythons they
run.
"""

import re
import subprocess
import sys

import pytest

from helpers import TOP, run

SCRIPTS = ["goodbye.py", "basics.py", "ntp_client.py"]


def test_goodbye_says_goodbye_to_the_world():
    result = run("goodbye.py")
    assert (result.returncode, result.stdout, result.stderr) == (0, "Goodbye World\n", "")


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
