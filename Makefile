# Every command of this project. Each works with Docker and without it; devtools/run chooses and says which.
SHELL := /bin/bash
.DEFAULT_GOAL := help
RUN := ./devtools/run
# Where the example data and the migrations check belong: never into the database somebody works with.
TEST_MANAGE := $(RUN) test env DJANGO_SETTINGS_MODULE=config.settings.test python manage.py
# A value as one word for the shell, whatever is in it. ARGS are words as a person would type them.
quote = '$(subst ','\'',$(value $(1)))'
SEEDED = $(if $(value SEED),--seed $(call quote,SEED))
# With T, what it selects; without it, what follows.
PYTEST = $(RUN) test $(if $(value T),python devtools/select_tests.py $(call quote,T),pytest) $(SEEDED)
POPULATE = populate $(SEEDED) $(ARGS)
# make would look for variables of its own in `T=...[$5]`, to pass it on to nobody.
unexport T SEED COMMIT

.PHONY: help up down build monitoring traffic logs shell djshell dbshell migrate makemigrations createsuperuser \
	populate verify-ledger housekeeping test test-slow test-long mutants populate-test-db lint format types schema configuration dashboards \
	lint-delivery check-migrations check-compatibility check-schema check-dashboards check-api check audit clean pictures \
	image-test sbom publish-image deploy deploy-dry-run

help: ## Show this list.
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make <target> [RUNTIME=docker|native] [PORT=8000]" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Run it

up: ## Start the application and its database, and wait until it answers.
	@$(RUN) up

down: ## Stop everything that was started here; the data stays.
	@$(RUN) down

build: ## Make the image (Docker) or the .venv (native); the other targets do it when it is needed.
	@$(RUN) build

monitoring: ## Start Prometheus and Grafana beside the application (natively: Prometheus, where it is installed).
	@$(RUN) monitoring

traffic: ## Let a few customers do business for a minute, so that the graphs show something (ARGS="--seconds 300").
	@$(RUN) traffic $(ARGS)

logs: ## Follow what the application says.
	@$(RUN) logs

clean: ## Stop everything and delete the databases, environments and caches.
	@$(RUN) clean
	@rm -rf .venv .local .coverage .coverage.* htmlcov staticfiles .hypothesis .*_cache

##@ Work in it

shell: ## Open a shell in which python, manage.py and py.test work.
	@$(RUN) shell

djshell: ## Open Django's Python shell on the local database.
	@$(RUN) local python manage.py shell

dbshell: ## Open psql on the local database.
	@$(RUN) local python manage.py dbshell

migrate: ## Apply the migrations to the local database.
	@$(RUN) local python manage.py migrate

makemigrations: ## Write the migrations that the models need (ARGS="--name ..." goes along).
	@$(RUN) local python manage.py makemigrations $(ARGS)

createsuperuser: ## Create an administrator in the local database.
	@$(RUN) local python manage.py createsuperuser $(ARGS)

populate: ## Fill the local database with example data (SEED=<number> repeats it).
	@$(RUN) local python manage.py $(POPULATE)

verify-ledger: ## Recompute the local books and say whether they are true (ARGS="--format json --account <id>").
	@$(RUN) local python manage.py verify_ledger $(ARGS)

housekeeping: ## Delete dead tokens, finished failure counts and expired sessions (ARGS=--verify recomputes the books, too).
	@$(RUN) local python manage.py housekeeping $(ARGS)

##@ Check it

test: ## Run the tests with the coverage gate; T=<paths or ids> runs only those, without the gate; SEED=<number> repeats a run.
	@$(PYTEST) $(if $(value T),-m 'not long',-n 2 --dist loadfile --cov --cov-report=term-missing:skip-covered)

test-slow: ## Run the tests of whole processes that start, wait and end, a browser among them; T and SEED as above.
	@$(PYTEST) -m 'slow and not long' $(if $(value T),,-n 2 --dist loadfile)

test-long: ## Run the tests that take minutes, and show their figures; T=<path> narrows them, SEED as above.
	@$(PYTEST) -m long -rA --show-capture=stdout $(if $(value T),,-n 2 --dist loadgroup)

mutants: ## Show that the tests notice every wrong version of the bank (ARGS="<name> ..." tries some).
	@$(RUN) test python -m tests.mutants $(ARGS)

populate-test-db: ## Fill the test server's own database with example data; it stays up until `make down`.
	@$(TEST_MANAGE) migrate --noinput
	@$(TEST_MANAGE) $(POPULATE)

lint: ## Check style, formatting and the rules between packages.
	@$(RUN) tool bash -c 'ruff check && ruff format --check && lint-imports'

format: ## Repair what ruff can repair.
	@$(RUN) tool bash -c 'ruff check --fix-only && ruff format'

types: ## Check the types.
	@$(RUN) tool mypy

schema: ## Write docs/openapi.yaml from the code.
	@$(RUN) tool python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

configuration: ## Write docs/configuration.md from the declarations.
	@$(RUN) tool python -m config.reference

pictures: ## Take the pictures of docs/img/ anew: natively, with chromium and a Prometheus that has its pages.
	@$(RUN) test python -m devtools.screenshots

dashboards: ## Write monitoring/grafana/dashboards/ from monitoring/dashboards.py.
	@$(RUN) tool python -m monitoring.dashboards

check-dashboards: ## Fail if monitoring/grafana/dashboards/ is not what monitoring/dashboards.py says.
	@$(RUN) tool python -m monitoring.dashboards --check

lint-delivery: ## Check workflows, Dockerfile, Compose, shell and Terraform; STRICT=1 lets nothing be skipped.
	@$(RUN) tool ./checks/lint-delivery $(if $(STRICT),--strict)

check-migrations: ## Fail if the models need a migration that is not there, or one is unsafe on a database in use.
	@$(TEST_MANAGE) makemigrations --check --dry-run
	@$(RUN) test env DJANGO_SETTINGS_MODULE=config.settings.test python -m checks.migrations

check-compatibility: ## Fail if the last release's code fails on today's schema, or today's code on its schema.
	@./checks/check-compatibility $(if $(value COMMIT),$(call quote,COMMIT))

check-schema: ## Fail if docs/openapi.yaml is not what the code says.
	@$(RUN) tool ./checks/check-schema
	@$(RUN) tool python -m config.reference --check

check-api: ## Fail if the API breaks what clients of main, or of the last release, rely on.
	@./checks/check-api

check: lint types lint-delivery check-migrations check-schema check-dashboards check-api test test-slow ## Run every gate that CI runs.

audit: ## Look for known holes in what poetry.lock names (asks the network).
	@$(RUN) tool ./checks/audit

##@ Deliver it

# What a person types into a workflow's form comes through the environment and is quoted: it is never part of a command.
image-test: ## Build the image and see, line by line, what it is and how it runs (needs Docker).
	@./checks/test-image bank:test

sbom: ## Print the bill of materials of IMAGE, by default the one that image-test built.
	@docker run --rm --network none --entrypoint cat "$${IMAGE:-bank:test}" /app/sbom.cdx.json

publish-image: ## Build, check and push this commit's image to IMAGE_REPOSITORY, unless it is there.
	@$(RUN) tool python -m deploy.images publish --repository "$$IMAGE_REPOSITORY" --commit "$$(git rev-parse HEAD)"

deploy: ## Deploy IMAGE (a tag or digest) to where DEPLOYMENT says; RELEASE=v1.2.3 tags it, ARGS go along.
	@$(RUN) tool python -m deploy.deploy --image "$$IMAGE" --release "$$RELEASE" $(ARGS)

deploy-dry-run: ## Print what a deployment would do, with no cloud in sight.
	@$(RUN) tool python -m deploy.deploy --dry-run --image "$${IMAGE:-sha-$$(git rev-parse HEAD)}" \
		$(if $(DEPLOYMENT),,--to deploy/ecs/example.json) $(ARGS)
