"""What `make` and `pip install` leave behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(shutil.which("make") is None, reason="no make is installed")
@pytest.mark.parametrize(
    ("target", "does"), [("run", ".venv/bin/python -m bot"), ("test", ".venv/bin/python -m pytest")]
)
def test_a_second_make_installs_nothing(tmp_path: Path, target: str, does: str):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    plan = ["make", "--no-print-directory", "--dry-run", target]
    first = subprocess.check_output(plan, cwd=tmp_path, encoding="utf-8")
    assert "pip install" in first
    assert "-m venv" in first
    environment = tmp_path / ".venv"
    (environment / "bin").mkdir(parents=True)
    for name in ("bin/pip", f"{target}.installed"):
        (environment / name).touch()
    assert subprocess.check_output(plan, cwd=tmp_path, encoding="utf-8") == does + "\n"


def test_the_installed_command_works_from_any_folder(tmp_path: Path):
    site = tmp_path / "site"
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site]
    subprocess.run([sys.executable, "-m", *install, ROOT], check=True)
    assert (site / "bot" / "cogs" / "generate.py").is_file()
    generate = "import charrnn.cli, sys; print(charrnn.__file__); charrnn.cli.main()"
    printed = subprocess.check_output(
        [sys.executable, "-c", generate, "generate", "So be it", "--length", "20"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        encoding="utf-8",
    )
    where, _, text = printed.partition("\n")
    assert where == str(site / "charrnn" / "__init__.py")
    assert text.startswith("So be it")
    assert len(text) == len("So be it") + 20 + 1
