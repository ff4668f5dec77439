"""The deployment script: a successful run, and the error and the state after a failure at each step."""

import contextlib
import http.server
import json
import re
import string
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from deploy import deploy
from deploy.images import Registry
from tests.support import fake_aws
from tests.support.fake_aws import COMMIT, ScriptedClient

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW, MIGRATE = (
    f"arn:aws:ecs:eu-central-1:123456789012:task-definition/{name}" for name in ("app:1", "app:2", "app-migrate:2")
)
TASK = "arn:aws:ecs:eu-central-1:123456789012:task/app/0af1"
NETWORK = {"awsvpcConfiguration": {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}}


class Cloud:
    """The services that a deployment calls, with the responses they will give."""

    def __init__(self, registry: Registry, ecr: Any, ecs: ScriptedClient, logs: ScriptedClient) -> None:
        self.registry, self.ecr, self.ecs, self.logs = registry, ecr, ecs, logs
        self.target = json.loads((ROOT / "deploy/ecs/example.json").read_text())
        self.target |= {"repository": registry.uri, "service": "app", "cluster": "app"}
        self.seconds = 0.0
        self.pages = {
            "/ping/": [(200, {"pong": True, "db": "ok"})],
            "/livez/": [(200, {"status": "ok", "version": COMMIT})],
        }

    def clients(self, target: deploy.Target) -> deploy.Clients:
        def sleep(seconds: float) -> None:
            self.seconds += seconds

        return deploy.Clients(
            registry=self.registry,
            ecs=self.ecs.client,
            logs=self.logs.client,
            get=deploy.get,
            sleep=sleep,
            now=lambda: self.seconds,
        )

    # --- the calls to ECS, in the order of the steps

    def describes_service(self, revision: str = OLD, desired: int = 2, state: str = "COMPLETED", **more: Any) -> None:
        service = {
            "status": "ACTIVE",
            "taskDefinition": revision,
            "desiredCount": desired,
            "networkConfiguration": NETWORK,
            "deployments": [
                {"status": "PRIMARY", "taskDefinition": revision, "rolloutState": state, "rolloutStateReason": "crash"},
                {"status": "ACTIVE", "taskDefinition": OLD, "rolloutState": "COMPLETED"},
            ],
        }
        self.ecs.answers("describe_services", {"services": [service | more]}, cluster="app", services=["app"])

    def registers(self, *, migrates: bool = True) -> None:
        image = f"{self.registry.uri}@{fake_aws.digests(self.ecr)[f'sha-{COMMIT}']}"
        target = deploy.Target(**self.target)
        names = [("web.json", NEW)] + ([("migrate.json", MIGRATE)] if migrates else [])
        for name, revision in names:
            self.ecs.answers(
                "register_task_definition",
                {"taskDefinition": {"taskDefinitionArn": revision}},
                **deploy.render(name, target, image),
            )

    def starts_the_migration(self, **answer: Any) -> None:
        self.ecs.answers(
            "run_task",
            {"tasks": [{"taskArn": TASK}], "failures": []} | answer,
            cluster="app",
            taskDefinition=MIGRATE,
            launchType="FARGATE",
            networkConfiguration=NETWORK,
            startedBy="deploy/deploy.py",
        )

    def describes_the_migration(self, **task: Any) -> None:
        self.ecs.answers("describe_tasks", {"tasks": [{"taskArn": TASK} | task]}, cluster="app", tasks=[TASK])

    def migrates(self, code: int = 0) -> None:
        self.starts_the_migration()
        self.describes_the_migration(lastStatus="RUNNING")
        self.describes_the_migration(lastStatus="STOPPED", containers=[{"name": "migrate", "exitCode": code}])

    def updates(self, revision: str = NEW, desired: int = 2) -> None:
        self.ecs.answers(
            "update_service", {}, cluster="app", service="app", taskDefinition=revision, desiredCount=desired
        )

    def logs_end_with(self, *lines: str) -> None:
        self.logs.answers(
            "get_log_events",
            {"events": [{"message": line} for line in lines]},
            logGroupName="/ecs/app-staging",
            logStreamName="ecs/migrate/0af1",
            limit=50,
            startFromHead=False,
        )

    def describes_events(self, message: str = "(service app) failed container health checks.") -> None:
        self.describes_service(NEW, events=[{"message": message}])
        self.ecs.answers("list_tasks", {"taskArns": [TASK]}, cluster="app", serviceName="app", desiredStatus="STOPPED")
        stopped = {"stopCode": "EssentialContainerExited", "containers": [{"name": "web", "exitCode": 3}]}
        self.ecs.answers("describe_tasks", {"tasks": [{"taskArn": TASK} | stopped]}, cluster="app", tasks=[TASK])

    def reaches_the_rollout(self) -> None:
        self.describes_service()
        self.registers()
        self.migrates()
        self.updates()

    def rolls_back(self, desired: int = 2) -> None:
        self.updates(OLD, desired)
        self.describes_service(OLD, state="IN_PROGRESS")
        self.describes_service(OLD)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with fake_aws.registry() as (registry, ecr), ScriptedClient("ecs") as ecs, ScriptedClient("logs") as logs:
        cloud = Cloud(registry, ecr, ecs, logs)
        fake_aws.push(ecr, f"sha-{COMMIT}")
        with served(cloud.pages) as cloud.target["url"]:
            yield cloud


@contextlib.contextmanager
def served(pages: dict[str, list[tuple[int, Any]]]) -> Iterator[str]:
    """Serve the pages during the block; yield the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # The last response repeats.
            answers = pages[self.path]
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("Location", "/elsewhere/")
            self.end_headers()
            self.wfile.write(b"<html>" if body is None else json.dumps(body).encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def run(cloud, monkeypatch, capsys):
    """Run the script; every expected call must have been made."""

    def run(*arguments: str, image: str = f"sha-{COMMIT}", target: str | None = None) -> tuple[int, str, str]:
        monkeypatch.setenv("DEPLOYMENT", json.dumps(cloud.target) if target is None else target)
        code = deploy.main(["--image", image, *arguments], cloud.clients)
        cloud.ecs.stub.assert_no_pending_responses()
        cloud.logs.stub.assert_no_pending_responses()
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def fails(run):
    """Run the script, expect one error line, and return that line and the output before it."""

    def fails(*arguments: str, **more: str) -> tuple[str, str]:
        code, out, err = run(*arguments, **more)
        assert code == 1
        assert re.fullmatch(r"error: .+\n", err), err
        return err.removeprefix("error: ").rstrip(), out

    return fails


class TestTheGoodRoad:
    def test_migrates_rolls_out_looks_and_marks_the_digest(self, cloud, run):
        cloud.reaches_the_rollout()
        cloud.describes_service(NEW, state="IN_PROGRESS")
        cloud.describes_service(NEW)

        code, out, err = run()

        assert (code, err) == (0, "")
        assert f"commit {COMMIT}" in out
        assert "app:2 is primary, its rollout COMPLETED" in out
        assert out.endswith(f"Deployed sha-{COMMIT} to staging.\n")
        tags = fake_aws.digests(cloud.ecr)
        assert tags[f"staged-{COMMIT}"] == tags[f"sha-{COMMIT}"]

    def test_runs_again_without_harm(self, cloud, run):
        for _ in range(2):
            cloud.reaches_the_rollout()
            cloud.describes_service(NEW)

            assert run()[0] == 0

    def test_production_takes_what_was_staged_and_gives_it_its_version(self, cloud, run):
        cloud.target |= {"environment": "production", "requires": "staged", "marks": ""}
        digest = fake_aws.push(cloud.ecr, f"staged-{COMMIT}")
        cloud.reaches_the_rollout()
        cloud.describes_service(NEW)

        assert run("--release", "v1.2.3", image=f"staged-{COMMIT}")[0] == 0
        assert fake_aws.digests(cloud.ecr)["v1.2.3"] == digest

    def test_the_first_one_brings_the_tasks_and_later_ones_keep_what_autoscaling_chose(self, cloud, run):
        for before, after in ((0, 2), (7, 7)):
            cloud.describes_service(desired=before)
            cloud.registers()
            cloud.migrates()
            cloud.updates(desired=after)
            cloud.describes_service(NEW)

            assert run()[0] == 0

    def test_an_earlier_digest_comes_back_without_migrations(self, cloud, run):
        cloud.describes_service()
        cloud.registers(migrates=False)
        cloud.updates()
        cloud.describes_service(NEW)

        code, _, _ = run("--without-migration", image=fake_aws.digests(cloud.ecr)[f"sha-{COMMIT}"])

        assert code == 0
        assert f"staged-{COMMIT}" not in fake_aws.digests(cloud.ecr)

    def test_what_ecs_describes_may_be_a_moment_old(self, cloud, run):
        cloud.reaches_the_rollout()
        cloud.describes_service(OLD)
        cloud.describes_service(NEW)

        assert run()[0] == 0

    def test_a_balancer_that_still_knows_the_old_version_is_waited_for(self, cloud, run):
        cloud.reaches_the_rollout()
        cloud.describes_service(NEW)
        right = cloud.pages["/livez/"][0]
        cloud.pages["/livez/"][:] = [(200, {"status": "ok", "version": "old"}), right, (502, None), right]

        assert run()[0] == 0
        assert cloud.seconds < 60 + deploy.SMOKE_S

    def test_the_plan_is_printed_without_asking_anybody(self, cloud, run):
        code, out, _ = run("--dry-run")

        assert code == 0
        assert "4. Run the migration task; its exit code must be 0." in out
        assert f'"image": "{cloud.registry.uri}@<the digest of sha-{COMMIT}>"' in out


class TestTheTarget:
    def test_every_wrong_key_is_named_at_once(self, cloud, fails):
        del cloud.target["cluster"]
        cloud.target |= {"url": "", "tasks": "2", "colour": "blue"}

        line, _ = fails()

        assert line == (
            "the deployment's target is invalid: cluster is missing, colour is unknown, tasks must be of type int, "
            "url is empty"
        )

    @pytest.mark.parametrize("url", ["ftp://app.example", "https://app.example/api", "app.example"])
    def test_must_be_a_host(self, cloud, fails, url):
        cloud.target["url"] = url

        assert "url must be https://HOST" in fails()[0]

    @pytest.mark.parametrize(
        ("text", "reason"), [("", "DEPLOYMENT is not set"), ("{", "is not JSON"), ("[]", "must be a JSON object")]
    )
    def test_must_be_an_object(self, fails, text, reason):
        assert reason in fails(target=text)[0]

    def test_a_release_must_look_like_one(self, fails):
        assert fails("--release", "latest")[0] == "--release is 'latest': it must look like v1.2.3"

    def test_a_file_that_is_not_there_is_named(self, fails, tmp_path):
        assert "nowhere.json" in fails("--to", str(tmp_path / "nowhere.json"))[0]


class TestFindFails:
    def test_for_a_commit_without_an_image(self, fails):
        line, _ = fails(image="sha-" + "f" * 40)

        assert line.endswith(f"has no image sha-{'f' * 40}: its commit was not published from main")

    def test_for_a_commit_that_has_not_passed_staging(self, cloud, fails):
        cloud.target |= {"environment": "production", "requires": "staged"}

        assert fails(image=f"staged-{COMMIT}")[0].endswith("its commit has not passed staging")
        assert fails(image=f"sha-{COMMIT}")[0] == f"production accepts no image without the tag staged-{COMMIT}"

    def test_for_an_image_of_unknown_origin(self, cloud, fails):
        fake_aws.push(cloud.ecr, "v6.6.6", content="another image")

        assert fails(image="v6.6.6")[0].endswith("has no sha-<commit> tag: it was not published from main")
        assert fails(image="v9.9.9")[0].endswith("nothing was published under this name")

    def test_when_the_registry_refuses(self, cloud, fails):
        with ScriptedClient("ecr") as ecr:
            ecr.refuses("describe_images")
            cloud.registry = Registry(ecr.client, cloud.registry.uri)

            assert fails()[0] == f"looking for sha-{COMMIT} in app: AccessDeniedException: no, you may not"


class TestLookFails:
    def test_without_a_service(self, cloud, fails):
        cloud.ecs.answers("describe_services", {"services": [], "failures": [{"reason": "MISSING"}]})

        assert fails()[0] == "there is no service app in app: MISSING"

    def test_for_a_service_that_is_going(self, cloud, fails):
        cloud.describes_service(status="DRAINING")

        assert fails()[0] == "service app is DRAINING"

    def test_during_another_rollout(self, cloud, fails):
        cloud.describes_service(state="IN_PROGRESS")

        assert fails()[0] == "service app has a rollout in progress: wait until it has ended"

    def test_when_ecs_refuses(self, cloud, fails):
        cloud.ecs.refuses("describe_services")

        assert fails()[0] == "describing the service: AccessDeniedException: no, you may not"


class TestRegisterFails:
    def test_for_a_template_that_asks_for_too_much(self, cloud, fails, monkeypatch, tmp_path):
        (tmp_path / "web.json").write_text('{"family": "${weather}"}')
        monkeypatch.setattr(deploy, "TEMPLATES", tmp_path)
        cloud.describes_service()

        assert fails()[0] == "rendering web.json: KeyError: 'weather'"

    def test_when_ecs_refuses(self, cloud, fails):
        cloud.describes_service()
        cloud.ecs.refuses("register_task_definition", "ClientException")

        assert fails()[0] == "registering web.json: ClientException: no, you may not"


class TestMigrateFails:
    @pytest.fixture(autouse=True)
    def registered(self, cloud):
        cloud.describes_service()
        cloud.registers()

    def test_with_an_exit_code_and_shows_why(self, cloud, fails):
        cloud.migrates(code=1)
        cloud.logs_end_with("Applying ledger.0003...", "canceling statement due to lock timeout")

        line, out = fails()

        assert line == "the migration failed: exit code 1; the service was not changed"
        assert out.endswith("0af1:\nApplying ledger.0003...\ncanceling statement due to lock timeout\n")

    def test_without_an_exit_code(self, cloud, fails):
        cloud.starts_the_migration()
        cloud.describes_the_migration(
            lastStatus="STOPPED",
            stopCode="TaskFailedToStart",
            stoppedReason="CannotPullContainerError",
            containers=[{"name": "migrate", "reason": "not found"}],
        )
        cloud.logs.refuses("get_log_events", "ResourceNotFoundException")

        line, out = fails()

        assert line == (
            "the migration failed: no exit code, TaskFailedToStart, CannotPullContainerError, not found; "
            "the service was not changed"
        )
        assert "the log cannot be read: reading ecs/migrate/0af1: ResourceNotFoundException" in out

    def test_with_another_containers_exit_code(self, cloud, fails):
        cloud.starts_the_migration()
        cloud.describes_the_migration(lastStatus="STOPPED", containers=[{"name": "sidecar", "exitCode": 0}])
        cloud.logs_end_with()

        assert fails()[0] == "the migration failed: no exit code; the service was not changed"

    def test_when_there_is_no_room_for_it(self, cloud, fails):
        cloud.starts_the_migration(tasks=[], failures=[{"reason": "RESOURCE:MEMORY"}])

        assert fails()[0] == "the migration task was not started: RESOURCE:MEMORY"

    def test_when_ecs_refuses_to_start_it(self, cloud, fails):
        cloud.ecs.refuses("run_task")

        assert fails()[0] == "starting the migration task: AccessDeniedException: no, you may not"

    def test_when_ecs_does_not_tell_of_it(self, cloud, fails):
        cloud.starts_the_migration()
        cloud.ecs.refuses("describe_tasks")

        assert fails()[0] == "waiting for the migration task: AccessDeniedException: no, you may not"

    def test_when_it_takes_too_long_and_stops_it(self, cloud, fails, monkeypatch):
        monkeypatch.setattr(deploy, "MIGRATION_S", 15)
        cloud.starts_the_migration()
        cloud.describes_the_migration(lastStatus="PENDING")
        cloud.describes_the_migration(lastStatus="RUNNING")
        cloud.logs_end_with("Applying ledger.0003...")
        cloud.ecs.answers("stop_task", {}, cluster="app", task=TASK, reason="took too long")

        line, out = fails()

        assert line == "the migration took longer than 15 s and was stopped; the service was not changed"
        assert "Applying ledger.0003..." in out


class TestUpdateFails:
    @pytest.fixture(autouse=True)
    def migrated(self, cloud):
        cloud.describes_service()
        cloud.registers()
        cloud.migrates()

    def test_when_ecs_refuses(self, cloud, fails):
        cloud.ecs.refuses("update_service")

        assert fails()[0] == "updating the service: AccessDeniedException: no, you may not"

    def test_and_goes_back_when_the_answer_was_lost(self, cloud, fails):
        cloud.ecs.refuses("update_service", "ServerException", status=500)
        cloud.rolls_back()

        assert (
            fails()[0] == "updating the service: ServerException: no, you may not; the service was rolled back to app:1"
        )

    def test_and_goes_back_when_the_connection_was_lost(self, cloud, fails, monkeypatch):
        update = cloud.ecs.client.update_service

        def lose_the_first(**arguments):
            monkeypatch.setattr(cloud.ecs.client, "update_service", update)
            raise botocore.exceptions.ReadTimeoutError(endpoint_url="ecs")

        monkeypatch.setattr(cloud.ecs.client, "update_service", lose_the_first)
        cloud.rolls_back()

        line, _ = fails()

        assert line.startswith("updating the service: Read timeout on endpoint")
        assert line.endswith("the service was rolled back to app:1")


class TestWaitFails:
    @pytest.fixture(autouse=True)
    def updated(self, cloud):
        cloud.reaches_the_rollout()

    def test_when_the_rollout_does_and_tells_what_ecs_knows(self, cloud, fails):
        cloud.describes_service(NEW, state="IN_PROGRESS")
        cloud.describes_service(NEW, state="FAILED")
        cloud.describes_events()
        cloud.rolls_back()

        line, out = fails()

        assert line == "the rollout failed: crash; the service was rolled back to app:1"
        assert "(service app) failed container health checks." in out
        assert "stopped task 0af1: exit code 3, EssentialContainerExited" in out
        assert f"staged-{COMMIT}" not in fake_aws.digests(cloud.ecr)

    def test_when_ecs_went_back_by_itself(self, cloud, fails):
        cloud.describes_service(NEW, state="IN_PROGRESS")
        cloud.describes_service(OLD, state="IN_PROGRESS")
        cloud.describes_events()
        cloud.rolls_back()

        assert fails()[0] == "ECS rolled back to app:1; the service was rolled back to app:1"

    def test_when_it_takes_too_long(self, cloud, fails, monkeypatch):
        monkeypatch.setattr(deploy, "ROLLOUT_S", 15)
        cloud.describes_service(NEW, state="IN_PROGRESS")
        cloud.describes_service(NEW, state="IN_PROGRESS")
        cloud.describes_events()
        cloud.rolls_back()

        assert fails()[0] == "the rollout of app:2 was not COMPLETED after 15 s; the service was rolled back to app:1"

    def test_when_ecs_does_not_tell(self, cloud, fails):
        cloud.ecs.refuses("describe_services", "ServerException", status=500)
        cloud.ecs.refuses("describe_services", "ServerException", status=500)
        cloud.rolls_back()

        line, out = fails()

        assert line == "waiting for the rollout: ServerException: no, you may not; the service was rolled back to app:1"
        assert "the rest cannot be read: reading the service's events" in out

    def test_when_somebody_else_deploys_and_lets_them(self, cloud, fails):
        cloud.describes_service(NEW, state="IN_PROGRESS")
        cloud.describes_service(NEW.replace(":2", ":3"), state="IN_PROGRESS")

        assert fails()[0] == "app:3 is primary: another deployment took over, so this one stops"


class TestSmokeFails:
    @pytest.fixture(autouse=True)
    def rolled_out(self, cloud):
        cloud.reaches_the_rollout()
        cloud.describes_service(NEW)
        cloud.rolls_back()

    @pytest.mark.parametrize(
        ("path", "answer", "reason"),
        [
            ("/ping/", (503, {"pong": True, "db": "unavailable"}), '503 {"pong": true, "db": "unavailable"}'),
            ("/ping/", (200, {"pong": True, "db": "unavailable"}), '200 {"pong": true, "db": "unavailable"}'),
            ("/ping/", (301, None), "301 and no JSON"),
            ("/livez/", (200, {"status": "ok", "version": "old"}), '200 {"status": "ok", "version": "old"}'),
        ],
    )
    def test_for_a_wrong_answer(self, cloud, fails, path, answer, reason):
        cloud.pages[path][:] = [answer]

        line, _ = fails()

        assert (
            line
            == f"{cloud.target['url']} does not serve it: {path} returns {reason}; the service was rolled back to app:1"
        )
        assert f"staged-{COMMIT}" not in fake_aws.digests(cloud.ecr)

    def test_for_no_answer(self, cloud, fails):
        cloud.target["url"] = "http://127.0.0.1:1"

        assert "/ping/: ConnectionRefusedError" in fails()[0]

    def test_for_answers_that_are_right_now_and_then(self, cloud, fails):
        right = cloud.pages["/ping/"][0]
        cloud.pages["/ping/"][:] = [right, right, right, right, (502, None)] * 20

        assert "/ping/ returns 502 and no JSON" in fails()[0]


class TestGoingBackFails:
    @pytest.fixture(autouse=True)
    def does_not_serve(self, cloud):
        cloud.reaches_the_rollout()
        cloud.describes_service(NEW)
        cloud.pages["/ping/"][:] = [(500, None)]

    def test_when_ecs_refuses(self, cloud, fails):
        cloud.ecs.refuses("update_service")

        assert fails()[0].endswith(
            "ROLLBACK FAILED, check the service now: rolling back: AccessDeniedException: no, you may not"
        )

    def test_when_the_old_version_does_not_come_up_either(self, cloud, fails):
        cloud.updates(OLD)
        cloud.describes_service(OLD, state="FAILED")

        assert fails()[0].endswith("ROLLBACK FAILED, check the service now: the rollout failed: crash")

    def test_not_from_a_description_that_is_a_moment_old(self, cloud, fails):
        cloud.updates(OLD)
        cloud.describes_service(NEW)
        cloud.describes_service(OLD)

        assert fails()[0].endswith("the service was rolled back to app:1")


class TestMarkFails:
    def test_when_the_tag_is_another_images_and_the_version_serves(self, cloud, fails):
        fake_aws.push(cloud.ecr, f"staged-{COMMIT}", content="another image")
        cloud.reaches_the_rollout()
        cloud.describes_service(NEW)

        assert fails()[0] == (
            f"tag staged-{COMMIT} is already on another image, and tags are immutable "
            "(the new version is deployed; only the tag is missing)"
        )


class TestTheTaskDefinitions:
    @pytest.fixture
    def both(self):
        target = deploy.Target.parse((ROOT / "deploy/ecs/example.json").read_text())
        return [deploy.render(name, target, "an image") for name in ("web.json", "migrate.json")]

    def test_run_the_same_image_in_the_same_way(self, both):
        web, migrate = both
        for name in ("family", "executionRoleArn"):
            assert web.pop(name) != migrate.pop(name)
        (web_container,), (migrate_container,) = web.pop("containerDefinitions"), migrate.pop("containerDefinitions")
        assert web == migrate
        for name in ("name", "portMappings", "healthCheck"):
            del web_container[name]
        for name in ("name", "command", "secrets"):
            del migrate_container[name]
        serving = {"NUM_PROXIES", "WEB_CONCURRENCY"}
        web_container["environment"] = [one for one in web_container["environment"] if one["name"] not in serving]
        assert web_container == migrate_container

    def test_leave_the_migrations_credentials_to_the_migration(self, both):
        web, migrate = (json.dumps(one) for one in both)

        assert "MIGRATION_DATABASE_URL" in migrate
        assert "migration" not in web.lower()

    def test_check_the_container_as_the_image_does(self, both):
        *_, command = both[0]["containerDefinitions"][0]["healthCheck"]["command"]

        assert command in (ROOT / "docker/Dockerfile").read_text()

    def test_ask_for_nothing_that_the_example_lacks_and_the_other_way_round(self):
        texts = [(ROOT / "deploy/ecs" / name).read_text() for name in ("web.json", "migrate.json")]
        asked = {name for text in texts for name in string.Template(text).get_identifiers()}
        about_the_deployment = {"repository", "cluster", "tasks", "url", "requires", "marks"}

        assert asked | about_the_deployment == json.loads((ROOT / "deploy/ecs/example.json").read_text()).keys() | {
            "image"
        }
