"""What must be true, 5: no secret ever enters a document."""

from __future__ import annotations

from pathlib import Path

import pytest

from envid.errors import CredentialInConfig, EnvidError
from envid.identity import document
from envid.values.component import refuse_secrets
from keyed import ORDINARY, keyed

SECRET = "hunter2-very-secret"
TOKEN = "ghp_" + "a1B2" * 6

FACTS = {
    "a credential in a URL": f'origin = "https://user:{SECRET}@host.example/x"',
    "a user in a URL": f'origin = "https://{SECRET}@host.example/x"',
    "a token as text": f'note = "{TOKEN}"',
    "a fact named like a credential": f'api_key = "{SECRET}"',
    "a command that prints a credential": f'origin = {{ command = ["echo", "ssh://user:{SECRET}@host.example"] }}',
}


@pytest.mark.parametrize("what", FACTS)
def test_facts_with_a_secret_are_refused(tmp_path: Path, what: str) -> None:
    """A fact that holds a credential is refused, and the error does not repeat it."""
    project = keyed(tmp_path).given(
        envid=f'[tool.envid.layers.mine]\ncomponents = ["facts"]\n[tool.envid.layers.mine.facts]\n{FACTS[what]}'
    )
    with pytest.raises(CredentialInConfig) as caught:
        project.key("mine")
    assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value.context}"
    assert TOKEN not in f"{caught.value} {caught.value.hint} {caught.value.context}"


@pytest.mark.parametrize("name", ["token", "api-key", "apiKey", "API_KEY", "password", "auth.token", "clientSecret"])
def test_options_named_like_a_credential_are_refused(name: str) -> None:
    """An option of a backend that is named like a credential never reaches the document."""
    with pytest.raises(CredentialInConfig):
        refuse_secrets({"nested": [{name: SECRET}]}, "options")


@pytest.mark.parametrize("name", ["tokenizer", "author", "passive", "keys", "secretary", "monkey"])
def test_ordinary_options_are_not_refused(name: str) -> None:
    """A name that only contains such a word is an ordinary one."""
    refuse_secrets({name: ["https://host.example/a@b", "user@host.example", 1, None]}, "options")


def test_variables_of_the_caller_do_not_reach_a_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the project's sees none of the caller's variables but the harmless ones."""
    monkeypatch.setenv("DEPLOY_TOKEN", SECRET)
    project = keyed(tmp_path).given(
        envid='[tool.envid.layers.mine]\ncomponents = ["facts"]\n[tool.envid.layers.mine.facts]\n'
        'all = { command = ["env"] }'
    )
    assert SECRET.encode() not in document(project.identified("mine").identity)


def test_credentials_of_an_index_never_reach_a_document(tmp_path: Path) -> None:
    """A lock whose URLs hold a credential is refused, and the error does not repeat it."""
    project = keyed(tmp_path).given()
    text = project.lock_file().read_text(encoding="utf-8")
    project.lock_file().write_text(text.replace("https://index", f"https://user:{SECRET}@index"), encoding="utf-8")
    for layer in ("wheels", "env", "venv"):
        with pytest.raises(EnvidError) as caught:
            project.identified(layer, None)
        assert SECRET not in f"{caught.value} {caught.value.hint} {caught.value.context}"


def test_the_salt_may_hold_no_credential(tmp_path: Path) -> None:
    """A salt that is a URL with a credential is refused: it would be shown to whoever sees the document."""
    project = keyed(tmp_path).given(*ORDINARY, envid=f'salt = "https://u:{SECRET}@host.example"')
    with pytest.raises(CredentialInConfig):
        project.key()
