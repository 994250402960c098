"""Mutants of every file that is read: refused in one line, read as before, or remarked upon; nothing else, in bounded time and memory."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest
import torch
from safetensors.torch import save
from support.mutants.guarded import attack

from xrcore import XrcoreError
from xrcore.learning.models.tensors import read_json, read_tensors, write_pair


@pytest.mark.parametrize(
    ("samples", "count"),
    [
        ("ct_samples", 250),
        ("xray_samples", 200),
        ("text_samples", 100),
        ("model_samples", 40),
        pytest.param("ct_samples", 2_000, marks=pytest.mark.slow),
        pytest.param("xray_samples", 2_000, marks=pytest.mark.slow),
        pytest.param("text_samples", 2_000, marks=pytest.mark.slow),
        pytest.param("model_samples", 400, marks=pytest.mark.slow),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_mutants_are_read_as_before_refused_or_remarked(samples, count, record_property):
    report = attack(samples, count, seed=1)
    record_property("measured", f"{samples}: {report}")
    assert report.wrong == []
    assert report.count == count


@pytest.mark.parametrize("about", ["null", "[]", "3", '"x"'])
def test_tensors_without_metadata_are_refused(tmp_path, about):
    write_pair(tmp_path, "thing", {"a": torch.ones(2)}, {"format": "thing/1"})
    record = json.loads((tmp_path / "thing.json").read_text())
    content = save({"a": torch.ones(2)})
    length = int.from_bytes(content[:8], "little")
    header = b'{"__metadata__":' + about.encode() + b"," + content[9 : 8 + length]
    path = tmp_path / record["tensors"]["file"]
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    record["tensors"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "thing.json").write_text(json.dumps(record))
    with pytest.raises(XrcoreError, match=r"not a safetensors file|was changed after it was written"):
        read_tensors(tmp_path, read_json(tmp_path / "thing.json", "thing/1"))
