# make demo       the whole road on real input: convert, deploy, score, clean up
# make test       lint, types, room order, tests; installs into .venv, nothing system-wide
# make test-all   the slow proofs too, with containers, a registry and ssh, which it installs where it may
# make bitstream-test  a bitstream of a whole board, by place and route: many minutes
# make test-kubernetes  what concerns clusters, on the one that FIELDWAVE_TEST_KUBECONFIG names, or a stand-in by podman
PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: demo test test-all test-kubernetes bitstream-test lint wire clean

demo: .venv/installed
	$(BIN)/fieldwave demo

test: lint
	$(BIN)/pytest -n 2 --dist loadgroup -m "not slow"

test-kubernetes: .venv/installed-tests
	$(BIN)/pytest -rs tests/test_compute_live.py tests/test_deploy_kubernetes*.py tests/test_docs_kubernetes.py \
	  tests/test_lifecycle.py::test_on_a_cluster

test-all: lint
	sh tests/system.sh
	$(BIN)/pytest -n 2 --dist loadgroup

bitstream-test: .venv/installed-boards
	FIELDWAVE_TEST_BITSTREAM=1 $(BIN)/pytest --noconftest -p no:cacheprovider -s tests/test_boards_bitstream_whole.py

lint: .venv/installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The compiled form of the .proto files; tests check that it is up to date.
wire: .venv/installed-tests
	$(BIN)/python -m fieldwave.wire.compile

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fieldwave needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "python's venv module is incomplete here: apt-get install python3-venv, then again"; exit 1; }

.venv/installed: pyproject.toml | .venv/bin/python
	$(PIP) install -e '.[convert,gateware]'
	@touch $@

.venv/installed-boards: pyproject.toml | .venv/bin/python
	$(PIP) install -e '.[boards]' pytest
	@touch $@

.venv/installed-tests: pyproject.toml | .venv/bin/python
	$(PIP) install -e '.[test]'
	$(PIP) install --no-deps 'tf-keras==2.21.*'  # which asks for the build of TensorFlow for GPUs
	@touch $@ .venv/installed .venv/installed-boards

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
