"""The networks' old address, for one release: `ntkrepro.networks` has them now."""

from ntkrepro.networks.architectures import CNN, FC, WRN, Network
from ntkrepro.networks.functions import apply, init
from ntkrepro.networks.layers import ACTIVATIONS, Conv, Dense, Norm

__all__ = ["ACTIVATIONS", "CNN", "FC", "WRN", "Conv", "Dense", "Network", "Norm", "apply", "init"]
