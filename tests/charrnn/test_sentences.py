from pathlib import Path

from charrnn.sentences import few, first_line, how_to_install, needs_extra


def test_a_missing_package_is_named_with_what_installs_it():
    sentence = needs_extra("EXECUTOR", "distributed", "dask")
    assert sentence.startswith("EXECUTOR needs distributed, part of charrnn's extra `dask`")
    assert sentence.endswith('[dask]"')
    assert needs_extra("It", None, "dask").startswith("It needs a package, part")


def test_in_a_clone_the_advice_is_for_the_clone(tmp_path: Path):
    (tmp_path / "constraints.txt").touch()
    sentence = how_to_install("train", tmp_path)
    assert sentence.startswith("In your clone, run: ")
    assert sentence.endswith('-m pip install -c constraints.txt -e ".[train]"')


def test_where_there_is_no_clone_the_advice_needs_none(tmp_path: Path):
    sentence = how_to_install("train", tmp_path)
    assert sentence.startswith("Run: ") and sentence.endswith('-m pip install "charrnn[train]"')


def test_an_error_without_a_message_is_named_by_its_class():
    assert first_line(ValueError("\nso\nbe it")) == "so"
    assert first_line(KeyError()) == "KeyError"


def test_of_many_names_the_first_are_given_and_the_others_counted():
    assert few([], 2) == ""
    assert few(["Hero", "Beatrice"], 2) == "Hero, Beatrice"
    assert few(["Hero", "Beatrice", *["lord"] * 1000], 2) == "Hero, Beatrice and 1,000 more"
