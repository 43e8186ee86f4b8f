import DimArchitecture
import DimModel
import DimOperators
import DimRuntime
import Glibc
import Testing

@testable import DimTraining

/// The gradient of the whole objective, over any architecture, beside a difference quotient along a random direction of all
/// parameters of a network at once.
@Suite struct ObjectiveTests {
    struct Case: CustomTestStringConvertible {
        let name: String
        let local: HeadDescription?
        let global: HeadDescription?
        let measure: Measure
        let negatives: Negatives
        var prior = PriorTerm.none
        var coordinates = Coordinates.none
        var occlusion = false
        var locations = 0
        var encoder: EncoderDescription = ObjectiveTests.encoder
        var testDescription: String { name }
    }

    static let light = HeadDescription.dot(net: .light, units: 24)
    static let authors = HeadDescription.dot(net: .authors, units: 40)
    static let concat = HeadDescription.concat(hidden: [20, 12])

    static let cases: [Case] =
        Measure.allCases.map {
            Case(name: "light, all, \($0)", local: light, global: nil, measure: $0, negatives: .all)
        } + [
            Case(name: "authors, all, nce", local: authors, global: nil, measure: .nce, negatives: .all),
            Case(name: "concat, rotation, jsd", local: concat, global: nil, measure: .jsd, negatives: .rotation),
            Case(name: "concat, all, nce", local: concat, global: nil, measure: .nce, negatives: .all),
            Case(name: "light, drawn, dv", local: light, global: nil, measure: .dv, negatives: .drawn(2)),
            Case(
                name: "copy, all, jsd", local: nil, global: .dot(net: .copy, units: 16), measure: .jsd, negatives: .all),
            Case(
                name: "global concat, rotation, gan", local: nil,
                global: .concat(hidden: [20], layers: [.conv("c0", 6, kernel: 3, activation: .relu)]), measure: .gan,
                negatives: .rotation),
            Case(
                name: "both, prior", local: light, global: .concat(hidden: [12]), measure: .jsd, negatives: .all,
                prior: .monolithic),
            Case(
                name: "absolute coordinates", local: nil, global: nil, measure: .nce, negatives: .all,
                coordinates: .absolute),
            Case(
                name: "relative coordinates, light", local: light, global: nil, measure: .nce, negatives: .all,
                coordinates: .relative),
            Case(
                name: "occlusion, authors, copy", local: authors, global: .dot(net: .copy, units: 16), measure: .jsd,
                negatives: .all, prior: .monolithic, occlusion: true),
            Case(
                name: "locations, concat, dv", local: concat, global: nil, measure: .dv, negatives: .rotation,
                locations: 7),
            Case(
                name: "everything", local: authors, global: .concat(hidden: [12]), measure: .nce, negatives: .drawn(3),
                prior: .monolithic, coordinates: .relative, occlusion: true, locations: 11),
        ]
        + [Layer.Norm.batch, .layer].map {
            Case(
                name: "\($0) norm after every operator", local: light, global: nil, measure: .jsd, negatives: .all,
                encoder: normedEncoder($0))
        }

    static let encoder = EncoderDescription(
        layers: [
            .conv("c0", 17, kernel: 3, stride: 2, padding: 1, bias: false, norm: .batch, activation: .relu),
            .residual(
                "r0",
                [
                    .conv("c1", 8, kernel: 3, padding: 1, norm: .layer, activation: .relu),
                    .conv("c2", 17, kernel: 1),
                ],
                activation: .relu),
            .pool(.avgpool, kernel: 2), .flatten,
            .linear("l0", 30, bias: false, norm: .batch, activation: .sigmoid), .linear("l1", 10),
        ], features: "r0", fc: "l0")

    /// Every operator, each with the norm and one of the activations.
    static func normedEncoder(_ norm: Layer.Norm) -> EncoderDescription {
        var layers: [Layer] = [
            .conv("c0", 17, kernel: 3, stride: 2, padding: 1), .dropout(0.3),
            .residual("r0", [.conv("c1", 17, kernel: 3, padding: 1), .dropout(0.2)]),
            .pool(.maxpool, kernel: 2, stride: 1), .pool(.avgpool, kernel: 2), .flatten, .linear("l0", 30),
        ]
        let activations: [Layer.Activation?] = [.relu, .sigmoid, nil, .sigmoid, .relu, nil, .sigmoid]
        for (index, activation) in activations.enumerated() {
            layers[index].setNorm(norm, "n\(index)")
            layers[index].activation = activation
        }
        return EncoderDescription(layers: layers + [.linear("l1", 10)], features: "r0", fc: "l0")
    }

    static func architecture(_ test: Case) -> Architecture {
        Architecture(
            image: ImageDescription(channels: 3, height: 9, width: 11, mean: [0.4], std: [0.5]),
            encoder: test.encoder,
            local: test.local, global: test.global, prior: PriorDescription(hidden: [14, 9], squash: .sigmoid),
            coordinates: CoordinatesDescription(hidden: [18]))
    }

    static func options(_ test: Case) -> TrainerOptions {
        var options = TrainerOptions(for: architecture(test))
        options.measure = test.measure
        options.negatives = test.negatives
        options.prior = test.prior
        (options.alpha, options.beta) = (test.global == nil ? 0 : 0.5, test.local == nil ? 0 : 1)
        options.gamma = test.prior == .none ? 0 : 0.3
        (options.coordinates, options.coordinatesWeight) = (test.coordinates, 0.4)
        (options.occlusion, options.locations) = (test.occlusion, test.locations)
        return options
    }

    static func images(_ n: Int, _ model: Model) -> [Float] {
        var random = MersenneTwister(seed: 3)
        return (0..<n * model.sizes.image.size).map { _ in random.uniform() }
    }

    @Test("gradient", arguments: cases) func gradient(_ test: Case) throws {
        let options = ObjectiveTests.options(test)
        let n = 5
        let model = try Model(ObjectiveTests.architecture(test), seed: 11)
        let images = ObjectiveTests.images(n, model)
        var random = MersenneTwister(seed: 4)
        /// The loss as it is with the model's weights moved along `direction`.
        func loss(_ network: Network, _ direction: [[Float]], _ step: Float) throws -> Double {
            let state = try model.snapshot(network)
            var changes: [(index: Int, value: ParameterValue)] = []
            for (index, spec) in state.specs.enumerated() where spec.isTrainable {
                let old = state.pointer(index)
                changes.append(
                    (index, .floats(try Buffer((0..<spec.count).map { old[$0] + step * direction[index][$0] }))))
            }
            let moved = Model(
                StateDict(
                    model.architecture, networks: model.networks,
                    values: try model.networks.flatMap { other in
                        let state = try model.snapshot(other)
                        return (other == network ? state.replacing(changes) : state).values
                    }))
            return try Trainer(moved, options).accumulate(images, count: n).total
        }
        let trainer = try Trainer(model, options)
        _ = try trainer.accumulate(images, count: n)
        for network in trainer.networks {
            let state = try model.snapshot(network)
            var slope = 0.0
            var size = 0.0
            let direction = state.specs.map { spec in (0..<spec.count).map { _ in random.uniform() - 0.5 } }
            for (index, spec) in state.specs.enumerated() where spec.isTrainable {
                let g = trainer.step.gradient(spec)
                for i in 0..<spec.count {
                    slope += Double(g[i]) * Double(direction[index][i])
                    size += Double(g[i]) * Double(g[i])
                }
            }
            // ReLUs turn within the step: the slope is between the two sides' quotients, and float32's error of a loss is
            // about 1e-6.
            let step: Float = 4e-4
            let (below, here, above) = (
                try loss(network, direction, -step), try loss(network, direction, 0), try loss(network, direction, step)
            )
            let quotient = (above - below) / Double(2 * step)
            let turn = abs(above - 2 * here + below) / Double(step)
            let scale = (size / 12).squareRoot() + 0.01
            #expect(
                abs(quotient - slope) < 0.03 * scale + 2e-3 + turn,
                "\(test.name), \(network.prefix): gradient \(slope), difference quotient \(quotient), scale \(scale)")
        }
    }

    /// Scores that come block after block are those that are held at once.
    @Test("blocks", arguments: cases) func blocks(_ test: Case) throws {
        var options = ObjectiveTests.options(test)
        if case .drawn = options.negatives { options.negatives = .drawn(40) }
        let n = 70  // Blocks of 32 vectors, the last of 6.
        let model = try Model(ObjectiveTests.architecture(test), seed: 11)
        let images = ObjectiveTests.images(n, model)
        let (whole, parts) = (try Trainer(model, options), try Trainer(model, options))
        (parts.objective as! LayerObjective).scoresInFlight = 1
        let (expected, found) = (
            try whole.accumulate(images, count: n), try parts.accumulate(images, count: n)
        )
        #expect(abs(found.total - expected.total) <= 1e-9 * abs(expected.total), "\(test.name)")
        for network in whole.networks {
            let specs = try model.snapshot(network).specs.filter(\.isTrainable)
            let errors = specs.map { spec in
                let (a, b) = (whole.step.gradient(spec), parts.step.gradient(spec))
                return (0..<spec.count).reduce((error: 0.0, size: 0.0)) { sums, i in
                    let (a, b) = (Double(a[i]), Double(b[i]))
                    return (sums.error + (a - b) * (a - b), sums.size + a * a)
                }
            }
            // A parameter's gradient is a sum over n images, which float32 rounds by at most n epsilons of its terms. What
            // cancels keeps the rounding of what cancelled: of the network's gradients (a bias before a batch norm), or of
            // the scores', whose absolute values add up to 2 at most, on either side (a bias that shifts all scores).
            let rounding = Double(n) * Double(Float.ulpOfOne)
            let all = errors.reduce(0) { $0 + $1.size }.squareRoot()
            for (spec, (error, size)) in zip(specs, errors) {
                #expect(
                    error.squareRoot() <= rounding * (size.squareRoot() + all) + 4 * 0x1p-24,
                    "\(test.name), \(spec.name): \(error.squareRoot()), \(size.squareRoot()), \(all)")
            }
        }
        let (one, other) = (try whole.evaluate(images, count: n), try parts.evaluate(images, count: n))
        #expect(abs(one.total - other.total) <= 1e-9 * abs(one.total), "\(test.name)")
    }

    /// The encoder's statistics move with both passes of occlusion, and the counters say so.
    @Test("occlusion counts twice") func occlusionCountsTwice() throws {
        let test = ObjectiveTests.cases.first { $0.name == "everything" }!
        let model = try Model(ObjectiveTests.architecture(test), seed: 11)
        let trainer = try Trainer(model, ObjectiveTests.options(test))
        for _ in 0..<3 { _ = try trainer.step(ObjectiveTests.images(5, model), count: 5) }
        for (network, norm, count) in [(Network.encoder, "c0_norm", 6), (.localD, "f0_norm", 3)] {
            let name = "\(network.prefix).\(norm).num_batches_tracked"
            let index = model.parameters.index(of: try #require(model.parameters.place(of: name)))
            #expect(try model.snapshot(network).counter(index) == count)
        }
    }

    @Test("report") func report() throws {
        let test = ObjectiveTests.cases.first { $0.name == "everything" }!
        let model = try Model(ObjectiveTests.architecture(test), seed: 11)
        let trainer = try Trainer(model, ObjectiveTests.options(test))
        let images = ObjectiveTests.images(5, model)
        #expect(try trainer.report().images == 0 && trainer.report().total.isNaN)
        let first = try trainer.accumulate(images, count: 5), second = try trainer.accumulate(images, count: 5)
        let waiting = try trainer.report()
        #expect(waiting.images == 10 && waiting.total == (first.total + second.total) / 2)
        #expect(waiting.gradientNorm.isNaN)
        var squares: [Network: Double] = [:]
        for network in trainer.networks {
            for spec in try model.snapshot(network).specs where spec.isTrainable {
                let g = trainer.step.gradient(spec)
                for i in 0..<spec.count { squares[network, default: 0] += Double(g[i] / 2) * Double(g[i] / 2) }
            }
        }
        try trainer.update()
        let done = try trainer.report()
        #expect(Set(done.gradientNorms.keys) == Set(trainer.networks))
        for (network, norm) in done.gradientNorms {
            #expect(abs(norm - squares[network]!.squareRoot()) <= 1e-6 * norm)
        }
        #expect(abs(done.gradientNorm - squares.values.reduce(0, +).squareRoot()) <= 1e-6 * done.gradientNorm)
        let weighted =
            done.local + 0.5 * done.global + 0.3 * done.prior + 0.4 * done.coordinates
        #expect(abs(weighted - done.total) <= 1e-9 * abs(done.total))
        #expect(done.localScore > 0 && done.globalScore > 0 && (0...0.5).contains(done.priorDistance))
        // nce of 3 drawn images with 11 locations each, and 1 with one.
        #expect(abs(done.localInformation - (log(34.0) - done.local)) < 1e-9)
        #expect(abs(done.globalInformation - (log(4.0) - done.global)) < 1e-9)
        _ = try trainer.evaluate(images, count: 5)
        #expect(try trainer.report().images == 5 && trainer.report().gradientNorms.isEmpty)
    }

    /// Scores of a size that no network should have: the overflowing sign alone is an error, which names step and scores.
    @Test("overflow", arguments: Measure.allCases, [1e4, -1e4]) func overflow(_ measure: Measure, _ size: Double) throws
    {
        var test = ObjectiveTests.cases[0]
        test = Case(name: test.name, local: test.local, global: nil, measure: measure, negatives: .all)
        let model = try Model(ObjectiveTests.architecture(test), seed: 11)
        // Every location's map vector is the first unit's bias alone, the vector's likewise: all scores are `size`.
        let state = try model.snapshot(.localD)
        var changes: [(index: Int, value: ParameterValue)] = []
        for (index, spec) in state.specs.enumerated() {
            let buffer = try Buffer(zeros: spec.count)
            let root = Float(abs(size) * 24.0.squareRoot()).squareRoot()
            if spec.key == "f1.bias" { buffer.pointer[0] = root }
            if spec.key == "y1.bias" { buffer.pointer[0] = size > 0 ? root : -root }
            changes.append((index, .floats(buffer)))
        }
        _ = model.install([state.replacing(changes)])
        let trainer = try Trainer(model, ObjectiveTests.options(test))
        let images = ObjectiveTests.images(5, model)
        let overflows = [Measure.kl: [1.0], .rkl: [-1.0], .h2: [1.0, -1.0]][measure, default: []].contains(
            size.sign == .minus ? -1 : 1)
        let before = try model.snapshot(.localD)
        do {
            _ = try trainer.step(images, count: 5)
            #expect(!overflows, "\(measure) \(size)")
        } catch let error as DimError {
            #expect(overflows && error.code == .notFinite, "\(measure) \(size): \(error.message)")
            #expect(error.message.contains("step 1") && error.message.contains("scores are from"), "\(error.message)")
            #expect(try model.snapshot(.localD) === before && trainer.step.count == 0)
            #expect(trainer.noise == MersenneTwister(seed: 0))
        }
    }

    @Test("threads, all kinds", arguments: cases) func threadsOfAll(_ test: Case) throws {
        let before = ThreadPool.shared.threads
        defer { ThreadPool.shared.setThreads(before) }
        func weights(_ threads: Int) throws -> [Float] {
            ThreadPool.shared.setThreads(threads)
            let model = try Model(ObjectiveTests.architecture(test), seed: 2)
            let trainer = try Trainer(model, ObjectiveTests.options(test))
            for _ in 0..<2 { _ = try trainer.step(ObjectiveTests.images(7, model), count: 7) }
            return try model.networks.flatMap { network in
                try model.snapshot(network).values.flatMap { value -> [Float] in
                    if case .floats(let buffer) = value { buffer.array } else { [] }
                }
            }
        }
        let one = try weights(1)
        #expect(try weights(2) == one && weights(3) == one, "\(test.name)")
    }

    @Test("threads", arguments: [1, 2, 3]) func threads(_ threads: Int) throws {
        let before = ThreadPool.shared.threads
        defer { ThreadPool.shared.setThreads(before) }
        let test = ObjectiveTests.cases.first { $0.name == "both, prior" }!
        func weights(_ threads: Int) throws -> [Float] {
            ThreadPool.shared.setThreads(threads)
            let model = try Model(ObjectiveTests.architecture(test), seed: 2)
            var options = TrainerOptions(for: model.architecture)
            (options.alpha, options.gamma, options.prior) = (0.5, 0.1, .adversarial)
            options.gradientPenalty = 1
            let trainer = try Trainer(model, options)
            var random = MersenneTwister(seed: 5)
            for _ in 0..<3 {
                let images = (0..<7 * model.sizes.image.size).map { _ in random.uniform() }
                _ = try trainer.step(images, count: 7)
            }
            return try model.networks.flatMap { network in
                try model.snapshot(network).values.flatMap { value -> [Float] in
                    if case .floats(let buffer) = value { buffer.array } else { [] }
                }
            }
        }
        #expect(try weights(threads) == weights(1))
    }
}

extension TrainingStep {
    fileprivate func gradient(_ spec: ParameterSpec) -> [Float] {
        var values = [Float](repeating: 0, count: spec.count)
        copyGradient(spec, into: &values)
        return values
    }
}
