import DimArchitecture
import DimOperators
import DimRuntime

package struct TrainerOptions: Equatable {
    package var measure = Measure.gan
    package var negatives = Negatives.rotation
    package var prior = PriorDiscriminator.EncoderTerm.monolithic
    /// The weight of the prior discriminator's gradient penalty; the adversarial prior alone.
    package var gradientPenalty = 0.0
    package var seed: UInt64 = 0
    package var alpha = 0.5
    package var beta = 1.0
    package var gamma = 0.1
    package var encoderLearningRate = 1e-4
    /// Its learning rate is the discriminators'.
    package var adam = AdamOptions()

    /// Parts of a step's images that have statistics, negatives and noise of their own; their gradients are averaged.
    package var microBatches = 1
    package static let mostMicroBatches = 4096

    /// All gradients of a step are scaled down to this Euclidean norm; 0 for no bound.
    package var gradientClip = 0.0

    /// The term of the coordinates, and its weight.
    package var coordinates = Coordinates.none
    package var coordinatesWeight = 1.0
    /// Vectors come from images of which a box is hidden, maps from whole ones.
    package var occlusion = false
    /// How many locations of each image the local term uses, drawn anew each step; 0 for all.
    package var locations = 0

    package init() {}

    /// The settings of the preset that the architecture comes from.
    package init(for architecture: Architecture) {
        let preset = architecture.trainingPreset
        measure = Measure(name: preset.measure) ?? .nce
        negatives = preset.negatives == "all" ? .all : Int(preset.negatives).map(Negatives.drawn) ?? .rotation
        prior = preset.prior == "none" ? .none : preset.prior == "adversarial" ? .adversarial : .monolithic
        (alpha, beta, gamma) = (preset.alpha, preset.beta, preset.gamma)
        encoderLearningRate = preset.learningRate
        adam.learningRate = preset.learningRate
        (adam.beta1, adam.beta2) = (preset.beta1, preset.beta2)
        // A term without its network has no weight.
        if architecture.global == nil { alpha = 0 }
        if architecture.local == nil { beta = 0 }
        if architecture.prior == nil { (gamma, prior) = (0, .none) }
    }

    /// What the notebook's own kernels compute: the linked implementation's objective.
    var isLinkedObjective: Bool {
        measure == .gan && negatives == .rotation && prior != .none && gradientPenalty == 0 && coordinates == .none
            && !occlusion && locations == 0
    }
}

/// Trains the encoder and the three discriminators on the Deep InfoMax objective (arXiv:1808.06670; the implementation that the
/// notebook links to). See docs/training.md for the gradients.
///
/// Not for two threads at once: the API boundary holds `lock` around each call.
package final class Trainer: @unchecked Sendable {
    /// Those that the linked objective trains.
    package static let linkedNetworks: [Network] = [.encoder, .globalD, .localD, .priorD]

    /// Those that this run trains.
    package let networks: [Network]
    package let lock = Lock()
    package let model: Model
    package private(set) var options: TrainerOptions
    package let step: TrainingStep
    package private(set) var noise: MersenneTwister
    /// As before the first micro-batch that waits.
    private var noiseBefore: MersenneTwister?
    /// Random numbers that a micro-batch of so many images draws.
    private var draws: [Int: Int] = [:]
    private let workspace = Workspace()
    private let weights = TransientWeights()
    private var localWeights: (LocalDiscriminator.Weights, LocalDiscriminator.GradientWeights)?

    /// nil where the notebook's own kernels serve.
    let objective: PlanObjective?

    package convenience init(_ model: Model, _ options: TrainerOptions) throws {
        try self.init(resuming: model, options, noise: MersenneTwister(seed: options.seed), nil)
    }

    /// Continues where a checkpoint stopped.
    package init(
        resuming model: Model, _ options: TrainerOptions, noise: MersenneTwister, _ progress: TrainingStep.Progress?
    ) throws {
        self.model = model
        self.options = options
        objective =
            Trainer.isLinked(model.architecture, options) ? nil : try PlanObjective(model.anyPlan, options)
        networks = try Trainer.networks(model.architecture, options)
        step = try TrainingStep(
            model, networks, from: progress, microBatches: options.microBatches, passes: options.occlusion ? 2 : 1)
        self.noise = noise
    }

    private static func isLinked(_ architecture: Architecture, _ options: TrainerOptions) -> Bool {
        architecture.isNotebook && options.isLinkedObjective
    }

    /// The networks that a run with these options trains.
    package static func networks(_ architecture: Architecture, _ options: TrainerOptions) throws -> [Network] {
        isLinked(architecture, options) ? linkedNetworks : try PlanObjective.networks(architecture, options)
    }

    package func setLearningRates(encoder: Double, discriminator: Double) {
        options.encoderLearningRate = encoder
        options.adam.learningRate = discriminator
    }

    // MARK: Report

    /// Micro-batches that wait for an update, and what the last call's report is of.
    private var pending: [ObjectiveLosses] = []
    private var reported: (batches: [ObjectiveLosses], gradientNorms: [Network: Double]) = ([], [:])

    package func report() throws -> TrainingReport {
        try TrainingReport(reported.batches, networks, reported.gradientNorms)
    }

    // MARK: Steps

    /// images (n,c,h,w): one step, of n / microBatches images a micro-batch, two at least.
    package func step(_ images: UnsafePointer<Float>, count n: Int) throws -> ObjectiveLosses {
        guard step.waiting == 0 else {
            throw DimError(.invalidArgument, "\(step.waiting) micro-batches wait for an update; a step expects none")
        }
        let k = options.microBatches
        let size = model.sizes.image.size
        guard n % k == 0, n / k >= 2 else {
            throw DimError(
                .invalidArgument,
                "n is \(n); a step of \(k) micro-batches expects a multiple of \(k), \(2 * k) at least")
        }
        if k > 1 { try requireFinite(images, count: n, size: size, "image") }
        var all: [ObjectiveLosses] = []
        do {
            for part in 0..<k { all.append(try accumulate(images + part * (n / k) * size, count: n / k)) }
            try update()
        } catch {
            drop()
            throw error
        }
        return k == 1 ? all[0] : mean(all)
    }

    private func mean(_ losses: [ObjectiveLosses]) -> ObjectiveLosses {
        var (local, global, prior, total) = (0.0, 0.0, 0.0, 0.0)
        for one in losses {
            (local, global) = (local + one.local, global + one.global)
            (prior, total) = (prior + one.prior, total + one.total)
        }
        let k = Double(losses.count)
        return ObjectiveLosses(local: local / k, global: global / k, prior: prior / k, total: total / k)
    }

    package func accumulate(_ images: UnsafePointer<Float>, count n: Int) throws -> ObjectiveLosses {
        try requireFinite(images, count: n, size: model.sizes.image.size, "image")
        let before = noise
        do {
            return try model.whileChanging {
                var result: ObjectiveLosses?
                try step.accumulate { state in
                    let (losses, moved) = try self.forwardBackward(images, n, state)
                    result = losses
                    return ([losses.local, losses.global, losses.prior, losses.total], moved)
                }
                if step.waiting == 1 { noiseBefore = before }
                draws[n] = noise.draws(since: before)
                if step.computed == 1 { pending = [] }
                pending.append(result!)
                reported = (pending, [:])
                return result!
            }
        } catch {
            noise = before
            throw error
        }
    }

    /// Another process computes the next micro-batch, of n images: the random numbers are drawn here as well.
    package func skip(count n: Int) throws {
        let before = noise
        let count = try options.microBatches == 1 ? 0 : draws[n] ?? countDraws(n)
        try step.skip()
        if step.waiting == 1 { noiseBefore = before }
        noise = before
        noise.skip(count)
    }

    /// Of a micro-batch over images that do not matter: how many numbers it draws follows from n and the options alone.
    private func countDraws(_ n: Int) throws -> Int {
        guard step.computed == 0 else {
            throw DimError(.invalidArgument, "n is \(n); a step expects micro-batches of one size")
        }
        let size = model.sizes.image.size
        let images = try Buffer(uninitialized: n * size)
        var pixels = MersenneTwister(seed: 0)
        for i in 0..<n * size { images.pointer[i] = pixels.uniform() }
        let before = noise
        defer { noise = before }
        step.gradients.clear()
        _ = try model.whileChanging { try forwardBackward(images.pointer, n) { try self.model.snapshot($0) } }
        draws[n] = noise.draws(since: before)
        return draws[n]!
    }

    /// Drops what waits; the random numbers are as before it.
    package func drop() {
        if let noiseBefore { noise = noiseBefore }
        noiseBefore = nil
        step.clear()
    }

    package func update() throws {
        do {
            try model.whileChanging {
                try step.update(moves: objective == nil ? [.encoder] : networks, clippedTo: options.gradientClip) {
                    network in
                    var adam = options.adam
                    if network == .encoder { adam.learningRate = options.encoderLearningRate }
                    return adam
                }
            }
            noiseBefore = nil
            reported = (pending, step.gradientNorms)
        } catch {
            if step.waiting == 0 { drop() }
            throw error
        }
    }

    // MARK: Forward and backward

    private func forwardBackward(
        _ images: UnsafePointer<Float>, _ n: Int, _ state: (Network) throws -> NetworkState
    ) throws -> (ObjectiveLosses, [Network: StatisticSteps]) {
        if let objective {
            return try objective.forwardBackward(
                images, n, options, step.gradients, &noise, number: step.count.addingSaturated(1), state)
        }
        let encoder = try state(.encoder), global = try state(.globalD)
        let local = try state(.localD), prior = try state(.priorD)
        let gradients = step.gradients

        let encoded = try workspace.floats("encoded", n * Encoder.encoded)
        let pass = try Encoder.train(
            encoder, weights.source, images: images, count: n, encoded: encoded, workspace)

        let dEncoded = try workspace.floats("encoded gradient", n * Encoder.encoded)
        dEncoded.update(repeating: 0, count: n * Encoder.encoded)
        let dFeatures = try workspace.floats("features gradient", n * Encoder.featuresSize)
        let globalLoss = try GlobalDiscriminator.objective(
            global, weights.source, encoded: encoded, features: pass.features, count: n,
            weight: options.alpha, gradients: gradients, encodedGradient: dEncoded, featuresGradient: dFeatures,
            workspace)
        let (localWeights, localGradientWeights) = try prepareLocal(local)
        let localLoss = try LocalDiscriminator.objective(
            local, localWeights, localGradientWeights, encoded: encoded, features: pass.features, count: n,
            weight: options.beta, gradients: gradients, encodedGradient: dEncoded, featuresGradient: dFeatures,
            workspace)
        let u = try drawNoise(n, &noise)
        let priorLoss = try PriorDiscriminator.objective(
            prior, encoded: encoded, noise: u, count: n, weight: options.gamma, term: options.prior,
            gradients: gradients, encodedGradient: dEncoded, workspace)

        try Encoder.backward(
            encoder, pass, weights.source, encodedGradient: dEncoded, featuresGradient: dFeatures, gradients,
            workspace)
        var losses = total(local: localLoss, global: globalLoss, prior: priorLoss)
        losses.figures = try figures(losses, n, vectors: encoded)
        return (losses, [.encoder: Encoder.statisticSteps(encoder, pass)])
    }

    /// Of the linked objective: gan over a rotation. Its scores are never held.
    private func figures(_ losses: ObjectiveLosses, _ n: Int, vectors: UnsafePointer<Float>) throws -> ObjectiveFigures
    {
        var figures = ObjectiveFigures()
        figures.images = n
        let table = try Pairs.rotation(n).table(locations: 1)
        figures.information = [
            .localD: Measure.gan.estimate(loss: losses.local, table),
            .globalD: Measure.gan.estimate(loss: losses.global, table),
        ]
        figures.vectors = try Buffer(copying: vectors, count: n * Encoder.encoded)
        return figures
    }

    private func prepareLocal(
        _ state: NetworkState
    ) throws -> (LocalDiscriminator.Weights, LocalDiscriminator.GradientWeights) {
        let prepared = try localWeights ?? (LocalDiscriminator.Weights(), LocalDiscriminator.GradientWeights())
        localWeights = prepared
        try prepared.0.prepare(state)
        try prepared.1.prepare(state)
        return prepared
    }

    private func total(local: Double, global: Double, prior: Double) -> ObjectiveLosses {
        ObjectiveLosses(
            local: local, global: global, prior: prior,
            total: options.beta * local + options.alpha * global + options.gamma * prior)
    }

    /// u (n,64): torch.rand_like(y).
    private func drawNoise(_ n: Int, _ generator: inout MersenneTwister) throws -> UnsafeMutablePointer<Float> {
        let u = try workspace.floats("noise", n * Encoder.encoded)
        for i in 0..<n * Encoder.encoded { u[i] = generator.uniform() }
        return u
    }

    // MARK: Evaluation

    /// Images in flight: bounds the memory of an evaluation, whatever n is.
    private static let block = 32

    /// The losses in evaluation mode, nothing changed; the noise starts anew from the run's seed.
    ///
    /// Of all images only vectors and losses are kept. Image i's features meet y_i and y_(i-1): the block needs the vector of
    /// the image before it, and the first block the last image's, which is encoded once more where it is far away.
    package func evaluate(_ images: UnsafePointer<Float>, count n: Int) throws -> ObjectiveLosses {
        try requireFinite(images, count: n, size: model.sizes.image.size, "image")
        let losses = try objective?.evaluate(model, images, n, options) ?? evaluateLinked(images, count: n)
        reported = ([losses], [:])
        return losses
    }

    private func evaluateLinked(_ images: UnsafePointer<Float>, count n: Int) throws -> ObjectiveLosses {
        let encoder = try model.snapshot(.encoder), global = try model.snapshot(.globalD)
        let local = try model.snapshot(.localD), prior = try model.snapshot(.priorD)
        let encoderWeights = try encoder.prepared { try Encoder.Weights(encoder) }
        let globalWeights = try global.prepared { try GlobalDiscriminator.Weights(global) }
        let localWeights = try local.prepared { try LocalDiscriminator.Weights(local) }
        /// Place i + 1 is image i's; place 0 the last one's.
        let encoded = try workspace.floats("encoded", (n + 1) * Encoder.encoded)
        func encode(_ from: Int, _ count: Int, into y: UnsafeMutablePointer<Float>) throws
            -> UnsafeMutablePointer<Float>
        {
            try Encoder.evaluate(
                encoder, encoderWeights, images: images + from * Encoder.image, count: count, encoded: y, workspace)
        }
        if n > Trainer.block { _ = try encode(n - 1, 1, into: encoded) }

        let losses = try DoubleBuffer(zeros: 4 * n)
        let locals = losses.pointer, positives = locals + n, negatives = positives + n, priors = negatives + n
        var generator = MersenneTwister(seed: options.seed)
        for from in stride(from: 0, to: n, by: Trainer.block) {
            let count = min(Trainer.block, n - from)
            let before = encoded + from * Encoder.encoded, own = before + Encoder.encoded
            let features = try encode(from, count, into: own)
            if n <= Trainer.block { before.update(from: own + (n - 1) * Encoder.encoded, count: Encoder.encoded) }
            try GlobalDiscriminator.losses(
                global, globalWeights.source, encoded: before, features: features, count: count,
                positives: positives + from, negatives: negatives + from, workspace)
            try LocalDiscriminator.losses(
                local, localWeights, encoded: before, features: features, count: count, into: locals + from, workspace)
            let u = try drawNoise(count, &generator)
            try PriorDiscriminator.losses(
                prior, encoded: own, noise: u, count: count, into: priors + from, workspace)
        }
        // In the order of a training step's sums: the negatives there are (y_i, M_(i+1)).
        var localSum = 0.0, globalSum = 0.0, priorSum = 0.0
        for i in 0..<n { localSum += locals[i] }
        for i in 0..<n { globalSum += positives[i] }
        for i in 0..<n { globalSum += negatives[(i + 1) % n] }
        for i in 0..<n { priorSum += priors[i] }
        var result = total(
            local: localSum / Double(n * LocalDiscriminator.cells), global: globalSum / Double(n),
            prior: priorSum / Double(n))
        try requireFinite(losses: [result.total, result.local, result.global, result.prior])
        result.figures = try figures(result, n, vectors: encoded + Encoder.encoded)
        return result
    }
}
