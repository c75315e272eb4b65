"""A character-level LSTM for an ordinary computer.

>>> import charrnn
>>> model = charrnn.load("shakespeare")
>>> [generated] = charrnn.generate(model, [charrnn.Prompt("To be, or not to be", length=80)])
>>> len(generated.text)
80

This folder owns the core: what a model is, how it is stored, how it writes, how it is measured. It
imports NumPy and ONNX Runtime only. `charrnn.text`, `charrnn.training` and `charrnn.cli` build on
it; nothing here imports them.
"""

from charrnn.errors import CharRNNError, CorpusError, ModelError, OptionError
from charrnn.evaluation import Score, score
from charrnn.generation import Generated, Prompt, generate
from charrnn.sampling import Sampling
from charrnn.store import Model, load
from charrnn.verbatim import VerbatimGuard

__version__ = "1.0.0"

__all__ = [
    "CharRNNError",
    "CorpusError",
    "Generated",
    "Model",
    "ModelError",
    "OptionError",
    "Prompt",
    "Sampling",
    "Score",
    "VerbatimGuard",
    "generate",
    "load",
    "score",
]
