"""`make prepare-database`: the secrets' first values, the task with the master's login, and the rotation of a password."""

import json
import signal

import pytest

from deploy import prepare_database
from tests.support import fake_aws, makefile
from tests.support.fake_aws import COMMIT
from tests.support.fake_ecs import NETWORK
from tests.support.paths import ROOT

HOST = "app-staging.abc123.eu-central-1.rds.amazonaws.com:5432/app"


@pytest.fixture
def secrets(cloud):
    """The two secrets as Terraform makes them, without a value."""
    client = fake_aws.client_of("secretsmanager")
    for key in ("app", "migration"):
        cloud.target[f"{key}_secret"] = client.create_secret(Name=f"app/staging/{key}")["ARN"]
    return client


@pytest.fixture
def values(cloud, secrets):
    """Return a function that returns the current values of both secrets."""

    def values() -> tuple[dict[str, str], str]:
        application, owner = (
            current(secrets, cloud.target[f"{key}_secret"])["SecretString"] for key in ("app", "migration")
        )
        return json.loads(application), owner

    return values


@pytest.fixture
def run(cloud, secrets, monkeypatch, capsys):
    monkeypatch.setenv("DEPLOYMENT", cloud.deployment)

    def run(*arguments: str) -> tuple[int, str, str]:
        words = ["--image", f"sha-{COMMIT}", *arguments]
        code = prepare_database.main(words, cloud.clients, lambda _: secrets)
        return code, *capsys.readouterr()

    return run


def test_empty_secrets_get_a_key_and_two_urls(run, values):
    code, out, err = run()

    assert (code, err) == (0, "")
    application, owner = values()
    assert application.keys() == {"SECRET_KEY", "DATABASE_URL"}
    assert len(application["SECRET_KEY"]) >= 50
    passwords = [url.split(":")[2].partition("@")[0] for url in (application["DATABASE_URL"], owner)]
    assert application["DATABASE_URL"] == f"postgres://app:{passwords[0]}@{HOST}"
    assert owner == f"postgres://app_owner:{passwords[1]}@{HOST}"
    assert len({application["SECRET_KEY"], *passwords}) == 3
    assert not [value for value in (application["SECRET_KEY"], *passwords) if value in out]


def test_secrets_with_a_value_keep_it(run, values):
    run()
    before = values()

    assert run()[0] == 0
    assert values() == before


def test_the_task_is_the_migrations_with_the_masters_login(cloud, run):
    run()

    (definition,) = cloud.ecs.called("RegisterTaskDefinition")
    (container,) = definition["containerDefinitions"]
    assert definition["family"] == "app-prepare"
    assert definition["executionRoleArn"] == cloud.target["prepare_execution_role"]
    assert container["image"] == f"{cloud.registry.uri}@{fake_aws.digests(cloud.ecr)[f'sha-{COMMIT}']}"
    assert container["command"] == ["python", "manage.py", "prepare_database"]
    assert {secret["name"]: secret["valueFrom"] for secret in container["secrets"]} == {
        "MIGRATION_DATABASE_URL": cloud.target["migration_secret"],
        "DATABASE_MASTER_USER": f"{cloud.target['master_secret']}:username::",
        "DATABASE_MASTER_PASSWORD": f"{cloud.target['master_secret']}:password::",
    }
    (request,) = cloud.ecs.called("RunTask")
    assert request["networkConfiguration"] == NETWORK
    assert request["taskDefinition"].endswith("/app-prepare:1")


class TestAReplica:
    REPLICA = "app-staging-replica.abc123.eu-central-1.rds.amazonaws.com"

    @pytest.fixture(autouse=True)
    def replica(self, cloud, monkeypatch):
        cloud.target["replica_address"] = self.REPLICA
        monkeypatch.setenv("DEPLOYMENT", cloud.deployment)

    def expected(self, application: dict[str, str]) -> str:
        return application["DATABASE_URL"].replace("@app-staging.", "@app-staging-replica.")

    def test_has_the_login_of_the_database_also_after_a_rotation(self, run, values):
        code, out, err = run()
        application, _ = values()
        assert (code, err) == (0, "")
        assert application["REPLICA_DATABASE_URL"] == self.expected(application)
        assert f"@{self.REPLICA}:5432/app" in application["REPLICA_DATABASE_URL"]
        assert password_of(application["DATABASE_URL"]) not in out

        run("--rotate", "DATABASE_URL")
        rotated, _ = values()
        assert rotated["REPLICA_DATABASE_URL"] == self.expected(rotated)
        assert rotated["DATABASE_URL"].startswith("postgres://app_2:")
        run("--back", "DATABASE_URL")
        assert values()[0] == application

    def test_comes_and_goes_with_the_target(self, cloud, run, values, monkeypatch):
        run()
        before = values()
        cloud.target["replica_address"] = ""
        monkeypatch.setenv("DEPLOYMENT", cloud.deployment)

        assert "REPLICA_DATABASE_URL is gone" in run()[1]
        assert values()[0].keys() == {"SECRET_KEY", "DATABASE_URL"}
        cloud.target["replica_address"] = self.REPLICA
        monkeypatch.setenv("DEPLOYMENT", cloud.deployment)
        assert "REPLICA_DATABASE_URL is new" in run()[1]
        assert values() == before
        assert "REPLICA_DATABASE_URL" not in run()[1]

    def test_is_not_set_by_hand(self, run, monkeypatch):
        monkeypatch.setenv("REPLICA_DATABASE_URL", "postgres://app:app@elsewhere/app")

        code, _, err = run("--set", "REPLICA_DATABASE_URL")
        assert code == 1
        assert "follows from Terraform's `replicas`" in err


def current(secrets, arn: str) -> dict[str, str]:
    # Without the label moto returns what was put last.
    return secrets.get_secret_value(SecretId=arn, VersionStage="AWSCURRENT")


def password_of(url: str) -> str:
    return url.split(":")[2].partition("@")[0]


def pending(cloud, request_number: int) -> dict[str, str]:
    """Return the URLs that a task's definition takes from a version of a secret, by their keys."""
    definition = cloud.ecs.called("RegisterTaskDefinition")[request_number]
    (container,) = definition["containerDefinitions"]
    urls = {secret["name"]: secret["valueFrom"] for secret in container["secrets"] if secret["name"].endswith("_URL")}
    return {name: value for name, value in urls.items() if value.count(":") > ARN_COLONS}


ARN_COLONS = 6


class TestARotation:
    @pytest.fixture(autouse=True)
    def prepared(self, run):
        run()

    def test_of_the_serving_login_takes_the_other_role(self, cloud, run, values):
        application, owner = values()

        for user in ("app_2", "app"):
            code, out, err = run("--rotate", "DATABASE_URL")

            assert (code, err) == (0, "")
            rotated, rotated_owner = values()
            assert rotated["DATABASE_URL"] == f"postgres://{user}:{password_of(rotated['DATABASE_URL'])}@{HOST}"
            assert password_of(rotated["DATABASE_URL"]) not in {password_of(application["DATABASE_URL"]), *out.split()}
            assert rotated | {"DATABASE_URL": ""} == application | {"DATABASE_URL": ""}
            assert rotated_owner == owner
            assert "DATABASE_URL is new in arn:aws:" in out

    def test_of_the_owners_login_changes_its_password(self, run, values):
        application, owner = values()

        assert run("--rotate", "MIGRATION_DATABASE_URL")[0] == 0

        rotated, rotated_owner = values()
        assert rotated == application
        assert rotated_owner == f"postgres://app_owner:{password_of(rotated_owner)}@{HOST}" != owner

    @pytest.mark.parametrize("key", ["DATABASE_URL", "MIGRATION_DATABASE_URL"])
    def test_is_current_only_when_the_task_has_set_it(self, cloud, secrets, run, values, key):
        before = values()
        seen = []
        cloud.ecs.during("RunTask", lambda: seen.append((values(), cloud.is_locked)))

        assert run("--rotate", key)[0] == 0

        # No process logs in with what the database does not know yet, and no deployment migrates meanwhile.
        assert seen == [(before, True)]
        assert not cloud.is_locked
        ((name, source),) = pending(cloud, 1).items()
        arn = cloud.target["migration_secret" if key.startswith("MIGRATION") else "app_secret"]
        version = current(secrets, arn)["VersionId"]
        assert (name, source) == (
            key,
            f"{arn}:::{version}" if key.startswith("MIGRATION") else f"{arn}:{key}::{version}",
        )

    @pytest.mark.parametrize("key", ["DATABASE_URL", "MIGRATION_DATABASE_URL"])
    def test_that_fails_changes_nothing(self, cloud, run, values, key):
        before = values()
        cloud.ecs.exit_code = 1

        assert run("--rotate", key)[::2] == (1, "error: prepare_database failed: exit code 1\n")
        assert values() == before
        assert not cloud.is_locked

    def test_that_is_interrupted_changes_nothing(self, cloud, run, values):
        before = values()
        cloud.ecs.after(15, lambda: signal.raise_signal(signal.SIGTERM))

        assert run("--rotate", "DATABASE_URL")[::2] == (1, "error: interrupted\n")
        assert values() == before
        assert [task["status"] for task in cloud.ecs.tasks.values()][1:] == ["STOPPED"]
        assert not cloud.is_locked

    def test_waits_for_a_deployment(self, cloud, run, values):
        before = values()
        cloud.lock("a release").take()

        assert "a release is deploying" in run("--rotate", "MIGRATION_DATABASE_URL")[2]
        assert values() == before

    @pytest.mark.parametrize("key", ["DATABASE_URL", "MIGRATION_DATABASE_URL", "SECRET_KEY"])
    def test_is_taken_back(self, cloud, run, values, key):
        before = values()
        assert run("--rotate", key)[0] == 0
        rotated = values()
        assert rotated != before

        assert run("--back", key)[0] == 0
        assert values() == before
        # The roles get the passwords that are current now.
        assert pending(cloud, -1) == {}
        assert run("--back", key)[0] == 0
        assert values() == rotated

    @pytest.mark.parametrize("key", ["DATABASE_URL", "MIGRATION_DATABASE_URL"])
    def test_by_hand_or_by_rds_is_taken_back(self, cloud, secrets, run, values, key):
        before = values()
        arn = cloud.target["migration_secret" if key.startswith("MIGRATION") else "app_secret"]
        secrets.put_secret_value(SecretId=arn, SecretString='{"username": "rds", "password": "wrong"}')

        assert run("--back", key)[0] == 0
        assert values() == before

    def test_cannot_be_taken_back_if_there_was_none(self, cloud, run):
        assert run("--back", "DATABASE_URL")[2] == f"error: {cloud.target['app_secret']} has no version AWSPREVIOUS\n"


def test_a_new_key_keeps_the_old_one_for_what_it_has_signed(cloud, run, values):
    run()
    before, owner = values()
    cloud.ecs.calls.clear()

    code, out, err = run("--rotate", "SECRET_KEY")

    assert (code, err) == (0, "")
    assert out.endswith("Now deploy the image that runs: its new tasks read the key.\n")
    after, owner_after = values()
    assert after.pop("SECRET_KEY_FALLBACKS") == before["SECRET_KEY"] != after.pop("SECRET_KEY")
    assert after == {"DATABASE_URL": before["DATABASE_URL"]}
    assert owner_after == owner
    assert cloud.ecs.calls == []


class TestAnotherValue:
    def test_is_set_from_this_shell(self, run, values, monkeypatch):
        run()
        before, _ = values()
        monkeypatch.setenv("SENTRY_DSN", "https://key@sentry.example/1")

        code, out, err = run("--set", "SENTRY_DSN")

        assert (code, err) == (0, "")
        assert values()[0] == before | {"SENTRY_DSN": "https://key@sentry.example/1"}
        assert "sentry.example" not in out

    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            ("SENTRY_DSN", "the variable SENTRY_DSN is not set in this shell"),
            ("DATABASE_URL", "DATABASE_URL is rotated, not set"),
        ],
    )
    def test_is_refused(self, run, values, monkeypatch, key, reason):
        run()
        before = values()
        monkeypatch.setenv("DATABASE_URL", "postgres://wrong")

        assert run("--set", key)[::2] == (1, f"error: {reason}\n")
        assert values() == before


def test_the_runbooks_lines_run(run, monkeypatch):
    lines = makefile.lines(ROOT / "docs/runbook.md", "prepare-database")
    assert {"ROTATE", "BACK"} <= {word.partition("=")[0] for line in lines for word in line.split()}

    run()
    for line in lines:
        to, file, *words = makefile.words_of(line.replace("<commit>", COMMIT), "deploy.prepare_database")
        assert (to, file) == ("--to", "deploy/targets/staging.json")
        # The shell has IMAGE from make.
        assert words[:2] == ["--image", "$IMAGE"]
        assert run(*words[2:])[0] == 0

    lines = makefile.lines(ROOT / "docs/runbook.md", "set-secret")
    monkeypatch.setenv("SENTRY_DSN", "https://key@sentry.example/1")
    for line in lines:
        assert run(*makefile.words_of(line, "deploy.prepare_database")[2:])[0] == 0
    assert lines


def test_a_url_keeps_everything_but_its_password():
    url = "postgres://app:o%40ld@a.example,b.example:5433/app?target_session_attrs=read-write"

    assert prepare_database.with_login(url, "new") == (
        "postgres://app:new@a.example,b.example:5433/app?target_session_attrs=read-write"
    )
    assert prepare_database.with_login(url, "new", prepare_database.other_role).startswith("postgres://app_2:new@a.")


class TestFails:
    def test_for_an_image_that_is_not_there(self, cloud, run):
        cloud.ecr.batch_delete_image(repositoryName="app", imageIds=[{"imageTag": f"sha-{COMMIT}"}])

        assert run()[::2] == (1, f"error: {cloud.registry.uri} has no image sha-{COMMIT}\n")

    def test_when_the_task_does(self, cloud, run):
        cloud.ecs.exit_code = 1
        cloud.write_log("migrate", "permission denied to create role")

        code, out, err = run()

        assert (code, err) == (1, "error: prepare_database failed: exit code 1\n")
        assert "permission denied to create role" in out

    def test_for_a_secret_that_is_not_there(self, cloud, secrets, run):
        secrets.delete_secret(SecretId=cloud.target["app_secret"], ForceDeleteWithoutRecovery=True)

        assert "ResourceNotFoundException" in run()[2]
        assert cloud.ecs.calls == []
