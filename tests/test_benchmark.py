"""The benchmark: that it runs. What it measures is not tested, for machines are noisy."""

import re
import shutil
import subprocess
import sys

import pytest

from benchmark import SYSTEM_PATH
from conftest import ENVIRONMENT, TOP, run


def test_it_prints_both_tables():
    if not shutil.which("chronyd", path=SYSTEM_PATH):
        pytest.skip("chronyd is not installed (Debian package chrony)")
    # Without the peers, which have their own pace: of them there is no saying.
    code = "import benchmark, sys; sys.argv = ['b', '--rounds', '1']; real = benchmark.clients"
    code += "; benchmark.clients = lambda port, folder: real(port, folder)[:2]"
    code += "; sys.exit(benchmark.main())"
    options = {"encoding": "utf-8", "env": {**ENVIRONMENT, "PYTHONPATH": str(TOP / "tests")}}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=120, **options
    )
    assert (result.returncode, result.stderr) == (0, "")
    tables = result.stdout.split("error in us (ratio)")[1:]
    assert len(tables) == 2
    for table in tables:
        for row in ("ntp_client.py  ", "ntp_client.py -n 8", "  narrowest sample"):
            assert re.search(rf"^{row}.* 1/1$", table, re.MULTILINE)


def test_without_chronyd_it_says_which_package_brings_it(tmp_path):
    code = "import benchmark, sys; benchmark.SYSTEM_PATH = ''"
    code += "; sys.argv = ['benchmark.py']; sys.exit(benchmark.main())"
    (tmp_path / "start.py").write_text(code)
    result = run(tmp_path / "start.py", env={**ENVIRONMENT, "PYTHONPATH": "tests"})
    assert result.returncode == 1
    assert "apt-get install chrony" in result.stderr


@pytest.mark.parametrize("rounds", ["0", "-1", "x"])
def test_a_wrong_number_of_rounds_is_status_2(rounds):
    assert run("tests/benchmark.py", "--rounds", rounds).returncode == 2
