"""Images inside texts: places and positions, as transformers numbers them; frames of sound."""

from __future__ import annotations

import numpy as np
import pytest

from tokfrag.stream import (
    expand_placeholders,
    frame_audio,
    log_mel,
    mrope_positions,
    pack,
    patchify,
    unpatchify,
)

torch = pytest.importorskip("torch")


def test_counts_must_match() -> None:
    with pytest.raises(ValueError, match=r"hold 2 placeholders \(9\) for 1 images; .* position 3"):
        expand_placeholders([1, 9, 2, 9], 9, [4])
    with pytest.raises(ValueError, match=r"hold 0 placeholders \(9\) for 1 images$"):
        expand_placeholders([1], 9, [4])
    with pytest.raises(TypeError, match="ids: got float64"):
        expand_placeholders([0.5], 9, [])
    with pytest.raises(ValueError, match="the images have 4 places"):
        mrope_positions([9, 9], 9, [[1, 2, 2]])
    with pytest.raises(ValueError, match="position 0 is cut off"):
        mrope_positions([9, 1, 9], 9, [[1, 1, 2]])


def test_positions_are_transformers() -> None:
    module = pytest.importorskip("transformers.models.qwen2_vl.modeling_qwen2_vl")
    from types import SimpleNamespace

    images = [np.zeros((56, 84, 3), np.uint8), np.zeros((28, 112, 3), np.uint8)]
    patches = patchify(images, "qwen2_vl")
    ids = expand_placeholders([1, 2, 9, 3, 4, 5, 9, 6], 9, patches.places)
    ours = mrope_positions(ids, 9, patches.grid_thw, merge=2)
    stub = SimpleNamespace(
        config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2))
    )
    model = module.Qwen2VLModel
    stub.get_vision_position_ids = model.get_vision_position_ids.__get__(stub)
    row = torch.from_numpy(ids)[None]
    theirs, _ = model.get_rope_index(
        stub, row, (row == 9).int(), torch.from_numpy(patches.grid_thw)
    )
    assert np.array_equal(ours, theirs[:, 0].numpy())
    packed = pack([ids, [7, 8]], len(ids) + 2, positions=[ours, np.zeros((3, 2), np.int64)])
    assert np.array_equal(packed.position_ids[:, 0, : len(ids)], ours)


def test_positions_of_videos_are_transformers() -> None:
    module = pytest.importorskip("transformers.models.qwen2_vl.modeling_qwen2_vl")
    from types import SimpleNamespace

    image, video = np.zeros((56, 84, 3), np.uint8), np.zeros((5, 28, 112, 3), np.uint8)
    patches = patchify([image, video], "qwen2_vl")
    assert patches.grid_thw.tolist() == [[1, 4, 6], [3, 2, 8]]
    ids = expand_placeholders([1, 9, 3, 9, 6, 7], 9, patches.places)
    ours = mrope_positions(ids, 9, patches.grid_thw, merge=2)
    stub = SimpleNamespace(
        config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2))
    )
    model = module.Qwen2VLModel
    stub.get_vision_position_ids = model.get_vision_position_ids.__get__(stub)
    row = torch.from_numpy(ids)[None]
    kinds = (row == 9).int()  # 1: of an image, 2: of a video
    kinds[:, 1 + int(patches.places[0]) :] *= 2
    grids = torch.from_numpy(patches.grid_thw)
    theirs, _ = model.get_rope_index(stub, row, kinds, grids[:1], grids[1:])
    assert np.array_equal(ours, theirs[:, 0].numpy())


@pytest.mark.parametrize("samples", [400, 1601, 16000])
def test_frames_are_those_of_the_stft(samples: int) -> None:
    sound = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    frames = frame_audio(torch.from_numpy(sound))
    spectrum = torch.stft(
        torch.from_numpy(sound), 400, 160, window=torch.hann_window(400), return_complex=True
    )[:, :-1]
    ours = torch.fft.rfft(frames * torch.hann_window(400)).T
    n = samples // 160
    torch.testing.assert_close(ours[:, :n], spectrum[:, :n], atol=1e-4, rtol=1e-4)
    assert np.array_equal(frame_audio(sound), frames.numpy())
    patches = patchify([sound, sound], "whisper")
    assert patches.grid_thw.tolist() == [[n, 1, 1]] * 2
    for back in unpatchify(patches):
        assert np.array_equal(back.astype(np.float32), sound[: n * 160])


def test_bad_sound() -> None:
    with pytest.raises(ValueError, match="got 3 samples, takes more than 200"):
        frame_audio(np.zeros(3))
    with pytest.raises(TypeError, match="sound: got list"):
        frame_audio([1.0])


@pytest.mark.parametrize("mels", [80, 128])
def test_log_mel_is_whispers(mels: int) -> None:
    transformers = pytest.importorskip("transformers")
    sound = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    extractor = transformers.WhisperFeatureExtractor(feature_size=mels, chunk_length=1)
    theirs = extractor(sound, sampling_rate=16000, return_tensors="np")["input_features"][0]
    for given in (sound, torch.from_numpy(sound)):
        np.testing.assert_allclose(log_mel(given, mels=mels), theirs, atol=1e-4)
    with pytest.raises(ValueError, match=r"sound: got shape \(2, 16000\)"):
        log_mel(np.stack([sound, sound]))
