"""Objects from files: a mesh whose volume is known, the cache, and a blob written by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from pkubench.envs.grasp.objects.meshes import blob, blobs, mesh_object
from pkubench.errors import DataError, MissingExtra, PkubenchError, UnknownName

OUTLINE = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 3), (0, 3)]
"""An L: 2 wide, 3 high, 1 thick."""
TRIANGLES = [(0, 1, 2), (0, 2, 3), (0, 3, 5), (3, 4, 5)]


def write_l(path: Path) -> Path:
    lines = [f"v {x} {y} {z}" for z in (0, 1) for x, y in OUTLINE]
    lines += [f"f {a + 1} {c + 1} {b + 1}" for a, b, c in TRIANGLES]
    lines += [f"f {a + 7} {b + 7} {c + 7}" for a, b, c in TRIANGLES]
    for i in range(6):
        j = (i + 1) % 6
        lines += [f"f {i + 1} {j + 1} {j + 7}", f"f {i + 1} {j + 7} {i + 7}"]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_mesh_is_cut_into_convex_parts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("coacd")
    source, cache = write_l(tmp_path / "bracket.obj"), tmp_path / "cache"
    first = mesh_object(source, cache=cache)
    assert first.name == "mesh/bracket" and len(first.parts) == 2
    # Volume 4; the center of mass (0.75, 1.25, 0.5), the farthest corner (1, 3, z).
    radius = np.sqrt(max((x - 0.75) ** 2 + (y - 1.25) ** 2 + 0.25 for x, y in OUTLINE))
    assert first.volume == pytest.approx(4 / radius**3, rel=1e-3)
    monkeypatch.setitem(sys.modules, "coacd", None)
    assert mesh_object(source, cache=cache).digest == first.digest
    # A damaged file of the cache is made anew, and the file's content decides, not its name.
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    for damaged in (b"damaged", whole[: len(whole) // 2]):
        kept.write_bytes(damaged)
        with pytest.raises(MissingExtra, match=r"pkubench\[meshes\]"):
            mesh_object(source, cache=cache)


def test_what_is_not_a_mesh_is_refused_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "words.obj").write_text("hello")
    for name, words in (("words.obj", "is not a mesh"), ("none.obj", "cannot read")):
        with pytest.raises(DataError, match=words) as caught:
            mesh_object(tmp_path / name, cache=tmp_path)
        assert "\n" not in str(caught.value)


def write_blob(folder: Path, number: str, groups: int) -> None:
    lines = []
    for k in range(groups):
        lines.append(f"o convex_{k}")
        lines += [f"v {x + k} {y} {z}" for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    (folder / number).mkdir()
    (folder / number / f"{number}.obj").write_text("\n".join(lines))


def test_a_blob_has_a_part_for_each_group_of_its_file(tmp_path: Path) -> None:
    write_blob(tmp_path, "007", 3)
    found = blob(7, tmp_path)
    assert (found.name, found.family, len(found.parts)) == ("blob/0007", "blob", 3)
    assert found.volume == pytest.approx(3 / (np.sqrt(1.5**2 + 0.5) ** 3), rel=1e-3)


def test_blobs_with_too_many_parts_are_left_out_and_missing_ones_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pkubench.envs.grasp.objects.meshes.BLOBS", 2)
    write_blob(tmp_path, "000", 2)
    write_blob(tmp_path, "001", 17)
    assert [item.name for item in blobs(tmp_path)] == ["blob/0000"]
    monkeypatch.setattr("pkubench.envs.grasp.objects.meshes.BLOBS", 3)
    with pytest.raises(PkubenchError, match="cannot read the blob"):
        blobs(tmp_path)
    with pytest.raises(UnknownName, match="0 to 2"):
        blob(3, tmp_path)
