import numpy as np
import pytest

from kd_loss.inference.predictor import LandmarkPredictor
from kd_loss.networks import Card, build_network, save_network
from kd_loss.runtimes.crop_network import CropNetwork
from kd_loss.schemes.benchmarks import W300
from kd_loss.synthetic.faces import face_landmarks

#: of a drawn face, normalised to its crop
POINTS = face_landmarks("w300", 100, 0, 0) / 100 - 0.5


@pytest.fixture(scope="module")
def network():
    """A network that always answers with the same normalised points."""
    network = build_network(Card("mobileNetV2", 0.35, "w300", W300.to_dict(), 32, "student", 0.15))
    network.model.get_layer("head").set_weights([np.zeros((1280, 136)), POINTS.reshape(-1)])
    return network


@pytest.fixture(scope="module")
def predictor(network):
    return LandmarkPredictor(CropNetwork.of(network))


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    """That network in a file."""
    path = tmp_path_factory.mktemp("weights") / "best.h5"
    save_network(network, path)
    return path
