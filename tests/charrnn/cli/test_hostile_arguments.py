"""Whatever is typed or handed over, the command line answers with one sentence."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from charrnn import store
from charrnn.cli import commands

ESCAPE = "\x1b]0;evil\x07"


def refused(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: object) -> str:
    """What a command says on standard error that ends with exit code 1 or, of an option, 2."""
    monkeypatch.setattr(sys, "argv", ["charrnn", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        commands.main()
    assert exit_.value.code in (1, 2)
    said = capsys.readouterr().err
    assert said and "Traceback" not in said
    return said


@pytest.mark.parametrize(
    "arguments",
    [
        *(("generate", "x", f"--length={n}") for n in (0, -1, 1_000_001, 10**30, "nan", 1.5, "")),
        *(("generate", "x", f"--temperature={n}") for n in ("nan", "inf", "-inf", "1e400", "hot")),
        *(("generate", "x", f"--top-p={n}") for n in (0, -1, 1.1, "nan")),
        *(("generate", "x", f"--top-k={n}") for n in (0, -(10**30), "nan")),
        *(("generate", "x", f"--rng-seed={n}") for n in (-1, 2**63, 10**400)),
        *(("generate", "x", f"--model={name}") for name in ("a" * 5000, "..", "/dev/null", "☃")),
        *(("train", "README.md", f"--rng-seed={n}") for n in (-1, 2**32)),
        *(("train", "README.md", f"--longest-copy={n}") for n in (0, 10**12)),
        *(("train", "README.md", f"--{name}=0") for name in ("epochs", "batch-size")),
        *(("train", "README.md", f"--{name}={10**9}") for name in ("epochs", "batch-size")),
        *(("train", "README.md", f"--learning-rate={n}") for n in (0, -1, "nan", "inf")),
        *(("train", "README.md", f"--held-out-share={n}") for n in (0, -1, 2, "nan")),
        *(("evaluate", "README.md", f"--samples={n}") for n in (-1, 10**9)),
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_an_option_beyond_its_limits_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path, arguments: tuple[str, ...]
):
    output = ("--output", tmp_path / "m") if arguments[0] == "train" else ()
    refused(monkeypatch, capsys, *arguments, *output)
    assert not (tmp_path / "m").exists()


def test_a_card_cannot_take_over_the_terminal(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    path = model_folder / store.CARD
    card = json.loads(path.read_text())
    told = {"training": {ESCAPE: ESCAPE}, "scores": {ESCAPE: {ESCAPE: 1}}}
    path.write_text(json.dumps(card | told))
    monkeypatch.setattr(sys, "argv", ["charrnn", "info", str(model_folder)])
    with pytest.raises(SystemExit, match="0"):
        commands.main()
    assert "\x1b" not in capsys.readouterr().out
    path.write_text(json.dumps(card | {"spec": {**card["spec"], ESCAPE: 1}}))
    assert "\x1b" not in refused(monkeypatch, capsys, "info", model_folder)


@pytest.mark.parametrize("name", [store.CARD, store.KERAS, store.ONNX])
@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"PK\x03\x04", b"{}"])
@pytest.mark.parametrize("command", ["generate", "info", "train", "convert"])
def test_every_command_says_what_is_wrong_with_a_model(
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    name: str,
    content: bytes,
    command: str,
):
    (model_folder / name).write_bytes(content)
    out = model_folder.with_name("out.onnx")
    arguments = {
        "generate": ("So", "--model", model_folder),
        "info": (model_folder,),
        "train": (Path("README.md"), "--base", model_folder, "--output", out),
        "convert": (model_folder, out),
    }
    assert str(model_folder / name) in refused(monkeypatch, capsys, command, *arguments[command])
    assert not out.exists()
