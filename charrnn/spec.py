"""The shape of a model."""

from dataclasses import dataclass

from charrnn.errors import ModelError


@dataclass(frozen=True)
class ModelSpec:
    """The shape of a character LSTM: ids -> input -> stacked LSTM layers -> softmax over V.

    Raises ModelError when a size is not a positive integer."""

    characters: int  # V, the size of the vocabulary
    units: tuple[int, ...]  # H of each LSTM layer, first layer first
    embedding: int | None  # E; None: the input is a single number, the id divided by V
    # True: the state is carried from character to character. False: each character is predicted
    # from the last `window` characters, starting from the zero state.
    stateful: bool
    window: int = 100  # characters that a prompt fills

    def __post_init__(self) -> None:
        embedding = [] if self.embedding is None else [self.embedding]
        for size in (self.characters, *self.units, *embedding, self.window):
            if type(size) is not int or size < 1:
                raise ModelError(f"The sizes of a model must be positive integers, not {size!r}.")
        if not self.units:
            raise ModelError("A model needs at least one LSTM layer.")

    @property
    def state_size(self) -> int:
        """S, the length of one lane's state: h and c of every layer."""
        return 2 * sum(self.units)

    @property
    def parameters(self) -> int:
        """How many numbers training learns: the embedding, the layers, the softmax layer."""
        total, inputs = (self.embedding or 0) * self.characters, self.embedding or 1
        for units in self.units:
            total += 4 * units * (inputs + units + 1)
            inputs = units
        return total + (inputs + 1) * self.characters
