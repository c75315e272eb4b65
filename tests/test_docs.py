"""What README and docs tell people to type."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from charrnn.cli.commands import app
from charrnn.store import Model
from tests.test_install import with_make

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
CELLS = [
    cell
    for notebook in ROOT.glob("notebooks/*.ipynb")
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]
    if cell["cell_type"] == "markdown"
]
TEXT = "\n".join(
    [*(page.read_text("utf-8") for page in PAGES), *("".join(cell["source"]) for cell in CELLS)]
)
BLOCKS = re.findall(r"^ *```(\w*)\n(.*?)^ *```", TEXT, re.DOTALL | re.MULTILINE)
TYPED = [
    re.sub(r"\s+#.*", "", line.strip().removeprefix("$ "))
    for block in [
        *(block for _, block in BLOCKS),
        *re.findall(r"(?:^    .+\n)+", TEXT, re.MULTILINE),
    ]
    for line in block.replace("\\\n", " ").splitlines()
]
# Within a sentence, what has arguments; else it may be but a name.
INLINE = re.findall(r"`((?:charrnn [a-z]+|make) [^`]+)`", TEXT.replace("\n", " "))


def typed(program: str) -> list[str]:
    """The commands of a program, in blocks or within a sentence, each once."""
    found = [line for line in [*TYPED, *INLINE] if line.startswith(f"{program} ")]
    return sorted({line for line in found if not set(line) & {"[", "…"} and "..." not in line})


@pytest.mark.parametrize("line", typed("charrnn"))
def test_the_command_line_takes_what_is_written(line: str):
    _, name, *arguments = shlex.split(line.replace(" SOURCE", " plays"))
    group = get_command(app)
    with group.make_context("charrnn", [name]) as context:
        _, command, _ = group.resolve_command(context, [name])
        with command.make_context(name, arguments, parent=context):
            pass


def test_a_model_is_trained_measured_and_used_as_written(
    charrnn: Callable[..., str],
    stateful: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """With a smaller base, and for one epoch."""
    sentences = [f"so be it, said the {n}th king to his queen" for n in range(80)]
    messages = [json.dumps({"content": sentence, "bot": False}) for sentence in sentences]
    (tmp_path / "channel.jsonl").write_text("\n".join(messages))
    monkeypatch.chdir(tmp_path)
    [block] = [block for _, block in BLOCKS if "--output mine" in block]
    train, generate = (shlex.split(line)[1:] for line in block.splitlines())
    charrnn(*train, "--base", stateful.folder, "--epochs", 1)
    assert (tmp_path / "curve.png").is_file()
    assert charrnn(*generate).startswith("good morning")
    [evaluate] = (line for line in typed("charrnn") if "evaluate channel.jsonl" in line)
    assert "bits" in charrnn(*shlex.split(evaluate)[1:])


@pytest.mark.parametrize("code", [block for kind, block in BLOCKS if kind == "python"])
def test_python_runs_as_written(code: str, tmp_path: Path):
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


@with_make
@pytest.mark.parametrize("line", typed("make"))
def test_make_knows_its_targets(line: str):
    dry = subprocess.run(["make", "-n", *shlex.split(line)[1:]], cwd=ROOT, check=False)  # noqa: S607
    assert dry.returncode == 0


def test_extras_that_are_to_be_installed_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lists = re.findall(r"['\"](?:\.|FILE\.whl)\[([\w,]+)\]['\"]|--extra (\w+)", TEXT)
    named = {extra for extras in map("".join, lists) for extra in extras.split(",")}
    assert named >= {"bot", "preview", "train"}
    assert named <= set(project["optional-dependencies"])


def test_programs_that_uv_and_pipx_run_exist():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    started = re.findall(r"(?:uv|pipx) run(?: --\w+ \S+)* ([\w-]+)", TEXT)
    assert started and set(started) == set(scripts)
