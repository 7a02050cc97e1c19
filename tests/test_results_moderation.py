"""The page of moderators is what its records say, and figures of real data stay outside."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.results import moderation
from benchmarks.results.moderation import PAGE, RUNS, read, real, section, synthetic
from tests.alignment.pairs_file import small_file


def test_the_page_is_what_the_records_say() -> None:
    assert PAGE.read_text() == section(synthetic())


def test_a_record_of_other_settings_does_not_count(tmp_path: Path) -> None:
    data = synthetic()
    found = read("tfidf-moderator", 0, data)
    assert found is not None and 0.85 <= found["metrics"]["auroc"]["mean"] < 0.95
    other = moderation.Data(data.task, "", tmp_path, tmp_path / "page.md", data.sha256)
    path = other.path_of("tfidf-moderator", 0)
    path.parent.mkdir(parents=True)
    for key, value in (("data", "0"), ("settings", {**found["settings"], "lr": 1.0})):
        path.write_text(json.dumps({**found, key: value}))
        assert read("tfidf-moderator", 0, other) is None
    path.write_text(json.dumps(found))
    assert read("tfidf-moderator", 0, other) is not None


def test_figures_of_real_data_stay_in_runs(tmp_path: Path) -> None:
    data = real(small_file(tmp_path, 200), "prompt")
    assert data.page.is_relative_to(RUNS) and data.records.is_relative_to(RUNS)
    assert data.task.protocol.episodes % 2 == 0 and not data.task.references
    assert "Not yet measured" in section(data)
