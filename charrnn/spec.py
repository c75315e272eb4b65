"""What a model is and how it is trained, as frozen dataclasses; the presets."""

from dataclasses import dataclass

from charrnn.errors import ModelError

# Far beyond what an ordinary computer trains, and small enough that a hostile card cannot
# make the engine ask for more memory than there is.
MAX_UNITS = 8192
MAX_LAYERS = 16
MAX_WINDOW = 10_000


@dataclass(frozen=True)
class ModelSpec:
    """The shape of a character LSTM: ids -> input -> stacked LSTM layers -> softmax over V."""

    characters: int  # V, the size of the vocabulary
    units: tuple[int, ...]  # H of each LSTM layer, the first one first
    embedding: int | None  # E; None: the id divided by V, a single number, is the input
    # Whether the state is carried on; if not, each character is predicted from the last `window`
    # characters alone, from zero state.
    stateful: bool
    window: int = 100  # characters that a prompt fills

    def __post_init__(self) -> None:
        def check(name: str, value: object, limit: int) -> None:
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= limit:
                raise ModelError(f"A model's {name} must be 1 to {limit}, not {value!r}.")

        check("characters", self.characters, 0x110000)
        check("layers", len(self.units), MAX_LAYERS)
        for units in self.units:
            check("units", units, MAX_UNITS)
        if self.embedding is not None:
            check("embedding", self.embedding, MAX_UNITS)
        check("window", self.window, MAX_WINDOW)
        if not isinstance(self.stateful, bool):
            raise ModelError(f"A model is stateful or not, not {self.stateful!r}.")

    @property
    def state_size(self) -> int:
        """S: numbers in one lane's state, h and c of every layer."""
        return 2 * sum(self.units)
