/// The presets. All but the notebook are the paper's (Hjelm et al., arXiv:1808.06670): batch norm and
/// ReLU after each hidden layer, images in [-1, 1], a light dot net for the local score.
extension Architecture {
    package static let presetNames = ["notebook", "basic28", "basic32", "basic64", "alex64", "resnet19_32"]

    /// nil for a name that is none.
    package static func preset(_ name: String) -> Architecture? {
        switch name.knownName {
        case "notebook": notebook
        case "basic28": basic28
        case "basic32": basic32
        case "basic64": basic64
        case "alex64": alex64
        case "resnet19_32": resnet19
        default: nil
        }
    }

    /// The linked implementation's (PyTorch) networks, pixels in [0, 1].
    package static let notebook = Architecture(
        preset: "notebook",
        image: ImageDescription(channels: 3, height: 32, width: 32),
        encoder: EncoderDescription(
            layers: [
                .conv("c0", 64, kernel: 4, activation: .relu),
                .conv("c1", 128, kernel: 4, norm: .batch, normName: "b1", activation: .relu),
                .conv("c2", 256, kernel: 4, norm: .batch, normName: "b2", activation: .relu),
                .conv("c3", 512, kernel: 4, norm: .batch, normName: "b3", activation: .relu),
                .flatten,
                .linear("l1", 64),
            ], normsLast: true, features: "c1", conv: "c3"),
        local: .concat(hidden: [512, 512]),
        global: .concat(
            hidden: [512, 512],
            layers: [.conv("c0", 64, kernel: 3, activation: .relu), .conv("c1", 32, kernel: 3)]),
        prior: PriorDescription(hidden: [1000, 200]),
        classifier: ClassifierDescription(
            hidden: [15, 10], classes: 10, outputNorm: true, names: [["l1", "bn1"], ["l2", "bn2"], ["l3", "bn3"]]))

    package static let basic28 = paper(
        "basic28", channels: 1, side: 28,
        [
            hiddenConv("c0", 64, 5, 2, 2),  // 14
            hiddenConv("c1", 128, 5, 2, 2),  // 7
            .flatten, hiddenLinear("l0", 1024), .linear("l1", 64),
        ], features: "c1", conv: "c1", fc: "l0")

    package static let basic32 = paper(
        "basic32", side: 32,
        [
            hiddenConv("c0", 64, 4, 2, 1),  // 16
            hiddenConv("c1", 128, 4, 2, 1),  // 8
            hiddenConv("c2", 256, 4, 2, 1),  // 4
            .flatten, hiddenLinear("l0", 1024), .linear("l1", 64),
        ], features: "c1", conv: "c2", fc: "l0")

    package static let basic64 = paper(
        "basic64", side: 64,
        [
            hiddenConv("c0", 64, 4, 2, 1),  // 32
            hiddenConv("c1", 128, 4, 2, 1),  // 16
            hiddenConv("c2", 256, 4, 2, 1),  // 8
            hiddenConv("c3", 512, 4, 2, 1),  // 4
            .flatten, hiddenLinear("l0", 1024), .linear("l1", 64),
        ], features: "c2", conv: "c3", fc: "l0")

    package static let alex64 = paper(
        "alex64", side: 64,
        [
            hiddenConv("c0", 96, 3, 1, 1), .pool(.maxpool, "p0", kernel: 3, stride: 2),  // 31
            hiddenConv("c1", 192, 3, 1, 1), .pool(.maxpool, "p1", kernel: 3, stride: 2),  // 15
            hiddenConv("c2", 384, 3, 1, 1),
            hiddenConv("c3", 384, 3, 1, 1),
            hiddenConv("c4", 192, 3, 1, 1), .pool(.maxpool, "p2", kernel: 3, stride: 2),  // 7
            .flatten, hiddenLinear("l0", 4096), hiddenLinear("l1", 4096), .linear("l2", 64),
        ], features: "c2", conv: "p2", fc: "l1")

    package static let resnet19 = paper(
        "resnet19_32", side: 32,
        [
            hiddenConv("c0", 64, 3, 2, 1),  // 16
            bottleneck("r0", 64, isFirst: true), bottleneck("r1", 64),
            bottleneck("r2", 128, stride: 2, isFirst: true), bottleneck("r3", 128),  // 8
            bottleneck("r4", 256, stride: 2, isFirst: true), bottleneck("r5", 256),  // 4
            .flatten, hiddenLinear("l0", 1024), .linear("l1", 64),
        ], features: "r3", conv: "r5", fc: "l0")

    private static func paper(
        _ name: String, channels: Int = 3, side: Int, _ layers: [Layer], features: String, conv: String, fc: String
    ) -> Architecture {
        Architecture(
            preset: name,
            image: ImageDescription(channels: channels, height: side, width: side, mean: [0.5], std: [0.5]),
            encoder: EncoderDescription(layers: layers, features: features, conv: conv, fc: fc),
            local: .dot(net: .light, units: 512),
            prior: PriorDescription(hidden: [1000, 200], squash: .sigmoid),
            classifier: ClassifierDescription(hidden: [200], dropout: 0.1, classes: 10))
    }

    private static func hiddenConv(_ name: String, _ out: Int, _ kernel: Int, _ stride: Int, _ padding: Int) -> Layer {
        .conv(
            name, out, kernel: kernel, stride: stride, padding: padding, bias: false, norm: .batch, activation: .relu)
    }

    private static func hiddenLinear(_ name: String, _ out: Int) -> Layer {
        .linear(name, out, bias: false, norm: .batch, activation: .relu)
    }

    /// width, width, 4 x width; the stride on the 3x3. isFirst: the shortcut is a convolution, since channels change.
    private static func bottleneck(_ name: String, _ width: Int, stride: Int = 1, isFirst: Bool = false) -> Layer {
        .residual(
            name,
            [
                hiddenConv("c0", width, 1, 1, 0), hiddenConv("c1", width, 3, stride, 1),
                .conv("c2", 4 * width, kernel: 1, bias: false, norm: .batch),
            ],
            shortcut: isFirst ? .conv("s0", 4 * width, kernel: 1, stride: stride, bias: false, norm: .batch) : nil,
            activation: .relu)
    }
}

/// The training settings that belong to a preset.
package struct TrainingPreset: Equatable, Sendable {
    /// Which bound of mutual information.
    package var measure: String
    /// "all", "rotation", or a number.
    package var negatives: String
    package var prior: String
    package var alpha: Double
    package var beta: Double
    package var gamma: Double
    package var learningRate: Double
    package var beta1: Double
    package var beta2: Double
    package var batch: Int
}

extension Architecture {
    /// The notebook's if the description names it, else the paper's.
    package var trainingPreset: TrainingPreset {
        preset == "notebook"
            ? TrainingPreset(
                measure: "gan", negatives: "rotation", prior: "monolithic", alpha: 0.5, beta: 1, gamma: 0.1,
                learningRate: 1e-4, beta1: 0.9, beta2: 0.999, batch: 64)
            : TrainingPreset(
                measure: "nce", negatives: "all", prior: "none", alpha: 0, beta: 1, gamma: 0, learningRate: 3e-4,
                beta1: 0.9, beta2: 0.999, batch: 64)
    }
}

extension Architecture {
    /// The notebook's networks, on images as they are: what the operators made for it compute.
    package var isNotebook: Bool {
        var twin = self
        twin.image.resize = Architecture.notebook.image.resize
        return twin.isSameNetwork(as: .notebook)
    }
}
