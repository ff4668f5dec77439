"""Moto's server, with what Terraform reads back and moto does not keep, so that a second plan changes nothing.

Kept here: the ids of databases and their Performance Insights, who set a parameter, clusters of replication groups, tags of
scalable targets, and two settings of an ECS service.
"""

import inspect
import json
import sys
import uuid
from collections.abc import Iterable
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.responses import ActionResult
from moto.ecs.responses import EC2ContainerServiceResponse
from moto.elasticache.models import ElastiCacheBackend, ReplicationGroup
from moto.rds.models import DBInstance, DBParameterGroup, RDSBackend
from moto.server import main

create_group = ElastiCacheBackend.create_replication_group
create_instance = DBInstance.__init__
create_replica = RDSBackend.create_db_instance_read_replica
create_service = EC2ContainerServiceResponse.create_service
register_target = ApplicationAutoScalingResponse.register_scalable_target
update_parameters = DBParameterGroup.update_parameters
target_tags: dict[str, dict[str, str]] = {}


def instance_with_an_id_of_its_own(instance: Any, *given: Any, **named: Any) -> None:
    create_instance(instance, *given, **named)
    # Terraform finds an instance by this, and moto's is the same for all.
    instance.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"
    instance.performance_insights_enabled = named.get("enable_performance_insights", False)


def replica_with_an_id_of_its_own(backend: RDSBackend, given: dict[str, Any]) -> DBInstance:
    replica = create_replica(backend, given)
    # It is a copy of the primary.
    replica.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"
    return replica


def update_parameters_of_the_user(group: DBParameterGroup, parameters: Iterable[dict[str, Any]]) -> None:
    update_parameters(group, [{"Source": "user"} | parameter for parameter in parameters])


def create_replication_group(backend: ElastiCacheBackend, **given: Any) -> ReplicationGroup:
    # moto forgets the number of a group that has no shards.
    group = create_group(backend, **given | {"replicas_per_node_group": (given["num_cache_clusters"] or 1) - 1})
    names = inspect.signature(backend.create_cache_cluster).parameters
    for member in group.member_clusters:
        own = {name: given.get(name) for name in names} | {"cache_cluster_id": member, "num_cache_nodes": 1}
        cluster: Any = backend.create_cache_cluster(**own)
        cluster.at_rest_encryption_enabled = group.at_rest_encryption_enabled
        cluster.security_groups = [{"SecurityGroupId": each, "Status": "active"} for each in cluster.security_group_ids]
    return group


def create_service_with_its_settings(response: Any) -> ActionResult:
    answer = create_service(response)
    service: Any = answer.result["service"]  # type: ignore[index]
    service.health_check_grace_period_seconds = response._get_int_param("healthCheckGracePeriodSeconds")
    service.availability_zone_rebalancing = response._get_param("availabilityZoneRebalancing") or "DISABLED"
    return answer


def register_target_with_its_tags(response: Any) -> str:
    answer = register_target(response)
    arn = json.loads(answer)["ScalableTargetARN"]
    target_tags[arn] = target_tags.get(arn, {}) | (response._get_param("Tags") or {})
    return answer


def list_tags_for_resource(response: Any) -> str:
    return json.dumps({"Tags": target_tags.get(response._get_param("ResourceARN"), {})})


DBInstance.__init__ = instance_with_an_id_of_its_own  # type: ignore[method-assign]
RDSBackend.create_db_instance_read_replica = replica_with_an_id_of_its_own  # type: ignore[method-assign]
DBParameterGroup.update_parameters = update_parameters_of_the_user
ElastiCacheBackend.create_replication_group = create_replication_group
EC2ContainerServiceResponse.create_service = create_service_with_its_settings
ApplicationAutoScalingResponse.register_scalable_target = register_target_with_its_tags
ApplicationAutoScalingResponse.list_tags_for_resource = list_tags_for_resource

if __name__ == "__main__":
    main(sys.argv[1:])
