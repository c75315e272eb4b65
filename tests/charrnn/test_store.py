import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Prompt, generate
from charrnn.store import Model
from charrnn.verbatim import VerbatimGuard, longest_copy
from tests.conftest import JSON, replace_file


def edit_card(folder: Path, **changes: object) -> None:
    path = folder / store.CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_model_is_read_back_as_it_was_written(stateful: Model):
    assert store.load(stateful.folder).card.__dict__ | {"vocabulary": 0} == (
        stateful.card.__dict__ | {"vocabulary": 0}
    )
    assert store.load(stateful.folder).vocabulary.characters == stateful.vocabulary.characters


@pytest.mark.parametrize("name", [store.KERAS, store.ONNX, store.CARD])
def test_a_missing_file_is_named(model_folder: Path, name: str):
    (model_folder / name).unlink()
    with pytest.raises(ModelError, match=f"{name} cannot be read: No such file"):
        store.load(model_folder)


@pytest.mark.parametrize("name", [store.KERAS, store.ONNX])
def test_a_truncated_file_is_named(model_folder: Path, name: str):
    path = model_folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=f"{name} is damaged"):
        store.load(model_folder)


def test_files_of_another_model_are_noticed(model_folder: Path, windowed: Model):
    (model_folder / store.ONNX).write_bytes((windowed.folder / store.ONNX).read_bytes())
    with pytest.raises(ModelError, match=r"model\.onnx is damaged"):
        store.load(model_folder)


def test_a_card_that_lies_about_the_shapes_is_refused(model_folder: Path):
    spec = json.loads((model_folder / store.CARD).read_text())["spec"]
    edit_card(model_folder, spec=spec | {"units": [24, 18]})
    with pytest.raises(ModelError, match=r"model\.onnx: .*the spec needs"):
        store.load(model_folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 1}, "has format 1.*anew"),
        ({"format": 3}, "has format 3.*Update charrnn"),
        ({"format": None}, "not a charrnn model card"),
        ({"vocabulary": "abc"}, "names 3 characters"),
        ({"vocabulary": 5}, "lacks or garbles"),
        ({"opening": 5}, "lacks or garbles"),
        ({"spec": {}}, "lacks or garbles"),
        ({"spec": []}, "lacks or garbles"),
        ({"scores": {"held out": 5}}, "lacks or garbles"),
        ({"scores": {"held out": {"nats": "low"}}}, "lacks or garbles"),
        ({"opening": ""}, "opening must fill the window"),
        ({"opening": "\x1b" * 100}, "opening must fill the window"),
        ({"sha256": {}}, "lacks or garbles"),
    ],
)
def test_a_card_that_cannot_be_right_is_refused(model_folder: Path, changes: dict, sentence: str):
    edit_card(model_folder, **changes)
    with pytest.raises(ModelError, match=rf"card\.json.*{sentence}"):
        store.load(model_folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"[]"])
def test_a_card_that_is_no_card_is_refused(model_folder: Path, content: bytes):
    (model_folder / store.CARD).write_bytes(content)
    with pytest.raises(ModelError, match=r"card\.json"):
        store.load(model_folder)


def test_what_cannot_be_written_whole_leaves_the_old_model(model_folder: Path, stateful: Model):
    before = {p.name: p.read_bytes() for p in model_folder.iterdir()}
    with pytest.raises(FileNotFoundError):
        store.write(model_folder, stateful.card, model_folder / "nosuch.keras", b"")
    assert {p.name: p.read_bytes() for p in model_folder.iterdir()} == before
    assert [p.name for p in model_folder.parent.iterdir()] == [model_folder.name]


def test_a_swap_that_fails_half_way_brings_the_old_model_back(
    model_folder: Path, stateful: Model, monkeypatch: pytest.MonkeyPatch
):
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if target == model_folder and ".old." not in path.name:
            raise OSError("disk trouble")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OSError, match="disk trouble"):
        store.write(model_folder, stateful.card, stateful.folder / store.KERAS, b"graph")
    assert [p.name for p in model_folder.parent.iterdir()] == [model_folder.name]
    store.load(model_folder)


def test_a_model_is_replaced_and_nothing_is_left_over(model_folder: Path, windowed: Model):
    graph = (windowed.folder / store.ONNX).read_bytes()
    store.write(model_folder, windowed.card, windowed.folder / store.KERAS, graph)
    assert store.load(model_folder).card.spec == windowed.card.spec
    assert [p.name for p in model_folder.parent.iterdir()] == [model_folder.name]


def test_a_folder_that_is_no_model_is_not_written_over(tmp_path: Path, stateful: Model):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="is not a model"):
        store.write(tmp_path, stateful.card, stateful.folder / store.KERAS, b"")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_nothing_in_either_package_unpickles():
    root = Path(store.__file__).parent.parent
    for path in (*root.glob("charrnn/**/*.py"), *root.glob("bot/**/*.py")):
        source = path.read_text()
        assert "pickle" not in source.replace("unpickled", "")
        assert "safe_mode=False" not in source


def test_a_model_that_must_not_copy_its_text_keeps_what_tells_it(stateful: Model, tmp_path: Path):
    free = generate(stateful, [Prompt("So be it", 200)])[0].text
    source = stateful.vocabulary.encode(free).ids
    guard = VerbatimGuard(source, 5, len(stateful.vocabulary))
    graph = (stateful.folder / store.ONNX).read_bytes()
    store.write(tmp_path / "m", stateful.card, stateful.folder / store.KERAS, graph, guard)
    model = store.load(tmp_path / "m")
    [written] = generate(model, [Prompt("So be it", 200)])
    assert written == generate(stateful, [Prompt("So be it", 200)], guard)[0]
    assert longest_copy([model.vocabulary.encode(written.text).ids], source)[0] <= 5
    assert free[:20].encode() not in (tmp_path / "m" / store.GUARD).read_bytes()
    (tmp_path / "m" / store.GUARD).write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match=r"guard\.npz is damaged"):
        store.load(tmp_path / "m")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00"])
def test_an_archive_that_is_no_guard_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "guard.npz").write_bytes(content)
    with pytest.raises(ModelError, match="no archive of a guard"):
        VerbatimGuard.load(tmp_path / "guard.npz", 5)


def test_a_model_whose_files_are_sent_writes_as_it_did(stateful: Model, tmp_path: Path):
    store.write_files(tmp_path / "sent", store.read_files(stateful.folder))
    store.write_files(tmp_path / "light", store.read_files(stateful.folder, only_to_write=True))
    assert not (tmp_path / "light" / store.KERAS).exists()
    sent = store.load(tmp_path / "sent")
    light = store.load(tmp_path / "light", only_to_write=True)
    prompt = Prompt("So be it", 30, rng_seed=1)
    assert generate(sent, [prompt]) == generate(light, [prompt]) == generate(stateful, [prompt])


def test_a_guard_is_sent_too_and_missed_when_it_is_not(stateful: Model, tmp_path: Path):
    graph = (stateful.folder / store.ONNX).read_bytes()
    guard = VerbatimGuard(stateful.opening_ids, 20, len(stateful.vocabulary))
    store.write(tmp_path / "m", stateful.card, stateful.folder / store.KERAS, graph, guard)
    files = store.read_files(tmp_path / "m", only_to_write=True)
    store.write_files(tmp_path / "sent", files)
    assert store.load(tmp_path / "sent", only_to_write=True).guard is not None
    del files[store.GUARD]
    with pytest.raises(ModelError, match=r"guard\.npz cannot be read"):
        store.write_files(tmp_path / "unguarded", files)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({store.ONNX: b"graph"}, r"model\.onnx is damaged"),
        ({store.KERAS: b"PK"}, r"model\.keras is damaged"),
        ({store.CARD: b"{}"}, "not a charrnn model card"),
        ({"../escaped": b""}, r"no file named '\.\./escaped'"),
    ],
)
def test_of_sent_files_that_are_not_the_cards_nothing_is_written(
    stateful: Model, tmp_path: Path, changes: dict[str, bytes], sentence: str
):
    with pytest.raises(ModelError, match=sentence):
        store.write_files(tmp_path / "sent", store.read_files(stateful.folder) | changes)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_sent_is_named(stateful: Model, tmp_path: Path):
    files = store.read_files(stateful.folder)
    del files[store.ONNX]
    with pytest.raises(ModelError, match=r"model\.onnx cannot be read"):
        store.write_files(tmp_path / "sent", files)


@pytest.fixture(scope="module")
def guarded(stateful: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with a guard in it."""
    folder = tmp_path_factory.mktemp("guarded") / "m"
    guard = VerbatimGuard(stateful.opening_ids, 5, len(stateful.vocabulary))
    graph = (stateful.folder / store.ONNX).read_bytes()
    store.write(folder, stateful.card, stateful.folder / store.KERAS, graph, guard)
    return folder


def entries(card: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where something stands in a card."""
    for key, value in card.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from entries(value, (*path, key))


@given(data=st.data())
def test_a_card_with_anything_in_it_is_read_or_refused(guarded: Path, data: Any):
    path = guarded / store.CARD
    whole = path.read_text()
    card = json.loads(whole)
    changed = deepcopy(card)
    *above, key = data.draw(st.sampled_from(list(entries(card))))
    part = changed
    for name in above:
        part = part[name]
    part[key] = data.draw(JSON)
    path.write_text(json.dumps(changed))
    try:
        model = store.load(guarded)
        generate(model, [Prompt("So", 5)])
    except ModelError as error:
        assert str(error)
    finally:
        path.write_text(whole)


@pytest.mark.parametrize("vocabulary", [["a", "b"], {"a": 1, "b": 2}])
def test_a_vocabulary_is_a_string(model_folder: Path, vocabulary: Any):
    path = model_folder / store.CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocabulary": vocabulary}))
    with pytest.raises(ModelError, match="vocabulary is no str"):
        store.load(model_folder)


@pytest.mark.parametrize("name", [store.CARD, store.ONNX, store.KERAS])
def test_a_device_in_place_of_a_file_is_not_read(model_folder: Path, name: str):
    (model_folder / name).unlink()
    (model_folder / name).symlink_to("/dev/zero")
    with pytest.raises(ModelError, match=f"{name} is not a file; the model is damaged"):
        store.load(model_folder)


@settings(max_examples=50)
@given(st.sampled_from([store.ONNX, store.GUARD]), st.data())
def test_a_garbled_file_that_the_card_vouches_for_is_refused_or_runs(
    guarded: Path, name: str, data: Any
):
    kept = {file: (guarded / file).read_bytes() for file in (name, store.CARD)}
    garbled = bytearray(kept[name])
    for place in data.draw(st.lists(st.integers(0, len(garbled) - 1), min_size=1, max_size=4)):
        garbled[place] = data.draw(st.integers(0, 255))
    del garbled[data.draw(st.sampled_from([len(garbled), 0, 100, len(garbled) - 1])) :]
    replace_file(guarded, name, bytes(garbled))
    try:
        assert len(generate(store.load(guarded), [Prompt("So", 5)])[0].text) == 5
    except ModelError as error:
        assert str(error)
    finally:
        for file, content in kept.items():
            (guarded / file).write_bytes(content)
