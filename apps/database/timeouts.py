"""Time limits that the client keeps for a database connection, in seconds.

They stand between the server's own limits and those of gunicorn and the proxy: LOCK_TIMEOUT < STATEMENT_TIMEOUT <
RESPONSE_TIMEOUT_S < WORKER_TIMEOUT <= proxy_read_timeout. The innermost limit ends the work, because its error names the
reason. `config.keys` checks this order while the process starts, so this module imports nothing.
"""

from typing import Final

# Longer than statement_timeout: a server that is only slow returns its own error first.
RESPONSE_TIMEOUT_S: Final = 6.0
# A replica is an aid: the primary answers soon if it does not.
REPLICA_STATEMENT_TIMEOUT_S: Final = 1.0
REPLICA_RESPONSE_TIMEOUT_S: Final = 1.5
# The check of an idle connection at the start of a request.
HEALTH_CHECK_TIMEOUT_S: Final = 2.0
