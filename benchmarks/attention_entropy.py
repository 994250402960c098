"""How concentrated is the attention of a network?

The entropy of each query's weights over that of equal weights, 0 (one place) to 1 (all alike), and how far apart the queries of an image
are: half the sum of absolute differences between a query's weights and their mean, 0 where all look at the same places
(collapsed) to almost 1. Means over DRRs of the patient at poses that no training has seen. Transformers of this design are
reported to collapse (arXiv 2411.01443).

    python benchmarks/attention_entropy.py MODEL... [--patient 1] [--images 64] [--out results/attention_entropy]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from common.patients import choose_patients
from common.report import RESULTS, out_path, publish

from xrcore import PoseRegressor, XrcoreError
from xrcore.learning.training.stream import VALIDATION, DrrStream


def spread_of(weights: torch.Tensor) -> tuple[float, float]:
    """Normalised entropy, and how far apart queries are, of attention weights (B, heads, N, N)."""
    entropy = -(weights * weights.clamp_min(1e-30).log()).sum(-1) / math.log(weights.shape[-1])
    apart = 0.5 * (weights - weights.mean(2, keepdim=True)).abs().sum(-1)
    return float(entropy.mean()), float(apart.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--patient", default="1")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--out", type=out_path, default=RESULTS / "attention_entropy")
    args = parser.parse_args()
    (patient,) = choose_patients(args.patient)
    rows: list[dict[str, Any]] = []
    for folder in args.models:
        model = PoseRegressor.load(folder)
        volume = patient.volume(model.settings.spacing)
        batch = DrrStream(volume, model.carm, model.settings, purpose=VALIDATION).batch([(2, i) for i in range(args.images)])
        _, weights = model.predict_batch(batch.images, batch.masks, attention=True)
        if weights is None:
            raise XrcoreError(f"{folder}: this network has no attention")
        entropy, apart = spread_of(weights.float())
        rows.append(
            {"model": folder.name, "method": model.settings.method, "tokens": weights.shape[-1], "entropy": entropy, "apart": apart}
        )
    publish(
        args.out,
        [{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows],
        note=f"Patient {args.patient}, {args.images} DRRs",
    )


if __name__ == "__main__":
    main()
