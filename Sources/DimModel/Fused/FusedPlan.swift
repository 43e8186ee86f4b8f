import DimArchitecture
import DimOperators
import DimRuntime

/// The plan of the notebook's networks: Winograd convolutions in layouts of their own, discriminators whose hidden activations
/// stay in the caches, a classifier in double. It is faster than `LayerPlan` over the same networks, and its sums run
/// in another order; `make gate` fixes its bytes, which is why both kinds exist. Other computations (intermediate
/// outputs, all pairs, other objectives) are done by `layers`. See docs/design.md, "Two plans".
package final class FusedPlan: NetworkPlan {
    private let architecture: Architecture
    private let made = MadeAtFirstUse<LayerPlan>()

    /// Whether the fused passes compute this architecture's networks.
    package static func computes(_ architecture: Architecture) -> Bool { architecture.isNotebook }

    init(_ architecture: Architecture) { self.architecture = architecture }

    /// Made at first use: most runs of the notebook need none.
    package var layers: LayerPlan { made.value { LayerPlan(architecture) } }

    package func dependsOnMode(_ network: Network) -> Bool { network == .encoder || network == .classifier }

    /// Images in flight in evaluation mode: bounds the memory of a call, whatever n is.
    package static let block = 32

    private func inBlocks(_ n: Int, _ body: (_ from: Int, _ count: Int) throws -> Void) throws {
        for from in stride(from: 0, to: n, by: FusedPlan.block) { try body(from, min(FusedPlan.block, n - from)) }
    }

    // MARK: Encoder

    package func encode(
        _ state: NetworkState, _ images: UnsafePointer<Float>, count n: Int, _ outputs: EncodedOutputs,
        _ call: inout ForwardCall
    ) throws {
        guard let encoded = outputs.encoded, outputs.conv == nil, outputs.fc == nil else {
            return try layers.encode(state, images, count: n, outputs, &call)
        }
        if call.isTraining {
            return try encodeTraining(state, images, count: n, encoded, features: outputs.features, &call)
        }
        let weights = try FusedPlan.encoderWeights(state)
        try inBlocks(n) { [arena = call.arena] from, count in
            let features = try FusedEncoder.evaluate(
                state, weights, images: images + from * FusedEncoder.image, count: count,
                encoded: encoded + from * FusedEncoder.encoded, arena)
            FusedPlan.unblock(features, count, into: outputs.features.map { $0 + from * FusedEncoder.featuresSize })
        }
    }

    package static func encoderWeights(_ state: NetworkState) throws -> KeptWeights {
        try state.prepared(.fused) { try KeptWeights(state, FusedEncoder.convolutions) }
    }

    /// By direct convolutions: batch norm over a small or uniform batch divides rounding errors by a small deviation. Theirs are
    /// the same at every position, so that the mean takes most of them away; Winograd's differ.
    private func encodeTraining(
        _ state: NetworkState, _ images: UnsafePointer<Float>, count n: Int, _ encoded: UnsafeMutablePointer<Float>,
        features: UnsafeMutablePointer<Float>?, _ call: inout ForwardCall
    ) throws {
        let weights = try state.prepared(.fusedDirect) {
            try KeptWeights(state, FusedEncoder.convolutions, direct: true)
        }
        // Into memory of our own first: the caller's arrays change only where everything went well.
        let vectors = try call.arena.floats(.encoded, n * FusedEncoder.encoded)
        let pass = try FusedEncoder.train(
            state, weights.source, images: images, count: n, encoded: vectors, call.arena)
        call.moved = try state.moved(by: FusedEncoder.statisticSteps(pass))
        encoded.update(from: vectors, count: n * FusedEncoder.encoded)
        FusedPlan.unblock(pass.features, n, into: features)
    }

    private static func unblock(
        _ blocked: UnsafePointer<Float>, _ n: Int, into features: UnsafeMutablePointer<Float>?
    ) {
        guard let features else { return }
        ThreadPool.shared.parallel(n) { image, _ in
            BlockedLayout.unblock(
                blocked + image * FusedEncoder.featuresSize, channels: 128, pixels: 676,
                into: features + image * FusedEncoder.featuresSize)
        }
    }

    // MARK: Discriminators

    package func score(
        _ state: NetworkState, encoded: UnsafePointer<Float>, maps: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>, _ call: inout ForwardCall
    ) throws {
        state.network == .localD
            ? try scoreLocal(state, encoded: encoded, features: maps, count: n, logits: logits, call.arena)
            : try scoreGlobal(state, encoded: encoded, features: maps, count: n, logits: logits, call.arena)
    }

    private func scoreGlobal(
        _ state: NetworkState, encoded: UnsafePointer<Float>, features: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>, _ arena: Arena
    ) throws {
        let weights = try FusedPlan.globalWeights(state)
        try inBlocks(n) { from, count in
            let blocked = try arena.floats(.features, count * FusedEncoder.featuresSize)
            ThreadPool.shared.parallel(count) { image, _ in
                BlockedLayout.block(
                    features + (from + image) * FusedEncoder.featuresSize, channels: 128, pixels: 676,
                    into: blocked + image * FusedEncoder.featuresSize)
            }
            try FusedGlobalDiscriminator.forward(
                state, weights.source, encoded: encoded + from * FusedEncoder.encoded, features: blocked, count: count,
                logits: logits + from, arena)
        }
    }

    private func scoreLocal(
        _ state: NetworkState, encoded: UnsafePointer<Float>, features: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>, _ arena: Arena
    ) throws {
        let weights = try FusedPlan.localWeights(state)
        try inBlocks(n) { from, count in
            try FusedLocalDiscriminator.forward(
                state, weights, encoded: encoded + from * FusedEncoder.encoded,
                features: features + from * FusedEncoder.featuresSize, count: count,
                logits: logits + from * FusedLocalDiscriminator.cells, arena)
        }
    }

    package static func globalWeights(_ state: NetworkState) throws -> KeptWeights {
        try state.prepared(.fused) { try KeptWeights(state, FusedGlobalDiscriminator.convolutions) }
    }

    package static func localWeights(_ state: NetworkState) throws -> FusedLocalDiscriminator.Weights {
        try state.prepared(.fused) { try FusedLocalDiscriminator.Weights(state) }
    }

    package func scorePairs(
        _ state: NetworkState, encoded: UnsafePointer<Float>, maps: UnsafePointer<Float>, count n: Int,
        logits: UnsafeMutablePointer<Float>, _ call: inout ForwardCall
    ) throws {
        try layers.scorePairs(state, encoded: encoded, maps: maps, count: n, logits: logits, &call)
    }

    package func scorePrior(
        _ state: NetworkState, encoded: UnsafePointer<Float>, count n: Int,
        probabilities: UnsafeMutablePointer<Float>, _ call: inout ForwardCall
    ) throws {
        try FusedPriorDiscriminator.probabilities(state, encoded: encoded, count: n, into: probabilities, call.arena)
    }

    // MARK: Classifier

    package func classify(
        _ state: NetworkState, encoded: UnsafePointer<Float>, count n: Int, logits: UnsafeMutablePointer<Float>,
        _ call: inout ForwardCall
    ) throws {
        guard call.isTraining else {
            return FusedClassifier.logits(state, encoded: encoded, count: n, into: logits)
        }
        let pass = try FusedClassifier.train(state, encoded: encoded, count: n)
        call.moved = try state.moved(by: FusedClassifier.statisticSteps(pass))
        for i in 0..<n * FusedClassifier.classes { logits[i] = Float(pass.logits[i]) }
    }
}
