"""Models: backbones by name, classifiers, and the network, which is a backbone with heads."""

from ltbench.models.backbones import backbone_names, build_backbone, check_backbone
from ltbench.models.classifiers import CosineClassifier
from ltbench.models.network import Network

__all__ = ["CosineClassifier", "Network", "backbone_names", "build_backbone", "check_backbone"]
