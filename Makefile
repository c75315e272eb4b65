# run, test, check, audit and check-setup create .venv if needed and install only what is missing.
# test-oldest runs the tests with the oldest versions allowed.
# install-service and check-service need root: see docs/running.md.

PYTHON ?= python3
VENV := .venv
CONSTRAINTS := constraints.txt
INSTALL = $(VENV)/bin/pip install --disable-pip-version-check --constraint $(CONSTRAINTS)

.PHONY: run test test-oldest check audit check-setup install-service check-service

run: $(VENV)/run.installed
	$(VENV)/bin/python -m bot

test: $(VENV)/test.installed
	$(VENV)/bin/python -m pytest -n auto --dist worksteal

test-oldest:
	@$(MAKE) --no-print-directory VENV=$(VENV)/oldest CONSTRAINTS=constraints-oldest.txt test

check: $(VENV)/test.installed audit
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	for system in Linux Windows Darwin; do $(VENV)/bin/pyright --pythonplatform $$system || exit; done

# A known vulnerability in constraints.txt is an error. Without a network it is only a message. The exit
# code of pip-audit is 1 in both cases, so its output decides.
audit: $(VENV)/test.installed
	@log=$(VENV)/audit.log; \
	if $(VENV)/bin/pip-audit --requirement $(CONSTRAINTS) --no-deps --disable-pip --timeout 3 \
	    --progress-spinner off >$$log 2>&1 && ! grep -q 'not found on PyPI' $$log; \
	then tail -n 1 $$log; \
	elif grep -qE 'not found on PyPI|requests\.exceptions|blocking this service' $$log \
	    && ! grep -q '^Found ' $$log; \
	then echo "Not everything was audited: PyPI did not answer, or lacks a version. See $$log"; \
	else cat $$log; exit 1; fi

check-setup: $(VENV)/run.installed
	@$(VENV)/bin/python -m bot --check

# Includes what /retrain needs. Without it: make install-service EXTRAS=bot
EXTRAS := bot,metrics,train

install-service:
	id -u charrnn >/dev/null 2>&1 || useradd --system --home-dir /var/lib/charrnn \
	    --no-create-home --shell /usr/sbin/nologin charrnn
	$(PYTHON) -m venv /opt/charrnn
	/opt/charrnn/bin/pip install --quiet --constraint constraints.txt '.[$(EXTRAS)]'
	install -D --mode=644 deploy/charrnn-bot.service /etc/systemd/system/charrnn-bot.service
	test -e /etc/charrnn-bot.env || install --mode=600 .env.example /etc/charrnn-bot.env
	systemctl daemon-reload

# As the service would see it.
check-service:
	@systemd-run --quiet --pipe --wait --property=User=charrnn \
	    --property=StateDirectory=charrnn --property=StateDirectoryMode=0700 \
	    --setenv=STATE=/var/lib/charrnn --property=EnvironmentFile=/etc/charrnn-bot.env \
	    /opt/charrnn/bin/python -m bot --check

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "charrnn needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12")'
	@echo "Creating $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
# Older ones take ten seconds more to choose among the releases of every package.
	@$(VENV)/bin/pip install --quiet --no-compile --disable-pip-version-check 'pip>=24.2'

# Python compiles what it imports. To compile everything takes ten seconds.
$(VENV)/run.installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/pip
	@echo "Installing the bot into $(VENV), once: about 36 packages, 80 MB ..."
	@$(VENV)/bin/python deploy/with_bar.py 36 $(INSTALL) --no-compile --editable '.[bot,preview]'
	@touch $@

$(VENV)/test.installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/pip
	@echo "Installing the bot, TensorFlow and the test tools into $(VENV), once: about 110 packages ..."
	@$(VENV)/bin/python deploy/with_bar.py 110 $(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/run.installed
