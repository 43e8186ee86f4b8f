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

extension Architecture {
    /// The networks that are described, in state_dict order.
    package var networks: [Network] { resolved.networks }
}
