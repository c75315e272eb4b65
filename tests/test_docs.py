"""What README and docs tell people to type."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.main import get_command

from charrnn.cli.commands import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
TEXT = "\n".join(page.read_text() for page in PAGES)
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where somebody types, with a channel and a text of their own."""
    sentences = [f"so be it, said the {n}th king to his queen" for n in range(200)]
    messages = [json.dumps({"content": sentence, "bot": False}) for sentence in sentences]
    (tmp_path / "channel.jsonl").write_text("\n".join(messages))
    (tmp_path / "tinyshakespeare.txt").write_text("\n".join(sentences))
    return tmp_path


def run(line: str, folder: Path) -> None:
    program = [sys.executable, "-m", *shlex.split(line)]
    done = subprocess.run(program, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        line
        for line in typed("charrnn")
        if re.match(r"charrnn (generate|evaluate (channel|tiny))", line) and " mine" not in line
    ],
)
def test_what_writes_and_what_measures_is_run_as_written(line: str, folder: Path):
    run(line, folder)


def test_a_model_of_ones_own_is_made_and_used_as_written_but_for_an_epoch(folder: Path):
    [block] = [block for _, block in BLOCKS if "--output mine" in block]
    train, generate = block.splitlines()
    run(f"{train} --epochs 1", folder)
    run(generate, folder)
    assert (folder / "curve.png").is_file()


@pytest.mark.parametrize("code", [block for kind, block in BLOCKS if kind == "python"])
def test_python_runs_as_written(code: str, tmp_path: Path):
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("line", typed("make"))
def test_make_knows_its_targets(line: str):
    dry = subprocess.run(["make", "-n", *shlex.split(line)[1:]], cwd=ROOT, check=False)  # noqa: S607
    assert dry.returncode == 0


@pytest.mark.parametrize("line", [line for line in TYPED if line.startswith("python benchmarks/")])
def test_benchmarks_take_what_is_written(line: str):
    _, program, *arguments = shlex.split(line)
    offered = subprocess.run(
        [sys.executable, program, "--help"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert {word for word in arguments if word.startswith("--")} <= set(offered.stdout.split())


def test_extras_that_are_to_be_installed_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {
        extra for extras in re.findall(r"'\.\[([\w,]+)\]'", TEXT) for extra in extras.split(",")
    }
    assert named and named <= set(project["optional-dependencies"])
