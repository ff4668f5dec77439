"""Views in Django REST framework, as its tutorial writes them: serializers, an APIView, the ORM."""

import secrets
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.contrib.auth import authenticate
from django.http import HttpResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.generics import get_object_or_404
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.ledger.benchmarks.peers.django_bank import money
from tests.ledger.benchmarks.peers.django_bank.models import Account, Token, digest_of

Amount = partial(serializers.DecimalField, max_digits=15, decimal_places=2)


class MoneyInput(serializers.Serializer):
    amount = Amount(min_value=0)
    reference = serializers.CharField(required=False, default="", allow_blank=True, max_length=140)


class TransferInput(MoneyInput):
    destination = serializers.UUIDField()


class OwnEntryOutput(serializers.Serializer):
    sequence = serializers.IntegerField()
    amount = Amount()
    balance_after = Amount()


class MovementOutput(serializers.Serializer):
    id = serializers.UUIDField(source="movement.id")
    kind = serializers.CharField(source="movement.kind")
    status = serializers.CharField(default="posted")
    amount = Amount(source="movement.amount")
    currency = serializers.CharField(source="movement.currency")
    source = serializers.UUIDField(source="movement.source_id")
    destination = serializers.UUIDField(source="movement.destination_id")
    reference = serializers.CharField(source="movement.reference")
    reverses = serializers.UUIDField(default=None)
    created_at = serializers.DateTimeField(source="movement.created_at")
    entry = OwnEntryOutput(source="*")


class AccountOutput(serializers.ModelSerializer):
    balance = Amount()

    class Meta:
        model = Account
        fields = ["id", "name", "currency", "balance", "status", "version", "created_at"]


class LineOutput(serializers.Serializer):
    sequence = serializers.IntegerField()
    amount = Amount()
    balance_after = Amount()
    id = serializers.UUIDField(source="movement_id")
    kind = serializers.CharField(source="movement.kind")
    reference = serializers.CharField(source="movement.reference")
    created_at = serializers.DateTimeField()


class LogInInput(serializers.Serializer):
    username = serializers.CharField()
    password = serializers.CharField()


class WithdrawalsView(APIView):
    def post(self, request, account_id):
        body = MoneyInput(data=request.data)
        body.is_valid(raise_exception=True)
        return _posted(
            money.withdraw,
            owner=request.user,
            account_id=account_id,
            key=request.headers["Idempotency-Key"],
            variant=settings.VARIANT,
            **body.validated_data,
        )


class TransfersView(APIView):
    def post(self, request, account_id):
        body = TransferInput(data=request.data)
        body.is_valid(raise_exception=True)
        return _posted(
            money.transfer,
            owner=request.user,
            account_id=account_id,
            destination_id=body.validated_data.pop("destination"),
            key=request.headers["Idempotency-Key"],
            **body.validated_data,
        )


def _posted(move, **command):
    try:
        entry = move(**command)
    except money.InsufficientFundsError:
        return Response({"code": "insufficient_funds"}, status=422)
    except Account.DoesNotExist:
        return Response({"code": "not_found"}, status=404)
    return Response(MovementOutput(entry).data, status=201)


class AccountView(APIView):
    def get(self, request, account_id):
        return Response(AccountOutput(get_object_or_404(Account, pk=account_id, owner=request.user)).data)


class StatementView(APIView):
    def get(self, request, account_id):
        limit = int(request.query_params.get("limit", 50))
        cursor = request.query_params.get("cursor")
        entries = money.statement(
            owner=request.user, account_id=account_id, cursor=int(cursor) if cursor else None, limit=limit
        )
        lines, more = entries[:limit], entries[limit:]
        following = f"{request.build_absolute_uri(request.path)}?cursor={lines[-1].sequence}" if more else None
        return Response({"next": following, "previous": None, "results": LineOutput(lines, many=True).data})


class TokenView(APIView):
    permission_classes = [AllowAny]
    authentication_classes = []

    def post(self, request):
        body = LogInInput(data=request.data)
        body.is_valid(raise_exception=True)
        user = authenticate(**body.validated_data)
        if user is None:
            return Response({"code": "invalid_credentials"}, status=400)
        key, expires_at = secrets.token_urlsafe(32), timezone.now() + timedelta(hours=10)
        Token.objects.create(digest=digest_of(key), user=user, expires_at=expires_at)
        return Response({"token": key, "expires_at": expires_at})


def alive(_request):
    return HttpResponse("{}", content_type="application/json")
