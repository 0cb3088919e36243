# Two commands do everything: `make quickstart` and `make test`.
VENV := .venv
PYTHON := $(VENV)/bin/python
BENCHMARKS := kan_layer recurrent_layer ckan_step compiling augmentation answers clip_prompts collaboration growth import_time

.PHONY: install quickstart test test-fast lint docs bench tables clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml requirements.txt
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

quickstart: install runs/quickstart_large_model
	$(PYTHON) -m kcm_lightning fit --config quickstart.yaml
	$(PYTHON) -m kcm_lightning test --config quickstart.yaml
	$(PYTHON) -m kcm_lightning calibrate --config quickstart.yaml --target accuracy_drop=0.01
	run=$$(ls -dt runs/quickstart/[0-9]* | head -n 1); \
	$(PYTHON) -m kcm_lightning test --config $$run/config.yaml --config $$run/calibrated.yaml

runs/quickstart_large_model: | install
	$(PYTHON) -m kcm_lightning fit --config quickstart_large.yaml

test: install
	HF_HUB_OFFLINE=1 $(PYTHON) -m pytest -n 2 --dist loadfile

test-fast: install
	HF_HUB_OFFLINE=1 $(PYTHON) -m pytest -n 2 --dist loadfile -m "not slow"

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: install
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

bench: install
	mkdir -p runs/bench
	set -e; for name in $(BENCHMARKS); do echo $$name; $(PYTHON) -m benchmarks.$$name --output runs/bench/$$name.json; done

tables: install
	$(PYTHON) docs/tables.py

# leaves runs: trained models, and answers that were paid for
clean:
	rm -rf $(VENV) build dist
