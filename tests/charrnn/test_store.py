import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn import store
from charrnn.errors import ModelError
from charrnn.generation import Prompt, generate
from charrnn.store import Model
from charrnn.verbatim import longest_copy
from tests.conftest import JSON, replace_file


def edit_card(folder: Path, **changes: object) -> None:
    path = folder / store.CARD
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes))


@pytest.fixture
def guarded_folder(stateful: Model, tmp_path: Path) -> Path:
    """A copy of `stateful` that must not copy what `stateful` writes after "So be it"."""
    [free] = generate(stateful, [Prompt("So be it", 200)])
    guard = stateful.guard_against(free.text, longest=5)
    graph = (stateful.folder / store.ONNX).read_bytes()
    folder = tmp_path / "guarded"
    store.write(folder, stateful.card, stateful.folder / store.KERAS, graph, guard)
    return folder


def test_a_model_is_read_as_it_was_written(stateful: Model):
    card, _ = store.read_card(stateful.folder)
    assert card.vocabulary.characters == stateful.vocabulary.characters
    assert (card.spec, card.opening) == (stateful.card.spec, stateful.card.opening)
    assert (card.training, card.scores) == (stateful.card.training, stateful.card.scores)
    assert card.speakers == ("HERO", "Beatrice", "FIRST LORD")


def test_a_missing_file_is_named(model_folder: Path):
    (model_folder / store.ONNX).unlink()
    with pytest.raises(ModelError, match=r"model\.onnx cannot be read: No such file"):
        store.load(model_folder)


def test_a_folder_without_a_card_is_no_model(tmp_path: Path):
    with pytest.raises(ModelError, match=f"{tmp_path.name} is not a model: it has no card"):
        store.load(tmp_path)


@pytest.mark.parametrize("name", [store.KERAS, store.ONNX])
def test_a_truncated_file_is_named(model_folder: Path, name: str):
    path = model_folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=f"{name} is damaged"):
        store.load(model_folder, for_training=True)


def test_only_training_needs_the_keras_file(model_folder: Path):
    (model_folder / store.KERAS).unlink()
    assert store.load(model_folder).name == "model"
    with pytest.raises(ModelError, match=r"model\.keras is missing;.* use a clone"):
        store.load(model_folder, for_training=True)


def test_a_graph_that_does_not_fit_the_spec_is_refused(model_folder: Path):
    spec = json.loads((model_folder / store.CARD).read_text("utf-8"))["spec"]
    edit_card(model_folder, spec=spec | {"units": [24, 18]})
    with pytest.raises(ModelError, match=r"model\.onnx: .*the spec needs"):
        store.load(model_folder)


def test_a_card_of_an_older_version_has_no_speakers(model_folder: Path):
    content = json.loads((model_folder / store.CARD).read_text("utf-8"))
    del content["speakers"]
    (model_folder / store.CARD).write_text(json.dumps(content))
    assert store.load(model_folder).card.speakers == ()


def test_a_card_that_is_wrong_about_the_state_is_refused(model_folder: Path):
    spec = json.loads((model_folder / store.CARD).read_text("utf-8"))["spec"]
    edit_card(model_folder, spec=spec | {"stateful": False})
    with pytest.raises(ModelError, match=r"model\.onnx: The spec says that stateful is False, "):
        store.load(model_folder)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 3}, "has format 3, this charrnn reads format 2. Update charrnn"),
        ({"vocabulary": "abc"}, "has 3 characters"),
        ({"vocabulary": ["a", "b"]}, "vocabulary is not a str"),
        ({"opening": 5}, "opening is not a str"),
        ({"scores": []}, "scores is not a dict"),
        ({"spec": {}}, "missing or wrong entry: 'units'"),
        ({"spec": []}, "missing or wrong entry"),
        ({"sha256": {}}, "missing or wrong entry: 'model.keras'"),
        ({"opening": ""}, "opening must fill the window"),
        ({"opening": "\x1b" * 100}, "opening must fill the window"),
    ],
)
def test_a_card_with_a_wrong_entry_is_refused(model_folder: Path, changes: dict, sentence: str):
    edit_card(model_folder, **changes)
    with pytest.raises(ModelError, match=rf"card\.json.*{sentence}"):
        store.load(model_folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"{}"])
def test_a_file_that_is_not_a_card_is_refused(model_folder: Path, content: bytes):
    (model_folder / store.CARD).write_bytes(content)
    with pytest.raises(ModelError, match=r"card\.json is not a charrnn model card"):
        store.load(model_folder)


def entries(card: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths to all values in a card."""
    for key, value in card.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from entries(value, (*path, key))


@given(data=st.data())
def test_a_card_with_any_value_anywhere_is_read_or_refused(model_folder: Path, data: Any):
    path = model_folder / store.CARD
    original = path.read_text("utf-8")
    changed = deepcopy(json.loads(original))
    *above, key = data.draw(st.sampled_from(list(entries(changed))))
    part = changed
    for name in above:
        part = part[name]
    part[key] = data.draw(JSON)
    path.write_text(json.dumps(changed))
    try:
        assert len(generate(store.load(model_folder), [Prompt("So", 5)])[0].text) == 5
    except ModelError as error:
        assert str(error)
    finally:
        path.write_text(original)


def test_a_write_that_fails_leaves_the_old_model(model_folder: Path, stateful: Model):
    before = {p.name: p.read_bytes() for p in model_folder.iterdir()}
    with pytest.raises(FileNotFoundError):
        store.write(model_folder, stateful.card, model_folder / "nosuch.keras", b"")
    assert {p.name: p.read_bytes() for p in model_folder.iterdir()} == before
    assert [p.name for p in model_folder.parent.iterdir()] == [model_folder.name]


def test_a_model_is_replaced_and_nothing_is_left_over(model_folder: Path, windowed: Model):
    graph = (windowed.folder / store.ONNX).read_bytes()
    store.write(model_folder, windowed.card, windowed.folder / store.KERAS, graph)
    assert store.load(model_folder).card.spec == windowed.card.spec
    assert [p.name for p in model_folder.parent.iterdir()] == [model_folder.name]


def test_a_folder_that_is_not_a_model_is_not_replaced(tmp_path: Path, stateful: Model):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="is not a model"):
        store.write(tmp_path, stateful.card, stateful.folder / store.KERAS, b"")
    assert (tmp_path / "thesis.txt").read_text("utf-8") == "years of work"


def test_nothing_in_either_package_unpickles():
    root = Path(store.__file__).parents[1]
    for path in (*root.glob("charrnn/**/*.py"), *root.glob("bot/**/*.py")):
        source = path.read_text("utf-8")
        for call in ("import pickle", "allow_pickle=True", "safe_mode=False"):
            assert call not in source, path


def test_a_guard_is_part_of_its_model(guarded_folder: Path, stateful: Model):
    [free] = generate(stateful, [Prompt("So be it", 200)])
    model = store.load(guarded_folder)
    [guarded] = generate(model, [Prompt("So be it", 200)])
    ids = [model.vocabulary.encode(text).ids for text in (guarded.text, free.text)]
    assert longest_copy(ids[:1], ids[1])[0] <= 5
    assert free.text[:20].encode() not in (guarded_folder / store.GUARD).read_bytes()


def test_a_damaged_guard_is_refused(guarded_folder: Path):
    (guarded_folder / store.GUARD).write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match=r"guard\.npz is damaged"):
        store.load(guarded_folder)
    replace_file(guarded_folder, store.GUARD, b"PK\x03\x04")
    with pytest.raises(ModelError, match=r"guard\.npz is damaged"):
        store.load(guarded_folder)


@pytest.mark.parametrize("for_training", [True, False])
def test_a_model_sent_to_another_machine_writes_the_same(
    guarded_folder: Path, tmp_path: Path, for_training: bool
):
    sent = tmp_path / "sent"
    store.write_files(sent, store.read_files(guarded_folder, for_training=for_training))
    assert (sent / store.KERAS).exists() == for_training
    models = [store.load(folder) for folder in (guarded_folder, sent)]
    texts = [generate(model, [Prompt("So be it", 30)]) for model in models]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("name", [store.ONNX, store.GUARD])
def test_without_one_of_its_files_nothing_is_written(
    guarded_folder: Path, tmp_path: Path, name: str
):
    files = store.read_files(guarded_folder, for_training=True)
    del files[name]
    with pytest.raises(ModelError, match=f"{name} cannot be read"):
        store.write_files(tmp_path / "sent", files)
    assert list(tmp_path.iterdir()) == [guarded_folder]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({store.ONNX: b"graph"}, r"model\.onnx is damaged"),
        ({store.KERAS: b"PK"}, r"model\.keras is damaged"),
        ({store.CARD: b"{}"}, "not a charrnn model card"),
    ],
)
def test_with_a_damaged_file_nothing_is_written(
    stateful: Model, tmp_path: Path, changes: dict[str, bytes], sentence: str
):
    with pytest.raises(ModelError, match=sentence):
        store.write_files(
            tmp_path / "sent", store.read_files(stateful.folder, for_training=True) | changes
        )
    assert list(tmp_path.iterdir()) == []
