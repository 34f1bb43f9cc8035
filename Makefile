# make demo PHOTO=photo.jpg   set up the runtime and predict into out/
# make test                   set up the development environment and run the tests
# make results                make the test sets and measure on them, half an hour (PHOTOS=folder: also on those)
# make check                  tests, lint, types and import rules: what CI runs

PYTHON ?= python3
TORCH ?= torch==2.13.0
PHOTO ?= examples/astronaut.jpg
PHOTOS ?=

.PHONY: demo test results check check-only clean .venv .venv-dev

demo: .venv
	.venv/bin/openexpose predict "$(PHOTO)" --out out/

test: .venv-dev
	OMP_WAIT_POLICY=PASSIVE .venv-dev/bin/python -m pytest -n 2

results: .venv-dev
	runs/results.sh run/results $(PHOTOS)

check: test check-only

check-only: .venv-dev
	.venv-dev/bin/ruff check src tests bench examples
	.venv-dev/bin/ruff format --check src tests bench examples
	.venv-dev/bin/mypy
	.venv-dev/bin/lint-imports

.venv: .venv/installed
.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --editable .
	@touch $@

.venv-dev: .venv-dev/installed
.venv-dev/installed: pyproject.toml
	$(PYTHON) -m venv .venv-dev
	.venv-dev/bin/pip install --quiet "$(TORCH)"
	.venv-dev/bin/pip install --quiet --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv .venv-dev out build dist
