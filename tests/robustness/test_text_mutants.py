"""Mutants of carm.yaml, poses, registration.json, manifests and model folders: read, or refused in one line; nothing else."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from xrcore import XrcoreError
from xrcore.learning.models.tensors import read_json, read_tensors, write_pair


@pytest.mark.parametrize("count", [300, pytest.param(2_000, marks=pytest.mark.slow)])
@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_mutants_are_read_or_refused(count):
    command = [sys.executable, str(Path(__file__).with_name("text_mutants.py")), str(count), "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"the interpreter died: {done.returncode} {done.stderr[-2000:]}"
    found = json.loads(done.stdout.splitlines()[-1])
    print(found["told"])  # which shows what a body without a checksum cannot tell, as "differs"
    assert found["wrong"] == []
    assert sum(sum(counts.values()) for counts in found["told"].values()) == count
    # their hashes tell
    assert not {"differs"} & (found["told"]["model.json"].keys() | found["told"]["tensors"].keys())


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
