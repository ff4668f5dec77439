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
            secrets.get_secret_value(SecretId=cloud.target[f"{key}_secret"])["SecretString"]
            for key in ("app", "migration")
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


class TestARotation:
    @pytest.fixture(params=["DATABASE_URL", "MIGRATION_DATABASE_URL"])
    def key(self, request):
        return request.param

    @pytest.fixture(autouse=True)
    def prepared(self, run):
        run()

    def test_changes_the_password_of_one_url(self, run, values, key):
        (application, owner) = values()

        code, out, err = run("--rotate", key)

        assert (code, err) == (0, "")
        rotated, rotated_owner = values()
        changed = (rotated.pop("DATABASE_URL") != application.pop("DATABASE_URL"), rotated_owner != owner)
        assert changed == (key == "DATABASE_URL", key == "MIGRATION_DATABASE_URL")
        assert rotated == application
        assert rotated_owner.startswith("postgres://app_owner:")
        assert rotated_owner.endswith(f"@{HOST}")
        assert f"{key} is new in arn:aws:" in out

    def test_that_fails_is_taken_back(self, cloud, run, values, key):
        before = values()
        cloud.ecs.exit_code = 1

        code, out, err = run("--rotate", key)

        assert (code, err) == (1, "error: prepare_database failed: exit code 1\n")
        assert f"{key} is the old one in arn:aws:" in out
        assert values() == before

    def test_that_is_interrupted_is_taken_back(self, cloud, run, values, key):
        before = values()
        cloud.ecs.after(15, lambda: signal.raise_signal(signal.SIGTERM))

        assert run("--rotate", key)[::2] == (1, "error: interrupted\n")
        assert values() == before
        assert [task["status"] for task in cloud.ecs.tasks.values()][1:] == ["STOPPED"]


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


def test_the_runbooks_lines_run(cloud, run):
    lines = makefile.lines(ROOT / "docs/runbook.md", "prepare-database")
    assert len(lines) == 4

    run()
    for line in lines:
        to, file, *words = makefile.words_of(line.replace("<commit>", COMMIT), "deploy.prepare_database")
        assert (to, file) == ("--to", "deploy/targets/staging.json")
        # The shell has IMAGE from make.
        assert words[:2] == ["--image", "$IMAGE"]
        assert run(*words[2:])[0] == 0

    # Two passwords, and both roles as they are; a new key needs no task.
    assert len(cloud.ecs.called("RunTask")) == 1 + 3


def test_a_url_keeps_everything_but_its_password():
    url = "postgres://app:o%40ld@a.example,b.example:5433/app?target_session_attrs=read-write"

    assert prepare_database.with_password(url, "new") == (
        "postgres://app:new@a.example,b.example:5433/app?target_session_attrs=read-write"
    )


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
