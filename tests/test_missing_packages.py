"""What needs a package that is not installed says how to install it."""

import sys

import pytest
from trainer_cases import trainer_of

from fastnn import MissingExtra, Trainer


def test_without_onnx_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r'pip install "fastnn\[onnx\]"'):
        trainer_of().to_onnx(tmp_path / "model.onnx")
    assert not [*tmp_path.iterdir()]


def test_without_pytorch_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match="pip install torch"):
        trainer_of().to_torch()
    with pytest.raises(MissingExtra, match="pip install torch"):
        Trainer.from_torch(object())
