from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldwave.deploy.kubernetes import to_yaml

words = st.sampled_from(
    [
        "true",
        "No",
        "y",
        "null",
        "~",
        "1e3",
        "0x1F",
        "1_000",
        "12:30:45",
        "2026-01-02",
        "-",
        "? a",
        ".inf",
        "=",
        "<<",
    ]
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | words
leaves = st.none() | st.booleans() | st.integers() | texts
values = st.recursive(leaves, lambda one: st.lists(one, max_size=4) | st.dictionaries(texts, one, max_size=4))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.dictionaries(texts, values), max_size=3))
def test_what_is_written_is_read_by_others(objects: list[dict[str, Any]]) -> None:
    assert list(yaml.load_all(to_yaml(objects), yaml.CSafeLoader)) == objects


def test_it_looks_as_people_write_it() -> None:
    one = {
        "kind": "Pod",
        "metadata": {"labels": {"a.b/c": "3"}},
        "list": [{"name": "x", "of": [1, True]}, []],
        "egress": {},
    }
    assert to_yaml([one]).splitlines() == [
        "---",
        "kind: Pod",
        "metadata:",
        "  labels:",
        '    a.b/c: "3"',
        "list:",
        "- name: x",
        "  of:",
        "  - 1",
        "  - true",
        "- []",
        "egress: {}",
    ]
