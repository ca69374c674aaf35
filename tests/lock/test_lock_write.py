"""The canonical form of a lock."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.pylock import Pylock

from envid.errors import InvalidLock, NoCompatibleArtifact
from envid.lock import toml
from envid.lock.pylock import parse, skim
from envid.lock.select import select
from envid.lock.write import body_digest, environments_for, neutral, preserved, write
from envid.values.artifact import Artifact, LocalSource, Lock, LockedDistribution, NormalizedName, Sha256
from envid.values.target import Target, parse_target

FIXTURES = Path(__file__).parents[2] / "fixtures" / "pylock" / "valid"
UV = (FIXTURES / "pylock.uv.toml").read_bytes()
TARGETS = tuple(
    parse_target(name)
    for name in (
        "cp311-manylinux_2_28_x86_64",
        "cp312-manylinux_2_28_x86_64",
        "cp313-manylinux_2_28_aarch64",
        "cp312-macosx_13_0_arm64",
        "cp312-win_amd64",
    )
)


def lock_of(*entries: LockedDistribution, **changes: object) -> Lock:
    return replace(Lock(created_by="uv", distributions=entries), **changes)  # type: ignore[arg-type]


def wheel(filename: str, **changes: object) -> Artifact:
    base = Artifact(kind="wheel", filename=filename, sha256=Sha256("a" * 64), url=f"https://index.example/{filename}")
    return replace(base, **changes)  # type: ignore[arg-type]


def entry(name: str = "foo", *filenames: str, **changes: object) -> LockedDistribution:
    wheels = tuple(map(wheel, filenames or (f"{name}-1.0-py3-none-any.whl",)))
    return replace(LockedDistribution(name=NormalizedName(name), version="1.0", wheels=wheels), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("targets", [(), TARGETS, TARGETS[:1]], ids=["everywhere", "five", "one"])
@pytest.mark.parametrize("how", [lambda lock: lock, neutral], ids=["urls", "neutral"])
def test_writing_is_idempotent_and_valid(targets: tuple[Target, ...], how: object) -> None:
    """A real lock, written, is a valid PEP 751 file that reads quickly and writes to the same bytes again."""
    assert callable(how)
    lock = replace(how(parse(UV, path="p")), environments=environments_for(targets), inputs={"resolver": "uv"})
    data = write(lock, targets=targets)
    Pylock.from_dict(tomllib.loads(data.decode())).validate()
    again = parse(data, path="p")
    assert write(again, targets=targets, preserved=preserved(data)) == data
    assert again.body_digest == body_digest(data)
    assert skim(data, path="p") is not None


@pytest.mark.parametrize(
    ("name", "targets"),
    [("pylock.everywhere.toml", ()), ("pylock.targets.toml", TARGETS), ("pylock.neutral.toml", TARGETS)],
)
def test_the_written_form_is_that_of_the_fixtures(name: str, targets: tuple[Target, ...]) -> None:
    """The committed golden locks are byte for byte what the writer makes of them: the format has not moved."""
    data = (FIXTURES / name).read_bytes()
    assert write(parse(data, path="p"), targets=targets, preserved=preserved(data)) == data


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_writing_for_targets_changes_nothing_that_a_target_takes(target: Target) -> None:
    """Each declared target selects the same artifacts from the written lock as from the resolver's own."""
    source = parse(UV, path="p")
    written = parse(write(replace(source, environments=environments_for(TARGETS)), targets=TARGETS), path="p")
    assert select(written, target).selected == select(source, target).selected


ATOMS = [
    "sys_platform == 'linux'",
    "os_name != 'nt'",
    "platform_machine == 'aarch64'",
    "python_version >= '3.12'",
    "python_full_version < '3.12.5'",
    "'cp' in implementation_name",
]
MARKERS = st.none() | st.recursive(
    st.sampled_from(ATOMS),
    lambda inner: st.builds("({}) and ({})".format, inner, inner) | st.builds("{} or {}".format, inner, inner),
    max_leaves=4,
)
FILES = ["py3-none-any", "cp312-cp312-win_amd64", "cp312-cp312-manylinux_2_17_x86_64", "cp38-abi3-macosx_11_0_arm64"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.sampled_from(["1", "2"]), MARKERS, st.sets(st.sampled_from(FILES), min_size=1)
        ),
        max_size=5,
        unique_by=lambda row: row[:2],
    ),
    st.sets(st.sampled_from(TARGETS)),
)
def test_any_lock_is_written_once_and_for_all(
    rows: list[tuple[str, str, str | None, set[str]]], targets: set[Target]
) -> None:
    """write(parse(write(x))) is write(x), whatever the order of packages, files and targets was."""
    order = tuple(sorted(targets, key=lambda target: target.name))
    made = [
        entry(name, *(f"{name}-{version}-{tag}.whl" for tag in files), version=version, marker=marker)
        for name, version, marker, files in rows
    ]
    lock = lock_of(*made, requires_python=">=3.11", environments=environments_for(order), inputs={"resolver": "uv"})
    try:
        data = write(lock, targets=order)
    except NoCompatibleArtifact:
        return
    assert write(parse(data, path="p"), targets=order) == data
    backwards = replace(
        lock, distributions=tuple(replace(one, wheels=one.wheels[::-1]) for one in lock.distributions[::-1])
    )
    assert write(backwards, targets=order[::-1]) == data
    assert skim(data, path="p") is not None or b"packages = []" in data


def test_order_and_cosmetics_of_the_input_do_not_show() -> None:
    """Packages, wheels and markers in any order and spelling give the same bytes."""
    one = entry(
        "a",
        "a-1.0-cp312-cp312-win_amd64.whl",
        "a-1.0-py3-none-any.whl",
        marker="sys_platform=='win32' and python_version<'4'",
    )
    two = entry("b", marker="python_version >= '3.11'")
    shuffled = replace(one, wheels=one.wheels[::-1], marker='(python_version < "4") and sys_platform == "win32"')
    first = write(lock_of(one, two, requires_python=">=3.11"), targets=())
    assert first == write(lock_of(two, shuffled, requires_python=">=3.11"), targets=())
    assert write(lock_of(one, two), targets=TARGETS) == write(lock_of(two, shuffled), targets=TARGETS)


def test_an_entry_no_target_needs_is_left_out_and_so_are_wheels_none_can_use() -> None:
    """Over declared targets a foreign entry and foreign wheels disappear; without targets all stay."""
    lock = lock_of(
        entry("mac", marker="sys_platform == 'darwin'"),
        entry(
            "foo",
            "foo-1.0-cp312-cp312-win_amd64.whl",
            "foo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
            "foo-1.0-cp312-cp312-manylinux_2_34_x86_64.whl",
        ),
    )
    few = parse(write(lock, targets=TARGETS[1:2]), path="p").distributions
    assert [(one.name, [found.filename for found in one.wheels]) for one in few] == [
        ("foo", ["foo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl"])
    ]
    assert len(parse(write(lock, targets=()), path="p").distributions) == 2


def test_wheels_are_kept_for_the_targets_that_take_the_entry_only() -> None:
    """A wheel that fits a target on which the entry does not apply is of no use."""
    lock = lock_of(
        entry(
            "foo",
            "foo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
            "foo-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
            marker="python_version < '3.12'",
        )
    )
    written = parse(write(lock, targets=TARGETS[:2]), path="p").distributions
    assert [found.filename for found in written[0].wheels] == ["foo-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"]


def test_an_entry_with_nothing_for_any_target_is_an_error() -> None:
    """Dropping the last wheel of a needed entry would lose it silently; it is refused by name."""
    with pytest.raises(NoCompatibleArtifact, match="foo"):
        write(lock_of(entry("foo", "foo-1.0-cp312-cp312-win_amd64.whl")), targets=TARGETS[:1])


def test_a_patch_dependent_marker_keeps_its_comparison() -> None:
    """Where a short target leaves the answer open, the marker stays, even when all targets name their patch release."""
    target = parse_target("cp3.12.7-manylinux_2_28_x86_64")
    data = write(
        lock_of(
            entry(marker="python_full_version >= '3.12.4' and python_full_version >= '3.11'"), requires_python=">=3.11"
        ),
        targets=(target,),
    )
    assert b"marker = \"python_full_version >= '3.12.4'\"" in data


def test_a_neutral_lock_names_no_host() -> None:
    """Mirror-neutral mode leaves no URL and no index in the file, and every artifact below wheelhouse/."""
    lock = parse(UV, path="p")
    lock = replace(
        lock, distributions=tuple(replace(one, index="https://index.example/simple") for one in lock.distributions)
    )
    data = write(neutral(lock), targets=TARGETS)
    assert b"://" not in data
    assert b"index" not in data
    artifacts = [
        found
        for one in parse(data, path="p").distributions
        for found in (*one.wheels, *([one.sdist] if one.sdist else []))
    ]
    assert all(found.path == f"wheelhouse/{found.filename}" for found in artifacts)


def test_tables_of_others_are_kept_and_ours_is_not() -> None:
    """Unknown keys and tool tables survive a rewrite, entry by entry of the same version; [tool.envid] is made anew."""
    before = write(lock_of(entry("a"), entry("b")), targets=()) + (
        b"\n[tool.other]\nwhen = 2026-01-02T03:04:05Z\nday = 2026-01-02\nclock = 03:04:05\n"
        b'list = [{ x = 1.5 }, "\\u0000"]\n[tool.other."odd key"]\nn = inf\n'
    )
    before = before.replace(b'created-by = "envid"\n', b'created-by = "envid"\nfuture = { a = 1 }\n')
    before = before.replace(
        b'name = "b"\nversion = "1.0"\n',
        b'name = "b"\nversion = "1.0"\nvariants-json = { url = "x" }\nattestation-identities = [{ kind = "k" }]\n'
        b"tool = { z = { y = 1 }, envid = { old = 1 } }\n",
    )
    after = write(lock_of(entry("a"), entry("b"), inputs={}), targets=(), preserved=preserved(before))
    old, new = tomllib.loads(before.decode()), tomllib.loads(after.decode())
    assert new["tool"]["other"] == old["tool"]["other"]
    assert new["future"] == {"a": 1}
    assert new["packages"][1]["variants-json"] == {"url": "x"}
    assert new["packages"][1]["attestation-identities"] == [{"kind": "k"}]
    assert new["packages"][1]["tool"] == {"z": {"y": 1}}
    assert "variants-json" not in new["packages"][0]
    assert write(parse(after, path="p"), targets=(), preserved=preserved(after)) == after


def test_tables_of_another_version_are_not_kept() -> None:
    """What was said of version 1.0 is not said of version 2.0."""
    before = write(lock_of(entry("a")), targets=())
    before = before.replace(b'name = "a"\n', b'name = "a"\nvariants-json = { url = "x" }\n')
    other = entry("a", "a-2.0-py3-none-any.whl", version="2.0")
    assert b"variants" not in write(lock_of(other), targets=(), preserved=preserved(before))


@pytest.mark.parametrize(
    "deep", ["[tool.x" + ".a" * 2_000 + "]", "[[packages]]\nname = 'a'\n[packages.tool" + ".a" * 2_000 + "]"]
)
def test_tables_nested_without_end_are_refused(deep: str) -> None:
    """Dotted headers nest a thousand deep without recursion in the parser; nothing after it may recurse into that."""
    data = f'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n{deep}\n'.replace(
        "packages = []\n[[", "[["
    ).encode()
    inputs = b"[tool.envid.inputs" + b".a" * 2_000 + b"]\n"
    for nested in (data, b'lock-version = "1.0"\ncreated-by = "x"\npackages = []\n' + inputs):
        assert preserved(nested) == {}
        with pytest.raises(InvalidLock, match="p has tables or arrays nested deeper than 64"):
            parse(nested, path="p")


def test_nothing_is_preserved_of_a_file_that_cannot_be_read() -> None:
    """A broken old lock does not stand in the way of a new one."""
    assert preserved(b"[[[") == {}
    assert preserved(b"packages = 1\ntool = 2") == {"top": {}, "tool": {}, "packages": {}}


def test_a_local_version_gets_its_name_written_out() -> None:
    """A file name that the URL spells with escapes is given by name, so that the quick reader need not decode."""
    lock = lock_of(
        entry(
            "foo",
            version="1.0+cpu",
            wheels=(wheel("foo-1.0+cpu-py3-none-any.whl", url="https://index.example/foo-1.0%2Bcpu-py3-none-any.whl"),),
        )
    )
    data = write(lock, targets=())
    assert b'{ name = "foo-1.0+cpu-py3-none-any.whl", url = ' in data
    assert skim(data, path="p") is not None
    assert parse(data, path="p").distributions == lock.distributions


def test_every_kind_of_source_survives_writing() -> None:
    """Archives, repositories, directories and other digests are read back as they were written."""
    sha512 = (("sha512", "f" * 128),)
    archive = Artifact(
        kind="archive",
        filename="a.zip",
        sha256=Sha256("a" * 64),
        url="https://index.example/a.zip",
        subdirectory="sub",
        other_hashes=sha512,
        size=3,
    )
    tree = LocalSource(kind="directory", path="../libs/b", editable=True, subdirectory="x")
    checkout = LocalSource(kind="vcs", vcs="git", url="https://git.example/c", commit="c" * 40)
    sdist = Artifact(kind="sdist", filename="d-1.0.tar.gz", sha256=Sha256("d" * 64), path="d-1.0.tar.gz")
    made = lock_of(
        entry("a", wheels=(), archive=archive, version=None),
        entry("b", wheels=(), source=tree, version=None),
        entry("c", wheels=(), source=checkout),
        entry("d", wheels=(), sdist=sdist, requires_python=">=3.8", index="https://index.example/simple"),
        extras=("x",),
        dependency_groups=("dev", "docs"),
        default_groups=("dev",),
        created_by="envid",
    )
    data = write(made, targets=())
    assert replace(parse(data, path="p"), body_digest=None) == made
    assert skim(data, path="p") is None


def test_odd_tables_of_others_are_kept_too() -> None:
    """A tool key that is no table, an entry that is no table and an entry without a name do not get in the way."""
    data = b"tool = { x = 1, envid = 2 }\npackages = [1, {}, { name = 'a', version = 2, z = 1 }]\n"
    kept = preserved(data)
    assert kept == {"top": {}, "tool": {"x": 1}, "packages": {}}
    assert tomllib.loads(write(lock_of(), targets=(), preserved=kept).decode())["tool"]["x"] == 1


def test_an_empty_lock_is_a_lock() -> None:
    """A project without dependencies has a valid lock with no packages."""
    data = write(lock_of(), targets=TARGETS)
    assert parse(data, path="p").distributions == ()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_edit_of_the_body_changes_its_digest(data: st.DataObject) -> None:
    """The digest in the file stops being that of its body when anything but the digest itself changes."""
    original = (FIXTURES / "pylock.neutral.toml").read_bytes()
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    recorded = tomllib.loads(original.decode())["tool"]["envid"]["digest"].encode()
    line = original.index(b'digest = "' + recorded)
    if line <= at < line + 10 + 65 + 1:
        return
    assert body_digest(bytes(changed)).encode() != recorded


def test_the_digest_of_a_file_without_one_is_that_of_the_whole() -> None:
    """body_digest leaves a file without the line alone, and a line of that look elsewhere too."""
    from envid.values.digest import blake3_hex

    for data in (
        b"x",
        b'digest = "' + b"a" * 64 + b'"\n',
        b"\n[tool.envid]\n\n[x]\n" + b'digest = "' + b"a" * 64 + b'"\n',
    ):
        assert body_digest(data) == blake3_hex(data)


VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.datetimes(timezones=st.none() | st.just(__import__("datetime").UTC))
    | st.dates()
    | st.times(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=6))
def test_toml_written_is_toml_read(content: dict[str, object]) -> None:
    """Whatever tomllib can return, written as tables, is read back as the same."""
    assert tomllib.loads(toml.table(("tool", "x y"), content)) == {"tool": {"x y": content}}
    assert tomllib.loads(f"x = {toml.value(content)}\n") == {"x": content}


def test_what_toml_cannot_say_is_a_bug() -> None:
    """None and bytes have no TOML form and are refused, not spelled somehow."""
    for item in (None, b"x", object()):
        with pytest.raises(TypeError):
            toml.value(item)
