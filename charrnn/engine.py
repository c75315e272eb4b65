"""Run the LSTM over a batch of lanes, in ONNX Runtime."""

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state  # pyright: ignore

from charrnn.errors import ModelError
from charrnn.sampling import LaneSampling
from charrnn.sentences import first_line
from charrnn.spec import ModelSpec

ort.disable_telemetry_events()  # some builds of ONNX Runtime report to Microsoft

# ONNX Runtime's exceptions share no base class. It raises UnicodeDecodeError when it quotes bytes
# of a damaged graph that are not text.
_ORT_ERRORS = (
    MemoryError,
    UnicodeDecodeError,
    *(e for e in vars(ort_state).values() if isinstance(e, type) and issubclass(e, Exception)),
)


class Engine:
    """Runs the graph in `model.onnx`: reads one character and writes N, each chosen from the
    logits that follow the character before it.

    A lane is one text being written. What a lane gets depends neither on the other lanes nor on
    their number. Threads may share an engine; the GIL is released while the graph runs. All
    methods raise ModelError when ONNX Runtime cannot run the graph."""

    def __init__(self, graph: bytes, spec: ModelSpec, threads: int = 1):
        """Raises ModelError when ONNX Runtime refuses `graph` or `graph` does not fit `spec`."""
        # A graph that keeps weights in other files names them under this key, and could so read
        # any file on this machine.
        if b"location" in graph:
            raise ModelError("The graph keeps weights in another file.")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised, so do not print them
        try:
            # A fallback to another provider would be printed to standard output.
            self._session = ort.InferenceSession(
                graph, options, ["CPUExecutionProvider"], enable_fallback=0
            )
        except _ORT_ERRORS as error:
            raise ModelError(f"ONNX Runtime cannot load the graph: {first_line(error)}") from error
        self.spec = spec
        found = {
            node.name: (node.type, node.shape)
            for node in (*self._session.get_inputs(), *self._session.get_outputs())
        }
        expected = _signature(spec)
        if found != expected:
            raise ModelError(
                f"The graph's inputs and outputs are {found}, the spec needs {expected}."
            )
        # Without this, a state without rows would reach a stateful graph, and in most versions of
        # ONNX Runtime a division by zero would end the process.
        _, state = self.step(np.zeros(1, np.int32), np.zeros((1, spec.state_size), np.float32))
        if (len(state) == 1) != spec.stateful:
            raise ModelError(
                f"The spec says that stateful is {spec.stateful}, the graph is of the other kind."
            )

    def zero_state(self, lanes: int) -> np.ndarray:
        """The state of lanes that have read nothing, float32 `(R, S)`. A stateful model's state has
        one row a lane; a stateless model's has one row a window in progress, so none yet."""
        return np.zeros((lanes if self.spec.stateful else 0, self.spec.state_size), np.float32)

    def step(self, ids: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Let each lane read one character: ids int32 `(B,)`, state float32 `(R, S)` ->
        logits float32 `(B, V)` of the next character, and the new state."""
        # The graph's choice of a character is not fetched, so these values do not matter.
        zeros = np.zeros((len(ids), 1), np.float32)
        sampling = LaneSampling(zeros, zeros, zeros.astype(np.int64))
        return self._run("logits", ids, state, zeros.T, sampling, None)

    def read(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Let fresh lanes read a text each: ids int32 `(B, T)` -> logits float32 `(B, V)` of the
        next character, and the state. With T = 0, the logits are zero."""
        logits = np.zeros((len(ids), self.spec.characters), np.float32)
        state = self.zero_state(len(ids))
        for step in np.ascontiguousarray(ids.T):
            logits, state = self.step(step, state)
        return logits, state

    def write(
        self,
        ids: np.ndarray,
        state: np.ndarray,
        uniform: np.ndarray,
        sampling: LaneSampling,
        bias: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Let each lane read one character, ids int32 `(B,)`, and write N characters. `uniform`,
        float32 `(N, B)`, are the random numbers in [0, 1) to choose by; `bias`, float32 `(B, V)`,
        is added to the logits. Returns the ids int32 `(N, B)` and the state `(R, S)` before the
        last of them is read."""
        return self._run("chosen", ids, state, uniform, sampling, bias)

    def _run(
        self,
        output: str,
        ids: np.ndarray,
        state: np.ndarray,
        uniform: np.ndarray,
        sampling: LaneSampling,
        bias: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        if bias is None:
            bias = np.zeros((len(ids), self.spec.characters), np.float32)
        inputs = {
            "ids": ids,
            "state": state,
            "uniform": uniform[..., np.newaxis],
            "sharpness": sampling.sharpness,
            "top_p": sampling.top_p,
            "last_rank": sampling.last_rank,
            "bias": bias,
        }
        try:
            result, next_state = map(np.asarray, self._session.run([output, "next_state"], inputs))
        except _ORT_ERRORS as error:
            raise ModelError(f"ONNX Runtime cannot run the graph: {first_line(error)}") from error
        if result.shape != (uniform.shape if output == "chosen" else bias.shape):
            raise ModelError("The graph's results do not fit the spec.")
        return result, next_state


def _signature(spec: ModelSpec) -> Mapping[str, tuple[str, list[str | int]]]:
    """Type and shape of the inputs and outputs that the graph of a model must have."""
    size, characters = spec.state_size, spec.characters
    return {
        "ids": ("tensor(int32)", ["lanes"]),
        "state": ("tensor(float)", ["rows", size]),
        "uniform": ("tensor(float)", ["steps", "lanes", 1]),
        "sharpness": ("tensor(float)", ["lanes", 1]),
        "top_p": ("tensor(float)", ["lanes", 1]),
        "last_rank": ("tensor(int64)", ["lanes", 1]),
        "bias": ("tensor(float)", ["lanes", characters]),
        "chosen": ("tensor(int32)", ["steps", "lanes"]),
        "logits": ("tensor(float)", ["lanes", characters]),
        "next_state": ("tensor(float)", ["next_rows", size]),
    }
