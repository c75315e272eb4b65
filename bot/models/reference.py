"""A model by its name and folder, whether or not it is in memory."""

from dataclasses import dataclass, field
from pathlib import Path

from charrnn import store


@dataclass(frozen=True)
class ModelReference:
    """A model to write with; it need not be in memory."""

    name: str
    folder: Path
    window: int  # characters of a text from which the model continues
    # Who speaks in the play that it learnt from, most frequent first.
    speakers: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, model: str | Path) -> "ModelReference":
        """The model with a shipped name, or in a folder. Raises ModelError."""
        folder = store.locate(model)
        card, _ = store.read_card(folder)
        return cls(folder.resolve().name, folder, card.spec.window, card.speakers)
