import pytest

from dunwell_stack.choice import StackChoice, StackUnavailable


def test_native_is_the_way_when_nothing_is_said():
    assert StackChoice.from_environment({}) == StackChoice("native")


def test_given_addresses_are_used():
    choice = StackChoice.from_environment(
        {"DUNWELL_KAFKA_BOOTSTRAP": "k:1", "DUNWELL_POSTGRES_DSN": "postgresql://p@h:5/postgres"}
    )
    assert choice.way == "given"
    assert (choice.kafka_bootstrap, choice.postgres_dsn) == ("k:1", "postgresql://p@h:5/postgres")


def test_one_given_address_leaves_the_other_part_to_be_started():
    choice = StackChoice.from_environment({"DUNWELL_KAFKA_BOOTSTRAP": "k:1"})
    assert choice.way == "native"
    assert choice.postgres_dsn is None


def test_docker_only_comes_when_asked_for():
    assert StackChoice.from_environment({"DUNWELL_STACK": "docker"}).way == "docker"


def test_ports_and_cache_are_read():
    choice = StackChoice.from_environment(
        {"DUNWELL_KAFKA_PORT": "1", "DUNWELL_POSTGRES_PORT": "65535", "DUNWELL_CACHE_DIR": "/c"}
    )
    assert (choice.kafka_port, choice.postgres_port, str(choice.cache_dir)) == (1, 65535, "/c")


@pytest.mark.parametrize("raw", ["0", "65536", "-1", "x", "1.5", "²"])
def test_a_port_that_is_none_is_refused_by_name(raw):
    with pytest.raises(StackUnavailable, match="DUNWELL_KAFKA_PORT"):
        StackChoice.from_environment({"DUNWELL_KAFKA_PORT": raw})


@pytest.mark.parametrize(("name", "value"), [("DUNWELL_STACK", "podman"), ("DUNWELL_POSTGRES_DSN", "mysql://h/d")])
def test_nonsense_is_refused_by_name(name, value):
    with pytest.raises(StackUnavailable, match=name):
        StackChoice.from_environment({name: value})
