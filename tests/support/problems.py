"""Assertions about problem details (RFC 9457)."""


def assert_problem(response, status, code):
    """Assert that the response is this problem in the API's format, and return it."""
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert problem.keys() >= {"type", "title", "status", "detail", "code", "instance", "request_id"}
    assert response.headers["X-Request-ID"] == problem["request_id"]
    return problem
