.DEFAULT_GOAL := help
SHELL := /bin/bash

# `make deploy` and `make undeploy` are about your AWS account and find your shell as it is. Nothing else here means a
# real account: no profile, no key of yours and no instance role reaches the tools.
ifneq (,$(filter deploy undeploy,$(MAKECMDGOALS)))
ifneq (1,$(words $(MAKECMDGOALS)))
$(error make $(filter deploy undeploy,$(MAKECMDGOALS)) is about a real account: run it alone)
endif
else
unexport AWS_PROFILE AWS_DEFAULT_PROFILE AWS_SESSION_TOKEN AWS_ENDPOINT_URL AWS_ROLE_ARN AWS_WEB_IDENTITY_TOKEN_FILE
unexport AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_CREDENTIALS_RELATIVE_URI
export AWS_CONFIG_FILE := /dev/null
export AWS_SHARED_CREDENTIALS_FILE := /dev/null
export AWS_EC2_METADATA_DISABLED := true
export AWS_ACCESS_KEY_ID := test
export AWS_SECRET_ACCESS_KEY := test
export AWS_REGION := us-east-1
export AWS_DEFAULT_REGION := us-east-1
endif
export SAM_CLI_TELEMETRY := 0
# SAM wants a python3.13 that runs, which a pyenv shim need not be; devkit/setup has put one there.
export PATH := $(CURDIR)/.local/bin:$(CURDIR)/.venv/bin:$(PATH)

# Functions run on this machine, so they are built for it; the dependencies are built for both architectures anyway.
ARCHITECTURE := $(if $(filter arm64 aarch64,$(shell uname -m)),arm64,x86_64)

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## play three whole phone calls on this machine and check what was promised
	@switchboard demo

.PHONY: up
up: setup ## start the whole backend on this machine and leave it running
	@switchboard up

.PHONY: down
down: setup ## stop what `make up` started
	@switchboard down

.PHONY: test
test: build ## run the tests
	pytest -n auto

.PHONY: nightly
nightly: test ## run the tests, then those that take too long for every day
	pytest -m nightly

.PHONY: bench
bench: build ## measure what it costs; docs/performance.md and docs/cost.md are written anew
	@for file in tests/benchmarks/[a-z]*.py; do \
		printf '== %s\n' $$file; python -m tests.benchmarks.$$(basename $$file .py) || exit; \
	done

.PHONY: lint
lint: checks ## check style, types and the template
	python -m devkit.catalogue --check
	ruff check
	ruff format --check
	mypy
	sam validate --lint
	.local/checkov/bin/checkov --config-file .checkov.yaml

.PHONY: build
build: setup
	@python -m devkit.catalogue
	@printf 'sam build ...\n'
	@sam build --cached --parallel --parameter-overrides Architecture=$(ARCHITECTURE) >.local/logs/build.log 2>&1 || \
		{ printf 'sam build failed: %s (log: .local/logs/build.log)\n' \
			"$$(grep -m 1 -E '[A-Z][A-Za-z]*Error|ERROR|error:' .local/logs/build.log || tail -n 1 .local/logs/build.log)"; exit 1; } >&2

# Options in ARGS: make deploy ARGS=--yes
.PHONY: deploy
deploy: setup ## put the backend into your AWS account, connect it to Vapi and Twilio, and check it
	@switchboard deploy $(ARGS)

.PHONY: undeploy
undeploy: setup ## take back what `make deploy` did
	@switchboard undeploy $(ARGS)

.PHONY: setup
setup: ## install what the other targets need, below .venv and .local
	@devkit/setup demo

.PHONY: checks
checks:
	@devkit/setup checks

# The SDK that the page uses, as it is committed: needs npm, which nothing else here does.
.PHONY: web
web: WEB := functions/web_client/assets
web:
	@mkdir -p .local/web && cp devkit/web/* devkit/web/.npmrc .local/web/
	cd .local/web && npm ci && node build.js $(abspath $(WEB))

LOCK := uv pip compile --quiet --universal --python python3.13 --python-version 3.13 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock'

# Newest versions of everything: `make lock UPGRADE=--upgrade`.
.PHONY: lock
lock: setup
	$(LOCK) $(UPGRADE) --override layers/dependencies/overrides.txt \
		--output-file layers/dependencies/requirements.txt layers/dependencies/requirements.in
	for name in dev sam emulator runtime checkov uv; do \
		$(LOCK) $(UPGRADE) --output-file devkit/requirements/$$name.txt devkit/requirements/$$name.in || exit; \
	done
	cd tests/benchmarks/peers && for name in typical fastapi; do \
		$(LOCK) $(UPGRADE) --output-file $$name/requirements.txt $$name/requirements.in || exit; \
	done
