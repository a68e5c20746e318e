from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.contracts import descriptors

BUF = Path(sys.executable).with_name("buf")


def buf(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run([str(BUF), *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def image_of(proto: Path, into: Path) -> Path:
    assert buf("build", proto, "-o", into / "image.binpb") == (0, "")
    return into / "image.binpb"


def spoil(proto: Path, old: str, new: str) -> None:
    path = proto / "dunwell/recovery/v1/recovery.proto"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_buf_finds_nothing_to_say_and_nothing_broken(proto: Path) -> None:
    assert buf("lint", proto) == (0, "")
    assert buf("breaking", proto, "--against", proto / "base.binpb") == (0, "")


def test_buf_lint_bites(spoiled: Path) -> None:
    spoil(spoiled, "string case_id = 1;", "string CaseId = 1;")
    status, said = buf("lint", spoiled)
    assert status
    assert "lower_snake_case" in said


@pytest.mark.parametrize(("old", "new"), [
    ("string attempt_id = 2;", "int64 attempt_id = 2;"),
    ("int32 attempt_number = 3;", ""),
    ("RECOVERED_BY_PAYER = 2;", "RECOVERED_BY_PAYER = 7;"),
    ("message RecoveryPaused {", "message RecoveryHalted {"),
])  # fmt: skip
def test_buf_breaking_bites(spoiled: Path, old: str, new: str) -> None:
    spoil(spoiled, old, new)
    status, said = buf("breaking", spoiled, "--against", spoiled / "base.binpb")
    assert status, said


def test_a_new_field_breaks_nothing(spoiled: Path) -> None:
    spoil(spoiled, "string subscription_id = 7;", "string subscription_id = 7;\n  string plan_id = 8;")
    assert buf("breaking", spoiled, "--against", spoiled / "base.binpb") == (0, "")


def test_no_field_is_personal_by_mark_or_by_name(proto: Path, tmp_path: Path) -> None:
    image = image_of(proto, tmp_path)
    assert list(descriptors.findings(image)) == []
    assert len(list(descriptors.fields_of(image))) > 100


@pytest.mark.parametrize(("field", "says"), [
    ("string contact = 8 [(dunwell.common.v1.personal) = true];", "contact is marked as personal"),
    ("string email = 8;", "email is named like personal data"),
    ("string holder_name = 8;", "holder_name is named like personal data"),
    ("string billing_address = 8;", "billing_address is named like personal data"),
    ("string phone_e164 = 8;", "phone_e164 is named like personal data"),
])  # fmt: skip
def test_the_check_bites_a_personal_field(spoiled: Path, tmp_path: Path, field: str, says: str) -> None:
    spoil(spoiled, "string subscription_id = 7;", f"string subscription_id = 7;\n  {field}")
    assert any(says in finding for finding in descriptors.findings(image_of(spoiled, tmp_path)))


def test_generated_code_is_what_the_contracts_say(request: pytest.FixtureRequest) -> None:
    command = [sys.executable, str(request.config.rootpath / "tools/generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_check_bites_generated_code_that_is_stale(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    sys.path.insert(0, str(request.config.rootpath / "tools"))
    try:
        import generate
    finally:
        sys.path.pop(0)
    generate.generate(tmp_path)
    assert generate.differences(tmp_path) == []
    (tmp_path / "dunwell_contracts/topics/dunwell.retry.recovery.v1.yaml").write_text("topic: other\n")
    (tmp_path / "dunwell/recovery/v1/recovery_pb2.py").unlink()
    assert generate.differences(tmp_path) == [
        "dunwell/recovery/v1/recovery_pb2.py",
        "dunwell_contracts/topics/dunwell.retry.recovery.v1.yaml",
    ]
