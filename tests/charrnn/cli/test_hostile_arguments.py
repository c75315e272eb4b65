"""Whatever is typed or handed over, the command line answers with one sentence."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from charrnn import store

ESCAPE = "\x1b]0;evil\x07"


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
    charrnn: Callable[..., str], tmp_path: Path, arguments: tuple[str, ...]
):
    output = ("--output", tmp_path / "m") if arguments[0] == "train" else ()
    assert "Traceback" not in charrnn(*arguments, *output, fails=True)
    assert not (tmp_path / "m").exists()


def test_a_card_cannot_take_over_the_terminal(charrnn: Callable[..., str], model_folder: Path):
    path = model_folder / store.CARD
    card = json.loads(path.read_text())
    told = {"training": {ESCAPE: ESCAPE}, "scores": {ESCAPE: {ESCAPE: 1}}}
    path.write_text(json.dumps(card | told))
    assert "\x1b" not in charrnn("info", model_folder)
    path.write_text(json.dumps(card | {"spec": {**card["spec"], ESCAPE: 1}}))
    assert "\x1b" not in charrnn("info", model_folder, fails=True)


def test_a_seed_cannot_take_over_the_terminal(charrnn: Callable[..., str]):
    seed = f"{ESCAPE}\x9b2J\u202e\u200b"
    printed = charrnn("generate", seed, "--model", "shakespeare", "--length", "5")
    assert printed.startswith("U+001B]0;evilU+0007U+009B2JU+202EU+200B")


def test_joiners_in_words_and_emoji_are_printed(charrnn: Callable[..., str]):
    seed = "می\u200cخواهم 👩\u200d🚀"
    assert charrnn("generate", seed, "--model", "shakespeare", "--length", "5").startswith(seed)


def test_an_alphabet_cannot_take_over_the_terminal(charrnn: Callable[..., str], model_folder: Path):
    path = model_folder / store.CARD
    card = json.loads(path.read_text())
    hidden = "\x0b\x1c\x85\u202e\u2066\u200b"
    other = str.maketrans("aeinot", hidden)
    changed = {name: card[name].translate(other) for name in ("vocabulary", "opening")}
    path.write_text(json.dumps(card | changed))
    for command in (("generate", "S", "--model", model_folder), ("info", model_folder)):
        assert not set(hidden) & set(charrnn(*command))


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *product(("generate", "info", "train", "convert"), (store.CARD, store.ONNX)),
        *product(("train", "convert"), (store.KERAS,)),
    ],
)
@pytest.mark.parametrize("content", [b"", b"\0" * 1000, b"PK\x03\x04", b"{}"])
def test_every_command_says_what_is_wrong_with_a_model(
    charrnn: Callable[..., str],
    model_folder: Path,
    name: str,
    content: bytes,
    command: str,
):
    (model_folder / name).write_bytes(content)
    out = model_folder.with_name("out.keras")
    arguments = {
        "generate": ("So", "--model", model_folder),
        "info": (model_folder,),
        "train": (Path("README.md"), "--base", model_folder, "--output", out),
        "convert": (model_folder, out),
    }
    assert str(model_folder / name) in charrnn(command, *arguments[command], fails=True)
    assert not out.exists()
