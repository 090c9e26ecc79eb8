from __future__ import annotations

import pytest

from assumed.untrusted_text import clean, error_code, is_credential


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("one\nline", "one line"),
        ("a\r\n  b\t c ", "a b c"),
        ("\x1b[2Jtitle\x07", "\\x1b[2Jtitle\\x07"),
        ("right\u202eleft", "right\\u202eleft"),
        ("SecretAccessKey: short-secret", "SecretAccessKey: [redacted]"),
        ("lone \udc80 surrogate", "lone \\udc80 surrogate"),
    ],
)
def test_clean_returns_one_line_without_control_characters_and_secrets(
    text: str, cleaned: str
) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize("character", ["x", "\n", "\x00", "\u202e"])
def test_clean_returns_at_most_2048_characters(character: str) -> None:
    shown = clean(character * 5_000_000)
    assert len(shown) <= 2048
    assert shown.isprintable()


def test_clean_redacts_a_token_that_is_wrapped_in_lines() -> None:
    token = "Ab1/" * 100
    wrapped = "\n".join(token[start : start + 76] for start in range(0, len(token), 76))
    assert "Ab1/" not in clean(f"invalid header b'{wrapped}'")


@pytest.mark.parametrize("code", ["AccessDenied", "A", "Sender.Throttling", "A" * 64, "503"])
def test_a_code_of_sts_is_kept(code: str) -> None:
    assert error_code(code) == code


@pytest.mark.parametrize("code", [None, "", 5, "A" * 65, "1A", "a b", "a\n", "é", 'x"} 1\ny{a="'])
def test_a_code_of_another_form_is_unknown(code: object) -> None:
    assert error_code(code) == "Unknown"


@pytest.mark.parametrize("value", ["AKIAEXAMPLE", "wJalr/+=", "~!"])
def test_a_credential_is_printable_ascii(value: str) -> None:
    assert is_credential(value)


@pytest.mark.parametrize(
    "value", ["", "a b", "a\n", "\ta", "é", "a\x00", "\x7f", "a" * 65537, None]
)
def test_a_credential_has_no_blank_and_no_control_character(value: object) -> None:
    assert not is_credential(value)
