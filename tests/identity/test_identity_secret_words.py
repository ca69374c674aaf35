"""Credentials among the words of a command line: refused where they are given, not where they are referred to."""

from __future__ import annotations

import pytest

from envid.errors import CredentialInConfig
from envid.values.component import refuse_secret_words


@pytest.mark.parametrize(
    "words",
    [
        ["tool", "--password", "hunter2"],
        ["tool", "--token=abc"],
        ["tool", "--api-key", "abc"],
        ["tool", "--db-password=hunter2"],
        ["env", "PASSWORD=hunter2", "tool"],
        ["env", "GITHUB_TOKEN=abc", "tool"],
        ["curl", "-H", "Authorization: Bearer abc"],
        ["curl", "-H", "authorization: basic YTpi"],
        ["sh", "-c", "PGPASSWORD=hunter2 psql > out"],
        ["sh", "-c", "tool --password hunter2 > out"],
        ["sh", "-c", "true; curl -H 'Authorization: Bearer abc' x"],
    ],
)
def test_a_credential_that_is_given_is_refused(words: list[str]) -> None:
    """An option, a variable or a header that gives a credential is refused, and the text is not told."""
    with pytest.raises(CredentialInConfig) as caught:
        refuse_secret_words(words, "the command")
    assert words[-1] not in caught.value.message


@pytest.mark.parametrize(
    "words",
    [
        ["tool", "--token-file", "secrets/token.txt", "--max-tokens=5", "--password-file=x"],
        ["tool", "--password", "$PASSWORD"],
        ["tool", "--password", "--verbose"],
        ["tool", "--password"],
        ["tool", "--password="],
        ["tool", "--secret", "id=npm"],
        ["tool", "--token", "@token.txt"],
        ["sh", "-c", 'PASSWORD="$PASSWORD" tool --token "$TOKEN"'],
        ["sh", "-c", 'curl -H "Authorization: Bearer $TOKEN" x'],
        ["sh", "-c", 'test -n "$TOKEN" && cat passwords.txt tokens.json'],
        ["python", "-c", "token = next(tokens); password=read()"],
        ["python", "-c", "TOKEN=os.environ['TOKEN']"],
        ["tokenize", "secret.proto", "--tokenizer", "fast", "--passes", "2", "pass=2", "--author=me"],
        ["protoc", "-Iproto", "--python_out=gen", "proto/token.proto"],
    ],
)
def test_ordinary_words_are_no_credential(words: list[str]) -> None:
    """References, files, counts, and words that only begin like a credential's name raise no alarm."""
    refuse_secret_words(words, "the command")
