"""A tracker in other trainers: Lightning, Hugging Face, TensorBoard and our own."""

import math
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

import landscape
from foundation.errors import InputError
from tests.conftest import SMALL, run_command
from tests.landscape.recording.test_tracker import data


def tracker(tmp_path, **options):
    return landscape.Tracker(data(), subsets=["all", "few"], out=tmp_path / "track.h5", budget=1e9, **options)


def test_our_own_training_tracks_and_ends_as_without(tmp_path, small_run):
    out = tmp_path / "ce"
    run_command("training.run", *SMALL, "--method", "ce", "--out", out, "--track")
    track, _ = landscape.read_track(out / "track.h5")
    assert track.subset[:2] == ("all", "balanced") and len(track.subset) == 15
    assert track.epoch.tolist() == track.step.tolist() and set(track.step) <= {1, 2, 3} and (track.loss > 0).all()
    ours, theirs = (torch.load(f / "checkpoint.pt", weights_only=True)["state_dict"] for f in (out, small_run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_plug_in_that_is_not_there_is_one_sentence(tmp_path):
    done = run_command("training.run", *SMALL, "--out", tmp_path, "--track", "no.such:thing", check=False)
    assert done.returncode == 2 and "--track 'no.such:thing' cannot be loaded" in done.stderr


@pytest.mark.parametrize(
    ("make", "module"), [("lightning_callback", "lightning"), ("transformers_callback", "transformers")]
)
def test_a_trainer_that_is_not_installed_is_one_sentence(tmp_path, monkeypatch, make, module):
    for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "transformers", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=f"takes the package {module}: install it"):
        getattr(landscape, make)(tracker(tmp_path))
    with pytest.raises(InputError, match="take the package tensorboard"):
        tracker(tmp_path, tensorboard=tmp_path)


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
def test_lightning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pytorch_lightning as lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = nn.Linear(6, 3)

        def training_step(self, batch, index):
            return functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    following = tracker(tmp_path, every=3)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), 8)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[landscape.lightning_callback(following, "model")],
    )  # fmt: skip
    trainer.fit(Module(), loader)
    assert following.track.step.tolist() == [3, 6, 9, 12]
    assert following.track.epoch.tolist() == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert following.track.loss[-1, 0] < following.track.loss[0, 0]


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
def test_transformers(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
    torch.manual_seed(0)
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                        max_position_embeddings=8, num_labels=2)  # fmt: skip
    ids = torch.randint(0, 20, (24, 8))
    labels = (ids[:, 0] > 12).long()
    following = landscape.Tracker(
        ({"input_ids": ids}, labels), every=4, subsets=["all"], out=tmp_path / "track.h5", budget=1e9,
        forward=lambda network, inputs: network(**inputs).logits,
    )  # fmt: skip
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "hf"), num_train_epochs=2, per_device_train_batch_size=3, report_to=[], use_cpu=True,
        save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    rows = [{"input_ids": i, "labels": label} for i, label in zip(ids, labels, strict=True)]
    Trainer(
        BertForSequenceClassification(config), arguments, train_dataset=rows,
        callbacks=[landscape.transformers_callback(following)],
    ).train()  # fmt: skip
    assert following.track.step.tolist() == [4, 8, 12, 16] and following.track.epoch[-1] == 2
    assert (following.track.status == 1).all()


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_the_scalars_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    following, network = tracker(tmp_path, every=1, tensorboard=tmp_path / "events"), nn.Linear(6, 3)
    for _ in range(3):
        following.step(network)
    read = EventAccumulator(str(tmp_path / "events"))
    read.Reload()
    values = [event.value for event in read.Scalars("landscape/top/few")]
    assert values == pytest.approx(following.track.top[:, 1].tolist()) and not any(map(math.isnan, values))
