"""URLs of users, under /api/v1/; /api/token/ is in config.urls."""

from django.urls import path

from apps.users.views import MeView, PasswordView, UsersView

urlpatterns = [
    path("users/", UsersView.as_view(), name="users"),
    path("users/me/", MeView.as_view(), name="me"),
    path("users/me/password/", PasswordView.as_view(), name="password"),
]
