import doctest
import inspect

import charrnn


def test_the_example_in_the_documentation():
    assert doctest.testmod(charrnn).failed == 0


def test_the_public_names_are_these_and_each_has_a_docstring():
    assert charrnn.__all__ == [
        "CharRNNError",
        "CorpusError",
        "Generated",
        "Model",
        "ModelError",
        "OptionError",
        "Prompt",
        "Sampling",
        "Score",
        "VerbatimGuard",
        "generate",
        "load",
        "score",
    ]
    assert all(inspect.getdoc(getattr(charrnn, name)) for name in charrnn.__all__)
