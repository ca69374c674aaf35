"""The offline verdict on a lock: fresh, stale, undecidable, and every reason."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from envid.lock.freshness import Verdict, direction, judge, unsatisfied
from envid.lock.pylock import parse
from envid.lock.write import environments_for, write
from envid.values.artifact import Artifact, Lock, LockedDistribution, NormalizedName, Sha256
from envid.values.finding import CODES
from envid.values.inputs import canonical_inputs
from envid.values.intent import parse_intent
from envid.values.requirement import canonical_requirement, flatten

PROJECT = """\
[project]
name = "demo"
requires-python = ">=3.11"
dependencies = ["numpy>=1.20,<3", "requests[socks]", "colorama>=0.4; sys_platform == 'win32'"]
[project.optional-dependencies]
cli = ["click>=8"]
[dependency-groups]
test = ["pytest>=8"]
[tool.uv]
constraint-dependencies = ["idna<4"]
override-dependencies = ["attrs==25.0"]
prerelease = "allow"
[tool.uv.sources]
torch = { index = "extra" }
[[tool.uv.index]]
name = "extra"
url = "https://extra.example/simple"
explicit = true
[tool.envid]
targets = ["cp312-manylinux_2_28_x86_64", "cp311-win_amd64"]
[tool.envid.lock]
extras = ["cli"]
groups = ["test"]
allow-sdist = ["odfpy"]
exclude-newer = "7 days"
indexes = ["main=https://index.example/simple", "second=https://second.example/simple"]
"""
LOCKED = {"numpy": "2.0.1", "requests": "2.32.0", "click": "8.1.0", "pytest": "8.3.0", "idna": "3.10"}


def wheel(name: str, version: str) -> Artifact:
    return Artifact(
        kind="wheel", filename=f"{name}-{version}-py3-none-any.whl", sha256=Sha256(f"{len(name):x}" * 64),
        url=f"https://index.example/{name}-{version}-py3-none-any.whl",
    )  # fmt: skip


def entry(name: str, version: str, marker: str | None = None) -> LockedDistribution:
    return LockedDistribution(name=NormalizedName(name), version=version, marker=marker, wheels=(wheel(name, version),))


def locked(pyproject: str, *, inputs: bool = True, extra: tuple[LockedDistribution, ...] = ()) -> bytes:
    """Return the lock that envid would write for ``pyproject``, with the versions of LOCKED."""
    intent = parse_intent(pyproject.encode())
    targets = intent.settings.targets
    entries = [entry(name, version) for name, version in LOCKED.items()]
    entries.append(entry("colorama", "0.4.6", "sys_platform == 'win32'"))
    lock = Lock(
        created_by="envid",
        distributions=(*entries, *extra),
        requires_python=intent.requires_python,
        environments=environments_for(targets) if targets else (),
        inputs=canonical_inputs(intent, intent.lock_settings("default")) if inputs else None,
    )
    return write(lock, targets=targets)


def verdict(data: bytes, pyproject: str) -> Verdict:
    intent = parse_intent(pyproject.encode())
    settings = intent.lock_settings("default")
    return judge(
        parse(data, path="pylock.toml"), data,
        inputs=canonical_inputs(intent, settings), asked=flatten(intent, settings), targets=intent.settings.targets,
    )  # fmt: skip


def changed(old: str, new: str, *, base: str = PROJECT) -> Verdict:
    """Return the verdict on the lock of ``base`` after ``old`` in it became ``new``."""
    assert base.count(old) == 1, old
    return verdict(locked(base), base.replace(old, new))


def test_equal_inputs_are_fresh() -> None:
    """A lock answers the project that it was made for, without a word."""
    assert verdict(locked(PROJECT), PROJECT) == Verdict(state="fresh")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "demo"', 'name = "demo"  # hello\nversion = "2"'),
        ('"numpy>=1.20,<3", "requests[socks]"', '"Requests [SOCKS]", "NumPy <3.0, >= 1.20.0"'),
        ("sys_platform == 'win32'", 'sys_platform==\\"win32\\"'),
        ('>=3.11"', '>= 3.11.0"'),
        ('["cp312-manylinux_2_28_x86_64", "cp311-win_amd64"]', '["cp311-win_amd64", "cp312-manylinux_2_28_x86_64"]'),
        ('"odfpy"', '"OdfPy"'),
        ("https://index.example/simple", "https://mirror.example/simple"),
        ("https://extra.example/simple", "https://mirror.example/simple"),
        ('["idna<4"]', '[\n  # not four\n  "IDNA < 4.0",\n]'),
    ],
)
def test_spelling_order_comments_and_mirrors_do_not_matter(old: str, new: str) -> None:
    """The verdict is about meaning."""
    if "\\" in new:
        # The marker stands in a basic string of TOML.
        assert changed(f"; {old}", f"; {new}") == Verdict(state="fresh")
        return
    assert changed(old, new) == Verdict(state="fresh")


CHANGES = [
    ('"requests[socks]"', '"requests[socks]", "flask>=3"', "flask", "requirement flask was added: `flask>=3`"),
    ('"requests[socks]", ', "", "requests", "requirement requests was removed"),
    ('"requests[socks]"', '"requests"', "requests", "changed from `requests[socks]` to `requests`"),
    ("sys_platform == 'win32'", "os_name == 'nt'", "colorama", "colorama changed from"),
    ("numpy>=1.20,<3", "numpy>=2.1,<3", "numpy", "narrowed from `numpy<3,>=1.20` to `numpy<3,>=2.1`; 2.0.1 is locked"),
    ("numpy>=1.20,<3", "numpy<2", "numpy", "changed from"),
    ("numpy>=1.20,<3", "numpy @ https://host.example/numpy-2.0.1.zip", "numpy", "numpy was changed from"),
    ("idna<4", "idna<5", "idna", "constraint idna was widened from `idna<4` to `idna<5`"),
    ("idna<4", "idna<3.5", "idna", "constraint idna was narrowed"),
    ("attrs==25.0", "attrs==25.1", "attrs", "override attrs was changed"),
    ('requires-python = ">=3.11"', 'requires-python = ">=3.12"', "requires-python", "from >=3.11 to >=3.12"),
    ('requires-python = ">=3.11"', "", "requires-python", "requires-python was removed"),
    (', "cp311-win_amd64"', "", "cp311-win_amd64", "target cp311-win_amd64 was removed"),
    (', "cp311-win_amd64"', ', "cp311-win_amd64", "cp313-win32"', "cp313-win32", "target cp313-win32 was added"),
    ('["odfpy"]', '["odfpy", "docopt"]', "docopt", "permitted sdist docopt was added"),
    ('"7 days"', '"8 days"', "exclude-newer", "lock.exclude-newer changed from 7 days to 8 days"),
    ('exclude-newer = "7 days"', "", "exclude-newer", "exclude-newer was removed"),
    ('groups = ["test"]', 'groups = ["test"]\nneutral = true', "neutral", "lock.neutral changed from false to true"),
    ('groups = ["test"]', 'groups = ["test"]\nresolver = "pip-tools"', "resolver", "from uv to pip-tools"),
    ("second=https", "third=https", "third", "index third was added"),
    ("explicit = true", "", "extra", "index extra was added"),
    ('prerelease = "allow"', 'prerelease = "never"', "prerelease", "uv setting prerelease changed"),
    ('{ index = "extra" }', '{ index = "main" }', "torch", "the source of torch changed"),
    ('torch = { index = "extra" }', "", "torch", "the source of torch was removed"),
    ('extras = ["cli"]', "", "cli", "the extra cli was removed"),
    ('groups = ["test"]', "", "test", "the group test was removed"),
]


@pytest.mark.parametrize(("old", "new", "subject", "message"), CHANGES)
def test_every_changed_input_is_named(old: str, new: str, subject: str, message: str) -> None:
    """Whatever changes an input makes the lock stale and is named with what it was and what it is."""
    found = changed(old, new)
    assert found.state == "stale"
    assert [item for item in found.findings if item.subject == subject and message in item.message], found.findings
    assert {item.code for item in found.findings} == {"lock.stale"}
    assert all(item.hint for item in found.findings)


def test_the_order_of_indexes_matters() -> None:
    """The first index wins, so their order is an input."""
    swapped = '"second=https://second.example/simple", "main=https://index.example/simple"'
    found = changed('"main=https://index.example/simple", "second=https://second.example/simple"', swapped)
    assert found.state == "stale"
    one, two = (f'[[tool.uv.index]]\nname = "{name}"\nurl = "https://host.example"\n' for name in "ab")
    (finding,) = verdict(locked(PROJECT + one + two), PROJECT + two + one).findings
    assert finding.message == "the order of indexes changed"


def test_two_changes_are_two_findings() -> None:
    """No reason hides another."""
    both = PROJECT.replace('"requests[socks]", ', "").replace('"7 days"', '"8 days"')
    assert [item.subject for item in verdict(locked(PROJECT), both).findings] == ["exclude-newer", "requests"]


@pytest.mark.parametrize(
    ("new", "word"),
    [
        ("numpy>=2,<3", "narrowed"),
        ("numpy==2.0.1", "narrowed"),
        ("numpy>=1.20", "widened"),
        ("numpy", "widened"),
        ("numpy>=1.21,<4", "changed"),
        ("numpy===2.0.1", "narrowed"),
    ],
)
def test_a_range_that_the_lock_still_satisfies_is_compatible(new: str, word: str) -> None:
    """A narrowed or widened range with every locked version in it leaves the lock fresh, and is told."""
    found = changed("numpy>=1.20,<3", new)
    assert found.state == "fresh"
    (finding,) = found.findings
    assert (finding.code, finding.severity, finding.subject) == ("lock.compatible", "info", "numpy")
    assert f"was {word} from" in finding.message
    assert "2.0.1" in finding.message


def test_a_range_counts_only_where_its_marker_holds() -> None:
    """What is locked for Windows is held to the requirement for Windows, and nothing else is."""
    assert changed("colorama>=0.4;", "colorama>=0.4.5;").state == "fresh"
    assert changed("colorama>=0.4;", "colorama>=0.5;").state == "stale"


def test_several_requirements_on_one_name_count_together() -> None:
    """A bound that moves from one requirement to another of the same name changes nothing."""
    data = locked(PROJECT)
    split = PROJECT.replace('"numpy>=1.20,<3"', '"numpy>=1.20", "numpy<3"')
    assert verdict(data, split) == Verdict(state="fresh")
    assert verdict(locked(split), split.replace('"numpy>=1.20", ', "")).findings[0].code == "lock.compatible"


@given(st.sampled_from(["", ">=1", ">=2.0", "<2", "==2.0.1", "~=2.0", "!=2.0.1", ">=1,<3"]), st.data())
def test_compatible_never_means_a_version_outside_the_range(old: str, data: st.DataObject) -> None:
    """Whatever the ranges were, fresh holds exactly when the locked version is in the new one."""
    new = data.draw(st.sampled_from(["", ">1.5", ">=2.0.1", "<2.0.1", "==2.*", "~=2.0.0", "!=2.0.1", "<9"]))
    before = f'[project]\nname = "d"\ndependencies = ["numpy{old}"]\n'
    found = changed(f"numpy{old}", f"numpy{new}", base=before)
    inside = SpecifierSet(new).contains("2.0.1") or SpecifierSet(old) == SpecifierSet(new)
    assert found.state == ("fresh" if inside else "stale")


def test_without_ranges_in_packaging_the_verdict_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older packaging only costs the word: narrowed and widened are both called changed."""
    assert direction(">=1", ">=2") == "narrowed"
    monkeypatch.delattr(SpecifierSet, "to_range")
    assert direction(">=1", ">=2") == "changed"
    assert changed("numpy>=1.20,<3", "numpy>=2,<3").state == "fresh"
    assert changed("numpy>=1.20,<3", "numpy>=2.1,<3").state == "stale"


# --- edits and missing tables ----------------------------------------------------------------


def test_an_edit_by_hand_is_seen() -> None:
    """Any change of the file after envid wrote it is `lock.edited`, whatever the inputs say."""
    data = locked(PROJECT).replace(b"5555555555", b"6555555555", 1)
    found = verdict(data, PROJECT)
    assert found.state == "stale"
    assert [item.code for item in found.findings] == ["lock.edited"]


def test_a_lock_without_digest_says_what_it_cannot_tell() -> None:
    """A disposable digest that is gone weakens the verdict, and the verdict says so."""
    data = b"".join(line for line in locked(PROJECT).splitlines(keepends=True) if not line.startswith(b"digest"))
    found = verdict(data, PROJECT)
    assert found.state == "fresh"
    assert [(item.code, item.severity) for item in found.findings] == [("lock.undecidable", "warning")]


def test_without_recorded_inputs_nothing_is_fresh() -> None:
    """A lock that does not say what it was made for is undecidable at best."""
    found = verdict(locked(PROJECT, inputs=False), PROJECT)
    assert found.state == "undecidable"
    assert [(item.code, item.severity) for item in found.findings] == [("lock.undecidable", "error")]
    assert "[tool.envid.inputs]" in found.findings[0].message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("numpy>=1.20,<3", "numpy>=3", "2.0.1 is locked on cp311-win_amd64"),
        ('"requests[socks]"', '"requests[socks]", "flask"', "nothing is locked for flask"),
        ("colorama>=0.4;", "colorama>=1;", "0.4.6 is locked on cp311-win_amd64"),
    ],
)
def test_without_recorded_inputs_a_violated_requirement_is_stale(old: str, new: str, message: str) -> None:
    """The direct requirements are held against the locked versions, target by target."""
    found = verdict(locked(PROJECT, inputs=False), PROJECT.replace(old, new))
    assert found.state == "stale"
    assert message in found.findings[0].message


def test_an_overridden_requirement_is_not_held_against_the_lock() -> None:
    """An override is stronger than a requirement: a version outside the range is what was asked for."""
    project = PROJECT.replace("numpy>=1.20,<3", "numpy<2").replace("attrs==25.0", "numpy==2.0.1")
    assert verdict(locked(project, inputs=False), project).state == "undecidable"


def test_a_lock_that_cannot_serve_a_target_is_stale() -> None:
    """A declared target that nothing can be selected for is a reason, not a crash."""
    two = locked(PROJECT, inputs=False)
    more = PROJECT.replace('"cp311-win_amd64"', '"cp311-win_amd64", "cp313-macosx_14_0_arm64"')
    found = verdict(two, more)
    assert found.state == "stale"
    assert "cannot serve cp313-macosx_14_0_arm64" in found.findings[0].message


def test_requirements_without_version_to_compare() -> None:
    """A source without version satisfies a requirement without range, and no other."""
    lock = Lock(created_by="x", distributions=(LockedDistribution(name=NormalizedName("a"), version=None),))
    assert unsatisfied(lock, [canonical_requirement("a")], ()) == ()
    assert unsatisfied(lock, [canonical_requirement("a @ https://host.example/a.zip")], ()) == ()
    assert "a source without version" in unsatisfied(lock, [canonical_requirement("a>=1")], ())[0].message


def test_without_targets_every_entry_of_the_name_counts() -> None:
    """Where no targets are declared, a requirement without marker must hold for all forks of a name."""
    forks = (entry("a", "1", "os_name == 'nt'"), entry("a", "2", "os_name != 'nt'"))
    lock = Lock(created_by="x", distributions=forks)
    assert unsatisfied(lock, [canonical_requirement("a>=1")], ()) == ()
    assert "1 is locked" in unsatisfied(lock, [canonical_requirement("a>=2")], ())[0].message
    assert unsatisfied(lock, [canonical_requirement("a>=2; os_name != 'nt'")], ()) == ()
    assert unsatisfied(lock, [canonical_requirement("a>=3; os_name != 'nt'")], ())
    assert unsatisfied(lock, [canonical_requirement("b")], ())
    assert unsatisfied(lock, [canonical_requirement("b; os_name == 'nt'")], ()) == ()


def test_a_marker_that_a_target_leaves_open_is_given_the_benefit() -> None:
    """A requirement for some patch releases may be absent for a short target, but not be at a wrong version."""
    intent = parse_intent(PROJECT.encode())
    lock = parse(locked(PROJECT), path="pylock.toml")
    asked = [canonical_requirement("gone; python_full_version >= '3.12.4'")]
    assert unsatisfied(lock, asked, intent.settings.targets) == ()
    asked = [canonical_requirement("numpy>=9; python_full_version >= '3.12.4'")]
    assert unsatisfied(lock, asked, intent.settings.targets)


def test_a_lock_that_depends_on_the_patch_release_is_held_to_all_it_may_take() -> None:
    """Where a short target leaves an entry open, every version that it might take has to be in the range."""
    forks = (
        entry("tomli", "1.0", "python_full_version < '3.12.4'"),
        entry("tomli", "2.0", "python_full_version >= '3.12.4'"),
    )
    project = PROJECT.replace('"requests[socks]"', '"requests[socks]", "tomli>=0.5"')
    data = locked(project, extra=forks)
    assert verdict(data, project).state == "fresh"
    assert verdict(data, project.replace("tomli>=0.5", "tomli>=0.6")).state == "fresh"
    found = verdict(data, project.replace("tomli>=0.5", "tomli>=1.5"))
    assert found.state == "stale"
    assert "1.0 is locked on" in found.findings[0].message


@pytest.mark.parametrize(
    "inputs",
    [
        {"requirements": 5},
        {"requirements": ["not a requirement!"]},
        {"targets": "cp311-win_amd64"},
        {"unheard-of": ["x"], "neutral": "maybe"},
        {},
    ],
)
def test_recorded_inputs_of_any_shape_are_compared(inputs: dict[str, object]) -> None:
    """A lock with a nonsensical inputs table is stale with reasons, never a crash."""
    intent = parse_intent(PROJECT.encode())
    settings = intent.lock_settings("default")
    lock = replace(parse(locked(PROJECT), path="pylock.toml"), inputs=inputs, body_digest=None)
    found = judge(lock, b"", inputs=canonical_inputs(intent, settings), asked=(), targets=intent.settings.targets)
    assert found.state == "stale"


def test_every_code_of_the_verdict_is_documented() -> None:
    """The codes used here stand in the table that the documentation is made from."""
    assert {"lock.stale", "lock.compatible", "lock.edited", "lock.undecidable", "lock.missing"} <= CODES.keys()


def test_an_unpublishable_version_satisfies_no_range() -> None:
    """A version that is no version (another tool's lock) is outside every range."""
    lock = Lock(created_by="x", distributions=(entry("a", "banana"),))
    assert unsatisfied(lock, [canonical_requirement("a>=1")], ())


BLOCKED = """
import sys
def refuse(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.fork", "os.system")):
        raise SystemExit(f"refused: {event}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise SystemExit(f"refused: writing {arguments[0]}")
sys.addaudithook(refuse)
sys.dont_write_bytecode = True
from envid.app.checking import check
from envid.app.workspace import open_workspace
outcome = check(open_workspace(sys.argv[1]))
print(outcome.answer)
print(*(finding.message for finding in outcome.findings), sep="\\n")
"""


@pytest.mark.parametrize(
    ("new", "state"), [("numpy>=1.20,<3", "fresh"), ("numpy>=2,<3", "fresh"), ("numpy>=3", "stale")]
)
def test_the_check_opens_no_socket_starts_no_process_and_writes_nothing(
    tmp_path_factory: pytest.TempPathFactory, new: str, state: str
) -> None:
    """With sockets, processes and writing refused by an audit hook, every verdict is still given."""
    root = tmp_path_factory.mktemp("project")
    (root / "lockfiles").mkdir()
    (root / "lockfiles" / "pylock.toml").write_bytes(locked(PROJECT))
    (root / "pyproject.toml").write_text(PROJECT.replace("numpy>=1.20,<3", new))
    command = [sys.executable, "-c", BLOCKED, str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{state}: lockfiles/pylock.toml"), done.stdout
