"""Shows the events of a training run: as a progress bar for people, or as JSON lines."""

from datetime import timedelta
from enum import StrEnum

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from charrnn.cli.tables import printable
from charrnn.errors import CharRNNError, Stopped
from charrnn.training.events import (
    EpochEnd,
    Event,
    Failed,
    Finished,
    Halted,
    Progress,
    Warned,
    json_line,
)


class ProgressFormat(StrEnum):
    RICH = "rich"
    JSON = "json"
    NONE = "none"


class Reporter:
    """Shows each event it is called with. As a context manager, also reports the error that ends
    the block."""

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
        self._stop_bar()
        if isinstance(error, Stopped | KeyboardInterrupt):
            self(Halted(str(error)))
        elif isinstance(error, CharRNNError | OSError):
            self(Failed(str(error)))

    def __call__(self, event: Event) -> None:
        if self._style is ProgressFormat.JSON:
            print(json_line(event), flush=True)
        elif self._style is ProgressFormat.RICH:
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case Progress():
                self._show_progress(event)
            case EpochEnd():
                self._show_epoch(event)
            case Warned(message):
                self._console.print(printable(message), style="yellow", soft_wrap=True)
            case Finished():
                self._show_finished(event)
            case Halted() | Failed():
                pass  # `commands.main` prints the error's message

    def _show_progress(self, event: Progress) -> None:
        self._bar.start()
        waits_for = "left" if event.done < 1 else "left, measuring"
        self._bar.update(
            self._task,
            completed=event.done,
            epoch=f"{event.epoch}/{event.epochs}",
            description=f"loss {event.loss:.4f}, {event.characters_per_second:,.0f} characters/s, "
            f"{timedelta(seconds=round(event.seconds_left))} {waits_for}",
        )

    def _show_epoch(self, event: EpochEnd) -> None:
        voice = "" if event.voice is None else f"voice {event.voice:.2f}  "
        left = f"{timedelta(seconds=round(event.seconds_left))} left"
        if event.epoch == event.epochs:
            left += " to write the model"
        line = (
            f"epoch {event.epoch}/{event.epochs}  loss {event.loss:.4f}  "
            f"validation loss {event.validation_loss:.4f}{' (best)' if event.best else ''}  {voice}"
            f"{event.characters_per_second:,.0f} characters/s  {left}"
        )
        self._bar.update(self._task, completed=1.0, description=left)
        self._console.print(printable(line), style="bold")
        self._console.print(printable(event.sample.strip()), style="dim")

    def _stop_bar(self) -> None:
        if self._bar.live.is_started:  # otherwise Rich prints an empty line
            self._bar.stop()

    def _show_finished(self, event: Finished) -> None:
        self._stop_bar()
        nats = event.scores["held out"]["nats"]
        sentence = f"Wrote {event.output}: {nats:.4f} nats per character on held-out text"
        if event.base_nats is not None:
            sentence += f" (its base: {event.base_nats:.4f}"
            if event.standard_error is not None:
                sentence += f"; standard error of the difference: {event.standard_error:.4f}"
            sentence += ")"
        if event.voice is not None:
            error = "" if event.voice_error is None else f" ± {2 * event.voice_error:.2f}"
            sentence += f", voice {event.voice:.2f}{error} (0 = like its base, 1 = like its text)"
        self._console.print(printable(f"{sentence}."), style="dim", soft_wrap=True)
