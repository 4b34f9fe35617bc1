"""Progress that a person can follow: live bars in a terminal, plain lines in a log, nothing where nobody asked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

HEARTBEAT_S: Final = 15.0
"""Plain logs get a line at most this often per stage, besides its start and end."""


class Stage:
    """One stretch of work: ``total`` units (SNPs, files, chromosomes) of which some are done."""

    def __init__(self, title: str, total: float | None, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = self.before = 0.0
        self.started = time.monotonic()

    def advance(self, amount: float, note: str = "") -> None:
        """Count units as done; ``note`` says where the work stands."""
        self.done += amount

    def skip(self, amount: float) -> None:
        """Count units that were done before: they say nothing of the rate."""
        if amount:
            self.before += amount
            self.advance(amount)

    @property
    def rate(self) -> float:
        """Units per second so far."""
        return (self.done - self.before) / max(time.monotonic() - self.started, 1e-9)


class Progress:
    """The silent progress; what to use where nobody watches."""

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Stage]:
        """Open a stage; leaving the block ends it."""
        yield Stage(title, total, unit)

    def say(self, text: str) -> None:
        """A line for the user."""


class PlainProgress(Progress):
    """Lines for a log: start, heartbeat with rate and time left, end."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """A line for the user."""
        self._console.print(text, highlight=False)

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Stage]:
        """Open a stage; leaving the block ends it."""
        stage = _PlainStage(title, total, unit, self)
        self.say(f"{title} …")
        yield stage
        seconds = time.monotonic() - stage.started
        amount = f", {stage.done:,.0f} {unit} at {stage.rate:,.0f}/s" if unit and stage.done else ""
        self.say(f"{title}: done in {seconds:.1f} s{amount}")


class _PlainStage(Stage):
    def __init__(self, title: str, total: float | None, unit: str, out: PlainProgress) -> None:
        super().__init__(title, total, unit)
        self._out, self._last = out, time.monotonic()

    def advance(self, amount: float, note: str = "") -> None:
        super().advance(amount, note)
        now = time.monotonic()
        if now - self._last >= HEARTBEAT_S:
            self._last = now
            left = f", {(self.total - self.done) / max(self.rate, 1e-9):.0f} s left" if self.total else ""
            self._out.say(f"{self.title}: {self.done:,.0f} {self.unit} at {self.rate:,.0f}/s{left} {note}".rstrip())


class LiveProgress(Progress):
    """Bars with rate and time left in a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )

    def say(self, text: str) -> None:
        """A line for the user, above the bars."""
        self._console.print(text, highlight=False)

    @contextmanager
    def stage(self, title: str, total: float | None = None, unit: str = "") -> Iterator[Stage]:
        """Open a stage; leaving the block ends it."""
        outermost = not self._bars.live.is_started
        if outermost:
            self._bars.start()
        task = self._bars.add_task(title, total=total, rate="")
        bars = self._bars

        class _LiveStage(Stage):
            def advance(self, amount: float, note: str = "") -> None:
                super().advance(amount, note)
                rate = f"{self.rate:,.0f} {self.unit}/s" if self.unit else note
                bars.update(task, advance=amount, rate=rate, description=f"{title} {note}".rstrip())

        stage = _LiveStage(title, total, unit)
        try:
            yield stage
        finally:
            self._bars.remove_task(task)
            if outermost:
                self._bars.stop()
        amount = f"  {stage.done:,.0f} {unit}, {stage.rate:,.0f}/s" if unit and stage.done else ""
        self.say(f"[green]✓[/green] {title}  [dim]{time.monotonic() - stage.started:.1f} s{amount}[/dim]")


def progress_for(console: Console) -> Progress:
    """Bars where the console is a terminal, plain lines elsewhere."""
    return LiveProgress(console) if console.is_terminal else PlainProgress(console)
