"""The fixtures, and when a run of the tests makes sense."""

import argparse
import contextlib
import os
import shutil
import socket
import sys

import pytest

from fake_ntp_server import FakeServer, honest
from real_server import SYSTEM_PATH, TOP, free_port, real_chronyd

pytest.register_assert_rewrite("helpers")
from helpers import client, has_loopback  # noqa: E402

sys.path.insert(0, str(TOP))  # for the laws, which import the client


def pytest_sessionstart(session):
    if not has_loopback(socket.AF_INET, "127.0.0.1"):
        pytest.exit(
            "no packet gets from 127.0.0.1 to itself: the tests need the loopback interface",
            returncode=1,
        )


def folder_of_a_lab(name):
    """Return this folder's path, relative to where tests/run, if any, was called."""
    path = os.path.abspath(os.path.join(os.environ.get("LAB_FROM", ""), name))
    if not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f"there is no folder {path!r}")
    return path


def pytest_addoption(parser):
    parser.addoption(
        "--lab",
        metavar="FOLDER",
        type=folder_of_a_lab,
        help="test_lab.py: judge the scripts in this folder, and run no other tests",
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "beyond: what the handout does not ask for")


def pytest_collection_modifyitems(config, items):
    if sys.platform == "win32":
        for item in items:
            item.add_marker(pytest.mark.skip(reason="the tests are for Linux and macOS"))
    if config.getoption("--lab"):
        items[:] = [item for item in items if item.path.name == "test_lab.py"]
        for item in items:
            if item.get_closest_marker("beyond"):
                item.add_marker(pytest.mark.xfail(reason="beyond the handout"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With LAB_NO_SKIPS set, as in CI, count what is skipped as failed."""
    report = (yield).get_result()
    if report.skipped and os.environ.get("LAB_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped although LAB_NO_SKIPS is set: {report.longrepr}"


@pytest.fixture
def fake_server():
    """Return a function that starts a FakeServer which lasts as long as the test."""
    with contextlib.ExitStack() as servers:
        yield lambda *args, **options: servers.enter_context(FakeServer(*args, **options))


@pytest.fixture
def ask(fake_server):
    """Return a function that runs the client against a server that behaves as it is told."""

    def ask(behaviour=honest, *options):
        server = fake_server(behaviour)
        return client(*options, server.host, server.port)

    return ask


@pytest.fixture
def in_turn(fake_server):
    """Return a function that starts a server with a behaviour for each request, in this order."""

    def in_turn(*behaviours):
        server = fake_server(lambda request: behaviours[len(server.requests) - 1](request))
        return server

    return in_turn


@pytest.fixture(scope="session")
def chronyd(tmp_path_factory):
    """Run a real chronyd at stratum 2, which never touches the clock; return its UDP port."""
    if not shutil.which("chronyd", path=SYSTEM_PATH):
        pytest.skip("chronyd is not installed (Debian package chrony)")
    folder, port = tmp_path_factory.mktemp("chronyd"), free_port()
    with real_chronyd(folder, port) as answers:
        if not answers:
            pytest.skip(f"chronyd does not answer here: {(folder / 'log').read_text()}")
        yield port
