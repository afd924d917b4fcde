"""This environment less TensorFlow: what `make setup` installs on a control machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

_REPOSITORY = Path(__file__).parents[2]
_OPENING = """
import json, sys
from pathlib import Path
from slicebed_agent.model.source import ModelSource
from slicebed.split.obtain import obtain_model
from slicebed.testbed.image import ImageFacts
from slicebed_agent.errors import OneLineError

said = []
argument, reference = json.loads(sys.argv[1])
image = ImageFacts(reference, "", "", "", "") if reference else None
try:
    opened = obtain_model(ModelSource(argument), image=image, say=said.append)
except OneLineError as error:
    answer = {"error": str(error), "kind": type(error).__name__}
else:
    answer = {"name": opened.name, "graph_sha256": opened.frozen.graph_sha256(), "path": str(opened.frozen.path)}
imported = [name for name in ("tensorflow", "keras") if name in sys.modules]
print(json.dumps({**answer, "said": said, "imported": imported}))
"""


class WithoutTensorflow:
    """A folder of links to every installed package but TensorFlow and Keras, and processes that see it alone."""

    def __init__(self, folder):
        self._packages, self._cache = folder / "packages", folder / "cache"
        self._packages.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            if not path.name.lower().startswith(("tensorflow", "keras")):
                (self._packages / path.name).symlink_to(path)

    @property
    def models(self):
        """Where its frozen models are kept."""
        return self._cache / "slicebed" / "models"

    def obtain(self, argument, reference=None, **environment):
        """Obtain a model in a process of its own; what became of it."""
        paths = [self._packages, _REPOSITORY / "agent", _REPOSITORY / "toolkit"]
        done = subprocess.run(
            [sys.executable, "-S", "-c", textwrap.dedent(_OPENING), json.dumps([str(argument), reference])],
            env=os.environ
            | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "XDG_CACHE_HOME": str(self._cache)}
            | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
