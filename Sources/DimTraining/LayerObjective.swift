import DimArchitecture
import DimKernels
import DimModel
import DimOperators
import DimRuntime

/// The objective over any architecture: terms over one batch, forward and backward. docs/training.md has the formulas.
final class LayerObjective: Objective {
    let plan: LayerPlan
    let arena = Arena()
    /// Of the pass over occluded images, which is alive together with the one over whole ones.
    private let occludedArena = Arena()
    private var encoderWeights: StackWeights?
    private var headWeights: [Network: PairHeadWeights] = [:]
    var priorWeights: StackWeights?
    /// Gradients that nothing reads: the encoder's own prior term goes through the discriminator's weights.
    var unused: Gradients?
    /// Scores that are held at once; tests make it small.
    var scoresInFlight = PairHeadPass.scoresInFlight
    /// The local head, over all locations or over those that are drawn.
    private let local: PairHead?
    private let precision: Precision

    init(_ plan: LayerPlan, _ options: TrainerOptions) throws {
        self.plan = plan
        precision = options.precision
        guard options.locations > 0 else {
            local = plan.local
            return
        }
        let cells = plan.features.output.pixels
        guard options.locations <= cells else {
            throw DimError(
                .invalidArgument,
                "locations is \(options.locations); the features have \(cells): expected at most those")
        }
        guard plan.local != nil, options.beta > 0 else {
            throw DimError(
                .invalidArgument,
                "locations is \(options.locations), but there is no local term: expected 0, or a beta over 0")
        }
        local = plan.local(locations: options.locations)
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
        if let head = local, options.beta > 0 {
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
                    .invalidArgument, "n is \(n); expected more images than negatives for each vector, \(k)")
            }
            return .drawn(n, k: k, &random)
        }
    }

    private static let dropped = "the batch was dropped, the weights are as before"

    private func weights(_ head: PairHead, _ state: NetworkState) throws -> PairHeadWeights {
        let weights = try headWeights[head.network] ?? PairHeadWeights(head, precision: precision)
        headWeights[head.network] = weights
        weights.prepare(state)
        return weights
    }

    // MARK: A micro-batch

    /// Adds the gradients; returns the losses and what the running statistics move by. Random numbers are drawn in this order:
    /// the encoder's dropout; the boxes, the dropout over occluded images; the global term's negatives; the local term's
    /// locations, then its negatives; the coordinates' partners; the prior's samples. `number`: of the step, for messages.
    func forwardBackward(
        _ images: UnsafePointer<Float>, _ n: Int, _ options: TrainerOptions, _ gradients: Gradients,
        _ random: inout MersenneTwister, number: Int, _ state: (Network) throws -> NetworkState
    ) throws -> (ObjectiveLosses, [Network: StatisticSteps]) {
        let encoder = try state(.encoder)
        let weights = try encoderWeights ?? StackWeights(plan.encoder, gradientWeights: .instead)
        encoderWeights = weights
        weights.prepare(encoder)
        let whole = StackPass(plan.encoder, encoder, weights, arena, training: true)
        var y = try whole.forward(try plan.load(images, count: n, arena), &random)
        var occluded: StackPass?
        if options.occlusion {
            let images = try self.occluded(images, n, &random)
            let pass = StackPass(plan.encoder, encoder, weights, occludedArena, training: true)
            y = try pass.forward(try plan.load(images, count: n, occludedArena), &random)
            occluded = pass
        }
        let dy = try arena.activation(plan.slots[.vectorGradient], y.shape, images: n)
        Elementwise.clear(dy)
        var moved: [Network: StatisticSteps] = [:]
        var losses: [Network: Double] = [:]
        var figures = ObjectiveFigures()
        figures.images = n
        for (network, term) in terms(options) {
            let state = try state(network)
            var map = whole.outputs[term.map.index]!
            var mapGradient = try whole.gradient(of: term.map)
            let intoMap = mapGradient
            var cells: [Int] = []
            if network == .localD, options.locations > 0 {
                cells = try drawnLocations(n, options.locations, &random)
                map = try chosen(map, cells, into: plan.slots[.chosenMap], arena)
                mapGradient = try arena.activation(plan.slots[.chosenMapGradient], map.shape, images: n)
                Elementwise.clear(mapGradient)
            }
            let pass = try PairHeadPass(
                term.head, state, try self.weights(term.head, state), map: map, vector: y,
                try pairs(n, options.negatives, &random), training: true, arena, &random)
            losses[network] = try measure(
                pass, options.measure, weight: term.weight, gradients, &figures, "of step \(number)")
            try pass.finish(vectorGradient: dy, mapGradient: mapGradient, gradients)
            if !cells.isEmpty { spread(mapGradient, cells, into: intoMap) }
            let changes = pass.statisticSteps()
            if !changes.isEmpty { moved[network] = changes }
        }
        if let head = plan.coordinates, options.coordinates != .none, options.coordinatesWeight > 0 {
            let state = try state(.coordinatesD)
            let pass = try PairHeadPass(
                head, state, try self.weights(head, state), map: whole.outputs[plan.features.index]!, vector: y,
                .own(n), training: true, arena, &random)
            figures.coordinates = try coordinates(pass, options, gradients, &random)
            try requireFinite(losses: [figures.coordinates], LayerObjective.dropped)
            try pass.finish(
                vectorGradient: dy, mapGradient: try whole.gradient(of: plan.features), gradients)
        }
        if options.prior != .none, options.gamma > 0, plan.prior != nil {
            losses[.priorD] = try prior(try state(.priorD), y, dy, options, gradients, &figures, &random)
        }
        if let occluded {
            try occluded.backward(dy, into: nil, gradients)
            try whole.backwardFromNodes(gradients)
        } else {
            try whole.backward(dy, into: nil, gradients)
        }
        // With occlusion the running statistics move twice.
        let changes = whole.statisticSteps() + (occluded?.statisticSteps() ?? [])
        if !changes.isEmpty { moved[.encoder] = changes }
        return (total(losses, figures, options), moved)
    }

    /// The loss of a head's scores, block after block, and, with gradients, their way back as far as `finish` takes over.
    private func measure(
        _ pass: PairHeadPass, _ measure: Measure, weight: Double, _ gradients: Gradients?,
        _ figures: inout ObjectiveFigures, _ place: String
    ) throws -> Double {
        let table = try pass.pairs.table(locations: pass.head.locations)
        let blocks = pass.blocks(scoresInFlight, scoredOnce: gradients != nil && !measure.needsAllSums)
        var sums = MeasureSums()
        var range = ScoreRange()
        var held: UnsafeMutablePointer<Float>?
        if measure.needsAllSums || gradients == nil {
            for block in blocks {
                let (scores, part) = (try pass.scores(block), table.part(block))
                held = blocks.count == 1 ? scores : nil
                range.include(scores, part.count)
                sums.add(try measure.sums(scores, part, gradient: nil, weight: weight, whole: nil))
            }
        }
        if let gradients {
            let before = measure.needsAllSums ? sums : nil
            for block in blocks {
                // In place: a block's scores are not needed again, but for those of a measure that needs them twice.
                let (scores, part) = (try held ?? pass.scores(block), table.part(block))
                if before == nil { range.include(scores, part.count) }
                let found = try measure.sums(scores, part, gradient: scores, weight: weight, whole: before)
                if before == nil { sums.add(found) }
                try pass.backward(block, scores, gradients)
            }
        }
        let loss = measure.loss(sums, table)
        guard loss.isFinite else {
            throw DimError(
                .notFinite,
                "the \(pass.head.network == .localD ? "local" : "global") loss \(place), \(measure.name), is not finite "
                    + "(\(loss)): \(range); "
                    + (gradients == nil ? "nothing was changed" : LayerObjective.dropped))
        }
        figures.information[pass.head.network] = measure.estimate(loss: loss, table)
        figures.largestScore[pass.head.network] = Double(max(range.largest, -range.smallest))
        return loss
    }

    private func total(
        _ losses: [Network: Double], _ figures: ObjectiveFigures, _ options: TrainerOptions
    ) -> ObjectiveLosses {
        let (local, global, prior) = (losses[.localD] ?? 0, losses[.globalD] ?? 0, losses[.priorD] ?? 0)
        var total = options.beta * local + options.alpha * global + options.gamma * prior
        if !figures.coordinates.isNaN { total += options.coordinatesWeight * figures.coordinates }
        return ObjectiveLosses(local: local, global: global, prior: prior, total: total, figures: figures)
    }

    // MARK: Evaluation

    /// The losses in evaluation mode, nothing changed.
    func evaluate(
        _ model: Model, _ images: UnsafePointer<Float>, _ n: Int, _ options: TrainerOptions
    ) throws -> ObjectiveLosses {
        var random = MersenneTwister(seed: options.seed)
        let size = plan.resolved.encodedSize
        let terms = terms(options)
        let readsCoordinates = plan.coordinates != nil && options.coordinates != .none && options.coordinatesWeight > 0
        var maps = Set(terms.map(\.1.map.index))
        if readsCoordinates { maps.insert(plan.features.index) }
        let encoded = try Buffer(uninitialized: n * size)
        var features: Buffer?, conv: Buffer?
        if maps.contains(plan.features.index) { features = try Buffer(uninitialized: n * plan.features.output.size) }
        if let node = plan.conv, node.index != plan.features.index, maps.contains(node.index) {
            conv = try Buffer(uninitialized: n * node.output.size)
        }
        var encoding = ForwardCall(arena), scoring = ForwardCall(arena)
        let encoder = try model.snapshot(.encoder)
        try plan.encode(
            encoder, images, count: n,
            EncodedOutputs(encoded: encoded.pointer, features: features?.pointer, conv: conv?.pointer), &encoding)
        if options.occlusion {
            let images = try occluded(images, n, &random)
            try plan.encode(encoder, images, count: n, EncodedOutputs(encoded: encoded.pointer), &encoding)
        }
        var losses: [Network: Double] = [:]
        var figures = ObjectiveFigures()
        figures.images = n
        for (network, term) in terms {
            var planes = term.map.index == plan.features.index ? features! : conv!
            if network == .localD, options.locations > 0 {
                planes = try chosen(planes, try drawnLocations(n, options.locations, &random), images: n)
            }
            let pass = try plan.score(
                term.head, try model.snapshot(network), encoded.pointer, vectors: n, planes.pointer, images: n,
                try pairs(n, options.negatives, &random), &scoring)
            losses[network] = try measure(pass, options.measure, weight: 1, nil, &figures, "of the evaluation")
        }
        if readsCoordinates, let head = plan.coordinates, let features {
            var sum = 0.0
            for from in stride(from: 0, to: n, by: LayerObjective.block) {
                let count = min(LayerObjective.block, n - from)
                let pass = try plan.score(
                    head, try model.snapshot(.coordinatesD), encoded.pointer + from * size, vectors: count,
                    features.pointer + from * head.map.size, images: count, .own(count), &scoring)
                sum += try coordinates(pass, options, nil, &random) * Double(count)
            }
            figures.coordinates = sum / Double(n)
        }
        if options.prior != .none, options.gamma > 0, let prior = plan.prior {
            let y = try arena.activation(plan.slots[.vectors], prior.input, images: n)
            PlanarLayout.load(encoded.pointer, mean: [], std: [], into: y)
            losses[.priorD] = try self.prior(
                try model.snapshot(.priorD), y, nil, options, nil, &figures, &random)
        }
        let result = total(losses, figures, options)
        try requireFinite(losses: [result.total, result.local, result.global, result.prior])
        return result
    }

    /// Images of the coordinates' network in flight in evaluation mode.
    private static let block = 32
}

/// From the smallest to the largest score, for reports.
private struct ScoreRange: CustomStringConvertible {
    var smallest = Float.infinity
    var largest = -Float.infinity

    mutating func include(_ scores: UnsafePointer<Float>, _ count: Int) {
        largest = max(largest, DimKernels.selected.largest(scores, count, 1))
        smallest = min(smallest, -DimKernels.selected.largest(scores, count, -1))
    }

    /// NaN is neither.
    var description: String {
        smallest <= largest ? "its scores are from \(smallest) to \(largest)" : "none of its scores is a number"
    }
}
