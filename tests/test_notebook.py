"""The notebook, from its first cell to its last."""

import json
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from charrnn import store
from charrnn.store import Model

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "train_your_own.ipynb"


def test_the_notebook_trains_a_model_and_packs_it(stateful: Model, tmp_path: Path):
    """With a short chat and a smaller base, for one epoch."""
    sentences = [f"so be it, said the {n}th king to his queen" for n in range(80)]
    messages = [json.dumps({"content": sentence, "bot": False}) for sentence in sentences]
    (tmp_path / "channel.jsonl").write_text("\n".join(messages))
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    [choices] = (cell for cell in notebook["cells"] if cell["source"][0].startswith("TEXT = "))
    choices["source"] += [
        "\nTEXT = 'channel.jsonl'",
        f"\nBASE = {str(stateful.folder)!r}",
        "\nOPTIONS += ['--epochs', '1']",
    ]
    (tmp_path / "notebook.ipynb").write_text(json.dumps(notebook))

    execute = [sys.executable, "-m", "jupyter", "execute", "--inplace", "notebook.ipynb"]
    execute += ["--startup_timeout", "600"]  # a busy machine
    subprocess.run(execute, cwd=tmp_path, check=True)

    assert store.load(tmp_path / "mine").card.training["epochs"] == 1
    with ZipFile(tmp_path / "mine.zip") as archive:
        assert {"mine/card.json", "mine/model.onnx"} <= set(archive.namelist())
    executed = json.loads((tmp_path / "notebook.ipynb").read_text("utf-8"))
    outputs = [output for cell in executed["cells"] for output in cell.get("outputs", [])]
    printed = "".join(line for output in outputs for line in output.get("text", []))
    assert "80 messages" in printed
    assert "before" in printed
    shown = [output["data"] for output in outputs if output["output_type"] == "display_data"]
    assert any("Epoch 1 of 1, 100%." in "".join(data.get("text/markdown", "")) for data in shown)
    assert any("image/png" in data for data in shown)
