# make demo        register a simulated X-ray; sets everything up first, needs Python 3.11 or newer
# make test        the tests and the notebooks, but for those marked slow
# make test-slow   the tests marked slow: whole workflows, browsers, a batch system, the site
# make test-bounds the tests of the CPU's kernels once more, every read of theirs checked
# make coverage    the lines of the readers that their tests reach; fails below 95 %
# make test-shapes the arrays of the core against the shapes in its annotations
# make ci          lint and all these but coverage, each test once: what runs after each push
# make lint        style, types, which package imports which
# make lab         the notebooks in JupyterLab; ARGS: options of its own, such as '--no-browser --port 8899'
# make explore     the explore notebook as a page of its own, without JupyterLab; open the address it prints, whose token keeps others out
# make reproduce   every table and figure of the paper; PROFILE=smoke (minutes), laptop (hours) or paper (a GPU)
# make site        the executed notebooks, the guides and the API reference as a website, in site/
# make bench       speed on this machine
# make gpu         on a machine with a CUDA GPU: its tests, and the figures of the GPU's table; GPU=--paper trains that profile too
# make clean       remove what these made, but for build/: trained models are hours of work

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# laptop, smoke or paper; SNAKEMAKE: options of Snakemake's own, such as '--profile workflow/slurm'
PROFILE ?= laptop
SNAKEMAKE ?=
GPU ?=
ARGS ?=
# compat: the clone's folder on the path, so that Python finds xrcore also when it starts in the folder above
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --config-settings editable_mode=compat
SETTINGS := pyproject.toml constraints.txt

.PHONY: demo ci test test-slow test-bounds coverage test-shapes lint lab explore reproduce site bench gpu clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.core
	@$(BIN)/xrcore demo

# one thread a worker: two workers share the machine; loadscope keeps a notebook's cells together
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -n 2 --dist loadscope --no-loadscope-reorder
# which tests; empty for all
MARKED ?= -m 'not slow'

# SKIP: folders of tests to leave out
test: $(VENV)/.dev
	@$(PYTEST) tests notebooks $(addprefix --ignore=tests/,$(SKIP)) $(MARKED) --nbval-lax --nbval-current-env --nbval-cell-timeout=300

test-slow: $(VENV)/.dev
	@$(PYTEST) tests -m slow

# machine code of its own, kept apart from the quick one
test-bounds: $(VENV)/.dev
	@NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=build/numba-checked $(PYTEST) -m 'not slow' \
		$(addprefix tests/,robustness/test_extreme_geometry.py renderer/test_renderer.py simulation/test_acquisition.py registration/test_refinement.py)

# of what reads files; in one process, as the tests of two would have to be added up
READERS := xrcore/ct/*,xrcore/xray/*,xrcore/learning/models/*,xrcore/registration/registration_files.py,xrcore/_util/*_files.py,xrcore/_util/pose_text.py
READ_BY := ct xray test_parameter_checks.py util/test_text_files.py registration/test_registration_files.py registration/test_pose_files.py learning/test_models.py
coverage: $(VENV)/.dev
	@mkdir -p build
	@OMP_NUM_THREADS=1 $(BIN)/python -m coverage run --data-file=build/coverage --include='$(READERS)' -m pytest -m 'not slow' $(addprefix tests/,$(READ_BY))
	@$(BIN)/python -m coverage report --data-file=build/coverage --show-missing --fail-under=95

# arrays against their annotations; the packages below registration and learning, as checking doubles the time of small calls
SHAPED := geometry beam ct xray metrics phantom renderer simulation
test-shapes: $(VENV)/.dev
	@PYTHONPATH=tests $(PYTEST) -p shape_checks $(addprefix tests/,$(SHAPED)) $(MARKED)

# what runs after each push: every test once, those of test-shapes there, the slow ones too
ci: lint test-bounds
	@$(MAKE) --no-print-directory test-shapes MARKED=
	@$(MAKE) --no-print-directory test MARKED= SKIP="$(SHAPED)"

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/python tools/check_docstrings.py
	@$(BIN)/lint-imports --no-cache

# JupyterLab refuses root, which in a container is the user
lab: $(VENV)/.dev
	@$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

explore: $(VENV)/.dev
	@JUPYTER_PATH=notebooks $(BIN)/voila --token --no-browser --template=offline notebooks/explore.ipynb

reproduce: $(VENV)/.workflow
	@$(BIN)/xrcore reproduce --profile $(PROFILE) -- $(SNAKEMAKE)

# built in build/ and moved, so that site/ is whole or the one from before
site: $(VENV)/.docs
	@$(BIN)/python -m companion.workflow $(PROFILE) notebooks
	@PROFILE=$(PROFILE) $(BIN)/python -m sphinx -q -W --keep-going -E -b html -d build/doctrees docs build/html
	@rm -rf site && mv build/html site && echo "Open site/index.html in a browser."

bench: $(VENV)/.core
	@$(BIN)/xrcore bench

gpu: $(VENV)/.core
	@$(BIN)/python -c 'import sys, torch; from xrcore.utilities import no_gpu; sys.exit(None if torch.cuda.is_available() else "make gpu: " + no_gpu())'
	@$(MAKE) --no-print-directory $(VENV)/.gpu
	@$(BIN)/python -m pytest tests/*/test_*_cuda.py tests/util/test_devices.py tests/simulation/test_batch.py tests/benchmarks/test_gpu.py -rs; passed=$$?; \
		$(BIN)/python benchmarks/gpu.py $(GPU) && $(BIN)/python benchmarks/gpu_precision.py && $(BIN)/python benchmarks/gpu_kernels.py && $(BIN)/python benchmarks/gpu_launches.py && \
		$(BIN)/python benchmarks/tables.py && exit $$passed # the figures even where a test failed

clean:
	rm -rf $(VENV) demo site docs/generated docs/notebooks docs/api/names dist .snakemake results/smoke figures/smoke *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "xrcore needs Python 3.11 or newer; $(PYTHON) was not found (make PYTHON=/path/to/python3)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "xrcore needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V) (make PYTHON=/path/to/python3.11)"; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) -V) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(SETTINGS) | $(BIN)/python
	@echo "Installing xrcore into $(VENV) (a few minutes the first time: PyTorch is large) ..."
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(SETTINGS) | $(BIN)/python
	@echo "Installing xrcore with its tests and notebooks into $(VENV) (a few minutes the first time: PyTorch is large) ..."
	@$(INSTALL) -e '.[dev,docs,notebooks,workflow]'
	@touch $@ $(VENV)/.core

# apart, because beside a CPU build of torch Triton is another gigabyte
$(VENV)/.gpu: $(VENV)/.dev
	@echo "Installing Triton and the peers of the benchmarks into $(VENV) ..."
	@$(INSTALL) -e '.[gpu,peers]'
	@touch $@

$(VENV)/.docs: $(VENV)/.workflow
	@echo "Installing Sphinx into $(VENV) ..."
	@$(INSTALL) -e '.[docs,notebooks,workflow,peers]'
	@touch $@

$(VENV)/.workflow: $(SETTINGS) | $(BIN)/python
	@echo "Installing xrcore with its notebooks and workflow into $(VENV) (a few minutes the first time: PyTorch is large) ..."
	@$(INSTALL) -e '.[notebooks,workflow,peers]'
	@touch $@ $(VENV)/.core
