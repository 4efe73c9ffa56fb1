"""Part 5, -n: several samples, where they overlap, and what becomes of those that are lost."""

import json
import re
import signal
import threading
import time

import pytest

from fake_ntp_server import honest, reply_to, timestamp
from helpers import (
    SECOND,
    TWO_ADDRESSES,
    assert_one_error_line,
    changed,
    client,
    linux_only,
    patched_client,
    silent,
    started,
)

ROW = re.compile(r"(sample \d+|overlap) +([<|>-][ <|>-]*?) +([+-]\d+\.\d{9}) \+- (\d+\.\d{9}) s")


def by_number(server, *behaviours):
    """Return the behaviour that answers the first request as the first of these does, and so on."""
    return lambda request: behaviours[len(server.requests) - 1](request)


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


def test_every_sample_is_a_line_and_a_last_one_shows_where_all_overlap(fake_server):
    server = fake_server(
        lambda request: by_number(server, slow_reply, honest, slow_request)(request)
    )
    result = client("-n", 3, "-i", 0, server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    rows = [ROW.fullmatch(line) for line in result.stdout.splitlines()[:4]]
    assert [row[1] for row in rows] == ["sample 1", "sample 2", "sample 3", "overlap"]
    assert f"\nOffset:         {rows[3][3]} s: " in result.stdout
    assert float(rows[3][4]) <= min(float(row[4]) for row in rows[:3])
    drawn = [re.search(r"[<|>](.*[<|>])?", line) for line in result.stdout.splitlines()[:4]]
    assert max(row.start() for row in drawn[:3]) <= drawn[3].start()
    assert drawn[3].end() <= min(row.end() for row in drawn[:3])


def test_the_lines_stay_aligned_when_the_numbers_grow_longer(fake_server):
    server = fake_server(lambda request: honest(request, offset=10**6 * len(server.requests)))
    lines = client("-n", 11, "-i", 0.1, server.host, server.port).stdout.splitlines()[:12]
    assert {line[37:39] for line in lines} == {" +"}
    assert all(len(line) <= 80 for line in lines)


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
        assert re.match('sample 1 |{"sample": 1, ', process.stdout.readline())
        shown.set()
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert in_time[0] is True


def test_json_is_an_object_a_line_each_sample_and_last_the_result_with_the_same_keys(fake_server):
    server = fake_server(
        lambda request: by_number(server, honest, changed(leap=3), honest)(request)
    )
    result = client("--json", "-n", 3, "-i", 0, server.host, server.port)
    assert_one_error_line(result, 0, "not synchronized")
    first, third, last = map(json.loads, result.stdout.splitlines())
    assert first.keys() == third.keys() == last.keys()
    assert [(o["sample"], o["samples"], o["lost"]) for o in (first, third, last)] == [
        (1, 1, 0),
        (3, 1, 1),
        (None, 2, 1),
    ]
    narrowest = min((first, third), key=lambda sample: sample["delay"])
    own = {"sample", "samples", "lost", "offset", "root_distance"}
    assert {key: last[key] for key in last.keys() - own} == {
        key: narrowest[key] for key in last.keys() - own
    }
    assert last["root_distance"] <= narrowest["root_distance"]


def test_v_shows_the_sums_of_the_narrowest_sample_and_then_those_of_the_overlap(fake_server):
    server = fake_server(lambda request: by_number(server, slow_reply, slow_request)(request))
    text = client("-v", "-n", 2, "-i", 0, server.host, server.port).stdout
    assert text.count("Request, 48 bytes:") == 1
    assert re.search("^overlap ", text, re.MULTILINE)
    distance = re.search(r"\nRoot distance:  (\S+) s", text)[1]
    narrowest, half_width, overlap = re.search(
        r"The sample with the narrowest interval:\n.*= (\S+) s\n\n"
        r"where all overlap, (\S+) s .*\nroot distance = (\S+) s\n\nRequest",
        text,
        re.DOTALL,
    ).groups()
    assert overlap == distance
    assert half_width == ROW.search(text[text.index("overlap ") :])[4]
    assert float(overlap) < float(narrowest)


# ---- The overlap


def test_a_quick_request_and_a_quick_reply_together_say_more_than_either(fake_server):
    server = fake_server(lambda request: by_number(server, slow_reply, slow_request)(request))
    result = client("--json", "-n", 2, "-i", 0, server.host, server.port)
    one, other, both = map(json.loads, result.stdout.splitlines())
    assert one["offset"] < -0.1 < 0.1 < other["offset"]  # half of what was slow
    assert both["root_distance"] < min(one["root_distance"], other["root_distance"])
    assert abs(both["offset"]) < both["root_distance"]


def test_a_small_delay_does_not_win_over_a_clock_that_ticks_every_8_s(fake_server):
    def quick_but_coarse(request):  # T3 is 5 s after T2: the delay is negative
        return [reply_to(request, precision=3, transmit=timestamp(request.arrived + 5 * SECOND))]

    server = fake_server(
        lambda request: by_number(server, honest, quick_but_coarse, honest)(request)
    )
    result = client("--json", "-n", 3, "-i", 0, server.host, server.port)
    shown = json.loads(result.stdout.splitlines()[-1])
    assert shown["delay"] > 0
    assert abs(shown["offset"]) < 1


# Two samples 1000 s apart, in no time.
LONG_PAUSE = """
real, naps = time.time_ns, []
time.sleep = naps.append
time.time_ns = lambda: real() + 1000 * 10**9 * len(naps)
"""


@pytest.mark.parametrize(("gain", "status"), [(0.99, 0), (-0.99, 0), (1.5, 1), (-1.5, 1)], ids=str)
def test_clocks_may_drift_apart_by_a_thousandth_between_two_samples(fake_server, gain, status):
    def fast(request):
        later = round((1000 + gain) * SECOND)
        return honest(request, later * (len(server.requests) - 1))

    server = fake_server(fast)
    result = patched_client(LONG_PAUSE, "--json", "-n", 2, server.host, server.port)
    assert result.returncode == status
    assert ("contradict" in result.stderr) == bool(status)


def test_an_older_sample_says_less_by_what_the_clocks_may_have_drifted(fake_server):
    def later(request):  # its clock has gone on, too
        behaviour = slow_reply if len(server.requests) == 1 else slow_request
        [reply] = behaviour(request)
        return [reply[:32] + shifted(reply[32:40]) + shifted(reply[40:48])]

    def shifted(stamp):
        seconds_on = 1000 * (len(server.requests) - 1) << 32
        return (int.from_bytes(stamp, "big") + seconds_on).to_bytes(8, "big")

    server = fake_server(later)
    result = patched_client(LONG_PAUSE, "--json", "-n", 2, server.host, server.port)
    one, other, both = map(json.loads, result.stdout.splitlines())
    # 1 s for 1000 s: more than the 0.4 s that the other sample leaves open.
    assert both["root_distance"] == min(one["root_distance"], other["root_distance"])


CONTRADICTION = (
    "the samples contradict each other: a clock was set or is being corrected, or several servers"
    " answer at this address\n"
)


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "JSON"])
def test_samples_that_contradict_each_other_are_shown_and_give_no_result(fake_server, option):
    def leaping(request):  # ahead by 10 s more with every request
        return honest(request, offset=10 * SECOND * len(server.requests))

    server = fake_server(leaping)
    result = client("-n", 3, "-i", 0, *option, server.host, server.port)
    assert_one_error_line(result, 1, CONTRADICTION)
    assert len(result.stdout.splitlines()) == 3
    assert "Offset:" not in result.stdout


def test_a_clock_that_is_set_between_two_samples_gives_no_result(fake_server):
    server = fake_server()
    patch = "real, naps = time.time_ns, []; time.sleep = naps.append"
    patch += "; time.time_ns = lambda: real() + len(naps) * 10**9"
    result = patched_client(patch, "--json", "-n", 2, server.host, server.port)
    assert_one_error_line(result, 1, CONTRADICTION)


# ---- Samples that are lost


def test_a_later_sample_that_is_lost_is_told_and_the_next_is_taken(fake_server):
    server = fake_server(lambda request: by_number(server, honest, silent, honest)(request))
    result = client("-n", 3, "-i", 0, "-t", "0.9", server.host, server.port)
    assert_one_error_line(
        result,
        0,
        ": 127.0.0.1: no reply within 0.9 s ",
        "(the packet was lost, or the server limits its rate)\n",
    )
    rows = [ROW.fullmatch(line) for line in result.stdout.splitlines()[:3]]
    assert [row[1] for row in rows] == ["sample 1", "sample 3", "overlap"]
    assert "\nOffset:  " in result.stdout


@pytest.mark.parametrize(
    "behaviour", [silent, changed(leap=3), changed(stratum=0, reference_id=b"DENY")]
)
def test_if_nobody_gives_the_first_sample_the_run_ends_there(fake_server, behaviour):
    server = fake_server(behaviour)
    result = client("-n", 3, "-i", 40, "-t", "0.3", server.host, server.port)
    assert_one_error_line(result, 1)
    assert result.stdout == ""
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [b"DENY", b"RSTR", b"RATE", b"INIT", b"ABC\0"])
def test_a_server_that_says_stop_is_not_asked_again_and_what_was_measured_counts(fake_server, code):
    kiss = changed(stratum=0, reference_id=code)
    server = fake_server(lambda request: by_number(server, honest, honest, kiss)(request))
    result = client("-n", 8, "-i", 0, server.host, server.port)
    assert_one_error_line(result, 0, "kiss-o'-death", "it is not asked again")
    assert len(server.requests) == 3
    assert "\nOffset:  " in result.stdout


PAUSES = "time.sleep = lambda pause: print(f'pauses {pause} s', flush=True)"


@pytest.mark.parametrize(
    ("options", "pause"), [([], 2), (["-i", "0.5"], 0.5), (["-i", "0"], 0)], ids=str
)
def test_between_samples_it_pauses_2_s_or_what_i_says(fake_server, options, pause):
    server = fake_server()
    result = patched_client(PAUSES, "-n", 3, *options, server.host, server.port)
    pauses = re.findall(r"^pauses (\S+) s$", result.stdout, re.MULTILINE)
    assert [float(text) for text in pauses] == [pause, pause]  # neither before nor after
    assert len(server.requests) == 3


@pytest.mark.parametrize("option", [[], ["--json"]], ids=["text", "JSON"])
def test_ctrl_c_ends_the_sampling_and_what_there_is_is_reported(fake_server, option):
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
        assert [json.loads(line)["sample"] for line in stdout.splitlines()] == [1, None]
    else:
        assert "\noverlap " in stdout
        assert "\nOffset:  " in stdout


INTERRUPTED = {
    "in the pause": """
def sleep(pause):
    raise KeyboardInterrupt
time.sleep = sleep
""",
    "while a sample is printed": """
import builtins
really_print = print
def interrupted(*args, **options):
    really_print(*args, **options)
    if args and args[0].startswith("sample 1"):
        raise KeyboardInterrupt
builtins.print = interrupted
""",
}


@pytest.mark.parametrize("when", INTERRUPTED)
def test_ctrl_c_ends_the_sampling_also(fake_server, when):
    server = fake_server()
    result = patched_client(INTERRUPTED[when], "-n", 9, server.host, server.port)
    assert (result.returncode, result.stderr) == (130, "")
    assert "\noverlap " in result.stdout
    assert len(server.requests) == 1


# ---- Whom it asks for the next one


@linux_only
def test_all_samples_come_from_the_address_that_gave_the_first(fake_server):
    good = fake_server()
    bad = fake_server(changed(stratum=16), host="127.0.0.2", port=good.port)
    result = patched_client(TWO_ADDRESSES, "-n", 3, "-i", 0, "two.example", good.port)
    assert result.returncode == 0
    assert (len(bad.requests), len(good.requests)) == (1, 3)


@linux_only
def test_when_one_address_says_stop_the_others_are_still_asked(fake_server):
    other = fake_server()
    stop = fake_server(changed(stratum=0, reference_id=b"RATE"), host="127.0.0.2", port=other.port)
    result = patched_client(TWO_ADDRESSES, "-n", 3, "-i", 0, "two.example", other.port)
    assert_one_error_line(result, 0, f"127.0.0.2 port {other.port}: kiss-o'-death RATE")
    assert (len(stop.requests), len(other.requests)) == (1, 3)
