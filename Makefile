# Two commands are enough: `make run` and `make test`. Each installs into .venv first when pyproject.toml has changed.
# On a CPU-only machine where pip would fetch PyTorch's CUDA build:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make install
PYTHON ?= python3
SPEC   ?= pipelines/voice_assistant.yaml
BIN    := .venv/bin
STAMP  := .venv/.installed

.PHONY: run install test test-servers check format docs
.DEFAULT_GOAL := run

run: install
	$(BIN)/posttrain run $(SPEC)

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; try: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

test: install
	$(BIN)/pytest -n 2 --dist loadfile

# Those that start several servers each and take minutes; `make test` leaves them out.
test-servers: install
	$(BIN)/pytest -n 0 -m servers --timeout 1200

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: install
	$(BIN)/pytest tests/docs
