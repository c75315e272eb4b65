"""What runs on Windows, as far as Linux can show it: see `like_windows`."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_layers import MODULES, ROOT, module_name

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="on Windows, all tests show it")

LIKE_WINDOWS = (sys.executable, "-W", "ignore", "-m", "tests.like_windows")
# Pipes and files have another encoding than UTF-8.
CODE_PAGE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def environment(**settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "DISCORD_TOKEN"}
    return kept | CODE_PAGE | {"PYTHONPATH": str(ROOT)} | settings


def test_every_module_can_be_imported():
    modules = sorted(set(map(module_name, MODULES)) - {"charrnn.__main__"})
    program = f"""
import importlib, sys
from tests import like_windows
like_windows.begin()
for module in {modules}:
    importlib.import_module(module)
"""
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment(), check=True)


def test_generate_reads_and_prints_utf_8():
    command = (*LIKE_WINDOWS, "charrnn", "generate", "-", "--length", "20", "--model", "chat")
    done = subprocess.run(
        command, input="Où? ☃\n".encode(), env=environment(), capture_output=True, check=True
    )
    assert done.stdout.decode().startswith("Où? ☃")
    assert "☃" in done.stderr.decode()


def test_the_preview_starts_and_stops(tmp_path: Path):
    quiet = {"PREVIEW_BROWSER": "no", "LOG_LEVEL": "ERROR"}
    settings = environment(PREVIEW_PORT="0", TMPDIR=str(tmp_path), **quiet)
    command = (*LIKE_WINDOWS, "bot")
    with subprocess.Popen(command, env=settings, cwd=tmp_path, stdout=-1, stderr=-1) as process:
        assert process.stdout and process.stderr
        assert any(re.search(rb"http://\S+", line) for line in process.stdout)
        process.send_signal(signal.SIGINT)
        log = process.stderr.read()
    assert (process.returncode, log) == (0, b"")
    assert not list(tmp_path.glob("charrnn-*"))
