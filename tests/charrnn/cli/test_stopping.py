"""`stop_requests` in a process of its own, which prints "waiting", then "stopped" when asked to."""

import signal
import subprocess
import sys

import pytest

WAITS = """
import signal, sys, time
from rich.console import Console
from charrnn.cli.stopping import end_of_stdin, stop_requests

# A shell starts background jobs, such as the tests themselves, with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
ended = end_of_stdin() if "--stop-with-stdin" in sys.argv else None
if "--importing" in sys.argv:
    print("waiting", flush=True)
    for _ in range(6000):  # a minute
        time.sleep(0.01)
with stop_requests(Console(stderr=True), ended) as stopping:
    print("waiting", flush=True)
    while not stopping():
        time.sleep(0.01)
    print("stopped", flush=True)
    if "--go-on" in sys.argv:
        time.sleep(600)
"""


def waiting(*options: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, *options], stdin=-1, stdout=-1, stderr=-1, encoding="utf-8"
    )
    assert process.stdout and process.stdout.readline() == "waiting\n"
    return process


posix = pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process")


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_to_stop(number: int):
    with waiting() as process:
        process.send_signal(number)
        said, told = process.communicate()
    assert (process.returncode, said) == (0, "stopped\n")
    assert "Stopping after this batch." in told


@posix
def test_a_second_ctrl_c_ends_the_program_at_once():
    with waiting("--go-on") as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "stopped\n"
        process.send_signal(signal.SIGINT)
        assert process.wait() != 0


@posix
def test_the_end_of_standard_input_asks_to_stop_where_a_program_wants_it():
    with waiting("--stop-with-stdin") as process:
        process.send_signal(signal.SIGINT)  # a terminal sends it to all processes
        said, told = process.communicate("not yet the end\n")
    assert (process.returncode, said, told) == (0, "stopped\n", "")


def test_the_end_of_standard_input_interrupts_what_comes_before_a_training():
    with waiting("--stop-with-stdin", "--importing") as process:
        process.stdin.close()
        assert "KeyboardInterrupt" in process.stderr.read()


@posix
def test_people_may_close_standard_input():
    with waiting() as process:
        process.stdin.close()
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "stopped\n"
