import errno
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from charrnn import store
from charrnn.store import Model
from charrnn.training.events import Finished, Halted, Progress, parse_event
from charrnn.training.recipes import PRESETS
from charrnn.training.run.checkpoint import checkpoints_of
from tests.charrnn.training.conftest import SMALL

Run = Callable[..., str]


def test_generate_prints_the_seed_and_exactly_the_length_after_it(charrnn: Run, stateful: Model):
    printed = charrnn("generate", "So be", "--model", stateful.folder, "--length", "77")
    assert printed.startswith("So be")
    assert len(printed) == len("So be") + 77 + 1


def test_generate_as_json_says_how_to_get_the_same_again(charrnn: Run, stateful: Model):
    options = ("generate", "So ☃", "--model", stateful.folder, "--length", "50", "--json")
    sampling = ("--temperature", "0.9", "--top-k", "5")
    first = json.loads(charrnn(*options, *sampling))
    assert first == {
        "seed": "So ☃",
        "text": first["text"],
        "model": "tiny",
        "temperature": 0.9,
        "top_p": 0.95,
        "top_k": 5,
        "rng_seed": first["rng_seed"],
        "dropped": "☃",
    }
    assert len(first["text"]) == 50
    again = charrnn(*options, *sampling, "--rng-seed", first["rng_seed"])
    assert json.loads(again) == first


def test_a_seed_may_come_from_standard_input(
    charrnn: Run, stateful: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "stdin").write_bytes(b"So be it,\nHERO\xff\n")
    options = ("--model", stateful.folder, "--rng-seed", 1, "--length", 50)
    with (tmp_path / "stdin").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        printed = charrnn("generate", "-", *options)
    assert printed == charrnn("generate", "So be it,\nHERO\\xff", *options)


def test_somebody_of_the_play_says_the_seed(charrnn: Run, stateful: Model):
    options = ("--model", stateful.folder, "--rng-seed", 1, "--length", 50)
    printed = charrnn("generate", "So be it", "--as", "beatrice", *options)
    assert printed == charrnn("generate", "Beatrice:\nSo be it", *options)


@pytest.mark.parametrize(
    ("model", "name", "sentence"),
    [
        ("shakespeare", "Gandalf", "knows no speaker called 'Gandalf'. Did you mean Pandar?"),
        ("shakespeare", "X", "'X'. Its most frequent are GLOUCESTER, FALSTAFF, HAMLET."),
        ("chat", "HAMLET", "chat has learnt no play, so it knows no speakers."),
    ],
)
def test_an_unknown_speaker_is_refused_with_other_names(
    charrnn: Run, model: str, name: str, sentence: str
):
    assert sentence in charrnn("generate", "--as", name, "--model", model, fails=True)


def test_a_seed_of_broken_bytes_is_answered(charrnn: Run, stateful: Model):
    printed = charrnn("generate", "a\udcff", "--model", stateful.folder, "--length", "5")
    assert printed.startswith("a\\udcff")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("generate", "x", "--model", "nosuch"), "There is no model 'nosuch'"),
        (("generate", "x", "--temperature", "-1"), "temperature must be 0 to 5"),
        (("evaluate", "nosuch.txt"), "nosuch.txt cannot be read"),
        (("evaluate", "README.md", "--samples", "3"), "--samples compares with the training text"),
        (("train", "README.md", "--output", "x", "--plot", "x.doc"), ".pdf, not x.doc"),
        (
            ("train", "README.md", "--output", "x", "--base", "chat", "--preset", "othello"),
            "leave out --preset",
        ),
        (("train", "LICENSE", "--output", "x"), "too few to train on. It takes 11,111"),
        (("convert", "nosuch.keras", "x"), "There is no nosuch.keras."),
        (("convert", "LICENSE", "x"), "--text FILE is needed"),
        (("convert", "nosuch", "x.onnx"), "There is no model 'nosuch'"),
        (("convert", "shakespeare", "/nonexistent/x.onnx"), "/nonexistent/x.onnx: No such file"),
        (
            ("train", "README.md", "--output", "docs"),
            "docs exists already. Choose another name, or delete it first.",
        ),
        (("train", "README.md", "--output", "LICENSE/x"), "LICENSE/x cannot be written: Not a"),
        (("convert", "LICENSE", "docs", "--text", "README.md"), "docs exists already"),
        (("convert", "nosuch.h5", "x", "--text", "README.md"), "There is no nosuch.h5."),
        (("convert", "LICENSE", "x", "--text", "nosuch.txt"), "There is no nosuch.txt."),
        (("evaluate", "README.md", "--held-out-share", "nan"), "held-out share must be"),
        (("train", "nosuch.txt", "--output", "x"), "nosuch.txt cannot be read"),
    ],
)
def test_a_mistake_is_answered_with_one_sentence(
    charrnn: Run, arguments: tuple[str, ...], sentence: str
):
    message = charrnn(*arguments, fails=True)
    assert message.startswith(("Error: ", "Usage: ")), "nothing stands before it"
    assert sentence in message
    assert "Traceback" not in message


class FullDisk(io.StringIO):
    def write(self, _: str, /) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_answered_with_one_sentence(charrnn: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", FullDisk())
    assert charrnn("info", fails=True) == "Error: No space left on device.\n"


def test_evaluate_measures_the_share_that_was_held_out(
    charrnn: Run, stateful: Model, tmp_path: Path
):
    text = tmp_path / "text.txt"
    text.write_text("So be it, HERO.\n" * 50)
    everything = json.loads(charrnn("evaluate", text, "--model", stateful.folder, "--json"))
    assert everything["characters"] == 799
    assert everything["bits"] == pytest.approx(everything["nats"] / 0.6931, rel=1e-3)
    share = ("--held-out-share", "0.1")
    last = json.loads(charrnn("evaluate", text, "--model", stateful.folder, "--json", *share))
    assert last["characters"] == 79


def test_evaluate_says_what_is_not_counted_and_refuses_another_alphabet(
    charrnn: Run, stateful: Model, tmp_path: Path
):
    text = tmp_path / "text.txt"
    text.write_text("So be it, 1234.\n" * 50)
    measured = json.loads(charrnn("evaluate", text, "--model", stateful.folder, "--json"))
    assert (measured["unknown"], measured["dropped"]) == (0.25, "1234")
    text.write_text("Ада ёжик утром\n" * 50, encoding="utf-8")
    refused = charrnn("evaluate", text, "--model", stateful.folder, fails=True)
    assert "tiny does not know 80% of this text's characters" in refused


def test_info_begins_with_network_and_scores_and_shortens_the_vocabulary(charrnn: Run):
    shown = charrnn("info", "chat").splitlines()
    assert "network" in shown[1] and "held out" in " ".join(shown[2:6])
    assert any("vocabulary" in line for line in shown)
    assert "é" not in "".join(shown)


def test_info_shows_the_most_frequent_speakers_and_explains_the_opening(charrnn: Run):
    shown = " ".join(charrnn("info", "shakespeare").replace("│", " ").split())
    assert "GLOUCESTER, FALSTAFF, HAMLET, OTHELLO, IAGO and 508 more" in shown
    assert "opening, read before a short seed" in shown


def test_info_lists_the_shipped_models_and_describes_one(charrnn: Run, stateful: Model):
    for name in store.shipped():
        assert name in charrnn("info")
    assert "LSTM 24 + LSTM 17" in charrnn("info", stateful.folder)


def test_info_shows_recipe_and_history_in_words(charrnn: Run):
    shown = charrnn("info", "tinyshakespeare")
    for part in ("learning rate 0.002", "cosine yes", "validation loss 1.4"):
        assert part in " ".join(shown.replace("│", " ").split())


def test_train_reports_json_lines_and_writes_a_model_that_generates(
    charrnn: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(PRESETS, "shakespeare", SMALL)
    text, output = tmp_path / "text.txt", tmp_path / "model"
    text.write_text("So be it, HERO.\n" * 750)
    options = ("--epochs", "1", "--batch-size", "64")
    printed = charrnn("train", text, "--output", output, *options, "--progress", "json")
    warning, *_, epoch, finished = map(parse_event, printed.splitlines())
    assert "12,000 characters are not many" in warning.message
    assert "2.09 nats per character, and 1.43 from the base" in warning.message
    assert len(epoch.sample) == 300
    assert epoch.validation_loss > 0
    card = store.load(output).card
    assert finished == Finished(str(output), card.scores, base_nats=None, voice=None)
    assert card.training["command"].startswith(f"charrnn train {text} --output {output}")
    assert len(charrnn("generate", "--model", output, "--length", "9")) == 10


def write_chat(path: Path, author: str, *contents: str) -> None:
    lines = ({"author": author, "bot": False, "content": content} for content in contents)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_train_says_what_it_made_of_a_channel(charrnn: Run, tmp_path: Path):
    channel = tmp_path / "channel.jsonl"
    write_chat(channel, "ada", "hi", "hi", "!play", "so be it", "https://example.com")
    said = charrnn("train", channel, "--output", tmp_path / "model", fails=True)
    assert "channel.jsonl: 2 messages of 1 person; left out: 1 as commands, 1 with" in said
    assert "too few to train on" in said


def test_train_counts_a_folder_of_chats_in_one_line(charrnn: Run, tmp_path: Path):
    chats = tmp_path / "chats"
    chats.mkdir()
    write_chat(chats / "monday.jsonl", "ada", "hi", "!play")
    write_chat(chats / "tuesday.jsonl", "bo", "hi", "!stop", "so be it")
    said = charrnn("train", chats, "--output", tmp_path / "model", fails=True)
    assert said.startswith("chats: 2 messages of 2 people; left out: 2 as commands, 1 as repeats\n")


def test_train_names_what_it_skips_in_a_folder(charrnn: Run, tmp_path: Path):
    (tmp_path / "mix").mkdir()
    for name in ("text.txt", "pic.png", "dce.html"):
        (tmp_path / "mix" / name).write_text("So be it, HERO.")
    said = charrnn("train", tmp_path / "mix", "--output", tmp_path / "model", fails=True)
    assert "skipped in mix: dce.html, pic.png" in said


def test_train_uses_as_many_threads_as_it_is_told():
    """In a process of its own, since TensorFlow takes the numbers only once."""
    program = """
from charrnn.cli.backend import with_keras
with_keras("recipes", threads=3)
import tensorflow
config = tensorflow.config.threading
print(config.get_inter_op_parallelism_threads(), config.get_intra_op_parallelism_threads())
"""
    result = subprocess.run(
        [sys.executable, "-c", program], stdout=-1, encoding="utf-8", check=True
    )
    assert result.stdout.split() == ["3", "1"]


@pytest.mark.parametrize("begun", [True, False])
def test_a_training_stops_when_standard_input_ends_and_resumes(
    charrnn: Run, stateful: Model, tmp_path: Path, begun: bool
):
    text, output = tmp_path / "text.txt", tmp_path / "model"
    text.write_text("So be it, HERO. And one for thee.\n" * 150)
    train = ["train", text, "--base", stateful.folder, "--output", output, "--epochs", "1"]
    words = [sys.executable, "-m", "charrnn", *train, "--progress", "json", "--stop-with-stdin"]
    with subprocess.Popen(words, stdin=-1, stdout=-1, stderr=-1, encoding="utf-8") as process:
        assert process.stdin and process.stdout
        if begun:
            next(line for line in process.stdout if isinstance(parse_event(line), Progress))
        process.stdin.close()
        *_, last = process.stdout
    event = parse_event(last)
    assert isinstance(event, Halted)
    assert checkpoints_of(output).is_dir() == begun
    assert ("The same command with --resume continues" in event.message) == begun
    assert not output.exists()
    charrnn(*train, *(["--resume"] if begun else []))
    assert store.load(output).card.training["epochs"] == 1


def test_convert_takes_the_standard_files_out_of_a_folder(
    charrnn: Run, stateful: Model, tmp_path: Path
):
    for name, original in (("out.keras", store.KERAS), ("out.onnx", store.ONNX)):
        charrnn("convert", stateful.folder, tmp_path / name)
        assert (tmp_path / name).read_bytes() == (stateful.folder / original).read_bytes()


@pytest.mark.parametrize("name", ["out.keras", "out.onnx"])
def test_convert_overwrites_no_file(charrnn: Run, stateful: Model, tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"of another model")
    said = charrnn("convert", stateful.folder, tmp_path / name, fails=True)
    assert f"{name} exists already. Choose another name" in said
    assert (tmp_path / name).read_bytes() == b"of another model"
