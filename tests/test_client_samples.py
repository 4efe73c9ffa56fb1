"""Part 5, -n: several samples, which of them counts, and what becomes of those that are lost."""

import json
import re
import threading
import time

import pytest

from conftest import (
    SECOND,
    assert_one_error_line,
    changed,
    client,
    linux_only,
    patched_client,
    resolves_to,
    silent,
    started,
)
from fake_ntp_server import honest, reply_to, timestamp

SAMPLE = re.compile(
    r"sample (\d+): offset ([+-]\d+\.\d{9}) s, delay (\d+\.\d{9}) s \|([ <\[*\]>-]{25})\|"
)
TWO_ADDRESSES = resolves_to("127.0.0.2", "127.0.0.1")


def by_number(server, *behaviours):
    """Return the behaviour that answers the first request as the first of these does, and so on."""
    return lambda request: behaviours[len(server.requests) - 1](request)


def test_every_sample_is_a_line_and_the_report_says_which_one_counts(fake_server):
    def slow(request):
        reply = reply_to(request)
        time.sleep(0.05)  # the reply lags behind the time in it: offset and delay are off
        return [reply]

    server = fake_server(lambda request: by_number(server, slow, honest, slow)(request))
    result = client("-n", 3, "-i", 0, server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    lines = [SAMPLE.fullmatch(line) for line in result.stdout.splitlines()[:3]]
    assert [line[1] for line in lines] == ["1", "2", "3"]
    assert all(len(line) == 80 for line in result.stdout.splitlines()[:3])
    assert f"Offset:         {lines[1][2]} s" in result.stdout
    assert f"Delay:          {lines[1][3]} s" in result.stdout
    assert result.stdout.endswith("Sample:         number 2 of 3 counts; lost: 0\n")


def moved(offset, span):
    """Return the behaviour of a server whose sample is offset ms off, with a delay of about span
    ms.
    """

    def behave(request):
        middle = request.arrived + offset * SECOND // 1000
        # T3 - T2 is negative by span, which the precision of 8 s allows; so the delay is span
        # longer.
        times = {
            "receive": middle + span * SECOND // 2000,
            "transmit": middle - span * SECOND // 2000,
        }
        return [
            reply_to(request, precision=3, **{name: timestamp(ns) for name, ns in times.items()})
        ]

    return behave


def test_each_interval_is_drawn_on_the_axis_that_the_first_one_sets(fake_server):
    behaviours = [
        moved(0, 1600),
        moved(0, 800),
        moved(800, 800),
        moved(0, 7900),
        moved(-3600, 800),
        moved(3600, 800),
    ]
    server = fake_server(lambda request: by_number(server, *behaviours)(request))
    result = client("-n", 6, "-i", 0, "-t", 50, server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")
    drawn = [SAMPLE.fullmatch(line)[4] for line in result.stdout.splitlines()[:6]]
    assert drawn[0] == "      [-----*-----]      "
    assert drawn[1] == "         [--*--]         "
    assert drawn[2] == "               [--*--]   "
    assert drawn[3] == "<-----------*----------->"
    assert drawn[4] == "<                        "
    assert drawn[5] == "                        >"


def test_the_lines_stay_aligned_when_the_numbers_grow_longer(fake_server):
    server = fake_server()
    lines = client("-n", 10, "-i", 0, server.host, server.port).stdout.splitlines()[:10]
    assert {len(line) for line in lines} == {80}
    assert len({line.index("|") for line in lines}) == 1


def test_a_lost_sample_is_an_error_line_in_the_same_form_as_without_n(fake_server):
    server = fake_server(lambda request: by_number(server, honest, silent, honest)(request))
    result = client("-n", 3, "-i", 0, "-t", "0.9", server.host, server.port)
    assert_one_error_line(
        result,
        0,
        f"127.0.0.1 port {server.port}: no reply within 0.9 s",
        "(the packet was lost, or the server limits its rate)\n",
    )
    lines = result.stdout.splitlines()
    assert [SAMPLE.fullmatch(line)[1] for line in lines[:2]] == ["1", "3"]
    assert re.fullmatch("Sample:         number [13] of 3 counts; lost: 1", lines[-1])


def test_when_all_samples_are_lost_the_run_fails_with_a_line_for_each(ask):
    result = ask(changed(leap=3), "-n", 3, "-i", 0)
    assert (result.returncode, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 3
    assert len(set(lines)) == 1
    assert "its clock is not synchronized (leap indicator 3)" in lines[0]


def test_json_holds_the_samples_in_order_and_why_one_was_lost(fake_server):
    server = fake_server(
        lambda request: by_number(server, honest, changed(leap=3), honest)(request)
    )
    result = client("--json", "-n", 3, "-i", 0, server.host, server.port)
    assert_one_error_line(result, 0, "not synchronized")
    shown = json.loads(result.stdout)
    first, second, third = shown["samples"]
    assert second == {
        "lost": "its clock is not synchronized (leap indicator 3); ask another server"
    }
    assert first["lost"] is third["lost"] is None
    assert first["t1"] < first["t4"] < third["t1"] < third["t4"]
    assert shown["sample"] in (1, 3)
    chosen = shown["samples"][shown["sample"] - 1]
    assert chosen == {name: shown[name] for name in chosen}
    assert chosen["root_distance"] == min(first["root_distance"], third["root_distance"])


def test_each_sample_is_shown_when_it_comes(fake_server):
    shown, in_time = threading.Event(), []

    def first_only_until_it_was_shown(request):
        if len(server.requests) == 2:
            in_time.append(shown.wait(15))
        return [reply_to(request)]

    server = fake_server(first_only_until_it_was_shown)
    with started("ntp_client.py", "-n2", "-i0", "-t50", server.host, server.port) as process:
        assert SAMPLE.match(process.stdout.readline())
        shown.set()
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert in_time[0] is True


def test_a_computer_with_very_many_open_files_can_ask_too(fake_server):
    server = fake_server()
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))"
    result = patched_client(f"{limit}; [os.dup(0) for _ in range(1100)]", server.host, server.port)
    assert (result.returncode, result.stderr) == (0, "")


PAUSES = "time.sleep = lambda pause: print(f'pauses {pause} s', flush=True)"


@pytest.mark.parametrize(
    ("options", "pause"), [([], 2), (["-i", "0.5"], 0.5), (["-i", "0"], 0)], ids=str
)
def test_between_samples_it_pauses_2_s_or_what_i_says(fake_server, options, pause):
    server = fake_server()
    result = patched_client(PAUSES, "-n", 3, *options, server.host, server.port)
    pauses = re.findall(r"^pauses (\S+) s$", result.stdout, re.MULTILINE)
    assert [float(text) for text in pauses] == [
        pause,
        pause,
    ]  # between them, neither before nor after
    assert len(server.requests) == 3


# ---- Which one counts


def test_a_small_delay_does_not_win_over_a_clock_that_ticks_every_8_s(fake_server):
    def quick_but_coarse(
        request,
    ):  # T3 5 s after T2: the delay is negative, which the ticks explain
        when = request.arrived + 5 * SECOND
        return [reply_to(request, precision=3, receive=timestamp(when), transmit=timestamp(when))]

    server = fake_server(
        lambda request: by_number(server, honest, quick_but_coarse, honest)(request)
    )
    shown = json.loads(client("--json", "-n", 3, "-i", 0, server.host, server.port).stdout)
    assert shown["sample"] in (1, 3)
    assert abs(shown["offset"]) < 1


# Two samples 1000 s apart by the clock that only runs: the first has aged by 15 ms.
LONG_PAUSE = """
real, naps = time.perf_counter_ns, []
time.perf_counter_ns = lambda: real() + 1000 * 10**9 * len(naps)
time.sleep = naps.append
clock = time.time_ns
time.time_ns = lambda: clock() + 1000 * 10**9 * len(naps)
"""


def test_a_sample_ages_by_15_parts_in_a_million(fake_server):
    def later(request):  # its clock has gone on too, and its root dispersion grown by 30 ms
        seconds_on = 1000 * SECOND * (len(server.requests) - 1)
        return [
            reply_to(request, seconds_on, root_dispersion=131 + 1966 * (len(server.requests) - 1))
        ]

    server = fake_server(later)
    shown = json.loads(
        patched_client(LONG_PAUSE, "--json", "-n", 2, server.host, server.port).stdout
    )
    first, second = shown["samples"]
    assert shown["sample"] == 1  # older, and still the better one
    assert 0.015 <= first["dispersion"] < 0.016
    assert first["root_distance"] >= 0.015
    assert second["dispersion"] < 0.001


def test_of_two_equal_samples_the_younger_counts(fake_server):
    def later(request):
        return honest(request, 1000 * SECOND * (len(server.requests) - 1))

    server = fake_server(later)
    shown = json.loads(
        patched_client(LONG_PAUSE, "--json", "-n", 2, server.host, server.port).stdout
    )
    assert shown["sample"] == 2


# ---- Samples that contradict each other


def test_samples_that_contradict_each_other_give_no_result(fake_server):
    def leaping(request):  # ahead by 10 s more with every request
        return honest(request, offset=10 * SECOND * len(server.requests))

    server = fake_server(leaping)
    result = client("-n", 3, "-i", 0, server.host, server.port)
    assert_one_error_line(
        result, 1, "the samples contradict each other: was one of the clocks set meanwhile?\n"
    )
    assert "Offset:" not in result.stdout


@pytest.mark.parametrize(("gain", "status"), [(0.4, 0), (0.6, 1)])
def test_clocks_may_drift_apart_by_500_parts_in_a_million_between_two_samples(
    fake_server, gain, status
):
    def fast(request):
        in_between = round((1000 + gain) * SECOND)
        return honest(request, in_between * (len(server.requests) - 1))

    server = fake_server(fast)
    result = patched_client(LONG_PAUSE, "--json", "-n", 2, server.host, server.port)
    assert result.returncode == status
    assert ("contradict" in result.stderr) == bool(status)


def test_a_server_whose_clock_stands_still_is_found_out_by_the_second_sample(fake_server):
    def frozen(request):
        when = timestamp(server.requests[0].arrived)
        return [reply_to(request, receive=when, transmit=when)]

    server = fake_server(frozen)
    assert_one_error_line(
        client("--json", "-n", 2, "-i", "0.5", server.host, server.port), 1, "contradict"
    )


def test_a_clock_that_is_set_between_two_samples_gives_no_result(fake_server):
    server = fake_server()
    patch = "real, naps = time.time_ns, []; time.sleep = naps.append"
    patch += "; time.time_ns = lambda: real() + len(naps) * 10**9"
    assert_one_error_line(
        patched_client(patch, "--json", "-n", 2, server.host, server.port), 1, "contradict"
    )


# ---- Whom it asks for the next one


@linux_only
def test_all_samples_come_from_the_address_that_gave_the_first(fake_server):
    good = fake_server()
    bad = fake_server(changed(stratum=16), host="127.0.0.2", port=good.port)
    result = patched_client(TWO_ADDRESSES, "-n", 3, "-i", 0, "two.example", good.port)
    assert result.returncode == 0
    assert (len(bad.requests), len(good.requests)) == (1, 3)


@linux_only
def test_an_address_that_gave_no_time_is_not_asked_again_while_another_is_left(fake_server):
    last = fake_server(
        lambda request: changed(leap=3)(request) if len(last.requests) < 3 else honest(request)
    )
    first = fake_server(changed(stratum=16), host="127.0.0.2", port=last.port)
    result = patched_client(TWO_ADDRESSES, "-n", 4, "-i", 0, "two.example", last.port)
    assert result.returncode == 0
    assert (len(first.requests), len(last.requests)) == (1, 4)
    assert re.search("Sample:         number [34] of 4 counts; lost: 2", result.stdout)


@pytest.mark.parametrize("code", [b"DENY", b"RSTR", b"RATE", b"INIT", b"ABC\0"])
def test_a_server_that_says_stop_is_not_asked_again(fake_server, code):
    kiss = changed(stratum=0, reference_id=code)
    server = fake_server(lambda request: by_number(server, honest, honest, kiss)(request))
    result = client("-n", 8, "-i", 0, server.host, server.port)
    assert_one_error_line(result, 0, "kiss-o'-death", "it is not asked again")
    assert len(server.requests) == 3
    assert "of 3 counts; lost: 1" in result.stdout


@pytest.mark.parametrize("code", [bytes(4), b"XABC"])
def test_a_server_without_the_time_or_with_an_experiment_is_asked_again(fake_server, code):
    server = fake_server(
        lambda request: by_number(server, changed(stratum=0, reference_id=code), honest)(request)
    )
    result = client("-n", 2, "-i", 0, server.host, server.port)
    assert_one_error_line(result, 0, "not synchronized")
    assert len(server.requests) == 2


def test_nobody_waits_for_the_next_sample_of_a_server_that_said_stop(fake_server):
    server = fake_server(changed(stratum=0, reference_id=b"DENY"))
    result = patched_client(PAUSES, "-n", 2, "-i", 40, server.host, server.port)
    assert_one_error_line(
        result, 1, "kiss-o'-death DENY: access denied by the server; it is not asked again\n"
    )
    assert result.stdout == ""  # not even a pause
    assert len(server.requests) == 1


@linux_only
def test_when_one_address_says_stop_the_others_are_still_asked(fake_server):
    other = fake_server(changed(leap=3))
    stop = fake_server(changed(stratum=0, reference_id=b"RATE"), host="127.0.0.2", port=other.port)
    result = patched_client(TWO_ADDRESSES, "-n", 3, "-i", 0, "two.example", other.port)
    assert result.returncode == 1
    assert (len(stop.requests), len(other.requests)) == (1, 3)
