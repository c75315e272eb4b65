"""A training service with trainings that take no time."""

from pathlib import Path
from typing import Any

import pytest

from bot.services import Services
from bot.storage.registry import Registry
from bot.training.service import TrainingService
from charrnn.store import Model
from tests.bot.conftest import services
from tests.bot.training.jobs import Start
from tests.bot.trainings import FakeExecutor, FakeTrainings


@pytest.fixture
def start(registry: Registry, trainings: FakeTrainings, stateful: Model, tmp_path: Path) -> Start:
    """Starts a bot. Started again, it is the successor of a bot that was killed."""

    def start(state: Path = tmp_path, **options: Any) -> Services:
        given = {"registry": registry, "executor": FakeExecutor(), "trainings": trainings}
        return services(stateful, state, **given | options)

    return start


@pytest.fixture
def training(start: Start) -> TrainingService:
    return start().training
