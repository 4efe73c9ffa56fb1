"""Part 5, -n: several samples, where they overlap, and what becomes of those that are lost."""

import json
import re
import signal
import threading
import time

import pytest

from fake_ntp_server import honest, reply_to, timestamp
from helpers import (
    CONTRADICTION,
    NO_REPLY,
    NOT_ASKED_AGAIN,
    SECOND,
    assert_one_error_line,
    changed,
    client,
    read_json,
    read_report,
    read_rows,
    silent,
    started,
)


def slow_reply(request):
    """Answer with a reply that lags behind the times in it."""
    reply = reply_to(request, transmit=timestamp(request.arrived))
    time.sleep(0.4)
    return [reply]


def slow_request(request):
    """Answer as if the request had been on its way for long."""
    time.sleep(0.4)
    now = timestamp(time.time_ns())
    return [reply_to(request, receive=now, transmit=now)]


# ---- What is shown


def test_every_sample_is_a_line_and_a_last_one_shows_where_all_overlap(in_turn):
    server = in_turn(slow_reply, honest, slow_request)
    result = client("-n", 3, "-i", 0, server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    *samples, overlap = read_rows(result.stdout)
    assert [row.label for row in samples] == ["sample 1", "sample 2", "sample 3"]
    assert overlap.label == "overlap"
    # It is the second sample, quick both ways, on the axis that the first has set.
    assert abs(overlap.left - samples[1].left) <= 1
    assert abs(overlap.right - samples[1].right) <= 1
    assert overlap.half_width <= min(row.half_width for row in samples)
    report = read_report(result.stdout)
    assert report.offset == overlap.middle
    assert report.samples == "3 good, 0 lost"
    assert re.fullmatch("sample 2, [01] s before the last good one", report.narrowest)
    assert report.delay < 0.4  # the clocks and the delay are the narrowest sample's
    for words in ("when reply 2 arrived\n", "(sample 2)\n"):
        assert words in result.stdout


def test_the_report_says_how_old_the_result_is_and_how_many_samples_were_lost(in_turn):
    def later(request):  # its clock goes on by 600 s in each pause, as this computer's does
        return honest(request, offset=600 * SECOND * (len(server.requests) - 1))

    def later_and_slow(request):
        [reply] = later(request)
        time.sleep(0.4)
        return [reply]

    server = in_turn(later, later_and_slow, changed(leap=3), later_and_slow)
    result = client("-n", 4, server.host, server.port, patches=[("pauses_take_no_time", 600)])
    report = read_report(result.stdout)
    assert report.samples == "3 good, 1 lost"
    found = re.fullmatch(r"sample 1, (\d+) s before the last good one", report.narrowest)
    assert 1800 <= int(found[1]) <= 1802


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "JSON"])
def test_each_sample_is_shown_when_it_comes(fake_server, option):
    shown, in_time = threading.Event(), []

    def first_only_until_it_was_shown(request):
        if len(server.requests) == 2:
            in_time.append(shown.wait(15))
        return [reply_to(request)]

    server = fake_server(first_only_until_it_was_shown)
    arguments = ["-n2", "-i0", "-t50", *option, server.host, server.port]
    with started("ntp_client.py", *arguments) as process:
        assert process.stdout.readline()
        shown.set()
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert in_time[0] is True


def test_v_explains_each_reply_as_it_comes_and_the_report_comes_last(in_turn):
    server = in_turn(honest, changed(leap=3), honest)
    result = client("-v", "-n", 3, "-i", 0, server.host, server.port)
    assert result.returncode == 0
    assert result.stdout.count("offset = ((T2 - T1) + (T3 - T4)) / 2") == 3
    assert result.stdout.count("\nReply, 48 bytes:") == 3
    assert [row.label for row in read_rows(result.stdout)] == ["sample 1", "sample 3", "overlap"]
    assert read_report(result.stdout.rpartition("\noverlap ")[2])


# ---- JSON


def test_json_is_an_object_a_line_for_each_sample_for_a_lost_one_and_for_the_result(in_turn):
    server = in_turn(honest, changed(leap=3), honest)
    result = client("--json", "-n", 3, "-i", 0, server.host, server.port)
    assert result.returncode == 0
    first, lost, third, last = read_json(result.stdout)
    assert [(o["sample"], o["samples"], o["lost"]) for o in (first, lost, third, last)] == [
        (1, 1, 0),
        (2, 1, 1),
        (3, 2, 1),
        (None, 2, 1),
    ]
    assert lost["error"] in result.stderr
    assert "offset" not in lost
    narrowest = min((first, third), key=lambda sample: sample["delay"])
    assert last["narrowest"] == narrowest["sample"]
    for key in ("t1", "t2", "t3", "t4", "delay", "dispersion", "server", "address"):
        assert last[key] == narrowest[key]
    assert last["root_distance"] <= narrowest["root_distance"]


@pytest.mark.parametrize("options", [[], ["-n", "3"]], ids=["one sample", "several"])
def test_a_failure_is_an_object_too_in_place_of_the_result(ask, options):
    result = ask(silent, "--json", "-t", "0.2", *options)
    [shown] = read_json(result.stdout)
    assert shown.items() >= {"sample": None, "samples": 0, "lost": 1}.items()
    assert_one_error_line(result, 1, NO_REPLY, shown["error"])
    assert "offset" not in shown
    result = client("--json", *options, "")  # a name that cannot be resolved
    [shown] = read_json(result.stdout)
    assert_one_error_line(result, 1, shown["error"])


# ---- The overlap


def test_a_quick_request_and_a_quick_reply_together_say_more_than_either(in_turn):
    server = in_turn(slow_reply, slow_request)
    result = client("--json", "-n", 2, "-i", 0, server.host, server.port)
    one, other, both = read_json(result.stdout)
    assert one["offset"] < -0.1 < 0.1 < other["offset"]  # half of what was slow
    assert both["root_distance"] < min(one["root_distance"], other["root_distance"])
    assert abs(both["offset"]) < both["root_distance"]


def test_with_two_honest_servers_behind_one_address_the_larger_error_counts(in_turn):
    def exact(request):  # 20 ms away both ways, and says that it is off by 1 ms
        time.sleep(0.02)
        reply = reply_to(request, root_delay=0, root_dispersion=66)
        time.sleep(0.02)
        return [reply]

    def slow(request):  # its clock is 15 ms slow, and it says 20 ms; quick
        now = timestamp(request.arrived - 15_000_000)
        return [reply_to(request, root_delay=0, root_dispersion=1311, receive=now, transmit=now)]

    for order in ([exact, slow, exact], [slow, exact, exact]):
        server = in_turn(*order)
        result = client("--json", "-n", 3, "-i", 0, server.host, server.port)
        *_, last = read_json(result.stdout)
        assert max(abs(last["offset"]), 0.02) <= last["root_distance"]


def test_a_small_delay_does_not_win_over_a_clock_that_ticks_every_8_s(in_turn):
    def quick_but_coarse(request):  # T3 is 5 s after T2: the delay is negative
        return [reply_to(request, precision=3, transmit=timestamp(request.arrived + 5 * SECOND))]

    server = in_turn(honest, quick_but_coarse, honest)
    *_, last = read_json(client("--json", "-n", 3, "-i", 0, server.host, server.port).stdout)
    assert last["delay"] > 0
    assert abs(last["offset"]) < 1


@pytest.mark.parametrize(("gain", "status"), [(0.99, 0), (-0.99, 0), (1.5, 1), (-1.5, 1)], ids=str)
def test_clocks_may_drift_apart_by_a_thousandth_between_two_samples(fake_server, gain, status):
    def fast(request):
        later = round((1000 + gain) * SECOND)
        return honest(request, later * (len(server.requests) - 1))

    server = fake_server(fast)
    patches = [("pauses_take_no_time", 1000)]
    result = client("-n", 2, server.host, server.port, patches=patches)
    assert result.returncode == status
    assert (CONTRADICTION in result.stderr) == bool(status)


def test_an_older_sample_says_less_by_what_the_clocks_may_have_drifted(in_turn):
    def later(request):  # its clock has gone on by 1000 s, too, and the request was slow
        time.sleep(0.4)
        now = timestamp(time.time_ns() + 1000 * SECOND)
        return [reply_to(request, receive=now, transmit=now)]

    server = in_turn(slow_reply, later)
    options = ["--json", "-n", 2, server.host, server.port]
    result = client(*options, patches=[("pauses_take_no_time", 1000)])
    one, other, both = [json.loads(row) for row in result.stdout.splitlines() if row[0] == "{"]
    # 1 s for 1000 s: more than the 0.4 s that the other sample leaves open.
    assert both["root_distance"] == min(one["root_distance"], other["root_distance"])


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "JSON"])
def test_samples_that_contradict_each_other_are_shown_and_give_no_result(fake_server, option):
    def leaping(request):  # ahead by 10 s more with every request
        return honest(request, offset=10 * SECOND * len(server.requests))

    server = fake_server(leaping)
    result = client("-n", 3, "-i", 0, *option, server.host, server.port)
    assert_one_error_line(result, 1, CONTRADICTION)
    if option:
        *samples, last = read_json(result.stdout)
        assert [sample["sample"] for sample in samples] == [1, 2, 3]
        assert (last["samples"], last["error"] in result.stderr) == (3, True)
        assert "offset" not in last
    else:
        assert len(read_rows(result.stdout)) == len(result.stdout.splitlines()) == 3


# ---- Samples that are lost


def test_a_later_sample_that_is_lost_is_a_warning_and_the_next_is_taken(in_turn):
    server = in_turn(honest, silent, honest)
    result = client("-n", 3, "-i", 0, "-t", "0.9", server.host, server.port)
    assert result.returncode == 0
    [line] = result.stderr.splitlines()
    assert line.startswith("ntp_client.py: warning: sample 2 was lost: ")
    assert NO_REPLY in line
    assert [row.label for row in read_rows(result.stdout)] == ["sample 1", "sample 3", "overlap"]
    assert read_report(result.stdout).samples == "2 good, 1 lost"
    assert "{" not in result.stdout


@pytest.mark.parametrize(
    "behaviour", [silent, changed(leap=3), changed(stratum=0, reference_id=b"DENY")]
)
def test_if_nobody_gives_the_first_sample_the_run_ends_there(fake_server, behaviour):
    server = fake_server(behaviour)
    result = client("-n", 3, "-i", 40, "-t", "0.3", server.host, server.port)
    assert_one_error_line(result, 1)
    assert result.stdout == ""
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [b"DENY", b"RATE", b"ABC\0"])
def test_a_server_that_says_stop_is_not_asked_again_and_what_was_measured_counts(in_turn, code):
    server = in_turn(honest, honest, changed(stratum=0, reference_id=code))
    result = client("-n", 8, "-i", 0, server.host, server.port)
    assert result.returncode == 0
    assert result.stderr.count("\n") == 1
    assert NOT_ASKED_AGAIN in result.stderr
    assert len(server.requests) == 3
    assert read_report(result.stdout).samples == "2 good, 1 lost"


@pytest.mark.parametrize(
    ("options", "pause"), [([], 2), (["-i", "0.5"], 0.5), (["-i", "0"], 0)], ids=str
)
def test_between_samples_it_pauses_2_s_or_what_i_says(fake_server, options, pause):
    server = fake_server()
    patches = [("pauses_take_no_time",)]
    result = client("-n", 3, *options, server.host, server.port, patches=patches)
    pauses = [line for line in result.stdout.splitlines() if line.startswith("pauses")]
    assert pauses == [f"pauses {pause:g} s"] * 2  # neither before nor after
    assert len(server.requests) == 3


# ---- Ctrl-C


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "JSON"])
def test_ctrl_c_ends_the_sampling_and_what_was_measured_is_reported(fake_server, option):
    asked = threading.Event()

    def once(request):
        if len(server.requests) == 1:
            return honest(request)
        asked.set()
        return []

    server = fake_server(once)
    arguments = ["-n", 9, "-i", 0, "-t", 50, *option, server.host, server.port]
    with started("ntp_client.py", *arguments) as process:
        assert asked.wait(30)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
        assert (process.returncode, stderr) == (130, "")
    if option:
        assert [shown["sample"] for shown in read_json(stdout)] == [1, None]
    else:
        assert read_report(stdout).samples == "1 good, 0 lost"


INTERRUPTED = {
    "in the pause": ("interrupted", "time", "sleep"),
    "while a sample is printed": ("interrupted_while_printing", "sample 1"),
}


@pytest.mark.parametrize("when", INTERRUPTED)
def test_ctrl_c_ends_the_sampling_also(fake_server, when):
    server = fake_server()
    result = client("-n", 9, server.host, server.port, patches=[INTERRUPTED[when]])
    assert (result.returncode, result.stderr) == (130, "")
    assert read_report(result.stdout)
    assert len(server.requests) == 1


def test_a_contradiction_after_ctrl_c_keeps_the_status_of_ctrl_c(fake_server):
    server = fake_server(lambda request: honest(request, 10 * SECOND * len(server.requests)))
    patches = [("interrupted_while_printing", "sample 2")]
    result = client("-n", 9, "-i", 0, server.host, server.port, patches=patches)
    assert_one_error_line(result, 130, CONTRADICTION)
