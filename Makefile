# All commands of this project. Each works with and without Docker; devtools/run chooses, and prints which.
SHELL := /bin/bash
.DEFAULT_GOAL := help
RUN := ./devtools/run
# Example data and the migrations check use the test database, never the local one.
TEST_MANAGE := $(RUN) test env DJANGO_SETTINGS_MODULE=config.settings.test python manage.py
# A value as one word for the shell, whatever is in it. ARGS are words as a person would type them.
quote = '$(subst ','\'',$(value $(1)))'
SEEDED = $(if $(value SEED),--seed $(call quote,SEED))
# With T, what it selects; without it, what follows.
PYTEST = $(RUN) test $(if $(value T),python -m devtools.select_tests $(call quote,T),pytest) $(SEEDED)
POPULATE = populate $(SEEDED) $(ARGS)
# The target of an environment (docs/deploy-to-aws.md), where the variable DEPLOYMENT does not hold it.
TO = $(if $(value ENV),--to deploy/targets/$(call quote,ENV).json)
# make would look for variables of its own in `T=...[$5]`, to pass it on to nobody.
unexport T SEED COMMIT NAME MODEL TITLE DESCRIPTION FILE FORCE PACKAGE GROUP OWNER BACK KEY
# Of the command line only: some systems have a NAME in the environment.
NAME =
MODEL =
TITLE =
DESCRIPTION =
FILE =
FORCE =
PACKAGE =
GROUP =
OWNER =
BACK =
KEY =

# Every target is a command and makes no file of its name.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## List the targets.
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make <target> [RUNTIME=docker|native] [PORT=8000]" } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Run

up: ## Start the application and its database, and wait until it answers.
	@$(RUN) up

down: ## Stop everything that these targets started; the data stays.
	@$(RUN) down

build: ## Build the image (Docker) or the .venv (native); other targets build it when needed.
	@$(RUN) build

monitoring: ## Start the application, Prometheus and Grafana (native: Prometheus only, if it is installed).
	@$(RUN) monitoring

traffic: ## Send a minute of example traffic, so that the graphs have data (ARGS="--seconds 300").
	@$(RUN) traffic $(ARGS)

logs: ## Follow the application's log.
	@$(RUN) logs

clean: ## Stop everything and delete the databases, environments and caches.
	@$(RUN) clean
	@rm -rf .venv .local .coverage .coverage.* htmlcov staticfiles .hypothesis .*_cache

##@ Develop

shell: ## Open a shell with python, manage.py and py.test.
	@$(RUN) shell

djshell: ## Open Django's Python shell on the local database.
	@$(RUN) local python manage.py shell

dbshell: ## Open psql on the local database.
	@$(RUN) local python manage.py dbshell

migrate: ## Apply the migrations to the local database (ARGS="<app> <migration>" goes to one, `zero` before the first).
	@$(RUN) local python manage.py migrate $(ARGS)

makemigrations: ## Write missing migrations (ARGS="--name ...").
	@$(RUN) local python manage.py makemigrations $(ARGS)

app: ## Make a new app with its tests: NAME=invoices MODEL=Invoice (docs/your-own-product.md).
	@$(RUN) tool python -m devtools.new_app $(if $(value NAME),$(call quote,NAME)) $(if $(value MODEL),$(call quote,MODEL)) $(ARGS)

createsuperuser: ## Create an administrator in the local database.
	@$(RUN) local python manage.py createsuperuser $(ARGS)

populate: ## Fill the local database with example data (SEED=<number> makes it repeatable).
	@$(RUN) local python manage.py $(POPULATE)

# <sample>
verify-ledger: ## Check every invariant of the local ledger (ARGS="--format json --account <id>").
	@$(RUN) local python manage.py verify_ledger $(ARGS)
# </sample>

housekeeping: ## Delete dead tokens, finished failure counts and expired sessions (ARGS=--verify recomputes the books, too).
	@$(RUN) local python manage.py housekeeping $(ARGS)

backup: ## Back up the local database to FILE (default: backups/<database>-<time>.dump).
	@$(RUN) local python -m devtools.backup create $(call quote,FILE)

restore: ## Restore the local database from FILE, and verify it; FORCE=1 replaces what is in it.
	@$(RUN) local python -m devtools.backup restore $(call quote,FILE) $(if $(FORCE),--force)

restore-drill: ## Restore a backup of the local database into a scratch one, compare, verify, and print the times.
	@$(RUN) local python -m devtools.backup drill

##@ Make it yours

rename: ## Give the product its NAME (a-z, digits, hyphens), its TITLE and its DESCRIPTION.
	@$(RUN) tool python -m devtools.rename --name=$(call quote,NAME) --title=$(call quote,TITLE) \
		--description=$(call quote,DESCRIPTION)

remove-sample: ## Remove the sample app: its files, and the lines that are marked for it.
	@$(RUN) tool python -m devtools.remove_sample

check-template: ## Fail if rename, app and remove-sample, in any order, leave a copy of HEAD that a check fails in (25 minutes).
	@$(RUN) test python -m checks.template

add: ## Add a package: PACKAGE=django-waffle (or "django-waffle>=5,<6"), GROUP=dev for a tool of development.
	@[[ $(call quote,PACKAGE) ]] || { echo 'error: name the package: make add PACKAGE=django-waffle' >&2; exit 2; }
	@[[ $(call quote,GROUP) =~ ^(dev)?$$ ]] || { echo 'error: GROUP must be dev, or not set' >&2; exit 2; }
	@$(RUN) with-poetry poetry add --lock $(if $(value GROUP),--group dev) -- $(call quote,PACKAGE)
	@$(RUN) with-poetry devtools/export-lists

lock: ## Bring poetry.lock and docker/requirements/ up to date with pyproject.toml (ARGS=--regenerate: new versions of all).
	@$(RUN) with-poetry poetry lock $(ARGS)
	@$(RUN) with-poetry devtools/export-lists

##@ Check

test: ## Run the tests with the coverage gate, and show the slowest; T=<paths or ids> runs a part without it; SEED=<number> repeats a run.
	@$(PYTEST) $(if $(value T),-m 'not long',-n 2 --dist loadfile --durations=10 --durations-min=1 --cov --cov-report=term-missing:skip-covered)

test-slow: ## Run the tests that start whole processes or a browser; T and SEED as above.
	@$(PYTEST) -m 'slow and not long' $(if $(value T),,-n 2 --dist loadfile)

test-django: ## Run the tests with another Django than the locked one (DJANGO=6.0), and nothing else changed.
	@rm -rf .local/django && $${PYTHON:-python3} -m pip install --quiet --disable-pip-version-check --no-deps --target .local/django \
		django==$(call quote,DJANGO).*
	@$(RUN) test env PYTHONPATH=.local/django pytest -n 2 --dist loadfile $(ARGS)

test-long: ## Run the tests that take minutes, and print their measurements; T and SEED as above.
	@$(PYTEST) -m long -rA --show-capture=stdout $(if $(value T),,-n 2 --dist loadgroup)

rehearse-aws: ## Follow docs/deploy-to-aws.md, each block twice, on stand-ins for AWS and GitHub, and print the walk.
	@$(RUN) test pytest -m 'slow or long' -s tests/deploy/test_deploy_to_aws.py

# <sample>
mutants: ## Run mutation tests: each mutant must fail a test (ARGS="<name> ..." runs some).
	@$(RUN) test python -m tests.ledger.mutants $(ARGS)

bench: ## Compare the bank with other ways to build it, all at once, and audit the money (ARGS=--quick: a first look; --help).
	@$(RUN) tool python -m tests.ledger.benchmarks $(ARGS)

bench-growth: ## Compare the bank with ten million entries with an empty one, and let it soak (ARGS="--soak 0"; --help).
	@$(RUN) tool python -m tests.ledger.benchmarks.growth $(ARGS)

bench-overload: ## Send the bank ten times what it can do, then a storm of logins, through nginx (ARGS="--seconds 10"; --help).
	@$(RUN) tool python -m tests.ledger.benchmarks.overload $(ARGS)
# </sample>

populate-test-db: ## Fill app_test on the test server with example data; the server runs until `make down`.
	@$(TEST_MANAGE) migrate --noinput
	@$(TEST_MANAGE) $(POPULATE)

lint: ## Check style, formatting, imports and the first lines of docstrings.
	@$(RUN) tool bash -c 'ruff check && ruff format --check && lint-imports && python -m checks.imports_in_tests && python -m checks.docstrings'

format: ## Apply ruff's fixes and formatting.
	@$(RUN) tool bash -c 'ruff check --fix-only && ruff format'

types: ## Check types with mypy.
	@$(RUN) tool mypy

schema: ## Generate docs/openapi.yaml.
	@$(RUN) tool python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

configuration: ## Generate docs/configuration.md, .env.example and the keys in the Compose files.
	@$(RUN) tool python -m config.generate

pictures: ## Take the screenshots in docs/img/ (native; needs chromium and a Prometheus with its web pages).
	@$(RUN) test python -m devtools.screenshots

dashboards: ## Generate monitoring/grafana/dashboards/ from monitoring/dashboards.py.
	@$(RUN) tool python -m monitoring.dashboards

check-dashboards: ## Fail if monitoring/grafana/dashboards/ is out of date.
	@$(RUN) tool python -m monitoring.dashboards --check

lint-delivery: ## Lint workflows, Dockerfile, Compose, shell and Terraform; STRICT=1 fails for skipped checks.
	@$(RUN) tool ./checks/lint-delivery $(if $(STRICT),--strict)

check-migrations: ## Fail if a migration is missing, or unsafe on a database in use.
	@$(TEST_MANAGE) makemigrations --check --dry-run
	@$(RUN) test env DJANGO_SETTINGS_MODULE=config.settings.test python -m checks.migrations

check-compatibility: ## Fail if the last release's code (COMMIT=<commit> names another) fails on today's schema, or vice versa.
	@./checks/check-compatibility $(if $(value COMMIT),$(call quote,COMMIT))

check-schema: ## Fail if docs/openapi.yaml or what `make configuration` generates is out of date.
	@$(RUN) tool ./checks/check-schema
	@$(RUN) tool python -m config.generate --check

check-lists: ## Fail if poetry.lock or docker/requirements/ is out of date.
	@$(RUN) with-poetry devtools/export-lists --check

check-api: ## Fail if the API breaks clients of the last release (COMMIT=<commit> names another).
	@./checks/check-api $(if $(value COMMIT),$(call quote,COMMIT))

check-client: ## Generate a TypeScript client's types from docs/openapi.yaml and compile them; STRICT=1 fails without npm.
	@./checks/check-client $(if $(STRICT),--strict)

check: lint types lint-delivery check-lists check-migrations check-schema check-dashboards check-api check-client test test-slow ## Run every check of CI.

audit: ## Look up known vulnerabilities of the packages in poetry.lock (needs the network).
	@$(RUN) tool ./checks/audit

check-support: ## Fail two months before the support of an image's line, or of Django, ends.
	@$(RUN) tool python -m checks.support_ends

##@ Deliver

# Input of a workflow's form arrives in environment variables and is quoted, so it is never part of a command.
image-test: ## Build the image, and check its content and how it runs (needs Docker).
	@./checks/test-image app:test

scan-image: ## Fail if Debian has fixed a vulnerability in a package of IMAGE (default: that of image-test; needs Docker and the network).
	@./checks/scan-image "$${IMAGE:-app:test}"

scan-tools: ## Install debsecan, which the two targets around this need, on Debian or Ubuntu.
	@sudo apt-get update --quiet && sudo apt-get install --quiet --yes --no-install-recommends debsecan

scan-published: ## The same, for the published images of this commit and of the last release in IMAGE_REPOSITORY.
	@$(RUN) tool python -m deploy.images scan --repository "$$IMAGE_REPOSITORY" "sha-$$(git rev-parse HEAD)" \
		$$(. checks/lib.sh && last_release)

sbom: ## Print the bill of materials of IMAGE (default: the image of image-test).
	@docker run --rm --network none --entrypoint cat "$${IMAGE:-app:test}" /app/sbom.cdx.json

publish-image: ## Build, check and push this commit's image to IMAGE_REPOSITORY, unless it is published.
	@$(RUN) tool python -m deploy.images publish --repository "$$IMAGE_REPOSITORY" --commit "$$(git rev-parse HEAD)" \
		--schema "$$($(RUN) tool env DJANGO_SETTINGS_MODULE=config.settings.base python -m checks.schema_version | tail -1)" \
		--fits "$$(. checks/lib.sh && tag=$$(last_release) && [[ $$tag ]] && git rev-parse "$$tag^{commit}")"

deploy: ## Deploy IMAGE (a tag or digest) to ENV, or the target in DEPLOYMENT; RELEASE=v1.2.3 tags it; ARGS are passed on.
	@python3 -m deploy.tools -m deploy.deploy $(TO) --image "$$IMAGE" --release "$$RELEASE" $(ARGS)

deploy-tools: ## Install what the targets below need (boto3, in docker/requirements/deploy.txt); they do it by themselves.
	@python3 -m deploy.tools

rollback: ## Return ENV to IMAGE, which ran there before: its own task definition, no migration; it takes over from a release.
	@python3 -m deploy.tools -m deploy.deploy $(TO) --rollback --take-over --image "$$IMAGE" $(ARGS)

run-task: ## Run a command in ENV=staging|production, in a task of its own (ARGS="manage.py ..."; PASS=<variable>; OWNER=1: as the owner).
	@python3 -m deploy.tools -m deploy.run_task $(TO) $(if $(value PASS),--pass $(call quote,PASS)) $(if $(OWNER),--owner) -- $(ARGS)

prepare-database: ## Make the database's roles in ENV with IMAGE's code; ROTATE=<key> makes a secret new, BACK=<key> takes it back.
	@python3 -m deploy.tools -m deploy.prepare_database $(TO) --image "$$IMAGE" $(if $(value ROTATE),--rotate $(call quote,ROTATE)) $(if $(value BACK),--back $(call quote,BACK))

set-secret: ## Put the value of this shell's variable KEY into the application's secret in ENV (KEY=SENTRY_DSN).
	@python3 -m deploy.tools -m deploy.prepare_database $(TO) --set $(call quote,KEY)

deploy-dry-run: ## Print the plan of a deployment, without any call to AWS.
	@python3 -m deploy.tools -m deploy.deploy --dry-run --image "$${IMAGE:-sha-$$(git rev-parse HEAD)}" \
		$(if $(DEPLOYMENT),,--to deploy/ecs/example.json) $(ARGS)
