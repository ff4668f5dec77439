# Every target works with a Docker engine and without one; RUNTIME=docker or RUNTIME=native decides it by hand.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.SILENT:

# What `make test` runs: one path (T=tests/ledger) or everything, with the coverage gate.
T ?=
PYTEST = pytest $(if $(T),$(T),--cov --cov-report=term)
SEED ?= 1

RUN := scripts/run

##@ Run
.PHONY: up down build logs clean
up: ## Start the API with its database and wait until it answers
	$(RUN) up
down: ## Stop everything; the data stays
	$(RUN) down
build: ## Install what the lock file says, or build the images
	$(RUN) build
logs: ## Follow the API's log
	$(RUN) logs
clean: ## Stop everything and delete the databases and the environment
	$(RUN) clean

##@ Work
.PHONY: shell djshell dbshell migrate makemigrations createsuperuser populate populate-test-db
shell: ## Open a shell in which manage.py and py.test work
	$(RUN) shell
djshell: ## Open Django's shell
	$(RUN) local python manage.py shell
dbshell: ## Open psql on the local database
	$(RUN) local python manage.py dbshell
migrate: ## Apply the migrations
	$(RUN) local python manage.py migrate
makemigrations: ## Write the migrations for changed models
	$(RUN) local python manage.py makemigrations
createsuperuser: ## Make an administrator
	$(RUN) local python manage.py createsuperuser
populate: ## Fill the local database with example data; SEED=1
	$(RUN) local python manage.py populate --seed $(SEED)
populate-test-db: ## Fill the test server's app_test with example data; SEED=1
	$(RUN) test bash -c "python manage.py migrate --verbosity 0 && python manage.py populate --seed $(SEED)"

##@ Quality
.PHONY: test lint format types schema check
test: ## Run the tests with the coverage gate; T=tests/ledger narrows them
	$(RUN) test $(PYTEST)
lint: ## Check style, formatting and the direction of imports
	$(RUN) tool bash -c "ruff check . && ruff format --check . && lint-imports"
format: ## Format the code and mend what can be mended
	$(RUN) tool bash -c "ruff check --fix . ; ruff format ."
types: ## Check the types
	$(RUN) tool mypy
schema: ## Write docs/openapi.yaml from the code
	$(RUN) tool python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml
check: lint types ## Run every gate that CI runs
	$(RUN) tool bash -c "python manage.py spectacular --validate --fail-on-warn | diff - docs/openapi.yaml"
	$(RUN) test python manage.py makemigrations --check --dry-run
	$(RUN) test $(PYTEST)

.PHONY: help
help: ## Show this help
	awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  \033[36m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
