"""Lock of one deployment at a time per environment, and the schema's commit: two items in a DynamoDB table."""

import time
from dataclasses import dataclass
from typing import Any

from deploy.images import DeliveryError, aws_errors

KEY = {"id": {"S": "deployment"}}
SCHEMA_KEY = {"id": {"S": "schema"}}
# As long as a deployment job's credentials are valid. A holder that was killed loses the lock after it.
LEASE_S = 60 * 60
FREE = "attribute_not_exists(id) OR expires < :now"
# Whoever has taken the lock over is another holder.
MINE = "holder = :me"


@dataclass(kw_only=True)
class Lock:
    """The environment's lock, held under this holder's name."""

    # A DynamoDB client: its stubs are not installed.
    client: Any
    table: str
    holder: str

    def take(self) -> None:
        """Take the lock. Raises: DeliveryError with the holder's name, if another one holds it."""
        if not self._write(FREE):
            raise DeliveryError(f"{self._current()} is deploying: wait until it has ended, or --take-over")

    def take_over(self) -> None:
        """Take the lock, whoever holds it: the other deployment stops before its next change."""
        self._write("")

    def renew(self) -> None:
        """Extend the lock. Raises: DeliveryError if another one took it over."""
        if not self._write(MINE):
            raise DeliveryError(f"{self._current()} took the lock over, so this deployment stops")

    def release(self) -> None:
        """Release the lock, unless another one took it over."""
        with aws_errors("releasing the lock"):
            try:
                self.client.delete_item(
                    TableName=self.table,
                    Key=KEY,
                    ConditionExpression=MINE,
                    ExpressionAttributeValues={":me": {"S": self.holder}},
                )
            except self.client.exceptions.ConditionalCheckFailedException:
                return

    def _write(self, condition: str) -> bool:
        """Write the item on a condition; return whether the condition held."""
        now = int(time.time())
        values = {":now": {"N": str(now)}} if condition == FREE else {":me": {"S": self.holder}}
        conditional = {"ConditionExpression": condition, "ExpressionAttributeValues": values} if condition else {}
        item = KEY | {"holder": {"S": self.holder}, "expires": {"N": str(now + LEASE_S)}}
        with aws_errors("writing the lock"):
            try:
                self.client.put_item(TableName=self.table, Item=item, **conditional)
            except self.client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _current(self) -> str:
        with aws_errors("reading the lock"):
            item = self.client.get_item(TableName=self.table, Key=KEY, ConsistentRead=True).get("Item", {})
        return str(item.get("holder", {}).get("S", "nobody"))


@dataclass(kw_only=True)
class Schema:
    """The commit whose migrations were started last: the schema is at most as new."""

    client: Any
    table: str

    def write(self, commit: str) -> None:
        """Note that a commit's migrations start."""
        with aws_errors("noting the schema's commit"):
            self.client.put_item(TableName=self.table, Item=SCHEMA_KEY | {"commit": {"S": commit}})

    def read(self) -> str:
        """Return the commit, or nothing before the first migration."""
        with aws_errors("reading the schema's commit"):
            item = self.client.get_item(TableName=self.table, Key=SCHEMA_KEY, ConsistentRead=True).get("Item", {})
        return str(item.get("commit", {}).get("S", ""))
