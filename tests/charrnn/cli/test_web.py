"""The page that writes in a browser, in Chromium, against the command line."""

import json
import shutil
import subprocess
import sys
import threading
import unicodedata
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from charrnn import store
from charrnn.cli.web import serving, site
from charrnn.generation import Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model
from charrnn.verbatim import VerbatimGuard, longest_copy
from charrnn.vocabulary import Vocabulary
from tests.conftest import CHARACTERS, SPEAKERS, replace_file

ROOT = Path(__file__).parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
RUNTIME = json.loads((ROOT / "web" / "runtime.json").read_text(encoding="utf-8"))
RUNTIME_FOLDER = ROOT / "node_modules" / "onnxruntime-web" / "dist"
expect.set_options(timeout=60_000)  # ms
SEED, RNG_SEED = "So be it.\n\nHERO:\n", 7


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def runtime() -> Path:
    if not RUNTIME_FOLDER.is_dir():
        pytest.skip(f"needs: npm install --no-save onnxruntime-web@{RUNTIME['version']}")
    return RUNTIME_FOLDER


@contextmanager
def opened(
    browser: Browser,
    files: dict[str, bytes],
    route: Callable[[Route], None] = lambda asked: asked.abort(),
) -> Iterator[Page]:
    """The page of a site, on a phone. `route` answers what it asks of other machines."""
    phone = {"width": 390, "height": 844}
    with serving(files, 0) as server, browser.new_context(viewport=phone) as context:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        context.route("https://**/*", route)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        yield page
        server.shutdown()


@pytest.fixture(scope="module")
def page(browser: Browser, runtime: Path, stateful: Model, windowed: Model) -> Iterator[Page]:
    """The page with two models."""
    with opened(browser, site([str(stateful.folder), str(windowed.folder)], runtime)) as page:
        yield page


@pytest.fixture(scope="module")
def module(browser: Browser) -> Iterator[Page]:
    """A page without models, for functions that need no runtime."""
    with opened(browser, site([], None)) as page:
        yield page


def write(page: Page, model: str, seed: str, rng_seed: int, temperature: float = 0.7) -> str:
    """What the page writes."""
    button = page.get_by_role("button", name="Write")
    expect(button).to_be_enabled()
    if page.locator("#model").input_value() != model:
        page.locator("#model").select_option(model)
        expect(page.locator("#status")).to_contain_text(f"{model} is ready")
    page.locator("#seed").fill(seed)
    page.locator("#random-seed").fill(str(rng_seed))
    page.locator("#temperature").fill(str(temperature))
    button.click()
    expect(page.locator("#about")).to_contain_text("random seed")
    return page.locator("#written").text_content() or ""


def test_random_numbers_are_numpys(module: Page):
    for rng_seed in (0, 1, 2**32, 2**63 - 1):
        words, floats = module.evaluate(
            """async (seed) => {
                const { RandomNumbers } = await import("/charrnn.js");
                const words = new RandomNumbers(BigInt(seed));
                return [
                    [words.nextWord(), words.nextWord()].map(String),
                    [...new RandomNumbers(BigInt(seed)).floats(5)],
                ];
            }""",
            str(rng_seed),
        )
        rng = np.random.default_rng(rng_seed)
        assert words == [str(rng.integers(2**64, dtype=np.uint64)) for _ in range(2)]
        assert floats == np.random.default_rng(rng_seed).random(5, np.float32).tolist()


@pytest.mark.parametrize(
    "characters",
    [
        CHARACTERS,
        CHARACTERS.lower() + "ß",
        CHARACTERS + "é’“—ñ",
        "абвгдеёжзийклмн -.АБВ",
        "αβγδς ´",
    ],
)
def test_seeds_are_spelled_as_on_the_command_line(module: Page, characters: str):
    vocabulary = Vocabulary("".join(dict.fromkeys(characters)))
    ranges = [(0x20, 0x250), (0x370, 0x500), (0x1E00, 0x2070), (0xFB00, 0xFB07), (0x1F600, 0x1F610)]
    every = [chr(n) for first, end in ranges for n in range(first, end)]
    seeds = [*filter(str.isprintable, every), "Ein „Zitat“ – naïve\r\ncafé…", "СЪЕШЬ ещё"]
    spelled = module.evaluate(
        """async ([characters, seeds]) => {
            const { Vocabulary } = await import("/charrnn.js");
            const vocabulary = new Vocabulary(characters);
            return seeds.map((seed) => vocabulary.encode(seed));
        }""",
        [vocabulary.characters, seeds],
    )
    for seed, found in zip(seeds, spelled, strict=True):
        expected = vocabulary.encode(seed)
        name = unicodedata.name(seed[0], "unnamed")
        assert found == {"ids": expected.ids.tolist(), "dropped": expected.dropped}, (seed, name)


@pytest.mark.parametrize("temperature", [0, 0.7, 2])
def test_the_page_writes_the_text_of_the_command_line(
    page: Page, charrnn: Callable[..., str], windowed: Model, temperature: float
):
    options = ("--rng-seed", RNG_SEED, "--temperature", temperature, "--json")
    [printed] = charrnn("generate", SEED, "--model", windowed.folder, *options).splitlines()
    written = write(page, windowed.name, SEED, RNG_SEED, temperature)
    assert written == json.loads(printed)["text"]
    assert len(written) == 500


def test_the_same_random_seed_gives_the_same_text_again(page: Page, stateful: Model):
    first, other, again = (write(page, stateful.name, SEED, n) for n in (1, 2, 1))
    assert first == again != other
    assert len(first) == 500


def test_a_speaker_stands_on_a_line_before_the_seed(page: Page, stateful: Model):
    write(page, stateful.name, "", 1)
    page.locator("#speaker").select_option(SPEAKERS[0])
    write(page, stateful.name, "So <b>be</b> it", 1)
    assert page.locator("#written-seed").text_content() == f"{SPEAKERS[0]}:\nSo <b>be</b> it"
    assert page.locator("#about").text_content() == (
        f"{stateful.name} does not know: < > /. {stateful.name}, temperature 0.7, random seed 1"
    )
    page.locator("#speaker").select_option("")


def test_writing_can_be_stopped(page: Page, stateful: Model):
    write(page, stateful.name, SEED, 1)
    page.get_by_role("button", name="Write").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#status")).to_have_text("Stopped.")
    assert page.locator("#about").text_content() == ""


def test_the_page_fits_a_phone(page: Page, stateful: Model):
    write(page, stateful.name, SEED, 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.fixture
def guarded(stateful: Model, tmp_path: Path) -> tuple[Model, np.ndarray]:
    """A model that must not copy what it writes without a guard."""
    [free] = generate(stateful, [Prompt(SEED, sampling=Sampling(0.7), rng_seed=RNG_SEED)])
    source = stateful.vocabulary.encode(free.text).ids
    guard = VerbatimGuard.of(source, 12, len(stateful.vocabulary))
    folder = tmp_path / "guarded"
    keras, onnx = stateful.folder / store.KERAS, stateful.folder / store.ONNX
    store.write(folder, stateful.card, keras, onnx.read_bytes(), guard)
    return store.load(folder), source


def packed(folder: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    file = folder.with_suffix(".zip")
    with zipfile.ZipFile(file, "w", compression) as archive:
        for path in folder.iterdir():
            archive.write(path, f"{folder.name}/{path.name}")
    return file


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_guarded_model_from_a_zip_copies_no_more_than_it_may(
    page: Page, guarded: tuple[Model, np.ndarray], compression: int
):
    model, source = guarded
    page.locator("#files").set_input_files(packed(model.folder, compression))
    expect(page.locator("#status")).to_have_text(
        "guarded is ready. It copies at most 12 characters in a row."
    )
    written = write(page, "guarded", SEED, RNG_SEED)
    assert longest_copy([model.vocabulary.encode(written).ids], source)[0] == 12


def test_a_dropped_model_that_is_not_right_is_refused_with_a_sentence(
    page: Page, guarded: tuple[Model, np.ndarray], stateful: Model
):
    write(page, stateful.name, SEED, 1)
    folder = guarded[0].folder
    card, graph, guard = (folder / name for name in (store.CARD, store.ONNX, store.GUARD))

    def refused(*files: Path) -> str:
        page.locator("#files").set_input_files([])
        page.locator("#files").set_input_files(files)
        page.locator("#status.error").wait_for()
        return page.locator("#status").text_content() or ""

    assert refused(card) == (
        "A model needs card.json and model.onnx. Choose both, or the .zip that /models gave you."
    )
    assert refused(card, graph).startswith("guard.npz is missing. Without it, this model could")
    noise = folder / "noise.zip"
    noise.write_bytes(bytes(100))
    assert refused(noise) == "noise.zip is damaged."
    packed(folder).write_bytes(packed(folder).read_bytes()[:-30])
    assert refused(folder.with_suffix(".zip")) == "guarded.zip is damaged."
    content = guard.read_bytes()
    guard.write_bytes(content[:-1] + b"x")
    assert refused(card, graph, guard) == "guard.npz is damaged, or belongs to another card.json."
    replace_file(folder, store.GUARD, content[:500])
    assert refused(card, graph, guard) == "guard.npz is damaged."
    replace_file(folder, store.GUARD, content)
    replace_file(folder, store.ONNX, b"not a graph")
    assert refused(card, graph, guard).startswith("model.onnx cannot be loaded: ")
    for changed, sentence in {
        b"[]": "card.json is not a charrnn model card of format 2.",
        b"{": "card.json is not a charrnn model card.",
        b'{"format": 2}': "card.json has a missing or wrong entry.",
    }.items():
        card.write_bytes(changed)
        assert refused(card, graph) == sentence
    # The model before goes on writing.
    assert len(write(page, stateful.name, SEED, 1)) == 500


def test_a_published_page_takes_onnx_runtime_from_a_cdn(browser: Browser, stateful: Model):
    asked: list[Route] = []

    def route(request: Route) -> None:
        asked.append(request)
        if len(asked) == len(RUNTIME["files"]):
            for each in asked:
                each.abort()

    with opened(browser, site([str(stateful.folder)], None), route) as page:
        expect(page.locator("#status")).to_contain_text("ONNX Runtime cannot be loaded")
    assert {each.request.url for each in asked} == {
        RUNTIME["folder"] + name for name in RUNTIME["files"]
    }


def test_one_version_of_onnx_runtime_is_named_everywhere():
    named = f"onnxruntime-web@{RUNTIME['version']}"
    assert RUNTIME["folder"].endswith(f"/{named}/dist/")
    for page in ("docs/web.md", "docs/developing.md", ".github/workflows/test.yml"):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert named in text and text.count("onnxruntime-web@") == text.count(named)


def test_a_changed_runtime_is_not_run(browser: Browser, runtime: Path, stateful: Model):
    files = site([str(stateful.folder)], runtime)
    changed = "runtime/ort.wasm.bundle.min.mjs"
    with opened(browser, files | {changed: files[changed] + b" "}) as page:
        expect(page.locator("#status")).to_contain_text("it is not the file of onnxruntime-web")


def test_a_cdn_that_fails_before_the_model_is_there_is_named(browser: Browser):
    with opened(browser, site(["tinyshakespeare"], None)) as page:
        expect(page.locator("#status")).to_contain_text("ONNX Runtime cannot be loaded.")


def test_a_shipped_model_writes_on_the_page(browser: Browser, runtime: Path):
    with opened(browser, site(["shakespeare"], runtime)) as page:
        expect(page.locator("#status")).to_have_text("shakespeare is ready.")
        page.locator("#speaker").select_option("HAMLET")
        assert len(write(page, "shakespeare", "To be", 1)) == 500


def test_the_command_serves_the_page_and_its_models_and_nothing_else():
    command = [sys.executable, "-m", "charrnn", "web", "othello"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8") as process:
        try:
            address = process.stdout.readline().strip()
            with urllib.request.urlopen(address) as answer:  # noqa: S310
                assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
            with urllib.request.urlopen(f"{address}models.json") as answer:  # noqa: S310
                assert json.load(answer) == ["othello"]
            for path in ("models/othello/model.keras", "..%2fpyproject.toml", "models"):
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    urllib.request.urlopen(address + path)  # noqa: S310
        finally:
            process.kill()


def test_a_page_to_publish_is_a_folder_of_files(
    charrnn: Callable[..., str], stateful: Model, tmp_path: Path
):
    charrnn("web", stateful.folder, "--output", tmp_path / "site")
    written = {path.relative_to(tmp_path / "site").as_posix() for path in tmp_path.rglob("*.*")}
    assert written >= {"index.html", "models.json", f"models/{stateful.name}/model.onnx"}
    assert f"models/{stateful.name}/model.keras" not in written
    again = charrnn("web", stateful.folder, "--output", tmp_path / "site", fails=True)
    assert "exists already" in again
    twice = charrnn("web", stateful.folder, stateful.folder, fails=True)
    assert "Two models have the name tiny." in twice


def test_a_port_that_is_taken_is_named(charrnn: Callable[..., str], stateful: Model):
    with serving({}, 0) as server:
        said = charrnn("web", stateful.folder, "--port", server.server_port, fails=True)
    assert f"Port {server.server_port} cannot be used: " in said
