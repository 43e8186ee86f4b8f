import DimArchitecture
import DimModel
import DimOperators
import DimRuntime

/// Over any architecture, layer by layer.
final class LayerClassifierObjective: ClassifierObjective {
    private let plan: LayerPlan
    private let classes: Int
    private let classifier: Stack
    private let arena = Arena()
    private var classifierWeights: StackWeights?
    private var encoderWeights: StackWeights?

    init(_ plan: LayerPlan) throws {
        guard let classifier = plan.classifier else {
            throw DimError(.missingNetwork, "the model's architecture has no classifier")
        }
        self.plan = plan
        self.classifier = classifier
        classes = classifier.output.channels
    }

    func head(
        _ state: NetworkState, encoded: UnsafePointer<Float>, labels: UnsafePointer<Int64>, count n: Int,
        _ loss: ClassifierOptions.Loss, _ gradients: Gradients, _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, [Network: StatisticSteps]) {
        let x = try arena.activation(plan.slots[.vectors], classifier.input, images: n)
        PlanarLayout.load(encoded, mean: [], std: [], into: x)
        let (result, moved) = try step(state, x, labels, loss, into: nil, gradients, &random)
        return (result, moved.isEmpty ? [:] : [.classifier: moved])
    }

    private func step(
        _ state: NetworkState, _ x: Activation, _ labels: UnsafePointer<Int64>, _ loss: ClassifierOptions.Loss,
        into dx: Activation?, _ gradients: Gradients, _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, StatisticSteps) {
        let weights = try classifierWeights ?? StackWeights(classifier, gradientWeights: .instead)
        classifierWeights = weights
        weights.prepare(state)
        let pass = StackPass(classifier, state, weights, arena, training: true)
        let logits = try pass.forward(x, &random)
        let rows = try arena.floats(plan.slots[.classifierLogits], x.images * classes)
        PlanarLayout.store(logits, into: rows)
        var found = try ClassifierLoss(loss, classes: classes, count: x.images)
        for i in 0..<x.images {
            let row = rows + i * classes
            let gradient = found.add(Int(labels[i])) { Double(row[$0]) }
            for c in 0..<classes { row[c] = Float(gradient[c]) }
        }
        let dLogits = try arena.activation(plan.slots[.classifierLogitGradient], logits.shape, images: x.images)
        PlanarLayout.load(rows, mean: [], std: [], into: dLogits)
        try pass.backward(dLogits, into: dx, gradients)
        return (found.result, pass.statisticSteps())
    }

    /// images (n,c,h,w): forward and backward of encoder and classifier together.
    func endToEnd(
        _ encoder: NetworkState, _ state: NetworkState, _ images: UnsafePointer<Float>, labels: UnsafePointer<Int64>,
        count n: Int, _ loss: ClassifierOptions.Loss, _ gradients: Gradients, _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, [Network: StatisticSteps]) {
        let weights = try encoderWeights ?? StackWeights(plan.encoder, gradientWeights: .instead)
        encoderWeights = weights
        weights.prepare(encoder)
        let pass = StackPass(plan.encoder, encoder, weights, arena, training: true)
        let y = try pass.forward(try plan.load(images, count: n, arena), &random)
        let dy = try arena.activation(plan.slots[.vectorGradient], y.shape, images: n)
        let (result, moved) = try step(state, y, labels, loss, into: dy, gradients, &random)
        try pass.backward(dy, into: nil, gradients)
        var all: [Network: StatisticSteps] = [.encoder: pass.statisticSteps(), .classifier: moved]
        all = all.filter { !$0.value.isEmpty }
        return (result, all)
    }

    /// The encoder's vectors with batch statistics, and the statistics moved: weights stay.
    func encodeWithBatchStatistics(
        _ state: NetworkState, _ images: UnsafePointer<Float>, count n: Int, into encoded: UnsafeMutablePointer<Float>,
        _ random: inout MersenneTwister
    ) throws -> [(index: Int, value: ParameterValue)] {
        let weights = try StackWeights.prepared(plan.encoder, state)
        let pass = StackPass(plan.encoder, state, weights, arena, training: true)
        PlanarLayout.store(try pass.forward(try plan.load(images, count: n, arena), &random), into: encoded)
        return try pass.moved()
    }
}
