"""Whatever a stranger may hand over gives a result, or a sentence that says what is wrong."""

import gzip
import io
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from charrnn import store
from charrnn.cli import commands, tables
from charrnn.errors import CorpusError, ModelError, OptionError
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from charrnn.text import corpus
from charrnn.text.messages import Cleaner, read_export, read_lines
from charrnn.training import export, network
from charrnn.training.recipes import PRESETS
from charrnn.verbatim import MAX_LONGEST, VerbatimGuard

# The same cases every time; fixtures are shared by them all, and each leaves them as they were.
same = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
few = settings(same, max_examples=50)

TEXTS = st.text(st.characters(exclude_categories=()))
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), np.int64(5)])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS.filter(lambda n: type(n) in (int, float)) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def guarded(stateful: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with a guard in it."""
    folder = tmp_path_factory.mktemp("guarded") / "m"
    guard = VerbatimGuard(stateful.opening_ids, 5, len(stateful.vocabulary))
    graph = (stateful.folder / store.ONNX).read_bytes()
    store.write(folder, stateful.card, stateful.folder / store.KERAS, graph, guard)
    return folder


def put(folder: Path, name: str, content: bytes) -> None:
    """A file in place of a model's own, and a card that says it belongs there."""
    (folder / name).write_bytes(content)
    card = json.loads((folder / store.CARD).read_text())
    card["sha256"][name] = store.sha256(folder / name)
    (folder / store.CARD).write_text(json.dumps(card))


def refused(monkeypatch: pytest.MonkeyPatch, capsys: Any, *arguments: object) -> str:
    """What a command says on standard error that ends with exit code 1 or, of an option, 2."""
    monkeypatch.setattr(sys, "argv", ["charrnn", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        commands.main()
    assert exit_.value.code in (1, 2)
    said = capsys.readouterr().err
    assert said and "Traceback" not in said
    return said


# Seeds and options.


@same
@given(seed=TEXTS, temperature=st.sampled_from([0.0, 0.7, 5.0]))
@example(seed="\ud800\udfff\0\x1b[31m" * 2500, temperature=0.7)
@example(seed="a\u0301" * 5000, temperature=0.0)
@example(seed="\ufdfa" * 10_000, temperature=5.0)  # a ligature of 18 characters
def test_any_seed_is_gone_on_from(stateful: Model, seed: str, temperature: float):
    [written] = generate(stateful, [Prompt(seed, 7, Sampling(temperature))])
    assert len(written.text) == 7
    assert set(written.text) <= set(stateful.vocabulary.characters)
    assert set(written.dropped).isdisjoint(stateful.vocabulary.characters)


@same
@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.none() | NUMBERS)
@example(5, 0, 10**400, 1.0, None)
@example(1.5, 0, 0.7, 1.0, None)
@example(5, 0.5, 0.7, 1.0, None)
@example(5, 0, 0.7, 1.0, 2.5)
def test_a_prompt_is_within_its_limits_or_an_option_error(
    stateful: Model, length: Any, rng_seed: Any, temperature: Any, top_p: Any, top_k: Any
):
    try:
        prompt = Prompt("So", length, Sampling(temperature, top_p, top_k), rng_seed)
    except OptionError:
        return
    if length < 1000:
        assert len(generate(stateful, [prompt])[0].text) == length


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
        *(("benchmark", f"--{name}={n}") for name in ("threads", "length") for n in (0, 10**9)),
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


# Texts.


def test_a_gzip_bomb_is_refused_before_it_has_filled_memory(tmp_path: Path):
    bomb = tmp_path / "bomb.jsonl.gz"
    block = gzip.compress(bytes(corpus.MAX_BYTES // 4), compresslevel=1)
    bomb.write_bytes(block * 1000)  # 64 GB
    with pytest.raises(CorpusError, match=r"more than 256 MB of text. Give a part of it"):
        corpus.read_sources([str(bomb)])


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b", b"so be it", gzip.compress(b"so be it" * 99)[:-9]]
)
def test_half_a_gzip_file_or_none_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "a.jsonl.gz").write_bytes(content)
    with pytest.raises(CorpusError, match=r"a\.jsonl\.gz"):
        corpus.read_sources([str(tmp_path / "a.jsonl.gz")])


@same
@given(st.binary(), st.sampled_from([".txt", ".json", ".jsonl", ".jsonl.gz"]))
@example(gzip.compress(b"so be it"), ".txt")
@example(b"PK\x03\x04" + bytes(26), ".txt")
@example(b"\xff\xfe\x00\xd8", ".txt")
def test_any_file_is_a_text_or_a_corpus_error(tmp_path: Path, content: bytes, suffix: str):
    file = tmp_path / f"file{suffix}"
    file.write_bytes(content)
    try:
        [document] = corpus.read_sources([str(file)])
    except CorpusError:
        return
    assert document.text.strip()


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["Default", "Reply", "46"]) | JSON,
        "content": TEXTS | JSON,
        "bot": st.booleans() | JSON,
        "author": st.fixed_dictionaries({"id": JSON, "isBot": st.booleans() | JSON}) | JSON,
        "mentions": st.lists(st.fixed_dictionaries({"id": JSON, "name": JSON}), max_size=2) | JSON,
    },
)


@same
@given(st.lists(MESSAGES | JSON, max_size=3) | JSON, st.booleans())
def test_json_of_any_shape_is_a_channel_or_a_corpus_error(messages: Any, by_the_line: bool):
    if by_the_line and isinstance(messages, list):
        read, text = read_lines, "\n".join(map(json.dumps, messages))
    else:
        read, text = read_export, json.dumps({"messages": messages})
    cleaner = Cleaner()
    try:
        lines = [cleaner.clean(message) for message in read(text, "file")]
    except CorpusError as error:
        assert str(error)
    else:
        assert all(line is None or line.isprintable() for line in lines)


# Models.


def entries(card: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where something stands in a card."""
    for key, value in card.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from entries(value, (*path, key))


@same
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
        tables.card(model.card)
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


ESCAPE = "\x1b]0;evil\x07"


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


@few
@given(st.sampled_from([store.ONNX, store.GUARD]), st.data())
def test_a_garbled_file_that_the_card_vouches_for_is_refused_or_runs(
    guarded: Path, name: str, data: Any
):
    kept = {file: (guarded / file).read_bytes() for file in (name, store.CARD)}
    garbled = bytearray(kept[name])
    for place in data.draw(st.lists(st.integers(0, len(garbled) - 1), min_size=1, max_size=4)):
        garbled[place] = data.draw(st.integers(0, 255))
    del garbled[data.draw(st.sampled_from([len(garbled), 0, 100, len(garbled) - 1])) :]
    put(guarded, name, bytes(garbled))
    try:
        assert len(generate(store.load(guarded), [Prompt("So", 5)])[0].text) == 5
    except ModelError as error:
        assert str(error)
    finally:
        for file, content in kept.items():
            (guarded / file).write_bytes(content)


def instead_of(name: str, *nodes: onnx.NodeProto, **constants: np.ndarray) -> Any:
    """A change to a graph: its output comes from other nodes, which know the honest one."""

    def change(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            node.output[:] = ["honest" if output == name else output for output in node.output]
        tensors = [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()]
        model.graph.initializer.extend(tensors)
        model.graph.node.extend(nodes)

    return change


def weights_in(location: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)

    return change


far, huge = np.array(99, np.int32), np.array([2**44])
SUM = [helper.make_node("ReduceSum", ["room"], ["sum"], keepdims=0)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        *((weights_in(path), "another file") for path in ("/etc/passwd", "../../x", "model.onnx")),
        (
            instead_of("chosen", helper.make_node("Add", ["honest", "far"], ["chosen"]), far=far),
            "chooses characters that there are none of",
        ),
        (
            instead_of(
                "logits",
                helper.make_node("ConstantOfShape", ["huge"], ["room"]),
                *SUM,
                helper.make_node("Add", ["honest", "sum"], ["logits"]),
                huge=huge,
            ),
            "ONNX Runtime cannot",
        ),
        (
            instead_of("logits", helper.make_node("Evil", ["honest"], ["logits"], domain="evil")),
            "ONNX Runtime cannot load the graph",
        ),
        (
            instead_of("logits", helper.make_node(ESCAPE, ["honest"], ["logits"])),
            "ONNX Runtime cannot load the graph",
        ),
    ],
)
def test_a_graph_that_means_harm_is_refused(
    model_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    change: Callable[[onnx.ModelProto], None],
    sentence: str,
):
    model = onnx.load(model_folder / store.ONNX)
    change(model)
    put(model_folder, store.ONNX, model.SerializeToString())
    said = refused(monkeypatch, capsys, "generate", "So", "--model", model_folder)
    assert sentence in said and "\x1b" not in said
    assert said.startswith(f"Error: {model_folder}") or "cannot run" in said or "chooses" in said


def archive(method: int = zipfile.ZIP_STORED, shape: str = "(5,)", **changes: np.ndarray) -> bytes:
    """A guard's, of five runs, but for the `changes`; its arrays are said to be of a `shape`."""
    honest, said = b"(5,), }" + b" " * 20, f"{shape}, }}".ljust(27).encode()
    arrays = {
        "limits": np.array([3, 42], np.int64),
        "runs": np.arange(5, dtype=np.uint64),
        "followers": np.arange(5, dtype=np.int32),
        "blocks": np.arange(5, dtype=np.uint64),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as whole:
        for name, array in (arrays | changes).items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=True)
            whole.writestr(f"{name}.npy", content.getvalue().replace(honest, said))
    return file.getvalue()


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("something was unpickled",)


@pytest.mark.parametrize(
    "content",
    [
        archive(runs=np.array([Bomb()])),
        archive(zipfile.ZIP_DEFLATED, runs=np.zeros(10**7, np.uint64)),
        archive(runs=np.zeros(2, np.uint64)),
        archive(runs=np.zeros(5)),
        archive(runs=np.zeros((5, 1), np.uint64)),
        archive(followers=np.full(5, 42, np.int32)),
        archive(followers=np.full(5, -1, np.int32)),
        archive(limits=np.array([0, 42])),
        archive(limits=np.array([MAX_LONGEST + 1, 42])),
        archive(limits=np.array([3, 2**62])),
        archive(limits=np.array([3])),
        archive(shape="(1000000000000000,)"),
        archive(shape="(5, 1)"),
        archive(shape="(" * 20),
    ],
)
def test_a_guard_that_means_harm_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / store.GUARD).write_bytes(content)
    with pytest.raises(ModelError, match=r"guard\.npz"):
        VerbatimGuard.load(tmp_path / store.GUARD, 42)


def test_the_archive_that_the_others_differ_from_is_a_guards(tmp_path: Path):
    (tmp_path / store.GUARD).write_bytes(archive())
    assert VerbatimGuard.load(tmp_path / store.GUARD, 42).longest == 3


def edited_keras(folder: Path, edit: Callable[[Any], Any]) -> Path:
    """A model's Keras file with another configuration."""
    path = folder / store.KERAS
    with zipfile.ZipFile(path) as whole:
        files = {name: whole.read(name) for name in whole.namelist()}
    configuration = json.loads(files["config.json"])
    files["config.json"] = json.dumps(edit(configuration) or configuration).encode()
    with zipfile.ZipFile(path, "w") as whole:
        for name, content in files.items():
            whole.writestr(name, content)
    put(folder, store.KERAS, path.read_bytes())
    return path


def naming(module: str, name: str, config: Any) -> Callable[[Any], Any]:
    """A configuration that has Keras call something else than a layer."""
    named = {"module": module, "class_name": name, "config": config, "registered_name": None}

    def edit(configuration: Any) -> None:
        configuration["config"]["layers"][-1]["config"]["activation"] = named

    return edit


def as_wide(units: int) -> Callable[[Any], Any]:
    def edit(configuration: Any) -> None:
        for layer in configuration["config"]["layers"]:
            if "units" in layer["config"]:
                layer["config"]["units"] = units

    return edit


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (naming("os", "function", "system"), "it names 'function'"),
        (naming("subprocess", "Popen", {"args": ["false"]}), "it names 'Popen'"),
        (naming("os", "Dense", {}), "it names 'Dense'"),
        (naming("keras.layers", "Lambda", {}), "it names 'Lambda'"),
        (naming("keras.layers", "TFSMLayer", {"filepath": "/"}), "it names 'TFSMLayer'"),
        (naming("keras.utils", "get_file", {}), "it names 'get_file'"),
        (naming("keras", "__lambda__", {"value": ["4wE="]}), "it names '__lambda__'"),
        (as_wide(10**9), "it is too small for the layers it names"),
        (as_wide(5000), "it is too small for the layers it names"),
        (as_wide(-3), "Keras cannot open"),
        (lambda _: [1], "Keras cannot open"),
        (lambda _: {"class_name": []}, r"it names \[\]"),
        (lambda _: {"class_name": "Sequential", "config": {"layers": []}}, "Keras cannot open"),
    ],
)
def test_a_keras_file_that_means_harm_is_refused(model_folder: Path, edit: Any, sentence: str):
    path = edited_keras(model_folder, edit)
    with pytest.raises(ModelError, match=sentence):
        export.spec_of(export.load_keras(path))


def test_a_base_with_another_network_in_it_is_refused(
    model_folder: Path, stateful: Model, windowed: Model
):
    put(model_folder, store.KERAS, (windowed.folder / store.KERAS).read_bytes())
    fresh = network.build(stateful.card.spec, PRESETS["shakespeare"].recipe)
    with pytest.raises(ModelError, match=r"model\.keras is not the network that card\.json"):
        network.adopt(fresh, store.load(model_folder))


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
