"""What must be true, 2: every component changes the key of exactly the layers that list it."""

from __future__ import annotations

from typing import Any

import pytest

from envid.app.measuring import MEASURES
from envid.identity import COMPONENTS, LAYERS, components_of, identify, key
from envid.values import component
from envid.values.digest import JSONValue
from identity_vectors import BASE, SDIST, compute, sha, with_

CHANGES: dict[str, dict[str, Any]] = {
    "python": {"target": "cp313-manylinux_2_28_x86_64"},
    "python-build": {"host": {**BASE["host"], "version": "3.12.8"}},
    "platform": {"target": "cp312-manylinux_2_28_aarch64", "filenames": []},
    "markers": {"markers": {"python_version": "3.12", "sys_platform": "linux", "os_name": "posix"}},
    "selection": {"extras": ["fast"]},
    "distributions": {"distributions": [["numpy", "2.1.1", "wheel", sha(5)], *BASE["distributions"][1:]]},
    "local": {"local": [["mine", "editable", sha(30), ""]]},
    "build": {"build": {"compiler": "clang 18.1.0", "sources": [["odfpy", "sdist", sha(4)]]}},
    "prefix": {"environment": "/elsewhere/.venv"},
    "generator": {"generator": {**BASE["generator"], "code": sha(31)}},
    "facts": {"facts": {**BASE["facts"], "otp": {"command": "27.0"}}},
    "salt": {"salt": "another"},
}
"""One change a component, to something that only this component tells."""

EVERYTHING = {"components": list(COMPONENTS)}


def test_no_component_is_forgotten() -> None:
    """Every component has a change here and a measure in the code; only `facts` is for a project's own layers."""
    assert list(CHANGES) == list(COMPONENTS) == list(MEASURES)
    listed = {name for names in LAYERS.values() for name in names}
    assert set(COMPONENTS) - listed == {"facts"}


def _identity(layer: str, change: dict[str, Any]) -> str:
    own = EVERYTHING if layer == "everything" else {}
    # Built from source, so that the compiler counts; the platform is then the host's, and the same in both.
    base = [SDIST] if change.keys() & {"build"} else []
    return key(compute(with_({"layer": layer, **own}, *base, change)))


@pytest.mark.parametrize("layer", [*LAYERS, "everything"])
@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_changes_exactly_the_layers_that_list_it(name: str, layer: str) -> None:
    """The cell of the table says whether the key changes, both ways."""
    base = [SDIST] if name == "build" else []
    own = EVERYTHING if layer == "everything" else {}
    before = key(compute(with_({"layer": layer, **own}, *base)))
    listed = layer == "everything" or name in LAYERS[layer]
    assert (_identity(layer, CHANGES[name]) != before) is listed


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_takes_its_own_components_only(layer: str) -> None:
    """A document holds the components of its layer, in the order of the table, and nothing beside them."""
    values: dict[str, JSONValue] = {name: component.salt(name) for name in COMPONENTS}
    found = identify(layer, components_of(layer), values)
    assert tuple(found.components) == LAYERS[layer] == tuple(name for name in COMPONENTS if name in LAYERS[layer])


def test_layers_do_not_share_keys() -> None:
    """Two layers of equal components have different keys: a cache of one thing is never taken for another."""
    one, two = (compute(with_({"layer": name, "components": ["salt"]})) for name in ("a", "b"))
    assert one.components == two.components
    assert key(one).rpartition("-")[2] != key(two).rpartition("-")[2]
