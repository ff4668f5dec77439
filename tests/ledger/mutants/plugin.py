"""pytest plugin that runs the tests against a mutant: `python -m pytest -p tests.ledger.mutants.plugin --mutant=NAME`."""

import sys
from collections.abc import Generator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

import hypothesis
import pytest

from tests.ledger.mutants import MUTANTS, Mutant, NotApplicableError

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


class MutatedLoader(SourceFileLoader):
    """Compiles a module from the mutant's source; bytecode is neither read nor written."""

    mutant: Mutant

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.mutant.source_of(fullname), self.path, "exec", dont_inherit=True)


class MutatedFinder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        if fullname not in self.mutant.modules or spec is None:
            return None
        spec.loader = MutatedLoader(fullname, spec.origin)
        spec.loader.mutant = self.mutant
        return spec


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutant", choices=sorted(BY_NAME), help="The mutant to test.")


# A wrapper, so that it comes before pytest-django imports the applications.
@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    if mutant := _chosen(early_config):
        try:
            for module in mutant.modules:
                assert module not in sys.modules, f"{module} was imported before it could be changed"
                mutant.source_of(module)
        except NotApplicableError as error:
            raise pytest.UsageError(str(error)) from error
        sys.meta_path.insert(0, MutatedFinder(mutant))
        # One failure is enough: it need not be minimal, and failures of other mutants must not be replayed.
        hypothesis.settings.register_profile("mutant", phases=[hypothesis.Phase.generate], database=None)
        hypothesis.settings.load_profile("mutant")
    return (yield)


@pytest.fixture(scope="session", autouse=True)
def _mutated_schema(request: pytest.FixtureRequest, django_db_setup, django_db_blocker) -> None:
    from django.db import DatabaseError, connection

    mutant = _chosen(request.config)
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        for statement in mutant.sql if mutant else ():
            try:
                cursor.execute(statement)
            except DatabaseError as error:
                pytest.exit(f"{mutant.name}: {statement}: {error}", returncode=pytest.ExitCode.USAGE_ERROR)


def _chosen(config: pytest.Config) -> Mutant | None:
    return BY_NAME.get(config.known_args_namespace.mutant)
