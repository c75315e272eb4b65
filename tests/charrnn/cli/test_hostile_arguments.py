"""Whatever is typed or handed over, the command line answers with one sentence."""

import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from charrnn import store

ESCAPE = "\x1b]0;evil\x07"


BEYOND = {
    "generate": {
        "length": (0, -1, 1_000_001, 10**30, "nan", 1.5, ""),
        "temperature": ("nan", "inf", "-inf", "1e400", "hot"),
        "top-p": (0, -1, 1.1, "nan"),
        "top-k": (0, -(10**30), "nan"),
        "rng-seed": (-1, 2**63, 10**400),
    },
    "train": {
        "rng-seed": (-1, 2**32),
        "longest-copy": (0, 10**12),
        "epochs": (0, 10**9),
        "batch-size": (0, 10**9),
        "learning-rate": (0, -1, "nan", "inf"),
        "held-out-share": (0, -1, 2, "nan"),
    },
    "evaluate": {"samples": (-1, 10**9)},
}


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        pytest.param(command, option, value, id=f"{command} {option} {value}"[:40])
        for command, options in BEYOND.items()
        for option, values in options.items()
        for value in values
    ],
)
def test_an_option_beyond_its_limits_is_named(
    charrnn: Callable[..., str], tmp_path: Path, command: str, option: str, value: object
):
    text = tmp_path / "text.txt"
    text.write_text("So be it, HERO.\n" * 1000)
    output = ("--output", tmp_path / "m") if command == "train" else ()
    said = charrnn(command, text, f"--{option}={value}", *output, fails=True)
    assert "Traceback" not in said
    # As it is typed, or in words: "The batch size must be", "The random seed must be".
    name = option.removeprefix("rng-").replace("-", "[- ]")
    assert re.search(name, said, re.IGNORECASE)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["..", "/dev/null", "☃", "a" * 5000], ids=lambda n: n[:9])
def test_a_model_that_is_none_is_named(charrnn: Callable[..., str], name: str):
    said = charrnn("generate", "x", "--model", name, fails=True)
    assert said.startswith("Error: ") and name in said


def test_a_card_cannot_take_over_the_terminal(charrnn: Callable[..., str], model_folder: Path):
    path = model_folder / store.CARD
    card = json.loads(path.read_text("utf-8"))
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
    card = json.loads(path.read_text("utf-8"))
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
