"""Logins to the API and to the admin, and clients of the API, through Django's and Django REST framework's test clients."""

from django.test import Client
from rest_framework.test import APIClient

from tests.factories import PASSWORD

ADMIN_LOGIN = "/admin/login/"


def log_in(username, password=PASSWORD, **extra):
    return APIClient().post("/api/token/", {"username": username, "password": password}, **extra)


def log_in_to_admin(username, password=PASSWORD, **extra):
    """Return the response, and the client that has the session."""
    browser = Client()
    return browser.post(ADMIN_LOGIN, {"username": username, "password": password}, **extra), browser


def bearer(token):
    """Return a client that sends this token."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {token}")
    return client
