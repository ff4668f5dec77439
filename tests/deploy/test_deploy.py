"""The deployment script: a successful run, and the error and the state after a failure at each step."""

import dataclasses
import json
import re
import signal
import string

import botocore.exceptions
import pytest

from deploy import deploy, release, target
from deploy.images import Registry
from tests.support import fake_aws
from tests.support.configuration import FULL, configure, problems
from tests.support.fake_aws import COMMIT
from tests.support.fake_ecs import NETWORK
from tests.support.paths import ROOT


@pytest.fixture
def run(cloud, monkeypatch, capsys):
    """Run the script."""

    def run(*arguments: str, image: str = f"sha-{COMMIT}", target: str | None = None) -> tuple[int, str, str]:
        monkeypatch.setenv("DEPLOYMENT", cloud.deployment if target is None else target)
        code = deploy.main(["--image", image, *arguments], cloud.clients)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def fails(cloud, run):
    """Run the script, expect one error line, and return that line and the output before it."""

    def fails(*arguments: str, **more: str) -> tuple[str, str]:
        code, out, err = run(*arguments, **more)
        assert code == 1
        assert re.fullmatch(r"error: .+\n", err), err
        assert f"staged-{COMMIT}" not in fake_aws.digests(cloud.ecr)
        return err.removeprefix("error: ").rstrip(), out

    return fails


@pytest.fixture
def fails_before_the_update(cloud, fails):
    """As `fails`, and the service is as it was."""

    def fails_before_the_update(*arguments: str, **more: str) -> tuple[str, str]:
        outcome = fails(*arguments, **more)
        assert cloud.ecs.called("UpdateService") == []
        assert not cloud.is_locked
        return outcome

    return fails_before_the_update


class TestTheGoodRoad:
    def test_migrates_rolls_out_looks_and_marks_the_digest(self, cloud, run):
        code, out, err = run()

        assert (code, err) == (0, "")
        assert f"commit {COMMIT}" in out
        assert "app:2 is primary, its rollout COMPLETED" in out
        assert out.endswith(f"Deployed sha-{COMMIT} to staging.\n")
        tags = fake_aws.digests(cloud.ecr)
        assert tags[f"staged-{COMMIT}"] == tags[f"sha-{COMMIT}"]
        assert not cloud.is_locked

    def test_runs_the_migration_in_the_services_network_with_the_same_digest(self, cloud, run):
        run()

        (request,) = cloud.ecs.called("RunTask")
        assert request["networkConfiguration"] == NETWORK
        web, migrate = cloud.ecs.called("RegisterTaskDefinition")
        address = f"{cloud.registry.uri}@{fake_aws.digests(cloud.ecr)[f'sha-{COMMIT}']}"
        deployed_to = target.Target(**cloud.target)
        assert web == target.render("web.json", deployed_to, address)
        assert migrate == target.render("migrate.json", deployed_to, address)

    def test_runs_again_without_harm(self, cloud, run):
        assert run()[0] == 0
        assert run()[0] == 0
        assert cloud.ecs.running == "app:3"

    def test_production_takes_what_was_staged_and_gives_it_its_version(self, cloud, run):
        cloud.target |= {"environment": "production", "requires": "staged", "marks": ""}
        digest = fake_aws.push(cloud.ecr, f"staged-{COMMIT}")

        assert run("--release", "v1.2.3", image=f"staged-{COMMIT}")[0] == 0
        assert fake_aws.digests(cloud.ecr)["v1.2.3"] == digest

    @pytest.mark.parametrize(("before", "sent"), [(0, {"desiredCount": 2}), (7, {})])
    def test_the_first_one_starts_the_tasks_and_later_ones_leave_the_number_to_autoscaling(
        self, cloud, run, before, sent
    ):
        cloud.ecs.scale(before)

        assert run()[0] == 0
        (request,) = cloud.ecs.called("UpdateService")
        assert request == {"cluster": "app", "service": "app", "taskDefinition": request["taskDefinition"]} | sent

    def test_what_ecs_describes_may_be_a_moment_old(self, cloud, run):
        cloud.ecs.late_s = 15

        assert run()[0] == 0

    def test_a_balancer_that_still_knows_the_old_version_is_waited_for(self, cloud, run):
        right = cloud.pages["/livez/"][0]
        cloud.pages["/livez/"][:] = [(200, {"status": "ok", "version": "old"}), right, (502, None), right]

        assert run()[0] == 0
        assert cloud.ecs.seconds < 80 + deploy.SMOKE_S

    def test_the_plan_is_printed_without_asking_anybody(self, cloud, run):
        code, out, _ = run("--dry-run")

        assert code == 0
        assert "7. Run the migration task; its exit code must be 0." in out
        assert f'"image": "{cloud.registry.uri}@<the digest of sha-{COMMIT}>"' in out
        assert cloud.ecs.calls == []


class TestARollback:
    """To the release before, whose task definition had more memory, during whatever the bad one is doing."""

    @pytest.fixture(autouse=True)
    def deployed(self, cloud, run):
        """The good release, then two bad ones."""
        assert run()[0] == 0
        self.good = cloud.ecs.running
        cloud.ecs.definitions[cloud.ecs.service["taskDefinition"]]["memory"] = "2048"
        for _ in range(2):
            bad = cloud.ecs.register("app", containerDefinitions=[{"name": "web", "image": "app@sha256:bad"}])
            cloud.ecs.roll_out(bad)
            cloud.ecs.sleep(60)
        cloud.ecs.calls.clear()

    def test_returns_to_the_revision_that_ran_and_registers_and_migrates_nothing(self, cloud, run):
        code, _, err = run("--rollback", image=fake_aws.digests(cloud.ecr)[f"sha-{COMMIT}"])

        assert (code, err) == (0, "")
        assert cloud.ecs.running == self.good
        assert {name for name, _ in cloud.ecs.calls} == {
            "DescribeServices",
            "ListTaskDefinitions",
            "DescribeTaskDefinition",
            "UpdateService",
        }

    def test_takes_less_than_two_minutes(self, cloud, run):
        """Of its own: the rollout and the smoke test."""
        start = cloud.ecs.seconds

        assert run("--rollback")[0] == 0
        assert cloud.ecs.seconds - start < 120

    def test_waits_for_no_release_at_work(self, cloud, run):
        cloud.lock("a release").take()
        cloud.ecs.roll_out(cloud.ecs.register("app", containerDefinitions=[{"name": "web"}]))

        assert run("--rollback", "--take-over")[0] == 0
        assert cloud.ecs.running == self.good

    def test_in_production_needs_no_tag_of_staging(self, cloud, run):
        cloud.target |= {"environment": "production", "requires": "other", "marks": ""}

        assert run("--rollback")[0] == 0

    NEWER = "e" * 40

    def test_to_code_that_was_not_tested_on_the_schema_is_refused(self, cloud, run):
        fake_aws.push(cloud.ecr, f"sha-{self.NEWER}", content="a newer image")
        cloud.schema.write(self.NEWER)

        code, _, err = run("--rollback")

        assert code == 1
        assert f"the schema is that of {self.NEWER}, on which sha-{COMMIT} was not tested" in err
        assert cloud.ecs.called("UpdateService") == []
        assert run("--rollback", "--unchecked")[0] == 0

    def test_to_the_release_with_which_the_schema_was_tested_is_allowed(self, cloud, run):
        tags = (f"sha-{self.NEWER}", f"fits-{COMMIT}-{self.NEWER}")
        fake_aws.push(cloud.ecr, *tags, content="a newer image")
        cloud.schema.write(self.NEWER)

        assert run("--rollback")[0] == 0

    @pytest.mark.parametrize(("other", "code"), [("a" * 12, 0), ("b" * 12, 1)], ids=["the same", "another"])
    def test_between_commits_is_allowed_if_they_have_one_schema(self, cloud, run, other, code):
        fake_aws.push(cloud.ecr, f"schema-{'a' * 12}-{COMMIT}")
        fake_aws.push(cloud.ecr, f"sha-{self.NEWER}", f"schema-{other}-{self.NEWER}", content="a newer image")
        cloud.schema.write(self.NEWER)

        assert run("--rollback")[0] == code

    def test_to_an_image_that_never_ran_there_is_refused(self, cloud, run):
        fake_aws.push(cloud.ecr, f"sha-{'f' * 40}", content="another image")
        cloud.schema.write("f" * 40)

        code, _, err = run("--rollback", image=f"sha-{'f' * 40}")

        assert (code, err) == (
            1,
            f"error: sha-{'f' * 40} has never run in staging: deploy it, do not roll back to it\n",
        )
        assert cloud.ecs.called("UpdateService") == []

    def test_has_a_plan_without_task_definitions(self, run):
        code, out, _ = run("--rollback", "--dry-run")

        assert code == 0
        assert "Find the newest revision of app with the image's digest." in out
        assert "migrat" not in out.lower().replace("migrations", "")


class TestTheTarget:
    def test_every_wrong_key_is_named_at_once(self, cloud, fails):
        del cloud.target["cluster"]
        cloud.target |= {"url": "", "tasks": "2"}

        line, _ = fails()

        assert line == (
            "the deployment's target is invalid: cluster is missing, tasks must be of type int, url is empty"
        )

    def test_may_have_keys_of_a_later_version(self, cloud, run):
        cloud.target["colour"] = "blue"

        code, _, err = run()

        assert (code, err) == (
            0,
            "note: the deployment's target has colour, which this version does not know\n",
        )

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://app.example",
            "https://app.example/api",
            "app.example",
            "https://app..example",
            "https://.example",
            "https://-app.example",
            f"https://{'a' * 64}.example",
            "https://app.example:",
        ],
    )
    def test_must_be_a_host(self, cloud, fails_before_the_update, url):
        cloud.target["url"] = url

        assert "url must be https://HOST" in fails_before_the_update()[0]
        assert cloud.ecs.calls == []

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
        cloud.target["repository"] = "999999999999.dkr.ecr.eu-central-1.amazonaws.com/other"
        cloud.registry = Registry(cloud.ecr, cloud.target["repository"])

        assert fails()[0].startswith(f"looking for sha-{COMMIT} in other: RepositoryNotFoundException: ")


class TestTheLock:
    def test_is_one_deployments_and_names_it(self, cloud, fails):
        cloud.lock("ann/terminal/1").take()

        assert fails()[0] == "ann/terminal/1 is deploying: wait until it has ended, or --take-over"
        assert cloud.ecs.calls == []
        cloud.lock("ann/terminal/1").renew()

    def test_of_one_that_was_killed_expires(self, cloud, run, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr("time.time", lambda: 0.0)
            cloud.lock("ann/terminal/1").take()

        assert run()[0] == 0

    def test_can_be_taken_over_and_then_the_other_changes_nothing_more(self, cloud, fails):
        def ann_rolls_back():
            cloud.lock("ann/terminal/1").take_over()

        cloud.ecs.after(15, ann_rolls_back)

        assert fails()[0] == "ann/terminal/1 took the lock over, so this deployment stops"
        assert cloud.ecs.called("UpdateService") == []
        cloud.lock("ann/terminal/1").renew()

    def test_taken_over_replaces_a_rollout_in_progress(self, cloud, run):
        cloud.lock("a release").take()
        cloud.ecs.broken.add("app:2")
        cloud.ecs.roll_out(cloud.ecs.register("app"))

        assert run("--take-over")[0] == 0
        assert cloud.ecs.running == "app:3"

    def test_without_a_table_is_an_error_of_one_line(self, cloud, fails):
        cloud.locks.delete_table(TableName=cloud.target["lock_table"])

        assert fails()[0].startswith("writing the lock: ResourceNotFoundException")

    def test_that_cannot_be_released_fails_no_deployment(self, cloud, run):
        cloud.pages["/livez/"].insert(0, (200, {"status": "ok", "version": "old"}))
        cloud.ecs.after(60, lambda: cloud.locks.delete_table(TableName=cloud.target["lock_table"]))

        code, out, _ = run()

        assert code == 0
        assert "(releasing the lock: ResourceNotFoundException" in out


class TestTheOrderOfCommits:
    LATER = "e" * 40

    @pytest.fixture(autouse=True)
    def deployed(self, cloud):
        cloud.schema.write(self.LATER)

    def test_one_that_a_later_one_overtook_is_refused(self, cloud, fails_before_the_update):
        cloud.history.add((self.LATER, COMMIT))

        assert fails_before_the_update()[0] == (
            f"{self.LATER} was deployed here before, and contains {COMMIT}: release that one, roll back to this one, or"
            " --unchecked"
        )
        assert cloud.ecs.called("RunTask") == []
        assert cloud.schema.read() == self.LATER

    def test_one_that_comes_later_is_not(self, cloud, run):
        cloud.history.add((COMMIT, self.LATER))

        assert run()[0] == 0
        assert cloud.schema.read() == COMMIT

    def test_who_says_so_deploys_it_all_the_same(self, cloud, run):
        cloud.history.add((self.LATER, COMMIT))

        assert run("--unchecked")[0] == 0

    def test_is_the_one_of_git(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setattr(release, "ROOT", tmp_path)
        author = ("-c", "user.name=Ann", "-c", "user.email=ann@example.org")
        release.git("init", "--quiet")
        for _ in range(2):
            release.git(*author, "commit", "--quiet", "--allow-empty", "--message", "one more")
        later, earlier = (release.git("rev-parse", name).stdout.strip() for name in ("HEAD", "HEAD^"))

        assert (deploy.contains(later, earlier), deploy.contains(earlier, later)) == (True, False)
        assert not deploy.contains(later, "0" * 40)
        assert f"(this clone cannot compare {'0' * 40} with {later}: fatal: " in capsys.readouterr().out


class TestLookFails:
    def test_without_a_service(self, cloud, fails_before_the_update):
        cloud.ecs.service = {}

        assert fails_before_the_update()[0] == "there is no service app in app: MISSING"

    def test_for_a_service_that_is_going(self, cloud, fails_before_the_update):
        cloud.ecs.service["status"] = "DRAINING"
        cloud.ecs.scale(2)

        assert fails_before_the_update()[0] == "service app is DRAINING"

    def test_during_another_rollout(self, cloud, fails_before_the_update):
        cloud.ecs.roll_out(cloud.ecs.register("app"))

        assert fails_before_the_update()[0] == (
            "service app has a rollout in progress: wait until it has ended, or --take-over"
        )

    def test_when_ecs_refuses(self, cloud, fails_before_the_update):
        cloud.ecs.refuse("DescribeServices")

        assert fails_before_the_update()[0] == "describing the service: AccessDeniedException: no, you may not"


class TestRegisterFails:
    def test_for_a_template_that_asks_for_too_much(self, fails_before_the_update, monkeypatch, tmp_path):
        (tmp_path / "web.json").write_text('{"family": "${weather}"}')
        monkeypatch.setattr(target, "TEMPLATES", tmp_path)

        assert fails_before_the_update()[0] == "rendering web.json: KeyError: 'weather'"

    def test_when_ecs_refuses(self, cloud, fails_before_the_update):
        cloud.ecs.refuse("RegisterTaskDefinition", "ClientException")

        assert fails_before_the_update()[0] == "registering web.json: ClientException: no, you may not"


class TestMigrateFails:
    def test_with_an_exit_code_and_shows_why(self, cloud, fails_before_the_update):
        cloud.ecs.exit_code = 1
        assert cloud.schema.read() == ""
        cloud.write_log("migrate", "Applying users.0003...", "canceling statement due to lock timeout")

        line, out = fails_before_the_update()

        assert line == "the migration failed: exit code 1; the service was not changed"
        # Some of its migrations may have been applied.
        assert cloud.schema.read() == COMMIT
        assert "0001:\nApplying users.0003...\ncanceling statement due to lock timeout\n---\n" in out

    def test_without_an_exit_code(self, cloud, fails_before_the_update):
        cloud.ecs.task = {
            "stopCode": "TaskFailedToStart",
            "stoppedReason": "CannotPullContainerError",
            "containers": [{"name": "migrate", "reason": "not found"}],
        }

        line, out = fails_before_the_update()

        assert line == (
            "the migration failed: no exit code, TaskFailedToStart, CannotPullContainerError, not found; "
            "the service was not changed"
        )
        assert "the log cannot be read: reading ecs/migrate/0001: ResourceNotFoundException" in out

    def test_with_another_containers_exit_code(self, cloud, fails_before_the_update):
        cloud.ecs.task = {"containers": [{"name": "sidecar", "exitCode": 0}]}

        assert fails_before_the_update()[0] == "the migration failed: no exit code; the service was not changed"

    def test_when_there_is_no_room_for_it(self, cloud, fails_before_the_update):
        cloud.ecs.start_failures = [{"reason": "RESOURCE:MEMORY"}]

        assert fails_before_the_update()[0] == (
            "the migration: the task was not started: RESOURCE:MEMORY; the service was not changed"
        )

    def test_when_ecs_refuses_to_start_it(self, cloud, fails_before_the_update):
        cloud.ecs.refuse("RunTask")

        assert fails_before_the_update()[0] == (
            "the migration: starting the task: AccessDeniedException: no, you may not; the service was not changed"
        )

    def test_when_it_takes_too_long_and_stops_it(self, cloud, fails_before_the_update):
        cloud.ecs.task_s = deploy.MIGRATION_S + 100
        cloud.write_log("migrate", "Applying users.0003...")

        line, out = fails_before_the_update()

        assert line == "the migration: the task took longer than 1200 s and was stopped; the service was not changed"
        assert "Applying users.0003..." in out
        assert [task["status"] for task in cloud.ecs.tasks.values()] == ["STOPPED"]

    def test_when_ecs_never_tells_of_it_and_stops_it(self, cloud, fails_before_the_update):
        cloud.ecs.refuse("DescribeTasks", "ThrottlingException", n=1000)

        line, _ = fails_before_the_update()

        assert "took longer than 1200 s and was stopped" in line
        assert [task["status"] for task in cloud.ecs.tasks.values()] == ["STOPPED"]

    def test_and_says_which_task_runs_on_if_it_cannot_be_stopped(self, cloud, fails_before_the_update):
        cloud.ecs.task_s = deploy.MIGRATION_S + 100
        cloud.ecs.refuse("StopTask")

        assert "STILL RUNNING, stop it by hand: arn:aws:ecs:" in fails_before_the_update()[0]


class TestWhatOthersDoMeanwhile:
    def test_a_poll_that_fails_is_no_failed_migration(self, cloud, run):
        cloud.ecs.refuse("DescribeTasks", "ThrottlingException")

        code, out, _ = run()

        assert code == 0
        assert "waiting for the task: ThrottlingException: no, you may not; trying again" in out

    def test_a_poll_that_fails_is_no_failed_rollout(self, cloud, run):
        cloud.ecs.during("UpdateService", lambda: cloud.ecs.refuse("DescribeServices", "ThrottlingException", n=3))

        code, out, _ = run()

        assert code == 0
        assert out.count("describing the service: ThrottlingException: no, you may not; trying again") == 3

    def test_a_service_that_was_scaled_out_during_the_migration_stays_so(self, cloud, run):
        cloud.ecs.after(15, lambda: cloud.ecs.scale(10))

        assert run()[0] == 0
        assert cloud.ecs.service["desiredCount"] == 10

    def test_and_on_the_way_back(self, cloud, fails):
        cloud.ecs.after(15, lambda: cloud.ecs.scale(10))
        cloud.pages["/ping/"][:] = [(500, None)]

        assert fails()[0].endswith("the service was rolled back to app:1")
        assert cloud.ecs.service["desiredCount"] == 10

    def test_a_first_version_that_does_not_serve_leaves_no_task(self, cloud, fails):
        cloud.ecs.scale(0)
        cloud.pages["/ping/"][:] = [(500, None)]

        assert fails()[0].endswith("the service was rolled back to app:1")
        assert cloud.ecs.service["desiredCount"] == 0

    @pytest.mark.parametrize("later", [0, 1000])
    def test_a_colleagues_rollback_during_the_migration_is_not_overwritten(self, cloud, fails_before_the_update, later):
        """Whether it has ended, or is under way."""
        cloud.ecs.rollout_s += later

        def colleague():
            cloud.ecs.rollout_s = later
            cloud.ecs.roll_out(cloud.ecs.register("app"))

        cloud.ecs.during("RunTask", colleague)

        line, _ = fails_before_the_update()

        assert cloud.ecs.running == "app:3"
        assert line == (
            "service app has a rollout in progress: wait until it has ended, or --take-over"
            if later
            else "app:3 runs now, and no more app:1: another deployment changed the service, and this one did not"
        )

    def test_a_colleagues_rollback_during_the_rollout_stays(self, cloud, fails):
        cloud.ecs.after(30, lambda: cloud.ecs.roll_out(cloud.ecs.register("app")))

        assert fails()[0] == "app:3 is primary: another deployment took over, so this one stops"
        assert cloud.ecs.running == "app:3"

    def test_a_colleagues_rollback_during_the_smoke_test_stays(self, cloud, fails):
        cloud.pages["/ping/"][:] = [(500, None)]
        cloud.ecs.after(100, lambda: cloud.ecs.roll_out(cloud.ecs.register("app")))

        assert "app:3 is primary: another deployment took over" in fails()[0]
        assert cloud.ecs.running == "app:3"
        assert len(cloud.ecs.called("UpdateService")) == 1

    def test_one_who_has_taken_the_lock_keeps_the_service_as_it_is(self, cloud, fails):
        cloud.pages["/ping/"][:] = [(500, None)]
        cloud.ecs.after(100, cloud.lock("ann/terminal/1").take_over)

        assert "ann/terminal/1 took the lock over" in fails()[0]
        assert len(cloud.ecs.called("UpdateService")) == 1


class TestInterrupted:
    @pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
    def interrupt(self, request):
        return lambda: signal.raise_signal(request.param)

    def test_while_migrating_it_stops_the_migration_and_says_so(self, cloud, fails_before_the_update, interrupt):
        cloud.ecs.after(15, interrupt)

        line, out = fails_before_the_update()

        assert line == "interrupted in step 7"
        assert "stopped arn:aws:ecs:eu-central-1:123456789012:task/app/0001: interrupted" in out
        assert [task["status"] for task in cloud.ecs.tasks.values()] == ["STOPPED"]

    @pytest.mark.parametrize("seconds", [30, 100], ids=["rollout", "smoke test"])
    def test_after_the_update_it_starts_the_way_back_and_does_not_wait(self, cloud, fails, interrupt, seconds):
        cloud.pages["/ping/"][:] = [(500, None)]
        cloud.ecs.after(seconds, interrupt)
        cloud.ecs.during("UpdateService", lambda: cloud.ecs.after(seconds, interrupt))

        line, _ = fails()

        assert re.fullmatch(r"interrupted in step (9|10); the service is on its way back to app:1", line)
        assert cloud.ecs.running == "app:1"
        assert cloud.ecs.service["rollout"] == "IN_PROGRESS"
        assert not cloud.is_locked

    def test_a_second_signal_does_not_stop_what_the_first_one_began(self, cloud, fails, interrupt):
        cloud.ecs.after(15, interrupt)
        cloud.ecs.during("StopTask", interrupt)

        assert fails()[0] == "interrupted in step 7"
        assert [task["status"] for task in cloud.ecs.tasks.values()] == ["STOPPED"]

    def test_the_signals_are_the_programs_again_afterwards(self, run):
        before = signal.getsignal(signal.SIGTERM)
        run()

        assert signal.getsignal(signal.SIGTERM) == before


class TestUpdateFails:
    def test_when_ecs_refuses(self, cloud, fails):
        cloud.ecs.refuse("UpdateService")

        assert fails()[0] == "updating the service: AccessDeniedException: no, you may not"
        assert cloud.ecs.running == "app:1"

    @pytest.mark.parametrize(
        ("failure", "reason"),
        [
            ("ServerException", "updating the service: ServerException: no, you may not"),
            (
                botocore.exceptions.ReadTimeoutError(endpoint_url="ecs"),
                "updating the service: Read timeout on endpoint",
            ),
        ],
        ids=["answer", "connection"],
    )
    def test_and_goes_back_when_the_answer_was_lost(self, cloud, fails, failure, reason):
        cloud.ecs.refuse("UpdateService", failure, status=500)

        line, _ = fails()

        assert line.startswith(reason)
        assert line.endswith("; the service was rolled back to app:1")
        assert cloud.ecs.running == "app:1"


class TestWaitFails:
    def test_when_the_rollout_does_and_tells_what_ecs_knows(self, cloud, fails):
        cloud.ecs.broken.add("app:2")
        cloud.ecs.breaker = False

        line, out = fails()

        assert line == "the rollout failed: crash; the service was rolled back to app:1"
        assert "(service app) failed container health checks." in out
        assert "stopped task crashed, nginx: exit code 3" in out
        assert "crashed, web" not in out
        assert cloud.ecs.running == "app:1"

    def test_when_ecs_went_back_by_itself(self, cloud, fails):
        cloud.ecs.broken.add("app:2")

        assert fails()[0] == "ECS rolled back to app:1; the service was rolled back to app:1"

    def test_when_it_takes_too_long(self, cloud, fails, monkeypatch):
        monkeypatch.setattr(deploy, "ROLLOUT_S", 15)
        cloud.ecs.during("ListTasks", lambda: setattr(cloud.ecs, "rollout_s", 5))

        assert fails()[0] == "the rollout of app:2 was not COMPLETED after 15 s; the service was rolled back to app:1"

    def test_when_ecs_tells_nothing_until_the_deadline(self, cloud, fails):
        polls = deploy.ROLLOUT_S // 10
        cloud.ecs.during(
            "UpdateService", lambda: cloud.ecs.refuse("DescribeServices", "ServerException", status=500, n=polls + 1)
        )

        line, out = fails()

        assert line == "describing the service: ServerException: no, you may not; the service was rolled back to app:1"
        assert "the rest cannot be read: reading the service's events" in out


class TestSmokeFails:
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
        assert cloud.ecs.running == "app:1"

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
        cloud.pages["/ping/"][:] = [(500, None)]

    def test_when_ecs_refuses(self, cloud, fails):
        cloud.ecs.after(100, lambda: cloud.ecs.refuse("UpdateService"))

        assert fails()[0].endswith(
            "ROLLBACK FAILED, check the service now: rolling back: AccessDeniedException: no, you may not"
        )

    def test_when_the_old_version_does_not_come_up_either(self, cloud, fails):
        cloud.ecs.breaker = False
        cloud.ecs.after(100, lambda: cloud.ecs.broken.add("app:1"))

        assert fails()[0].endswith("ROLLBACK FAILED, check the service now: the rollout failed: crash")

    def test_not_from_a_description_that_is_a_moment_old(self, cloud, fails):
        cloud.ecs.late_s = 15

        assert fails()[0].endswith("the service was rolled back to app:1")


class TestMarkFails:
    def test_when_the_tag_is_another_images_and_the_version_serves(self, cloud, run):
        fake_aws.push(cloud.ecr, f"staged-{COMMIT}", content="another image")

        code, _, err = run()

        assert code == 1
        assert err == (
            f"error: tag staged-{COMMIT} is already on another image, and tags are immutable "
            "(the new version is deployed; only the tag is missing)\n"
        )
        assert cloud.ecs.running == "app:2"


class TestTheTaskDefinitions:
    @pytest.fixture
    def both(self):
        deployed_to = target.Target.parse((ROOT / "deploy/ecs/example.json").read_text())
        return [target.render(name, deployed_to, "an image") for name in ("web.json", "migrate.json")]

    def test_run_the_same_image_in_the_same_way(self, both):
        web, migrate = both
        for name in ("family", "executionRoleArn"):
            assert web.pop(name) != migrate.pop(name)
        (web_container, nginx), (migrate_container,) = (
            web.pop("containerDefinitions"),
            migrate.pop("containerDefinitions"),
        )
        assert web == migrate
        assert web_container.pop("secrets") == []
        for name in ("image", "readonlyRootFilesystem", "linuxParameters", "logConfiguration"):
            assert nginx[name] == web_container[name]
        for name in ("name", "portMappings", "healthCheck", "dependsOn"):
            del web_container[name]
        for name in ("name", "command", "secrets"):
            del migrate_container[name]
        serving = {"GUNICORN_THREADS", "NUM_PROXIES", "WEB_CONCURRENCY", "WEB_REPLICAS"}
        web_container["environment"] = [one for one in web_container["environment"] if one["name"] not in serving]
        assert web_container == migrate_container

    def test_have_the_caches_secret_where_there_is_one(self):
        deployed_to = target.Target.parse((ROOT / "deploy/ecs/example.json").read_text())
        arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app/staging/cache-AbCdEf"

        web, migrate = (
            target.render(name, dataclasses.replace(deployed_to, cache_secret=arn), "an image")
            for name in ("web.json", "migrate.json")
        )

        assert web["containerDefinitions"][0]["secrets"] == [{"name": "REDIS_URL", "valueFrom": arn}]
        assert "REDIS_URL" not in json.dumps(migrate)

    @pytest.mark.parametrize(("replicas", "fits"), [(14, True), (15, False)])
    def test_a_server_with_more_tasks_than_the_database_has_connections_for_does_not_start(self, replicas, fits):
        deployed_to = target.Target.parse((ROOT / "deploy/ecs/example.json").read_text())
        web = target.render("web.json", dataclasses.replace(deployed_to, replicas=replicas), "an image")
        given = {one["name"]: one["value"] for one in web["containerDefinitions"][0]["environment"]}
        secret = {name: FULL[name] for name in ("SECRET_KEY", "DATABASE_URL")}

        if fits:
            assert configure(secret=secret, **given)("WEB_REPLICAS") == replicas
            return
        (problem,) = problems(secret=secret, **given)
        assert "WEB_REPLICAS" in problem
        assert "do not fit: replicas x workers x (threads + 1 for the probes) + reserved are more" in problem

    def test_leave_the_migrations_credentials_to_the_migration(self, both):
        web, migrate = (json.dumps(one) for one in both)

        assert "MIGRATION_DATABASE_URL" in migrate
        assert "migration" not in web.lower()

    def test_start_nginx_first_and_so_end_it_last(self, both):
        """ECS stops a container before those that it depends on. All requests come through nginx, and it has no secret."""
        web, nginx = both[0]["containerDefinitions"]

        assert web["dependsOn"] == [{"containerName": "nginx", "condition": "START"}]
        assert "dependsOn" not in nginx
        assert nginx["command"] == ["proxy"]
        assert nginx["essential"]
        assert web["essential"]
        assert {each["name"]: each["containerPort"] for each in nginx["portMappings"]} == {"http": 8080}
        assert {each["name"]: each["containerPort"] for each in web["portMappings"]} == {"metrics": 9464}
        assert nginx.keys().isdisjoint({"environment", "secrets"})

    def test_check_the_container_as_the_image_does(self, both):
        *_, command = both[0]["containerDefinitions"][0]["healthCheck"]["command"]

        assert command in (ROOT / "docker/Dockerfile").read_text()

    def test_ask_for_nothing_that_the_example_lacks_and_the_other_way_round(self):
        texts = [(ROOT / "deploy/ecs" / name).read_text() for name in ("web.json", "migrate.json")]
        asked = {name for text in texts for name in string.Template(text).get_identifiers()}
        about_the_deployment = {"repository", "cluster", "tasks", "url", "lock_table", "requires", "marks"}
        about_the_deployment |= {"master_secret", "prepare_execution_role", "database_address", "database_name"}

        assert asked | about_the_deployment == json.loads((ROOT / "deploy/ecs/example.json").read_text()).keys() | {
            "image"
        }
