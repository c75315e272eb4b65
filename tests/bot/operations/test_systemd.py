import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from bot.operations.systemd import Supervisor
from bot.settings import Supervision

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no systemd")


def bind(address: str) -> socket.socket:
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(address.replace("@", "\0", 1))
    systemd.setblocking(False)
    return systemd


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_is_sent_to_the_given_address(tmp_path: Path, abstract: bool):
    if abstract and sys.platform != "linux":
        pytest.skip("only Linux has abstract addresses")
    address = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with bind(address) as systemd:
        Supervisor(Supervision(address)).tell("READY=1", "STATUS=Here.")
        assert systemd.recv(1000) == b"READY=1\nSTATUS=Here."


def test_a_late_start_extends_the_time_for_it(tmp_path: Path):
    with bind(str(tmp_path / "notify")) as systemd:
        Supervisor(Supervision(str(tmp_path / "notify"))).starting_late(1.5, "Not yet.")
        assert systemd.recv(1000) == b"EXTEND_TIMEOUT_USEC=901500000\nSTATUS=Not yet."


def test_a_systemd_that_is_gone_is_only_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    Supervisor(Supervision(str(tmp_path / "nobody"))).tell("READY=1")
    assert "NOTIFY_SOCKET" in caplog.text


def test_without_an_address_nothing_is_sent():
    Supervisor(Supervision()).tell("READY=1")


async def test_the_watchdog_is_fed_only_while_the_bot_is_well(tmp_path: Path):
    wells = [True, False, True]
    with bind(str(tmp_path / "notify")) as systemd:
        supervisor = Supervisor(Supervision(str(tmp_path / "notify"), watchdog_s=0.0001))
        with pytest.raises(IndexError):
            await asyncio.wait_for(supervisor.watch(wells.pop), 60)
        assert [systemd.recv(1000) for _ in range(2)] == [b"WATCHDOG=1"] * 2
        with pytest.raises(BlockingIOError):
            systemd.recv(1000)


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_a_watchdog_is_for_the_process_it_names(
    environment: dict[str, str], interval_s: float | None
):
    assert Supervision.load(environment).watchdog_s == interval_s
