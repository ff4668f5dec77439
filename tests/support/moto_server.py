"""Moto's server, with what Terraform needs and it lacks: tags of scalable targets, clusters of groups, ids of databases."""

import inspect
import json
import sys
import uuid
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.elasticache.models import ElastiCacheBackend, ReplicationGroup
from moto.rds.models import DBInstance, RDSBackend
from moto.server import main

create_group = ElastiCacheBackend.create_replication_group
create_instance = DBInstance.__init__
create_replica = RDSBackend.create_db_instance_read_replica


def instance_with_an_id_of_its_own(instance: DBInstance, *given: Any, **named: Any) -> None:
    create_instance(instance, *given, **named)
    # Terraform finds an instance by this, and moto's is the same for all.
    instance.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"


def replica_with_an_id_of_its_own(backend: RDSBackend, given: dict[str, Any]) -> DBInstance:
    replica = create_replica(backend, given)
    # It is a copy of the primary.
    replica.dbi_resource_id = f"db-{uuid.uuid4().hex[:26].upper()}"
    return replica


def create_replication_group(backend: ElastiCacheBackend, **given: Any) -> ReplicationGroup:
    group = create_group(backend, **given)
    names = inspect.signature(backend.create_cache_cluster).parameters
    for member in group.member_clusters:
        own = {name: given.get(name) for name in names} | {"cache_cluster_id": member, "num_cache_nodes": 1}
        cluster = backend.create_cache_cluster(**own)
        cluster.at_rest_encryption_enabled = group.at_rest_encryption_enabled
    return group


def list_tags_for_resource(_response: Any) -> str:
    return json.dumps({"Tags": {}})


def tag_resource(_response: Any) -> str:
    return "{}"


DBInstance.__init__ = instance_with_an_id_of_its_own  # type: ignore[method-assign]
RDSBackend.create_db_instance_read_replica = replica_with_an_id_of_its_own  # type: ignore[method-assign]
ElastiCacheBackend.create_replication_group = create_replication_group
ApplicationAutoScalingResponse.list_tags_for_resource = list_tags_for_resource
# Asked for by a second apply.
ApplicationAutoScalingResponse.tag_resource = tag_resource

if __name__ == "__main__":
    main(sys.argv[1:])
