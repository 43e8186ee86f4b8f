/// A network; the raw value is its bit in the C contract's mask. The order is that of state_dict and of initialisation.
package enum Network: UInt32, CaseIterable, Sendable {
    case encoder = 1
    case globalD = 2
    case localD = 4
    case priorD = 8
    case classifier = 16
    case coordinatesD = 32

    /// The prefix of its keys in a weights file.
    package var prefix: String {
        switch self {
        case .encoder: "encoder"
        case .globalD: "global_d"
        case .localD: "local_d"
        case .priorD: "prior_d"
        case .classifier: "classifier"
        case .coordinatesD: "coordinates_d"
        }
    }
}

/// One entry of a network's state_dict.
package struct ParameterSpec: Equatable, Sendable {
    package enum Role: Equatable, Sendable {
        /// Convolution or linear weight or bias, drawn uniform on [-b, b] with b = 1/sqrt(fanIn).
        case drawn(fanIn: Int)
        /// A shortcut's weight in the authors' dot net: `drawn`; then, if there are at least as many outputs as inputs, drawn
        /// once more from the same stream, uniform on [-0.01, 0.01], with 1 on the diagonal.
        case authorsShortcut(fanIn: Int)
        /// A norm's weight (1 at first) and bias (0 at first).
        case scale, shift
        case runningMean, runningVar
        /// num_batches_tracked, an int64 scalar.
        case batchCount
    }

    package let network: Network
    /// Without the network's prefix: "c0.weight".
    package let key: String
    package let shape: [Int]
    package let role: Role

    /// "encoder.c0.weight"
    package var name: String { network.prefix + "." + key }
    package var count: Int { shape.reduce(1, *) }
    package var isInteger: Bool { role == .batchCount }
    package var bytes: Int { count * (isInteger ? 8 : 4) }
    /// Has a gradient.
    package var isTrainable: Bool {
        switch role {
        case .drawn, .authorsShortcut, .scale, .shift: true
        case .runningMean, .runningVar, .batchCount: false
        }
    }
}
