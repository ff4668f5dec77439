"""Terraform applied on moto: an account and its environments, with the names and the accounts that projects have."""

import json
import re

import boto3
import pytest
from django.test import Client, override_settings
from moto.events.models import EventPattern

from apps.core import throttling
from apps.core.management.commands.housekeeping import OUTCOMES, ExitCode
from config.keys import KEYS, connections_fit
from deploy.target import Target, render
from tests.support import aws
from tests.support.paths import ROOT
from tests.support.terraform import Terraform

pytestmark = pytest.mark.slow

GITHUB = {"github": "octo-org/octo-repo", "github_ids": "123456/456789"}
LONGEST_NAME = "a-name-of-24-characters1"
# github.blog, 2026-04-23: immutable subject claims for GitHub Actions OIDC tokens.
OLD_FORM, NEW_FORM = "repo:octo-org/octo-repo", "repo:octo-org@123456/octo-repo@456789"

ANN = "arn:aws:iam::123456789012:role/ann"


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    with aws.Moto(tmp_path_factory.mktemp("moto") / "log") as moto:
        yield moto


def aws_client(moto, service):
    keys = {name.lower(): value for name, value in aws.CREDENTIALS.items()}
    return boto3.client(service, region_name=aws.REGION, endpoint_url=moto.url, **keys)


@pytest.fixture(scope="module")
def network(moto):
    """What must exist before: a VPC with its subnets, and a certificate."""
    ec2 = aws_client(moto, "ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{part}.0/24", AvailabilityZone=f"{aws.REGION}{zone}")["Subnet"]
        for part, zone in ((0, "a"), (1, "b"))
    ]
    ids = [subnet["SubnetId"] for subnet in subnets]
    certificate = aws_client(moto, "acm").request_certificate(DomainName="api.example.org")["CertificateArn"]
    return {
        "vpc_id": vpc,
        "public_subnet_ids": ids,
        "private_subnet_ids": ids,
        "domain": "api.example.org",
        "certificate_arn": certificate,
        "region": aws.REGION,
    }


@pytest.fixture(scope="module")
def account(moto, tmp_path_factory):
    terraform = Terraform("account", tmp_path_factory.mktemp("account") / "ecs", moto.url)
    terraform.apply(**GITHUB, region=aws.REGION, name=LONGEST_NAME)
    return terraform


@pytest.fixture(scope="module")
def production(moto, account, network, tmp_path_factory):
    """The longest name and the longest environment."""
    terraform = Terraform("environment", tmp_path_factory.mktemp("environment") / "ecs", moto.url)
    terraform.apply(
        **GITHUB,
        **network,
        environment="production",
        name=LONGEST_NAME,
        operators=[ANN],
        alarm_emails=["ann@example.org"],
        cache=True,
        rate_limit=2000,
    )
    return terraform


def trusted(policy: str) -> list[str]:
    (statement,) = json.loads(policy)["Statement"]
    assert statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
    return statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"]


def test_both_forms_of_the_subject_are_trusted_and_no_other(account, production):
    publish = account.resources["aws_iam_role.publish"]["assume_role_policy"]
    deploy = production.resources["aws_iam_role.deploy"]["assume_role_policy"]

    assert trusted(publish) == [f"{form}:ref:refs/heads/main" for form in (OLD_FORM, NEW_FORM)]
    rollback = production.resources["aws_iam_role.rollback"]["assume_role_policy"]
    assert trusted(deploy) == [f"{form}:environment:production" for form in (OLD_FORM, NEW_FORM)]
    assert trusted(rollback) == [f"{form}:environment:production-rollback" for form in (OLD_FORM, NEW_FORM)]


def test_a_name_with_hyphens_and_of_24_characters_is_applied(production):
    resources = production.resources

    assert resources["aws_db_instance.this"]["db_name"] == "a_name_of_24_characters1"
    for balancer in ("aws_lb.this", "aws_lb_target_group.web"):
        assert resources[balancer]["name"] == "a-name-of-24-characters1-product"
    assert all(len(each["name"]) <= 64 for address, each in resources.items() if address.startswith("aws_iam_role."))


def test_a_second_plan_changes_nothing(account, production):
    for root in (account, production):
        assert "No changes." in (plan := root.plan_again()), plan


def test_the_deployment_scripts_target_is_an_output(production):
    target = Target.parse(production.output("deployment"))

    assert target.url == "https://api.example.org"
    assert target.lock_table == production.resources["aws_dynamodb_table.deployments"]["name"]


def test_people_who_are_named_may_do_what_a_deployment_may_and_run_commands(production):
    resources = production.resources
    (trust,) = json.loads(resources["aws_iam_role.operator[0]"]["assume_role_policy"])["Statement"]
    assert trust["Principal"] == {"AWS": ANN}
    operator, deploy = (
        json.loads(resources[f"aws_iam_role_policy.{name}"]["policy"])["Statement"]
        for name in ("operator[0]", "deploy")
    )

    _, run_task, read_log, search_log, change_secrets, pass_role = [
        statement for statement in operator if statement not in deploy
    ]

    assert [statement for statement in deploy if statement not in operator] == []
    assert (run_task["Action"], read_log["Action"]) == ("ecs:RunTask", "logs:GetLogEvents")
    assert search_log["Action"] == "logs:FilterLogEvents"
    families = [each.rpartition("/")[2] for each in run_task["Resource"]]
    assert families == [f"{LONGEST_NAME}-production:*", f"{LONGEST_NAME}-production-prepare:*"]
    assert len(change_secrets["Resource"]) == 2
    assert pass_role["Resource"] == resources["aws_iam_role.prepare_execution"]["arn"]


def test_a_rollback_can_neither_run_nor_register_anything(production):
    statements = json.loads(production.resources["aws_iam_role_policy.rollback"]["policy"])["Statement"]
    listed = [[each["Action"]] if isinstance(each["Action"], str) else each["Action"] for each in statements]
    actions = {action for each in listed for action in each}

    assert actions.isdisjoint({"ecs:RegisterTaskDefinition", "ecs:RunTask", "ecr:PutImage"})
    assert "ecs:UpdateService" in actions


def test_the_masters_secret_is_read_by_the_preparing_task_alone(production):
    secret = Target.parse(production.output("deployment")).master_secret
    policies = {
        address: each["policy"]
        for address, each in production.resources.items()
        if address.startswith("aws_iam_role_policy.")
    }

    assert secret
    assert [address for address, policy in policies.items() if secret in policy] == [
        "aws_iam_role_policy.prepare_execution"
    ]


def test_requests_reach_nginx_and_nothing_else(production):
    resources = production.resources
    template = json.loads((ROOT / "deploy" / "ecs" / "web.json").read_text())
    ports = {
        container["name"]: {each["containerPort"] for each in container["portMappings"]}
        for container in template["containerDefinitions"]
    }
    (registered,) = resources["aws_ecs_service.web"]["load_balancer"]
    group = resources["aws_lb_target_group.web"]

    assert ports[registered["container_name"]] == {registered["container_port"]} == {group["port"]}
    for rule in ("ingress", "egress"):
        opened = resources[f"aws_vpc_security_group_{rule}_rule.balancer_to_tasks"]
        assert (opened["from_port"], opened["to_port"]) == (group["port"], group["port"])
    assert group["health_check"][0]["path"] == "/livez/"


def test_plain_http_is_redirected_except_under_api_which_is_refused(production):
    """As the application does where it is asked itself."""
    resources = production.resources
    (otherwise,) = resources["aws_lb_listener.http"]["default_action"]
    rule = resources["aws_lb_listener_rule.api_over_http"]
    (condition,), (action,) = rule["condition"], rule["action"]
    (answer,) = action["fixed_response"]
    with override_settings(SECURE_SSL_REDIRECT=True):
        own = Client().get("/api/v1/users/me/")

    assert rule["listener_arn"] == resources["aws_lb_listener.http"]["arn"]
    assert condition["path_pattern"][0]["values"] == ["/api/*"]
    assert (action["type"], int(answer["status_code"])) == ("fixed-response", own.status_code)
    ours, theirs = own.json(), json.loads(answer["message_body"])
    assert theirs == {name: value for name, value in ours.items() if name not in {"instance", "request_id"}}
    assert len(answer["message_body"]) <= 1024  # AWS's limit
    assert (otherwise["type"], otherwise["redirect"][0]["protocol"]) == ("redirect", "HTTPS")


def test_housekeeping_runs_each_night_as_the_service_does(production):
    resources = production.resources
    schedule = resources["aws_scheduler_schedule.housekeeping"]
    (target,) = schedule["target"]
    (task,) = target["ecs_parameters"]
    (override,) = json.loads(target["input"])["containerOverrides"]
    service = resources["aws_ecs_service.web"]
    template = json.loads((ROOT / "deploy" / "ecs" / "web.json").read_text())

    assert re.fullmatch(r"cron\(\d+ \d+ \* \* \? \*\)", schedule["schedule_expression"])
    assert override["command"][1:] == ["manage.py", "housekeeping", "--verify"]
    assert override["name"] in {container["name"] for container in template["containerDefinitions"]}
    assert task["task_definition_arn"].endswith(f":task-definition/{service['name']}")
    assert sorted(task["network_configuration"][0]["subnets"]) == sorted(service["network_configuration"][0]["subnets"])
    run, pass_role = json.loads(resources["aws_iam_role_policy.scheduler"]["policy"])["Statement"]
    assert task["task_definition_arn"] in run["Resource"]
    assert set(pass_role["Resource"]) == {resources[f"aws_iam_role.{name}"]["arn"] for name in ("execution", "task")}


def test_a_housekeeping_that_fails_or_is_late_is_an_alarm(production):
    """By the one line that it logs, of which there are no others."""
    resources = production.resources
    patterns = {
        name: set(
            re.findall(
                r'\$\.event = "([^"]+)"',
                resources[f'aws_cloudwatch_log_metric_filter.housekeeping["{name}"]']["pattern"],
            )
        )
        for name in ("done", "failed")
    }
    failed, late = (resources[f"aws_cloudwatch_metric_alarm.housekeeping_{name}"] for name in ("failed", "late"))

    assert patterns["done"] == {OUTCOMES[ExitCode.DONE][1]}
    assert patterns["failed"] == {OUTCOMES[ExitCode.FAILED][1], OUTCOMES[ExitCode.VERIFICATION_FAILED][1]}
    assert (failed["metric_name"], failed["treat_missing_data"]) == ("housekeeping_failed", "notBreaching")
    assert (late["metric_name"], late["treat_missing_data"]) == ("housekeeping_done", "breaching")
    assert late["period"] * late["evaluation_periods"] == 26 * 3600
    for alarm in (failed, late):
        assert alarm["alarm_actions"] == [resources["aws_sns_topic.alarms"]["arn"]]
    assert resources['aws_sns_topic_subscription.alarms["ann@example.org"]']["protocol"] == "email"


def alarms_of(resources: dict) -> dict[str, dict]:
    """Return the alarms by their names."""
    return {
        each["alarm_name"]: each
        for address, each in resources.items()
        if address.startswith("aws_cloudwatch_metric_alarm.")
    }


def assert_explained(resources: dict) -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text()
    for alarm in alarms_of(resources).values():
        assert alarm["alarm_actions"] == [resources["aws_sns_topic.alarms"]["arn"]]
        urgency, section = re.fullmatch(
            r"(page|ticket): .+: docs/runbook\.md, (\w+)\.", alarm["alarm_description"]
        ).groups()
        text = runbook.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
        assert text, section
        assert f"**{urgency}**" in text or section in {"Scale", "LatencyBudgetBurnsFast"}, alarm["alarm_name"]


def test_every_alarm_says_how_urgent_it_is_and_where_it_is_explained(production):
    alarms = alarms_of(production.resources)

    assert len(alarms) == 12
    assert_explained(production.resources)
    silent = {name for name, alarm in alarms.items() if alarm["treat_missing_data"] == "breaching"}
    assert {name.removeprefix(f"{LONGEST_NAME}-production-") for name in silent} == {
        "housekeeping-late",
        "no-healthy-target",
    }


def test_tasks_that_end_by_themselves_are_kept_and_counted_and_those_of_a_rollout_are_not(production):
    resources = production.resources
    service = resources["aws_ecs_service.web"]
    kept = resources["aws_cloudwatch_log_group.tasks_stopped"]
    group = kept["name"]
    metric = resources["aws_cloudwatch_log_metric_filter.tasks_stopped"]
    (transformation,) = metric["metric_transformation"]
    alarm = resources['aws_cloudwatch_metric_alarm.this["tasks_restarting"]']

    pattern = EventPattern.load(resources["aws_cloudwatch_event_rule.tasks_stopped"]["event_pattern"])

    def is_kept(**detail: str) -> bool:
        common = {"clusterArn": service["cluster"], "group": f"service:{service['name']}", "lastStatus": "STOPPED"}
        event = {"source": "aws.ecs", "detail-type": "ECS Task State Change", "detail": common | detail}
        return pattern.matches_event(event)

    assert is_kept(stopCode="EssentialContainerExited", stoppedReason="Essential container in task exited")
    assert is_kept(stopCode="ServiceSchedulerInitiated", stoppedReason="Task failed container health checks")
    assert is_kept(stopCode="TaskFailedToStart", stoppedReason="CannotPullContainerError")
    assert not is_kept(stopCode="ServiceSchedulerInitiated", stoppedReason="Scaling activity initiated by (deployment)")
    assert not is_kept(stopCode="EssentialContainerExited", lastStatus="RUNNING")
    assert not is_kept(stopCode="EssentialContainerExited", group="family:app-production-migrate")
    assert resources["aws_cloudwatch_event_target.tasks_stopped"]["arn"] == kept["arn"]
    assert group.startswith("/aws/events/")
    assert (metric["log_group_name"], metric["pattern"]) == (group, "")
    assert (transformation["namespace"], transformation["name"]) == (alarm["namespace"], alarm["metric_name"])
    # Two tasks that live 90 s end 20 times in 15 minutes.
    assert (alarm["statistic"], alarm["period"], alarm["threshold"]) == ("Sum", 15 * 60, 4)


def test_requests_that_pass_uncounted_are_an_alarm_by_the_line_that_says_so(production):
    pattern = production.resources["aws_cloudwatch_log_metric_filter.uncounted"]["pattern"]
    (beginning,) = re.fullmatch(r'\{ \$\.event = "(.+)\*" \}', pattern).groups()

    assert throttling.BROKEN.startswith(beginning)


def test_autoscaling_stays_within_the_connections(production):
    """As many tasks as autoscaling starts, doubled by a deployment, pass the application's own rule."""
    resources = production.resources
    target = Target.parse(production.output("deployment"))
    web = next(one for one in render("web.json", target, "-")["containerDefinitions"] if one["name"] == "web")
    given = {one["name"]: one["value"] for one in web["environment"]}
    scaled = resources["aws_appautoscaling_target.web"]
    policies = [resources[f"aws_appautoscaling_policy.{name}"] for name in ("cpu", "requests")]
    database = {one["name"]: one["value"] for one in resources["aws_db_parameter_group.this"]["parameter"]}

    def values(name: str) -> int:
        return int(given.get(name, KEYS[name].default))

    assert connections_fit(values) == ""
    assert (scaled["min_capacity"], scaled["max_capacity"]) == (target.tasks, values("WEB_REPLICAS") // 2)
    assert database["max_connections"] == given["DATABASE_MAX_CONNECTIONS"]
    kinds = [
        policy["target_tracking_scaling_policy_configuration"][0]["predefined_metric_specification"][0]
        for policy in policies
    ]
    assert [kind["predefined_metric_type"] for kind in kinds] == [
        "ECSServiceAverageCPUUtilization",
        "ALBRequestCountPerTarget",
    ]
    assert re.fullmatch(r"app/.+/targetgroup/.+", kinds[1]["resource_label"])


def test_tasks_that_do_not_fit_the_database_are_refused(production, network):
    variables = GITHUB | network | {"environment": "production", "name": LONGEST_NAME}

    line = production.refusal(**variables, max_tasks=8)
    assert "a deployment runs 2 x 8 tasks of 10 connections each, and 10 are reserved; there are 150." in line
    assert "Lower max_tasks, or raise database_connections" in line
    assert "max_tasks is less than tasks" in production.refusal(**variables, tasks=7)
    assert "database_connections is 300, and db.t4g.small has memory for 225" in production.refusal(
        **variables, database_connections=300
    )


@pytest.fixture(scope="module")
def with_replica(moto, account, network, tmp_path_factory):
    """An environment that gets a replica after it was made without one; the second value is the first output."""
    terraform = Terraform("environment", tmp_path_factory.mktemp("replica") / "ecs", moto.url)
    variables = GITHUB | network | {"environment": "staging", "name": LONGEST_NAME}
    terraform.apply(**variables)
    before = terraform.output("deployment")
    terraform.apply(**variables, replicas=1)
    return terraform, before


def test_a_replica_has_the_primarys_class_limits_and_network(with_replica):
    terraform, before = with_replica
    resources = terraform.resources
    primary, replica = (resources[f"aws_db_instance.{name}"] for name in ("this", "replica[0]"))
    target = Target.parse(terraform.output("deployment"))

    assert replica["replicate_source_db"] == primary["identifier"]
    for name in ("instance_class", "parameter_group_name", "vpc_security_group_ids", "storage_encrypted"):
        assert replica[name] == primary[name], name
    # The same for each server: connections_fit counts what one of them gets.
    (limit,) = [
        one for one in resources["aws_db_parameter_group.this"]["parameter"] if one["name"] == "max_connections"
    ]
    assert int(limit["value"]) == target.max_connections
    assert (target.replica_address, Target.parse(before).replica_address) == (replica["address"], "")
    assert len(alarms_of(resources)) == 12 + 2
    assert_explained(resources)
    for name in ("replica_lag", "replica_connections"):
        alarm = resources[f'aws_cloudwatch_metric_alarm.this["{name}"]']
        assert alarm["dimensions"] == {"DBInstanceIdentifier": replica["identifier"]}
    assert f"/aws/rds/instance/{replica['identifier']}/postgresql" in {
        each["name"] for address, each in resources.items() if address.startswith("aws_cloudwatch_log_group.")
    }


def test_with_a_replica_the_masters_password_is_ours_and_in_no_state(moto, with_replica):
    """RDS makes no replica of an instance whose master's password it manages."""
    terraform, before = with_replica
    resources = terraform.resources
    target = Target.parse(terraform.output("deployment"))
    text = aws_client(moto, "secretsmanager").get_secret_value(SecretId=target.master_secret)["SecretString"]
    login = json.loads(text)

    assert not resources["aws_db_instance.this"]["manage_master_user_password"]
    assert target.master_secret == resources["aws_secretsmanager_secret.master[0]"]["arn"]
    assert target.master_secret != Target.parse(before).master_secret
    assert login["username"] == resources["aws_db_instance.this"]["username"]
    assert re.fullmatch(r"[A-Za-z0-9]{41}", login["password"])
    for state in terraform.root.glob("*.tfstate*"):
        assert login["password"] not in state.read_text()
    assert target.master_secret in resources["aws_iam_role_policy.prepare_execution"]["policy"]


def test_more_replicas_than_the_application_asks_are_refused(with_replica, network):
    variables = GITHUB | network | {"environment": "staging", "name": LONGEST_NAME}

    assert "replicas is 0 or 1: the application asks one replica" in with_replica[0].refusal(**variables, replicas=2)


def test_the_cache_is_reached_by_the_tasks_alone_with_tls_and_a_password(production):
    resources = production.resources
    group = resources["aws_elasticache_replication_group.cache[0]"]
    tasks, cache = (resources[f"aws_security_group.{name}"]["id"] for name in ("tasks", "cache[0]"))
    rules = [
        each
        for address, each in resources.items()
        if "security_group_" in address and 6379 in (each.get("from_port"), each.get("to_port"))
    ]
    secret = Target.parse(production.output("deployment")).cache_secret
    url = resources["aws_secretsmanager_secret_version.cache[0]"]["secret_string"]

    assert {(rule["security_group_id"], rule["referenced_security_group_id"]) for rule in rules} == {
        (tasks, cache),
        (cache, tasks),
    }
    assert group["security_group_ids"] == [cache]
    assert group["transit_encryption_enabled"]
    assert group["at_rest_encryption_enabled"] == "true"
    assert (group["engine"], len(group["auth_token"])) == ("valkey", 64)
    assert url == f"rediss://:{group['auth_token']}@{group['primary_endpoint_address']}:6379/0"
    assert KEYS["REDIS_URL"].type.parse(url) == url
    assert secret in resources["aws_iam_role_policy.execution_cache[0]"]["policy"]


def test_the_waf_limits_an_address_before_the_balancer(production):
    resources = production.resources
    acl = resources["aws_wafv2_web_acl.this[0]"]
    association = resources["aws_wafv2_web_acl_association.this[0]"]
    (rule,) = acl["rule"]

    assert association["resource_arn"] == resources["aws_lb.this"]["arn"]
    assert association["web_acl_arn"] == acl["arn"]
    assert rule["statement"][0]["rate_based_statement"][0]["limit"] == 2000
    assert rule["action"][0]["block"][0]["custom_response"][0]["response_code"] == 429


def test_every_log_has_an_end(production):
    resources = production.resources
    groups = {
        each["name"]: each["retention_in_days"]
        for address, each in resources.items()
        if address.startswith("aws_cloudwatch_log_group.")
    }
    (log,) = resources["aws_lb.this"]["access_logs"]
    (rule,) = resources["aws_s3_bucket_lifecycle_configuration.access_logs"]["rule"]
    database = resources["aws_db_instance.this"]

    assert all(groups.values())
    exported = [
        f"/aws/rds/instance/{database['identifier']}/{name}" for name in database["enabled_cloudwatch_logs_exports"]
    ]
    assert set(exported) <= groups.keys()
    assert log["enabled"]
    assert log["bucket"] == resources["aws_s3_bucket.access_logs"]["bucket"]
    assert rule["expiration"][0]["days"] == 90


def test_the_load_balancer_alone_writes_its_access_log(production):
    resources = production.resources
    write, refuse = json.loads(resources["aws_s3_bucket_policy.access_logs"]["policy"])["Statement"]

    assert write["Principal"] == {"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}
    assert write["Action"] == "s3:PutObject"
    assert write["Resource"].startswith(f"{resources['aws_s3_bucket.access_logs']['arn']}/AWSLogs/")
    assert (refuse["Effect"], refuse["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    closed = resources["aws_s3_bucket_public_access_block.access_logs"]
    assert all(value for name, value in closed.items() if name.startswith(("block", "ignore", "restrict")))


def test_a_second_project_uses_the_accounts_provider(moto, account, tmp_path):
    second = Terraform("account", tmp_path / "ecs", moto.url)
    refused = second.run("apply", "-auto-approve", **GITHUB, region=aws.REGION, name="second")
    assert "EntityAlreadyExists" in refused.stderr

    second.apply(**GITHUB, region=aws.REGION, name="second", create_github_provider=False)

    (provider,) = json.loads(second.resources["aws_iam_role.publish"]["assume_role_policy"])["Statement"]
    assert provider["Principal"]["Federated"] == account.resources["aws_iam_openid_connect_provider.github[0]"]["arn"]


@pytest.mark.parametrize(
    ("github", "github_ids", "name"),
    [
        ("https://github.com/octo-org/octo-repo", "octo-org/octo-repo", "a-name-of-25-characters12"),
        ("octo-org@123456/octo-repo@456789", "123456", "My_app"),
    ],
)
def test_variables_are_refused_before_anything_is_made(account, github, github_ids, name):
    line = account.refusal(github=github, github_ids=github_ids, name=name, region=aws.REGION)

    assert "OWNER/NAME, for example octo-org/octo-repo: no URL, no ids" in line
    assert "Two numbers: gh api repos/OWNER/NAME --jq '\"\\(.owner.id)/\\(.id)\"' prints them." in line
    assert "3 to 24 characters" in line


def test_a_domain_is_refused_that_dns_cannot_have(production, network):
    variables = GITHUB | network | {"environment": "production", "domain": "api..example.org"}

    assert "A host name such as api.example.org" in production.refusal(**variables)
