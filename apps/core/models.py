from typing import ClassVar

from django.db import models


class HousekeepingRun(models.Model):
    """The times at which one part of `manage.py housekeeping` last succeeded and last failed."""

    class Part(models.TextChoices):
        CLEANUP = "cleanup"
        VERIFICATION = "verification"

    part = models.CharField(max_length=32, primary_key=True, choices=Part)
    succeeded_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(succeeded_at__isnull=False) | models.Q(failed_at__isnull=False),
                name="a_housekeeping_run_has_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.part}: succeeded at {self.succeeded_at}, failed at {self.failed_at}"
