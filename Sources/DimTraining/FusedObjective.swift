import DimArchitecture
import DimModel
import DimOperators
import DimRuntime

/// The linked implementation's objective over the networks of `FusedPlan`: gan over a rotation, with a prior. A term's scores
/// and their gradients never leave the caches, so that scores are not held and no other measure fits: `LayerObjective` has
/// those. Its sums run in an order of their own, whose bytes `make gate` holds.
final class FusedObjective: Objective {
    /// All that the objective has, whatever the weights of its terms.
    static let networks: [Network] = [.encoder, .globalD, .localD, .priorD]

    /// Whether the fused passes compute what is asked for.
    static func computes(_ options: TrainerOptions) -> Bool {
        options.measure == .gan && options.negatives == .rotation && options.prior != .none
            && options.gradientPenalty == 0 && options.coordinates == .none && !options.occlusion
            && options.locations == 0
    }

    private let arena = Arena()
    private let weights = TransientWeights()
    private var localWeights: (FusedLocalDiscriminator.Weights, FusedLocalDiscriminator.GradientWeights)?

    // MARK: Forward and backward

    func forwardBackward(
        _ images: UnsafePointer<Float>, _ n: Int, _ options: TrainerOptions, _ gradients: Gradients,
        _ random: inout MersenneTwister, number: Int, _ state: (Network) throws -> NetworkState
    ) throws -> (ObjectiveLosses, [Network: StatisticSteps]) {
        let encoder = try state(.encoder), global = try state(.globalD)
        let local = try state(.localD), prior = try state(.priorD)

        let encoded = try arena.floats(.encoded, n * FusedEncoder.encoded)
        let pass = try FusedEncoder.train(encoder, weights.source, images: images, count: n, encoded: encoded, arena)

        let dEncoded = try arena.floats(.encodedGradient, n * FusedEncoder.encoded)
        dEncoded.update(repeating: 0, count: n * FusedEncoder.encoded)
        let dFeatures = try arena.floats(.featuresGradient, n * FusedEncoder.featuresSize)
        let globalLoss = try FusedGlobalDiscriminator.objective(
            global, weights.source, encoded: encoded, features: pass.features, count: n,
            weight: options.alpha, gradients: gradients, encodedGradient: dEncoded, featuresGradient: dFeatures, arena)
        let (localWeights, localGradientWeights) = try prepareLocal(local, options.precision)
        let localLoss = try FusedLocalDiscriminator.objective(
            local, localWeights, localGradientWeights, encoded: encoded, features: pass.features, count: n,
            weight: options.beta, gradients: gradients, encodedGradient: dEncoded, featuresGradient: dFeatures, arena)
        let u = try drawNoise(n, &random)
        let priorLoss = try FusedPriorDiscriminator.objective(
            prior, encoded: encoded, noise: u, count: n, weight: options.gamma,
            adversarial: options.prior == .adversarial, gradients: gradients, encodedGradient: dEncoded, arena)

        try FusedEncoder.backward(
            encoder, pass, weights.source, encodedGradient: dEncoded, featuresGradient: dFeatures, gradients, arena)
        var losses = total(local: localLoss, global: globalLoss, prior: priorLoss, options)
        losses.figures = try figures(losses, n, encoded: encoded)
        return (losses, [.encoder: FusedEncoder.statisticSteps(pass)])
    }

    private func figures(
        _ losses: ObjectiveLosses, _ n: Int, encoded: UnsafePointer<Float>
    ) throws -> ObjectiveFigures {
        var figures = ObjectiveFigures()
        figures.images = n
        let table = try Pairs.rotation(n).table(locations: 1)
        figures.information = [
            .localD: Measure.gan.estimate(loss: losses.local, table),
            .globalD: Measure.gan.estimate(loss: losses.global, table),
        ]
        figures.priorInputs = try Buffer(copying: encoded, count: n * FusedEncoder.encoded)
        return figures
    }

    private func prepareLocal(
        _ state: NetworkState, _ precision: Precision
    ) throws -> (FusedLocalDiscriminator.Weights, FusedLocalDiscriminator.GradientWeights) {
        let prepared =
            try localWeights ?? (
                FusedLocalDiscriminator.Weights(precision), FusedLocalDiscriminator.GradientWeights(precision)
            )
        localWeights = prepared
        try prepared.0.prepare(state)
        try prepared.1.prepare(state)
        return prepared
    }

    private func total(
        local: Double, global: Double, prior: Double, _ options: TrainerOptions
    ) -> ObjectiveLosses {
        ObjectiveLosses(
            local: local, global: global, prior: prior,
            total: options.beta * local + options.alpha * global + options.gamma * prior)
    }

    /// u (n,64): torch.rand_like(y).
    private func drawNoise(_ n: Int, _ generator: inout MersenneTwister) throws -> UnsafeMutablePointer<Float> {
        let u = try arena.floats(.noise, n * FusedEncoder.encoded)
        generator.uniforms(into: u, count: n * FusedEncoder.encoded)
        return u
    }

    // MARK: Evaluation

    /// Of all images only vectors and losses are kept. Image i's features meet y_i and y_(i-1): the block needs the vector of
    /// the image before it, and the first block the last image's, which is encoded once more where it is far away.
    func evaluate(
        _ model: Model, _ images: UnsafePointer<Float>, _ n: Int, _ options: TrainerOptions
    ) throws -> ObjectiveLosses {
        let block = FusedPlan.block
        let encoder = try model.snapshot(.encoder), global = try model.snapshot(.globalD)
        let local = try model.snapshot(.localD), prior = try model.snapshot(.priorD)
        let encoderWeights = try FusedPlan.encoderWeights(encoder)
        let globalWeights = try FusedPlan.globalWeights(global)
        let localWeights = try FusedPlan.localWeights(local)
        /// Place i + 1 is image i's; place 0 the last one's.
        let encoded = try arena.floats(.encoded, (n + 1) * FusedEncoder.encoded)
        func encode(
            _ from: Int, _ count: Int, into y: UnsafeMutablePointer<Float>
        ) throws -> UnsafeMutablePointer<Float> {
            try FusedEncoder.evaluate(
                encoder, encoderWeights, images: images + from * FusedEncoder.image, count: count, encoded: y, arena)
        }
        if n > block { _ = try encode(n - 1, 1, into: encoded) }

        let losses = try DoubleBuffer(zeros: 4 * n)
        let locals = losses.pointer, positives = locals + n, negatives = positives + n, priors = negatives + n
        var generator = MersenneTwister(seed: options.seed)
        for from in stride(from: 0, to: n, by: block) {
            let count = min(block, n - from)
            let before = encoded + from * FusedEncoder.encoded, own = before + FusedEncoder.encoded
            let features = try encode(from, count, into: own)
            if n <= block { before.update(from: own + (n - 1) * FusedEncoder.encoded, count: FusedEncoder.encoded) }
            try FusedGlobalDiscriminator.losses(
                global, globalWeights.source, encoded: before, features: features, count: count,
                positives: positives + from, negatives: negatives + from, arena)
            try FusedLocalDiscriminator.losses(
                local, localWeights, encoded: before, features: features, count: count, into: locals + from, arena)
            let u = try drawNoise(count, &generator)
            try FusedPriorDiscriminator.losses(
                prior, encoded: own, noise: u, count: count, into: priors + from, arena)
        }
        // In the order of a training step's sums: the negatives there are (y_i, M_(i+1)).
        var localSum = 0.0, globalSum = 0.0, priorSum = 0.0
        for i in 0..<n { localSum += locals[i] }
        for i in 0..<n { globalSum += positives[i] }
        for i in 0..<n { globalSum += negatives[(i + 1) % n] }
        for i in 0..<n { priorSum += priors[i] }
        var result = total(
            local: localSum / Double(n * FusedLocalDiscriminator.cells), global: globalSum / Double(n),
            prior: priorSum / Double(n), options)
        try requireFinite(losses: [result.total, result.local, result.global, result.prior])
        result.figures = try figures(result, n, encoded: encoded + FusedEncoder.encoded)
        return result
    }
}
