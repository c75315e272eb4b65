"""The model that a training run makes: scored, described and written."""

from dataclasses import asdict

import keras

from charrnn import evaluation, store
from charrnn.engine import Engine
from charrnn.evaluation import Score
from charrnn.sampling import Sampling
from charrnn.training import export, keras_files
from charrnn.training.job import Job, TrainingData
from charrnn.training.run.checkpoint import Checkpoints
from charrnn.training.run.state import RunState
from charrnn.training.run.validation import Validation
from charrnn.verbatim import longest_copy

# Other random seeds than those that chose the epoch, for the figures that are published.
FINAL_SEED, FINAL_SAMPLES = 1_000_000, 40


def publish(
    job: Job,
    data: TrainingData,
    state: RunState,
    validation: Validation,
    checkpoints: Checkpoints,
) -> store.Model:
    """Write the best epoch's model to `job.output`."""
    best = keras_files.open_model(checkpoints.best)
    graph = export.shipped_graph(best)
    # In one stretch and with the graph that ships. The model's own factor was fitted on this
    # text, so the published score is cross-fitted.
    engine = Engine(graph, data.spec)
    if job.recipe.calibrate:
        score = evaluation.calibrate(engine, data.validation_ids).score
    else:
        score = Score.of(evaluation.losses(engine, data.validation_ids))
    training = {
        **job.source,
        "characters": len(data.ids),
        "parameters": best.count_params(),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "minutes": round(state.seconds / 60, 1),
        "recipe": asdict(job.recipe),
        "history": [
            {name: round(value, 4) for name, value in epoch.items()} for epoch in state.history
        ],
        "keras": keras.__version__,
    }
    judge = validation.judge
    samples = (
        validation.write(engine, FINAL_SAMPLES, Sampling(), FINAL_SEED)
        if judge or data.guard
        else []
    )
    voice = judge.voice(samples) if judge else None
    if voice is not None:
        training["voice"] = round(voice.value, 2)
        training["voice_error"] = round(voice.standard_error, 2)
    if data.guard is not None:
        texts = [data.vocabulary.encode(sample).ids for sample in samples]
        found = longest_copy(texts, data.ids)[0]
        training["longest_copy"] = {"allowed": data.guard.longest, "found": found}
    scores = {"held out": score.rounded()}
    # The text of a model that must not copy it may hold names of people.
    play = "" if data.guard else data.vocabulary.decode(data.ids)
    speakers = tuple(evaluation.speakers(play))
    card = store.Card(data.spec, data.vocabulary, data.opening, training, scores, speakers)
    with checkpoints.guarded():
        store.write(job.output, card, checkpoints.best, graph, data.guard)
    return store.load(job.output)
