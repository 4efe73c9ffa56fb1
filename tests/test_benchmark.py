"""The benchmark: that it runs. What it measures is not tested, for machines are noisy."""

import shutil

import pytest

from benchmark import SYSTEM_PATH
from conftest import ENVIRONMENT, run


def test_it_prints_both_tables():
    if not shutil.which("chronyd", path=SYSTEM_PATH):
        pytest.skip("chronyd is not installed (Debian package chrony)")
    result = run("tests/benchmark.py", "--rounds", 1)
    assert (result.returncode, result.stderr) == (0, "")
    for row in (
        "ntp_client.py  ",
        "ntp_client.py -n 8",
        "chronyd -Q",
        "goodbye.py",
        "basics.py x 1000000000",
    ):
        assert row in result.stdout
    assert "no answer" not in result.stdout


def test_without_chronyd_it_says_which_package_brings_it(tmp_path):
    code = "import benchmark, sys; benchmark.SYSTEM_PATH = ''; sys.argv = ['benchmark.py']; sys.exit(benchmark.main())"
    (tmp_path / "start.py").write_text(code)
    result = run(tmp_path / "start.py", env={**ENVIRONMENT, "PYTHONPATH": "tests"})
    assert result.returncode == 1
    assert "apt-get install chrony" in result.stderr


@pytest.mark.parametrize("rounds", ["0", "-1", "x"])
def test_a_wrong_number_of_rounds_is_status_2(rounds):
    assert run("tests/benchmark.py", "--rounds", rounds).returncode == 2
