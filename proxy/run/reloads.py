"""What makes a gate reload: a signal, a command, a file that has changed; and who is told what came of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from proxy.adapters.tasks import spawn
from proxy.config.loader import LoadedConfig
from proxy.run.channel import Message
from proxy.run.files import FileWatch, is_file
from proxy.run.loading import load, reload_text
from proxy.run.metrics import Metrics
from proxy.run.reloading import Gate, Outcome, Reloader
from proxy.run.running import QUESTION, told_of

RELOAD = "reload"

_log = logging.getLogger("latchgate.reload")


class Reloads:
    """The reloads of one gate."""

    def __init__(self, gate: Gate, metrics: Metrics) -> None:
        self._gate = gate
        self._metrics = metrics
        self._reloader = Reloader(gate)
        self.idle = self._reloader.idle
        self.answered = self._reloader.answered
        self.left = self._reloader.left
        self._told = told_of(gate.loaded)
        self._files = FileWatch(gate.loaded)
        self._hangups = 0
        """Signals since the last reload for one was begun while none was under way."""

    async def answer(self, question: Message) -> Message | None:
        """Answer a command over the control socket."""
        match question:
            case {"kind": str(kind)} if kind == QUESTION:
                return self._told
            case {"kind": str(kind), "confirmed": None | str() as confirmed} if kind == RELOAD:
                return (await self._from_file(confirmed)).to_message()
        return None

    def on_hangup(self) -> None:
        """Reload for SIGHUP: once more for all that come while one is under way."""
        self._hangups += 1
        if self._hangups == 1:
            spawn(self._answer_hangups(), name="reload")

    async def _answer_hangups(self) -> None:
        answered = 0
        while answered < self._hangups:
            answered = self._hangups
            await self._from_file(None)
        self._hangups = 0

    async def watch(self) -> None:
        """Reload when files change that the configuration names."""
        await self._files.run(self._on_files)

    async def _on_files(self, files: frozenset[Path]) -> bool:
        """Reload; False where it is to be tried again, as nothing was wrong with the files."""
        names = ", ".join(sorted(str(path) for path in files))
        _log.info("changed: %s", names)
        if self._files.own in files:
            outcome = await self._from_file(None)
            if outcome.result == "done" or files == {self._files.own}:
                return outcome.result != "failed"
        # A certificate is renewed also where the configuration that came with it is not taken.
        loaded = self._gate.loaded
        outcome = await self._run(lambda: reload_text(loaded), None)
        return outcome.result != "failed"

    async def _from_file(self, confirmed: str | None) -> Outcome:
        path = self._files.own
        if path is None or not is_file(path):
            name = self._gate.loaded.file
            outcome = Outcome("refused", [f"{name}: there is no file to be read again"])
            self._say(outcome)
            return outcome
        return await self._run(lambda: load(path), confirmed)

    async def _run(self, read: Callable[[], LoadedConfig], confirmed: str | None) -> Outcome:
        seen = self._files.look()
        outcome = await self._reloader.reload(read, confirmed=confirmed)
        if outcome.result == "done":
            self._files.read(self._gate.loaded, seen)
            self._told = told_of(self._gate.loaded)
        self._say(outcome)
        return outcome

    def _say(self, outcome: Outcome) -> None:
        """Say in the log and as a metric what came of it."""
        result = outcome.result
        if result == "done":
            self._metrics.reloaded("done")
            _log.info("reloaded: %s", outcome.effects.summary())
            for line in outcome.effects.lines():
                _log.info("%s", line)
            for reason in outcome.reasons:
                _log.warning("%s", reason)
            return
        self._metrics.reloaded("failed" if result == "failed" else "refused")
        if result == "unconfirmed":
            _log.error(
                "not reloaded: it %s, and nobody has confirmed it", outcome.effects.summary()
            )
            for line in outcome.effects.lines():
                _log.error("%s", line)
        for reason in outcome.reasons:
            _log.error("not reloaded: %s", reason)
