"""The server of moto, with what Terraform needs and moto lacks: a scalable target's tags, a replication group's clusters."""

import inspect
import json
import sys
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.elasticache.models import ElastiCacheBackend, ReplicationGroup
from moto.server import main

create_group = ElastiCacheBackend.create_replication_group


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


ElastiCacheBackend.create_replication_group = create_replication_group
ApplicationAutoScalingResponse.list_tags_for_resource = list_tags_for_resource

if __name__ == "__main__":
    main(sys.argv[1:])
