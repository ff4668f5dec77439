"""New app: `make app NAME=invoices MODEL=Invoice`, Django's `startapp` with the templates of devtools/app_template.

Writes apps/NAME and tests/NAME, adds the app to INSTALLED_APPS and to the URLs, and generates the migration and
docs/openapi.yaml. The app is an owner's resource with a list, creation once per key, conditional updates and archiving.
Nothing is overwritten, so a work tree with changes is no obstacle. Needs no database.

Raises: DevtoolsError for a bad or taken name, and for a file whose line for a new app is missing; nothing is written then.
"""

# A command line tool: it prints, and chooses Django's settings.
# ruff: noqa: T201, TID251

import argparse
import builtins
import keyword
import os
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import django
from django.apps import apps
from django.core.management.templates import TemplateCommand
from django.urls import Resolver404, get_resolver, resolve
from django.utils.text import camel_case_to_spaces

from devtools.daemon import DevtoolsError
from devtools.repository import generate, python

TEMPLATE: Final = Path(__file__).resolve().parent / "app_template"
MAX_LENGTH: Final = 30
NAME: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MODEL: Final = re.compile(r"[A-Z][A-Za-z0-9]*")
# The line of an app behind which a new one's is written, by file.
ENTRIES: Final = {
    Path("config/settings/base.py"): ('    "apps.users",\n', '    "apps.{name}",\n'),
    Path("config/urls.py"): (
        '    path("api/v1/", include("apps.users.urls")),\n',
        '    path("api/v1/", include("apps.{name}.urls")),\n',
    ),
}


class NewApp:
    """The names of a new app in all their forms, and the files to write."""

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model
        self.singular = camel_case_to_spaces(model)
        self.variable = self.singular.replace(" ", "_")
        self.path = name.replace("_", "-")
        self.folders = {"app": Path("apps", name), "tests": Path("tests", name)}

    def refusals(self) -> Iterator[str]:
        """Yield why the names cannot be used, as sentences; each expects that there was none before it."""
        if not NAME.fullmatch(self.name) or len(self.name) > MAX_LENGTH:
            yield f"NAME has at most {MAX_LENGTH} small letters, digits and single underscores, as in purchase_orders."
        if not MODEL.fullmatch(self.model) or len(self.variable) > MAX_LENGTH:
            yield f"MODEL is a class of at most {MAX_LENGTH} letters and digits, as in PurchaseOrder."
        if self.name == self.variable:
            yield "NAME is the plural and MODEL the singular: their names differ, as in invoices and Invoice."
        if any(folder.exists() for folder in self.folders.values()) or find_spec(self.name):
            yield f"There is a folder in apps/ or tests/, or a Python package, of the name {self.name} already."
        if any(self.name == config.label for config in apps.get_app_configs()):
            yield f"There is an app of the name {self.name} already."
        if model := next((each for each in apps.get_models() if each.__name__.lower() == self.model.lower()), None):
            yield f"There is a model of the name {self.model} already, in {model._meta.app_config.name}."
        if taken := {self.name, self.variable, f"{self.variable}_archive"} & get_resolver().reverse_dict.keys():
            yield f"There is a URL of the name {taken.pop()} already."
        if is_served(f"/api/v1/{self.path}/"):
            yield f"/api/v1/{self.path}/ is served already."
        for word in (self.name, self.variable, self.model):
            if keyword.iskeyword(word) or hasattr(builtins, word) or word in names_in_templates():
                yield f"{word} is a name of Python or of the code that is to be written: take another one."

    def write(self) -> None:
        """Write the folders, the entries elsewhere and what is generated. Raises: DevtoolsError; nothing is written then."""
        for refusal in self.refusals():
            raise DevtoolsError(refusal)
        entries = {path: self.entry(path) for path in ENTRIES}
        self.render()
        for path, text in entries.items():
            path.write_text(text)
        # Without a database, whose history would be compared, Django warns.
        python("-W", "ignore", "manage.py", "makemigrations", "--no-header", self.name)
        # Ruff's configuration leaves migrations out, unless they are named.
        python("-m", "ruff", "format", "--quiet", *map(str, self.folders["app"].glob("migrations/0*.py")))
        generate()

    def render(self) -> None:
        """Write the folders from the templates, with sorted imports and formatted."""
        for kind, folder in self.folders.items():
            folder.mkdir()
            TemplateCommand().handle("app", self.name, str(folder), **self.options(kind))
        folders = [str(folder) for folder in self.folders.values()]
        python("-m", "ruff", "check", "--quiet", "--select", "I", "--fix-only", *folders)
        python("-m", "ruff", "format", "--quiet", *folders)

    def options(self, kind: str) -> dict[str, Any]:
        """Return the options of Django's command, which are also the variables of the templates."""
        return {
            "template": str(TEMPLATE / kind),
            "extensions": ["py"],
            "files": [],
            "verbosity": 1,
            "model": self.model,
            "singular": self.singular,
            "plural": self.name.replace("_", " "),
            "article": "an" if self.singular[0] in "aeio" else "a",
            "variable": self.variable,
            "path": self.path,
            "placeholder": f"{{{self.variable}}}",
            "width": max(len(self.name), len(self.variable) + len("_archive")),
        }

    def entry(self, path: Path) -> str:
        """Return the file's text with the app's line."""
        text = path.read_text()
        before, line = ENTRIES[path]
        if before not in text:
            raise DevtoolsError(f"{path} has no line {before.strip()} behind which the new app's could be written.")
        return text.replace(before, before + line.format(name=self.name), 1)


def names_in_templates() -> set[str]:
    """Return the names in the templates that a new app's could hide: all but those of attributes and methods."""
    text = "".join(path.read_text() for path in TEMPLATE.rglob("*.py-tpl"))
    others = r'""".*?"""|"[^"\n]*"|\{\{.*?\}\}|\.\w+|def \w+\(\s*self'
    return set(re.findall(r"\w+", re.sub(others, " ", text, flags=re.DOTALL)))


def is_served(path: str) -> bool:
    """Return whether a URL pattern other than the last, which matches everything, has this path."""
    try:
        return resolve(path).route != ""
    except Resolver404:
        return False


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make app",
        usage="make app NAME=<plural> MODEL=<Singular>",
        description="Make a Django app of an owner's resource, with its tests: NAME=invoices MODEL=Invoice.",
        epilog="Needs no database. docs/your-own-product.md explains the files line by line.",
    )
    parser.add_argument("name", help="The app's name: the plural in small letters, as in invoices or purchase_orders.")
    parser.add_argument("model", help="The model's name: the singular in capitals, as in Invoice or PurchaseOrder.")
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings.test")
    django.setup()
    app = NewApp(arguments.name, arguments.model)
    try:
        app.write()
    except DevtoolsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Made apps/{app.name}/ and tests/{app.name}/: {app.model} at /api/v1/{app.path}/.")
    print(f"Changed: {', '.join(map(str, ENTRIES))}, docs/openapi.yaml.")
    print(
        f"Next: make migrate, make test T=tests/{app.name}, make check; docs/your-own-product.md leads on from there."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
