import DimArchitecture
import DimModel
import DimRuntime

/// Trains the encoder and the three discriminators on the Deep InfoMax objective (arXiv:1808.06670; the implementation that the
/// notebook links to). See docs/training.md for the gradients.
///
/// Not for two threads at once: the API boundary holds `lock` around each call.
package final class Trainer: @unchecked Sendable {
    /// Those that this run trains.
    package let networks: [Network]
    package let lock = Lock()
    package let model: Model
    package private(set) var options: TrainerOptions
    package let step: TrainingStep
    package private(set) var noise: MersenneTwister
    /// As before the first micro-batch that waits.
    private var noiseBefore: MersenneTwister?
    /// Images of each micro-batch of the step that is open.
    private var partSize = 0
    /// Random numbers that a micro-batch of so many images draws.
    private var draws: [Int: Int] = [:]
    let objective: any Objective

    package convenience init(_ model: Model, _ options: TrainerOptions) throws {
        try self.init(resuming: model, options, noise: MersenneTwister(seed: options.seed), nil)
    }

    /// Continues where a checkpoint stopped.
    package init(
        resuming model: Model, _ options: TrainerOptions, noise: MersenneTwister, _ progress: TrainingStep.Progress?
    ) throws {
        self.model = model
        self.options = options
        objective = try Objectives.make(model, options)
        networks = try Objectives.networks(model.architecture, options)
        step = try TrainingStep(
            model, networks, from: progress, microBatches: options.microBatches, passes: options.occlusion ? 2 : 1)
        self.noise = noise
    }

    /// The networks that a run with these options trains.
    package static func networks(_ architecture: Architecture, _ options: TrainerOptions) throws -> [Network] {
        try Objectives.networks(architecture, options)
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
            throw DimError(
                .invalidArgument,
                "accumulated gradients: expected none, found \(step.waitingText); "
                    + "call dim_trainer_update or dim_trainer_drop before a step"
            )
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
        let before = reported
        do {
            for part in 0..<k { all.append(try accumulate(images + part * (n / k) * size, count: n / k)) }
            try update()
        } catch {
            drop()
            reported = before
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
        try requireEqualParts(n)
        let before = noise
        do {
            return try model.whileChanging {
                var result: ObjectiveLosses?
                try step.accumulate { state in
                    let (losses, moved) = try self.forwardBackward(images, n, state)
                    result = losses
                    return ([losses.local, losses.global, losses.prior, losses.total], moved)
                }
                if step.waiting == 1 { (noiseBefore, partSize) = (before, n) }
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
        try requireEqualParts(n)
        let before = noise
        let count = try options.microBatches == 1 ? 0 : draws[n] ?? countDraws(n)
        try step.skip()
        if step.waiting == 1 { (noiseBefore, partSize) = (before, n) }
        noise = before
        noise.skip(count)
    }

    /// Processes that share a step draw the same random numbers only if its micro-batches have one size.
    private func requireEqualParts(_ n: Int) throws {
        guard options.microBatches == 1 || step.waiting == 0 || n == partSize else {
            throw DimError(
                .invalidArgument,
                "n is \(n), and the step's other micro-batches have \(partSize) images; a step expects micro-batches of one size"
            )
        }
    }

    /// Of a micro-batch over images that do not matter: how many numbers it draws follows from n and the options alone. None of
    /// the step is computed yet: of its size the number would be known.
    private func countDraws(_ n: Int) throws -> Int {
        let size = model.sizes.image.size
        let images = try Buffer(uninitialized: n * size)
        var pixels = MersenneTwister(seed: 0)
        pixels.uniforms(into: images.pointer, count: n * size)
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
                try step.update(clippedTo: options.gradientClip) { network in
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
        try objective.forwardBackward(
            images, n, options, step.gradients, &noise, number: step.count.addingSaturated(1), state)
    }

    // MARK: Evaluation

    /// The losses in evaluation mode, nothing changed; the noise starts anew from the run's seed.
    package func evaluate(_ images: UnsafePointer<Float>, count n: Int) throws -> ObjectiveLosses {
        try requireFinite(images, count: n, size: model.sizes.image.size, "image")
        let losses = try objective.evaluate(model, images, n, options)
        reported = ([losses], [:])
        return losses
    }
}
