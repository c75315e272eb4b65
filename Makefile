# make run, make test, make check, make audit, make check-setup: each makes .venv first, and installs
# nothing it already has. make install-service and make check-service, as root: see docs/running.md.

PYTHON ?= python3
VENV := .venv
INSTALL = $(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check audit check-setup install-service check-service

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

check-setup: $(VENV)/run.installed
	@$(VENV)/bin/python -m bot --check

# What /retrain needs too. To leave it out: make install-service EXTRAS=bot
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
