import DimArchitecture
import DimOperators
import DimRuntime

/// The images that a vector is compared with.
package enum Negatives: Equatable {
    /// All other images of the batch.
    case all
    /// The next image of the batch: the linked implementation's.
    case rotation
    /// So many others, drawn anew each step.
    case drawn(Int)
}

/// The objective over any architecture: terms over one batch, forward and backward. docs/training.md has the formulas.
final class PlanObjective {
    let plan: ModelPlan
    private let arena = Arena()
    private let workspace = Workspace()
    private var encoderWeights: StackWeights?
    private var headWeights: [Network: PairHeadWeights] = [:]
    private var priorWeights: StackWeights?

    init(_ plan: ModelPlan) {
        self.plan = plan
    }

    /// The networks that a run with these options trains: those whose terms have a weight.
    static func networks(_ architecture: Architecture, _ options: TrainerOptions) throws -> [Network] {
        var networks: [Network] = [.encoder]
        func term(_ weight: Double, _ name: String, _ network: Network, isThere: Bool) throws {
            guard weight > 0 else { return }
            guard isThere else {
                throw DimError(
                    .invalidArgument,
                    "\(name) is \(weight), but the architecture has no \(network.prefix): set \(name) to 0, or describe one"
                )
            }
            networks.append(network)
        }
        try term(options.alpha, "alpha", .globalD, isThere: architecture.global != nil)
        try term(options.beta, "beta", .localD, isThere: architecture.local != nil)
        if options.prior != .none { try term(options.gamma, "gamma", .priorD, isThere: architecture.prior != nil) }
        guard networks.count > 1 else {
            throw DimError(
                .invalidArgument, "alpha, beta and gamma leave no term to train: expected one of them to be over 0")
        }
        return networks
    }

    private struct Term {
        let head: PairHead
        let weight: Double
        let map: Stack.Node
    }

    private func terms(_ options: TrainerOptions) -> [(Network, Term)] {
        var terms: [(Network, Term)] = []
        if let head = plan.global, options.alpha > 0 {
            let reads = plan.architecture.global?.input == .conv ? plan.conv ?? plan.features : plan.features
            terms.append((.globalD, Term(head: head, weight: options.alpha, map: reads)))
        }
        if let head = plan.local, options.beta > 0 {
            terms.append((.localD, Term(head: head, weight: options.beta, map: plan.features)))
        }
        return terms
    }

    private func pairs(_ n: Int, _ negatives: Negatives, _ random: inout MersenneTwister) throws -> Pairs {
        switch negatives {
        case .all: return .all(n)
        case .rotation: return .rotation(n)
        case .drawn(let k):
            guard k < n else {
                throw DimError(
                    .invalidArgument, "n is \(n); \(k) negatives for each vector expect more than \(k) images")
            }
            return .drawn(n, k: k, &random)
        }
    }

    // MARK: A micro-batch

    /// Adds the gradients; returns the losses and the moved statistics.
    func forwardBackward(
        _ images: UnsafePointer<Float>, _ n: Int, _ options: TrainerOptions, _ gradients: Gradients,
        _ random: inout MersenneTwister, _ state: (Network) throws -> NetworkState
    ) throws -> (ObjectiveLosses, [Network: [(index: Int, value: ParameterValue)]]) {
        let encoder = try state(.encoder)
        let weights = try encoderWeights ?? StackWeights(plan.encoder, forTraining: true)
        encoderWeights = weights
        weights.prepare(encoder)
        let pass = StackPass(plan.encoder, encoder, weights, arena, training: true)
        let y = try pass.forward(try plan.load(images, count: n, arena), &random)
        let dy = try arena.activation(plan.vectorGradientSlot, y.shape, images: n)
        Elementwise.clear(dy)
        var moved: [Network: [(index: Int, value: ParameterValue)]] = [:]
        var losses: [Network: Double] = [:]
        for (network, term) in terms(options) {
            let state = try state(network)
            let weights = try headWeights[network] ?? PairHeadWeights(term.head, forTraining: true)
            headWeights[network] = weights
            weights.prepare(state)
            let map = pass.outputs[term.map.index]!
            let head = try PairHeadPass(
                term.head, state, weights, map: map, vector: y, try pairs(n, options.negatives, &random),
                training: true, arena, &random)
            let table = try head.pairs.table(locations: term.head.locations)
            // In place: the scores are not needed again.
            losses[network] = try options.measure.loss(
                head.scores, table, gradient: head.scores, weight: term.weight)
            try requireFinite(losses: [losses[network]!], "the batch was dropped, the weights are as before")
            try head.backward(
                head.scores, vectorGradient: dy, mapGradient: try pass.gradient(of: term.map), gradients)
            let changes = try head.moved()
            if !changes.isEmpty { moved[network] = changes }
        }
        if options.prior != .none, options.gamma > 0, plan.prior != nil {
            losses[.priorD] = try prior(try state(.priorD), y, dy, options, gradients, &random)
        }
        try pass.backward(dy, into: nil, gradients)
        let changes = try pass.moved()
        if !changes.isEmpty { moved[.encoder] = changes }
        return (total(losses, options), moved)
    }

    private func total(_ losses: [Network: Double], _ options: TrainerOptions) -> ObjectiveLosses {
        let (local, global, prior) = (losses[.localD] ?? 0, losses[.globalD] ?? 0, losses[.priorD] ?? 0)
        return ObjectiveLosses(
            local: local, global: global, prior: prior,
            total: options.beta * local + options.alpha * global + options.gamma * prior)
    }

    // MARK: The prior

    /// -(mean log D(u) + mean log(1 - D(s(y)))), with s the squash; the discriminator minimises it, plus the gradient penalty,
    /// the encoder it (monolithic) or -mean log D(s(y)) (adversarial).
    private func prior(
        _ state: NetworkState, _ y: Activation, _ dy: Activation?, _ options: TrainerOptions, _ gradients: Gradients?,
        _ random: inout MersenneTwister
    ) throws -> Double {
        let network = plan.prior!
        let n = y.images
        let size = y.shape.size
        let weights: StackWeights
        if gradients != nil {
            weights = try priorWeights ?? StackWeights(network, forTraining: true)
            priorWeights = weights
            weights.prepare(state)
        } else {
            weights = try StackWeights.prepared(network, state)
        }
        // Rows 0 ..< n are u, rows n ..< 2n are y.
        let planes = try arena.floats(plan.ownSlots, 2 * n * size)
        for i in 0..<n * size { planes[i] = random.uniform() }
        PlanarLayout.store(y, into: planes + n * size)
        let x = try arena.activation(plan.squashSlot, network.input, images: 2 * n)
        PlanarLayout.load(planes, mean: [], std: [], into: x)
        if plan.squashes {
            let squashed = try arena.activation(plan.ownSlots + 1, network.input, images: n)
            PlanarLayout.load(planes + n * size, mean: [], std: [], into: squashed)
            Elementwise.sigmoid(squashed)
            PlanarLayout.store(squashed, into: planes + n * size)
            PlanarLayout.load(planes, mean: [], std: [], into: x)
        }
        let pass = StackPass(network, state, weights, arena, training: gradients != nil)
        let logits = try pass.forward(x, &random)
        var loss = 0.0
        for i in 0..<n {
            loss += Losses.softplus(-Double(logits.pointer[i * 16]))
            loss += Losses.softplus(Double(logits.pointer[(n + i) * 16]))
        }
        loss /= Double(n)
        guard let gradients, let dy else { return loss }
        try requireFinite(losses: [loss], "the batch was dropped, the weights are as before")
        // The discriminator's gradient and, where the encoder minimises something else, its.
        let dLogits = try arena.activation(plan.ownSlots + 2, logits.shape, images: 2 * n)
        let dx = try arena.activation(plan.ownSlots + 3, network.input, images: 2 * n)
        let scale = options.gamma / Double(n)
        func set(_ sign: Double, both: Bool) {
            Elementwise.clear(dLogits)
            for i in 0..<n {
                let (ofNoise, ofEncoded) = (Double(logits.pointer[i * 16]), Double(logits.pointer[(n + i) * 16]))
                if both { dLogits.pointer[i * 16] = Float(-Losses.sigmoid(-ofNoise) * scale) }
                dLogits.pointer[(n + i) * 16] = Float(sign * Losses.sigmoid(sign * ofEncoded) * scale)
            }
        }
        set(1, both: true)
        try pass.backward(dLogits, into: dx, gradients)
        if options.prior == .adversarial {
            if options.gradientPenalty > 0 {
                try penalty(state, planes, n, options.gamma * options.gradientPenalty, gradients)
            }
            set(-1, both: false)
            let ignored = try discarded(gradients)
            try pass.backward(dLogits, into: dx, ignored)
        }
        let rows = try arena.activation(plan.ownSlots + 1, network.input, images: n)
        PlanarLayout.store(dx, into: planes)
        PlanarLayout.load(planes + n * size, mean: [], std: [], into: rows)
        if plan.squashes {
            let squashed = try arena.activation(plan.ownSlots + 4, network.input, images: n)
            PlanarLayout.store(x, into: planes)
            PlanarLayout.load(planes + n * size, mean: [], std: [], into: squashed)
            Elementwise.sigmoidGradient(squashed, rows)
        }
        Elementwise.add(rows, into: dy)
        return loss
    }

    private var unused: Gradients?

    /// Gradients that nobody wants: the encoder's own term goes through the discriminator's weights.
    private func discarded(_ gradients: Gradients) throws -> Gradients {
        if let unused { return unused }
        let made = try Gradients(plan.architecture, [.priorD])
        unused = made
        return made
    }

    /// Half of the mean square of the logit's gradient at the prior's samples plus that at the squashed vectors
    /// (R1; paper.md 2): `inputs` (2n, size), samples first.
    private func penalty(
        _ state: NetworkState, _ inputs: UnsafePointer<Float>, _ n: Int, _ weight: Double, _ gradients: Gradients
    ) throws {
        let layers = plan.prior!.convolutions.map { convolution in
            GradientPenalty.Layer(
                weight: UnsafePointer(state.pointer(convolution.weight)),
                bias: convolution.bias.map { UnsafePointer(state.pointer($0)) },
                inputs: convolution.operator.input.channels, outputs: convolution.operator.output.channels)
        }
        let targets = plan.prior!.convolutions.map { gradients.pointer(.priorD, $0.weight) }
        let penalty = GradientPenalty(layers)
        for half in 0..<2 {
            _ = try penalty.value(
                inputs + half * n * plan.resolved.encodedSize, rows: n, weight: weight, gradients: targets, workspace)
        }
    }

    // MARK: Evaluation

    /// The losses in evaluation mode, nothing changed.
    func evaluate(
        _ model: Model, _ images: UnsafePointer<Float>, _ n: Int, _ options: TrainerOptions
    ) throws -> ObjectiveLosses {
        var random = MersenneTwister(seed: options.seed)
        let size = plan.resolved.encodedSize
        let terms = terms(options)
        let maps = Set(terms.map(\.1.map.index))
        let vectors = try Buffer(uninitialized: n * size)
        var features: Buffer?, conv: Buffer?
        if maps.contains(plan.features.index) { features = try Buffer(uninitialized: n * plan.features.output.size) }
        if let node = plan.conv, node.index != plan.features.index, maps.contains(node.index) {
            conv = try Buffer(uninitialized: n * node.output.size)
        }
        try model.evaluate(
            plan, images, count: n,
            EncodedOutputs(encoded: vectors.pointer, features: features?.pointer, conv: conv?.pointer))
        var losses: [Network: Double] = [:]
        for (network, term) in terms {
            let planes = term.map.index == plan.features.index ? features! : conv!
            let pass = try plan.score(
                term.head, try model.snapshot(network), vectors.pointer, vectors: n, planes.pointer, images: n,
                try pairs(n, options.negatives, &random), training: false, arena, &random)
            losses[network] = try options.measure.loss(
                pass.scores, try pass.pairs.table(locations: term.head.locations), gradient: nil, weight: 1)
        }
        if options.prior != .none, options.gamma > 0, let prior = plan.prior {
            let y = try arena.activation(plan.vectorSlot, prior.input, images: n)
            PlanarLayout.load(vectors.pointer, mean: [], std: [], into: y)
            losses[.priorD] = try self.prior(try model.snapshot(.priorD), y, nil, options, nil, &random)
        }
        let result = total(losses, options)
        try requireFinite(losses: [result.total, result.local, result.global, result.prior])
        return result
    }
}
