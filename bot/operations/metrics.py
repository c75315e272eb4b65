"""The running bot's metrics, in Prometheus's format; the only importer of its client."""

import asyncio
import math
from collections.abc import Iterator
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bot.client import Bot
from bot.interactions.answering import OUTCOMES, Answered
from bot.storage.records import JobState

LAG_INTERVAL_S = 1.0
COMMAND_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600)  # /retrain reads for minutes
WRITING_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 3)
BATCH = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counts what a bot does, from now on. Labels take their values from the code and from shard
    numbers, never from what people write."""

    def __init__(self, bot: Bot):
        self._bot = bot
        disable_created_metrics()  # a series for each counter that nobody uses
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_Gauges(bot))
        self._commands = Counter(
            "charrnn_commands",
            "Commands and buttons used, by outcome.",
            ["command", "outcome"],
            registry=registry,
        )
        self._errors = Counter(
            "charrnn_errors",
            "Commands and buttons that failed, by kind of error.",
            ["kind"],
            registry=registry,
        )
        self._command_s = Histogram(
            "charrnn_command_seconds",
            "Time from a command's arrival to its complete answer.",
            ["command"],
            buckets=COMMAND_S,
            registry=registry,
        )
        self._texts = Counter("charrnn_texts", "Texts written.", registry=registry)
        self._batch = Histogram(
            "charrnn_batch_requests",
            "Texts in a batch.",
            buckets=BATCH,
            registry=registry,
        )
        self._writing_s = Histogram(
            "charrnn_writing_seconds",
            "Time to write a batch.",
            buckets=WRITING_S,
            registry=registry,
        )
        self._lag_s = Histogram(
            "charrnn_event_loop_lag_seconds",
            "How late the event loop wakes a task that slept for a second.",
            buckets=LAG_S,
            registry=registry,
        )
        self._connects = Counter(
            "charrnn_gateway_connects",
            "Connections to Discord's gateway, with a new or a resumed session.",
            ["session"],
            registry=registry,
        )
        self._trainings = Gauge(
            "charrnn_trainings",
            "Training jobs that are active, or whose end has not been shown.",
            ["state"],
            registry=registry,
        )
        for session in ("new", "resumed"):
            self._connects.labels(session)
        bot.services.inference.observe(self._written)
        bot.add_listener(self._answered, "on_answered")
        bot.add_listener(self._connected, "on_shard_connect")
        bot.add_listener(self._resumed, "on_shard_resumed")

    async def text(self) -> bytes:
        """All metrics in Prometheus's format. Raises RegistryError."""
        jobs = await self._bot.services.registry.count_jobs()
        for state in JobState:
            self._trainings.labels(state).set(jobs[state])
        return generate_latest(self._registry)

    async def sample_lag(self) -> None:
        """Measure the event loop's lag, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self._lag_s.observe(max(0.0, loop.time() - due))

    def _written(self, requests: int, seconds: float) -> None:
        self._texts.inc(requests)
        self._batch.observe(requests)
        self._writing_s.observe(seconds)

    async def _answered(self, answered: Answered) -> None:
        self._commands.labels(answered.command, answered.outcome).inc()
        self._command_s.labels(answered.command).observe(answered.seconds)
        if answered.error is not None:
            self._errors.labels(answered.error).inc()

    async def _connected(self, shard_id: int) -> None:
        del shard_id  # a label for it would multiply the series
        self._connects.labels("new").inc()
        # Prometheus sees no growth in a series that starts at 1, so all of them start at 0: here,
        # where the commands are known and nobody has used one yet.
        for command, outcome in product(self._bot.offered(), OUTCOMES):
            self._commands.labels(command, outcome)

    async def _resumed(self, shard_id: int) -> None:
        del shard_id
        self._connects.labels("resumed").inc()


class _Gauges(Collector):
    """Values that are read when Prometheus asks."""

    def __init__(self, bot: Bot):
        self._bot = bot

    def collect(self) -> Iterator[Metric]:
        bot, services = self._bot, self._bot.services
        yield _gauge("charrnn_ready", "1 if people can be answered.", bot.trouble() is None)
        yield _gauge("charrnn_servers", "Servers that the bot is in.", len(bot.guilds))
        yield _gauge("charrnn_queue_requests", "Requests waiting.", services.inference.waiting)
        yield _gauge("charrnn_models_in_memory", "Models in memory.", services.executor.models)
        yield CounterMetricFamily(
            "charrnn_redraws",
            "Texts drawn again because of a word that is never said.",
            value=services.writer.redrawn,
        )
        yield CounterMetricFamily(
            "charrnn_masked_texts",
            "Texts in which a word that is never said was masked.",
            value=services.writer.masked,
        )
        latency = GaugeMetricFamily(
            "charrnn_gateway_latency_seconds",
            "Time from a heartbeat to Discord's response.",
            labels=["shard"],
        )
        for shard_id, seconds in bot.latencies:
            if math.isfinite(seconds):  # infinite before the first response
                latency.add_metric([str(shard_id)], seconds)
        yield latency


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(name, description, value=value)
