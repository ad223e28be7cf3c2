# Everything needed is Python >= 3.11. `make demo` and `make test` create the environment (.venv), install and run;
# when it stands already they go straight to work. The same without make:
#
#   Linux, macOS                              Windows (PowerShell)
#   python3 -m venv .venv                     py -3 -m venv .venv
#   .venv/bin/pip install .                   .venv\Scripts\pip install .
#   .venv/bin/tgseq demo                      .venv\Scripts\tgseq demo
#   .venv/bin/pip install ".[test]"           .venv\Scripts\pip install ".[test]"
#   .venv/bin/python -m pytest -n auto        .venv\Scripts\python -m pytest -n auto

PYTHON  ?= python3
ARGS    ?= -n auto
BIN     := .venv/bin
SOURCES := pyproject.toml tgseq.py $(shell find tinygrad_seq dsl viz -name '*.py' -o -name '*.cell' -o -name '*.lark')

.PHONY: demo test check clean

demo: .venv/installed
	$(BIN)/tgseq demo

test: .venv/tests
	$(BIN)/python -m pytest $(ARGS)

# what reviewers' machines check before the tests: format, lint, types, the direction of imports
check: .venv/tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict tinygrad_seq dsl viz tgseq.py
	$(BIN)/lint-imports

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tinygrad-seq needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python $(SOURCES)
	$(BIN)/python -m pip install --quiet .
	@touch $@

# the tests read the packages in this folder, so only a change of what they depend on installs anything again
.venv/tests: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet '.[test]'
	@touch $@

clean:
	rm -rf .venv build dist out
