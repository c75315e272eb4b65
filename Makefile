# make run, make test, make check, make audit: each makes .venv first, and installs nothing it already has.

PYTHON ?= python3
VENV := .venv
INSTALL = $(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check audit

run: $(VENV)/run.installed
	$(VENV)/bin/python -m bot

test: $(VENV)/test.installed
	$(VENV)/bin/python -m pytest

check: $(VENV)/test.installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright

# Not in check, which takes no network: known vulnerabilities, of the versions in constraints.txt.
audit: $(VENV)/audit.installed
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "charrnn needs Python 3.11 or later; name one with: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing the bot into $(VENV), once ..."
	@$(INSTALL) --editable '.[bot,preview]'
	@touch $@

$(VENV)/test.installed: pyproject.toml constraints.txt | $(VENV)/bin/pip
	@echo "Installing the bot, TensorFlow and the test tools into $(VENV), once ..."
	@$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/run.installed

# In a venv of its own: what it depends on is none of the bot's.
$(VENV)/audit.installed: | $(VENV)/bin/pip
	@$(PYTHON) -m venv $(VENV)/audit
	@$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'
	@touch $@
