"""Measure a model: how well it predicts a text, and how good the texts are that it writes."""

from charrnn.evaluation.loss import (
    Score,
    block_means,
    calibrate,
    losses,
    score,
    standard_error,
)
from charrnn.evaluation.samples import (
    Quality,
    known_words,
    quality,
    speakers,
    write_messages,
    write_samples,
)
from charrnn.evaluation.voice import Voice, VoiceJudge

__all__ = [
    "Quality",
    "Score",
    "Voice",
    "VoiceJudge",
    "block_means",
    "calibrate",
    "known_words",
    "losses",
    "quality",
    "score",
    "speakers",
    "standard_error",
    "write_messages",
    "write_samples",
]
