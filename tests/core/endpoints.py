"""Operations of the core: the pages of the schema."""

from tests.support.operations import AppOperations

APP = AppOperations(
    access="""
             owner other anonymous revoked expired deactivated staff session
schema      GET      200   200   200       200     200     200         200   200
swagger-ui  GET      200   200   200       200     200     200         200   200
"""
)
