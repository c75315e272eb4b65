"""What a training run reports, and how that is shown: to people, or as JSON lines."""

import json
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from charrnn.errors import CharRNNError, Stopped
from charrnn.training.events import EpochEnd, Event, Progress


class ProgressFormat(StrEnum):
    RICH = "rich"
    JSON = "json"
    NONE = "none"


class Reporter:
    """Shows a training run as it goes, as bars and lines for people or as JSON lines."""

    def __init__(self, style: ProgressFormat, console: Console):
        self._style = style
        self._console = console
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
        )
        self._bar = Bar(*columns, console=console, disable=style is not ProgressFormat.RICH)
        self._task = self._bar.add_task("starting", total=1.0, epoch="1")

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: object
    ) -> None:
        self._bar.stop()
        if self._style is ProgressFormat.JSON and isinstance(error, CharRNNError | OSError):
            self._line("stopped" if isinstance(error, Stopped) else "error", message=str(error))

    def __call__(self, event: Event) -> None:
        if self._style is ProgressFormat.JSON:
            kind = "epoch" if isinstance(event, EpochEnd) else "progress"
            self._line(kind, **asdict(event))
        elif self._style is ProgressFormat.RICH:
            if isinstance(event, EpochEnd):
                self._show_epoch(event)
            else:
                self._show_progress(event)

    def warn(self, message: str) -> None:
        if self._style is ProgressFormat.JSON:
            self._line("warning", message=message)
        elif self._style is ProgressFormat.RICH:
            self._console.print(Text(message), style="yellow", soft_wrap=True)

    def finished(self, output: Path, scores: dict[str, Any], base_nats: float | None) -> None:
        """`base_nats`: what the base has, where there is one, in nats per character held out."""
        if self._style is ProgressFormat.JSON:
            self._line("finished", output=str(output), scores=scores, base_nats=base_nats)
        elif self._style is ProgressFormat.RICH:
            self._bar.stop()
            nats = scores["held out"]["nats"]
            sentence = f"wrote {output}: {nats:.4f} nats per character on held-out text"
            if base_nats is not None:
                sentence += f", where its base has {base_nats:.4f}"
            self._console.print(Text(sentence), style="dim")

    def _show_progress(self, event: Progress) -> None:
        self._bar.start()
        self._bar.update(
            self._task,
            completed=event.done,
            epoch=f"{event.epoch}/{event.epochs}",
            description=f"loss {event.loss:.4f}, {event.characters_per_second:,.0f} characters/s, "
            f"{timedelta(seconds=round(event.seconds_left))} left",
        )

    def _show_epoch(self, event: EpochEnd) -> None:
        line = (
            f"epoch {event.epoch}/{event.epochs}  loss {event.loss:.4f}  "
            f"validation loss {event.validation_loss:.4f}{' (best)' if event.best else ''}  "
            f"{event.characters_per_second:,.0f} characters/s  "
            f"{timedelta(seconds=round(event.seconds_left))} left"
        )
        self._bar.update(self._task, completed=1.0)
        self._console.print(Text(line), style="bold")
        self._console.print(Text(event.sample.strip()), style="dim")

    @staticmethod
    def _line(event: str, **content: object) -> None:
        print(json.dumps({"event": event, **content}), flush=True)
