"""A study of two models and two devices, whose times tests foretell."""

from metrics_builder import make_record
from study_builder import CPU, make_study
from trainbench.plan.study import Device, ModelSettings

EPOCHS = 10
STUDY = make_study(
    {name: ModelSettings(epochs=EPOCHS, hyperparameters={}) for name in ("conv", "lstm")},
    (128, 256, 512),
    devices=("cpu", "gpu"),
    repeats=3,
    device_settings={"cpu": CPU, "gpu": Device("gpu", "gpu", threads="all", gpus=1)},
)
DATA = make_record()["settings"]["dataset_files_sha256"]
HOST = make_record()["host"]
