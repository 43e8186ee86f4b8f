import DimArchitecture
import DimModel
import DimRuntime

/// The objective of one batch: the losses of its terms and their gradients. `LayerObjective` has every term over any
/// architecture; `FusedObjective` is one choice of terms over the architecture of `FusedPlan`.
protocol Objective: AnyObject {
    /// Adds the gradients; returns the losses and what the running statistics move by. `number`: of the step, for messages.
    func forwardBackward(
        _ images: UnsafePointer<Float>, _ n: Int, _ options: TrainerOptions, _ gradients: Gradients,
        _ random: inout MersenneTwister, number: Int, _ state: (Network) throws -> NetworkState
    ) throws -> (ObjectiveLosses, [Network: StatisticSteps])

    /// The losses in evaluation mode, nothing changed; random numbers start anew from the run's seed.
    func evaluate(
        _ model: Model, _ images: UnsafePointer<Float>, _ n: Int, _ options: TrainerOptions
    ) throws -> ObjectiveLosses
}

/// Which objective computes a run, and which networks it trains.
enum Objectives {
    static func make(_ model: Model, _ options: TrainerOptions) throws -> any Objective {
        isFused(model.architecture, options)
            ? FusedObjective() : try LayerObjective(model.plan.layers, options)
    }

    /// The networks that a run with these options trains.
    static func networks(_ architecture: Architecture, _ options: TrainerOptions) throws -> [Network] {
        isFused(architecture, options) ? FusedObjective.networks : try weighted(architecture, options)
    }

    /// The one place that chooses.
    private static func isFused(_ architecture: Architecture, _ options: TrainerOptions) -> Bool {
        FusedPlan.computes(architecture) && FusedObjective.computes(options)
    }

    /// Of `LayerObjective`: those whose terms have a weight.
    private static func weighted(_ architecture: Architecture, _ options: TrainerOptions) throws -> [Network] {
        var networks: [Network] = [.encoder]
        func term(_ weight: Double, _ name: String, _ network: Network, isThere: Bool, orWithout: String? = nil) throws
        {
            guard weight > 0 else { return }
            guard isThere else {
                throw DimError(
                    .invalidArgument,
                    "\(name) is \(weight), but the architecture has no \(network.prefix): set "
                        + (orWithout.map { "\($0) to none" } ?? "\(name) to 0") + ", or describe one"
                )
            }
            networks.append(network)
        }
        try term(options.alpha, "alpha", .globalD, isThere: architecture.global != nil)
        try term(options.beta, "beta", .localD, isThere: architecture.local != nil)
        if options.prior != .none {
            try term(options.gamma, "gamma", .priorD, isThere: architecture.prior != nil, orWithout: "prior")
        }
        if options.coordinates != .none {
            try term(
                options.coordinatesWeight, "coordinates_weight", .coordinatesD,
                isThere: architecture.coordinates != nil, orWithout: "coordinates")
        }
        guard networks.count > 1 else {
            throw DimError(
                .invalidArgument,
                "alpha, beta, gamma and coordinates leave no term to train: expected a weight over 0")
        }
        return networks
    }
}
