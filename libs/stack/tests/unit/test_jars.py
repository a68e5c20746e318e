import hashlib

import pytest

from dunwell_stack import jars
from dunwell_stack.choice import StackUnavailable
from dunwell_stack.jars import KAFKA_VERSION, ZIPKIN_VERSION, Pin, jars_in, matches, pins_of, read_pins


@pytest.fixture
def one_pin(tmp_path, monkeypatch):
    """A pin file of one small jar."""
    content = b"jar"
    pins = tmp_path / "pins"
    pins.write_text(f"# comment\n\ng.r:a:1 {hashlib.sha256(content).hexdigest()} {len(content)}\n")
    monkeypatch.setattr(jars, "pins_of", lambda part, version: read_pins(pins))
    return content


def writing(content):
    def download(pins, target, advance):
        for pin in pins:
            (target / pin.file_name).write_bytes(content)
            advance(len(content))

    return download


def refusing(pins, target, advance):
    raise OSError("no route\nto host")


def test_every_pin_is_complete_and_kafka_is_of_one_version():
    pins = pins_of("kafka", KAFKA_VERSION)
    assert len({pin.file_name for pin in pins}) == len(pins) > 40
    assert all(len(pin.sha256) == 64 and pin.size > 1000 for pin in pins)
    assert {pin.version for pin in pins if pin.group == "org.apache.kafka"} == {jars.KAFKA_VERSION}


def test_jars_are_downloaded_once(tmp_path, one_pin):
    paths, way = jars_in(tmp_path / "c", downloads=[("one", writing(one_pin))])
    assert [path.read_bytes() for path in paths] == [one_pin]
    assert way == "downloaded with one"
    assert jars_in(tmp_path / "c", downloads=[("one", refusing)])[1] == "cached"


def test_a_wrong_checksum_is_refused(tmp_path, one_pin):
    with pytest.raises(StackUnavailable, match=r"sha256 of a-1\.jar"):
        jars_in(tmp_path / "c", downloads=[("one", writing(b"bad"))])
    assert list((tmp_path / "c").rglob("*.jar")) == []


def test_a_jar_changed_in_the_cache_is_downloaded_again(tmp_path, one_pin):
    (path,), _ = jars_in(tmp_path / "c", downloads=[("one", writing(one_pin))])
    path.write_bytes(b"raj")
    assert jars_in(tmp_path / "c", downloads=[("one", writing(one_pin))])[1] == "downloaded with one"
    assert path.read_bytes() == one_pin


def test_the_second_tool_is_tried_when_the_first_fails(tmp_path, one_pin):
    tools = [("one", refusing), ("two", writing(one_pin))]
    assert jars_in(tmp_path / "c", downloads=tools)[1] == "downloaded with two"


def test_the_error_tells_every_try_in_one_line(tmp_path, one_pin):
    with pytest.raises(StackUnavailable) as caught:
        jars_in(tmp_path / "c", downloads=[("one", refusing), ("two", refusing)])
    assert "one: no route to host; two: no route to host" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_matches_no_pin(tmp_path):
    assert not matches(tmp_path / "no.jar", Pin("g", "a", "1", "0" * 64, 3))


def test_a_classifier_is_part_of_the_file_name():
    (pin,) = pins_of("zipkin", ZIPKIN_VERSION)
    assert pin.file_name == f"zipkin-server-{ZIPKIN_VERSION}-exec.jar"
    assert Pin("g", "a", "1", "0" * 64, 3).file_name == "a-1.jar"
