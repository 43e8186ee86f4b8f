import DimArchitecture
import DimOperators
import DimRuntime
import Testing

@testable import DimModel

/// The gradient of the whole objective, over any architecture, beside a difference quotient along a random direction of all
/// parameters of a network at once.
@Suite struct ObjectiveTests {
    struct Case: CustomTestStringConvertible {
        let name: String
        let local: HeadDescription?
        let global: HeadDescription?
        let measure: Measure
        let negatives: Negatives
        var prior = PriorDiscriminator.EncoderTerm.none
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
        ]

    static func architecture(_ test: Case) -> Architecture {
        Architecture(
            image: ImageDescription(channels: 3, height: 9, width: 11, mean: [0.4], std: [0.5]),
            encoder: EncoderDescription(
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
                ], features: "r0", fc: "l0"),
            local: test.local, global: test.global, prior: PriorDescription(hidden: [14, 9], squash: .sigmoid))
    }

    @Test("gradient", arguments: cases) func gradient(_ test: Case) throws {
        var options = TrainerOptions(for: ObjectiveTests.architecture(test))
        options.measure = test.measure
        options.negatives = test.negatives
        options.prior = test.prior
        (options.alpha, options.beta) = (test.global == nil ? 0 : 0.5, test.local == nil ? 0 : 1)
        options.gamma = test.prior == .none ? 0 : 0.3
        let n = 5
        let model = try Model(ObjectiveTests.architecture(test), seed: 11)
        var random = MersenneTwister(seed: 3)
        let images = (0..<n * model.sizes.image.size).map { _ in random.uniform() }
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
            // ReLUs turn within the step: the slope lies between the two sides' quotients, and float32's error of a loss is
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

    @Test("threads", arguments: [1, 2, 3]) func threads(_ threads: Int) throws {
        let before = ThreadPool.shared.threads
        defer { ThreadPool.shared.setThreads(before) }
        let test = ObjectiveTests.cases.last!
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
