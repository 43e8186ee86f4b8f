/// What a Deep InfoMax network is: the image, the encoder, the score networks, the prior discriminator, the classifier.
/// Its text form is JSON (Architecture+JSON.swift); docs/architecture.md describes the grammar.
package struct Architecture: Equatable, Sendable {
    /// The preset that the training settings come from; it does not change the network.
    package var preset: String?
    package var image: ImageDescription
    package var encoder: EncoderDescription
    package var local: HeadDescription?
    package var global: HeadDescription?
    package var prior: PriorDescription?
    package var classifier: ClassifierDescription?
    package var coordinates: CoordinatesDescription?

    package init(
        preset: String? = nil, image: ImageDescription, encoder: EncoderDescription, local: HeadDescription? = nil,
        global: HeadDescription? = nil, prior: PriorDescription? = nil, classifier: ClassifierDescription? = nil,
        coordinates: CoordinatesDescription? = nil
    ) {
        self.preset = preset
        self.image = image
        self.encoder = encoder
        self.local = local
        self.global = global
        self.prior = prior
        self.classifier = classifier
        self.coordinates = coordinates
    }

    /// The same networks, whatever preset the training settings come from.
    package func isSameNetwork(as other: Architecture) -> Bool {
        var twin = other
        twin.preset = preset
        return self == twin
    }
}

package struct ImageDescription: Equatable, Sendable {
    /// How an image of another size is made to fit.
    package enum Resize: String, CaseIterable, Sendable {
        case fit, crop, stretch, none
    }

    package var channels: Int
    package var height: Int
    package var width: Int
    /// The first layer reads (x - mean) / std. One number, or one per channel if they differ.
    package var mean: [Double]
    package var std: [Double]
    package var resize: Resize

    package init(
        channels: Int, height: Int, width: Int, mean: [Double] = [0], std: [Double] = [1], resize: Resize = .fit
    ) {
        self.channels = channels
        self.height = height
        self.width = width
        self.mean = ImageDescription.shortest(mean)
        self.std = ImageDescription.shortest(std)
        self.resize = resize
    }

    /// Equal numbers are one.
    private static func shortest(_ values: [Double]) -> [Double] {
        values.count > 1 && values.allSatisfy { $0 == values[0] } ? [values[0]] : values
    }

    package var shape: MapShape { MapShape(channels: channels, height: height, width: width) }
    package func mean(ofChannel c: Int) -> Double { mean.count == 1 ? mean[0] : mean[c] }
    package func std(ofChannel c: Int) -> Double { std.count == 1 ? std[0] : std[c] }
    /// False where (x - 0) / 1 would be computed.
    package var isNormalised: Bool { mean != [0] || std != [1] }
}

package struct EncoderDescription: Equatable, Sendable {
    package var layers: [Layer]
    /// All norms come after all layers in state_dict: the notebook.
    package var normsLast: Bool
    /// Names of top-level layers whose outputs, after norm and activation, are the outputs of that name.
    package var features: String
    package var conv: String?
    package var fc: String?

    package init(
        layers: [Layer], normsLast: Bool = false, features: String, conv: String? = nil, fc: String? = nil
    ) {
        self.layers = layers
        self.normsLast = normsLast
        self.features = features
        self.conv = conv
        self.fc = fc
    }
}

/// A score network: local (one score a location) or global (one score an image).
package struct HeadDescription: Equatable, Sendable {
    package enum Score: String, CaseIterable, Sendable {
        case dot, concat
    }

    /// The nets of a dot product.
    package enum Net: String, CaseIterable, Sendable {
        /// Two layers and a shortcut, without norms; scores divided by sqrt(units).
        case light
        /// Batch norm inside, LayerNorm behind the sum.
        case authors
        /// The encoder's remaining layers, with weights of their own. Global heads only.
        case copy
    }

    /// The map that a global head reads.
    package enum Input: String, CaseIterable, Sendable {
        case features, conv
    }

    package var score: Score
    /// Dot: the nets, and the length of the vectors that are multiplied. `.authors` and 0 for concat.
    package var net: Net
    package var units: Int
    /// Concat: sizes of the hidden layers.
    package var hidden: [Int]
    /// Concat, global: layers on the map, before it is flattened.
    package var layers: [Layer]
    package var input: Input

    /// The keys of a description, in the canonical text's order.
    enum Key: String {
        case score, input, net, units, layers, hidden
    }

    static func keys(_ score: Score, isGlobal: Bool) -> [Key] {
        switch score {
        case .dot: [.score] + (isGlobal ? [.input] : []) + [.net, .units]
        case .concat: [.score] + (isGlobal ? [.input, .layers] : []) + [.hidden]
        }
    }

    package static func dot(net: Net = .authors, units: Int, input: Input = .features) -> HeadDescription {
        HeadDescription(score: .dot, net: net, units: units, hidden: [], layers: [], input: input)
    }

    package static func concat(hidden: [Int], layers: [Layer] = [], input: Input = .features) -> HeadDescription {
        HeadDescription(score: .concat, net: .authors, units: 0, hidden: hidden, layers: layers, input: input)
    }
}

package struct PriorDescription: Equatable, Sendable {
    /// What is applied to encoded before the prior discriminator reads it.
    package enum Squash: String, CaseIterable, Sendable {
        case none, sigmoid
    }

    package var hidden: [Int]
    package var squash: Squash

    package init(hidden: [Int], squash: Squash = .none) {
        self.hidden = hidden
        self.squash = squash
    }
}

package struct ClassifierDescription: Equatable, Sendable {
    package var hidden: [Int]
    package var dropout: Double
    package var classes: Int
    /// Batch norm behind the last layer: the notebook.
    package var outputNorm: Bool
    /// For each layer its name and, where it has one, its norm's; nil for l0, l0_norm, l1, l1_norm, ...
    package var names: [[String]]?

    package init(
        hidden: [Int], dropout: Double = 0, classes: Int, outputNorm: Bool = false, names: [[String]]? = nil
    ) {
        self.hidden = hidden
        self.dropout = dropout
        self.classes = classes
        self.outputNorm = outputNorm
        self.names = names
    }
}

/// Predicts a location's row and column from the features there and encoded.
package struct CoordinatesDescription: Equatable, Sendable {
    package var hidden: [Int]

    package init(hidden: [Int]) {
        self.hidden = hidden
    }
}
