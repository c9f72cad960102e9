"""Sizes and pixels of resized images: those of transformers' processors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from tokfrag.stream import area_size, longest_size, patches_size, patchify, resize

pytest.importorskip("torch")
pytest.importorskip("PIL")

sides = st.integers(1, 3000)


@given(height=sides, width=sides)
def test_sizes_are_transformers(height: int, width: int) -> None:
    qwen = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    siglip = pytest.importorskip("transformers.models.siglip2.image_processing_pil_siglip2")
    pixtral = pytest.importorskip("transformers.models.pixtral.image_processing_pil_pixtral")
    if max(height, width) <= 200 * min(height, width):
        theirs = qwen.smart_resize(height, width, 28, 56 * 56, 28 * 28 * 1280)
        assert area_size(height, width, "qwen2_vl") == theirs
    found = siglip.get_image_size_for_max_num_patches(height, width, 16, 256)
    assert patches_size(height, width, "siglip2") == found
    ratio = max(height, width) / 1024
    if ratio <= 1 or min(height, width) / ratio >= 1:
        image = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (3, height, width))
        assert longest_size(height, width, "pixtral") == pixtral.get_resize_output_image_size(
            image, 1024, 16, "channels_first"
        )


def test_pixels_are_transformers() -> None:
    qwen = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    image: Any = np.random.default_rng(0).integers(0, 256, (100, 170, 3), dtype=np.uint8)
    theirs = qwen.Qwen2VLImageProcessorPil()(images=[image], return_tensors="np")
    ours = patchify(resize(image, area_size(100, 170, "qwen2_vl")), "qwen2_vl")
    assert np.array_equal(ours.values, theirs["pixel_values"])


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="takes sides within 200 to 1"):
        area_size(1, 300, "qwen2_vl")
    with pytest.raises(ValueError, match="got 0 x 5"):
        patches_size(0, 5, "siglip2")
    with pytest.raises(ValueError, match="resample: got 'cubic'"):
        resize(np.zeros((4, 4, 3), np.uint8), (2, 2), resample="cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="image: got float64"):
        resize(np.zeros((4, 4, 3)), (2, 2))
