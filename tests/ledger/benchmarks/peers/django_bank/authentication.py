from django.utils import timezone
from rest_framework.authentication import TokenAuthentication
from rest_framework.exceptions import AuthenticationFailed

from tests.ledger.benchmarks.peers.django_bank.models import Token, digest_of


class HashedTokenAuthentication(TokenAuthentication):
    """DRF's, with the digest in the table and an end to each token."""

    def authenticate_credentials(self, key):
        try:
            token = Token.objects.select_related("user").get(digest=digest_of(key), expires_at__gt=timezone.now())
        except Token.DoesNotExist:
            raise AuthenticationFailed from None
        return token.user, token
