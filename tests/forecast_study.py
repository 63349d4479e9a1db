"""A study of two models and two devices, whose times tests foretell."""

from metrics_builder import make_record
from trainbench.study import Device, ModelSettings, Study

EPOCHS = 10
STUDY = Study(
    models=("conv", "lstm"),
    batch_sizes=(128, 256, 512),
    devices=("cpu", "gpu"),
    repeats=3,
    seed=1,
    isolation="device",
    monitor_interval_seconds=0.1,
    dataset_path="data",
    validation_samples=0,
    model_settings={name: ModelSettings(epochs=EPOCHS, hyperparameters={}) for name in ("conv", "lstm")},
    device_settings={
        "cpu": Device("cpu", "cpu", threads="all", gpus=0),
        "gpu": Device("gpu", "gpu", threads="all", gpus=1),
    },
)
DATA = make_record()["settings"]["dataset_files_sha256"]
HOST = make_record()["host"]["id"]
