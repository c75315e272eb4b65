"""The services that the cogs call, built from the settings."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

from bot.errors import SettingsError
from bot.inference.executor import Executor, LocalExecutor
from bot.inference.queue import Inference
from bot.inference.writer import Writer
from bot.interactions.rate_limits import Cooldown
from bot.models.cache import LoadedModels
from bot.models.reference import ModelReference
from bot.models.server_models import ServerModels
from bot.privacy import Privacy
from bot.settings import Settings
from bot.storage.files import StateFolder
from bot.storage.registry import Registry
from bot.training.process import LocalTraining, StartTraining
from bot.training.service import TrainingService
from bot.words.lists import NeverSaid, read_file
from charrnn import store
from charrnn.sentences import needs_extra

BASES = ("chat", "shakespeare")  # the models that every server can write with and train from
NOT_INSTALLED = (
    "What training needs is not installed here. My operator can install charrnn's extra `train` "
    "and restart me."
)
TRAINING_PACKAGES = ("h5py", "keras", "matplotlib", "onnx", "tensorflow")


@dataclass(frozen=True)
class Services:
    """What the cogs call."""

    inference: Inference
    executor: Executor  # with which `inference` writes
    writer: Writer
    never_said: NeverSaid
    files: StateFolder
    registry: Registry
    privacy: Privacy
    models: ServerModels
    training: TrainingService
    cooldown: Cooldown
    shakespeare: ModelReference  # the model of /shakespeare
    mentions_allowed: bool  # whether admins may switch on answers to messages that mention the bot
    channels_allowed: bool  # as sources of training texts
    training_blocked: str | None  # why nothing can be trained, for people
    shutdown_grace_s: float
    forget_after_days: float  # a server that has removed the bot
    clock: Callable[[], float] = time.monotonic  # in seconds


def create_services(settings: Settings) -> Services:
    """The services, with the model of /shakespeare loaded. Raises ModelError, SettingsError, and
    RegistryError when the state cannot be read or written."""
    operators = read_file(settings.words_file) if settings.words_file else []
    shakespeare = ModelReference.of(settings.model)
    executor, start_training = _workers(settings, shakespeare)
    inference = Inference(
        executor, batch_limit=settings.batch_limit, queue_limit=settings.queue_limit
    )
    files = StateFolder(settings.state)
    files.claim()
    registry = Registry(files.registry, reserved_names=[*store.shipped(), shakespeare.name])
    privacy = Privacy(registry, files, keep_texts=settings.keep_texts)
    never_said = NeverSaid(registry, operators)
    models = ServerModels(registry, files, {name: ModelReference.of(name) for name in BASES})
    training = TrainingService(
        registry,
        privacy,
        files,
        models,
        never_said,
        executor,
        start_training,
        limit=settings.max_trainings,
        threads=settings.training_threads,
        keep_texts=settings.keep_texts,
    )
    return Services(
        inference,
        executor,
        Writer(inference, models, never_said),
        never_said,
        files,
        registry,
        privacy,
        models,
        training,
        Cooldown(settings.cooldown_s),
        shakespeare,
        mentions_allowed=settings.mentions,
        channels_allowed=settings.train_on_channels,
        training_blocked=training_blocked(settings),
        shutdown_grace_s=settings.shutdown_grace_s,
        forget_after_days=settings.forget_after_days,
    )


def training_blocked(settings: Settings) -> str | None:
    """Why nothing can be trained, for people; None if training works."""
    return NOT_INSTALLED if settings.dask_scheduler is None and not_installed() else None


def not_installed() -> list[str]:
    """The packages that training lacks on this machine."""
    return [name for name in TRAINING_PACKAGES if find_spec(name) is None]


def _workers(settings: Settings, model: ModelReference) -> tuple[Executor, StartTraining]:
    """Where texts are written and models trained: on this machine, or on a Dask cluster."""
    memory_bytes = settings.model_memory_mb * 2**20
    if settings.dask_scheduler is None:
        loaded = LoadedModels(memory_bytes)
        loaded.get(model.folder)
        return LocalExecutor(settings.threads, loaded), LocalTraining
    try:
        from bot.dask.cluster import Cluster
        from bot.dask.executor import DaskExecutor
        from bot.dask.training import DaskTraining
    except ModuleNotFoundError as error:
        raise SettingsError([needs_extra("EXECUTOR", error.name, "dask")]) from error
    cluster = Cluster(settings.dask_scheduler)
    return DaskExecutor(cluster, memory_bytes), partial(DaskTraining, cluster)
