"""The command line as a user meets it: help, errors in one line, exit codes as documented."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from slicebed import errors

REPOSITORY = Path(__file__).parents[3]
RUN = (sys.executable, "-c", "from slicebed.cli import main; main()")


def slicebed(*arguments, cwd=REPOSITORY, **kwargs):
    return subprocess.run([*RUN, *arguments], capture_output=True, text=True, cwd=cwd, check=False, **kwargs)


def test_exit_codes_in_the_docs_are_those_of_the_errors():
    text = (REPOSITORY / "docs" / "cli.md").read_text()
    documented = dict(re.findall(r"^\| (\d+) \| (\w+) \|", text, flags=re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__module__ == errors.__name__]
    assert {str(kind.exit_code): kind.__name__ for kind in kinds} == documented


def test_every_verb_is_in_the_docs():
    text = (REPOSITORY / "docs" / "cli.md").read_text()
    verbs = re.findall(r"^  (\w+)  ", slicebed("--help").stdout.split("Commands:")[1], flags=re.MULTILINE)
    assert len(verbs) > 5
    assert [verb for verb in verbs if f"slicebed {verb}" not in text] == []


def test_help_and_import_need_no_tensorflow():
    code = (
        "import sys; import slicebed, slicebed_agent, slicebed.cli; from slicebed.cli import app\n"
        "from typer.testing import CliRunner; assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([m for m in ('tensorflow', 'keras', 'pandas', 'matplotlib', 'ansible_runner') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "no-such-file.yml"], 2, "no-such-file.yml"),
        (["report", "no-such-campaign"], 2, "no such campaign"),
        (["deploy", "-i", "nowhere.yml"], 3, "nowhere.yml: no such inventory"),
        (["run", "experiments/dnn_slicing.yml", "--configuration", "9"], 2, "allowed"),
        (["run", "experiments/dnn_slicing.yml", "--cut", "14-15"], 2, "allowed"),
        (["lab", "ssh", "nobody"], None, "slicebed"),
    ],
)
def test_a_mistake_is_one_line_and_its_exit_code(tmp_path, arguments, code, says):
    results = ["--results", str(tmp_path)] if arguments[0] == "run" else []
    done = slicebed(*arguments, *results)
    assert done.returncode != 0
    assert code is None or done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("slicebed: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_outside_a_checkout_the_error_says_how_to_mend_it(tmp_path):
    done = slicebed("deploy", cwd=tmp_path, env={"PATH": "/usr/bin", "SLICEBED_HOME": str(tmp_path)})
    assert done.returncode == 3
    assert "SLICEBED_HOME" in done.stderr
