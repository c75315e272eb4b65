from pathlib import Path

from charrnn.sentences import first_line, how_to_install, needs_extra


def test_a_missing_package_is_named_with_what_installs_it():
    sentence = needs_extra("EXECUTOR", "distributed", "dask")
    assert sentence.startswith(
        "EXECUTOR needs distributed, which comes with charrnn's extra `dask`"
    )
    assert sentence.endswith('-m pip install -c constraints.txt -e ".[dask]"')
    assert needs_extra("It", None, "dask").startswith("It needs a package, which")


def test_where_there_is_no_clone_the_advice_needs_none(tmp_path: Path):
    sentence = how_to_install("train", tmp_path)
    assert sentence.startswith("Run: ") and sentence.endswith('-m pip install "charrnn[train]"')


def test_an_error_without_a_message_is_named_by_its_class():
    assert first_line(ValueError("\nso\nbe it")) == "so"
    assert first_line(KeyError()) == "KeyError"
