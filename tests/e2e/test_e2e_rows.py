"""The product's capability rows, each held by the real command with real uv, real wheels and a real index."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.pylock import Pylock

from projects import Project

pytestmark = pytest.mark.online

Make = Callable[..., str]
NO_NETWORK = ("unshare", "-r", "-n")


def needs_unshare() -> None:
    """Skip where this user may not make a network namespace."""
    if (
        not shutil.which("unshare")
        or subprocess.run([*NO_NETWORK, "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no network namespaces here")


def test_L1_lock_is_valid_hashed_universal_and_reproducible(project: Project, small: Make, tmp_path: Path) -> None:
    """L1: the lock is valid PEP 751, all of it hashed, every target served, and equal inputs give equal bytes."""
    project.given(small()).ok("lock")
    first = project.lock.read_bytes()
    document = tomllib.loads(first.decode())
    Pylock.from_dict(document).validate()
    names = {package["name"] for package in document["packages"]}
    assert {"requests", "attrs", "idna", "urllib3", "certifi", "charset-normalizer"} <= names
    assert all(wheel["hashes"]["sha256"] for package in document["packages"] for wheel in package["wheels"])
    assert len(document["environments"]) == 2
    assert b"upload-time" not in first
    project.lock.unlink()
    elsewhere = tmp_path / "home"
    elsewhere.mkdir()
    project.ok("lock", env={"HOME": str(elsewhere), "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"})
    assert project.lock.read_bytes() == first


def test_L1_a_lock_that_is_current_is_not_touched(project: Project, small: Make) -> None:
    """L1: locking again without a reason changes neither bytes nor times."""
    project.given(small()).ok("lock")
    before = project.lock.stat()
    again = project.ok("lock", "--json").json
    assert again["data"]["changed"] is False
    assert project.lock.stat().st_mtime_ns == before.st_mtime_ns


def test_L2_check_is_offline_and_names_what_changed(project: Project, small: Make) -> None:
    """L2: fresh, stale naming the added dependency, fresh with a note for a widened one; all without a network."""
    needs_unshare()
    project.given(small()).ok("lock")
    project.ok("lock", "--check", prefix=NO_NETWORK)
    project.given(small('"requests>=2.30", "attrs", "six"'))
    stale = project.run("lock", "--check", "--json", prefix=NO_NETWORK)
    assert stale.status == 1
    assert "lock.stale" in stale.codes
    assert any(item["subject"] == "six" or "six" in item["message"] for item in stale.json["findings"])
    project.given(small('"requests>=2", "attrs"'))
    widened = project.ok("lock", "--check", "--json", prefix=NO_NETWORK).json
    assert [item["code"] for item in widened["findings"]] == ["lock.compatible"]


def test_L2_a_lock_edited_by_hand_is_found(project: Project, small: Make) -> None:
    """L2: one digit changed in a hash is reported as an edit."""
    project.given(small()).ok("lock")
    text = project.lock.read_text()
    at = text.index("sha256 = ") + 10
    project.lock.write_text(f"{text[:at]}{'0' if text[at] != '0' else '1'}{text[at + 1 :]}")
    edited = project.run("lock", "--check", "--json")
    assert edited.status == 1
    assert "lock.edited" in edited.codes


def test_L3_extras_groups_and_named_locks(project: Project, small: Make) -> None:
    """L3: a named lock adds its groups and extras to the default one, in a file of its own."""
    extra = '[project.optional-dependencies]\nx = ["six"]\n[dependency-groups]\ndev = ["iniconfig"]\n'
    locks = 'exclude-newer = "1 day"\n[tool.envid.locks.dev]\nextras = ["x"]\ngroups = ["dev"]\n'
    project.given(small(extra=extra, lock=locks)).ok("lock")
    project.ok("lock", "--name", "dev")
    default = project.lock.read_text()
    dev = (project.lock.parent / "pylock.dev.toml").read_text()
    assert 'name = "six"' not in default
    assert 'name = "six"' in dev
    assert 'name = "iniconfig"' in dev
    assert '"1 day"' in default
    assert "2026-" not in default


def test_L3_upgrade_package_leaves_everything_else(project: Project, small: Make) -> None:
    """L3: with --upgrade-package one distribution moves and every other stays where it was."""
    project.given(small('"idna", "attrs"', lock='constraints = ["idna<3.5", "attrs<24"]')).ok("lock")
    old = versions(project)
    project.given(small('"idna", "attrs"'))
    project.ok("lock")
    assert versions(project) == old
    project.ok("lock", "--upgrade-package", "idna")
    new = versions(project)
    assert new["attrs"] == old["attrs"]
    assert new["idna"] != old["idna"]


def versions(project: Project) -> dict[str, str]:
    """Name to version in the default lock."""
    return {p["name"]: p["version"] for p in tomllib.loads(project.lock.read_text())["packages"]}


def test_L4_both_engines_and_adoption_select_the_same(project: Project, small: Make) -> None:
    """L4: pip-tools locks the same set as uv, and adopting uv's own pylock keeps it."""
    host = f'targets = ["cp{sys.version_info.major}{sys.version_info.minor}-manylinux_2_28_x86_64"]'
    text = small().replace(next(line for line in small().splitlines() if line.startswith("targets")), host)
    project.given(text).ok("lock")
    by_uv = versions(project)
    project.lock.unlink()
    project.given(text.replace("[tool.envid.lock]", '[tool.envid.lock]\nresolver = "pip-tools"')).ok("lock")
    assert versions(project) == by_uv
    shutil.move(project.lock, project.root / "pylock.toml")
    project.given(text).ok("adopt", "pylock.toml")
    assert versions(project) == by_uv


def test_L5_a_neutral_lock_names_no_index_and_installs(project: Project, small: Make) -> None:
    """L5: a mirror-neutral lock holds no URL, is valid, and sync installs it held to its hashes."""
    project.given(small('"six"', lock="neutral = true")).ok("lock")
    text = project.lock.read_text()
    assert "://" not in text
    Pylock.from_dict(tomllib.loads(text)).validate()
    project.ok("sync")
    project.ok("verify", "--full")
    assert (project.site / "six.py").exists()


def test_L6_sync_installs_exactly_the_lock_and_touches_nothing_twice(project: Project, small: Make) -> None:
    """L6: sync installs the set, removes the rest, heals what was edited, and touches nothing when all is right."""
    project.given(small()).ok("lock")
    project.ok("sync")
    assert project.ok("sync", "--json").json["data"]["installed"] == []
    (project.site / "idna" / "core.py").write_text("tampered = True\n")
    healed = project.ok("sync", "--json").json["data"]
    assert [item["name"] for item in healed["reinstalled"]] == ["idna"]
    project.given(small('"attrs"')).ok("lock")
    removed = project.ok("sync", "--json").json["data"]["removed"]
    assert "requests" in {item["name"] for item in removed}
    project.ok("verify", "--full")


def test_L6_vendor_installs_by_plain_pip_and_plain_uv_without_a_network(
    project: Project, small: Make, tmp_path: Path
) -> None:
    """L6: the wheelhouse is byte-identical twice, and pip and uv install from it with the network denied."""
    needs_unshare()
    project.given(small()).ok("lock")
    project.ok("vendor", "one")
    project.ok("vendor", "two")
    one, two = project.root / "one", project.root / "two"
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}
    uv = str(Path(sys.executable).parent / "uv")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "pip")], check=True)
    subprocess.run([uv, "venv", "-q", "-p", sys.executable, str(tmp_path / "uv")], check=True)
    pip = [str(tmp_path / "pip/bin/python"), "-m", "pip", "install", "-q", "--isolated", "--no-index"]
    hashed = ["--find-links", ".", "--require-hashes"]
    subprocess.run([*NO_NETWORK, *pip, *hashed, "-r", "requirements.txt"], cwd=one, check=True)
    install = [uv, "pip", "sync", "-q", "--no-index", "--no-config", "-p", str(tmp_path / "uv"), "--cache-dir"]
    subprocess.run([*NO_NETWORK, *install, str(tmp_path / "cold"), *hashed, "requirements.txt"], cwd=one, check=True)


def test_I1_identity_is_a_canonical_document_and_its_key(project: Project, small: Make) -> None:
    """I1: the key is computed from the document that `identity` prints, and both stay the same when asked again."""
    project.given(small()).ok("lock")
    key = project.ok("key").stdout.strip()
    document = json.loads(project.ok("identity").stdout)
    assert key.startswith("envid1-env-")
    assert document["schema"] == "envid-identity/1"
    assert project.ok("key").stdout.strip() == key
    envelope = project.ok("key", "--json").json
    assert key in envelope["data"]["keys"]["env"].values()


def test_I2_matrix_has_a_key_and_the_coverage_of_every_target(project: Project, small: Make) -> None:
    """I2: every declared target has its key on this host, with the kind of each package's artifact."""
    project.given(small()).ok("lock")
    data = project.ok("matrix", "--json").json["data"]
    assert len(data["coverage"]) == 2
    for target, covered in data["coverage"].items():
        assert covered["packages"]["idna"] == "pure"
        assert project.ok("key", "--layer", "wheels", "--target", target).stdout.strip() in json.dumps(data["keys"])


def test_I3_explain_names_the_components_that_differ(project: Project, small: Make) -> None:
    """I3: between two locks explain names the distribution and both versions; diff alerts on the same file rehashed."""
    project.given(small('"idna"', lock='constraints = ["idna<3.5"]')).ok("lock")
    old = project.root / "pylock.old.toml"
    shutil.copy(project.lock, old)
    project.given(small('"idna"')).ok("lock", "--upgrade")
    explained = project.run("explain", str(old), str(project.lock))
    assert "idna" in explained.stdout
    assert project.ok("diff", "--json", str(old), str(project.lock)).json["data"]["changes"]
    forged = project.root / "pylock.forged.toml"
    text = project.lock.read_text()
    at = text.index("sha256 = ") + 10
    forged.write_text(f"{text[:at]}{'0' if text[at] != '0' else '1'}{text[at + 1 :]}")
    alert = project.run("diff", "--json", str(project.lock), str(forged))
    assert alert.status == 1
    assert "diff.rehashed" in alert.codes


@pytest.mark.parametrize("depth", [(), ("--full",)])
def test_V1_verify_finds_an_edit_offline_and_names_the_file(
    project: Project, small: Make, depth: tuple[str, ...]
) -> None:
    """V1: an appended line is found without a network, with package and path, at default depth and in full."""
    needs_unshare()
    project.given(small()).ok("lock")
    project.ok("sync")
    project.ok("verify", *depth, prefix=NO_NETWORK)
    with (project.site / "requests" / "api.py").open("a") as stream:
        stream.write("# a small edit\n")
    found = project.run("verify", *depth, "--json", prefix=NO_NETWORK)
    assert found.status == 1
    tampered = [item for item in found.json["findings"] if item["code"] == "env.tampered"]
    assert [(item["subject"], item["path"]) for item in tampered] == [("requests", "requests/api.py")]


def test_V1_github_annotations(project: Project, small: Make) -> None:
    """V1: --github prints one workflow command a finding."""
    project.given(small()).ok("lock")
    project.given(small('"attrs"'))
    done = project.run("verify", "--github")
    assert done.status == 1
    assert any(line.startswith("::error file=pyproject.toml,title=lock.stale::") for line in done.stdout.splitlines())


ONE = 'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nversion = "1"\n'
HOSTILE = {
    "conflict": ("<<<<<<< HEAD\n=======\n>>>>>>> main\n", "lock.conflict-markers"),
    "version": ('lock-version = "2.0"\ncreated-by = "x"\npackages = []\n', "lock.invalid"),
    "traversal": (
        f'{ONE}wheels = [{{path = "../a-1-py3-none-any.whl", hashes = {{sha256 = "{"0" * 64}"}}}}]\n',
        "integrity.unsafe-path",
    ),
    "unhashed": (f'{ONE}wheels = [{{path = "a-1-py3-none-any.whl", hashes = {{md5 = "0"}}}}]\n', "lock.unhashed"),
    "nesting": ("a = " + "[" * 200_000, "lock.invalid"),
    "nul": ("\ufeff\x00", "lock.invalid"),
}


@pytest.mark.parametrize(("text", "slug"), HOSTILE.values(), ids=list(HOSTILE))
@pytest.mark.parametrize("command", [("key",), ("verify",), ("sync",), ("lock", "--check"), ("matrix",)], ids=" ".join)
def test_S1_a_hostile_lock_is_a_named_error(
    project: Project, small: Make, text: str, slug: str, command: tuple[str, ...]
) -> None:
    """S1: a hostile lock gives its slug from every command that reads it, no traceback, nothing installed."""
    project.given(small())
    project.lock.parent.mkdir()
    project.lock.write_text(text, encoding="utf-8")
    document = project.run(*command, "--json").json
    found = {item["code"] for item in document["findings"]} | {(document["error"] or {}).get("slug")}
    assert slug in found, document
    assert not (project.root / ".venv").exists()
