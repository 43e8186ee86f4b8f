import DimArchitecture
import DimOperators
import DimRuntime
import Glibc

/// Training of the classifier over any architecture, alone or with the encoder.
final class PlanClassifier {
    let plan: ModelPlan
    let classes: Int
    private let classifier: Stack
    private let arena = Arena()
    private var classifierWeights: StackWeights?
    private var encoderWeights: StackWeights?

    init(_ plan: ModelPlan) throws {
        guard let classifier = plan.classifier else {
            throw DimError(.missingNetwork, "the model's architecture has no classifier")
        }
        self.plan = plan
        self.classifier = classifier
        classes = classifier.output.channels
    }

    typealias Moved = [Network: StatisticSteps]

    /// encoded (n, encoded): forward and backward of the classifier alone.
    func head(
        _ state: NetworkState, encoded: UnsafePointer<Float>, labels: UnsafePointer<Int64>, count n: Int,
        _ loss: ClassifierOptions.Loss, _ gradients: Gradients, _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, Moved) {
        let x = try arena.activation(plan.vectorSlot, classifier.input, images: n)
        PlanarLayout.load(encoded, mean: [], std: [], into: x)
        let (result, moved) = try step(state, x, labels, loss, into: nil, gradients, &random)
        return (result, moved.isEmpty ? [:] : [.classifier: moved])
    }

    private func step(
        _ state: NetworkState, _ x: Activation, _ labels: UnsafePointer<Int64>, _ loss: ClassifierOptions.Loss,
        into dx: Activation?, _ gradients: Gradients, _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, StatisticSteps) {
        let weights = try classifierWeights ?? StackWeights(classifier, forTraining: true)
        classifierWeights = weights
        weights.prepare(state)
        let pass = StackPass(classifier, state, weights, arena, training: true)
        let logits = try pass.forward(x, &random)
        let rows = try arena.floats(plan.ownSlots + 5, x.images * classes)
        PlanarLayout.store(logits, into: rows)
        let result = try self.loss(rows, labels, x.images, loss, gradient: rows)
        let dLogits = try arena.activation(plan.ownSlots + 6, logits.shape, images: x.images)
        PlanarLayout.load(rows, mean: [], std: [], into: dLogits)
        try pass.backward(dLogits, into: dx, gradients)
        return (result, pass.statisticSteps())
    }

    /// images (n,c,h,w): forward and backward of encoder and classifier together.
    func endToEnd(
        _ encoder: NetworkState, _ state: NetworkState, _ images: UnsafePointer<Float>, labels: UnsafePointer<Int64>,
        count n: Int, _ loss: ClassifierOptions.Loss, _ gradients: Gradients, _ random: inout MersenneTwister
    ) throws -> (ClassifierResult, Moved) {
        let weights = try encoderWeights ?? StackWeights(plan.encoder, forTraining: true)
        encoderWeights = weights
        weights.prepare(encoder)
        let pass = StackPass(plan.encoder, encoder, weights, arena, training: true)
        let y = try pass.forward(try plan.load(images, count: n, arena), &random)
        let dy = try arena.activation(plan.vectorGradientSlot, y.shape, images: n)
        let (result, moved) = try step(state, y, labels, loss, into: dy, gradients, &random)
        try pass.backward(dy, into: nil, gradients)
        var all: Moved = [.encoder: pass.statisticSteps(), .classifier: moved]
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

    // MARK: Loss

    /// The mean cross-entropy and the hits of logits (n, classes); `gradient`, which may be the logits, gets the logits'.
    func loss(
        _ logits: UnsafePointer<Float>, _ labels: UnsafePointer<Int64>, _ n: Int, _ loss: ClassifierOptions.Loss,
        gradient: UnsafeMutablePointer<Float>?
    ) throws -> ClassifierResult {
        let work = try DoubleBuffer(zeros: 2 * classes)
        let (p, q) = (work.pointer, work.pointer + classes)
        var result = ClassifierResult()
        for i in 0..<n {
            let row = logits + i * classes
            let label = Int(labels[i])
            var best = 0
            for c in 0..<classes where row[c] > row[best] { best = c }
            if best == label { result.correct += 1 }
            for c in 0..<classes { p[c] = Double(row[c]) }
            let plain = PlanClassifier.softmax(p, classes)
            switch loss {
            case .logits:
                result.loss += plain - Double(row[label])
                if let gradient {
                    for c in 0..<classes {
                        gradient[i * classes + c] = Float((p[c] - (c == label ? 1 : 0)) / Double(n))
                    }
                }
            case .softmaxTwice:
                for c in 0..<classes { q[c] = p[c] }
                result.loss += PlanClassifier.softmax(q, classes) - p[label]
                if let gradient {
                    var inner = 0.0
                    for c in 0..<classes { inner += p[c] * (q[c] - (c == label ? 1 : 0)) / Double(n) }
                    for c in 0..<classes {
                        let d = (q[c] - (c == label ? 1 : 0)) / Double(n)
                        gradient[i * classes + c] = Float(p[c] * (d - inner))
                    }
                }
            }
        }
        result.loss /= Double(n)
        result.count = n
        return result
    }

    /// In place; returns log of the sum of exponentials.
    private static func softmax(_ x: UnsafeMutablePointer<Double>, _ count: Int) -> Double {
        var top = -Double.infinity
        for c in 0..<count { top = max(top, x[c]) }
        var total = 0.0
        for c in 0..<count {
            x[c] = exp(x[c] - top)
            total += x[c]
        }
        for c in 0..<count { x[c] /= total }
        return top + log(total)
    }
}
