PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# By a path, not by a finder of imports, which a folder called `optchain` where Python is started would come before.
EDITABLE := --config-settings editable_mode=compat --editable

TEST := $(BIN)/python -m pytest -q -n 2 --dist loadfile

# The oldest versions that are supported, and other Pythons with the newest ones.
FLOOR := .venv-floor/bin
PYTHONS ?= 3.12 3.13
VERSION_TESTS := tests/core tests/control tests/sharding/test_axes.py tests/test_flax.py \
	tests/embeddings/test_value_and_grad.py tests/inspect/test_migrate_from_optax.py tests/inspect/test_config.py \
	tests/inspect/test_catalogue.py
TEST_PACKAGES := flax orbax-checkpoint scikit-learn chex cloudpickle hypothesis pytest pytest-xdist

.PHONY: install demo test test-all test-oracles test-peers test-slow test-services test-floor test-pythons lint docs tables stubs benchmarks clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "optchain needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) $(EDITABLE) '.[lab,test]'
	touch $@

$(VENV)/.oracles: $(VENV)/.installed
	$(INSTALL) $(EDITABLE) '.[lab,test,oracles]'
	touch $@

$(VENV)/.peers: $(VENV)/.installed
	$(INSTALL) $(EDITABLE) '.[lab,test,peers]'
	touch $@

$(VENV)/.services: $(VENV)/.installed
	$(INSTALL) $(EDITABLE) '.[lab,test,postgres,ray]'
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(INSTALL) $(EDITABLE) '.[lab,test,docs]'
	touch $@

# Train on the handwritten digits; the last line says where the report is.
demo: install
	$(BIN)/optchain train configs/digits/adamw.toml --out runs/demo --overwrite

# For every change, within minutes: one technique, data set or way of running stands for all of its kind.
test: install
	$(TEST) -m 'not full and not slow and not oracles and not peers'

# All of them, and all that takes no more than a minute each; the oracles as far as they are installed.
test-all: install
	$(TEST) -m 'not slow and not peers'

# Agreement with torch and pytorch_optimizer.
test-oracles: $(VENV)/.oracles
	$(TEST) -m 'oracles and not slow'

# optax's own tests with our functions in the place of optax's, and programs on other libraries of JAX.
test-peers: $(VENV)/.peers
	PYTHONPATH=tests $(TEST) -c tests/peers/optax.ini
	$(TEST) -m 'peers and not slow' tests/peers

# What takes more than a minute each.
test-slow: install
	$(TEST) -m slow

# Studies on clusters of Ray, and in databases whose servers the machine has installed, such as Debian's package
# `postgresql`; others are skipped.
test-services: $(VENV)/.services
	$(TEST) -rs -m services

# The files in which versions of JAX, Flax and Orbax show, on the oldest ones.
test-floor: .venv-floor/.installed
	$(FLOOR)/python -m pytest -q -n 2 --dist loadfile -m 'not full and not slow and not oracles' \
		-W 'ignore:Sharding info not provided' $(VERSION_TESTS)

.venv-floor/.installed: pyproject.toml constraints-floor.txt
	$(PYTHON) -m venv .venv-floor
	$(FLOOR)/python -m pip install --quiet --disable-pip-version-check --constraint constraints-floor.txt \
		$(EDITABLE) . $(TEST_PACKAGES)
	touch $@

# The core and the documentation's examples on other Pythons, where pyenv or the path has them.
test-pythons:
	for version in $(PYTHONS); do bash .ci/python $$version '$(TEST_PACKAGES)' || exit 1; done

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

# The documentation, in site/; a broken link or reference is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Write the tables of arguments again, from the signatures.
tables: install
	$(BIN)/python -m optchain.inspect.coming_from_optax docs/coming-from-optax.md

# Write the stub that editors and type checkers read, from the signatures and docstrings.
stubs: install
	$(BIN)/python -m optchain.inspect.stubs

benchmarks: $(VENV)/.oracles
	$(BIN)/python -m experiments.benchmarks step
	$(BIN)/python -m experiments.benchmarks loop

clean:
	rm -rf $(VENV) .venv-* .jax_cache .pytest_cache .ruff_cache build site *.egg-info
