"""Layers of well-known networks, at the sizes and with the parameters that they have there.

Kernels are chosen by shapes: a path for depthwise 3×3 kernels, for multiples of 32 channels, for a transposed
4×4 kernel of stride 2. Drawn shapes meet such a predicate seldom; networks meet nothing else. The batch is 1
unless the network fixes it, and a sequence is as long as the network's input or a part of it.

A layer is an operation with the shapes of its arrays, its parameters, and, where an array is a view of
another one, the order of its axes in memory (the outermost first).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

__all__ = ["LAYERS", "SOURCES", "Layer", "of_kind"]

#: Where each network is described.
SOURCES: Mapping[str, str] = {
    "3D U-Net": "Çiçek et al., MICCAI 2016, arXiv:1606.06650",
    "3D-GAN": "Wu et al., NIPS 2016, arXiv:1610.07584",
    "AlexNet": "Krizhevsky et al., NIPS 2012",
    "BERT base": "Devlin et al., NAACL 2019, arXiv:1810.04805",
    "BinaryNet": "Courbariaux et al., NIPS 2016, arXiv:1602.02830",
    "C3D": "Tran et al., ICCV 2015, arXiv:1412.0767",
    "Char-CNN": "Zhang et al., NIPS 2015, arXiv:1509.01626",
    "Conv-TasNet": "Luo and Mesgarani, TASLP 2019, arXiv:1809.07454",
    "ConvNeXt-T": "Liu et al., CVPR 2022, arXiv:2201.03545",
    "CRNN": "Shi et al., TPAMI 2017, arXiv:1507.05717",
    "CycleGAN": "Zhu et al., ICCV 2017, arXiv:1703.10593",
    "DCGAN": "Radford et al., ICLR 2016, arXiv:1511.06434",
    "DeepLab": "Chen et al., TPAMI 2018, arXiv:1606.00915; v3: arXiv:1706.05587",
    "DenseNet-121": "Huang et al., CVPR 2017, arXiv:1608.06993",
    "Dilated context": "Yu and Koltun, ICLR 2016, arXiv:1511.07122",
    "EfficientNet-B0": "Tan and Le, ICML 2019, arXiv:1905.11946",
    "ELU network": "Clevert et al., ICLR 2016, arXiv:1511.07289",
    "FCN": "Long et al., CVPR 2015, arXiv:1411.4038",
    "FSRCNN": "Dong et al., ECCV 2016, arXiv:1608.00367",
    "GNMT": "Wu et al., 2016, arXiv:1609.08144",
    "GoogLeNet": "Szegedy et al., CVPR 2015, arXiv:1409.4842",
    "GPT-2": "Radford et al., 2019, Language Models are Unsupervised Multitask Learners",
    "Handwriting LSTM": "Graves, 2013, arXiv:1308.0850",
    "HiFi-GAN": "Kong et al., NeurIPS 2020, arXiv:2010.05646",
    "I3D": "Carreira and Zisserman, CVPR 2017, arXiv:1705.07750",
    "Inception-v3": "Szegedy et al., CVPR 2016, arXiv:1512.00567",
    "LeNet-5": "LeCun et al., Proc. IEEE 86 (1998)",
    "Listen, Attend and Spell": "Chan et al., ICASSP 2016, arXiv:1508.01211",
    "LLaMA-7B": "Touvron et al., 2023, arXiv:2302.13971",
    "Llama 3": "Grattafiori et al., 2024, arXiv:2407.21783",
    "Mamba-130M": "Gu and Dao, 2023, arXiv:2312.00752",
    "Maxout": "Goodfellow et al., ICML 2013, arXiv:1302.4389",
    "MelGAN": "Kumar et al., NeurIPS 2019, arXiv:1910.06711",
    "MobileNetV2": "Sandler et al., CVPR 2018, arXiv:1801.04381",
    "MobileNetV3": "Howard et al., ICCV 2019, arXiv:1905.02244",
    "PoolFormer": "Yu et al., CVPR 2022, arXiv:2111.11418",
    "PTB LSTM": "Zaremba et al., 2014, arXiv:1409.2329",
    "R(2+1)D-18": "Tran et al., CVPR 2018, arXiv:1711.11248",
    "ResNet-50": "He et al., CVPR 2016, arXiv:1512.03385",
    "ResNeXt-50": "Xie et al., CVPR 2017, arXiv:1611.05431",
    "Seq2seq": "Sutskever et al., NIPS 2014, arXiv:1409.3215",
    "Show and Tell": "Vinyals et al., CVPR 2015, arXiv:1411.4555",
    "ShuffleNet": "Zhang et al., CVPR 2018, arXiv:1707.01083",
    "Speech LSTM": "Graves et al., ICASSP 2013, arXiv:1303.5778",
    "SPP-net": "He et al., ECCV 2014, arXiv:1406.4729",
    "SqueezeNet": "Iandola et al., 2016, arXiv:1602.07360",
    "Swin-T": "Liu et al., ICCV 2021, arXiv:2103.14030",
    "T5 small": "Raffel et al., JMLR 21 (2020), arXiv:1910.10683",
    "Tacotron 2": "Shen et al., ICASSP 2018, arXiv:1712.05884",
    "U-Net": "Ronneberger et al., MICCAI 2015, arXiv:1505.04597",
    "VGG-16": "Simonyan and Zisserman, ICLR 2015, arXiv:1409.1556",
    "ViT-B/16": "Dosovitskiy et al., ICLR 2021, arXiv:2010.11929",
    "wav2vec 2.0": "Baevski et al., NeurIPS 2020, arXiv:2006.11477",
    "WaveNet": "van den Oord et al., 2016, arXiv:1609.03499; widths of arXiv:1711.10433",
    "WGAN": "Arjovsky et al., ICML 2017, arXiv:1701.07875",
    "Whisper tiny": "Radford et al., ICML 2023, arXiv:2212.04356",
    "word2vec": "Mikolov et al., NIPS 2013, arXiv:1310.4546",
    "Xception": "Chollet, CVPR 2017, arXiv:1610.02357",
    "YOLOv3": "Redmon and Farhadi, 2018, arXiv:1804.02767; with SPP: arXiv:1903.08589",
    "pix2pix": "Isola et al., CVPR 2017, arXiv:1611.07004",
}

Shape = tuple[int, ...]
Sizes = int | Shape
Pads = int | tuple[Any, ...]


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes
    ----------
    network, name : str
        The network, one of `SOURCES`, and the layer's name in it.
    operation : str
        The operation that it is in the forward direction.
    shapes : mapping of str to tuple of int
        The shape of every array.
    parameters : mapping of str to object
        The other arguments that are not defaults; steps and padding are written for every axis.
    orders : mapping of str to tuple of int
        The axes of an array, or of ``"out"``, from the outermost to the innermost in memory, where that is
        not their own order.
    """

    network: str
    name: str
    operation: str
    shapes: Mapping[str, Shape]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    orders: Mapping[str, Shape] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.network} {self.name} ({self.operation})"

    @property
    def source(self) -> str:
        """Where the network is described."""
        return SOURCES[self.network]


def of_kind(*operations: str) -> tuple[Layer, ...]:
    """Return the layers that are one of these operations.

    Examples
    --------
    >>> print(*of_kind("maxout"))
    Maxout MNIST 5 pieces (maxout) Maxout MNIST 2 pieces (maxout)
    """
    return tuple(layer for layer in LAYERS if layer.operation in operations)


def _axes(value: Sizes, ndim: int) -> Shape:
    return tuple(repeat(value, ndim)) if isinstance(value, int) else value


def _sliding(ndim: int, stride: Sizes, padding: Pads, dilation: Sizes) -> dict[str, Any]:
    """Write a step for every axis and a pair of padding."""
    pads = tuple(repeat(padding, ndim)) if isinstance(padding, int) else padding
    return {
        "stride": _axes(stride, ndim),
        "padding": tuple(pad if isinstance(pad, tuple) else (pad, pad) for pad in pads),
        "dilation": _axes(dilation, ndim),
    }


def _conv(
    network: str,
    name: str,
    maps: Shape,
    K: int,
    kernel: Sizes,
    stride: Sizes = 1,
    padding: Pads = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Layer:
    """Return a convolution of maps, their channels first, to K channels."""
    ndim = len(maps) - 1
    shapes = {"x": (1, *maps), "w": (K, maps[0] // groups, *_axes(kernel, ndim))}
    steps = _sliding(ndim, stride, padding, dilation)
    return Layer(network, name, "conv", shapes, {**steps, "groups": groups})


def _transpose(
    network: str,
    name: str,
    maps: Shape,
    K: int,
    kernel: Sizes,
    stride: Sizes = 1,
    padding: Pads = 0,
    output_padding: Sizes = 0,
) -> Layer:
    """Return a transposed convolution of maps, their channels first, to K channels."""
    ndim = len(maps) - 1
    shapes = {"x": (1, *maps), "w": (maps[0], K, *_axes(kernel, ndim))}
    steps = _sliding(ndim, stride, padding, 1) | {"output_padding": _axes(output_padding, ndim)}
    return Layer(network, name, "conv_transpose", shapes, {**steps, "groups": 1})


def _pool(
    operation: str,
    network: str,
    name: str,
    maps: Shape,
    kernel: Sizes,
    stride: Sizes = 1,
    padding: Pads = 0,
    **more: Any,
) -> Layer:
    """Return a pooling of maps, their channels first."""
    ndim = len(maps) - 1
    steps = _sliding(ndim, stride, padding, 1)
    del steps["dilation"]
    return Layer(
        network, name, operation, {"x": (1, *maps)}, {"kernel": _axes(kernel, ndim), **steps, **more}
    )


def _linear(network: str, name: str, rows: int, inputs: int, outputs: int) -> Layer:
    """Return a product with weights that are stored as (outputs, inputs)."""
    shapes = {"a": (rows, inputs), "b": (outputs, inputs)}
    return Layer(network, name, "gemm", shapes, {"transpose_b": True})


def _scores(network: str, heads: int, queries: int, keys: int, width: int) -> Layer:
    """Return Q·Kᵀ of views (batch, heads, sequence, width) of arrays (batch, sequence, heads, width)."""
    shapes = {"a": (1, heads, queries, width), "b": (1, heads, keys, width)}
    views = {"a": (0, 2, 1, 3), "b": (0, 2, 1, 3)}
    return Layer(network, f"scores, {queries} × {keys}", "gemm", shapes, {"transpose_b": True}, views)


def _values(network: str, heads: int, queries: int, keys: int, width: int) -> Layer:
    """Return P·V, into such a view too: the heads are put side by side by writing them there."""
    shapes = {"a": (1, heads, queries, keys), "b": (1, heads, keys, width)}
    views = {"b": (0, 2, 1, 3), "out": (0, 2, 1, 3)}
    return Layer(network, f"values, {queries} × {keys}", "gemm", shapes, {}, views)


def _lstm(network: str, name: str, T: int, N: int, D: int, H: int) -> Layer:
    """Return T steps of H units with D inputs, for N examples."""
    shapes = {"x": (T, N, D), "h": (N, H), "c": (N, H), "w": (4, H, D), "u": (4, H, H), "bias": (4, H)}
    return Layer(network, name, "lstm_unit", shapes)


def _rows(network: str, name: str, shape: Shape, axis: int = -1) -> Layer:
    """Return a softmax along an axis."""
    return Layer(network, name, "softmax", {"x": shape}, {} if axis == -1 else {"axis": axis})


def _function(operation: str, network: str, name: str, shape: Shape, **parameters: Any) -> Layer:
    """Return an element-wise function, or maxout."""
    return Layer(network, name, operation, {"x": shape}, parameters)


#: TensorFlow's padding of an even length by a kernel of 3 or 5 and stride 2: the odd cell is at the end.
_SAME_3, _SAME_5 = ((0, 1), (0, 1)), ((1, 2), (1, 2))

_CONVOLUTIONS = (
    _conv("LeNet-5", "C1", (1, 32, 32), 6, 5),
    _conv("LeNet-5", "C5", (16, 5, 5), 120, 5),
    _conv("AlexNet", "conv1", (3, 227, 227), 96, 11, 4),
    _conv("AlexNet", "conv2", (96, 27, 27), 256, 5, 1, 2, groups=2),
    _conv("AlexNet", "conv3", (256, 13, 13), 384, 3, 1, 1),
    _conv("AlexNet", "conv4", (384, 13, 13), 384, 3, 1, 1, groups=2),
    _conv("VGG-16", "conv1_1", (3, 224, 224), 64, 3, 1, 1),
    _conv("VGG-16", "conv2_1", (64, 112, 112), 128, 3, 1, 1),
    _conv("VGG-16", "conv4_1", (256, 28, 28), 512, 3, 1, 1),
    _conv("VGG-16", "conv5_1", (512, 14, 14), 512, 3, 1, 1),
    _conv("GoogLeNet", "conv1", (3, 224, 224), 64, 7, 2, 3),
    _conv("GoogLeNet", "conv2", (64, 56, 56), 192, 3, 1, 1),
    _conv("GoogLeNet", "3a, 1×1", (192, 28, 28), 64, 1),
    _conv("GoogLeNet", "3a, 5×5 reduced", (192, 28, 28), 16, 1),
    _conv("GoogLeNet", "3a, 5×5", (16, 28, 28), 32, 5, 1, 2),
    _conv("GoogLeNet", "5b, 1×1", (832, 7, 7), 384, 1),
    _conv("Inception-v3", "stem", (3, 299, 299), 32, 3, 2),
    _conv("Inception-v3", "grid reduction", (288, 35, 35), 384, 3, 2),
    _conv("Inception-v3", "1×7", (128, 17, 17), 128, (1, 7), 1, (0, 3)),
    _conv("Inception-v3", "7×1", (128, 17, 17), 192, (7, 1), 1, (3, 0)),
    _conv("Inception-v3", "1×3", (384, 8, 8), 384, (1, 3), 1, (0, 1)),
    _conv("SqueezeNet", "fire2, expand 3×3", (16, 55, 55), 64, 3, 1, 1),
    _conv("ResNet-50", "conv2, 1×1", (64, 56, 56), 64, 1),
    _conv("ResNet-50", "conv2, 3×3", (64, 56, 56), 64, 3, 1, 1),
    _conv("ResNet-50", "conv2, 1×1 up", (64, 56, 56), 256, 1),
    _conv("ResNet-50", "conv3, 3×3", (128, 28, 28), 128, 3, 1, 1),
    _conv("ResNet-50", "conv3, shortcut", (256, 56, 56), 512, 1, 2),
    _conv("ResNet-50", "conv4, 3×3", (256, 14, 14), 256, 3, 1, 1),
    _conv("ResNet-50", "conv4, 1×1 down", (1024, 14, 14), 256, 1),
    _conv("ResNet-50", "conv5, 3×3", (512, 7, 7), 512, 3, 1, 1),
    _conv("ResNet-50", "conv5, 1×1 up", (512, 7, 7), 2048, 1),
    _conv("ResNeXt-50", "conv2, 3×3", (128, 56, 56), 128, 3, 1, 1, groups=32),
    _conv("ResNeXt-50", "conv3, 3×3 down", (256, 56, 56), 256, 3, 2, 1, groups=32),
    _conv("ResNeXt-50", "conv5, 3×3", (1024, 7, 7), 1024, 3, 1, 1, groups=32),
    _conv("DenseNet-121", "block 1, 1×1", (64, 56, 56), 128, 1),
    _conv("DenseNet-121", "block 1, 3×3", (128, 56, 56), 32, 3, 1, 1),
    _conv("DenseNet-121", "block 4, 3×3", (128, 7, 7), 32, 3, 1, 1),
    _conv("DenseNet-121", "transition 1", (256, 56, 56), 128, 1),
    _conv("MobileNetV2", "stem", (3, 224, 224), 32, 3, 2, 1),
    _conv("MobileNetV2", "block 1, depthwise", (32, 112, 112), 32, 3, 1, 1, groups=32),
    _conv("MobileNetV2", "block 2, depthwise", (96, 112, 112), 96, 3, 2, 1, groups=96),
    _conv("MobileNetV2", "block 2, 1×1 down", (96, 56, 56), 24, 1),
    _conv("MobileNetV2", "block 16, depthwise", (960, 7, 7), 960, 3, 1, 1, groups=960),
    _conv("MobileNetV2", "head", (320, 7, 7), 1280, 1),
    _conv("MobileNetV3", "block 4, depthwise", (72, 56, 56), 72, 5, 2, 2, groups=72),
    _conv("EfficientNet-B0", "stem", (3, 224, 224), 32, 3, 2, _SAME_3),
    _conv("EfficientNet-B0", "block 4, depthwise", (144, 56, 56), 144, 5, 2, _SAME_5, groups=144),
    _conv("EfficientNet-B0", "block 10, depthwise", (672, 14, 14), 672, 5, 1, 2, groups=672),
    _conv("EfficientNet-B0", "block 16, squeeze", (1152, 1, 1), 48, 1),
    _conv("EfficientNet-B0", "block 16, excite", (48, 1, 1), 1152, 1),
    _conv("ShuffleNet", "stage 2, grouped 1×1", (240, 28, 28), 60, 1, groups=3),
    _conv("Xception", "middle flow, depthwise", (728, 19, 19), 728, 3, 1, 1, groups=728),
    _conv("ConvNeXt-T", "stem", (3, 224, 224), 96, 4, 4),
    _conv("ConvNeXt-T", "stage 1, depthwise", (96, 56, 56), 96, 7, 1, 3, groups=96),
    _conv("ConvNeXt-T", "stage 4, depthwise", (768, 7, 7), 768, 7, 1, 3, groups=768),
    _conv("ConvNeXt-T", "stage 2, downsampling", (96, 56, 56), 192, 2, 2),
    _conv("ViT-B/16", "patches", (3, 224, 224), 768, 16, 16),
    _conv("YOLOv3", "head, 13 × 13", (1024, 13, 13), 255, 1),
    _conv("U-Net", "level 5, first", (512, 32, 32), 1024, 3),
    _conv("DeepLab", "block 4, dilated 3×3", (512, 33, 33), 512, 3, 1, 2, 2),
    _conv("DeepLab", "pyramid, rate 12", (2048, 33, 33), 256, 3, 1, 12, 12),
    _conv("Dilated context", "layer 5", (21, 64, 64), 21, 3, 1, 8, 8),
    _conv("DCGAN", "discriminator, second", (128, 32, 32), 256, 5, 2, 2),
    _conv("pix2pix", "encoder, second", (64, 128, 128), 128, 4, 2, 1),
    _conv("WaveNet", "layer 10, dilated", (64, 7680), 128, 2, 1, ((512, 0),), 512),
    _conv("wav2vec 2.0", "features, first", (1, 16000), 512, 10, 5),
    _conv("wav2vec 2.0", "features, second", (512, 3199), 512, 3, 2),
    _conv("wav2vec 2.0", "positions", (768, 49), 768, 128, 1, 64, groups=16),
    _conv("Whisper tiny", "first", (80, 3000), 384, 3, 1, 1),
    _conv("Char-CNN", "first", (70, 1014), 256, 7),
    _conv("Conv-TasNet", "depthwise, dilation 128", (512, 3999), 512, 3, 1, 128, 128, groups=512),
    _conv("C3D", "conv5a", (512, 2, 7, 7), 512, 3, 1, 1),
    _conv("R(2+1)D-18", "stem, space", (3, 16, 112, 112), 45, (1, 7, 7), (1, 2, 2), (0, 3, 3)),
    _conv("R(2+1)D-18", "stem, time", (45, 16, 56, 56), 64, (3, 1, 1), 1, (1, 0, 0)),
)

_TRANSPOSED = (
    _transpose("DCGAN", "generator, second", (1024, 4, 4), 512, 5, 2, 2, 1),
    _transpose("DCGAN", "generator, last", (128, 32, 32), 3, 5, 2, 2, 1),
    _transpose("WGAN", "generator, first", (100, 1, 1), 512, 4),
    _transpose("WGAN", "generator, second", (512, 4, 4), 256, 4, 2, 1),
    _transpose("WGAN", "generator, last", (64, 32, 32), 3, 4, 2, 1),
    _transpose("pix2pix", "decoder, first", (512, 1, 1), 512, 4, 2, 1),
    _transpose("pix2pix", "decoder, third", (1024, 4, 4), 512, 4, 2, 1),
    _transpose("pix2pix", "decoder, last", (128, 128, 128), 3, 4, 2, 1),
    _transpose("CycleGAN", "upsampling, first", (256, 64, 64), 128, 3, 2, 1, 1),
    _transpose("CycleGAN", "upsampling, second", (128, 128, 128), 64, 3, 2, 1, 1),
    _transpose("U-Net", "up-convolution 1", (1024, 28, 28), 512, 2, 2),
    _transpose("U-Net", "up-convolution 2", (512, 52, 52), 256, 2, 2),
    _transpose("FCN", "upscore2", (21, 16, 16), 21, 4, 2),
    _transpose("FCN", "upscore of pool4", (21, 34, 34), 21, 4, 2),
    _transpose("FCN", "upscore of FCN-32s", (21, 16, 16), 21, 64, 32),
    _transpose("FSRCNN", "deconvolution", (56, 10, 10), 1, 9, 2, 4),
    _transpose("MelGAN", "upsampling, first", (512, 32), 256, 16, 8, 4),
    _transpose("MelGAN", "upsampling, third", (128, 2048), 64, 4, 2, 1),
    _transpose("HiFi-GAN", "upsampling, last", (64, 4096), 32, 4, 2, 1),
    _transpose("Conv-TasNet", "decoder", (512, 3999), 1, 16, 8),
    _transpose("3D U-Net", "up-convolution 1", (512, 9, 9, 7), 512, 2, 2),
    _transpose("3D-GAN", "generator, first", (200, 1, 1, 1), 512, 4),
    _transpose("3D-GAN", "generator, second", (512, 4, 4, 4), 256, 4, 2, 1),
    _transpose("3D-GAN", "generator, last", (64, 32, 32, 32), 1, 4, 2, 1),
)

_POOLINGS = (
    _pool("avg_pool", "LeNet-5", "S2", (6, 28, 28), 2, 2),
    _pool("max_pool", "AlexNet", "pool1", (96, 55, 55), 3, 2),
    _pool("max_pool", "AlexNet", "pool5", (256, 13, 13), 3, 2),
    _pool("max_pool", "VGG-16", "pool2", (128, 112, 112), 2, 2),
    _pool("max_pool", "VGG-16", "pool5", (512, 14, 14), 2, 2),
    _pool("max_pool", "GoogLeNet", "pool1", (64, 112, 112), 3, 2, ceil_mode=True),
    _pool("max_pool", "GoogLeNet", "3a", (192, 28, 28), 3, 1, 1),
    _pool("avg_pool", "GoogLeNet", "auxiliary", (512, 14, 14), 5, 3),
    _pool("avg_pool", "GoogLeNet", "last", (1024, 7, 7), 7, 1),
    _pool("max_pool", "Inception-v3", "grid reduction", (288, 35, 35), 3, 2),
    _pool("avg_pool", "Inception-v3", "35 × 35", (192, 35, 35), 3, 1, 1, count_include_pad=False),
    _pool("max_pool", "ResNet-50", "conv2", (64, 112, 112), 3, 2, 1),
    _pool("avg_pool", "ResNet-50", "last", (2048, 7, 7), 7, 7),
    _pool("avg_pool", "DenseNet-121", "transition 1", (128, 56, 56), 2, 2),
    _pool("max_pool", "SqueezeNet", "pool1", (96, 109, 109), 3, 2, ceil_mode=True),
    _pool("avg_pool", "SqueezeNet", "pool10", (1000, 13, 13), 13, 1),
    _pool("avg_pool", "EfficientNet-B0", "block 1, squeeze", (32, 112, 112), 112, 1),
    _pool("avg_pool", "PoolFormer", "stage 1, mixer", (64, 56, 56), 3, 1, 1, count_include_pad=False),
    _pool("avg_pool", "ShuffleNet", "shortcut", (24, 56, 56), 3, 2, 1),
    _pool("max_pool", "DeepLab", "pool4 of VGG", (512, 41, 41), 3, 1, 1),
    _pool("max_pool", "YOLOv3", "SPP, 13 × 13", (512, 13, 13), 13, 1, 6),
    _pool("max_pool", "SPP-net", "3 × 3", (256, 13, 13), 5, 4),
    _pool("max_pool", "Char-CNN", "first", (256, 1008), 3, 3),
    _pool("max_pool", "CRNN", "third", (256, 8, 25), (2, 1), (2, 1)),
    _pool("max_pool", "C3D", "pool4", (512, 4, 14, 14), 2, 2),
    _pool("max_pool", "C3D", "pool5", (512, 2, 7, 7), 2, 2, (0, (0, 1), (0, 1))),
    _pool("avg_pool", "I3D", "last", (1024, 8, 7, 7), (2, 7, 7), 1),
)

_PRODUCTS = (
    _linear("LeNet-5", "F6", 1, 120, 84),
    _linear("AlexNet", "fc7", 1, 4096, 4096),
    _linear("GoogLeNet", "classifier", 1, 1024, 1000),
    _linear("ResNet-50", "classifier", 1, 2048, 1000),
    _linear("MobileNetV2", "classifier", 1, 1280, 1000),
    _linear("BERT base", "query", 512, 768, 768),
    _linear("BERT base", "feed forward, first", 128, 768, 3072),
    _linear("BERT base", "feed forward, second", 128, 3072, 768),
    _linear("BERT base", "next sentence", 1, 768, 2),
    _scores("BERT base", 12, 128, 128, 64),
    _values("BERT base", 12, 128, 128, 64),
    Layer("GPT-2", "query, key, value", "gemm", {"a": (1024, 768), "b": (768, 2304)}),
    Layer("GPT-2", "feed forward, one token", "gemm", {"a": (1, 768), "b": (768, 3072)}),
    _scores("GPT-2", 12, 1, 1024, 64),
    _values("GPT-2", 12, 1, 1024, 64),
    _linear("LLaMA-7B", "query, one token", 1, 4096, 4096),
    _linear("LLaMA-7B", "query, 16 tokens", 16, 4096, 4096),
    _scores("LLaMA-7B", 32, 64, 64, 128),
    _values("LLaMA-7B", 32, 1, 500, 128),
    _linear("ViT-B/16", "query, key, value", 197, 768, 2304),
    _scores("ViT-B/16", 12, 197, 197, 64),
    _values("ViT-B/16", 12, 197, 197, 64),
    _linear("T5 small", "feed forward, first", 128, 512, 2048),
    _linear("Swin-T", "stage 1, query, key, value", 3136, 96, 288),
    _linear("Maxout", "MNIST, first", 100, 784, 1200),
)

_RECURRENT = (
    _lstm("Handwriting LSTM", "layer 1", 4, 1, 3, 400),
    _lstm("PTB LSTM", "small", 3, 20, 200, 200),
    _lstm("PTB LSTM", "medium", 3, 1, 650, 650),
    _lstm("Show and Tell", "decoder", 1, 1, 512, 512),
    _lstm("Seq2seq", "layer 2", 1, 1, 1000, 1000),
    _lstm("Speech LSTM", "layer 1", 8, 1, 123, 250),
    _lstm("Speech LSTM", "layer 2", 4, 1, 500, 250),
    _lstm("Listen, Attend and Spell", "pyramid, layer 2", 2, 1, 1024, 256),
    _lstm("CRNN", "layer 1", 5, 1, 512, 256),
    _lstm("GNMT", "encoder, layer 2", 1, 1, 2048, 1024),
    _lstm("Tacotron 2", "decoder, layer 2", 1, 1, 1024, 1024),
)

_SOFTMAXES = (
    _rows("LeNet-5", "digits", (1, 10)),
    _rows("ResNet-50", "classes", (1, 1000)),
    _rows("PTB LSTM", "vocabulary", (20, 10000)),
    _rows("BERT base", "vocabulary", (1, 30522)),
    _rows("BERT base", "attention", (1, 12, 128, 128)),
    _rows("LLaMA-7B", "vocabulary", (1, 32000)),
    _rows("LLaMA-7B", "attention, one token", (1, 32, 1, 2048)),
    _rows("GPT-2", "vocabulary", (1, 50257)),
    _rows("GPT-2", "attention, one token", (1, 12, 1, 1024)),
    _rows("Llama 3", "vocabulary", (1, 128256)),
    _rows("ViT-B/16", "attention", (1, 12, 197, 197)),
    _rows("Swin-T", "attention in windows", (64, 3, 49, 49)),
    _rows("FCN", "classes of pixels", (1, 21, 64, 64), axis=1),
)

_FUNCTIONS = (
    _function("relu", "ResNet-50", "conv1", (1, 64, 112, 112)),
    _function("relu", "VGG-16", "fc7", (1, 4096)),
    _function("relu6", "MobileNetV2", "block 2", (1, 96, 112, 112)),
    _function("leaky_relu", "DCGAN", "discriminator, first", (1, 64, 32, 32), negative_slope=0.2),
    _function("elu", "ELU network", "first", (1, 384, 32, 32)),
    _function("sigmoid", "EfficientNet-B0", "block 16, excite", (1, 1152, 1, 1)),
    _function("log_sigmoid", "word2vec", "negative sampling", (1, 6)),
    _function("hard_sigmoid", "MobileNetV3", "block 4, excite", (1, 72, 1, 1)),
    _function("tanh", "DCGAN", "generator, last", (1, 3, 64, 64)),
    _function("hard_tanh", "BinaryNet", "first", (1, 128, 32, 32)),
    _function("softplus", "Mamba-130M", "step sizes", (1, 64, 1536)),
    _function("gelu", "BERT base", "feed forward", (1, 128, 3072)),
    _function("gelu", "GPT-2", "feed forward, one token", (1, 1, 3072), approximate="tanh"),
    _function("silu", "EfficientNet-B0", "block 2", (1, 96, 112, 112)),
    _function("silu", "LLaMA-7B", "feed forward, one token", (1, 1, 11008)),
    _function("maxout", "Maxout", "MNIST 5 pieces", (100, 1200), pieces=5),
    _function("maxout", "Maxout", "MNIST 2 pieces", (1, 96, 32, 32), pieces=2, axis=1),
)

#: Every layer: convolutions, transposed ones, poolings, products, LSTM units, rows, functions.
LAYERS: tuple[Layer, ...] = (
    *_CONVOLUTIONS,
    *_TRANSPOSED,
    *_POOLINGS,
    *_PRODUCTS,
    *_RECURRENT,
    *_SOFTMAXES,
    *_FUNCTIONS,
)
