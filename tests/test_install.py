"""What `make` and `pip install` do."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import charrnn as package
from bot.services import TRAINING_PACKAGES

ROOT = Path(__file__).parent.parent

with_make = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("make") is None, reason="no make is installed"
)


@with_make
@pytest.mark.parametrize(
    ("target", "does"),
    [("run", ".venv/bin/python -m bot\n"), ("test", ".venv/bin/python -m pytest ")],
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
    second = subprocess.check_output(plan, cwd=tmp_path, encoding="utf-8")
    assert second.startswith(does) and second.count("\n") == 1


def test_the_bar_hides_what_pip_prints_but_not_its_errors():
    pip = "print('Collecting numpy'); import sys; sys.exit('ERROR: No network.')"
    done = subprocess.run(
        [sys.executable, ROOT / "deploy" / "with_bar.py", "36", sys.executable, "-c", pip],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "ERROR: No network.\n")


@with_make
@pytest.mark.parametrize(
    ("printed", "code", "passes", "said"),
    [
        ("No known vulnerabilities found", 0, True, "No known vulnerabilities found\n"),
        ("Found 1 known vulnerability in 1 package\nrich 1 not found on PyPI", 1, False, "Found 1"),
        (
            "rich 15.0.0 not found on PyPI and could not be audited",
            0,
            True,
            "Not everything was audited",
        ),
        ("requests.exceptions.ConnectionError: pypi.org", 1, True, "Not everything was audited"),
        ("error: unrecognized arguments", 2, False, "error: unrecognized arguments\n"),
    ],
)
def test_an_audit_fails_for_vulnerabilities_but_not_without_a_network(
    tmp_path: Path, printed: str, code: int, passes: bool, said: str
):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "pip").touch()
    (programs / "pip-audit").write_text(f"#!/bin/sh\necho '{printed}' >&2\nexit {code}\n")
    (programs / "pip-audit").chmod(0o755)
    (tmp_path / ".venv" / "test.installed").touch()
    audit = ["make", "--silent", "audit"]
    done = subprocess.run(audit, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == (0 if passes else 2)
    assert done.stdout.startswith(said)


def test_the_oldest_versions_are_those_that_pyproject_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [
        *project["dependencies"],
        *(line for extra in extras.keys() - {"benchmark", "test"} for line in extras[extra]),
    ]
    lines = (ROOT / "constraints-oldest.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for needed in map(Requirement, named):
        oldest = next(bound.version for bound in needed.specifier if bound.operator == ">=")
        assert f"{pins[canonicalize_name(needed.name)]}.0".startswith(f"{oldest}."), needed


def test_training_looks_for_what_its_extra_installs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extra = project["optional-dependencies"]["train"]
    assert sorted(Requirement(line).name for line in extra) == list(TRAINING_PACKAGES)


def test_pre_commit_runs_the_versions_that_are_tested():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert [hook["rev"] for hook in hooks] == [f"v{pins['ruff']}", f"v{pins['pyright']}"]


def test_the_changelog_begins_with_the_version():
    [latest, *_] = re.findall(r"^## \[(\d.*?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert latest == package.__version__


def test_the_installed_command_works_from_any_folder(tmp_path: Path):
    site = tmp_path / "site"
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", site]
    subprocess.run([sys.executable, "-m", *install, ROOT], check=True)
    assert (site / "bot" / "cogs" / "generate.py").is_file()
    main = "import charrnn.cli.commands; print(charrnn.__file__); charrnn.cli.commands.main()"

    def charrnn(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", main, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(site)},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )

    assert charrnn("--version").stdout.endswith(f"\ncharrnn {package.__version__}\n")
    for model in ("shakespeare", "tinyshakespeare"):
        printed = charrnn("generate", "So be it", "--length", "20", "--model", model).stdout
        where, _, text = printed.partition("\n")
        assert where == str(site / "charrnn" / "__init__.py")
        assert text.startswith("So be it")
        assert len(text) == len("So be it") + 20 + 1
    # A large Keras file is left out of the package. The bot's models are complete.
    weights = site / "charrnn" / "weights"
    assert sum(file.stat().st_size for file in weights.glob("*/*")) < 60e6
    for model in ("chat", "shakespeare"):
        assert not charrnn("convert", model, f"{model}.keras").returncode
    assert not charrnn("web", "othello", "--output", "page").returncode
    refused = charrnn("convert", "tinyshakespeare", "t.keras").stderr.replace("\n", " ")
    assert str(weights / "tinyshakespeare" / "model.keras is missing;") in refused
    assert "use a clone of the repository" in refused
