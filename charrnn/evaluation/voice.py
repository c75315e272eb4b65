"""The voice of a fine-tuned model."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from charrnn.errors import CorpusError
from charrnn.evaluation.samples import MIN_MESSAGE_LENGTH, messages_in

MIN_MESSAGES = 10  # fewer cannot be judged
MIN_STANDARD_ERRORS = 3.0  # between the base and the people, or a voice cannot be judged
MAX_MESSAGES = 10_000  # more do not make a judge better, only slower

# Words; and one by one, emoji and the characters of languages that have no spaces.
_SPACELESS = r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
_FEATURE = re.compile(
    rf"{_SPACELESS}|(?:(?!{_SPACELESS})[\w'#+.-])*(?!{_SPACELESS})[\w'#+-]|[^\w\s!-~]"
)


@dataclass(frozen=True)
class Voice:
    """How much a model sounds like the people whose messages it was fine-tuned on."""

    value: float  # 0 is like the base, 1 like the people, more a caricature of them
    standard_error: float


class VoiceJudge:
    """Measures a model's voice.

    A naive Bayes classifier over the words and pairs of adjacent words of a message tells the
    people's messages from those that the base writes untouched. Two thirds of the people's messages
    and half of the base's samples train it; the others are the two ends of the scale. As the judge
    counts words, it hears vocabulary, names and turns of phrase, but not sense."""

    def __init__(self, text: str, base_samples: Sequence[str]):
        """`text`: the people's messages, one a line. Raises CorpusError when there are too few of
        them, or when the judge cannot tell them from the base's."""
        people = [line for line in text.split("\n") if len(line) >= MIN_MESSAGE_LENGTH]
        people, base = people[-MAX_MESSAGES:], [messages_in([sample]) for sample in base_samples]
        cut, learnt = len(people) * 2 // 3, [m for sample in base[::2] for m in sample]
        self._people, self._base = _Frequencies(people[:cut]), _Frequencies(learnt)
        kept = [m for sample in base[1::2] for m in sample]
        if min(len(people) - cut, len(kept)) < MIN_MESSAGES:
            raise CorpusError("There are too few messages to judge a voice.")
        ends = [np.array([self._log_odds(m) for m in end]) for end in (kept, people[cut:])]
        (self._floor, self._floor_variance), (top, self._top_variance) = map(_mean, ends)
        self._range = top - self._floor
        noise = math.sqrt(self._floor_variance + self._top_variance)
        if self._range <= MIN_STANDARD_ERRORS * noise:
            raise CorpusError("The messages cannot be told from what the base writes.")

    def voice(self, samples: Sequence[str]) -> Voice | None:
        """The mean over the messages in `samples`. None with too few messages. The standard error,
        by the delta method, is that of all three means: of the samples and both ends."""
        odds = np.array([self._log_odds(message) for message in messages_in(samples)])
        if len(odds) < MIN_MESSAGES:
            return None
        mean, variance = _mean(odds)
        voice = (mean - self._floor) / self._range
        variance += (1 - voice) ** 2 * self._floor_variance + voice**2 * self._top_variance
        return Voice(voice, math.sqrt(variance) / self._range)

    def _log_odds(self, message: str) -> float:
        """The logarithm of how much likelier the people write this than the base. Divided by the
        root of the number of features, so that long messages do not outweigh the others. What
        neither of them writes says nothing."""
        features = {f for f in _features(message) if f in self._people or f in self._base}
        odds = sum(self._people.log_share(f) - self._base.log_share(f) for f in features)
        return odds / math.sqrt(max(1, len(features)))


class _Frequencies:
    """In how many messages each feature occurs."""

    def __init__(self, messages: Sequence[str]):
        self._counts = Counter(feature for message in messages for feature in _features(message))
        self._messages = len(messages)

    def __contains__(self, feature: str) -> bool:
        return feature in self._counts

    def log_share(self, feature: str) -> float:
        return math.log((self._counts[feature] + 0.5) / (self._messages + 1))


def _mean(odds: np.ndarray) -> tuple[float, float]:
    """The mean and its variance."""
    return float(odds.mean()), float(odds.var(ddof=1)) / len(odds)


def _features(message: str) -> set[str]:
    words = _FEATURE.findall(message.casefold())
    return {*words, *(f"{one} {two}" for one, two in pairwise(words))}
