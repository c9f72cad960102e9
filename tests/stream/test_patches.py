"""Patches: the twin's values, transformers' bits, and the way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from support import run_python
from tokfrag.reference import patches as twin
from tokfrag.stream import LAYOUTS, Layout, patchify, unpatchify

torch = pytest.importorskip("torch")


def picture(shape: tuple[int, ...], seed: int = 0, dtype: Any = np.uint8) -> Any:
    random = np.random.default_rng(seed)
    if dtype == np.uint8:
        return random.integers(0, 256, shape, dtype=np.uint8)
    return random.standard_normal(shape).astype(dtype)


layouts = st.builds(
    Layout,
    patch=st.integers(1, 5),
    frames=st.integers(1, 3),
    merge=st.integers(1, 3),
    axes=st.permutations("ctyx").map("".join),
    mean=st.just((0.1, 0.2, 0.3)),
    std=st.just((0.5, 0.6, 0.7)),
)


@settings(max_examples=60)
@given(
    layout=layouts,
    grid=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    frames=st.integers(1, 4),
    kind=st.sampled_from([np.uint8, np.float32]),
    out=st.sampled_from(["float32", "float16", "bfloat16"]),
    how=st.sampled_from(["plain", "reversed", "strided", "fortran", "tensor"]),
    seed=st.integers(0, 99),
)
def test_values_are_the_twins(
    layout: Layout,
    grid: tuple[int, int],
    frames: int,
    kind: Any,
    out: str,
    how: str,
    seed: int,
) -> None:
    height, width = (n * layout.unit for n in grid)
    video = picture((frames, height, width, 3), seed, kind)
    scale = np.array([0.5, 2, -1 / 3], np.float32)
    shift = np.array([0, 1 / 7, 100], np.float32)
    given: Any = {
        "plain": lambda: video,
        "reversed": lambda: np.ascontiguousarray(video[::-1, ::-1])[::-1, ::-1],
        "strided": lambda: np.repeat(video, 2, axis=2)[:, :, ::2],
        "fortran": lambda: np.asfortranarray(video),
        "tensor": lambda: torch.from_numpy(video).permute(0, 3, 1, 2),
    }[how]()
    patches = patchify([given], layout, scale=scale, shift=shift, dtype=out)
    expected = twin.patchify(
        video,
        patch=layout.patch,
        frames=layout.frames,
        merge=layout.merge,
        axes=layout.axes,
        scale=scale,
        shift=shift,
    )
    expected = torch.from_numpy(expected).to(getattr(torch, out))
    assert torch.equal(torch.as_tensor(patches.values), expected)
    assert patches.grid_thw.tolist() == [
        [-(-frames // layout.frames), *(n * layout.merge for n in grid)]
    ]
    if out == "float32":
        [back] = unpatchify(patches, dtype=kind)
        assert np.allclose(back, video, atol=1e-4)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_goes_back(name: str) -> None:
    layout = LAYOUTS[name]
    images = [picture((layout.unit * a, layout.unit * b, 3), a) for a, b in ((1, 2), (2, 1))]
    video = picture((3, layout.unit, layout.unit, 3), 5)
    for threads in (1, 2):
        patches = patchify([*images, video], name, threads=threads)
        assert len(patches) == patches.grid_thw.prod(1).sum() == patches.cu_seqlens[-1]
        for back, image in zip(unpatchify(patches), [*images, video], strict=True):
            assert (back == image).all()
    # Positions say which pixels a patch holds.
    [image] = images[:1]
    raw = patchify(image, name, scale=1)
    corner = [layout.axes.index(axis) for axis in "tyxc"]
    extent = {"c": 3, "t": layout.frames, "y": layout.patch, "x": layout.patch}
    shaped = raw.values.reshape(len(raw), *(extent[axis] for axis in layout.axes))
    shaped = shaped.transpose(0, *(axis + 1 for axis in corner))
    for patch, (_, y, x) in zip(shaped, raw.positions, strict=True):
        assert (patch[0, 0, 0] == image[y * layout.patch, x * layout.patch]).all()


def qwen2_vl() -> Any:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    return Qwen2VLImageProcessorPil()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"patch_size": 16, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    ],
    ids=["qwen2_vl", "qwen3_vl"],
)
def test_bits_of_transformers_for_qwen(options: dict[str, Any], request: Any) -> None:
    pytest.importorskip("transformers")
    name = request.node.callspec.id
    unit = LAYOUTS[name].unit
    images = [picture((unit * 2, unit * 3, 3)), picture((unit * 4, unit, 3), 1)]
    theirs = qwen2_vl()(images=images, do_resize=False, return_tensors="np", **options)
    ours = patchify(images, name)
    assert np.array_equal(ours.values, theirs["pixel_values"])
    assert ours.grid_thw.tolist() == theirs["image_grid_thw"].tolist()
    for kind in (torch.float16, torch.bfloat16):
        halves = patchify(images, name, dtype=kind).values
        expected = torch.from_numpy(theirs["pixel_values"]).to(kind)
        assert torch.equal(torch.as_tensor(halves), expected)


def test_bits_of_transformers_for_siglip2() -> None:
    module = pytest.importorskip("transformers.models.siglip2.image_processing_pil_siglip2")
    image = picture((48, 80, 3))
    theirs = module.Siglip2ImageProcessorPil(max_num_patches=15)(
        images=[image], do_resize=False, return_tensors="np"
    )
    assert np.array_equal(patchify(image, "siglip2").values, theirs["pixel_values"][0])


@pytest.mark.parametrize(
    ("layout", "module", "processor"),
    [
        ("clip", "transformers.models.clip.image_processing_pil_clip", "CLIPImageProcessorPil"),
        ("vit", "transformers.models.vit.image_processing_pil_vit", "ViTImageProcessorPil"),
    ],
)
def test_bits_of_the_embedding_convolution(layout: str, module: str, processor: str) -> None:
    """A patch of ours times the weight is what the model's convolution gives for theirs."""
    source = pytest.importorskip(module)
    plan = LAYOUTS[layout]
    image = picture((plan.patch * 2, plan.patch * 3, 3))
    theirs = getattr(source, processor)()(
        images=[image], do_resize=False, do_center_crop=False, return_tensors="pt"
    )["pixel_values"]
    unfolded = torch.nn.functional.unfold(theirs, plan.patch, stride=plan.patch)
    assert torch.equal(torch.from_numpy(patchify(image, layout).values), unfolded[0].T)


def test_fused_formula_is_torchvisions() -> None:
    plan = replace(LAYOUTS["qwen2_vl"], formula="fused")
    image = picture((28, 28, 3))
    mean = torch.tensor(plan.mean) * (1.0 / (1 / 255))
    std = torch.tensor(plan.std) * (1.0 / (1 / 255))
    x = torch.from_numpy(image).permute(2, 0, 1).to(torch.float32)
    expected = x.sub(mean[:, None, None]).div(std[:, None, None])
    raw = unpatchify(patchify(image, plan, scale=1))[0]
    assert (raw == image).all()
    ours = patchify(image, plan).values
    again = patchify([expected.contiguous()], plan, scale=1).values
    assert torch.equal(torch.from_numpy(ours), again)


def test_kinds_of_images_agree() -> None:
    image = picture((32, 48, 3))
    expected = patchify(image, "vit").values
    pillow = pytest.importorskip("PIL.Image")
    for kind in (torch.from_numpy(image).permute(2, 0, 1), pillow.fromarray(image), [image]):
        assert np.array_equal(np.asarray(patchify(kind, "vit").values), expected)
    out = np.empty_like(expected)
    assert patchify(image, "vit", out=out).values is out
    assert np.array_equal(out, expected)
    mixed = patchify([image, image.astype(np.float32), image], "vit", scale=0.5)
    assert np.array_equal(mixed.values[:6], mixed.values[6:12])
    assert np.array_equal(mixed.values[:6], mixed.values[12:])


def test_gradients_flow() -> None:
    x = torch.randn(3, 8, 12, dtype=torch.float32, requires_grad=True)
    layout = Layout(patch=2, merge=2, frames=2, axes="tyxc")
    patches = patchify(x, layout, scale=3.0)
    plain = patchify(x.detach(), layout, scale=3.0)
    assert torch.equal(patches.values, plain.values)
    patches.values.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 6.0)), "every pixel stands in two frames"
    raw = torch.randint(0, 256, (3, 8, 12), dtype=torch.uint8)
    assert torch.equal(patchify(raw, layout).values, patchify(raw.to("cpu"), layout).values)


def test_levels_and_threads_give_the_same_bits() -> None:
    code = """
        import hashlib, numpy as np
        from tokfrag.stream import patchify
        image = np.random.default_rng(0).integers(0, 256, (140, 112, 3), dtype=np.uint8)
        digest = hashlib.sha256()
        for given in (image, image.astype(np.float32) / 7):
            for dtype in ("float32", "float16"):
                for threads in (1, 2):
                    made = patchify(
                        given, "qwen2_vl", scale=1 / 3, shift=0.1, dtype=dtype, threads=threads
                    )
                    digest.update(made.values)
        print(digest.hexdigest())
    """
    from tokfrag._core import supported_isas

    found = {run_python(code, TOKFRAG_ISA=isa).stdout for isa in supported_isas()}
    assert len(found) == 1
    assert found.pop().strip()


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (
            picture((30, 28, 3)),
            {},
            r"images\[0\]: got 30 x 28 pixels, takes multiples of 28",
        ),
        (picture((28, 28, 4)), {}, r"images\[0\]: got shape \(28, 28, 4\)"),
        (np.empty((0, 28, 3), np.uint8), {}, "none of them empty"),
        (picture((28, 28, 3)), {"layout": "qwen9"}, "layout: got 'qwen9', takes 'clip'"),
        (
            picture((28, 28, 3)),
            {"scale": [1, 2]},
            r"scale: got \[1, 2\], takes a finite",
        ),
        (picture((28, 28, 3)), {"scale": np.nan}, "takes a finite number"),
        (picture((28, 28, 3)), {"dtype": np.float64}, "dtype: got float64"),
        (picture((28, 28, 3)), {"dtype": np.uint8}, "uint8 loses what scale and shift give"),
        (picture((28, 28, 3)), {"out": np.empty((1, 2), np.float32)}, "out: got float32 of shape"),
    ],
)
def test_bad_values(images: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patchify(images, **{"layout": "qwen2_vl", **options})


def test_bad_kinds() -> None:
    with pytest.raises(TypeError, match=r"images\[1\]: got list"):
        patchify([picture((28, 28, 3)), [1]], "qwen2_vl")
    with pytest.raises(TypeError, match=r"images\[0\]: got float64, takes uint8 or float32"):
        patchify(np.zeros((28, 28, 3)), "qwen2_vl")
    with pytest.raises(TypeError, match="images: got str"):
        patchify("cat.png", "qwen2_vl")
