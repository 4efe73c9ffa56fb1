"""Part 5: clocks that are decades off, set meanwhile, or coarse; and the one of the kernel."""

import json
import time

import pytest

from fake_ntp_server import honest, reply_to
from helpers import CLOCK_SET, SECOND, assert_one_error_line, changed, client, linux_only


def years(number):
    """Return the Unix time of the first day of that year, in ns."""
    return round((number - 1970) * 365.2425 * 86400) * SECOND


@pytest.mark.parametrize(
    ("here", "there"),
    [(1970, 1969), (1970, 2103), (2026, 2036), (2026, 2103), (2040, 2026), (2040, 2037)],
)
def test_a_server_in_any_era_gives_the_right_offset_whatever_this_clock_says(
    fake_server, here, there
):
    now = time.time_ns()
    server = fake_server(lambda request: honest(request, offset=years(there) - now))
    patches = [("clock_off_by", years(here) - now)]
    result = client("--json", server.host, server.port, patches=patches)
    assert (result.returncode, result.stderr) == (0, "")
    shown = json.loads(result.stdout)
    offset = (years(there) - years(here)) / SECOND
    assert abs(shown["offset"] - offset) < shown["root_distance"] + 1e-6


# ---- Clocks that are set while the reply is on its way


@pytest.mark.parametrize("step", [-3600, -1, 40, 3600])
def test_a_clock_that_is_set_far_meanwhile_gives_no_result_and_not_only_the_server_is_blamed(
    fake_server, step
):
    server = fake_server()
    patches = [("clock_set_when_sent", step * SECOND)]
    result = client(server.host, server.port, patches=patches)
    assert_one_error_line(result, 1, f" (perhaps {CLOCK_SET} {'forward' if step > 0 else 'back'});")


@pytest.mark.parametrize("step", [200_000, 5_000_000, SECOND])
def test_the_result_holds_for_a_clock_that_is_set_forward_a_little(fake_server, step):
    server = fake_server(changed(root_delay=0, root_dispersion=0))
    patches = [("clock_set_when_sent", step)]
    result = client("--json", server.host, server.port, patches=patches)
    shown = json.loads(result.stdout)
    assert shown["delay"] > step / SECOND
    for truth in (0, -step / SECOND):  # before, and after
        assert abs(shown["offset"] - truth) <= shown["root_distance"]


def test_a_process_that_is_interrupted_while_it_reads_the_clock_only_sees_a_longer_delay(
    fake_server,
):
    server = fake_server()
    result = client(server.host, server.port, patches=[("slow_to_read_the_clock",)])
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("delay", [0.002, 0.02, 0.05])
def test_the_slow_ticks_of_windows_are_in_the_root_distance(fake_server, delay):
    def slow(request):
        reply = reply_to(request)
        time.sleep(delay)
        return [reply]

    server = fake_server(slow)
    options = ["--json", "-n", 4, "-i", 0, server.host, server.port]
    result = client(*options, patches=[("windows_clocks",)])
    assert (result.returncode, result.stderr) == (0, "")
    assert len(server.requests) == 4
    for shown in map(json.loads, result.stdout.splitlines()):
        assert abs(shown["offset"]) < shown["root_distance"]


# ---- The kernel's receive timestamp

NO_TIMESTAMP = {
    "a kernel that refuses": ("fails", ["setsockopt"], 92),
    "a kernel that gives none": ("no_socket_option",),
    "another system": ("system", "darwin"),
    "a kernel whose clock is in the past": ("kernel_timestamp", 0),
    "a kernel whose clock is in the future": ("kernel_timestamp", 2**40 * SECOND),
}


@linux_only
@pytest.mark.parametrize("what", NO_TIMESTAMP)
def test_without_the_kernels_receive_timestamp_the_clock_is_read(fake_server, what):
    server = fake_server()
    result = client("--json", server.host, server.port, patches=[NO_TIMESTAMP[what]])
    assert (result.returncode, result.stderr) == (0, "")
    assert abs(json.loads(result.stdout)["offset"]) < json.loads(result.stdout)["root_distance"]


@linux_only
@pytest.mark.parametrize(("cut_off", "late"), [(0, False), (1, True)])
def test_the_kernels_receive_timestamp_counts_unless_it_is_cut_off(fake_server, cut_off, late):
    server = fake_server()
    patches = [("kernel_timestamp", None, cut_off, 0.3)]
    result = client("--json", server.host, server.port, patches=patches)
    assert (json.loads(result.stdout)["delay"] > 0.3) == late
