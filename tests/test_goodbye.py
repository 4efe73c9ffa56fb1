"""Part 2."""

from conftest import TOP, run


def test_it_says_goodbye_to_the_world():
    result = run("goodbye.py")
    assert (result.returncode, result.stdout, result.stderr) == (0, "Goodbye World\n", "")


def test_it_is_two_lines_and_starts_from_a_shell():
    assert (TOP / "goodbye.py").read_text() == '#!/usr/bin/env python3\nprint("Goodbye World")\n'
    for script in ("goodbye.py", "basics.py", "ntp_client.py"):
        assert (TOP / script).stat().st_mode & 0o111, f"{script} has no run bit"
